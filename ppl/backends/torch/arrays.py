"""Precision, device and compiled calls: tensors inside, NumPy outside."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from operator import is_

import numpy as np
import pyro
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ...errors import BackendError, ElboroomError, explain
from ...thresholds import LARGEST_FOLDED
from ...turns import check_process, running, without_warnings
from ..devices import check_device

DTYPES = {np.dtype(np.float64): torch.float64, np.dtype(np.float32): torch.float32}


def to_device(value, dtype) -> torch.Tensor:
    """A NumPy array as a private tensor; floats take the target's precision."""
    array = np.array(value)
    if array.dtype.kind == "f":
        array = array.astype(dtype)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int64)
    return torch.from_numpy(array) if array.ndim else torch.tensor(array[()])


def over(array: np.ndarray) -> torch.Tensor:
    """A tensor over the memory of an array, not to be written to."""
    if array.flags.writeable:
        return torch.from_numpy(array)
    with without_warnings("The given NumPy array is not writ"):
        return torch.from_numpy(array)


def viewed(value, dtype) -> torch.Tensor:
    """A tensor over the memory of a NumPy array, not to be written to; of another precision it is a copy."""
    array = np.asarray(value)
    if array.dtype not in (dtype, np.int64) or not array.ndim or any(s < 0 for s in array.strides):
        return to_device(value, dtype)
    return over(array)


def to_host(tree):
    """Every tensor of a tree as a NumPy array."""
    return pytree.tree_map(lambda t: t.detach().cpu().numpy() if isinstance(t, torch.Tensor) else t, tree)


class Mixed(TorchFunctionMode):
    """Lets NumPy arrays stand beside tensors, and keeps double precision where PyTorch would fall to single.

    PyTorch makes single precision of Python's numbers, and of whole numbers that meet them.
    """

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self._double = dtype == torch.float64

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _COPIES and not isinstance(args[0], np.ndarray):
            return _copied(func, args, kwargs)
        if any(isinstance(a, np.ndarray) for a in args):
            floats = [a.dtype for a in args if isinstance(a, torch.Tensor) and a.dtype.is_floating_point]

            def tensor(a):
                if not isinstance(a, np.ndarray):
                    return a
                made = torch.as_tensor(np.array(a))
                return made.to(floats[0]) if floats and made.dtype.is_floating_point else made

            args = tuple(tensor(a) for a in args)
        if not self._double:
            return func(*args, **kwargs)
        if func is torch.tensor and kwargs.get("dtype") is torch.float32:  # what distributions do to numbers
            kwargs = {**kwargs, "dtype": torch.float64}
        if func is torch.Tensor.float:
            return args[0].to(torch.float64)
        found = func(*args, **kwargs)
        if isinstance(found, torch.Tensor) and found.dtype is torch.float32 and "dtype" not in kwargs:
            return self._again(func, args, kwargs, found)
        return found

    @staticmethod
    def _again(func, args, kwargs, found):
        """The same operation on doubles, unless its operands asked for single precision."""
        operands = [
            x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, (torch.Tensor, torch.dtype))
        ]
        if any(isinstance(x, torch.dtype) or x.dtype.is_floating_point for x in operands):
            return found
        if not operands:
            return func(*args, **kwargs, dtype=torch.float64) if func in _MAKERS else found
        numbers = any(isinstance(a, float) for a in args)
        kind, double = (float, torch.as_tensor) if numbers else (torch.Tensor, torch.Tensor.to)
        try:
            return func(*pytree.tree_map_only(kind, lambda x: double(x, dtype=torch.float64), args), **kwargs)
        except (RuntimeError, TypeError):
            return found


_MAKERS = frozenset(
    getattr(torch, name)
    for name in "tensor as_tensor zeros ones full eye linspace logspace arange empty rand randn".split()
)


class Leaving(RuntimeError):
    """Numbers of a tensor were asked for."""


class Looping(RuntimeError):
    """How often something is done depends on numbers: what is recorded would do it as often as the first time."""


_COPIES = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})
_VALUES = _COPIES | {torch.Tensor.item, torch.Tensor.__float__}
_NUMBERS = _COPIES | {getattr(torch.Tensor, f"__{n}__") for n in ("float", "int", "bool", "index")}


def _copied(func, args, kwargs):
    """A tensor's numbers; where PyTorch differentiates it gives out no memory, not even of what is constant."""
    try:
        return func(*args, **kwargs)
    except RuntimeError:
        if func is torch.Tensor.tolist or args[0].requires_grad:
            raise
        return np.array(args[0].tolist(), *args[1:])


class Attached(TorchFunctionMode):
    """Refuses to hand out the numbers of what depends on a latent quantity: its derivative would be lost.

    Whether such a number is true may be asked: a model may branch.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _VALUES and isinstance(args[0], torch.Tensor) and args[0].requires_grad:
            raise Leaving("a model took numbers out of a latent tensor")
        return func(*args, **(kwargs or {}))


class Inside(TorchFunctionMode):
    """Refuses to hand the numbers of a tensor to the host: they would stay in what is recorded, whatever the data.

    What PyTorch refuses by itself while it records is refused here only where `strict`.
    """

    def __init__(self, strict=False):
        super().__init__()
        self._refused = _NUMBERS | {torch.Tensor.item} if strict else _COPIES

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self._refused:
            raise Leaving("a model on torch took numbers out of a tensor")
        return func(*args, **(kwargs or {}))


@contextmanager
def randomness(seed: int):
    """PyTorch's own stream of random numbers, from a seed, put back afterwards."""
    with running(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def unvalidated():
    """No checks of what a user's own distributions are given: a switch of the process, put back afterwards."""
    with running(), pyro.validation_enabled(False):
        yield


class Function:
    """A batched function of arrays, recorded once per argument shapes as a flat list of operations.

    Recording leaves the model, the handlers and the differentiation out of every later call. What cannot be
    recorded or mapped over a batch is called draw by draw.

    Parameters
    ----------
    fn : callable
        Of one draw.
    in_dims : tuple
        Which arguments have a leading batch axis: 0 or None.
    random : bool
        Whether it draws random numbers; then its second argument holds integer seeds.
    check : callable, optional
        Called before `fn` is.
    """

    def __init__(self, fn, in_dims, dtype, clock, random=False, check=None):
        self._check = check
        self._fn, self._in_dims, self._dtype = fn, in_dims, np.dtype(dtype)
        self._random, self.clock = random, clock
        self._ready: dict = {}
        self._last: tuple = (None, (), None)
        self.looped = False

    def prepare(self, *args) -> None:
        """Record the function for arguments of these shapes."""
        self._recorded(self._tensors(args))

    def _tensors(self, args):
        def tensor(x):
            return to_device(x, self._dtype) if isinstance(x, (np.ndarray, np.generic)) else x

        return pytree.tree_map(tensor, args)

    def __call__(self, *args):
        check_process()
        first = args[0]
        if isinstance(first, np.ndarray) and not self._random:
            shape, known, call = self._last
            if (
                shape == (first.shape, first.dtype)
                and len(known) == len(args) - 1
                and all(map(is_, known, args[1:]))
            ):
                with torch.no_grad():
                    return to_host(call(over(first)))
        tensors = self._tensors(args)
        with torch.no_grad():
            if self._random:
                return to_host(self._draw(tensors))
            call, flat = self._recorded(tensors)
            found = call(*flat)
        if isinstance(first, np.ndarray):
            flat_rest = flat[1:]
            self._last = ((first.shape, first.dtype), args[1:], lambda z: call(z, *flat_rest))
        return to_host(found)

    def on_device(self, *tensors):
        """The same for tensors, which stay where they are."""
        call, flat = self._recorded(tensors)
        return call(*flat)

    def _recorded(self, tensors):
        flat, tree = pytree.tree_flatten(tensors)
        key = tree, tuple((tuple(t.shape), t.dtype) if isinstance(t, torch.Tensor) else t for t in flat)
        if key not in self._ready:
            begin = time.perf_counter()
            with running():
                self._ready[key] = self._record(flat, tree)
            self.clock["compile"] += time.perf_counter() - begin
            self.clock["count"] += 1
        return self._ready[key], flat

    def _record(self, flat, tree):
        if self._check is not None:
            self._check()
        mapped = torch.func.vmap(self._fn, self._in_dims)

        def call(*flat):
            return mapped(*pytree.tree_unflatten(list(flat), tree))

        try:
            return recorded(call, flat)
        except Looping:
            return unvalidated()(call)  # what has no solution is NaN, at which laws inside laws would raise
        except Exception as error:  # whatever the model does that cannot be recorded
            if not untraceable(error):
                raise
            self.looped = True
            return partial(self._loop, tree)

    def _loop(self, tree, *flat):
        if self._check is not None:
            self._check()
        args = pytree.tree_unflatten(list(flat), tree)
        batched = pytree.tree_leaves([a for a, dim in zip(args, self._in_dims, strict=True) if dim == 0])

        def one(i):
            own = [
                pytree.tree_map(lambda t: t[i], a) if dim == 0 else a
                for a, dim in zip(args, self._in_dims, strict=True)
            ]
            return self._fn(*own)

        rows = [one(0)]
        for i in range(1, len(batched[0])):  # blocks are filled up with copies of their first row
            again = not self._random and all(torch.equal(t[i], t[0]) for t in batched)
            rows.append(rows[0] if again else one(i))
        return pytree.tree_map(lambda *pieces: torch.stack(pieces), *rows)

    def _draw(self, args):
        if self._check is not None:
            self._check()
        seeds = args[0] if self._in_dims[0] == 0 and len(self._in_dims) == 3 else args[1]
        with randomness(int(seeds.sum()) % (2**63)), unvalidated():
            try:
                return torch.func.vmap(self._fn, self._in_dims, randomness="different")(*args)
            except Exception as error:
                if not untraceable(error):
                    raise
                self.looped = True
                flat, tree = pytree.tree_flatten(args)
                return self._loop(tree, *flat)


def recorded(call, flat):
    """A function of tensors as the list of operations that it makes of these, fast to run again.

    What is recorded holds for one layout in memory, so that all are given as these are.
    """
    flat = _laid_out(flat)
    with Inside():
        graph = make_fx(call)(*flat)
    graph.graph.eliminate_dead_code()
    _fold(graph)
    graph.recompile()
    run = _scripted(graph, flat)
    return partial(_run, run)


def _run(recorded, *flat):
    return recorded(*_laid_out(flat))


def _laid_out(flat):
    return [t.contiguous() if isinstance(t, torch.Tensor) else t for t in flat]


def _fold(graph) -> None:
    """Compute once what no argument enters; nothing, where some operation writes over such a number."""
    nodes = list(graph.graph.nodes)
    known = {node: getattr(graph, node.target) for node in nodes if node.op == "get_attr"}
    constant, found = set(known), []
    for node in (node for node in nodes if node.op == "call_function"):
        schema, operands = getattr(node.target, "_schema", None), node.all_input_nodes
        if schema is None or (schema.is_mutable and not constant.isdisjoint(operands[:1])):
            return
        random = torch.Tag.nondeterministic_seeded in node.target.tags
        if not schema.is_mutable and not random and constant.issuperset(operands):
            constant.add(node)
            found.append(node)
    for number, node in enumerate(found):
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        known[node] = made = node.target(*args, **kwargs)
        if not isinstance(made, torch.Tensor) or made.numel() > LARGEST_FOLDED:
            continue
        graph.register_buffer(f"_folded{number}", made)
        with graph.graph.inserting_before(node):
            held = graph.graph.get_attr(f"_folded{number}")
        known[held] = made
        node.replace_all_uses_with(held)
    graph.graph.eliminate_dead_code()


def _scripted(graph, flat):
    """The recorded operations without Python between them: twice as fast where arrays are small."""
    if not all(isinstance(t, torch.Tensor) for t in flat):
        return graph
    with without_warnings():
        try:
            return torch.jit.trace(graph, tuple(flat), check_trace=False, strict=False)
        except (RuntimeError, TypeError):
            return graph


def resolve_device(device: str) -> str:
    """The device that ``device`` means here.

    Raises
    ------
    BackendError
        For another word, or if another one than the CPU is asked for.
    """
    check_device(device)
    if device == "gpu":
        raise BackendError(
            explain("device", "'cpu' on the torch backend", "'gpu'", "use backend='jax' for a GPU")
        )
    return "cpu"


def memory(device: str) -> float | None:
    """Bytes that the device lets a program have; None where it is the machine's own memory."""
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    device = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or device


def untraceable(error) -> bool:
    """Whether an error may come of recording or mapping alone, so that the model can still run draw by draw."""
    return not isinstance(error, (ElboroomError, KeyboardInterrupt)) and not out_of_memory(error)

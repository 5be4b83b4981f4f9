"""Which source reaches which node, and along which axes: states carried through every operation of one run.

Dependencies come from what a model computes, never from names or from what it declares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils._pytree import tree_leaves, tree_map_only

from ...graph import IndexProblem
from ...recursion import scan_in_python
from ...units import PARTS
from ..reach import LEARNED, Analysis, accesses, joined, mixed, source_state, through
from .codes import Codes
from .indices import arguments, indexed, is_position
from .rules import Call, apply

_POINTWISE = torch.Tag.pointwise


def analyse(
    fn: Callable,
    values: Mapping[str, torch.Tensor],
    data: Mapping[str, torch.Tensor],
    labelled=(),
    weights: Mapping[str, torch.Tensor] | None = None,
) -> Analysis:
    """What reaches each part of each node of ``fn(values, data) -> {node: {part: tensor}}``.

    Parameters
    ----------
    fn : callable
        Run once.
    values : mapping of str to torch.Tensor
        Constrained latent values by site: points inside the supports; no result depends on them.
    data : mapping of str to torch.Tensor
        Data by argument label.
    labelled : mapping of str to numpy.ndarray, optional
        Codes of the arguments that came as labels.
    weights : mapping of str to torch.Tensor, optional
        Learned arrays; where there are any, `fn` takes them third.

    Returns
    -------
    Analysis

    Notes
    -----
    Sources are exact up to what the computation names: a product with a literal zero still counts. Axes err
    on the side of ``"mixed"``: every other answer holds for all values of the latents. A loop or a branch of
    Python counts as what it came to in this run.

    Examples
    --------
    >>> def model(values, data):
    ...     return {"y": {"log_prob": -0.5 * (data["y"] - values["alpha"][data["county"]]) ** 2}}
    >>> data = {"y": torch.ones(4), "county": torch.tensor([0, 1, 1, 2])}
    >>> analyse(model, {"alpha": torch.zeros(3)}, data).access["y"]["log_prob"]["alpha"].axes
    (AxisAccess(how='gathered', axis=0, label='county'),)
    """
    with torch.no_grad(), Walk(Codes(dict(labelled))) as walk:
        kinds = {"latent": values, "data": data} | ({LEARNED: weights} if weights else {})
        nodes = fn(*({k: walk.source((kind, k), v) for k, v in each.items()} for kind, each in kinds.items()))
    access: dict = {}
    learned: dict = {}
    known: dict = {}
    for node, parts in nodes.items():
        for part, tensor in parts.items():
            state = walk.state(tensor)
            access.setdefault(node, {})[part], learned.setdefault(node, {})[part] = accesses(state)
            if node in values and part in PARTS and all(kind == "data" for kind, _ in state):
                known.setdefault(node, {})[part] = tensor.detach().cpu().numpy()
    return Analysis(access, walk.problems, tuple(walk.unread), list(walk.codes.found.items()), known, learned)


def scan(step, init, xs, length):
    """`elboroom.scan`; where dependencies are followed, what a carry holds is known to come from earlier steps."""
    walk = _get_current_dispatch_mode()
    if not isinstance(walk, Walk):
        return scan_in_python(step, init, xs, length)

    def marked(carry, x):
        carry, y = step(carry, x)
        return tree_map_only(torch.Tensor, walk.carried, carry), y

    return scan_in_python(marked, init, xs, length)


def named(module: str, made):
    """What came out of a module, known to come through it where dependencies are followed."""
    walk = _get_current_dispatch_mode()
    if not isinstance(walk, Walk):
        return made
    return tree_map_only(torch.Tensor, lambda tensor: walk.through(tensor, module), made)


class Walk(TorchDispatchMode):
    """States of the tensors of a run; every tensor is kept, so that no other one takes its place."""

    def __init__(self, codes: Codes):
        super().__init__()
        self.codes = codes
        self._known: dict[int, tuple[torch.Tensor, dict]] = {}
        self.problems: list[IndexProblem] = []
        self.unread: dict[str, None] = {}
        self._place: dict = {}  # what decides the position that the next selection reads: a single number

    def source(self, key, tensor) -> torch.Tensor:
        """A private copy of a tensor, as a source."""
        tensor = tensor.detach().clone()
        self._known[id(tensor)] = tensor, {key: source_state(tensor.ndim)}
        if key[0] == "data":
            self.codes.source(key[1], tensor)
        return tensor

    def state(self, tensor) -> dict:
        """What a tensor sees."""
        return self._known[id(tensor)][1] if id(tensor) in self._known else {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, given = func.overloadpacket.__name__, arguments(func, args, kwargs or {})
        given = indexed(name, given, self._inside) or given
        out = func(**given)
        tensors = [t for t in tree_leaves(given) if isinstance(t, torch.Tensor)]
        states = [self.state(t) for t in tensors]
        outs = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.codes.after(name, given, outs)
        if func._schema.is_mutable:  # noqa: SLF001  PyTorch has no public name for an operation's signature
            self._written(name, tensors, states)
        elif any(states):
            try:
                call = Call(name, given, tensors, outs[0]) if outs else None
                found = apply(call, states, _POINTWISE in func.tags) if call else {}
            except Exception:  # a form of the operation that its rule does not know
                found = mixed(states)
                self.unread[name] = None
            for i, tensor in enumerate(outs):
                self._known[id(tensor)] = tensor, found[i] if isinstance(found, list) else found
        else:
            for tensor in outs:
                self._known[id(tensor)] = tensor, {}
        if name == "select" and self._place:
            self._known[id(out)] = out, joined([self.state(out), self._place])
        self._place = states[0] if name == "_local_scalar_dense" else {}
        return out

    def carried(self, tensor) -> torch.Tensor:
        """A tensor as the next step of a loop sees it."""
        again = tensor.clone()
        self._known[id(again)] = again, {k: r._replace(carried=True) for k, r in self.state(tensor).items()}
        return again

    def through(self, tensor, module: str) -> torch.Tensor:
        """A tensor as what comes out of a module."""
        again = tensor.clone()
        self._known[id(again)] = again, through(self.state(tensor), module)
        return again

    def _written(self, name, tensors, states):
        """A tensor changed in place, and with it all that shares its memory."""
        target, place = tensors[0], _memory(tensors[0])
        whole = (
            name == "copy_" and target.is_contiguous() and target.nbytes == target.untyped_storage().nbytes()
        )
        for key, (tensor, state) in list(self._known.items()):
            if _memory(tensor) == place:
                made = mixed([state, *states])
                if tensor is target and whole and tensors[-1].shape == target.shape:
                    made = joined([states[-1]])
                self._known[key] = tensor, made

    # -- index arrays ----------------------------------------------------------------------------------

    def _inside(self, index, size):
        state = self.state(index)
        if not is_position(index):
            return index
        rows = index.detach().numpy().reshape(-1)
        labels = sorted(name for kind, name in state if kind == "data")
        bad = (rows < (0 if labels else -size)) | (rows >= size)
        if not bad.any():
            return index
        if not any(kind == "latent" for kind, _ in state):
            per_row = max(rows.size // max(index.shape[0] if index.ndim else 1, 1), 1)
            spots = np.flatnonzero(bad)
            problem = IndexProblem(
                labels[0] if labels else "",
                int(size),
                tuple((spots // per_row).tolist()),
                tuple(rows[spots].tolist()),
                bool(rows.min() >= 1 and rows.max() == size),
            )
            if problem not in self.problems:
                self.problems.append(problem)
        held = index.clamp(0 if labels else -size, size - 1)
        self._known[id(held)] = held, state
        return held


def _memory(tensor) -> int:
    """What tells the memory of a tensor from that of others."""
    return tensor.untyped_storage()._cdata  # noqa: SLF001  the public address is zero wherever nothing is held

"""Loops that stay on the device: many steps, recorded once, without Python between their operations."""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.utils._pytree as pytree
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from .arrays import Function, Leaving, recorded, to_device, untraceable

__all__ = [
    "OPTIMISER",
    "copy",
    "is_optimiser",
    "loop",
    "mapped",
    "mapped_gradient",
    "normal",
    "optimiser",
    "put",
    "slope",
    "still",
    "to_host",
]


class loop:  # called as a function is, in both backends
    """``fn(state, inputs, constants) -> (state, outputs)``: `step` over the first axis of `inputs`.

    Parameters
    ----------
    step : callable
        ``step(state, input, constants) -> (state, output)`` of mappings of arrays.
    shape : tuple of int
        Of the standard normal draws ``eps`` of each step, which its ``seed`` fixes.

    Notes
    -----
    The state that is given is written over, so that a step on few of its elements costs as much as they do.
    """

    def __init__(self, step, dtype, clock, shape):
        self._step, self._dtype, self._shape, self._clock = step, dtype, shape, clock
        self._ready: dict = {}

    def __call__(self, state, inputs, constants):
        def tensor(x):
            return x if isinstance(x, torch.Tensor) else to_device(x, self._dtype)

        state, inputs, constants = (pytree.tree_map(tensor, x) for x in (state, inputs, constants))
        seeds, outputs = inputs["seed"].tolist(), []
        eps = torch.stack([normal(seed, self._shape, self._dtype) for seed in seeds])
        parts, held = pytree.tree_flatten({**inputs, "eps": eps})
        rows = list(zip(*(part.unbind(0) for part in parts), strict=True))
        fixed, around = pytree.tree_flatten(constants)
        flat, tree = pytree.tree_flatten(state)
        with torch.no_grad():
            step = self._recorded((flat, rows[0], fixed), (tree, held, around))
            for row in rows:
                found = step(*flat, *row, *fixed)
                flat, out = found[: len(flat)], found[len(flat) :]
                outputs.append(out)
        names = self._ready[None]
        seen = {
            name: torch.stack(parts) for name, parts in zip(names, zip(*outputs, strict=True), strict=True)
        }
        return pytree.tree_unflatten(list(flat), tree), seen

    def _recorded(self, given, trees):
        """One step on flat lists of tensors, where it can be without Python between its operations."""
        key = trees, tuple((tuple(t.shape), t.dtype) for part in given for t in part)
        if key in self._ready:
            return self._ready[key]
        ends = np.cumsum([len(part) for part in given])[:-1]

        def step(*flat):
            parts = np.split(np.arange(len(flat)), ends)
            state, out = self._step(
                *(
                    pytree.tree_unflatten([flat[i] for i in part], tree)
                    for part, tree in zip(parts, trees, strict=True)
                )
            )
            self._ready[None] = list(out)
            return (*pytree.tree_leaves(state), *out.values())

        begin = time.perf_counter()
        try:
            self._ready[key] = recorded(step, [t.clone() for part in given for t in part])
        except Exception as error:  # whatever the model does that cannot be recorded
            if not untraceable(error):
                raise
            self._ready[key] = step
        self._clock["compile"] += time.perf_counter() - begin
        self._clock["count"] += 1
        return self._ready[key]


def normal(seed, shape, dtype):
    """Standard normal draws that an integer seed fixes."""
    generator = torch.Generator().manual_seed(int(seed))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(_of(dtype))


def _of(dtype):
    return torch.float64 if str(dtype) == "float64" else torch.float32


def put(array, index, values):
    """`array` with `values` at the places `index` of its last axis; in place, as nothing else holds it."""
    array[..., index] = values
    return array


class optimiser:  # called as a function is, in both backends
    """A PyTorch optimiser as steps up a gradient; see `is_optimiser`."""

    def __init__(self, made, dtype):
        self._made = made

    def init(self, params):
        self._params = params.clone()
        self._inner = self._made([self._params])
        return {}

    def update(self, params, gradient, state):
        if get_proxy_mode() is not None:
            raise Leaving("an optimiser keeps a state of its own")
        self._params.copy_(params)
        self._params.grad = -gradient
        self._inner.step()
        return self._params.clone(), state


def is_optimiser(made) -> bool:
    """Whether `made` is a ``torch.optim.Optimizer`` class, or one with its settings filled in."""
    kind = getattr(made, "func", made)
    return isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)


OPTIMISER = "a torch.optim class, or functools.partial of one with its settings"


def mapped_gradient(density):
    """``fn(z, data, weights, scale) -> (values, gradients)`` over rows of `z`, to be used inside a loop."""

    def one(z, data, weights, scale):
        grad, value = torch.func.grad_and_value(lambda z: density.scaled_total(z, data, weights, scale))(z)
        return value, grad

    axes = (0, None, None, None)
    alone, within = Function(one, axes, density.dtype, density.clock), torch.func.vmap(one, axes)

    def gradient(*args):
        return alone.on_device(*args) if get_proxy_mode() is None else within(*args)

    return gradient


def slope(fn):
    """``(gradient in the first argument, rest)`` of a function that gives a number and what else it has seen."""
    return torch.func.grad(fn, has_aux=True)


def mapped(fn):
    """A function of one tree of arrays over their leading axis."""
    return torch.func.vmap(fn)


def still(x):
    """A tensor that has no gradient."""
    return x.detach()


def copy(tree):
    """The same tensors again, in memory of their own."""
    return pytree.tree_map(torch.clone, tree)


def to_host(tree):
    """NumPy arrays of a mapping of tensors."""
    return pytree.tree_map(lambda x: x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x, tree)

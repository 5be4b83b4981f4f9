"""Loops that stay on the device: many steps, recorded once, without Python between their operations."""

from __future__ import annotations

import torch
import torch.utils._pytree as pytree

from .arrays import Function, to_device


class loop:  # noqa: N801  called as a function is, in both backends
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
        self._step, self._dtype, self._shape = step, dtype, shape

    def __call__(self, state, inputs, constants):
        def tensor(x):
            return x if isinstance(x, torch.Tensor) else to_device(x, self._dtype)

        state, inputs, constants = (pytree.tree_map(tensor, x) for x in (state, inputs, constants))
        count = len(pytree.tree_leaves(inputs)[0])
        outputs = []
        with torch.no_grad():
            for i in range(count):
                given = pytree.tree_map(lambda x, i=i: x[i], inputs)
                given["eps"] = normal(given["seed"], self._shape, self._dtype)
                state, out = self._step(state, given, constants)
                outputs.append(out)
        return state, pytree.tree_map(lambda *parts: torch.stack(parts), *outputs)


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


class optimiser:  # noqa: N801  called as a function is, in both backends
    """A PyTorch optimiser as steps up a gradient; see `is_optimiser`."""

    def __init__(self, made, dtype):
        self._made = made

    def init(self, params):
        self._params = params.clone()
        self._inner = self._made([self._params])
        return {}

    def update(self, params, gradient, state):
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

    return Function(one, (0, None, None, None), density.dtype, density.clock).on_device


def copy(tree):
    """The same tensors again, in memory of their own."""
    return pytree.tree_map(torch.clone, tree)


def to_host(tree):
    """NumPy arrays of a mapping of tensors."""
    return pytree.tree_map(lambda x: x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x, tree)

"""Loops that stay on the device: many steps in one compiled call."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .arrays import Function, precision

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


def loop(step, dtype, clock, shape) -> Function:
    """``fn(state, inputs, constants) -> (state, outputs)``: `step` over the first axis of `inputs`.

    Parameters
    ----------
    step : callable
        ``step(state, input, constants) -> (state, output)`` of mappings of arrays.
    dtype : numpy.dtype
        Precision of all floating-point arrays.
    clock : dict
        Seconds spent on compilation, and their number: see `protocol.Function`.
    shape : tuple of int
        Of the standard normal draws ``eps`` of each step, which its ``seed`` fixes. Those of all steps are made first:
        within the loop each kernel that reads them would make them again.

    Notes
    -----
    The state that is given is written over, so that a step on few of its elements costs as much as they do.
    """

    def run(state, inputs, constants):
        eps = jax.vmap(lambda seed: normal(seed, shape, dtype))(inputs["seed"])
        return jax.lax.scan(lambda carry, one: step(carry, one, constants), state, {**inputs, "eps": eps})

    return Function(run, dtype, clock, donate=(0,))


def normal(seed, shape, dtype):
    """Standard normal draws that an integer seed fixes."""
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def put(array, index, values):
    """`array` with `values` at the places `index` of its last axis."""
    return array.at[..., index].set(values, unique_indices=True)


class optimiser:  # called as a function is, in both backends
    """An optax transformation as steps up a gradient; see `is_optimiser`."""

    def __init__(self, made, dtype):
        self._made, self._dtype = made, dtype

    def init(self, params):
        with precision(self._dtype):
            return self._made.init(params)

    def update(self, params, gradient, state):
        move, state = self._made.update(-gradient, state, params)
        return params + move, state


def is_optimiser(made) -> bool:
    """Whether `made` is an optax ``GradientTransformation``."""
    return callable(getattr(made, "init", None)) and callable(getattr(made, "update", None))


OPTIMISER = "an optax GradientTransformation, as optax.adam(0.05)"


def mapped_gradient(density):
    """``fn(z, data, weights, scale) -> (values, gradients)`` over rows of `z`, to be used inside a loop."""
    return jax.vmap(jax.value_and_grad(density.scaled_total), (0, None, None, None))


def slope(fn):
    """``(gradient in the first argument, rest)`` of a function that gives a number and what else it has seen."""
    return jax.grad(fn, has_aux=True)


def mapped(fn):
    """A function of one tree of arrays over their leading axis."""
    return jax.vmap(fn)


def still(x):
    """An array that has no gradient."""
    return jax.lax.stop_gradient(x)


def copy(tree):
    """The same arrays again, in memory of their own."""
    with jax.enable_x64(True):
        return jax.tree_util.tree_map(jnp.copy, tree)


def to_host(tree):
    """NumPy arrays of a mapping of device arrays."""
    return jax.tree_util.tree_map(jax.device_get, tree)

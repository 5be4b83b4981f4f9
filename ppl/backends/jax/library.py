"""What the functions of a draw ask of JAX: `functions.Library`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ...thresholds import AFRESH
from .execute import Run, execute, scan
from .transforms import is_real, transform_of

name = "jax"
run = Run
asarray = jnp.asarray
total = jnp.sum
grad = jax.grad
vmap = jax.vmap
transform = transform_of

__all__ = [
    "asarray",
    "cast",
    "draws",
    "execute",
    "grad",
    "is_real",
    "jvp",
    "name",
    "run",
    "scan",
    "total",
    "transform",
    "vmap",
    "zeros",
]


class draws:  # called as a function is, on both backends
    """Random numbers of one draw, by a key for each."""

    def __init__(self, seed, dtype, key=None):
        self.key, self._dtype = jax.random.key(seed) if key is None else key, dtype
        self._counter = iter(range(1 << 30))

    def sample(self, fn, at=None):
        own = jax.random.fold_in(self.key, next(self._counter))
        return fn.sample(own if at is None or at is ... else jax.random.fold_in(own, at))

    def choose(self, shares, site, step=None):
        own = jax.random.fold_in(jax.random.fold_in(self.key, 1), site)
        own = own if step is None else jax.random.fold_in(own, step)
        return jax.random.categorical(own, jnp.log(shares), axis=0)

    def afresh(self, step):
        return draws(None, self._dtype, jax.random.fold_in(jax.random.fold_in(self.key, AFRESH), step))


zeros = jnp.zeros


def cast(value, like):
    """An array with the type of another."""
    return value.astype(like.dtype)


def jvp(fn, at, along):
    """Derivative of a function at a point along a direction."""
    return jax.jvp(fn, (at,), (along,))[1]

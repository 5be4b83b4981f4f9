"""The functions of ``er.math`` over JAX."""

from __future__ import annotations

import jax.numpy as jnp
import jax.scipy.special
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import gammaln

from ...math import make_namespace


def log_rising(start, steps):
    """``gammaln(start + steps) - gammaln(start)`` without the cancellation of two large numbers.

    JAX's own betaln is off by 1e-6 near 8, and plain differences lose the digits of large arguments; from 10
    on, Stirling's series is exact to rounding.
    """
    large = start >= 10.0
    x = jnp.where(large, start, 10.0)
    smooth = (x - 0.5) * jnp.log1p(steps / x) + steps * jnp.log(x + steps) - steps
    series = smooth + _stirling(x + steps) - _stirling(x)
    return jnp.where(large, series, gammaln(start + steps) - gammaln(start))


def _stirling(x):
    square = 1.0 / (x * x)
    return (1 / 12 + square * (-1 / 360 + square * (1 / 1260 + square * (-1 / 1680 + square / 1188)))) / x


def betaln(a, b):
    """Logarithm of the beta function."""
    small, large = jnp.minimum(a, b), jnp.maximum(a, b)
    return gammaln(small) - log_rising(large, small)


def _solve(a, b, lower=False):
    lead = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = jnp.broadcast_to(a, lead + a.shape[-2:])
    if b.ndim > 1:
        b = jnp.broadcast_to(b, lead + b.shape[-2:])
    return solve_triangular(a, b, lower=lower)


def _iterate(step, state, num_steps):
    return jax.lax.fori_loop(0, num_steps, lambda _, state: step(*state), state)


FUNCTIONS = make_namespace(jnp, jax.scipy.special, _solve) | {
    "betaln": betaln,
    "iterate": _iterate,
    "scan": jax.lax.scan,
}

"""The functions of ``er.math`` over JAX."""

from __future__ import annotations

import jax.numpy as jnp
import jax.scipy.special
from jax.scipy.linalg import solve_triangular

from ...namespace import make_namespace
from .logits import softplus


def _solve(a, b, lower=False):
    lead = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = jnp.broadcast_to(a, lead + a.shape[-2:])
    if b.ndim > 1:
        b = jnp.broadcast_to(b, lead + b.shape[-2:])
    return solve_triangular(a, b, lower=lower)


def _iterate(step, state, num_steps):
    return jax.lax.fori_loop(0, num_steps, lambda _, state: step(*state), state)


FUNCTIONS = make_namespace(jnp, jax.scipy.special, _solve) | {
    "iterate": _iterate,
    "scan": jax.lax.scan,
    "softplus": softplus,
}

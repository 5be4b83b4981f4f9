"""Solutions of ordinary differential equations, their derivatives along with them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.flatten_util import ravel_pytree

from ...steps import Tolerance, explicit, first_step, follow, implicit, pushed, reached
from ...thresholds import MAX_STEPS, STEPS_PER_TIME

_looking: ContextVar[bool] = ContextVar("elboroom_looking", default=False)


@contextmanager
def looking():
    """Inside, equations are not solved: what depends on what, and nothing else, is that of their solutions."""
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def odeint(field, y0, times, args, each, tolerance, stiff):
    """Solutions of shape (*systems, T, n), see `elboroom.odeint`.

    Notes
    -----
    The sensitivities to all numbers that have a tangent run along with a solution, which takes the same steps without
    them; the size of a step has no derivative.
    """

    def look(y0, times, *args):
        slopes = jax.vmap(lambda t: field(t, y0, *args))(jnp.sort(times))  # a time may depend on all of them
        return reached(slopes, y0, tolerance, stiff)

    def solve(y0, times, *args):
        closed, more = jax.closure_convert(lambda t, y, args: field(t, y, *args), times[0], y0, args)
        problem = _Problem(lambda t, y, args: closed(t, y, args[0], *args[1]), tolerance, stiff)
        return _path(problem, y0, times, (args, tuple(more)))

    one = look if _looking.get() else solve
    one = jax.vmap(one, [0 if own else None for own in each]) if any(each) else one
    return one(y0, times, *args)


_replacing: ContextVar[bool] = ContextVar("elboroom_replacing", default=False)


@contextmanager
def replacing():
    """Inside, `jax.experimental.ode.odeint` solves as `elboroom.odeint` does: the same steps, but their number bounded.

    Its own loop has no end where a draw from far out asks for ever smaller steps, and goes through the equation once more
    for derivatives.
    """
    theirs, name = sys.modules.get("jax.experimental.ode"), "_odeint_wrapper"
    kept = getattr(
        theirs, name, None
    )  # what its word calls; where JAX has changed that, it solves as it always did
    if kept is None:
        yield
        return
    token = _replacing.set(True)
    setattr(theirs, name, partial(_solved, kept))
    try:
        yield
    finally:
        setattr(theirs, name, kept)
        _replacing.reset(token)


def _solved(kept, func, rtol, atol, mxstep, hmax, y0, times, *args):
    if not _replacing.get() or hmax < np.inf:
        return kept(func, rtol, atol, mxstep, hmax, y0, times, *args)
    first, unravel = ravel_pytree(y0)
    leaves, tree = jax.tree_util.tree_flatten(args)

    def field(t, y, *leaves):
        return ravel_pytree(func(unravel(y), t, *jax.tree_util.tree_unflatten(tree, leaves)))[0]

    steps = min(mxstep * len(times), max(MAX_STEPS, STEPS_PER_TIME * len(times)))
    each = (False,) * (2 + len(leaves))
    path = odeint(field, first, times, tuple(leaves), each, Tolerance(rtol, atol, int(steps)), False)
    return jax.vmap(unravel)(path)


class _Problem:
    """A method for a field, whose further arguments `closure_convert` found."""

    def __init__(self, field, tolerance, stiff):
        self.field, self.tolerance = field, tolerance
        self.method = implicit(field, self._slopes, tolerance) if stiff else explicit(field, tolerance)

    def _slopes(self, t, y, args):
        return jax.jacfwd(self.field, 1)(t, y, args), jax.jvp(
            lambda t: self.field(t, y, args), (t,), (jnp.ones_like(t),)
        )[1]

    def follow(self, method, state, y0, times, args, given):
        """Solution after the first time by a method whose state and arguments may carry tangents along."""
        size = first_step(self.field, self.tolerance, method.order, times[0], y0, args)
        size = jax.lax.stop_gradient(size)
        return follow(method, size, state, times, given, self.tolerance.max_steps, jax.lax.scan, _until)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _path(problem, y0, times, args):
    method = problem.method
    later = problem.follow(method, method.start(times[0], y0, args), y0, times, args, args)
    return jnp.concatenate([y0[None], later])


@partial(_path.defjvp, symbolic_zeros=True)
def _path_jvp(problem, given, tangents):
    (y0, times, args), (dy0, dtimes, dargs) = given, tangents
    later_times = not isinstance(dtimes, SymbolicZero)
    leaves, tree = jax.tree_util.tree_flatten((y0, args))
    changes = jax.tree_util.tree_leaves((dy0, dargs))
    moves = [not isinstance(change, SymbolicZero) for change in changes]
    moves[0] |= later_times  # a later start is another first value
    dy0 = jnp.zeros_like(y0) if isinstance(dy0, SymbolicZero) else dy0
    first = dy0 - problem.field(times[0], y0, args) * dtimes[0] if later_times else dy0
    along = jnp.concatenate(
        [jnp.ravel(c) for c, moving in zip([first, *changes[1:]], moves, strict=True) if moving]
    )

    def bound(moving):
        moving = iter(moving)
        return jax.tree_util.tree_unflatten(
            tree, [next(moving) if m else leaf for leaf, m in zip(leaves, moves, strict=True)]
        )

    moving = [leaf for leaf, m in zip(leaves, moves, strict=True) if m]
    method = pushed(problem.method, _push, bound, _directions(moving))
    state = method.start(times[0], y0, moving)
    later, slopes = problem.follow(method, state, y0, times, args, moving)
    path, change = jnp.concatenate([y0[None], later]), jnp.tensordot(slopes, along, ((1,), (0,)))
    if later_times:
        change += jax.vmap(problem.field, (0, 0, None))(times[1:], later, args) * dtimes[1:, None]
    return path, jnp.concatenate([dy0[None], change])


def _directions(arrays):
    """One direction for each element of some arrays."""
    unit, splits, out = np.eye(sum(a.size for a in arrays)), 0, []
    for a in arrays:
        out.append(jnp.asarray(unit[:, splits : splits + a.size].reshape(-1, *a.shape), a.dtype))
        splits += a.size
    return out


def _push(fn, given, tangents):
    """Values of a function, and its derivatives along several tangents on a new first axis."""
    return jax.vmap(lambda along: jax.jvp(fn, given, along), out_axes=(None, 0))(tangents)


def _until(going, step, state):
    return jax.lax.while_loop(going, step, state)

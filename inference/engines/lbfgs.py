"""L-BFGS for several independent problems in lockstep.

Every iteration makes one batched call for all problems that are still running, so that several starts cost
as many calls as one.

References
----------
Nocedal & Wright (2006), Numerical Optimization, chapter 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..thresholds import (
    ARMIJO,
    BACKTRACKS,
    CURVED,
    LBFGS_MEMORY,
    LBFGS_STEPS,
    LONGEST_BACK,
    PATIENCE,
    SHORTEST_BACK,
)
from .loop import run

Objective = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
Pairs = tuple[tuple[np.ndarray, np.ndarray, float], ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """One of the problems.

    Attributes
    ----------
    x, grad, direction : numpy.ndarray, shape (P,)
    pairs : tuple
        Steps, changes of the gradient, and their products, that the curvature is read from.
    history : tuple of float
        The last values.
    fresh : bool
        Whether a new direction is due.
    tries : int
        Lengths tried along this one.
    """

    x: np.ndarray
    value: float
    grad: np.ndarray
    direction: np.ndarray
    history: tuple[float, ...]
    pairs: Pairs = ()
    length: float = 1.0
    fresh: bool = True
    tries: int = 0
    active: bool = True
    converged: bool = False


@dataclass(frozen=True, eq=False)
class State:
    """All of the problems."""

    problems: tuple[Problem, ...]
    num_iterations: int = 0


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the problems ended: points ``(K, P)``, values ``(K,)``, gradients, and iterations made."""

    x: np.ndarray
    value: np.ndarray
    grad: np.ndarray
    num_iterations: int
    converged: np.ndarray

    @property
    def slope(self) -> float:
        """Norm of the first one's gradient."""
        return float(np.linalg.norm(self.grad[0]))


@dataclass(frozen=True, eq=False)
class Lbfgs:
    """The engine.

    Parameters
    ----------
    fn : callable
        ``fn(x, which) -> (values, gradients)`` for the problems ``which``; non-finite values are refused.
    max_iterations : int
    tolerance : float
        A problem stops when `patience` iterations together gain less than this.
    memory : int
        Steps from which the curvature is read.
    max_step : float
        Largest change of any coordinate in one step.
    """

    fn: Objective
    max_iterations: int = LBFGS_STEPS
    tolerance: float = 1e-2
    patience: int = PATIENCE
    memory: int = LBFGS_MEMORY
    max_step: float = np.inf

    def init(self, start: np.ndarray) -> State:
        """At points ``(K, P)``."""
        x = np.array(start, dtype=float)
        value, grad = self.fn(x, np.arange(len(x)))
        value = np.where(np.isfinite(value), value, np.inf)
        grad = np.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        return State(
            tuple(
                Problem(
                    x[k],
                    value[k],
                    grad[k],
                    np.zeros(x.shape[1]),
                    (value[k],),
                    active=bool(np.isfinite(value[k])),
                )
                for k in range(len(x))
            )
        )

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        if not any(problem.active for problem in state.problems):
            return "at rest"
        return "step limit" if state.num_iterations >= self.max_iterations else None

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        which = [k for k, problem in enumerate(state.problems) if problem.active]
        problems = [
            self._turned(state.problems[k]) if state.problems[k].fresh else state.problems[k] for k in which
        ]
        trial = np.stack([one.x + one.length * one.direction for one in problems])
        value, grad = self.fn(trial, np.array(which))
        moved = list(state.problems)
        for i, k in enumerate(which):
            moved[k] = self._moved(problems[i], trial[i], value[i], grad[i])
        return State(tuple(moved), state.num_iterations + 1)

    def _turned(self, one: Problem) -> Problem:
        """A problem with a new direction, and the length that is tried first."""
        direction, pairs = -_two_loop(one.grad, one.pairs), one.pairs
        if not direction @ one.grad < 0:
            direction, pairs = -one.grad, ()
        length = 1.0
        if not pairs:
            norm = float(np.linalg.norm(one.grad))
            length = min(1.0, float(1.0 / norm)) if norm > 0 else 1.0
        largest = np.abs(direction).max() * length
        if largest > self.max_step:
            length *= self.max_step / largest
        return replace(one, direction=direction, pairs=pairs, length=length, tries=0, fresh=False)

    def _moved(self, one: Problem, trial, value, grad) -> Problem:
        slope = one.direction @ one.grad
        finite = np.isfinite(value) and np.isfinite(grad).all()
        if finite and value <= one.value + ARMIJO * one.length * slope:
            step, change, pairs = trial - one.x, grad - one.grad, one.pairs
            along = step @ change
            if along > CURVED * (np.linalg.norm(step) * np.linalg.norm(change) + 1e-300):
                pairs = (*pairs, (step, change, along))[-self.memory :]
            history = (*one.history, value)[-1 - self.patience :]
            still = len(history) > self.patience and history[0] - history[-1] < self.tolerance
            return replace(
                one, x=trial, value=value, grad=grad, pairs=pairs, history=history, fresh=True,
                active=not still, converged=still,
            )  # fmt: skip
        length = 0.1 * one.length
        if finite:
            gap = value - one.value - one.length * slope
            best = -slope * one.length**2 / (2 * gap) if gap > 0 else 0.5 * one.length
            length = np.clip(best, SHORTEST_BACK * one.length, LONGEST_BACK * one.length)
        one = replace(one, length=length, tries=one.tries + 1)
        if one.tries <= BACKTRACKS:
            return one
        if one.pairs:
            return replace(one, pairs=(), fresh=True)
        flat = bool(finite and abs(slope) * length < self.tolerance)
        return replace(one, active=False, converged=flat)

    def fit(self, state: State, reason: str) -> Minimum:
        """Where the problems are."""
        problems = state.problems
        return Minimum(
            np.stack([one.x for one in problems]),
            np.array([one.value for one in problems]),
            np.stack([one.grad for one in problems]),
            state.num_iterations,
            np.array([one.converged for one in problems]),
        )


def minimise(fn: Objective, x: np.ndarray, callback=None, **settings) -> Minimum:
    """Minimise K functions at once.

    Parameters
    ----------
    fn : callable
        See `Lbfgs`.
    x : numpy.ndarray, shape (K, P)
        Where each begins.
    callback : callable, optional
        Whether to stop; asked before every iteration.
    **settings
        Of `Lbfgs`.

    Returns
    -------
    Minimum
    """
    engine = Lbfgs(fn, **settings)
    state, reason = run(engine, x, callback)
    return engine.fit(state, reason)


def _two_loop(grad: np.ndarray, pairs: Pairs) -> np.ndarray:
    """The inverse curvature times a gradient."""
    q, alphas = grad.copy(), []
    for s, y, along in reversed(pairs):
        a = (s @ q) / along
        alphas.append(a)
        q -= a * y
    if pairs:
        _, y, along = pairs[-1]
        q *= along / (y @ y)
    for (s, y, along), a in zip(pairs, reversed(alphas), strict=True):
        q += s * (a - (y @ q) / along)
    return q

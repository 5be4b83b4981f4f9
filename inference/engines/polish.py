"""Quasi-Newton on the fixed-draw ELBO of a dense Gaussian, in the frame of one that is already near.

Draws are doubled until the ELBO on the fitting draws and on fresh ones agree.

References
----------
Giordano, Ingram & Broderick (2024), Black box variational inference with a deterministic objective, JMLR 25.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...guides.transport import Affine, Gaussian, triangular
from ..thresholds import AGREED, FEWEST_DRAWS, POLISH_DOUBLINGS, POLISH_STEPS, POLISH_TOLERANCE
from .bound import entropy
from .designs import whitened
from .lbfgs import minimise
from .loop import STOPPED, Density, Fit
from .problem import Problem


@dataclass(frozen=True, eq=False)
class State:
    """Where the polish is: numbers of a Gaussian in the frame of the start, and how the last draws agreed."""

    start: Affine
    x: np.ndarray
    num_draws: int
    trace: tuple[float, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Polish:
    """The engine.

    Parameters
    ----------
    density : callable
        See `Density`.
    rng : numpy.random.Generator
    max_doublings : int
    tolerance : float
        Nats, of the quasi-Newton steps.
    stop : callable, optional
        Asked between them.
    """

    density: Density
    rng: np.random.Generator
    max_doublings: int = POLISH_DOUBLINGS
    tolerance: float = POLISH_TOLERANCE
    stop: Callable[[], bool] | None = None

    name = "polish"
    loose = True
    rounds = 1
    again = True
    centred = False
    improves = True
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> Polish | None:
        """Where the natural gradient before it found no rest, and more could help."""
        before = problem.before
        if before is None or before.converged or before.reason in {"flat direction", STOPPED}:
            return None
        return cls(problem.density, problem.rng, stop=problem.stop)

    def init(self, start: Gaussian) -> State:
        """At a Gaussian."""
        dim = start.dim
        return State(triangular(start), np.zeros((1, dim + dim * (dim + 1) // 2)), max(FEWEST_DRAWS, 4 * dim))

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return state.reason or ("no more draws" if len(state.trace) > self.max_doublings else None)

    def step(self, state: State) -> State:
        """The best on some fixed draws, and its bound on fresh ones."""
        start, num = state.start, state.num_draws
        dim = start.dim
        rows, cols = np.tril_indices(dim)
        diagonal = rows == cols
        eps = whitened(self.rng, num, dim)

        def elbo(value, x):
            return value.mean() + entropy(start.log_det + x[0, dim:][diagonal].sum(), dim)

        def objective(x, which):
            m, c = _built(x[0], dim)
            value, grad = self.density(start.mean + (m + eps @ c.T) @ start.scale.T)
            h = grad @ start.scale
            inner = h.T @ eps / len(eps)
            g = inner[rows, cols]
            g = np.where(diagonal, g * np.diag(c)[rows] + 1.0, g)
            return np.array([-elbo(value, x)]), -np.concatenate([h.mean(0), g])[None]

        found = minimise(
            objective, state.x, self.stop,
            max_iterations=POLISH_STEPS, tolerance=self.tolerance, patience=3, max_step=1.0,
        )  # fmt: skip
        m, c = _built(found.x[0], dim)
        fresh = whitened(self.rng, num, dim)
        bound = elbo(self.density(start.mean + (m + fresh @ c.T) @ start.scale.T)[0], found.x)
        agreed = not np.isfinite(bound) or -found.value[0] - bound < AGREED
        trace = (*state.trace, bound)
        return replace(
            state, x=found.x, trace=trace, num_draws=2 * num, reason="the draws agree" if agreed else None
        )

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached."""
        m, c = _built(state.x[0], state.start.dim)
        place = Affine(state.start.mean + state.start.scale @ m, state.start.scale @ c)
        elbo = state.trace[-1] if state.trace else -np.inf
        return Fit(place, place, elbo, True, state.trace, "polished on fixed draws", reason)


def _built(x: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and lower-triangular scale of the numbers that are optimised."""
    rows, cols = np.tril_indices(dim)
    c = np.zeros((dim, dim))
    c[rows, cols] = np.where(rows == cols, np.exp(np.clip(x[dim:], -20, 20)), x[dim:])
    return x[:dim], c

"""Guarded natural gradient of a full-rank Gaussian.

In the whitened frame of the current Gaussian the mean gradient and, by Stein's identity, the mean Hessian
of the log density follow from one batch of gradients at whitened draws; the step is Newton's, and a step
that lowers the ELBO beyond its standard error is taken back and damped.

References
----------
Khan & Rue (2023), The Bayesian learning rule, JMLR 24. Lin, Schmidt & Khan (2020), Handling the
positive-definite constraint in the Bayesian learning rule, ICML.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...guides.transport import Affine, Gaussian, triangular
from ..thresholds import (
    BETTER,
    CURVATURE_AT_REST,
    CURVATURES,
    FEWEST_DRAWS,
    FLAT,
    GRADIENT_AT_REST,
    LARGEST_MOVE,
    LEAST_CURVATURE,
    NARROWEST,
    NATURAL_STEPS,
    STALE,
    TRACE_AT_REST,
    WIDEST,
)
from .bound import entropy
from .damping import Damping, refused
from .designs import whitened
from .loop import Density, Fit
from .problem import Problem


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A Gaussian with what its draws say of the target: the quadratic that fits it there.

    Attributes
    ----------
    place : Affine
        With a lower-triangular scale.
    gradient, curvature : numpy.ndarray, shapes (dim,) and (dim, dim)
        Mean gradient and mean negative Hessian, whitened; see `whitened_moments`.
    eps, grad : numpy.ndarray, shape (B, dim)
        The whitened draws, and the target's gradient at their images.
    elbo, elbo_se : float
    """

    place: Affine
    gradient: np.ndarray
    curvature: np.ndarray
    eps: np.ndarray
    grad: np.ndarray
    elbo: float = np.nan
    elbo_se: float = np.nan


Advance = Callable[[Quadratic, float], Affine]


@dataclass(frozen=True, eq=False)
class State:
    """Where a natural gradient is.

    Attributes
    ----------
    trial : Affine
        The Gaussian that is looked at next.
    kept, best : Quadratic or None
        The last that was taken, and the one with the highest bound.
    stale : int
        Steps since the bound rose.
    slope : float or None
        Norm of the whitened gradient at the last that was taken.
    """

    trial: Affine
    damping: Damping
    batch: int
    widths: tuple[float, float]
    kept: Quadratic | None = None
    best: Quadratic | None = None
    stale: int = 0
    num_steps: int = 0
    trace: tuple[float, ...] = ()
    slope: float | None = None
    reason: str | None = None
    found: Affine | None = None


@dataclass(frozen=True, eq=False)
class NaturalGradient:
    """The engine.

    Parameters
    ----------
    density : callable
        See `Density`.
    rng : numpy.random.Generator
    max_steps : int
    gradient_tol, hessian_tol : float
        It is at rest where the worst direction has a whitened gradient below the first and a whitened curvature
        within the second of 1, and the curvatures sum to the dimension within 1.
    advance : callable, optional
        ``advance(quadratic, damping)``: where a step leads; by default `newton`.
    """

    density: Density
    rng: np.random.Generator
    max_steps: int = NATURAL_STEPS
    gradient_tol: float = GRADIENT_AT_REST
    hessian_tol: float = CURVATURE_AT_REST
    advance: Advance | None = None

    name = "natural gradient"
    loose = True
    rounds = 3
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> NaturalGradient:
        """On the problem's density."""
        return cls(problem.density, problem.rng)

    def init(self, start: Gaussian) -> State:
        """At a Gaussian."""
        place, dim = triangular(start), start.dim
        narrow = float(np.abs(place.deviations).max())
        batch = max(FEWEST_DRAWS, 2 * dim + dim % 2)
        return State(place, Damping(1.0, 1.0), batch, (narrow, max(1.0, narrow)))

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return state.reason or ("step limit" if state.num_steps >= self.max_steps else None)

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        state = replace(state, num_steps=state.num_steps + 1)
        here = self._look(state.trial, state.batch)
        kept = state.kept
        if here is None or (kept is not None and refused(here.elbo, here.elbo_se, kept.elbo, kept.elbo_se)):
            return self._refused(state)
        return self._taken(state, here)

    def _look(self, place: Affine, batch: int) -> Quadratic | None:
        """What the target is like around a Gaussian; None where it is not finite."""
        eps = whitened(self.rng, batch, place.dim)
        value, grad = self.density(place.mean + eps @ place.scale.T)
        if not (np.isfinite(value).all() and np.isfinite(grad).all()):
            return None
        slope, curvature = whitened_moments(grad @ place.scale, eps)
        elbo = value.mean() + entropy(place.log_det, place.dim)
        rest = value - (eps @ slope - 0.5 * ((eps @ curvature) * eps).sum(1))
        return Quadratic(place, slope, curvature, eps, grad, elbo, rest.std() / np.sqrt(batch))

    def _refused(self, state: State) -> State:
        advance = self.advance or newton
        if state.kept is None:
            trial = Affine(state.trial.mean, 0.5 * state.trial.scale)
            lost = np.abs(trial.deviations).max() < NARROWEST * state.widths[0]
            return replace(state, trial=trial, reason="no finite draw" if lost else None)
        damping = state.damping.shorter()
        if damping.spent:
            return replace(state, damping=damping, reason="no step raises the bound")
        return replace(state, damping=damping, trial=advance(state.kept, damping.rate))

    def _taken(self, state: State, here: Quadratic) -> State:
        place, dim, best, stale = here.place, here.place.dim, state.best, state.stale + 1
        eig = np.linalg.eigvalsh(here.curvature)
        if best is None or here.elbo - here.elbo_se > best.elbo - best.elbo_se + BETTER:
            best, stale = here, 0
        slope = float(np.linalg.norm(here.gradient))
        state = replace(state, trace=(*state.trace, here.elbo), slope=slope, best=best, stale=stale)
        # small in every direction, and in all together: heavy tails in many dimensions hide a common scale
        small = np.abs(eig - 1).max() < self.hessian_tol and abs(eig.sum() - dim) < TRACE_AT_REST
        if np.abs(here.gradient).max() < self.gradient_tol and small:
            # one more undamped step is free and lands closer still
            return replace(state, best=here, reason="converged", found=newton(here, 1.0))
        if eig.min() < FLAT and np.abs(place.deviations).max() > WIDEST * state.widths[1]:
            return replace(state, reason="flat direction")
        damping = state.damping if state.kept is None else state.damping.longer()
        batch = state.batch
        if stale >= STALE:
            if batch >= 2 * max(FEWEST_DRAWS, 2 * dim + dim % 2):
                return replace(
                    state, damping=damping, kept=here, reason="no better bound at the largest batch"
                )
            batch, stale = 2 * batch, 0
        trial = (self.advance or newton)(here, damping.rate)
        return replace(state, damping=damping, kept=here, batch=batch, stale=stale, trial=trial)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached."""
        words = f"natural gradient: {reason} after {len(state.trace)} steps"
        if state.best is None:
            return Fit(state.trial, state.trial, -np.inf, False, state.trace, words, reason)
        place = state.best.place if state.found is None else state.found
        elbo, converged = state.best.elbo, reason == "converged"
        return Fit(place, place, elbo, converged, state.trace, words, reason, gradient_norm=state.slope)


def whitened_moments(h: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean gradient, and by Stein's identity mean negative Hessian, from whitened gradients `h` at draws `eps`."""
    moment = h.T @ eps / len(eps)
    return h.mean(0), -0.5 * (moment + moment.T)


def newton(here: Quadratic, damping: float) -> Affine:
    """The Gaussian after a step, damped by a factor in (0, 1]."""
    place = here.place
    eig, vec = np.linalg.eigh(here.curvature)
    # The mean takes Newton's step in full: a ceiling on the curvature would make it overshoot.
    move = damping * vec @ ((vec.T @ here.gradient) / np.maximum(eig, LEAST_CURVATURE))
    eig = np.clip(eig, *CURVATURES)
    with np.errstate(over="ignore"):
        size = np.sqrt((move**2).mean())
    if size > LARGEST_MOVE:
        move *= LARGEST_MOVE / size
    spread = (vec / np.sqrt(1 + damping * (eig - 1))) @ vec.T
    return Affine(place.mean + place.scale @ move, _lower(place.scale @ spread))


def _lower(factor: np.ndarray) -> np.ndarray:
    """Lower-triangular factor with the same outer product."""
    r = np.asarray(np.linalg.qr(factor.T, mode="r"))
    return r.T * np.sign(np.diag(r))

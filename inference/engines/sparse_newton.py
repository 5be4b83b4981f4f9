"""Guarded natural gradient of a Gaussian with a sparse precision.

The optimal Gaussian's precision is the mean of the negative Hessian under it, which has the posterior's own
links; so the step ``P ← (1 - ρ) P + ρ E[-H]``, ``m ← m + P⁻¹ E[∇ log p]`` stays within the family. The expectations
are taken over a few antithetic draws, and averaged over steps once the fit stands still.

References
----------
Khan & Rue (2023), The Bayesian learning rule, JMLR 24. Tan & Nott (2018), Statistics and Computing 28.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from ...guides.mean_field import independent
from ...guides.sparse import Factor, Layout, NotPositiveDefinite
from ...guides.structure import Structure
from ...guides.transport import Gaussian, Rooted
from ..thresholds import (
    BETTER,
    COMMON,
    CURVATURE_AT_REST,
    GRADIENT_AT_REST,
    HALVINGS_OF_A_STEP,
    LARGEST_MOVE,
    LARGEST_STEP,
    NARROWEST_PRECISION,
    NUM_AVERAGE,
    RESOLVED_BOUND,
    SPARSE_DRAWS,
    SPARSE_HESSIANS,
    SPARSE_STEPS,
    STALE,
    STEADY,
    WIDENINGS,
)
from .bound import entropy
from .damping import Damping, refused
from .designs import antithetic
from .loop import Density, Fit
from .problem import Problem


@dataclass(frozen=True, eq=False)
class Trial:
    """A Gaussian that is looked at next."""

    mean: np.ndarray
    precision: sp.csr_array
    factor: Factor


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A Gaussian with what its draws say of the target: the bound, the mean gradient, and at some `points` the mean
    negative Hessian."""

    at: Trial
    elbo: float
    elbo_se: float
    gradient: np.ndarray
    points: np.ndarray
    curvature: Any = None


@dataclass(frozen=True, eq=False)
class State:
    """Where the fit is.

    Attributes
    ----------
    averaged : int
        Steps that have been averaged since the fit stood still.
    widened : int
        How often the number of draws was doubled.
    slope : float or None
        Norm of the whitened gradient at the last that was taken.
    """

    trial: Trial
    damping: Damping
    num_draws: int
    num_hessian: int
    kept: Quadratic | None = None
    best: Quadratic | None = None
    last: Any = None
    stale: int = 0
    averaged: int = 0
    widened: int = 0
    converged: bool = False
    num_steps: int = 0
    trace: tuple[float, ...] = ()
    slope: float | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class SparseNewton:
    """The engine.

    Parameters
    ----------
    density : callable
        See `Density`.
    rng : numpy.random.Generator
    layout : Layout
        Of the guide's precision.
    structure : Structure
        Links of the posterior, from which its Hessian is recovered.
    num_draws, num_hessian : int
        Draws for the mean gradient and, of these, for the mean Hessian; even.
    num_average : int
        Steps that are averaged at the end.
    """

    density: Density
    rng: np.random.Generator
    layout: Layout
    structure: Structure
    num_draws: int = SPARSE_DRAWS
    num_hessian: int = SPARSE_HESSIANS
    max_steps: int = SPARSE_STEPS
    num_average: int = NUM_AVERAGE

    name = "sparse natural gradient"
    loose = True
    rounds = 3
    again = True
    centred = False
    improves = False
    must_rest = True

    @classmethod
    def of(cls, problem: Problem) -> SparseNewton:
        """With the links of the problem's guide."""
        structure = problem.guide.structure
        return cls(problem.density, problem.rng, structure.layout, structure.links)

    def init(self, start: Gaussian) -> State:
        """At independent Gaussians, with the posterior's own curvature where it is positive."""
        sd, mean = independent(start).scale, np.array(start.mean, float)
        own = -self.structure.hessian(self.density, mean[None], sd).diagonal()
        precision = sp.csr_array(sp.diags_array(np.where(own > 0, own, 1.0 / sd**2)))
        trial = Trial(mean, precision, self.layout.factor(precision))
        return State(trial, Damping(LARGEST_STEP, LARGEST_STEP), self.num_draws, self.num_hessian)

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return state.reason or ("step limit" if state.num_steps >= self.max_steps else None)

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        state = replace(state, num_steps=state.num_steps + 1)
        here, kept = self._look(state), state.kept
        if here is None:
            return self._refused(state)
        slack = RESOLVED_BOUND * abs(here.elbo)
        if kept is not None and refused(here.elbo, here.elbo_se, kept.elbo, kept.elbo_se, slack):
            return self._refused(state)
        unit = 1.0 / np.sqrt(here.at.precision.diagonal())
        curvature = -self.structure.hessian(self.density, here.points, unit)
        return self._taken(state, replace(here, curvature=curvature))

    def _look(self, state: State) -> Quadratic | None:
        """The bound and the gradients at a Gaussian; None where they are not finite."""
        at, dim = state.trial, len(state.trial.mean)
        eps = antithetic(self.rng, state.num_draws, dim, unit=True)
        z = at.mean + at.factor.root(eps)
        value, grad = self.density(z)
        if not (np.isfinite(value).all() and np.isfinite(grad).all()):
            return None
        rest, half = value + 0.5 * (eps**2).sum(1), state.num_draws // 2
        rest = 0.5 * (rest[:half] + rest[half:])
        elbo = rest.mean() - 0.5 * dim + entropy(-at.factor.log_det, dim)
        chosen = np.concatenate([np.arange(state.num_hessian // 2), half + np.arange(state.num_hessian // 2)])
        return Quadratic(at, elbo, rest.std() / np.sqrt(len(rest)), grad.mean(0), z[chosen])

    def _refused(self, state: State) -> State:
        if state.kept is None:
            precision = 4.0 * state.trial.precision
            if precision.diagonal().max() > NARROWEST_PRECISION:
                return replace(state, reason="no finite draw")
            trial = Trial(state.trial.mean, precision, self.layout.factor(precision))
            return replace(state, trial=trial)
        damping = state.damping.shorter()
        if damping.spent:
            return replace(state, damping=damping, reason="no step raises the bound")
        return replace(state, damping=damping, trial=self._moved(state.kept, damping.rate))

    def _taken(self, state: State, here: Quadratic) -> State:
        best, stale, dim = state.best, state.stale + 1, len(here.at.mean)
        if best is None or here.elbo - here.elbo_se > best.elbo - best.elbo_se + BETTER:
            best, stale = here, 0
        damping = state.damping if state.kept is None else state.damping.longer()
        state = replace(state, trace=(*state.trace, float(here.elbo)), best=best, damping=damping, kept=here)
        precision, curvature = here.at.precision, here.curvature
        a = here.at.factor.whiten(here.gradient[None])[0]
        state = replace(state, slope=float(np.linalg.norm(a)))
        common = abs((curvature.diagonal() / precision.diagonal() - 1).sum())
        still = bool(
            np.abs(a).max() < GRADIENT_AT_REST
            and _change(curvature, precision) < CURVATURE_AT_REST
            and common < max(1, COMMON * dim)
        )
        averaged, converged = state.averaged, state.converged
        if stale >= STALE and not averaged and not still and state.widened < WIDENINGS:
            draws, hessians = 2 * state.num_draws, 2 * state.num_hessian
            state = replace(state, num_draws=draws, num_hessian=hessians, widened=state.widened + 1)
            stale = 0
        elif averaged or still or stale >= STALE:
            converged, averaged = converged or still, averaged + 1
            if averaged > self.num_average:
                reason = "converged" if converged else "no better bound with more draws"
                return replace(state, converged=converged, averaged=averaged, reason=reason)
        # a Hessian that is the same everywhere is taken whole
        steady = state.last is not None and _change(curvature, state.last) < STEADY
        rate = min(1.0 if steady and averaged else damping.rate, 1.0 / max(averaged, 1))
        return replace(
            state, stale=stale, averaged=averaged, converged=converged, last=curvature,
            trial=self._moved(here, rate),
        )  # fmt: skip

    def _moved(self, here: Quadratic, rate: float) -> Trial:
        """Newton's step, damped until the precision is one."""
        precision = here.at.precision
        for _ in range(HALVINGS_OF_A_STEP):
            new = sp.csr_array((1 - rate) * precision + rate * here.curvature)
            try:
                factor = self.layout.factor(new)
                break
            except NotPositiveDefinite:
                rate *= 0.5
        else:
            new, factor = precision, self.layout.factor(precision)
        move = rate * factor.root(factor.whiten(here.gradient[None]))
        size = np.sqrt((factor.unroot(move) ** 2).mean())
        if size > LARGEST_MOVE:
            move *= LARGEST_MOVE / size
        return Trial(here.at.mean + move[0], new, factor)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached: the average of the last steps, where the fit stood still, or the best."""
        words = (
            f"{len(state.trial.mean) + self.layout.num_parameters} numbers, {self.structure.num_colours} directions; "
            f"natural gradient: {reason} after {len(state.trace)} steps"
        )
        if state.averaged and state.kept is not None:
            at, elbo, converged = state.kept.at, state.trace[-1], state.converged
        elif state.best is not None:
            at, elbo, converged = state.best.at, state.best.elbo - state.best.elbo_se, False
        else:
            at, elbo, converged = state.trial, -np.inf, False
        place = Rooted(at.mean, at.factor)
        return Fit(place, place, elbo, converged, state.trace, words, reason, gradient_norm=state.slope)


def _change(new, old) -> float:
    """Largest difference of two precisions' entries, relative to the diagonal."""
    unit = sp.diags_array(1.0 / np.sqrt(np.abs(old.diagonal())))
    return float(np.abs((unit @ (new - old) @ unit).data).max(initial=0.0))

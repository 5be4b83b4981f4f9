"""Quasi-Newton on the bound at fixed draws: independent Gaussians, any other family by its transport, and modes.

A family that brings nothing but its transport is fitted too: how its map changes with its parameters is differenced,
which takes no call of the density, and the parameters are measured by how far they move the draws.

References
----------
Giordano, Ingram & Broderick (2024), Black box variational inference with a deterministic objective, JMLR 25.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...guides.family import Guide
from ...guides.mean_field import independent
from ...guides.transport import Affine, Gaussian
from ..thresholds import (
    DIFFERENCE,
    FIXED_STEPS,
    FIXED_TOLERANCE,
    LARGEST_START_STEP,
    LOG_SD_BOUND,
    MEAN_FIELD_DRAWS,
    MODE_TOLERANCE,
    PATIENCE,
)
from .bound import entropy
from .designs import antithetic
from .lbfgs import Lbfgs, State
from .loop import Density, Fit
from .problem import Problem


@dataclass(frozen=True, eq=False)
class MeanFieldDraws:
    """Independent Gaussians, in units of where they start.

    Parameters
    ----------
    density : callable
        See `Density`.
    start : Affine
        With one sd for each coordinate.
    eps : numpy.ndarray, shape (S, dim)
        Antithetic draws.
    """

    density: Density
    start: Affine
    eps: np.ndarray

    name = "mean-field"
    loose = False
    rounds = 1
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> MeanFieldDraws:
        """On draws of the problem's own."""
        start = independent(problem.start)
        return cls(problem.density, start, antithetic(problem.rng, MEAN_FIELD_DRAWS, start.dim, unit=True))

    @cached_property
    def lines(self) -> Lbfgs:
        """The optimiser of means and log sds."""
        mean, sd, dim = self.start.mean, self.start.scale, self.start.dim

        def objective(x, which):
            log_sd = np.clip(x[0, dim:], -LOG_SD_BOUND, LOG_SD_BOUND)
            spread = np.exp(log_sd) * self.eps
            value, grad = self.density(mean + (x[0, :dim] + spread) * sd)
            grad = grad * sd
            g = np.concatenate([grad.mean(0), (grad * spread).mean(0) + 1.0])
            return -np.array([value.mean() + entropy(log_sd.sum(), dim)]), -g[None]

        return Lbfgs(objective, FIXED_STEPS, FIXED_TOLERANCE, PATIENCE, max_step=LARGEST_START_STEP)

    def init(self, start: Gaussian) -> State:
        """At the start."""
        return self.lines.init(np.zeros((1, 2 * self.start.dim)))

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        return self.lines.step(state)

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return self.lines.done(state)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached."""
        found, dim = self.lines.fit(state, reason), self.start.dim
        log_sd = np.clip(found.x[0, dim:], -LOG_SD_BOUND, LOG_SD_BOUND)
        place = Affine(
            self.start.mean + self.start.scale * found.x[0, :dim], self.start.scale * np.exp(log_sd)
        )
        words = f"{found.num_iterations} quasi-Newton steps on {len(self.eps)} fixed draws"
        elbo = float(np.log(self.start.scale).sum() - found.value[0])
        return Fit(place, place, elbo, bool(found.converged[0]), (), words, reason, gradient_norm=found.slope)


@dataclass(frozen=True, eq=False)
class FixedDraws:
    """Any family, by its transport alone.

    Parameters
    ----------
    density : callable
        See `Density`.
    guide : Guide
    params : mapping of numpy.ndarray
        Where it starts.
    sd : numpy.ndarray, shape (dim,)
        Scale of each coordinate.
    eps : numpy.ndarray, shape (S, dim)
        Antithetic draws.
    """

    density: Density
    guide: Guide
    params: Mapping[str, np.ndarray]
    sd: np.ndarray
    eps: np.ndarray

    name = "fixed draws"
    loose = False
    rounds = 3
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> FixedDraws:
        """From the member of the family by the problem's Gaussian."""
        params = problem.guide.init(problem.start)
        eps = antithetic(problem.rng, MEAN_FIELD_DRAWS, problem.guide.dim, unit=True)
        return cls(problem.density, problem.guide, params, 1 / np.sqrt(problem.start.precision), eps)

    @cached_property
    def flat(self) -> np.ndarray:
        """The parameters at the start, in one row."""
        return np.concatenate([np.ravel(value).astype(float) for value in self.params.values()])

    @cached_property
    def unit(self) -> np.ndarray:
        """What moves the draws by an sd, of each parameter."""
        moves = [np.sqrt(np.mean((moved / self.sd) ** 2)) for moved, _ in self._tangents(self.flat)]
        return 1.0 / np.maximum(moves, DIFFERENCE)

    def named(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters by name."""
        found, start = {}, 0
        for name, value in self.params.items():
            size = np.size(value)
            found[name] = flat[start : start + size].reshape(np.shape(value))
            start += size
        return found

    def _tangents(self, flat: np.ndarray):
        """Derivatives of the points and of the log Jacobian in each parameter."""
        for j in range(len(flat)):
            step = np.zeros(len(flat))
            step[j] = DIFFERENCE * max(1.0, abs(flat[j]))
            (one, up), (other, down) = (
                self.guide.forward(self.named(flat + sign * step), self.eps) for sign in (1, -1)
            )
            yield (one - other) / (2 * step[j]), (up - down) / (2 * step[j])

    @cached_property
    def lines(self) -> Lbfgs:
        """The optimiser of the parameters, each in its unit."""

        def objective(x, which):
            flat = self.flat + self.unit * x[0]
            z, log_jacobian = self.guide.forward(self.named(flat), self.eps)
            value, grad = self.density(z)
            slope = [(grad * moved).sum(1).mean() + bent.mean() for moved, bent in self._tangents(flat)]
            bound = (value + log_jacobian).mean() + entropy(0.0, self.guide.dim)
            return -np.array([bound]), -(self.unit * slope)[None]

        return Lbfgs(objective, FIXED_STEPS, FIXED_TOLERANCE, PATIENCE, max_step=LARGEST_START_STEP)

    def init(self, start: Gaussian) -> State:
        """At the start."""
        return self.lines.init(np.zeros((1, len(self.flat))))

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        return self.lines.step(state)

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return self.lines.done(state)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached."""
        found = self.lines.fit(state, reason)
        place = self.guide.at(self.named(self.flat + self.unit * found.x[0]))
        moments = place.moments()
        gaussian = None if moments is None else Affine(moments[0], np.linalg.cholesky(moments[1]))
        words = f"{found.num_iterations} quasi-Newton steps on {len(self.eps)} fixed draws"
        elbo, converged = -float(found.value[0]), bool(found.converged[0])
        return Fit(place, gaussian, elbo, converged, (), words, reason, gradient_norm=found.slope)


@dataclass(frozen=True, eq=False)
class Mode:
    """The mode of the unconstrained density, in units of where it starts.

    Parameters
    ----------
    density : callable
        See `Density`.
    guide : Guide
    start : Affine
        With one sd for each coordinate.
    """

    density: Density
    guide: Guide
    start: Affine

    name = "mode"
    loose = False
    rounds = 1
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> Mode:
        """From the problem's Gaussian."""
        return cls(problem.density, problem.guide, independent(problem.start))

    @cached_property
    def lines(self) -> Lbfgs:
        """The optimiser of the point."""

        def objective(x, which):
            value, grad = self.density(self.start.mean + x * self.start.scale)
            return -value, -grad * self.start.scale

        return Lbfgs(objective, FIXED_STEPS, MODE_TOLERANCE)

    def init(self, start: Gaussian) -> State:
        """At the start."""
        return self.lines.init(np.zeros((1, self.start.dim)))

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        return self.lines.step(state)

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return self.lines.done(state)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached."""
        found = self.lines.fit(state, reason)
        place = Affine(self.start.mean + self.start.scale * found.x[0], self.start.scale)
        words = "at the mode of the unconstrained density"
        law, converged = self.guide.near(place), bool(found.converged[0])
        return Fit(law, place, np.nan, converged, (), words, reason, gradient_norm=found.slope)


@dataclass(frozen=True, eq=False)
class Curvature:
    """The Gaussian of the curvature at a mode.

    Parameters
    ----------
    hessian_vector : callable
        ``hessian_vector(z, v)``: products with the Hessian of the log density, row by row.
    """

    hessian_vector: Callable[[np.ndarray, np.ndarray], np.ndarray]

    name = "curvature"
    loose = False
    rounds = 1
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> Curvature:
        """At the problem's start."""
        return cls(problem.target.hessian_vector)

    def init(self, start: Gaussian) -> tuple[Gaussian, bool]:
        """At a mode."""
        return start, False

    def step(self, state: tuple[Gaussian, bool]) -> tuple[Gaussian, bool]:
        """See `Engine.step`."""
        mode, dim = state[0].mean, state[0].dim
        hessian = -self.hessian_vector(np.broadcast_to(mode, (dim, dim)), np.eye(dim))
        eig, vec = np.linalg.eigh(0.5 * (hessian + hessian.T))
        covariance = (vec / np.maximum(eig, 1e-8)) @ vec.T
        root = np.linalg.cholesky(0.5 * (covariance + covariance.T) + 1e-14 * np.eye(dim))
        return Affine(mode, root), True

    def done(self, state: tuple[Gaussian, bool]) -> str | None:
        """See `Engine.done`."""
        return "known" if state[1] else None

    def fit(self, state: tuple[Gaussian, bool], reason: str) -> Fit:
        """What was reached."""
        return Fit(state[0], state[0], reason=reason)

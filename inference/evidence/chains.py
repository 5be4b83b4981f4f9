"""Short parallel chains that start at the guide: Hamiltonian Monte Carlo in its whitened frame.

All chains move in lockstep, one batched gradient per leapfrog step. What drifts away from where the guide
put it bounds the guide's error from below; a quantity is established only where every chain has moved
several autocorrelation times.

References
----------
Neal (2011), MCMC using Hamiltonian dynamics. Hoffman & Gelman (2014), The No-U-Turn Sampler, JMLR 15 (step size by dual
averaging). Wang, Kasprzak & Huggins (2023), A targeted accuracy diagnostic for variational approximations, AISTATS.
Margossian et al. (2024), Nested R̂, Bayesian Analysis.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from ...guides.transport import Affine, Gaussian
from ..thresholds import (
    DIVERGENT_ENERGY,
    LEAST_PART,
    MOST_LEAPFROGS,
    SHORT_ACCEPT,
    SHORT_DRAWS,
    SHORT_WARMUP,
    SLOW_SHARE,
    STEP_JITTER,
    TRAJECTORIES,
    TRAJECTORY,
    VALLEY,
    VALLEY_GRID,
)


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of N chains, and how they moved.

    Attributes
    ----------
    z : numpy.ndarray, shape (N, T, dim)
    accept, step_size : float
        Mean acceptance, and the step size.
    num_gradients : int
    divergent : float
        Share of the transitions that diverged.
    divergent_z : numpy.ndarray, shape (K, dim)
        Where these began.
    """

    z: np.ndarray
    accept: float
    step_size: float
    num_gradients: int
    divergent: float
    divergent_z: np.ndarray

    def joined(self, other: Chains) -> Chains:
        """These chains, and how they went on."""
        own, more = self.z.shape[1], other.z.shape[1]
        if not more:
            return self
        share = more / (own + more)
        return Chains(
            np.concatenate([self.z, other.z], 1),
            (1 - share) * self.accept + share * other.accept,
            other.step_size,
            self.num_gradients + other.num_gradients,
            (1 - share) * self.divergent + share * other.divergent,
            np.concatenate([self.divergent_z, other.divergent_z]),
        )


@dataclass(frozen=True)
class StepSize:
    """The step size by dual averaging (Hoffman & Gelman 2014, section 3.2)."""

    log_step: float
    anchor: float
    average: float
    error: float = 0.0
    count: int = 0

    @classmethod
    def at(cls, step: float) -> StepSize:
        """From a first guess."""
        log_step = np.log(step)
        return cls(log_step, np.log(10.0) + log_step, log_step)

    def again(self) -> StepSize:
        """Anew from where it is."""
        return StepSize(self.log_step, np.log(10.0) + self.log_step, self.log_step)

    def after(self, accept: float, target: float) -> StepSize:
        """After a transition with some acceptance."""
        t = self.count + 1
        error = self.error + (target - accept - self.error) / (t + 3)
        log_step = self.anchor - np.sqrt(t) / 0.1 * error if t > 2 else self.log_step + (accept - target)
        average = t**-0.75 * log_step + (1 - t**-0.75) * self.average if t > 1 else log_step
        return replace(self, log_step=log_step, average=average, error=error, count=t)


@dataclass(frozen=True, eq=False)
class Place:
    """Where the chains are in a frame: coordinates, log density and its gradient."""

    frame: Gaussian
    x: np.ndarray
    value: np.ndarray
    grad: np.ndarray

    @classmethod
    def at(cls, density, frame: Gaussian, x: np.ndarray) -> Place:
        """At frame coordinates; what is not finite is −∞."""
        value, grad = density(frame.forward(x)[0])
        bad = ~np.isfinite(value) | ~np.isfinite(grad).all(1)
        return cls(
            frame, x, np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, frame.pullback(x, grad))
        )

    @property
    def z(self) -> np.ndarray:
        """The points."""
        return self.frame.forward(self.x)[0]

    def renewed(self, density) -> Place:
        """In the frame of where the chains are, shrunk towards independent coordinates."""
        z, (count, dim) = self.z, self.x.shape
        covariance = np.cov(z.T).reshape(dim, dim)
        shrink = dim / (count + dim)
        covariance = (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance))
        frame: Gaussian = self.frame
        with suppress(np.linalg.LinAlgError):
            frame = Affine(z.mean(0), np.linalg.cholesky(covariance))
        return Place.at(density, frame, frame.inverse(z)[0])


@dataclass(frozen=True, eq=False)
class Moved:
    """One transition of all chains: where they are, the probability of acceptance, which diverged, and its price."""

    place: Place
    accept: float
    diverged: np.ndarray
    num_steps: int


def transition(density, place: Place, step: float, rng: np.random.Generator) -> Moved:
    """Leapfrog steps of all chains in lockstep, and Metropolis's choice."""
    count, dim = place.x.shape
    length = np.ceil(rng.uniform(*TRAJECTORIES) * TRAJECTORY / step)
    steps = np.clip(length, 1, MOST_LEAPFROGS).astype(int)
    jitter = step * rng.uniform(*STEP_JITTER, (count, 1))
    p = rng.standard_normal((count, dim))
    energy = place.value - 0.5 * (p**2).sum(1)
    there, p = trajectory(density, place, p, jitter, int(steps))
    change = there.value - 0.5 * (p**2).sum(1) - energy
    change = np.where(np.isnan(change), -np.inf, change)
    moved = chosen(place, there, change, rng)
    accept = float(np.exp(np.minimum(change, 0.0)).mean())
    return Moved(moved, accept, change < -DIVERGENT_ENERGY, int(steps))


def trajectory(density, place: Place, p: np.ndarray, step, num_steps: int) -> tuple[Place, np.ndarray]:
    """Where leapfrog steps lead from places and momenta ``(N, dim)``; steps of one size, or ``(N, 1)``."""
    there = place
    p = p + 0.5 * step * there.grad
    for i in range(num_steps):
        there = Place.at(density, place.frame, there.x + step * p)
        p = p + (1.0 if i < num_steps - 1 else 0.5) * step * there.grad
    return there, p


def chosen(place: Place, there: Place, change: np.ndarray, rng: np.random.Generator) -> Place:
    """Metropolis's choice between two places, by the log ratio ``(N,)`` of their densities with momenta."""
    taken = np.log(rng.uniform(size=len(change))) < change
    return Place(
        place.frame,
        np.where(taken[:, None], there.x, place.x),
        np.where(taken, there.value, place.value),
        np.where(taken[:, None], there.grad, place.grad),
    )


def short_chains(  # noqa: PLR0913, PLR0917  settings with defaults
    density,
    start: np.ndarray,
    frame: Gaussian,
    rng: np.random.Generator,
    num_warmup: int = SHORT_WARMUP,
    num_draws: int = SHORT_DRAWS,
    callback: Callable[[], bool] | None = None,
    target: float = SHORT_ACCEPT,
    step_size: float | None = None,
    renew: bool = True,
) -> Chains:
    """Run the chains.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density, gradient)``.
    start : numpy.ndarray, shape (N, dim)
        Where the chains start, unconstrained.
    frame : Gaussian
        Where momenta are standard normal.
    rng : numpy.random.Generator
        For momenta, lengths and choices.
    num_draws : int
        Of each chain.
    num_warmup : int
        Iterations that set the step size.
    callback : callable, optional
        Whether to end; asked before every transition.
    target : float
        Acceptance that the step size aims at.
    step_size : float, optional
        Where the step size starts, and stays without warm-up.
    renew : bool
        Whether the warm-up renews the frame from where the chains are.
    """
    count, dim = start.shape
    place = Place.at(density, frame, frame.inverse(start)[0])
    size = StepSize.at(0.5 / dim**0.25 if step_size is None else step_size)
    total, accepts, divergent, where = count, [], [], []
    draws: list[np.ndarray] = []
    renewals = (num_warmup // 4, num_warmup // 2) if renew and count >= 2 * dim else ()
    for iteration in range(num_warmup + num_draws):
        if callback is not None and callback():
            break
        warm = iteration < num_warmup
        if warm and iteration in renewals:
            place, size, total = place.renewed(density), size.again(), total + count
        moved = transition(density, place, float(np.exp(size.log_step if warm else size.average)), rng)
        total += moved.num_steps * count
        if warm:
            size = size.after(moved.accept, target)
        else:
            divergent.append(moved.diverged.mean())
            where.append(place.z[moved.diverged])
            draws.append(moved.place.z)
            accepts.append(moved.accept)
        place = moved.place
    return Chains(
        np.stack(draws, 1) if draws else np.empty((count, 0, dim)),
        float(np.mean(accepts)) if accepts else np.nan,
        float(np.exp(size.average)),
        total,
        float(np.mean(divergent)) if divergent else np.nan,
        np.concatenate(where) if where else np.zeros((0, dim)),
    )


def slowest(x: np.ndarray) -> float:
    """Autocorrelation times that the chains have moved along the direction in which their means differ most.

    Chains that sit in modes of their own differ along a direction that no single coordinate need show.

    Parameters
    ----------
    x : numpy.ndarray, shape (N, T, dim)
        Draws of N chains.
    """
    x = halves(x) if len(x) == 1 else x
    if x.shape[1] < 2:
        return 0.0
    means = x.mean(1)
    _, _, axes = np.linalg.svd(means - means.mean(0), full_matrices=False)
    return float(x.shape[1] / _time(x @ axes[:1].T)[0])


def parted(x: np.ndarray) -> bool:
    """Whether along a direction in which they hardly move the means of the chains have a valley between two peaks.

    Chains that are slow are one cloud; those that sit in modes of their own are as many.

    Parameters
    ----------
    x : numpy.ndarray, shape (N, T, dim)
        Draws of N chains.
    """
    means = x.mean(1)
    count, dim = means.shape
    apart = (means - means.mean(0)) / np.sqrt(count - 1)
    within = np.cov((x - means[:, None]).reshape(-1, dim).T).reshape(dim, dim)
    total = apart.T @ apart + within + 1e-12 * np.trace(within) / dim * np.eye(dim)
    try:
        white = solve_triangular(np.linalg.cholesky(total), apart.T, lower=True).T
    except np.linalg.LinAlgError:
        return True  # not to be told
    along, root, _ = np.linalg.svd(white, full_matrices=False)
    for y in np.sort(along.T[: len(root)][root**2 > SLOW_SHARE], axis=1):
        low, high = np.quantile(y, [0.25, 0.75])
        width = 0.9 * min(y.std(), (high - low) / 1.34) * count**-0.2  # Silverman's
        at = np.linspace(y[0], y[-1], VALLEY_GRID)
        density = np.exp(-0.5 * ((at[:, None] - y) / width) ** 2).sum(1)
        left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
        below = np.searchsorted(y, at) / count
        inside = (below > LEAST_PART) & (below < 1 - LEAST_PART)
        if (density < VALLEY * np.minimum(left, right))[inside].any():
            return True
    return False


def halves(values: np.ndarray) -> np.ndarray:
    """One chain ``(1, T, Q)`` as two of half its length."""
    half = values.shape[1] // 2
    return values[0, : 2 * half].reshape(2, half, values.shape[2])


def inefficiency(values: np.ndarray) -> np.ndarray:
    """Integrated autocorrelation time of each quantity, the worst of its bulk and its two 5% tails.

    Estimated from the spread of the chains' means, which needs no spectral window with many chains.

    Parameters
    ----------
    values : numpy.ndarray, shape (N, T, Q)
        Values of Q quantities at the draws of N chains.

    Returns
    -------
    numpy.ndarray, shape (Q,)
        At least 1; with N independent chains of T draws the effective size is ``N T`` over it.
    """
    low, high = np.quantile(values, [0.05, 0.95], axis=(0, 1))
    return np.maximum.reduce([_time(values), _time(values <= low), _time(values >= high)])


def _time(values):
    between = values.mean(1).var(0, ddof=1)
    total = values.var((0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(1.0, np.where(total > 0, values.shape[1] * between / total, 1.0))

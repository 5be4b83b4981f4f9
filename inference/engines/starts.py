"""Dispersed starts: loose mean-field fits on a few designed draws, batched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..thresholds import (
    LARGEST_START_STEP,
    LOG_SD_BOUND,
    PATIENCE,
    START_DRAWS,
    START_FRESH,
    START_RADIUS,
    START_SD,
)
from .bound import entropy
from .designs import antithetic
from .lbfgs import minimise
from .loop import Density


@dataclass(frozen=True, eq=False)
class Starts:
    """Mean-field ends of K starts: means and sds ``(K, dim)``, ELBOs on fresh draws and their errors ``(K,)``."""

    mean: np.ndarray
    sd: np.ndarray
    elbo: np.ndarray
    elbo_se: np.ndarray
    num_iterations: int
    trace: tuple[float, ...] = ()

    @property
    def best(self) -> int:
        """The start with the highest ELBO."""
        return int(np.argmax(np.where(np.isfinite(self.elbo), self.elbo, -np.inf)))


def loose_fits(  # noqa: PLR0913, PLR0917  settings with defaults
    density: Density,
    points: np.ndarray,
    rng: np.random.Generator,
    sd: float | np.ndarray = START_SD,
    num_draws: int = START_DRAWS,
    max_iterations: int = 300,
    tolerance: float = 0.1,
    num_fresh: int = START_FRESH,
    callback: Callable[[], bool] | None = None,
) -> Starts:
    """Fit a mean-field Gaussian from each point.

    Parameters
    ----------
    density : callable
        See `Density`.
    points : numpy.ndarray, shape (K, dim)
        Where each fit begins.
    rng : numpy.random.Generator
        For the draws.
    sd : float or numpy.ndarray
        Initial standard deviations.
    num_draws, num_fresh : int
        Draws on which they are fitted, and on which their bounds are taken; even.
    max_iterations : int
        Of each quasi-Newton fit.
    tolerance : float
        Nats; see `Lbfgs`.
    callback : callable, optional
        Whether to stop.
    """
    count, dim = points.shape
    eps = antithetic(rng, num_draws, dim, unit=True)

    def objective(x, which):
        mean, log_sd = x[:, :dim], np.clip(x[:, dim:], -LOG_SD_BOUND, LOG_SD_BOUND)
        spread = np.exp(log_sd)[:, None] * eps
        value, grad = density((mean[:, None] + spread).reshape(-1, dim))
        value, grad = value.reshape(-1, num_draws), grad.reshape(-1, num_draws, dim)
        elbo = value.mean(1) + entropy(log_sd.sum(1), dim)
        g = np.concatenate([grad.mean(1), (grad * spread).mean(1) + 1.0], 1)
        return -elbo, -g

    x = np.concatenate([points, np.broadcast_to(np.log(sd), points.shape)], 1)
    found = minimise(
        objective, x, callback,
        max_iterations=max_iterations, tolerance=tolerance, patience=PATIENCE, max_step=LARGEST_START_STEP,
    )  # fmt: skip
    mean, sds = found.x[:, :dim], np.exp(np.clip(found.x[:, dim:], -LOG_SD_BOUND, LOG_SD_BOUND))
    fresh = antithetic(rng, num_fresh, dim)
    draws = mean[:, None] + sds[:, None] * fresh
    value = density(draws.reshape(-1, dim))[0].reshape(count, num_fresh)
    value = np.where(np.isfinite(value), value, -np.inf)
    with np.errstate(invalid="ignore"):
        elbo = value.mean(1) + entropy(np.log(sds).sum(1), dim)
        se = value.std(1) / np.sqrt(num_fresh)
    return Starts(mean, sds, np.where(np.isnan(elbo), -np.inf, elbo), se, found.num_iterations)


def dispersed(rng: np.random.Generator, count: int, dim: int, radius: float = START_RADIUS) -> np.ndarray:
    """Starting points, uniform in a cube around the origin of the unconstrained space, shape ``(count, dim)``."""
    return rng.uniform(-radius, radius, (count, dim))

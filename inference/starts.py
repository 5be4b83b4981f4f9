"""Dispersed starts: loose mean-field fits on a few designed draws, batched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bound import entropy
from .designs import antithetic
from .lbfgs import minimise


@dataclass
class Starts:
    """Mean-field ends of K starts: means and sds ``(K, dim)``, ELBOs on fresh draws and their errors."""

    mean: np.ndarray
    sd: np.ndarray
    elbo: np.ndarray
    elbo_se: np.ndarray
    num_iterations: int

    @property
    def best(self) -> int:
        """The start with the highest ELBO."""
        return int(np.argmax(np.where(np.isfinite(self.elbo), self.elbo, -np.inf)))


def loose_fits(
    density, points, rng, sd=0.1, num_draws=4, max_iterations=300, tolerance=0.1, num_fresh=16, callback=None
) -> Starts:
    """Fit a mean-field Gaussian from each point.

    Parameters
    ----------
    density : callable
        ``density(z) -> (values, gradients)``.
    points : numpy.ndarray, shape (K, dim)
    sd : float or numpy.ndarray
        Initial standard deviations.
    """
    count, dim = points.shape
    eps = antithetic(rng, num_draws, dim, unit=True)

    def objective(x, which):
        mean, log_sd = x[:, :dim], np.clip(x[:, dim:], -40, 40)
        spread = np.exp(log_sd)[:, None] * eps
        value, grad = density((mean[:, None] + spread).reshape(-1, dim))
        value, grad = value.reshape(-1, num_draws), grad.reshape(-1, num_draws, dim)
        elbo = value.mean(1) + entropy(log_sd.sum(1), dim)
        g = np.concatenate([grad.mean(1), (grad * spread).mean(1) + 1.0], 1)
        return -elbo, -g

    x = np.concatenate([points, np.broadcast_to(np.log(sd), points.shape)], 1)
    found = minimise(objective, x, max_iterations, tolerance, 4, max_step=20.0, callback=callback)
    mean, sds = found.x[:, :dim], np.exp(np.clip(found.x[:, dim:], -40, 40))
    fresh = antithetic(rng, num_fresh, dim)
    draws = mean[:, None] + sds[:, None] * fresh
    value = density(draws.reshape(-1, dim))[0].reshape(count, num_fresh)
    value = np.where(np.isfinite(value), value, -np.inf)
    with np.errstate(invalid="ignore"):
        elbo = value.mean(1) + entropy(np.log(sds).sum(1), dim)
        se = value.std(1) / np.sqrt(num_fresh)
    return Starts(mean, sds, np.where(np.isnan(elbo), -np.inf, elbo), se, found.num_iterations)


def dispersed(rng, count: int, dim: int, radius: float = 2.0) -> np.ndarray:
    """Starting points, uniform in a cube around the origin of the unconstrained space."""
    return rng.uniform(-radius, radius, (count, dim))

"""A pool of fresh draws around a law q(z), with importance weights.

Half of the pool comes from q and half from the same map applied to a multivariate Student t base,
and the weights use the mixture of the two (deterministic-mixture weights). Where the posterior's tails are
heavier than those of q the ratios stay bounded.

References
----------
Owen & Zhou (2000), Safe and effective importance sampling, JASA 95. Veach & Guibas (1995), Optimally combining sampling
techniques for Monte Carlo rendering, SIGGRAPH.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...guides.transport import Affine, standard_normal, student_t
from ..thresholds import TAIL_DF
from .psis import Weighted, smooth


@dataclass(frozen=True, eq=False)
class Pool(Weighted):
    """Draws with weights.

    Attributes
    ----------
    z, eps : numpy.ndarray, shape (S, dim)
        Unconstrained draws and their base draws.
    log_density : numpy.ndarray, shape (S,)
    grad : numpy.ndarray, shape (S, dim)
    log_weights : numpy.ndarray, shape (S,)
        Against the mixture that the draws come from.
    log_ratio : numpy.ndarray, shape (S,)
        Against q alone; meaningful for the draws that came from it.
    from_guide : numpy.ndarray of bool, shape (S,)
    """

    z: np.ndarray
    eps: np.ndarray
    log_density: np.ndarray
    grad: np.ndarray
    log_weights: np.ndarray
    log_ratio: np.ndarray
    from_guide: np.ndarray

    @cached_property
    def guide_khat(self) -> float:
        """k̂ of the draws of q alone."""
        return smooth(self.log_ratio[self.from_guide])[1]

    @property
    def elbo(self) -> tuple[float, float]:
        """ELBO of q and its standard error, in nats."""
        ratio = self.log_ratio[self.from_guide]
        if not np.isfinite(ratio).all():
            return -np.inf, np.nan
        return float(ratio.mean()), float(ratio.std() / np.sqrt(len(ratio)))

    def joined(self, other: Pool) -> Pool:
        """Both pools as one."""
        names = ("z", "eps", "log_density", "grad", "log_weights", "log_ratio", "from_guide")
        return Pool(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def around(self) -> Affine:
        """The frame in which the draws have mean zero and unit covariance: weighted where their weights hold."""
        return framed(self.z, self.weights if self.usable else self.from_guide / self.from_guide.sum())


def framed(z: np.ndarray, weights: np.ndarray) -> Affine:
    """The frame in which weighted draws ``(S, dim)`` have mean zero and unit covariance."""
    mean = weights @ z
    centred = z - mean
    covariance = (weights[:, None] * centred).T @ centred
    unit = np.sqrt(np.diag(covariance))
    floor = 1e-10 * np.eye(len(mean))
    root = np.linalg.cholesky(covariance / unit[:, None] / unit + floor)
    return Affine(mean, unit[:, None] * root)


def draw_pool(density, law: Any, num_draws: int, rng: np.random.Generator) -> Pool:
    """Draw and weigh.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density, gradient)``.
    law : Transport, or a law with a `propose` of its own
        What is drawn from.
    num_draws : int
        Even number of draws.
    rng : numpy.random.Generator
        For the base draws.
    """
    propose = getattr(law, "propose", None)
    if propose is not None:
        z, proposal, own, from_guide = propose(num_draws, rng, TAIL_DF)
        value, grad = density(z)
        return Pool(z, z, value, grad, value - proposal, value - own, from_guide)
    eps, from_guide = base_draws(num_draws, law.dim, rng)
    z, log_jacobian = law.forward(eps)
    value, grad = density(z)
    normal = standard_normal(eps)
    mixture = np.logaddexp(normal, student_t(eps, TAIL_DF)) - np.log(2.0)
    log_image = value + log_jacobian
    return Pool(z, eps, value, grad, log_image - mixture, log_image - normal, from_guide)


def base_draws(num_draws: int, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Base draws of the mixture, alternating, and which of them are standard normal."""
    eps = rng.standard_normal((num_draws, dim))
    from_guide = np.arange(num_draws) % 2 == 0
    scale = np.sqrt(rng.chisquare(TAIL_DF, num_draws) / TAIL_DF)
    eps = np.where(from_guide[:, None], eps, eps / scale[:, None])
    return eps, from_guide

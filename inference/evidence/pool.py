"""A pool of fresh draws around a guide, with importance weights.

Half of the pool comes from the guide and half from the same map applied to a multivariate Student t base,
and the weights use the mixture of the two (deterministic-mixture weights). Where the posterior's tails are
heavier than the guide's the ratios stay bounded.

References
----------
Owen & Zhou (2000), Safe and effective importance sampling, JASA 95. Veach & Guibas (1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from .psis import effective_size, smooth

TAIL_DF = 5.0


@dataclass
class Pool:
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
        Against the guide alone; meaningful for the draws that came from it.
    from_guide : numpy.ndarray of bool, shape (S,)
    weights : numpy.ndarray, shape (S,)
        Pareto-smoothed and normalised.
    khat, guide_khat : float
        Of the pool and of the guide alone.
    """

    z: np.ndarray
    eps: np.ndarray
    log_density: np.ndarray
    grad: np.ndarray
    log_weights: np.ndarray
    log_ratio: np.ndarray
    from_guide: np.ndarray
    weights: np.ndarray = None
    khat: float = np.nan
    guide_khat: float = np.nan

    def __post_init__(self):
        self.weights, self.khat = smooth(self.log_weights)
        self.guide_khat = smooth(self.log_ratio[self.from_guide])[1]

    @property
    def size(self) -> float:
        """Effective sample size of the weights."""
        return effective_size(self.weights)

    @property
    def elbo(self) -> tuple[float, float]:
        """ELBO of the guide and its standard error."""
        ratio = self.log_ratio[self.from_guide]
        if not np.isfinite(ratio).all():
            return -np.inf, np.nan
        return float(ratio.mean()), float(ratio.std() / np.sqrt(len(ratio)))

    def joined(self, other: Pool) -> Pool:
        """Both pools as one."""
        names = ("z", "eps", "log_density", "grad", "log_weights", "log_ratio", "from_guide")
        return Pool(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))


def draw_pool(density, guide, params, num_draws: int, rng: np.random.Generator) -> Pool:
    """Draw and weigh.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density, gradient)``.
    guide, params
        A fitted guide with a standard-normal base, or with a `propose` of its own.
    num_draws : int
        Even number of draws.
    """
    propose = getattr(guide, "propose", None)
    if propose is not None:
        z, proposal, own, from_guide = propose(params, num_draws, rng, TAIL_DF)
        value, grad = density(z)
        return Pool(z, z, value, grad, value - proposal, value - own, from_guide)
    eps, from_guide = base_draws(num_draws, guide.dim, rng)
    z, log_jacobian = guide.forward(params, eps)
    value, grad = density(z)
    normal = guide.base(eps)
    student = student_t(eps, TAIL_DF)
    mixture = np.logaddexp(normal, student) - np.log(2.0)
    return Pool(
        z,
        eps,
        value,
        grad,
        value + log_jacobian - mixture,
        value + log_jacobian - normal,
        from_guide,
    )


def base_draws(num_draws: int, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Base draws of the mixture, alternating, and which of them are standard normal."""
    eps = rng.standard_normal((num_draws, dim))
    from_guide = np.arange(num_draws) % 2 == 0
    scale = np.sqrt(rng.chisquare(TAIL_DF, num_draws) / TAIL_DF)
    eps = np.where(from_guide[:, None], eps, eps / scale[:, None])
    return eps, from_guide


def student_t(eps: np.ndarray, df: float) -> np.ndarray:
    """Log density of a multivariate t with identity scale, shape ``(B,)``."""
    dim = eps.shape[-1]
    constant = gammaln((df + dim) / 2) - gammaln(df / 2) - 0.5 * dim * np.log(df * np.pi)
    return constant - 0.5 * (df + dim) * np.log1p((eps**2).sum(-1) / df)

"""A mixture of Gaussians with dense covariances: one for every mode.

References
----------
Owen & Zhou (2000), Safe and effective importance sampling, JASA 95. Yao, Vehtari & Gelman (2022), Stacking for
non-mixing Bayesian computations, JMLR 23.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from .family import Guide, Params
from .transport import Affine, Gaussian, standard_normal, student_t, triangular


@dataclass(frozen=True)
class Mixture:
    """Mixture of full-rank Gaussians on the unconstrained space; how many, the parameters say.

    ``params = {log_weight: (K,), mean: (K, dim), scale_tril: (K, dim, dim)}``. It is made by the fit, where starts end
    apart; it is no image of a base law.

    Examples
    --------
    >>> Mixture().name
    'mixture'
    """

    name: str = "mixture"

    def bind(self, target) -> Guide:
        """The guide of a target."""
        return Guide(self, target.dim, Components.by, Components.from_arrays)


@dataclass(frozen=True, eq=False)
class Components:
    """A mixture of Gaussians.

    Attributes
    ----------
    log_weight : numpy.ndarray, shape (K,)
        Normalised.
    mean : numpy.ndarray, shape (K, dim)
    scale_tril : numpy.ndarray, shape (K, dim, dim)
        Lower-triangular.

    Examples
    --------
    >>> law = Components.of([0.0, 0.0], [[-3.0], [3.0]], np.ones((2, 1, 1)))
    >>> mean, covariance = law.moments()
    >>> mean.tolist(), covariance.tolist()
    ([0.0], [[10.0]])
    """

    log_weight: np.ndarray
    mean: np.ndarray
    scale_tril: np.ndarray

    @classmethod
    def of(cls, log_weight, mean, scale_tril) -> Components:
        """With weights that need not be normalised."""
        log_weight = np.asarray(log_weight, float)
        log_weight = log_weight - logsumexp(log_weight)
        return cls(log_weight, np.asarray(mean, float), np.asarray(scale_tril, float))

    @classmethod
    def by(cls, start: Gaussian) -> Components:
        """One component."""
        return cls.of([0.0], start.mean[None], triangular(start).scale[None])

    @classmethod
    def from_arrays(cls, arrays: Params) -> Components:
        """From ``log_weight``, ``mean`` and ``scale_tril``."""
        return cls(*(np.asarray(arrays[name]) for name in ("log_weight", "mean", "scale_tril")))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``log_weight``, ``mean`` and ``scale_tril``."""
        return {"log_weight": self.log_weight, "mean": self.mean, "scale_tril": self.scale_tril}

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.mean.shape[1]

    @property
    def weight(self) -> np.ndarray:
        """Mass of every component, shape ``(K,)``."""
        return np.exp(self.log_weight)

    def component(self, which: int) -> Affine:
        """One of the Gaussians."""
        return Affine(self.mean[which], self.scale_tril[which])

    def sample(self, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, shape ``(num_draws, dim)``."""
        which = rng.choice(len(self.mean), num_draws, p=self.weight)
        return self._placed(which, rng.standard_normal((num_draws, self.dim)))

    def log_prob(self, z) -> np.ndarray:
        """Log density at `z`, shape ``(B,)``."""
        return logsumexp(self.log_weight + self.log_components(z), axis=1)

    def log_components(self, z, df: float = np.inf) -> np.ndarray:
        """Log density of every component at `z`, shape ``(B, K)``; with `df`, of its Student t."""
        out = np.empty((len(z), len(self.mean)))
        for k in range(len(self.mean)):
            eps, log_jacobian = self.component(k).inverse(z)
            out[:, k] = (standard_normal(eps) if np.isinf(df) else student_t(eps, df)) + log_jacobian
        return out

    def responsibilities(self, z) -> np.ndarray:
        """Probability of every component given `z`, shape ``(B, K)``."""
        own = self.log_weight + self.log_components(z)
        return np.exp(own - logsumexp(own, axis=1, keepdims=True))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean ``(dim,)`` and covariance ``(dim, dim)``."""
        weight, scale = self.weight, self.scale_tril
        mean = weight @ self.mean
        apart = self.mean - mean
        within = np.einsum("k,kij,klj->il", weight, scale, scale)
        return mean, within + (weight[:, None] * apart).T @ apart

    def propose(self, num_draws: int, rng: np.random.Generator, df: float):
        """Draws for importance sampling: of every component half Gaussian and half Student t.

        Half of the draws follow the weights, and half go to all components alike: a light one is seen as well.

        Returns
        -------
        tuple
            Draws ``(S, dim)``; the log density that they come from and the law's own, ``(S,)``; and which of the
            draws are the law's.
        """
        weight = self.weight
        count = np.maximum(np.rint(0.25 * num_draws * (weight + 1 / len(weight))), 1).astype(int)
        which = np.repeat(np.arange(len(weight)), 2 * count)
        first = np.cumsum(2 * count) - 2 * count
        place = np.arange(len(which)) - first[which]
        eps = rng.standard_normal((len(which), self.dim))
        spread = np.sqrt(rng.chisquare(df, len(which)) / df)
        heavy = place % 2 == 1
        z = self._placed(which, np.where(heavy[:, None], eps / spread[:, None], eps))
        own, tails = self.log_components(z), self.log_components(z, df)
        share = np.log(count / count.sum())
        proposal = logsumexp(share + np.logaddexp(own, tails) - np.log(2.0), axis=1)
        kept = np.floor(weight * (count / np.maximum(weight, 1e-300)).min())
        from_guide = ~heavy & (place // 2 < np.maximum(kept, 1)[which])
        return z, proposal, logsumexp(self.log_weight + own, axis=1), from_guide

    def _placed(self, which, eps) -> np.ndarray:
        """Base draws carried to the components `which`."""
        z = np.empty_like(eps)
        for k in range(len(self.mean)):
            rows = which == k
            z[rows] = self.component(k).forward(eps[rows])[0]
        return z

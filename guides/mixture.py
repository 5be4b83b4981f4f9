"""A mixture of Gaussians with dense covariances: one for every mode.

References
----------
Owen & Zhou (2000), Safe and effective importance sampling, JASA 95. Yao, Vehtari & Gelman (2022), Stacking for
non-mixing Bayesian computations, JMLR 23.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln, logsumexp

from .family import Params, standard_normal


@dataclass(frozen=True)
class Mixture:
    """Mixture of full-rank Gaussians on the unconstrained space; how many, the parameters say.

    It is made by the fit, where starts end apart; it is no image of a base law, and has no `forward`.
    """

    name: str = "mixture"

    def bind(self, target) -> MixtureGuide:
        return MixtureGuide(self, target.dim)


@dataclass(frozen=True)
class MixtureGuide:
    """``params = {log_weight: (K,), mean: (K, dim), scale_tril: (K, dim, dim)}``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> guide = Mixture().bind(SimpleNamespace(dim=1))
    >>> params = guide.init({"log_weight": [0.0, 0.0], "mean": [[-3.0], [3.0]], "scale_tril": np.ones((2, 1, 1))})
    >>> mean, covariance = guide.moments(params)
    >>> mean.tolist(), covariance.tolist()
    ([0.0], [[10.0]])
    """

    family: Mixture
    dim: int

    def init(self, start) -> Params:
        """Parameters of the components in `start`, their weights normalised."""
        log_weight = np.asarray(start["log_weight"], float)
        return {
            "log_weight": log_weight - logsumexp(log_weight),
            "mean": np.asarray(start["mean"], float),
            "scale_tril": np.asarray(start["scale_tril"], float),
        }

    def sample(self, params: Params, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, shape ``(num_draws, dim)``."""
        which = rng.choice(len(params["mean"]), num_draws, p=np.exp(params["log_weight"]))
        return _placed(params, which, rng.standard_normal((num_draws, self.dim)))

    def log_prob(self, params: Params, z) -> np.ndarray:
        """Log density at `z`, shape ``(B,)``."""
        return logsumexp(params["log_weight"] + self.components(params, z), axis=1)

    def components(self, params: Params, z, df: float = np.inf) -> np.ndarray:
        """Log density of every component at `z`, shape ``(B, K)``; with `df`, of its Student t."""
        out = np.empty((len(z), len(params["mean"])))
        for k, scale in enumerate(params["scale_tril"]):
            eps = self.coordinates(params, z, k)
            base = standard_normal(eps) if np.isinf(df) else _student(eps, df)
            out[:, k] = base - np.log(np.abs(np.diag(scale))).sum()
        return out

    def coordinates(self, params: Params, z, which: int) -> np.ndarray:
        """`z` where the component `which` is standard normal."""
        scale = params["scale_tril"][which]
        return solve_triangular(scale, (np.asarray(z) - params["mean"][which]).T, lower=True).T

    def responsibilities(self, params: Params, z) -> np.ndarray:
        """Probability of every component given `z`, shape ``(B, K)``."""
        own = params["log_weight"] + self.components(params, z)
        return np.exp(own - logsumexp(own, axis=1, keepdims=True))

    def moments(self, params: Params) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean ``(dim,)`` and covariance ``(dim, dim)``."""
        weight, scale = np.exp(params["log_weight"]), params["scale_tril"]
        mean = weight @ params["mean"]
        apart = params["mean"] - mean
        within = np.einsum("k,kij,klj->il", weight, scale, scale)
        return mean, within + (weight[:, None] * apart).T @ apart

    def propose(self, params: Params, num_draws: int, rng: np.random.Generator, df: float):
        """Draws for importance sampling: of every component half Gaussian and half Student t.

        Half of the draws follow the weights, and half go to all components alike: a light one is seen as well.

        Returns
        -------
        tuple
            Draws ``(S, dim)``; the log density that they come from and the guide's own, ``(S,)``; and which of the
            draws are the guide's.
        """
        weight = np.exp(params["log_weight"])
        count = np.maximum(np.rint(0.25 * num_draws * (weight + 1 / len(weight))), 1).astype(int)
        which = np.repeat(np.arange(len(weight)), 2 * count)
        first = np.cumsum(2 * count) - 2 * count
        place = np.arange(len(which)) - first[which]
        eps = rng.standard_normal((len(which), self.dim))
        spread = np.sqrt(rng.chisquare(df, len(which)) / df)
        heavy = place % 2 == 1
        z = _placed(params, which, np.where(heavy[:, None], eps / spread[:, None], eps))
        own, tails = self.components(params, z), self.components(params, z, df)
        share = np.log(count / count.sum())
        proposal = logsumexp(share + np.logaddexp(own, tails) - np.log(2.0), axis=1)
        kept = np.floor(weight * (count / np.maximum(weight, 1e-300)).min())
        from_guide = ~heavy & (place // 2 < np.maximum(kept, 1)[which])
        return z, proposal, logsumexp(params["log_weight"] + own, axis=1), from_guide


def _placed(params: Params, which, eps) -> np.ndarray:
    """Base draws carried to the components `which`."""
    z = np.empty_like(eps)
    for k, scale in enumerate(params["scale_tril"]):
        rows = which == k
        z[rows] = params["mean"][k] + eps[rows] @ scale.T
    return z


def _student(eps, df: float) -> np.ndarray:
    dim = eps.shape[-1]
    constant = gammaln((df + dim) / 2) - gammaln(df / 2) - 0.5 * dim * np.log(df * np.pi)
    return constant - 0.5 * (df + dim) * np.log1p((eps**2).sum(-1) / df)

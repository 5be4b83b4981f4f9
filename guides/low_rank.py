"""A Gaussian that is wide or narrow along a few directions, and independent otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ppl.errors import GuideError, explain
from .family import Params, standard_normal

LARGEST_COVARIANCE = 4096


@dataclass(frozen=True)
class LowRank:
    """Gaussian family with covariance ``S (I + U diag(width² - 1) Uᵀ) S``: diagonal S, orthonormal U.

    Both wide directions (``width > 1``) and narrow ones are found; cost and number of parameters are linear in the
    dimension.

    Parameters
    ----------
    rank : int, optional
        Most directions; by default as many as the posterior shows, up to a limit.

    References
    ----------
    Ong, Nott & Smith (2018), Gaussian variational approximation with a factor covariance structure, Journal of
    Computational and Graphical Statistics 27.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> guide = LowRank().bind(SimpleNamespace(dim=3))
    >>> params = {
    ...     "mean": np.zeros(3),
    ...     "scale": np.ones(3),
    ...     "basis": np.full((3, 1), 3**-0.5),
    ...     "width": np.array([2.0]),
    ... }
    >>> guide.variances(params)
    array([2., 2., 2.])
    """

    rank: int | None = None
    name: str = "low-rank"

    def bind(self, target) -> LowRankGuide:
        return LowRankGuide(self, target.dim)


@dataclass(frozen=True, eq=False)
class LowRankFactor:
    """The symmetric root ``R = I + U diag(width - 1) Uᵀ`` scaled by S: the covariance is ``S R² S``.

    Attributes
    ----------
    scale : numpy.ndarray, shape (dim,)
    basis : numpy.ndarray, shape (dim, rank)
        Orthonormal columns U.
    width : numpy.ndarray, shape (rank,)
        Sd along each of them, in units of `scale`.
    """

    scale: np.ndarray
    basis: np.ndarray
    width: np.ndarray

    @classmethod
    def diagonal(cls, sd: np.ndarray) -> LowRankFactor:
        """Independent Gaussians."""
        return cls(np.asarray(sd, float), np.zeros((len(sd), 0)), np.zeros(0))

    @property
    def log_det(self) -> float:
        """Half the log determinant of the precision."""
        return -float(np.log(self.scale).sum() + np.log(self.width).sum())

    @property
    def precision_diagonal(self) -> np.ndarray:
        """Diagonal of the precision."""
        return (1.0 + self.basis**2 @ (self.width**-2 - 1.0)) / self.scale**2

    @property
    def widest(self) -> float:
        """Largest sd of a coordinate."""
        return float(np.sqrt(self.variances().max()))

    def _stretch(self, x, by):
        return x + ((x @ self.basis) * (by - 1.0)) @ self.basis.T

    def root(self, eps: np.ndarray) -> np.ndarray:
        """``S R eps``, of this covariance for standard normal `eps`; shape ``(B, dim)``."""
        return self.scale * self._stretch(eps, self.width)

    def unroot(self, x: np.ndarray) -> np.ndarray:
        """Inverse of `root`."""
        return self._stretch(x / self.scale, 1.0 / self.width)

    def whiten(self, g: np.ndarray) -> np.ndarray:
        """``R S g``: gradients in the frame of `root`."""
        return self._stretch(g * self.scale, self.width)

    def precision(self, x: np.ndarray) -> np.ndarray:
        """The precision times each row."""
        return self._stretch(x / self.scale, self.width**-2) / self.scale

    def variances(self) -> np.ndarray:
        """Diagonal of the covariance."""
        return self.scale**2 * (1.0 + self.basis**2 @ (self.width**2 - 1.0))


@dataclass(frozen=True)
class LowRankGuide:
    """``z = mean + S R eps``, see `LowRankFactor`.

    ``params = {mean: (dim,), scale: (dim,), basis: (dim, rank), width: (rank,)}``.
    """

    family: LowRank
    dim: int

    def num_parameters(self, params: Params) -> int:
        """Numbers in ``params``."""
        return 2 * self.dim + (self.dim + 1) * len(params["width"])

    def factor(self, params: Params) -> LowRankFactor:
        """The root of the covariance."""
        return LowRankFactor(*(np.asarray(params[name]) for name in ("scale", "basis", "width")))

    def init(self, start) -> Params:
        factor = start.get("factor")
        if not isinstance(factor, LowRankFactor):
            factor = LowRankFactor.diagonal(start["sd"])
        return {
            "mean": np.asarray(start["mean"], float),
            "scale": factor.scale,
            "basis": factor.basis,
            "width": factor.width,
        }

    def forward(self, params, eps, data=None, weights=None, rows={}):  # noqa: B006
        factor = self.factor(params)
        return params["mean"] + factor.root(eps), -factor.log_det + 0.0 * eps[..., 0]

    def inverse(self, params, z, data=None, weights=None, rows={}):  # noqa: B006
        factor = self.factor(params)
        return factor.unroot(np.asarray(z) - params["mean"]), factor.log_det + 0.0 * z[..., 0]

    def base(self, eps):
        return standard_normal(eps)

    def variances(self, params: Params) -> np.ndarray:
        """Exact variance of every coordinate, at any dimension."""
        return self.factor(params).variances()

    def marginals(self, params: Params) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean and sd of every coordinate, at any dimension."""
        return np.asarray(params["mean"]), np.sqrt(self.variances(params))

    def moments(self, params):
        if self.dim > LARGEST_COVARIANCE:
            raise GuideError(
                explain(
                    "moments",
                    f"at most {LARGEST_COVARIANCE} dimensions for a dense covariance",
                    f"{self.dim}",
                    "use marginals(params)",
                )
            )
        root = self.factor(params).root(np.eye(self.dim))
        return np.asarray(params["mean"]), root.T @ root

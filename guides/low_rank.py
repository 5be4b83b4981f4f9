"""A Gaussian that is wide or narrow along a few directions, and independent otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .family import Guide, Params
from .mean_field import independent
from .transport import Gaussian, Rooted


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
    >>> (guide.marginals(params)[1] ** 2).round(9).tolist()
    [2.0, 2.0, 2.0]
    """

    rank: int | None = None
    name: str = "low-rank"
    engines = ("low-rank",)

    def bind(self, target) -> Guide:
        """The guide of a target: ``params = {mean: (dim,), scale: (dim,), basis: (dim, rank), width: (rank,)}``."""
        return Guide(self, target.dim, near, from_arrays)


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

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``scale``, ``basis`` and ``width``."""
        return {"scale": self.scale, "basis": self.basis, "width": self.width}

    @property
    def num_parameters(self) -> int:
        """Numbers in the root."""
        return len(self.scale) + self.basis.size + len(self.width)

    @property
    def log_det(self) -> float:
        """Half the log determinant of the precision."""
        return -float(np.log(self.scale).sum() + np.log(self.width).sum())

    @property
    def precision_diagonal(self) -> np.ndarray:
        """Diagonal of the precision."""
        return (1.0 + self.basis**2 @ (self.width**-2 - 1.0)) / self.scale**2

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


def near(start: Gaussian) -> Rooted:
    """A Gaussian with few directions as it is, and any other without its correlations."""
    factor = getattr(start, "factor", None)
    if not isinstance(factor, LowRankFactor):
        factor = LowRankFactor.diagonal(independent(start).scale)
    return Rooted(np.asarray(start.mean, float), factor)


def from_arrays(arrays: Params) -> Rooted:
    """From ``mean``, ``scale``, ``basis`` and ``width``."""
    factor = LowRankFactor(*(np.asarray(arrays[name]) for name in ("scale", "basis", "width")))
    return Rooted(np.asarray(arrays["mean"]), factor)

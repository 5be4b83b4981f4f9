"""Square roots of the covariances of groups, from their curvatures: as matrices, or along bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..thresholds import FLATTEST, MOST_EIGEN


@dataclass(frozen=True, eq=False)
class Dense:
    """Matrices.

    Attributes
    ----------
    matrix : numpy.ndarray, shape (B, G, k, k)
        ``matrix @ matrix.T`` is the covariance of a group.
    """

    matrix: np.ndarray

    @classmethod
    def of(cls, curvature: np.ndarray, there: np.ndarray, order: np.ndarray) -> Dense:
        """From minus the Hessians; with absolute eigenvalues where one is not positive.

        Parameters
        ----------
        curvature : numpy.ndarray, shape (B, G, k, k)
        there : numpy.ndarray of bool, shape (G, k)
            Which coordinates there are.
        order : numpy.ndarray of int, shape (G, k)
            Coordinates as a large group is eliminated: the last belongs to the first column of the root.
        """
        size = there.shape[1]
        if size <= MOST_EIGEN:
            return cls(_eigen(curvature, there))
        group = np.arange(len(there))[:, None]
        found = np.empty_like(curvature)
        turned = curvature[:, group[..., None], order[..., None], order[:, None, :]]
        found[:, group, order] = _triangular(turned)
        bad = ~np.isfinite(found).all((1, 2, 3))
        if bad.any():
            found[bad] = _eigen(curvature[bad], there)
        return cls(found)

    @property
    def log_det(self) -> np.ndarray:
        """Log absolute determinant, shape ``(B, G)``."""
        return np.linalg.slogdet(self.matrix)[1]

    @property
    def sds(self) -> np.ndarray:
        """Scale of every coordinate, shape ``(B, G, k)``."""
        return np.sqrt((self.matrix**2).sum(-1))

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Products with base coordinates ``(B, C, G, k)``; B may be one on either side."""
        return np.einsum("bgij,bcgj->bcgi", self.matrix, x)

    def share(self, v: np.ndarray) -> np.ndarray:
        """Products of the transpose with ``(B, C, G, k)``."""
        return np.einsum("bgij,bcgi->bcgj", self.matrix, v)

    def white(self, v: np.ndarray) -> np.ndarray:
        """Base coordinates of ``(B, C, G, k)``."""
        return np.linalg.solve(self.matrix[:, None], v[..., None])[..., 0]

    def scaled(self, own: np.ndarray) -> Dense:
        """With every coordinate ``own`` times as large, shape ``(B, G, k)``."""
        return Dense(own[..., None] * self.matrix)

    def rows(self, which: Any) -> Dense:
        """Those at some of the θ."""
        return Dense(self.matrix[which])

    def replaced(self, which: Any, other: Dense) -> Dense:
        """With those at some of the θ of another."""
        matrix = self.matrix.copy()
        matrix[which] = other.matrix
        return Dense(matrix)


def _triangular(curvature) -> np.ndarray:
    """Roots with columns from the last coordinate to the first; NaN where a Cholesky factor does not exist."""
    try:
        return np.linalg.inv(np.linalg.cholesky(curvature)).swapaxes(-1, -2)[..., ::-1]
    except np.linalg.LinAlgError:
        if len(curvature) == 1:
            return np.full(curvature.shape, np.nan)
    half = len(curvature) // 2
    return np.concatenate([_triangular(curvature[:half]), _triangular(curvature[half:])])


def _eigen(curvature, there) -> np.ndarray:
    curvature = curvature.copy()
    group, place = np.nonzero(~there)  # last of all, and apart: the others' trace is below
    curvature[:, group, place, place] = there.shape[1] + 1.0
    eig, vec = np.linalg.eigh(curvature)
    eig[:, group, place] = 1.0
    return vec / np.sqrt(np.maximum(np.abs(eig), FLATTEST))[..., None, :]


@dataclass(frozen=True, eq=False)
class Banded:
    """Cholesky factors of the curvatures of long groups, whose coordinates are linked with their neighbours alone.

    Attributes
    ----------
    lower : numpy.ndarray, shape (k, w + 1, B, G)
        ``lower[j, i]`` is the factor's element in column j and row ``j + i``.
    own : numpy.ndarray, shape (B, G, k)
        Scale of every coordinate.
    order : numpy.ndarray of int, shape (G, k)
        Coordinates as they follow one another; the last belongs to the first base coordinate.
    """

    lower: np.ndarray
    own: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, band: np.ndarray, order: np.ndarray) -> Banded:
        """From minus the Hessians in the form of `lower`, which is overwritten; pivots that are not positive are turned."""
        size, width = len(band), band.shape[1] - 1
        for j in range(size):
            pivot = np.sqrt(np.maximum(np.abs(band[j, 0]), FLATTEST))
            band[j, 0] = pivot
            below = min(width, size - 1 - j)
            band[j, 1:] /= pivot
            for i in range(1, below + 1):
                band[j + i, : below + 1 - i] -= band[j, i] * band[j, i : below + 1]
        return cls(band, np.ones((*band.shape[2:], size)), order)

    @property
    def log_det(self) -> np.ndarray:
        """Log absolute determinant, shape ``(B, G)``."""
        return np.log(self.own).sum(-1) - np.log(self.lower[:, 0]).sum(0)

    @property
    def sds(self) -> np.ndarray:
        """Scale of every coordinate given its neighbours, shape ``(B, G, k)``."""
        squares = np.zeros(self.lower.shape[:1] + self.lower.shape[2:])
        for i in range(self.lower.shape[1]):
            squares[i:] += self.lower[: len(squares) - i, i] ** 2
        return self.own * self._back(np.moveaxis(1 / np.sqrt(squares), 0, -1))

    def _along(self, v) -> np.ndarray:
        """``(B, C, G, k)`` as ``(k, B, C, G)`` along the band."""
        v = np.broadcast_to(v, (max(len(v), len(self.own)), *v.shape[1:]))
        return np.moveaxis(v[..., np.arange(len(self.order))[:, None], self.order], -1, 0).copy()

    def _back(self, v) -> np.ndarray:
        """``(..., G, k)`` in the order of the coordinates."""
        found = np.empty_like(v)
        found[..., np.arange(len(self.order))[:, None], self.order] = v
        return found

    def spread(self, x: np.ndarray) -> np.ndarray:
        """See `Dense.spread`."""
        x = np.broadcast_to(x, (max(len(x), len(self.own)), *x.shape[1:]))
        y, lower = np.moveaxis(x, -1, 0)[::-1].copy(), self.lower[:, :, :, None]
        for j in range(len(y) - 1, -1, -1):
            for i in range(1, min(self.lower.shape[1], len(y) - j)):
                y[j] -= lower[j, i] * y[j + i]
            y[j] /= lower[j, 0]
        return self.own[:, None] * self._back(np.moveaxis(y, 0, -1))

    def share(self, v: np.ndarray) -> np.ndarray:
        """See `Dense.share`."""
        y, lower = self._along(v * self.own[:, None]), self.lower[:, :, :, None]
        for j in range(len(y)):
            for i in range(1, min(self.lower.shape[1], j + 1)):
                y[j] -= lower[j - i, i] * y[j - i]
            y[j] /= lower[j, 0]
        return np.moveaxis(y[::-1], 0, -1)

    def white(self, v: np.ndarray) -> np.ndarray:
        """See `Dense.white`."""
        y, lower = self._along(v / self.own[:, None]), self.lower[:, :, :, None]
        found = lower[:, 0] * y
        for i in range(1, self.lower.shape[1]):
            found[: len(y) - i] += lower[: len(y) - i, i] * y[i:]
        return np.moveaxis(found[::-1], 0, -1)

    def scaled(self, own: np.ndarray) -> Banded:
        """See `Dense.scaled`."""
        return Banded(self.lower, own * self.own, self.order)

    def rows(self, which: Any) -> Banded:
        """See `Dense.rows`."""
        return Banded(self.lower[:, :, which], self.own[which], self.order)

    def replaced(self, which: Any, other: Banded) -> Banded:
        """See `Dense.replaced`."""
        lower, own = self.lower.copy(), self.own.copy()
        lower[:, :, which], own[which] = other.lower, other.own
        return Banded(lower, own, self.order)


@dataclass(frozen=True, eq=False)
class Normals:
    """A Gaussian for every group, at each of several θ.

    Attributes
    ----------
    centre : numpy.ndarray, shape (B, G, k)
    root : Dense or Banded
        Square root of the covariance.
    """

    centre: np.ndarray
    root: Dense | Banded

    def apart(self, u: np.ndarray) -> np.ndarray:
        """Distance of every group from the centre at one θ, in sds and shape ``(B, G)``."""
        return np.linalg.norm(self.root.white((u - self.centre)[None])[0], axis=2)



"""Square roots of the covariances of groups, from their curvatures: as matrices, or by sparse factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from ..thresholds import FLATTEST, MOST_EIGEN, MOST_INVERTED


@dataclass(frozen=True, eq=False)
class Dense:
    """Matrices.

    Attributes
    ----------
    matrix : numpy.ndarray, shape (B, G, k, k)
        ``matrix @ matrix.T`` is the covariance of a group.
    log_det : numpy.ndarray, shape (B, G)
        Its log absolute determinant.
    """

    matrix: np.ndarray
    log_det: np.ndarray

    @classmethod
    def of(cls, curvature: np.ndarray, there: np.ndarray, order: np.ndarray) -> Dense:
        """From minus the Hessians; with absolute eigenvalues where one is not positive.

        Parameters
        ----------
        curvature : numpy.ndarray, shape (B, G, k, k)
            With ones on the diagonals of coordinates that there are not.
        there : numpy.ndarray of bool, shape (G, k)
            Which coordinates there are.
        order : numpy.ndarray of int, shape (G, k)
            Coordinates as a large group is eliminated: the last belongs to the first column of the root.
        """
        size = there.shape[1]
        if size <= MOST_EIGEN:
            return cls(*_eigen(curvature, there))
        group = np.arange(len(there))[:, None]
        found = np.empty_like(curvature)
        turned = curvature[:, group[..., None], order[..., None], order[:, None, :]]
        found[:, group, order], log_det = _triangular(turned)
        bad = ~np.isfinite(found).all((1, 2, 3))
        if bad.any():
            found[bad], log_det[bad] = _eigen(curvature[bad], there)
        return cls(found, log_det)

    @classmethod
    def diagonal(cls, sds: np.ndarray) -> Dense:
        """Of independent coordinates ``(B, G, k)``."""
        return cls(sds[..., None] * np.eye(sds.shape[-1]), np.log(sds).sum(-1))

    @property
    def sds(self) -> np.ndarray:
        """Scale of every coordinate, shape ``(B, G, k)``."""
        return np.sqrt((self.matrix**2).sum(-1))

    @property
    def marginal_sds(self) -> np.ndarray:
        """Scale of every coordinate, shape ``(B, G, k)``."""
        return self.sds

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Products with base coordinates ``(B, C, G, k)``; B may be one on either side."""
        if self.matrix.shape[-1] == 1:
            return self.matrix[:, None, ..., 0] * x
        return np.einsum("bgij,bcgj->bcgi", self.matrix, x)

    def share(self, v: np.ndarray) -> np.ndarray:
        """Products of the transpose with ``(B, C, G, k)``."""
        if self.matrix.shape[-1] == 1:
            return self.spread(v)
        return np.einsum("bgij,bcgi->bcgj", self.matrix, v)

    def white(self, v: np.ndarray) -> np.ndarray:
        """Base coordinates of ``(B, C, G, k)``."""
        if self.matrix.shape[-1] == 1:
            return v / self.matrix[:, None, ..., 0]
        return np.linalg.solve(self.matrix[:, None], v[..., None])[..., 0]

    def scaled(self, own: np.ndarray) -> Dense:
        """With every coordinate ``own`` times as large, shape ``(B, G, k)``."""
        return Dense(own[..., None] * self.matrix, self.log_det + np.log(own).sum(-1))

    def taken(self, which: Any) -> Dense:
        """Those at some of the θ."""
        return Dense(self.matrix[which], self.log_det[which])

    def replaced(self, which: Any, other: Any) -> Dense:
        """With those at some of the θ of another."""
        matrix, log_det = self.matrix.copy(), self.log_det.copy()
        matrix[which], log_det[which] = other.matrix, other.log_det
        return Dense(matrix, log_det)


def _triangular(curvature) -> tuple[np.ndarray, np.ndarray]:
    """Roots with columns from the last coordinate to the first, and their log determinants; NaN where a Cholesky factor does
    not exist."""
    try:
        factor = np.linalg.cholesky(curvature)
    except np.linalg.LinAlgError:
        if len(curvature) == 1:
            return np.full(curvature.shape, np.nan), np.full(curvature.shape[:2], np.nan)
        half = len(curvature) // 2
        parts = _triangular(curvature[:half]), _triangular(curvature[half:])
        return tuple(np.concatenate(both) for both in zip(*parts, strict=True))  # type: ignore[return-value]
    log_det = -np.log(np.diagonal(factor, 0, -2, -1)).sum(-1)
    return _inverse(factor).swapaxes(-1, -2)[..., ::-1], log_det


def _inverse(factor: np.ndarray) -> np.ndarray:
    """Inverses of lower triangular matrices; NaN of one that is singular."""
    size = factor.shape[-1]
    if size <= MOST_INVERTED:
        return np.linalg.inv(factor)
    each = [lapack.dtrtri(matrix.T, lower=0) for matrix in factor.reshape(-1, size, size)]
    return np.stack([found.T if info == 0 else np.full_like(found, np.nan) for found, info in each]).reshape(
        factor.shape
    )


def _eigen(curvature, there) -> tuple[np.ndarray, np.ndarray]:
    if there.shape[1] == 1:
        root = 1 / np.sqrt(np.maximum(np.abs(curvature), FLATTEST))
        return root, np.log(root[..., 0, 0])
    # where no gradient is finite, or a curvature beyond all others, no integral is known either
    known = np.abs(curvature).max((-1, -2), keepdims=True) < 1 / FLATTEST
    curvature = np.where(known, curvature, np.eye(there.shape[1]))
    group, place = np.nonzero(~there)  # last of all, and apart: the others' trace is below
    curvature[:, group, place, place] = there.shape[1] + 1.0
    eig, vec = _eigenvectors(curvature)
    eig[:, group, place] = 1.0
    size = np.maximum(np.abs(eig), FLATTEST)
    return vec / np.sqrt(size)[..., None, :], -0.5 * np.log(size).sum(-1)


def _eigenvectors(matrices) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and vectors; one by one by QR iterations, which are slower, where those of a batch do not converge."""
    try:
        return np.linalg.eigh(matrices)
    except np.linalg.LinAlgError:
        size = matrices.shape[-1]
        each = [linalg.eigh(matrix, driver="ev") for matrix in matrices.reshape(-1, size, size)]
    eig, vec = map(np.stack, zip(*each, strict=True))
    return eig.reshape(matrices.shape[:-1]), vec.reshape(matrices.shape)


@dataclass(frozen=True, eq=False)
class Elimination:
    """What a Cholesky factor of every group is made of, whatever its numbers: a chain's is a band, a tree's has no fill.

    Attributes
    ----------
    order : numpy.ndarray of int, shape (G, k)
        Coordinates as they are eliminated; the last belongs to the first base coordinate.
    below : tuple of numpy.ndarray of int
        Of each column, the rows below its diagonal that are not zero in some group.
    start : numpy.ndarray of int, shape (k + 1,)
        Where each column's begin, of all elements below diagonals.
    place : numpy.ndarray of int, shape (k, k)
        Where ``place[column, row]`` is among them; -1 for what is zero.
    """

    order: np.ndarray
    below: tuple[np.ndarray, ...]
    start: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, order: np.ndarray, one: np.ndarray, other: np.ndarray) -> Elimination:
        """From an order, and the columns and rows of what is linked in it."""
        size = order.shape[1]
        linked = np.zeros((size, size), bool)
        linked[np.minimum(one, other), np.maximum(one, other)] = True
        np.fill_diagonal(linked, False)
        below = []
        for j in range(size):
            rows = np.flatnonzero(linked[j])
            below.append(rows)
            linked[rows[:, None], rows] |= rows[:, None] < rows
        start = np.concatenate([[0], np.cumsum([len(rows) for rows in below])])
        place = np.full((size, size), -1)
        for j, rows in enumerate(below):
            place[j, rows] = np.arange(start[j], start[j + 1])
        return cls(order, tuple(below), start, place)

    @property
    def share(self) -> float:
        """Elements of a factor beside those of a full one."""
        size = len(self.below)
        return self.start[-1] / max(1, size * (size - 1) / 2)


@dataclass(frozen=True, eq=False)
class Sparse:
    """Sparse Cholesky factors of the curvatures, of all groups and θ at once.

    Attributes
    ----------
    how : Elimination
    diagonal : numpy.ndarray, shape (k, B, G)
    lower : numpy.ndarray, shape (n, B, G)
        Elements below the diagonals.
    own : numpy.ndarray, shape (B, G, k)
        Scale of every coordinate.
    """

    how: Elimination
    diagonal: np.ndarray
    lower: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, how: Elimination, diagonal: np.ndarray, lower: np.ndarray) -> Sparse:
        """From minus the Hessians in their place, written over; pivots that are not positive are turned."""
        for j, rows in enumerate(how.below):
            pivot = np.sqrt(np.maximum(np.abs(diagonal[j]), FLATTEST))
            diagonal[j] = pivot
            column = lower[how.start[j] : how.start[j + 1]]
            column /= pivot
            for a, i in enumerate(rows):
                diagonal[i] -= column[a] ** 2
                if a + 1 < len(rows):
                    lower[how.place[i, rows[a + 1 :]]] -= column[a] * column[a + 1 :]
        return cls(how, diagonal, lower, np.ones((*diagonal.shape[1:], len(diagonal))))

    @property
    def log_det(self) -> np.ndarray:
        """Log absolute determinant, shape ``(B, G)``."""
        return np.log(self.own).sum(-1) - np.log(self.diagonal).sum(0)

    @property
    def sds(self) -> np.ndarray:
        """Scale of every coordinate given all others of its group, shape ``(B, G, k)``."""
        squares = self.diagonal**2
        for j, rows in enumerate(self.how.below):
            squares[rows] += self.lower[self.how.start[j] : self.how.start[j + 1]] ** 2
        return self.own * self._back(1 / np.sqrt(squares))

    @property
    def marginal_sds(self) -> np.ndarray:
        """Scale of every coordinate, shape ``(B, G, k)``, by the elements of the inverse that are not zero in the factor.

        References
        ----------
        Takahashi, Fagan & Chen (1973), Formation of a sparse bus impedance matrix and its application to short circuit study.
        """
        how, variance, covariance = self.how, np.empty_like(self.diagonal), np.empty_like(self.lower)
        for j, rows, lower, diagonal in self._columns(backwards=True):
            share = lower[:, :, 0] / diagonal[:, 0]
            among = covariance[how.place[np.minimum.outer(rows, rows), np.maximum.outer(rows, rows)]]
            own = np.arange(len(rows))
            among[own, own] = variance[rows]
            column = -(among * share).sum(1)
            covariance[how.start[j] : how.start[j + 1]] = column
            variance[j] = 1 / diagonal[:, 0] ** 2 - (share * column).sum(0)
        return self.own * self._back(np.sqrt(variance))

    def _along(self, v) -> np.ndarray:
        """``(B, C, G, k)`` as ``(k, B, C, G)`` in the order of elimination."""
        order = self.how.order
        v = np.broadcast_to(v, (max(len(v), len(self.own)), *v.shape[1:]))
        return np.moveaxis(v[..., np.arange(len(order))[:, None], order], -1, 0).copy()

    def _back(self, y) -> np.ndarray:
        """``(k, ..., G)`` in the order of elimination as ``(..., G, k)`` in that of the coordinates."""
        found = np.empty((*y.shape[1:], len(y)))
        found[..., np.arange(len(self.how.order))[:, None], self.how.order] = np.moveaxis(y, 0, -1)
        return found

    def _columns(self, backwards: bool = False):
        """Each column: its number, its rows below the diagonal and their elements, and the diagonal, for ``(B, C, G)``."""
        how = self.how
        for j in reversed(range(len(how.below))) if backwards else range(len(how.below)):
            lower = self.lower[how.start[j] : how.start[j + 1], :, None]
            yield j, how.below[j], lower, self.diagonal[j][:, None]

    def spread(self, x: np.ndarray) -> np.ndarray:
        """See `Dense.spread`."""
        x = np.broadcast_to(x, (max(len(x), len(self.own)), *x.shape[1:]))
        y = np.moveaxis(x, -1, 0)[::-1].copy()
        for j, rows, lower, diagonal in self._columns(backwards=True):
            if len(rows):
                y[j] -= (lower * y[rows]).sum(0)
            y[j] /= diagonal
        return self.own[:, None] * self._back(y)

    def share(self, v: np.ndarray) -> np.ndarray:
        """See `Dense.share`."""
        y = self._along(v * self.own[:, None])
        for j, rows, lower, diagonal in self._columns():
            y[j] /= diagonal
            if len(rows):
                y[rows] -= lower * y[j]
        return np.moveaxis(y[::-1], 0, -1)

    def white(self, v: np.ndarray) -> np.ndarray:
        """See `Dense.white`."""
        y = self._along(v / self.own[:, None])
        found = self.diagonal[:, :, None] * y
        for j, rows, lower, _ in self._columns():
            if len(rows):
                found[j] += (lower * y[rows]).sum(0)
        return np.moveaxis(found[::-1], 0, -1)

    def scaled(self, own: np.ndarray) -> Sparse:
        """See `Dense.scaled`."""
        return Sparse(self.how, self.diagonal, self.lower, own * self.own)

    def taken(self, which: Any) -> Sparse:
        """See `Dense.taken`."""
        return Sparse(self.how, self.diagonal[:, which], self.lower[:, which], self.own[which])

    def replaced(self, which: Any, other: Any) -> Sparse:
        """See `Dense.replaced`."""
        diagonal, lower, own = self.diagonal.copy(), self.lower.copy(), self.own.copy()
        diagonal[:, which], lower[:, which], own[which] = other.diagonal, other.lower, other.own
        return Sparse(self.how, diagonal, lower, own)


@dataclass(frozen=True, eq=False)
class Normals:
    """A Gaussian for every group, at each of several θ.

    Attributes
    ----------
    centre : numpy.ndarray, shape (B, G, k)
    root : Dense or Sparse
        Square root of the covariance.
    """

    centre: np.ndarray
    root: Dense | Sparse

    def apart(self, u: np.ndarray) -> np.ndarray:
        """Distance of every group from the centre at one θ, in sds and shape ``(B, G)``."""
        return np.linalg.norm(self.root.white((u - self.centre)[None])[0], axis=2)

"""Sparse Cholesky factors whose elimination order goes by levels, so that no step loops over groups.

Each level eliminates a set of coordinates that are not linked with each other: all elements of an independent
axis at once, every third step of a chain. What is left when the rest is small or dense is one dense block.

References
----------
Rue & Held (2005), Gaussian Markov random fields. Takahashi, Fagan & Chin (1973), Formation of a sparse bus
impedance matrix. Luby (1986), A simple parallel algorithm for the maximal independent set problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.linalg import solve_triangular

from .thresholds import LARGEST_TAIL, SMALLEST_TAIL


class TooDense(ValueError):
    """A pattern whose elimination leaves too large a dense block."""


class NotPositiveDefinite(ValueError):
    """A matrix without a Cholesky factor."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Elimination order and fill of a symmetric sparsity pattern.

    Attributes
    ----------
    dim : int
    level : numpy.ndarray of int, shape (dim,)
        Level in which each coordinate is eliminated; the largest for those of the dense block.
    rows, cols : numpy.ndarray of int, shape (num_links,)
        Coordinates that each entry of the factor outside of its diagonal and the dense block links, the one
        eliminated first as the row; sorted by level.
    """

    dim: int
    level: np.ndarray
    rows: np.ndarray
    cols: np.ndarray

    @classmethod
    def of(cls, pattern) -> Layout:
        """Order the coordinates of a sparse symmetric pattern.

        Parameters
        ----------
        pattern : scipy.sparse array, shape (dim, dim)
            Nonzero where two coordinates are linked.

        Raises
        ------
        TooDense
            If the dense block would be larger than 4,096 coordinates.
        """
        dim = pattern.shape[0]
        rest = _cleared(pattern)
        rng, level = np.random.default_rng(0), np.zeros(dim, int)
        left, rows, cols, step = np.arange(dim), [], [], 0
        while len(left) > SMALLEST_TAIL and rest.nnz < 0.5 * len(left) ** 2:
            chosen = _unlinked(rest, rng)
            chosen[-1] &= not chosen.all()  # the dense block holds one at least
            keep = ~chosen
            links = rest[chosen][:, keep].tocoo()
            rows.append(left[chosen][links.row])
            cols.append(left[keep][links.col])
            level[left[chosen]] = step
            joined = links.tocsr()
            rest = _cleared(rest[keep][:, keep] + joined.T @ joined)
            left, step = left[keep], step + 1
        if len(left) > LARGEST_TAIL:
            raise TooDense(f"a dense block of {len(left)} coordinates is left")
        level[left] = step
        return cls(
            dim, level, np.concatenate([*rows, np.zeros(0, int)]), np.concatenate([*cols, np.zeros(0, int)])
        )

    @classmethod
    def dense(cls, dim: int) -> Layout:
        """The layout in which every coordinate is linked with every other."""
        return cls(dim, np.zeros(dim, int), np.zeros(0, int), np.zeros(0, int))

    @classmethod
    def diagonal(cls, dim: int) -> Layout:
        """The layout in which no coordinate is linked with another."""
        return cls(dim, np.r_[np.zeros(dim - 1, int), 1], np.zeros(0, int), np.zeros(0, int))

    @property
    def num_parameters(self) -> int:
        """Numbers in a factor."""
        return self.dim + len(self.rows) + len(self.tail) * (len(self.tail) - 1) // 2

    @cached_property
    def tail(self) -> np.ndarray:
        """Coordinates of the dense block."""
        return np.flatnonzero(self.level == self.level.max()) if self.dim else np.zeros(0, int)

    @cached_property
    def stages(self) -> list[tuple[np.ndarray, np.ndarray, slice]]:
        """Of each level: its coordinates, the place of each link's row among them, the slice of its links."""
        ends = np.searchsorted(self.level[self.rows], np.arange(self.level.max() + 1))
        out = []
        for step in range(int(self.level.max())):
            members = np.flatnonzero(self.level == step)
            links = slice(ends[step], ends[step + 1])
            out.append((members, np.searchsorted(members, self.rows[links]), links))
        return out

    def factor(self, matrix) -> Factor:
        """Cholesky factor of a sparse positive definite matrix of this pattern.

        Raises
        ------
        NotPositiveDefinite
        """
        rest = sp.csr_array(matrix)
        diagonal, links = np.ones(self.dim), np.empty(len(self.rows))
        for members, place, where in self.stages:
            pivots = rest.diagonal()[members]
            if not (pivots > 0).all():
                raise NotPositiveDefinite("a pivot is not positive")
            diagonal[members] = np.sqrt(pivots)
            if where.start == where.stop:
                continue
            values = np.asarray(rest[self.rows[where], self.cols[where]]).ravel() / diagonal[self.rows[where]]
            links[where] = values
            one = sp.csr_array((values, (place, self.cols[where])), shape=(len(members), self.dim))
            rest = rest - one.T @ one
        block = rest[self.tail][:, self.tail].toarray()
        try:
            lower = np.linalg.cholesky(0.5 * (block + block.T))
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefinite("the dense block is not positive definite") from error
        return Factor(self, diagonal, links, lower)


def _cleared(matrix):
    """Ones where two different coordinates are linked."""
    matrix = matrix.tocoo()
    off = matrix.row != matrix.col
    return sp.csr_array((np.ones(off.sum()), (matrix.row[off], matrix.col[off])), shape=matrix.shape)


def highest(graph, rank: np.ndarray) -> np.ndarray:
    """Largest rank among the neighbours of each coordinate; zero for one without."""
    if not graph.nnz:
        return np.zeros(len(rank))
    ranks = sp.csr_array((rank[graph.indices], graph.indices, graph.indptr), shape=graph.shape)
    return np.asarray(ranks.max(axis=1).todense()).ravel()


def _unlinked(graph, rng) -> np.ndarray:
    """Coordinates with few links, no two of them linked."""
    degree = np.diff(graph.indptr)
    open_ = degree <= max(2 * degree.min(), 4)
    chosen = np.zeros(len(degree), bool)
    for _ in range(3):
        rank = np.where(open_, rng.permutation(len(degree)) + 1, 0)
        new = open_ & (rank > highest(graph, rank))
        chosen |= new
        open_ &= ~new & ~(graph @ new.astype(float) > 0)
        if not open_.any():
            break
    return chosen


def _pairs(rows, count):
    """All pairs of positions with the same row."""
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=count)
    width = counts[rows[order]]
    left = np.repeat(np.arange(len(rows)), width)
    within = np.arange(len(left)) - np.repeat(np.cumsum(width) - width, width)
    right = (np.cumsum(counts) - counts)[rows[order[left]]] + within
    return order[left], order[right]


@dataclass(frozen=True, eq=False)
class Factor:
    """A sparse factor ``P = L Lᵀ`` of a precision, as the square root of a covariance."""

    layout: Layout
    diagonal: np.ndarray
    links: np.ndarray
    lower: np.ndarray

    @classmethod
    def independent(cls, layout: Layout, root: np.ndarray) -> Factor:
        """Of a diagonal precision, with the roots of its entries."""
        return cls(layout, root, np.zeros(len(layout.rows)), np.diag(root[layout.tail]))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``diagonal``, ``links`` and ``lower``."""
        return {"diagonal": self.diagonal, "links": self.links, "lower": self.lower}

    @property
    def num_parameters(self) -> int:
        """Free numbers in the root."""
        return self.layout.num_parameters

    @property
    def log_det(self) -> float:
        """Half the log determinant of the precision."""
        members = np.concatenate([np.zeros(0, int), *(m for m, _, _ in self.layout.stages)])
        return float(np.log(self.diagonal[members]).sum() + np.log(np.diag(self.lower)).sum())

    @property
    def precision_diagonal(self) -> np.ndarray:
        """Diagonal of the precision."""
        layout, out = self.layout, np.array(self.diagonal) ** 2
        out[layout.tail] = (self.lower**2).sum(1)
        return out + np.bincount(layout.cols, self.links**2, layout.dim)

    @cached_property
    def _blocks(self):
        layout = self.layout
        return [
            sp.csr_array((self.links[where], (place, layout.cols[where])), shape=(len(members), layout.dim))
            for members, place, where in layout.stages
        ]

    def root(self, eps: np.ndarray) -> np.ndarray:
        """``L⁻ᵀ eps``, of covariance P⁻¹ for standard normal `eps`; shape ``(B, dim)``."""
        out, tail = np.empty(eps.T.shape), self.layout.tail
        out[tail] = solve_triangular(self.lower.T, eps.T[tail], lower=False)
        for (members, _, _), block in zip(reversed(self.layout.stages), reversed(self._blocks), strict=True):
            later = block @ out
            out[members] = (eps.T[members] - later) / self.diagonal[members, None]
        return out.T

    def unroot(self, x: np.ndarray) -> np.ndarray:
        """``Lᵀ x``: inverse of `root`."""
        out, tail, x = np.empty(x.T.shape), self.layout.tail, np.ascontiguousarray(x.T)
        out[tail] = self.lower.T @ x[tail]
        for (members, _, _), block in zip(self.layout.stages, self._blocks, strict=True):
            out[members] = self.diagonal[members, None] * x[members] + block @ x
        return out.T

    def whiten(self, g: np.ndarray) -> np.ndarray:
        """``L⁻¹ g``: gradients in the frame of `root`, shape ``(B, dim)``."""
        rest, tail = np.array(g.T, order="C"), self.layout.tail
        for (members, _, _), block in zip(self.layout.stages, self._blocks, strict=True):
            rest[members] /= self.diagonal[members, None]
            rest -= block.T @ rest[members]
        rest[tail] = solve_triangular(self.lower, rest[tail], lower=True)
        return rest.T

    def variances(self) -> np.ndarray:
        """Diagonal of P⁻¹, by Takahashi's recursion on the entries that the factor links."""
        layout = self.layout
        dim, out = layout.dim, np.empty(layout.dim)
        inverse = np.linalg.inv(self.lower)
        block = inverse.T @ inverse
        tail = layout.tail
        out[tail] = np.diag(block)
        place = np.full(dim, -1)
        place[tail] = np.arange(len(tail))
        links = np.empty(len(self.links))  # covariances of the linked pairs
        order = np.lexsort((layout.cols, layout.rows))
        keys = (layout.rows.astype(np.int64) * dim + layout.cols)[order]

        def covariance(a, b):
            both = (place[a] >= 0) & (place[b] >= 0)
            found = np.empty(len(a))
            found[both] = block[place[a[both]], place[b[both]]]
            same = ~both & (a == b)
            found[same] = out[a[same]]
            rest = ~both & ~same
            a, b = a[rest], b[rest]
            first = layout.level[a] < layout.level[b]
            first, second = np.where(first, a, b), np.where(first, b, a)
            found[rest] = links[order[np.searchsorted(keys, first.astype(np.int64) * dim + second)]]
            return found

        for members, rows, where in reversed(layout.stages):
            values, cols = self.links[where], layout.cols[where]
            if (place[cols] >= 0).all():
                dense = sp.csr_array((values, (rows, place[cols])), shape=(len(members), len(tail))) @ block
                total = dense[rows, place[cols]]
            else:
                left, right = _pairs(rows, len(members))
                total = np.bincount(
                    left, values[right] * covariance(cols[left], cols[right]), minlength=len(values)
                )
            pivot = self.diagonal[members]
            links[where] = -total / pivot[rows]
            out[members] = (1.0 / pivot - np.bincount(rows, values * links[where], len(members))) / pivot
        return out

"""How the Hessians of all groups are read from few differences of gradients.

References
----------
Gebremedhin, Manne & Pothen (2005), What color is your Jacobian? Graph coloring for computing derivatives, SIAM Review 47.
Cuthill & McKee (1969), Reducing the bandwidth of sparse symmetric matrices, Proceedings of the ACM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import reverse_cuthill_mckee

from ..thresholds import DENSELY_LINKED, MOST_COLOURED, MOST_EIGEN, MOST_FILLED, MOST_PATHS
from .roots import Elimination


@dataclass(frozen=True, eq=False)
class Columns:
    """Moves of coordinates, and where the second derivative of each pair of a group is then read.

    Attributes
    ----------
    moved : numpy.ndarray of bool, shape (C, G, k)
        What is moved at a time.
    group, one, other : numpy.ndarray of int, shape (P,)
        Pairs of linked coordinates of the groups, `one` not above `other` in their order.
    row, move : numpy.ndarray of int, shape (P,)
        Whose gradient tells of a pair, and at which move.
    order : numpy.ndarray of int, shape (G, k)
        Coordinates as they are eliminated.
    elimination : Elimination or None
        What sparse factors are made of, where they are sparse.
    """

    moved: np.ndarray
    group: np.ndarray
    one: np.ndarray
    other: np.ndarray
    row: np.ndarray
    move: np.ndarray
    order: np.ndarray
    elimination: Elimination | None

    @property
    def numbers(self) -> int:
        """Numbers of all roots at one θ."""
        count, size = self.order.shape
        each = size**2 if self.elimination is None else size + self.elimination.start[-1]
        return count * int(each)

    @classmethod
    def of(cls, members: np.ndarray, pattern, site: np.ndarray) -> Columns:
        """For groups ``(G, k)`` of the coordinates of a pattern, which are its rows; those past the last are not there.

        Parameters
        ----------
        members : numpy.ndarray of int, shape (G, k)
            Coordinates of each group.
        pattern : scipy.sparse array, shape (dim, dim)
            Nonzero where two coordinates are linked.
        site : numpy.ndarray of int, shape (dim,)
            Which site a coordinate is of.
        """
        there = members < pattern.shape[0]
        count, size = members.shape
        if size <= MOST_EIGEN or there.sum() > MOST_COLOURED:
            return cls._each(there)
        rest, (group, place) = members[there], np.nonzero(there)
        among = sp.csr_array(pattern[rest][:, rest])
        colour = colours(among)
        if colour is None:
            return cls._each(there)
        links = among.tocoo()
        position, elimination = np.zeros(len(rest), int), None
        for rank in _orders(among, site[rest]):
            order = np.full(there.shape, -1)
            order[group, place] = rank
            order = np.argsort(order, axis=1, kind="stable")  # what is not there first
            at = np.argsort(order, 1)[group, place]
            made = Elimination.of(order, at[links.row], at[links.col])
            if elimination is None or made.share < elimination.share:
                position, elimination = at, made
        assert elimination is not None
        linked = sp.csr_array(among + sp.eye_array(len(rest))).tocoo()
        lower = position[linked.row] <= position[linked.col]
        one, other = linked.row[lower], linked.col[lower]
        seen = _seen(among, colour)
        straight = (seen[one, colour[other]] == 1) | (one == other)
        moved = np.zeros((colour.max() + 1, count, size), bool)
        moved[colour, group, place] = True
        return cls(
            moved,
            group[one],
            place[one],
            place[other],
            np.where(straight, place[one], place[other]),
            np.where(straight, colour[other], colour[one]),
            elimination.order,
            elimination if elimination.share <= MOST_FILLED else None,
        )

    @classmethod
    def _each(cls, there) -> Columns:
        """One coordinate of every group after the other."""
        count, size = there.shape
        place = np.arange(size)
        moved = np.broadcast_to(place[:, None, None] == place, (size, count, size))
        linked = np.triu(np.ones((size, size), bool)) & there[:, None] & there[:, :, None]
        group, one, other = np.nonzero(linked)
        order = np.argsort(there, axis=1, kind="stable")
        return cls(moved, group, one, other, one, other, order, None)


def _orders(among, site) -> Iterator[np.ndarray]:
    """Ranks by which coordinates may be eliminated: neighbours one after the other, and sites with the fewest links first."""
    along = np.empty(len(site), int)
    along[reverse_cuthill_mckee(sp.csr_matrix(among), symmetric_mode=True)] = np.arange(len(site))
    yield along
    links = np.bincount(site, np.diff(among.indptr)) / np.maximum(np.bincount(site), 1)
    by_site = np.empty(len(site), int)
    by_site[np.lexsort((along, links[site]))] = np.arange(len(site))
    yield by_site


def _seen(among, colour) -> np.ndarray:
    """How many linked coordinates of each colour every one has beside itself, shape ``(n, C)``."""
    found = among.tocoo()
    apart = found.row != found.col
    seen = np.zeros((among.shape[0], colour.max() + 1), int)
    np.add.at(seen, (found.row[apart], colour[found.col[apart]]), 1)
    return seen


def colours(pattern) -> np.ndarray | None:
    """Colours such that of two linked coordinates one has no other of the other's colour beside it; None where too many.

    A star colouring, greedily, those with the most links first: a chain takes three, a tree as many as it is deep, effects that are
    crossed with larger ones one for each of theirs and one for all the larger.
    """
    count = pattern.shape[0]
    degree = np.diff(pattern.indptr)
    if degree.mean() > DENSELY_LINKED * count and (degree.astype(float) ** 2).sum() > MOST_PATHS:
        return None
    starts, ends = pattern.indptr[:-1], pattern.indptr[1:]
    near = [set(pattern.indices[a:b]) - {i} for i, (a, b) in enumerate(zip(starts, ends, strict=True))]
    colour = np.full(count, -1)
    seen = np.zeros((count, 1), int)  # coloured neighbours of each colour
    for v in np.argsort(-degree, kind="stable"):
        taken = np.zeros(seen.shape[1], bool)
        for u in near[v]:
            own = colour[u]
            if own < 0:
                continue
            taken[own] = True
            twice = seen[v, own] > 1
            for w in near[u]:
                if w != v and colour[w] >= 0 and (twice or seen[w, own] > 1):
                    taken[colour[w]] = True
        if taken.all():
            taken, seen = np.append(taken, False), np.column_stack([seen, np.zeros(count, int)])
        colour[v] = np.argmin(taken)
        seen[list(near[v]), colour[v]] += 1
    return colour

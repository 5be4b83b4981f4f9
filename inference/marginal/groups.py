"""Which coordinates are independent given the rest, and which terms of the log density belong to each group of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ..evidence.coordinates import coordinates_named
from ..thresholds import (
    EXACT_GROUP,
    FEWEST_GROUPS,
    GAUSSIAN_FOR_EACH,
    LARGEST_ALONE,
    LARGEST_TOGETHER,
    LINK_PROBES,
    MEMBERS_FOR_EACH,
    MOST_SHARED,
    ODD_SHARE,
)
from .columns import Columns

VALUES = ("real", "real_vector", "zero_sum")
"""Constraints of elements that are linear in their coordinates."""


@dataclass(frozen=True, eq=False)
class Groups:
    """A split of the coordinates: what is shared, and groups that are independent given it.

    Attributes
    ----------
    dim : int
        Number of coordinates.
    shared : numpy.ndarray of int, shape (D,)
        Coordinates that stay, in an order of any kind.
    members : numpy.ndarray of int, shape (G, k)
        Coordinates of each group; of one with fewer than k the last are `dim`, a coordinate that there is not.
    pattern : scipy.sparse array, shape (dim, dim)
        Nonzero where two coordinates are linked.
    site : numpy.ndarray of int, shape (dim,)
        Which site a coordinate is of.
    """

    dim: int
    shared: np.ndarray
    members: np.ndarray
    pattern: Any
    site: np.ndarray

    @cached_property
    def columns(self) -> Columns:
        """How the Hessians of the groups are read."""
        return Columns.of(self.members, self.pattern, self.site)

    @property
    def there(self) -> np.ndarray:
        """Which of the members are coordinates, shape ``(G, k)``."""
        return self.members < self.dim

    @property
    def size(self) -> int:
        """Coordinates of the largest group."""
        return self.members.shape[1]

    @property
    def large(self) -> bool:
        """Whether the groups are few, or large ones."""
        return len(self) < FEWEST_GROUPS or self.size > LARGEST_TOGETHER

    def __len__(self) -> int:
        return len(self.members)

    def of(self, z: np.ndarray) -> np.ndarray:
        """Coordinates of every group, shape ``(B, G, k)``; 0 for those that there are not."""
        return np.concatenate([z, np.zeros((len(z), 1))], 1)[:, self.members]

    def joined(self, theta: np.ndarray | int, u: np.ndarray) -> np.ndarray:
        """All coordinates ``(B, dim)`` from what is shared ``(B, D)`` and the groups' own ``(B, G, k)``."""
        z = np.empty((len(u), self.dim + 1), u.dtype)
        z[:, self.shared] = theta
        z[:, self.members] = u
        return z[:, : self.dim]

    @classmethod
    def splits(cls, target: Any, pattern) -> list[Groups]:
        """The splits that leave the fewest coordinates shared: into many groups, and into few or large ones where that leaves
        fewer.

        Where nothing falls apart, a single group may be a chain, or one that many coordinates are in for each that is shared.

        Parameters
        ----------
        target : Target
            With the sites that coordinates belong to.
        pattern : scipy.sparse array, shape (dim, dim)
            Nonzero where two coordinates are linked.
        """
        found = [
            s for kept in _kept(target, pattern) if (s := cls.leaving(target, pattern, kept)) is not None
        ]
        apart = sorted((s for s in found if not s.large), key=lambda s: (len(s.shared), s.size))[:1]
        few = [s for s in found if s.large and not (apart and len(s.shared) >= len(apart[0].shared))]
        return apart + sorted(few, key=lambda s: (s.columns.elimination is None, len(s.shared)))[:1]

    @classmethod
    def leaving(cls, target: Any, pattern, shared: np.ndarray, gaussian: bool = False) -> Groups | None:
        """The groups that there are without some coordinates ``(dim,)``; None where none are worth their while.

        Gaussian ones may be of any sites.
        """
        rest = np.flatnonzero(~shared)
        if not 0 < shared.sum() <= MOST_SHARED or not len(rest):
            return None
        count, label = connected_components(pattern[rest][:, rest], directed=False)
        sizes = np.bincount(label)
        odd = (sizes > np.median(sizes))[label]
        if 0 < odd.sum() <= ODD_SHARE * shared.sum():  # all groups would be as large
            return cls.leaving(target, pattern, shared | np.isin(np.arange(len(shared)), rest[odd]), gaussian)
        members = np.full((count, sizes.max()), target.dim)
        order = np.argsort(label, kind="stable")
        place = np.arange(len(rest)) - (np.cumsum(sizes) - sizes)[label[order]]
        members[label[order], place] = rest[order]
        site = np.repeat(np.arange(len(target.sites)), [site.size for site in target.sites])
        found = cls(target.dim, np.flatnonzero(shared), members, pattern, site)
        if not found.large:
            return found
        each = GAUSSIAN_FOR_EACH if gaussian else MEMBERS_FOR_EACH
        few = sizes.max() <= LARGEST_ALONE and len(rest) >= each * shared.sum()
        return found if few and (gaussian or _unbounded(target)[rest].all()) else None


def _kept(target, pattern) -> Iterator[np.ndarray]:
    """What may stay shared: sites one after the other, the smallest first, or those with the most links, or bounded ones."""
    sizes = np.array([site.size for site in target.sites])
    site_of = np.repeat(np.arange(len(sizes)), sizes)
    links = np.bincount(site_of, np.diff(pattern.indptr), len(sizes)) / np.maximum(sizes, 1)
    unbounded = _unbounded(target)
    by_bounds = np.lexsort((sizes, [unbounded[target.offsets[site.name]].all() for site in target.sites]))
    for order in (np.argsort(sizes, kind="stable"), np.argsort(-links, kind="stable"), by_bounds):
        for count in range(1, len(order)):
            yield np.isin(site_of, order[:count])


def _unbounded(target) -> np.ndarray:
    """Which coordinates are values of many, shape ``(dim,)``: the log of a scale bends all that it scales."""
    many = np.repeat([site.size > 1 for site in target.sites], [site.size for site in target.sites])
    return coordinates_named(target, VALUES) & many


def linear(target, density, z: np.ndarray, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coordinates of sites in which, together, the gradient is linear whatever the others are, shape ``(dim,)``: given these
    they are Gaussian.

    Parameters
    ----------
    target : Target
        With the sites that coordinates belong to.
    density : callable
        ``density(z) -> (log density, gradient)``.
    z, unit : numpy.ndarray, shape (dim,)
        Where, and on what scale.
    rng : numpy.random.Generator
        For the points.
    """
    values = coordinates_named(target, VALUES)
    at = z + 0.5 * unit * rng.standard_normal((LINK_PROBES, target.dim))
    step = 3.0 * unit * rng.standard_normal((LINK_PROBES, target.dim))

    def straight(which: np.ndarray) -> bool:
        move = np.where(which, step, 0.0)
        gradient = (density(np.concatenate([at - move, at, at + move]))[1] * unit)[:, which]
        below, here, above = gradient.reshape(3, LINK_PROBES, -1)
        return bool(np.abs(above + below - 2 * here).max() < EXACT_GROUP * (1 + np.abs(gradient).max()))

    found = np.zeros(target.dim, bool)
    if values.any() and straight(values):
        return values
    for site in sorted(target.sites, key=lambda site: -site.size):
        own = np.zeros(target.dim, bool)
        own[target.offsets[site.name]] = True
        if (values & own).any() and straight(found | own):
            found |= own
    return found


@dataclass(frozen=True, eq=False)
class Terms:
    """Log density of each group, and of what is shared, by the terms of the log density.

    Attributes
    ----------
    of_group : mapping of scipy.sparse.csr_array, shapes (G + 1, n)
        By name of a term: one where an element belongs to a group, in the last row where it belongs to none.
    """

    of_group: Mapping[str, sp.csr_array]

    def of(self, target, z: np.ndarray) -> np.ndarray:
        """Sums of the terms of each group, and in the last column of all others, shape ``(B, G + 1)``.

        −∞ where they are not finite.
        """
        total = target.terms(z, self.of_group)[""]
        return np.where(np.isfinite(total), total, -np.inf)

    @classmethod
    def tested(
        cls, target, groups: Groups, z: np.ndarray, unit: np.ndarray, rng: np.random.Generator
    ) -> Terms | None:
        """Find which terms see which group: half of the groups are moved at a time, and after that the other half.

        A term that a group has for itself changes with one of the two halves, each time, and with which says whose it is.

        Parameters
        ----------
        target : Target
            Whose terms they are.
        groups : Groups
            Of its coordinates.
        z, unit : numpy.ndarray, shape (dim,)
            Where, and on what scale.
        rng : numpy.random.Generator
            For the points and the moves.

        Returns
        -------
        Terms or None
            None where some term sees several groups.
        """
        number = np.arange(1, len(groups) + 1)
        bits = (number[:, None] >> np.arange(int(number[-1]).bit_length())) & 1  # (G, bits)
        halves = np.concatenate([bits, 1 - bits], 1).T.astype(bool)  # (2 bits, G)
        changed: dict[str, Any] = {}
        for _ in range(LINK_PROBES):
            at = z + unit * rng.standard_normal(groups.dim)
            moved = (
                np.where(rng.random(groups.dim) < 0.5, -1.0, 1.0) * rng.uniform(0.5, 2.0, groups.dim) * unit
            )
            u, to = groups.of(at[None])[0], groups.of((at + moved)[None])[0]
            rows = np.concatenate([u[None], np.where(halves[:, :, None], to, u)])
            found = target.terms(
                groups.joined(np.broadcast_to(at[groups.shared], (len(rows), len(groups.shared))), rows)
            )
            for name, value in found.items():
                changed[name] = changed.get(name, False) | (value[1:] != value[:1])
        of_group = {}
        for name, seen in changed.items():
            one, other = seen[: len(halves) // 2], seen[len(halves) // 2 :]
            alone, none = (one ^ other).all(0), ~(one | other).any(0)
            if not (alone | none).all():
                return None
            which = (one * (1 << np.arange(len(one)))[:, None]).sum(0)
            row = np.where(alone, which - 1, len(groups))
            if row.max(initial=0) > len(groups):
                return None
            of_group[name] = sp.csr_array(
                (np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(groups) + 1, len(row))
            )
        return cls(of_group)

"""Which coordinates of a guide are behind each quantity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..thresholds import FEW_ELEMENTS, PROBABILITIES
from .estimates import Estimates


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What quantities are made of.

    Attributes
    ----------
    index : numpy.ndarray of int, shape (Q,)
        The guide's coordinate that belongs to each quantity; -1 for none.
    kind : numpy.ndarray of int, shape (Q,)
        0: the coordinate itself; 1: a function of it; 2: of it and of the sites with few elements; 3: of any.
    few : numpy.ndarray of int
        Coordinates of sites with few elements.
    mean, sd : numpy.ndarray, shape (dim,)
        The guide's exact moments.
    """

    index: np.ndarray
    kind: np.ndarray
    few: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, target, layout, mean, sd) -> Coordinates:
        """Of quantities in the order of `layout`, pairs of site name and shape."""
        real = {site.name for site in target.sites if named(site, {"real", "real_vector"})}
        kinds = [
            np.full(int(np.prod(shape, dtype=int)), 2 if name in target.centring else int(name not in real))
            for name, shape in layout
        ]
        index = index_of(target, layout)
        return cls(index, np.where(index < 0, 3, np.concatenate(kinds)), few_of(target), mean, sd)

    def behind(self, values: np.ndarray) -> np.ndarray:
        """Largest of the values, shape ``(dim,)``, of the coordinates behind each quantity."""
        own = values[self.index]
        shared = np.maximum(own, values[self.few].max(initial=0.0))
        return np.select([self.kind <= 1, self.kind == 2], [own, shared], values.max())

    def exactly(self, found: Estimates) -> Estimates:
        """Estimates with the guide's exact moments where they are a quantity's."""
        mean, sd, same = self.mean[self.index], self.sd[self.index], self.kind == 0
        quantiles = mean + sd * ndtri(PROBABILITIES)[:, None]
        return Estimates(
            np.where(same, mean, found.mean),
            np.where(same, sd, found.sd),
            np.where(same, quantiles, found.quantiles),
            np.where(same, 0.0, found.mean_se),
            np.where(same, 0.0, found.sd_se),
            np.where(same, 0.0, found.quantile_se),
        )


def index_of(target, layout) -> np.ndarray:
    """The coordinate that each quantity is a function of, alone or beside others, shape ``(Q,)``; -1 where of no one.

    `layout` has pairs of site name and shape, in the order of the quantities.
    """
    sites, found = {site.name: site for site in target.sites}, []
    for name, shape in layout:
        size, site = int(np.prod(shape, dtype=int)), sites.get(name)
        alone = site is not None and site.unconstrained_shape == site.shape
        found.append(np.arange(size) + target.offsets[name].start if alone else np.full(size, -1))
    return np.concatenate([np.zeros(0, int), *found])


def base(constraint):
    """A constraint of elements, whatever events they are put together to."""
    while hasattr(constraint, "base"):
        constraint = constraint.base
    return constraint


def named(site, names) -> bool:
    """Whether a site's elements have one of these constraints."""
    return getattr(base(site.constraint), "name", "") in names


def coordinates_named(target, names) -> np.ndarray:
    """Which coordinates are of sites whose elements have one of these constraints, shape ``(dim,)``."""
    found = np.zeros(target.dim, bool)
    for site in target.sites:
        found[target.offsets[site.name]] = named(site, names)
    return found


def few_of(target) -> np.ndarray:
    """Coordinates of sites with few elements."""
    few = [np.arange(s.size) + target.offsets[s.name].start for s in target.sites if s.size <= FEW_ELEMENTS]
    return np.concatenate([np.zeros(0, int), *few])

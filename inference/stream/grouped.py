"""What rows have said of their groups: for each group a function of its own parameters and of the shared ones beside them.

Given the shared parameters groups are independent, so that what their rows have said is a sum of functions of a few
coordinates each. All groups stay in the model: one without new rows still tells, through its law, what groups are like, and
one whose rows come again goes on from what its earlier rows have said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ppl import math as m
from ...ppl.errors import UnsupportedError, explain
from ..thresholds import EXACT_LIKELIHOOD, FEWEST_FOR_EACH, LEAST_EIGENVALUE, ROUNDED
from .coordinates import coordinates
from .told import Carried, Frame, placed
from .told import some as first_and_last


@dataclass(frozen=True)
class Local:
    """A site with an element for each group, on an axis of its values."""

    name: str
    constraint: Any
    axis: int


@dataclass(frozen=True)
class Plate:
    """Groups of rows.

    Attributes
    ----------
    name : str
        Of the plate.
    argument : str
        Whose codes say which group a row is of.
    sites : tuple of Local
        Parameters of a group.
    reading : tuple of Carried
        Shared parameters that the likelihood of a row reads.
    """

    name: str
    argument: str
    sites: tuple[Local, ...]
    reading: tuple[Carried, ...]

    def placed(self, values: Mapping[str, Any], lead: int) -> Any:
        """Coordinates of each group and of what is shared beside them, shape ``(…, G, k + D)``.

        Parameters
        ----------
        values : mapping
            Site to its values.
        lead : int
            Axes of `values` before those of a site.
        """
        own = []
        for site in self.sites:
            value = m.moveaxis(values[site.name], lead + site.axis, lead)
            shape = tuple(np.shape(value))[: lead + 1]
            own.append(m.reshape(coordinates(site.constraint, value), (*shape, -1)))
        if self.reading:
            beside, _ = placed(self.reading, values, lead)
            shape = (*shape, int(np.shape(beside)[-1]))
            own.append(m.broadcast_to(m.expand_dims(beside, lead), shape))
        return m.concat(own, axis=-1)


@dataclass(frozen=True, eq=False)
class Grouped:
    """``Σ_g (linear_g · x_g − x_g · quadratic_g x_g / 2)`` with ``x_g = (coordinates − centre) / scale``.

    Attributes
    ----------
    plate : Plate
    own : int
        Coordinates of a group, the first of the d.
    centre, scale : numpy.ndarray, shape (d,)
    linear : numpy.ndarray, shape (G, d)
    quadratic : numpy.ndarray, shape (G, d, d)
    places : tuple of mapping of int to Frame
        Where posteriors of groups were whose likelihoods are not carried exactly, batch by batch.
    """

    plate: Plate
    own: int
    centre: np.ndarray
    scale: np.ndarray
    linear: np.ndarray
    quadratic: np.ndarray
    places: tuple[Mapping[int, Frame], ...] = ()

    @classmethod
    def nothing(cls, plate: Plate, values: Mapping[str, np.ndarray]) -> Grouped:
        """Nothing said yet, in the units of draws.

        Raises
        ------
        UnsupportedError
            Where there are too few draws for as many coordinates.
        """
        x = plate.placed(values, 1)
        dim = x.shape[2]
        least = FEWEST_FOR_EACH * (dim + 1) * (dim + 2) // 2
        if len(x) < least:
            want = f"at least {least} draws for {dim} coordinates of a group and of what is shared"
            raise UnsupportedError(
                explain("as_prior", want, f"{len(x)}", f"fit with num_draws={least} or more")
            )
        scale = x.std((0, 1))
        none = np.zeros((0, dim))
        own = dim - (placed(plate.reading, values, 1)[0].shape[1] if plate.reading else 0)
        unit = np.where(scale > 0, scale, 1.0)
        return cls(plate, own, x.mean((0, 1)), unit, none, np.zeros((0, dim, dim)))

    @property
    def dim(self) -> int:
        """Coordinates of one group and of what is shared beside it."""
        return len(self.centre)

    def padded(self, count: int) -> Grouped:
        """With as many groups: nothing has been said of new ones."""
        more = count - len(self.linear)
        return replace(
            self,
            linear=np.pad(self.linear, ((0, more), (0, 0))),
            quadratic=np.pad(self.quadratic, ((0, more), (0, 0), (0, 0))),
        )

    def form(self) -> OfGroups:
        """How it is read from its numbers."""
        return OfGroups(self.plate, self.dim)

    def packed(self) -> np.ndarray:
        """All numbers as one vector, see `said_of_groups`."""
        return np.concatenate([self.centre, self.scale, self.linear.ravel(), self.quadratic.ravel()])

    def faded(self, forget: float) -> Grouped:
        """With less weight: each row counts as `forget` of one."""
        return replace(self, linear=forget * self.linear, quadratic=forget * self.quadratic)

    def of(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """At draws of the sites' values, shape ``(S, G)``, in nats."""
        return said_of_groups(self.plate, self.dim, values, self.packed(), 1)

    def heard(
        self, values: Mapping[str, np.ndarray], log_likelihood: np.ndarray, some: Sequence[int]
    ) -> tuple[Grouped, np.ndarray]:
        """With a batch more, and what its carried log likelihood leaves over.

        Parameters
        ----------
        values : mapping of numpy.ndarray, shapes (S, *shape)
            Draws of the posterior that the batch has led to.
        log_likelihood : numpy.ndarray, shape (S, len(some))
            Of the batch's rows of each group.
        some : sequence of int
            Groups that have rows in the batch.

        Returns
        -------
        tuple
            A `Grouped`, and what is left over of each group at the draws, shape ``(S, G)``: zeros where it is carried exactly.
        """
        x = (self.plate.placed(values, 1) - self.centre) / self.scale
        before = self.padded(x.shape[1])
        linear, quadratic = before.linear.copy(), before.quadratic.copy()
        for column, group in enumerate(some):
            more, precision = Frame.of(x[:, group]).nearest(x[:, group], log_likelihood[:, column])
            linear[group] += more
            quadratic[group] += precision
        after = replace(before, linear=linear, quadratic=bounded(quadratic, self.own))
        left = np.zeros(x.shape[:2])
        left[:, list(some)] = log_likelihood
        left -= after.at(x) - before.at(x)
        left -= left.mean(0)
        limit = np.full(x.shape[1], EXACT_LIKELIHOOD)
        limit[list(some)] = np.maximum(EXACT_LIKELIHOOD, ROUNDED * np.abs(log_likelihood).max(0))
        left = np.where(np.ptp(left, axis=0) <= limit, 0.0, left)
        bent = {int(g): Frame.of(x[:, g]) for g in some if left[:, g].any()}
        return replace(after, places=first_and_last((*self.places, bent) if bent else self.places)), left

    def away(self, values: Mapping[str, np.ndarray], weights: np.ndarray | None = None) -> float:
        """Probability of being as far from where likelihoods were carried as some group is in these draws, or farther."""
        x = np.average((self.plate.placed(values, 1) - self.centre) / self.scale, 0, weights)
        tails = [len(place) * frame.tail(x[g]) for place in self.places for g, frame in place.items()]
        return min(tails, default=1.0)

    def at(self, x: np.ndarray) -> np.ndarray:
        """At coordinates ``(S, G, d)`` in its own units, shape ``(S, G)``."""
        bent = np.einsum("gij,sgj->sgi", self.quadratic, x)
        return (x * (self.linear - 0.5 * bent)).sum(2)


def bounded(quadratic: np.ndarray, own: int) -> np.ndarray:
    """Precisions ``(G, d, d)`` whose sum over all groups grows in no direction; the first `own` coordinates are a group's.

    That is so where each is none in its group's own coordinates, and what is left of all of them for the shared ones, the
    groups' own maximised out, is none in sum.
    """
    values, vectors = np.linalg.eigh(quadratic[:, :own, :own])
    kept = values > LEAST_EIGENVALUE * max(float(np.abs(values).max(initial=0.0)), 1.0)
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    across = np.where(kept[:, None, :], vectors, 0.0)
    beside = across @ np.swapaxes(across, 1, 2) @ quadratic[:, :own, own:]
    out = quadratic.copy()
    lost = ~kept.all(1)
    out[lost, :own, :own] = ((across * np.maximum(values, 0.0)[:, None]) @ np.swapaxes(across, 1, 2))[lost]
    out[lost, :own, own:] = beside[lost]
    out[lost, own:, :own] = np.swapaxes(beside, 1, 2)[lost]
    inner = (across * inverse[:, None]) @ np.swapaxes(across, 1, 2)
    rest = (out[:, own:, own:] - np.swapaxes(beside, 1, 2) @ inner @ beside).sum(0)
    values, vectors = np.linalg.eigh((rest + rest.T) / 2)
    if len(values) and values.min() < 0:
        out[:, own:, own:] -= (vectors * np.minimum(values, 0.0)) @ vectors.T / len(out)
    return out


def said_of_groups(plate: Plate, dim: int, values: Mapping[str, Any], packed: Any, lead: int = 0) -> Any:
    """A carried log likelihood of each group at values of its sites, from the numbers of `Grouped.packed`."""
    x = (plate.placed(values, lead) - packed[:dim]) / packed[dim : 2 * dim]
    count = int(np.shape(x)[lead])
    linear = m.reshape(packed[2 * dim : 2 * dim + count * dim], (count, dim))
    quadratic = m.reshape(packed[2 * dim + count * dim :], (count, dim, dim))
    bent = m.sum(quadratic * m.expand_dims(x, -2), axis=-1)
    return m.sum(x * (linear - 0.5 * bent), axis=-1)


@dataclass(frozen=True)
class OfGroups:
    """A log likelihood with a term for each group."""

    plate: Plate
    dim: int

    @property
    def rows(self) -> str:
        """Name of the plate."""
        return self.plate.name

    def said(self, values: Mapping[str, Any], packed: Any) -> Any:
        """In nats, of each group, at values of the sites within a model."""
        return said_of_groups(self.plate, self.dim, values, packed)


def drift(left: np.ndarray) -> float:
    """Bound, to first order, on how far what is left over of groups ``(S, G)`` may move any mean, in sds.

    Given what is shared, groups are independent: what is left over moves shared parameters by its expectation given them,
    whose variance is what the groups' left-overs have in common, and the parameters of a group by its own besides.
    """
    if not left.any():
        return 0.0
    own, groups = left.var(0), int((left.var(0) > 0).sum())
    common = max(left.sum(1).var() - own.sum(), 0.0) * groups / max(groups - 1, 1)
    return float(np.sqrt(common) + np.sqrt(own.max()))

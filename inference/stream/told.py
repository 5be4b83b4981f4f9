"""What data have said of the shared parameters: a log likelihood in a form that can be carried on.

The prior of a model stays as it is; beside it stands a function of the parameters. On the posterior's own draws the log
likelihood of a batch is replaced by the nearest quadratic function of the coordinates. What is left over is then
uncorrelated with every coordinate and with every product of two, so that to first order neither means nor covariances of
the posterior move; its variance, in nats squared, is twice the divergence that the replacement costs. Where the log
likelihood has that form already, or is linear in the functions of `natural`, nothing is left over: the carried likelihood
is the likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, pairwise
from typing import Any

import numpy as np

from ...ppl import math as m
from ...ppl.errors import ModelError, UnsupportedError, explain
from ..thresholds import (
    EXACT_LIKELIHOOD,
    FEWEST_FOR_EACH,
    LEAST_EIGENVALUE,
    MOST_CARRIED,
    MOST_PLACES,
    ROUNDED,
)
from .coordinates import coordinates, natural, together


@dataclass(frozen=True)
class Carried:
    """A site whose values are carried on."""

    name: str
    constraint: Any


def placed(sites: Sequence[Carried], values: Mapping[str, Any], lead: int) -> tuple[Any, Any]:
    """Coordinates of the sites' values, and what `natural` gives of them, side by side on the last axis.

    Parameters
    ----------
    sites : sequence of Carried
        In order.
    values : mapping
        Site to its values.
    lead : int
        Axes of `values` before those of a site: 1 for draws, 0 within a model.
    """
    line, own = [], []
    for site in sites:
        value = values[site.name]
        shape = tuple(np.shape(value))[:lead]
        line.append(m.reshape(coordinates(site.constraint, value), (*shape, -1)))
        own += [m.reshape(f, (*shape, -1)) for f in natural(site.constraint, value)]
    return m.concat(line, axis=-1), (m.concat(own, axis=-1) if own else None)


@dataclass(frozen=True, eq=False)
class Told:
    """``linear · x − x · quadratic x / 2 + natural · t`` with ``x = (coordinates − centre) / scale`` and t of `natural`.

    Attributes
    ----------
    sites : tuple of Carried
    centre, scale, linear : numpy.ndarray, shape (D,)
    quadratic : numpy.ndarray, shape (D, D)
    natural : numpy.ndarray, shape (T,)
    places : tuple of Frame
        Where posteriors were whose likelihoods are not carried exactly: what is carried on holds there.
    """

    sites: tuple[Carried, ...]
    centre: np.ndarray
    scale: np.ndarray
    linear: np.ndarray
    quadratic: np.ndarray
    natural: np.ndarray
    places: tuple[Frame, ...] = ()

    @classmethod
    def nothing(cls, sites: Sequence[Carried], values: Mapping[str, np.ndarray]) -> Told:
        """Nothing said yet, in the units of draws of the sites' values.

        Raises
        ------
        UnsupportedError
            Where there are more coordinates than are carried on.
        """
        line, own = placed(sites, values, 1)
        dim = line.shape[1]
        least = FEWEST_FOR_EACH * (dim + 1) * (dim + 2) // 2
        if dim > MOST_CARRIED:
            want = f"at most {MOST_CARRIED} coordinates of shared parameters"
            raise UnsupportedError(
                explain("as_prior", want, f"{dim}", "fit all rows at once, or name groups with er.levels")
            )
        if len(line) < least:
            want = f"at least {least} draws for {dim} coordinates"
            raise UnsupportedError(
                explain("as_prior", want, f"{len(line)}", f"fit with num_draws={least} or more")
            )
        scale = line.std(0)
        num = 0 if own is None else own.shape[1]
        return cls(
            tuple(sites),
            line.mean(0),
            np.where(scale > 0, scale, 1.0),
            np.zeros(dim),
            np.zeros((dim, dim)),
            np.zeros(num),
        )

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.centre)

    def form(self) -> Shared:
        """How it is read from its numbers."""
        return Shared(self.sites, self.dim)

    def padded(self, _count: int) -> Told:
        """Itself: there are no groups."""
        return self

    def packed(self) -> np.ndarray:
        """All numbers as one vector, see `said`."""
        parts = self.centre, self.scale, self.linear, self.quadratic.ravel(), self.natural
        return np.concatenate(parts)

    def faded(self, forget: float) -> Told:
        """With less weight: each row counts as `forget` of one."""
        return replace(
            self,
            linear=forget * self.linear,
            quadratic=forget * self.quadratic,
            natural=forget * self.natural,
        )

    def of(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """At draws of the sites' values, shape ``(S,)``, in nats."""
        return said(self.sites, self.dim, values, self.packed(), 1)

    def away(self, values: Mapping[str, np.ndarray], weights: np.ndarray | None = None) -> float:
        """Probability of being as far from where likelihoods were carried as the middle of these draws is, or farther."""
        x = np.average((placed(self.sites, values, 1)[0] - self.centre) / self.scale, 0, weights)
        return min((frame.tail(x) for frame in self.places), default=1.0)

    def heard(self, values: Mapping[str, np.ndarray], log_likelihood: np.ndarray) -> tuple[Told, np.ndarray]:
        """With a batch more, and what its carried log likelihood leaves over at the draws.

        Parameters
        ----------
        values : mapping of numpy.ndarray, shapes (S, *shape)
            Draws of the posterior that the batch has led to.
        log_likelihood : numpy.ndarray, shape (S,)
            Of the batch, there.

        Returns
        -------
        tuple
            A `Told`, and an array of shape (S,): zeros where the log likelihood is carried exactly.
        """
        found = _exactly(self, values, log_likelihood)
        if found is not None:
            return found, np.zeros(len(log_likelihood))
        x = (placed(self.sites, values, 1)[0] - self.centre) / self.scale
        frame = Frame.of(x)
        linear, quadratic = frame.nearest(x, log_likelihood)
        places = some((*self.places, frame))
        total = replace(
            self, linear=self.linear + linear, quadratic=self.quadratic + quadratic, places=places
        )
        total = replace(total, quadratic=frame.bounded(total.quadratic))
        left = log_likelihood - (total.of(values) - self.of(values))
        return total, left - left.mean()


def some(places: tuple) -> tuple:
    """The first and the last ones, where there are many."""
    half = MOST_PLACES // 2
    return places if len(places) <= MOST_PLACES else (*places[:half], *places[-half:])


def said(sites: Sequence[Carried], dim: int, values: Mapping[str, Any], packed: Any, lead: int = 0) -> Any:
    """A carried log likelihood at values of its sites, from the numbers of `Told.packed`: within a model too."""
    missing = [site.name for site in sites if site.name not in values]
    if missing:
        raise ModelError(
            explain(
                "as_prior", "a model with the sites that were fitted", f"none called {missing}", "add them"
            )
        )
    line, own = placed(sites, values, lead)
    centre, scale, linear = (packed[i * dim : (i + 1) * dim] for i in range(3))
    quadratic = m.reshape(packed[3 * dim : 3 * dim + dim * dim], (dim, dim))
    x = (line - centre) / scale
    total = m.sum(x * (linear - 0.5 * m.matmul(x, quadratic)), axis=-1)
    return total if own is None else total + m.sum(own * packed[3 * dim + dim * dim :], axis=-1)


@dataclass(frozen=True)
class Shared:
    """A log likelihood of parameters that all rows share."""

    sites: tuple[Carried, ...]
    dim: int

    rows = None  # one term

    def said(self, values: Mapping[str, Any], packed: Any) -> Any:
        """In nats, at values of the sites within a model."""
        return said(self.sites, self.dim, values, packed)


# -- regressions -----------------------------------------------------------------------------------------


def _products(x: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    pairs = list(combinations_with_replacement(range(x.shape[1]), 2))
    columns = np.empty((len(x), len(pairs)))
    for k, (i, j) in enumerate(pairs):
        np.multiply(x[:, i], x[:, j], out=columns[:, k])
    return columns, pairs


def _solved(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares with an intercept, which is left out of the result."""
    from scipy.linalg import lstsq

    middle, spread = design.mean(0), design.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    return lstsq((design - middle) / spread, y - y.mean(), lapack_driver="gelsy")[0] / spread


def _symmetric(pairs, coefficients, dim: int) -> np.ndarray:
    """−2 times the matrix of a quadratic form: the precision that the form is of."""
    out = np.zeros((dim, dim))
    for (i, j), c in zip(pairs, coefficients, strict=True):
        out[i, j] -= c
        out[j, i] -= c
    return out


@dataclass(frozen=True, eq=False)
class Frame:
    """Coordinates in which draws have mean zero and unit covariance: ``w = (x − mean) across``."""

    mean: np.ndarray
    across: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Frame:
        """By the moments of draws ``(S, D)``; directions in which they do not vary stay out."""
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x.T)))
        kept = values > LEAST_EIGENVALUE * values.max()
        return cls(x.mean(0), vectors[:, kept] / np.sqrt(values[kept]))

    def nearest(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear part and precision, in x, of the quadratic function nearest to `y` on the draws."""
        w = (x - self.mean) @ self.across
        products, pairs = _products(w)
        found = _solved(np.concatenate([w, products], 1), y)
        precision = _symmetric(pairs, found[w.shape[1] :], w.shape[1])
        quadratic = self.across @ precision @ self.across.T
        return self.across @ found[: w.shape[1]] + quadratic @ self.mean, quadratic

    def tail(self, x: np.ndarray) -> float:
        """Probability of a place as far from the middle, or farther, as one of the draws' law would be."""
        from scipy.stats import chi2

        return float(chi2.sf((((x - self.mean) @ self.across) ** 2).sum(), self.across.shape[1]))

    def bounded(self, quadratic: np.ndarray) -> np.ndarray:
        """A precision without the directions in which it is negative: what it is of grows nowhere."""
        back = np.linalg.pinv(self.across)
        values, vectors = np.linalg.eigh(back @ quadratic @ back.T)
        if values.min() >= 0:
            return quadratic
        inner = (vectors * np.maximum(values, 0.0)) @ vectors.T
        return self.across @ inner @ self.across.T


def _exactly(told: Told, values: Mapping[str, np.ndarray], y: np.ndarray) -> Told | None:
    """With a batch whose log likelihood is quadratic in values on the line and linear in functions of the others, or None."""
    line, own = placed(told.sites, values, 1)
    free, choices = _tried(told.sites, values)
    x = ((line - told.centre) / told.scale)[:, free]
    limit = max(EXACT_LIKELIHOOD, ROUNDED * float(np.abs(y).max()))
    frame = Frame.of(x) if x.shape[1] else None
    w = np.zeros((len(y), 0)) if frame is None else (x - frame.mean) @ frame.across
    k = w.shape[1]
    products, pairs = _products(w)
    for chosen in choices:
        functions = np.zeros((len(y), 0)) if own is None else own[:, chosen]
        design = np.concatenate([w, products, functions], 1)
        found = _solved(design, y)
        if np.ptp(y - design @ found) > limit:
            continue
        linear, quadratic, added = np.zeros(told.dim), np.zeros((told.dim, told.dim)), told.natural.copy()
        if frame is not None:
            block = frame.across @ _symmetric(pairs, found[k : k + len(pairs)], k) @ frame.across.T
            quadratic[np.ix_(free, free)] = block
            linear[free] = frame.across @ found[:k] + block @ frame.mean
        added[chosen] += found[k + len(pairs) :]
        return replace(told, linear=told.linear + linear, quadratic=told.quadratic + quadratic, natural=added)
    return None


def _tried(sites: Sequence[Carried], values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Coordinates of sites without functions of their own, and which functions of the others are tried together."""
    free: list[int] = []
    parts: list[list[np.ndarray]] = []
    sets: list[tuple[tuple[int, ...], ...]] = []
    start = begin = 0
    for site in sites:
        value = values[site.name]
        size = coordinates(site.constraint, value).reshape(len(value), -1).shape[1]
        functions = natural(site.constraint, value)
        if functions:
            own = [int(np.prod(np.shape(f)[1:], dtype=int)) for f in functions]
            ends = begin + np.cumsum([0, *own])
            parts.append([np.arange(a, b) for a, b in pairwise(ends)])
            sets.append(together(site.constraint))
            begin = int(ends[-1])
        else:
            free += range(start, start + size)
        start += size
    count = max(map(len, sets), default=1)
    choices = [
        np.concatenate(
            [
                np.zeros(0, int),
                *(p[i] for p, s in zip(parts, sets, strict=True) for i in s[min(k, len(s) - 1)]),
            ]
        )
        for k in range(count)
    ]
    return np.array(free, int), choices

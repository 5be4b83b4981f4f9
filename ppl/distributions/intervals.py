"""`IntervalCensored`: a law of which only the interval of each value is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import ShapeError, SupportError, explain
from .base import concrete, constrained
from .bounded import log_mass
from .formula import Formula
from .tails import log_tails, tail


@dataclass(frozen=True, eq=False, repr=False)
class IntervalCensored(Formula):
    """The interval in which a value of `base` lies: of the value itself no more is known.

    Parameters
    ----------
    base : Distribution
        Normal, LogNormal, StudentT, Logistic, Gumbel, Exponential, Gamma, Weibull, Poisson or
        NegativeBinomial.
    edges : array_like, shape (..., K)
        Where one interval ends and the next begins, increasing; the first and the last may be infinite.

    Raises
    ------
    UnsupportedError
        For another base.
    ShapeError
        If `edges` is no vector.

    Notes
    -----
    A value is the number of an interval: 0 up to the first edge, k above edge k - 1 and up to edge k, K above
    the last. Its log density is ``log P(edges[k - 1] < X <= edges[k])``, which stays accurate however far out
    the interval lies. Rows known to lie between two numbers of their own have ``edges``
    ``er.math.stack([lower, upper], axis=-1)`` and the value 1.

    References
    ----------
    Turnbull (1976), The empirical distribution function with arbitrarily grouped, censored and truncated data,
    JRSS B 38.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Exponential
    >>> from elboroom.ppl.distributions.intervals import IntervalCensored
    >>> visits = IntervalCensored(Exponential(0.5), edges=[2.0, 4.0])
    >>> round(float(np.exp(visits.log_density(np.array(1.0)))), 4)
    0.2325
    """

    keeps_bases = True
    measure = "ordinal"
    arg_constraints = constrained(edges=constraints.independent(constraints.extended_real, 1))
    base: Any
    edges: Any

    def __post_init__(self):
        tail(self.base, "IntervalCensored")
        if np.ndim(self.edges) < 1:
            raise ShapeError(
                explain(
                    "IntervalCensored, parameter 'edges'",
                    "a vector of edges, for all rows or for each",
                    "a single number",
                    "give both ends, as in er.math.stack([lower, upper], axis=-1)",
                )
            )

    @property
    def support(self):
        return constraints.integer_interval(0, np.shape(self.edges)[-1])

    def validate(self, site):
        self.base.validate(site)
        super().validate(site)
        edges = concrete(self.edges)
        if edges is None or np.all(edges[..., :-1] < edges[..., 1:]):
            return
        row = np.argwhere(~(edges[..., :-1] < edges[..., 1:]).all(-1))[0]
        raise SupportError(
            explain(
                f"site '{site}', parameter 'edges' of IntervalCensored",
                "increasing edges",
                f"{edges[tuple(row)].tolist()}" + (f" in row {row.tolist()}" if len(row) else ""),
                "swap or correct them; a value that is known exactly belongs in a site of its own",
            )
        )

    def log_density(self, value):
        count = np.shape(self.edges)[-1]
        number = m.reshape(value, np.shape(value))
        inside = (number >= 0) & (number <= count) & (m.floor(number) == number)
        number = m.where(inside, number, 0.0)
        after = m.expand_dims(number, -1) - m.like(np.arange(count), number)
        low = m.sum(m.where(after == 1, self.edges, 0.0), -1)
        high = m.sum(m.where(after == 0, self.edges, 0.0), -1)
        low, high = m.where(number > 0, low, -np.inf), m.where(number < count, high, np.inf)
        return m.where(inside, log_mass(log_tails(self.base, low), log_tails(self.base, high)), -np.inf)

    def draw(self, random, shape):
        value = tail(self.base, "IntervalCensored").draw(self.base, random, shape)
        return 1.0 * m.sum(m.expand_dims(value, -1) > self.edges, -1)

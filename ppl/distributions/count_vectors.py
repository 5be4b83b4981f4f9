"""Laws of a vector of counts with a known total."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from .base import concrete_constraint, constrained, exactly_one
from .discrete import _last_axis
from .formula import Formula


def _counts(total_count):
    return concrete_constraint(constraints.counts, total_count, event_dim=1, is_discrete=True)


def _inside(value, total):
    whole = m.all((value >= 0) & (m.floor(value) == value), -1)
    return whole & (m.sum(value, -1) == total)


def _log_arrangements(value, total):
    return m.gammaln(total + 1.0) - m.sum(m.gammaln(value + 1.0), -1)


def _draw_counts(random, total, weights, shape):
    """Category after category, each binomial given what the earlier ones left."""
    left, taken = m.broadcast_to(m.like(total, weights), shape), []
    rest = m.flip(m.cumulative_sum(m.flip(weights, -1), -1), -1)
    for k in range(np.shape(weights)[-1] - 1):
        share = m.clip(weights[..., k] / m.maximum(rest[..., k], 1e-37), 0.0, 1.0)
        taken.append(random.binomial(left, share, shape))
        left = left - taken[-1]
    return m.stack([*taken, left], -1)


@dataclass(frozen=True, eq=False, repr=False)
class Multinomial(Formula):
    """Law of how many of `total_count` independent trials end in each of K categories.

    Parameters
    ----------
    total_count : array_like of int, shape (...), default 1
        Number of trials.
    probs, logits : array_like, shape (..., K), optional
        Probabilities of the categories, or their logarithms up to a constant; exactly one is given.

    Raises
    ------
    ModelError
        If both or neither of `probs` and `logits` are given.
    ShapeError
        If the one given is a scalar.

    Examples
    --------
    >>> law = Multinomial(3, np.array([0.5, 0.25, 0.25]))  # the number of trials comes first
    >>> law.event_dim  # one value is the vector of counts
    1
    >>> round(float(np.exp(law.log_density(np.array([3.0, 0.0, 0.0])))), 4)
    0.125
    """

    arg_constraints = constrained(
        total_count=constraints.nonnegative_integer,
        probs=constraints.simplex,
        logits=constraints.real_vector,
    )
    counts = True
    total_count: Any = 1
    probs: Any = None
    logits: Any = None

    def __post_init__(self):
        exactly_one("Multinomial", probs=self.probs, logits=self.logits)
        self.event_shape  # noqa: B018  raises on a scalar

    @property
    def event_shape(self):
        name = "probs" if self.logits is None else "logits"
        return (_last_axis("Multinomial", name, getattr(self, name)),)

    @property
    def bounds(self):
        return 0, self.total_count

    @property
    def support(self):
        return _counts(self.total_count)

    def log_density(self, value):
        inside = _inside(value, self.total_count)
        safe = m.where(m.expand_dims(inside, -1), value, 0.0)
        if self.logits is None:
            terms = m.xlogy(safe, self.probs)
        else:
            terms = m.where(safe > 0, safe * m.log_softmax(self.logits), 0.0)
        density = _log_arrangements(safe, self.total_count) + m.sum(terms, -1)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        weights = m.softmax(self.logits) if self.probs is None else self.probs
        return _draw_counts(random, self.total_count, weights, shape)


@dataclass(frozen=True, eq=False, repr=False)
class DirichletMultinomial(Formula):
    """Multinomial law whose probabilities are drawn from a Dirichlet law: overdispersed counts.

    Parameters
    ----------
    concentration : array_like, shape (..., K)
        Parameters of the Dirichlet law, positive.
    total_count : array_like of int, shape (...), default 1
        Number of trials.

    References
    ----------
    Mosimann (1962), On the compound multinomial distribution, the multivariate beta distribution, and correlations among
    proportions, Biometrika 49.

    Examples
    --------
    >>> law = DirichletMultinomial(np.ones(3), 3)  # the number of trials comes last; all ten vectors alike
    >>> round(float(np.exp(law.log_density(np.array([3.0, 0.0, 0.0])))), 4)
    0.1
    """

    arg_constraints = constrained(
        concentration=constraints.independent(constraints.positive, 1),
        total_count=constraints.nonnegative_integer,
    )
    counts = True
    concentration: Any
    total_count: Any = 1

    @property
    def event_shape(self):
        return (_last_axis("DirichletMultinomial", "concentration", self.concentration),)

    @property
    def bounds(self):
        return 0, self.total_count

    @property
    def support(self):
        return _counts(self.total_count)

    def log_density(self, value):
        inside = _inside(value, self.total_count)
        safe = m.where(m.expand_dims(inside, -1), value, 0.0)
        risen = m.sum(m.log_rising(self.concentration, safe), -1)
        total = m.sum(self.concentration, -1)
        density = _log_arrangements(safe, self.total_count) + risen - m.log_rising(total, self.total_count)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        weights = random.gamma(self.concentration, (*shape, *self.event_shape))
        return _draw_counts(random, self.total_count, weights / m.sum(weights, -1, keepdims=True), shape)

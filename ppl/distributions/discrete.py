"""Laws of one count, code or label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..constraints import Constraint
from ..errors import ShapeError, explain
from .base import Distribution, concrete_constraint, constrained, exactly_one
from .formula import Formula


def _last_axis(law: str, name: str, value: Any) -> int:
    shape = np.shape(value)
    if not shape:
        raise ShapeError(
            explain(
                f"{law}, parameter '{name}'", "a vector on the last axis", "a scalar", "give one entry each"
            )
        )
    return shape[-1]


@dataclass(frozen=True, eq=False, repr=False)
class Bernoulli(Distribution):
    """Law of 0 or 1.

    Parameters
    ----------
    probs : array_like, optional
        Probability of 1.
    logits : array_like, optional
        Its log odds. Exactly one of the two is given; log odds keep their precision in the tails.

    Raises
    ------
    ModelError
        If both or neither are given.

    Examples
    --------
    >>> Bernoulli(0.3), Bernoulli(logits=-0.85)  # log odds go by name
    (Bernoulli(probs=0.3), Bernoulli(logits=-0.85))
    """

    measure = "binary"
    arg_constraints = constrained(probs=constraints.unit_interval, logits=constraints.real)
    support = constraints.boolean
    probs: Any = None
    logits: Any = None

    def __post_init__(self):
        exactly_one("Bernoulli", probs=self.probs, logits=self.logits)


@dataclass(frozen=True, eq=False, repr=False)
class Categorical(Distribution):
    """Law of a zero-based code.

    Parameters
    ----------
    probs : array_like, shape (..., K), optional
        Probability of each of the K codes.
    logits : array_like, shape (..., K), optional
        Their logarithms up to a constant. Exactly one of the two is given.

    Raises
    ------
    ModelError
        If both or neither are given.
    ShapeError
        If the parameter is a scalar.

    Examples
    --------
    >>> Categorical([0.2, 0.3, 0.5]).support.words
    'a whole number from 0 to 2'
    >>> Categorical(logits=np.zeros((4, 3))).num_codes  # four laws of three codes, one a row
    3
    """

    measure = "nominal"
    arg_constraints = constrained(probs=constraints.simplex, logits=constraints.real_vector)
    probs: Any = None
    logits: Any = None

    def __post_init__(self):
        exactly_one("Categorical", probs=self.probs, logits=self.logits)
        self.num_codes  # noqa: B018  raises on a scalar

    @property
    def num_codes(self) -> int:
        """Number of codes, K."""
        if self.probs is None:
            return _last_axis("Categorical", "logits", self.logits)
        return _last_axis("Categorical", "probs", self.probs)

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self.num_codes - 1)


@dataclass(frozen=True, eq=False, repr=False)
class Binomial(Distribution):
    """Law of the number of successes in `total_count` independent trials.

    Parameters
    ----------
    total_count : array_like of int, default 1
        Number of trials.
    probs, logits : array_like, optional
        Probability of success, or its log odds; exactly one is given.

    Raises
    ------
    ModelError
        If both or neither of `probs` and `logits` are given.

    Examples
    --------
    >>> Binomial(10, 0.3)  # the number of trials comes first
    Binomial(total_count=10, probs=0.3)
    >>> Binomial(10, 0.3).support.words
    'a whole number from 0 to 10'
    """

    arg_constraints = constrained(
        total_count=constraints.nonnegative_integer,
        probs=constraints.unit_interval,
        logits=constraints.real,
    )
    total_count: Any = 1
    probs: Any = None
    logits: Any = None

    def __post_init__(self):
        exactly_one("Binomial", probs=self.probs, logits=self.logits)

    @property
    def support(self) -> Constraint:
        return concrete_constraint(
            lambda total: constraints.integer_interval(0, total), self.total_count, is_discrete=True
        )


@dataclass(frozen=True, eq=False, repr=False)
class Poisson(Distribution):
    """Law of a count with mean and variance `rate`.

    Parameters
    ----------
    rate : array_like
        Mean, zero or more.

    Examples
    --------
    >>> hours = np.array([10.0, 50.0])
    >>> Poisson(0.2 * hours).params["rate"]  # a mean for each row: events an hour times the hours
    array([ 2., 10.])
    """

    arg_constraints = constrained(rate=constraints.nonnegative)
    support = constraints.nonnegative_integer
    rate: Any


@dataclass(frozen=True, eq=False, repr=False)
class NegativeBinomial(Formula):
    """Law of a count with variance ``mean + mean**2 / concentration``.

    Parameters
    ----------
    mean : array_like
        Mean, zero or more.
    concentration : array_like
        Inverse dispersion, positive; the law tends to ``Poisson(mean)`` as it grows.

    Notes
    -----
    With r the concentration and m the mean the log density of k is
    ``log Gamma(k + r) - log Gamma(r) - log k! - r log(1 + m / r) + k log(m / (r + m))``; the first difference is taken
    as one function, which keeps its digits where the two are large.

    Examples
    --------
    >>> from scipy.stats import nbinom
    >>> law, peer = NegativeBinomial(4.0, 2.0), nbinom(2.0, 2.0 / (2.0 + 4.0))
    >>> round(float(law.log_density(3.0)), 4), round(float(peer.logpmf(3)), 4)
    (-2.0273, -2.0273)
    >>> round(float(peer.var()), 9)  # 4 + 4**2 / 2
    12.0
    """

    arg_constraints = constrained(mean=constraints.nonnegative, concentration=constraints.positive)
    support = constraints.nonnegative_integer
    mean: Any
    concentration: Any

    def log_density(self, value):
        inside, size, mean = is_count(value), self.concentration, self.mean
        count = m.where(inside, value, 0.0)
        chosen = m.log_rising(size, count) - m.gammaln(count + 1.0)
        share = m.where(
            count > 0, mean / (size + mean), 1.0
        )  # no logarithm of a mean of zero where none is taken
        density = chosen - size * m.log1p(mean / size) + count * m.log(share)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        rates, counts = random.parts(2)
        return counts.poisson(
            rates.gamma(self.concentration, shape) / (self.concentration / self.mean), shape
        )


def is_count(value: Any) -> Any:
    """Whether each value is a whole number of zero or more."""
    return (value >= 0) & (m.floor(value) == value)

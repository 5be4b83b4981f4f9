"""Laws of whole numbers that may be negative: uniform, and the difference of two counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..bessel import log_bessel_i
from ..thresholds import LARGEST_WHOLE
from .base import constrained
from .continuous import _check_order
from .formula import Formula


@dataclass(frozen=True, eq=False, repr=False)
class DiscreteUniform(Formula):
    """Law of whole numbers from `low` to `high`, all equally probable.

    Parameters
    ----------
    low, high : array_like of int
        Both included.

    Examples
    --------
    >>> np.exp([DiscreteUniform(1, 6).log_density(k) for k in (0.0, 6.0)]).round(4).tolist()
    [0.0, 0.1667]
    """

    arg_constraints = constrained(low=constraints.real, high=constraints.real)
    counts = True
    low: Any
    high: Any

    @property
    def bounds(self):
        return self.low, self.high

    def validate(self, site):
        super().validate(site)
        _check_order("DiscreteUniform", site, self.low, self.high + 1)

    def log_density(self, value):
        inside = (value >= self.low) & (value <= self.high) & (value == m.floor(value))
        return m.where(inside, -m.log(self.high - self.low + 1.0), -np.inf)

    def draw(self, random, shape):
        return self.low + m.floor(random.uniform(shape) * (self.high - self.low + 1.0))


@dataclass(frozen=True, eq=False, repr=False)
class Skellam(Formula):
    """Law of the difference of two independent Poisson counts: goals, or arrivals less departures.

    Parameters
    ----------
    rate1, rate2 : array_like
        Means of the first count and of the one that is taken away, positive.

    References
    ----------
    Skellam (1946), The frequency distribution of the difference between two Poisson variates, JRSS 109.

    Examples
    --------
    >>> law = Skellam(2.0, 1.0)
    >>> np.exp([law.log_density(k) for k in (-1.0, 0.0, 1.0)]).round(3).tolist()  # a defeat, a draw, a victory by one
    [0.119, 0.212, 0.238]
    """

    arg_constraints = constrained(rate1=constraints.positive, rate2=constraints.positive)
    support = constraints.integer_interval(-LARGEST_WHOLE, LARGEST_WHOLE)
    rate1: Any
    rate2: Any

    def log_density(self, value):
        inside = value == m.floor(value)
        k = m.where(inside, value, 0.0)
        both, half = 2 * m.sqrt(self.rate1 * self.rate2), 0.5 * (m.log(self.rate1) - m.log(self.rate2))
        density = k * half - self.rate1 - self.rate2 + log_bessel_i(m.abs(k) + 0.0 * both, both + 0.0 * k)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        return random.poisson(self.rate1, shape) - random.poisson(self.rate2, shape)

"""`Truncated` and `Censored`: laws whose values are kept, or recorded, only between bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from .base import constrained
from .continuous import _check_order
from .formula import Formula, between
from .tails import log_density, log_tails, quantile, tail


@dataclass(frozen=True, eq=False, repr=False)
class Truncated(Formula):
    """`base` given that its value lies between `low` and `high`: others were never seen.

    Parameters
    ----------
    base : Distribution
        Normal, LogNormal, StudentT, Logistic, Gumbel, Exponential, Gamma, Weibull, Poisson or
        NegativeBinomial.
    low, high : array_like, optional
        Bounds, both included; None leaves that side open.

    Raises
    ------
    UnsupportedError
        For another base.

    Notes
    -----
    The log density is that of `base` less ``log P(low <= X <= high)``, which stays accurate however far out
    the bounds lie.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Poisson, Truncated
    >>> round(float(Truncated(Poisson(2.0), low=1).log_density(1.0)), 4)  # a count known to be positive
    -1.1614
    """

    keeps_bases = True
    arg_constraints = constrained(low=constraints.real, high=constraints.real)
    base: Any
    low: Any = None
    high: Any = None

    def __post_init__(self):
        tail(self.base, "Truncated")

    @property
    def counts(self):
        return self.base.is_discrete

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        if self.low is None and self.high is None:
            return None
        low, high = _whole(self.low, self.high) if self.counts else (self.low, self.high)
        if self.base.support == constraints.real:
            return low, high
        return 0.0 if low is None else m.maximum(low, 0.0), high

    @property
    def support(self):
        bounds = self.bounds
        return self.base.support if bounds is None else between(*bounds, self.counts)

    def validate(self, site):
        self.base.validate(site)
        super().validate(site)
        if self.low is not None and self.high is not None and not self.counts:
            _check_order("Truncated", site, self.low, self.high)

    def log_density(self, value):
        density = log_density(self.base, value) - log_mass(*self._ends())
        for bound, sign in ((self.low, 1.0), (self.high, -1.0)):
            if bound is not None:
                density = m.where(sign * (value - bound) >= 0, density, -np.inf)
        return density

    def draw(self, random, shape):
        bounds = self.bounds
        if bounds is None:
            return tail(self.base, "Truncated").draw(self.base, random, shape)
        below, above = self._ends()
        below = (-np.inf, 0.0) if below is None else below
        above = (0.0, -np.inf) if above is None else above
        u = random.uniform(shape)
        # A point between the two ends, on the side where their probabilities keep their digits.
        lower = m.logaddexp(m.log1p(-u) + below[0], m.log(u) + above[0])
        upper = m.logaddexp(m.log1p(-u) + below[1], m.log(u) + above[1])
        left = above[0] < below[1]
        value = quantile(self.base, lambda cdf, sf: m.where(left, cdf >= lower, sf <= upper), u)
        return m.clip(value, *bounds)

    def _ends(self):
        """Both log tails just below `low`, and at `high`; None where that side is open."""
        low, high = _whole(self.low, self.high) if self.counts else (self.low, self.high)
        step = 1.0 if self.counts else 0.0
        below = None if low is None else log_tails(self.base, low - step)
        return below, None if high is None else log_tails(self.base, high)


@dataclass(frozen=True, eq=False, repr=False)
class Censored(Formula):
    """`base`, recorded only between two bounds: a value beyond a bound is known to lie there, no more.

    Parameters
    ----------
    base : Distribution
        Normal, LogNormal, StudentT, Logistic, Gumbel, Exponential, Gamma, Weibull, Poisson or
        NegativeBinomial.
    lower, upper : array_like, optional
        Bounds, which may be infinite: a value at or below `lower` contributes ``P(X <= lower)``, one at or
        above `upper` contributes ``P(X >= upper)``, any other its density. None leaves that side open.

    Raises
    ------
    UnsupportedError
        For another base.

    Notes
    -----
    Survival times with a column that says whether the event was seen: give the time as the value and, inside
    the model, ``upper=er.math.where(seen, er.math.inf, time)``.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Censored, Exponential
    >>> float(Censored(Exponential(0.5), upper=4.0).log_density(4.0))
    -2.0
    """

    keeps_bases = True
    censored = True
    arg_constraints = constrained(lower=constraints.extended_real, upper=constraints.extended_real)
    base: Any
    lower: Any = None
    upper: Any = None

    def __post_init__(self):
        tail(self.base, "Censored")

    @property
    def support(self):
        return self.base.support

    def validate(self, site):
        self.base.validate(site)
        super().validate(site)
        if self.lower is not None and self.upper is not None:
            _check_order("Censored", site, self.lower, self.upper)

    def log_density(self, value):
        density = log_density(self.base, value)
        if self.lower is not None:
            density = m.where(value <= self.lower, log_tails(self.base, self.lower)[0], density)
        if self.upper is not None:
            upper = m.ceil(self.upper) - 1.0 if self.is_discrete else self.upper
            density = m.where(value >= self.upper, log_tails(self.base, upper)[1], density)
        return density

    def draw(self, random, shape):
        value = tail(self.base, "Censored").draw(self.base, random, shape)
        if self.lower is None and self.upper is None:
            return value
        return m.clip(value, self.lower, self.upper)


def _whole(low, high):
    """Bounds of counts, moved inwards to whole numbers."""
    return None if low is None else m.ceil(low), None if high is None else m.floor(high)


def log_mass(below, above):
    """Log probability of the stretch between two points, from both log tails at each; None is no bound."""
    if below is None:
        return 0.0 if above is None else above[0]
    if above is None:
        return below[1]
    (log_cdf_low, log_sf_low), (log_cdf_high, log_sf_high) = below, above
    left = log_cdf_high < log_sf_low
    large = m.where(left, log_cdf_high, log_sf_low)
    return large + m.log1mexp(large - m.where(left, log_cdf_low, log_sf_high))

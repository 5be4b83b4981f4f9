"""`TruncatedNormal`: the normal law between bounds, however far out they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..thresholds import DEEP
from .base import constrained
from .continuous import Normal, _check_order
from .formula import Formula

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, eq=False, repr=False)
class TruncatedNormal(Formula):
    """``Normal(loc, scale)`` given that the value lies between `low` and `high`.

    Parameters
    ----------
    loc, scale : array_like, default 0 and 1
        Mean and standard deviation of the law before truncation.
    low, high : array_like, optional
        Bounds, both included; None leaves that side open.

    Notes
    -----
    The interval is reflected into the lower tail, where differences of the distribution function keep their relative
    precision. Draws invert the distribution function; far out, where its values underflow, the excess of the square
    over that of the bound is drawn from its exponential law.

    References
    ----------
    Robert (1995), Simulation of truncated normal variables, Statistics and Computing 5.

    Examples
    --------
    >>> law = TruncatedNormal(0.0, 1.0, low=40.0)
    >>> round(float(law.log_density(np.array(40.0))), 4)  # the hazard there is 40 and a little
    3.6895
    """

    arg_constraints = constrained(
        loc=constraints.real,
        scale=constraints.positive,
        low=constraints.real,
        high=constraints.real,
    )
    loc: Any = 0.0
    scale: Any = 1.0
    low: Any = None
    high: Any = None

    @property
    def reduced(self):
        return Normal(self.loc, self.scale) if self.bounds is None else self

    @property
    def bounds(self):
        return None if self.low is None and self.high is None else (self.low, self.high)

    def validate(self, site):
        super().validate(site)
        if self.low is not None and self.high is not None:
            _check_order("TruncatedNormal", site, self.low, self.high)

    def _tail(self):
        """Standardised bounds reflected into the lower tail: sign, near bound, far bound or None."""
        if self.low is None:
            return 1.0, (self.high - self.loc) / self.scale, None
        low = (self.low - self.loc) / self.scale
        if self.high is None:
            return -1.0, -low, None
        high = (self.high - self.loc) / self.scale
        flip = low + high > 0
        return m.where(flip, -1.0, 1.0), m.where(flip, -low, high), m.where(flip, -high, low)

    def log_density(self, value):
        standard = (value - self.loc) / self.scale
        density = -0.5 * standard * standard - _LOG_ROOT_2PI - m.log(self.scale)
        if self.bounds is None:
            return density
        _, near, far = self._tail()
        log_mass = m.log_ndtr(near)
        if far is not None:
            log_mass = log_mass + m.log1mexp(log_mass - m.log_ndtr(far))
        density = density - log_mass
        for bound, sign in ((self.low, 1.0), (self.high, -1.0)):
            if bound is not None:
                density = m.where(sign * (value - bound) >= 0, density, -np.inf)
        return density

    def draw(self, random, shape):
        (only,) = random.parts(1)
        if self.bounds is None:
            return self.loc + self.scale * only.normal(shape)
        sign, near, far = self._tail()
        uniform = only.uniform(shape)
        start = 0.0 if far is None else m.ndtr(far)
        standard = m.ndtri(start + uniform * (m.ndtr(near) - start))
        limit = DEEP[str(near.dtype).rpartition(".")[2]]
        deep = m.minimum(near, limit)
        floor = 0.0 if far is None else m.exp(0.5 * (deep * deep - m.square(m.minimum(far, limit))))
        excess = -m.sqrt(deep * deep - 2 * m.log(floor + uniform * (1 - floor)))
        value = self.loc + sign * m.where(near < limit, excess, standard) * self.scale
        return m.clip(value, self.low, self.high)

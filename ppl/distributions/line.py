"""Laws on the whole line: logistic, Gumbel, skew-normal, asymmetric Laplace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import constraints
from .. import math as m
from .base import constrained
from .formula import Formula

_LOCATION_SCALE = constrained(loc=constraints.real, scale=constraints.positive)


@dataclass(frozen=True, eq=False, repr=False)
class Logistic(Formula):
    """Logistic law with mean `loc` and distribution function ``expit((x - loc) / scale)``.

    Parameters
    ----------
    loc : array_like, default 0
        Mean and median.
    scale : array_like, default 1
        Scale, positive; the standard deviation is ``pi / sqrt(3)`` times as large.

    Examples
    --------
    >>> round(float(Logistic(0.0, 1.0).log_density(0.0)), 4)
    -1.3863
    """

    arg_constraints = _LOCATION_SCALE
    loc: Any = 0.0
    scale: Any = 1.0

    def log_density(self, value):
        z = m.abs((value - self.loc) / self.scale)
        return -z - 2 * m.log1p(m.exp(-z)) - m.log(self.scale)

    def draw(self, random, shape):
        return self.loc + self.scale * m.logit(random.uniform(shape))


@dataclass(frozen=True, eq=False, repr=False)
class Gumbel(Formula):
    """Law of maxima, with distribution function ``exp(-exp(-(x - loc) / scale))``.

    Parameters
    ----------
    loc : array_like, default 0
        Mode.
    scale : array_like, default 1
        Scale, positive.

    Examples
    --------
    >>> float(Gumbel(0.0, 1.0).log_density(0.0))
    -1.0
    """

    arg_constraints = _LOCATION_SCALE
    loc: Any = 0.0
    scale: Any = 1.0

    def log_density(self, value):
        z = (value - self.loc) / self.scale
        return -z - m.exp(-z) - m.log(self.scale)

    def draw(self, random, shape):
        return self.loc - self.scale * m.log(random.exponential(shape))


@dataclass(frozen=True, eq=False, repr=False)
class SkewNormal(Formula):
    """Skew-normal law of Azzalini, with density ``2 phi(z) Phi(skewness z) / scale``, z standardised.

    Parameters
    ----------
    loc : array_like, default 0
        Location; the mean only where `skewness` is zero.
    scale : array_like, default 1
        Scale, positive.
    skewness : array_like, default 0
        Shape: positive for a long right tail, zero for the normal law.

    References
    ----------
    Azzalini (1985), A class of distributions which includes the normal ones, Scandinavian Journal of
    Statistics 12.

    Examples
    --------
    >>> [round(float(SkewNormal(skewness=s).log_density(2.0)), 1) for s in (-1.0, 0.0, 1.0)]  # at loc + 2 scales
    [-6.0, -2.9, -2.2]
    """

    arg_constraints = constrained(**_LOCATION_SCALE, skewness=constraints.real)
    loc: Any = 0.0
    scale: Any = 1.0
    skewness: Any = 0.0

    def log_density(self, value):
        z = (value - self.loc) / self.scale
        return 0.5 * (m.log(2 / m.pi) - z * z) + m.log_ndtr(self.skewness * z) - m.log(self.scale)

    def draw(self, random, shape):
        along, across = m.abs(random.normal(shape)), random.normal(shape)
        z = (self.skewness * along + across) / m.sqrt(1 + m.square(self.skewness))
        return self.loc + self.scale * z


@dataclass(frozen=True, eq=False, repr=False)
class AsymmetricLaplace(Formula):
    """Laplace law with different rates on the two sides.

    Parameters
    ----------
    loc : array_like, default 0
        Mode.
    scale : array_like, default 1
        Scale, positive.
    asymmetry : array_like, default 1
        Positive: the density falls at rate ``asymmetry / scale`` above `loc` and ``1 / (asymmetry * scale)``
        below it.

    Notes
    -----
    With `loc` a regression line and ``asymmetry = sqrt(q / (1 - q))`` the mode is the q-quantile.

    References
    ----------
    Kotz, Kozubowski and Podgórski (2001), The Laplace Distribution and Generalizations. Yu and Moyeed (2001), Bayesian
    quantile regression, Statistics and Probability Letters 54.

    Examples
    --------
    >>> law = AsymmetricLaplace(0.0, 1.0, asymmetry=3.0)  # steep above, flat below: nine tenths lie below the mode
    >>> [round(float(law.log_density(x)), 3) for x in (-1.0, 0.0, 1.0)]
    [-1.537, -1.204, -4.204]
    """

    arg_constraints = constrained(**_LOCATION_SCALE, asymmetry=constraints.positive)
    loc: Any = 0.0
    scale: Any = 1.0
    asymmetry: Any = 1.0

    def log_density(self, value):
        z = (value - self.loc) / self.scale
        fall = m.where(z < 0, -z / self.asymmetry, z * self.asymmetry)
        return -fall - m.log(self.scale * (self.asymmetry + 1 / self.asymmetry))

    def draw(self, random, shape):
        above, below = random.exponential(shape), random.exponential(shape)
        return self.loc + self.scale * (above / self.asymmetry - below * self.asymmetry)

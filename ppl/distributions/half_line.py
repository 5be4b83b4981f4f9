"""Laws of positive numbers: half Student t, Weibull, Pareto, chi-square; and the law of an angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..thresholds import UNSQUARED
from .base import constrained
from .formula import Formula


def log_student(z: Any, df: Any) -> Any:
    """Log density of Student's t law at standardised values.

    Parameters
    ----------
    z : array
        Values less the location, divided by the scale.
    df : array
        Degrees of freedom, positive.

    Examples
    --------
    >>> round(float(log_student(1e200, 1.0)), 3)  # whose square is no number
    -922.179
    """
    length, half = m.abs(z) / m.sqrt(df), 0.5 * df
    far = length > UNSQUARED
    near, beyond = m.where(far, 0.0, length), m.where(far, length, 1.0)
    fall = m.where(far, 2 * m.log(beyond), m.log1p(near * near))
    return m.log_rising(half, 0.5) - (half + 0.5) * fall - 0.5 * m.log(np.pi * df)


@dataclass(frozen=True, eq=False, repr=False)
class HalfStudentT(Formula):
    """Law of ``|x|`` for x from ``StudentT(df, 0, scale)``.

    Parameters
    ----------
    df : array_like
        Degrees of freedom, positive.
    scale : array_like, default 1
        Scale, positive (not the standard deviation).

    References
    ----------
    Gelman (2006), Prior distributions for variance parameters in hierarchical models, Bayesian Analysis 1.

    Examples
    --------
    >>> law = HalfStudentT(3.0, 2.5)
    >>> law
    HalfStudentT(df=3.0, scale=2.5)
    >>> float(law.log_density(-1.0))  # nothing lies below zero
    -inf
    """

    arg_constraints = constrained(df=constraints.positive, scale=constraints.positive)
    support = constraints.positive
    df: Any
    scale: Any = 1.0

    def log_density(self, value):
        inside = value > 0
        z = m.where(inside, value, self.scale) / self.scale
        return m.where(inside, log_student(z, self.df) + np.log(2.0) - m.log(self.scale), -np.inf)

    def draw(self, random, shape):
        normal, gamma = random.parts(2)
        ratio = normal.normal(shape) * m.sqrt(self.df / (2 * gamma.gamma(0.5 * self.df, shape)))
        return m.abs(self.scale * ratio)


@dataclass(frozen=True, eq=False, repr=False)
class Weibull(Formula):
    """Weibull law, with survival function ``exp(-(x / scale)**concentration)``.

    Parameters
    ----------
    scale : array_like
        Positive; 63% of the law lies below it.
    concentration : array_like
        Shape, positive: the hazard rises over time above 1 and falls below it.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Censored
    >>> law = Weibull(2.0, 1.5)  # the scale comes first
    >>> float(Censored(law, upper=2.0).log_density(2.0))  # exp(-1), 37%, outlive the scale, whatever the shape
    -1.0
    """

    arg_constraints = constrained(scale=constraints.positive, concentration=constraints.positive)
    support = constraints.positive
    scale: Any
    concentration: Any

    def log_density(self, value):
        inside = value > 0
        log_ratio = m.log(m.where(inside, value, self.scale) / self.scale)
        powered = self.concentration * log_ratio
        density = m.log(self.concentration / self.scale) + powered - log_ratio - m.exp(powered)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        return self.scale * m.exp(m.log(random.exponential(shape)) / self.concentration)


@dataclass(frozen=True, eq=False, repr=False)
class Pareto(Formula):
    """Pareto law, with survival function ``(scale / x)**alpha`` from `scale` on.

    Parameters
    ----------
    scale : array_like
        Smallest value, positive.
    alpha : array_like
        Tail index, positive; moments of order `alpha` and more do not exist.

    Examples
    --------
    >>> law = Pareto(2.0, 3.0)  # values from 2 on
    >>> np.exp([law.log_density(x) for x in (1.9, 2.0)]).round(4).tolist()  # alpha / scale at the smallest
    [0.0, 1.5]
    """

    arg_constraints = constrained(scale=constraints.positive, alpha=constraints.positive)
    scale: Any
    alpha: Any

    @property
    def bounds(self):
        return self.scale, None

    def log_density(self, value):
        inside = value >= self.scale
        safe = m.where(inside, value, self.scale)
        density = m.log(self.alpha / safe) - self.alpha * m.log(safe / self.scale)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        return self.scale * m.exp(random.exponential(shape) / self.alpha)


@dataclass(frozen=True, eq=False, repr=False)
class ChiSquare(Formula):
    """Law of the sum of squares of `df` standard normal numbers: ``Gamma(df / 2, 1 / 2)``.

    Parameters
    ----------
    df : array_like
        Degrees of freedom, positive; the mean.

    Examples
    --------
    >>> round(float(ChiSquare(2.0).log_density(4.0)), 4)  # exponential with mean 2: -4 / 2 - log 2
    -2.6931
    """

    arg_constraints = constrained(df=constraints.positive)
    support = constraints.positive
    df: Any

    def log_density(self, value):
        inside, half = value > 0, 0.5 * self.df
        y = 0.5 * m.where(inside, value, 1.0)
        density = (half - 1) * m.log(y) - y - m.gammaln(half) - np.log(2)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        return 2 * random.gamma(0.5 * self.df, shape)


@dataclass(frozen=True, eq=False, repr=False)
class VonMises(Formula):
    """Law of an angle between -pi and pi, with density proportional to ``exp(concentration cos(x - loc))``.

    Parameters
    ----------
    loc : array_like
        Mean direction in radians.
    concentration : array_like
        Positive; for large values the law is close to ``Normal(loc, concentration**-0.5)``.

    References
    ----------
    Best and Fisher (1979), Efficient simulation of the von Mises distribution, Applied Statistics 28.

    Examples
    --------
    >>> law = VonMises(3.0, 4.0)
    >>> np.exp([law.log_density(x) for x in (2.7, -3.0)]).round(3).tolist()  # -3 is near: the circle closes at pi
    [0.643, 0.656]
    """

    arg_constraints = constrained(loc=constraints.real, concentration=constraints.positive)
    support = constraints.circular
    loc: Any
    concentration: Any

    def log_density(self, value):
        turned = m.sin(0.5 * (value - self.loc))
        density = -2 * self.concentration * turned * turned - m.log(2 * m.pi * m.i0e(self.concentration))
        return m.where(m.abs(value) <= np.pi, density, -np.inf)

    def draw(self, random, shape):
        # Sixty proposals for each draw: all are refused with probability 1e-28.
        kappa = m.maximum(self.concentration, 1e-4)
        tau = 1 + m.sqrt(1 + 4 * kappa * kappa)
        rho = (tau - m.sqrt(2 * tau)) / (2 * kappa)
        r = (1 + rho * rho) / (2 * rho)
        z = m.cos(m.pi * random.uniform((60, *shape)))
        cosine = (1 + r * z) / (r + z)
        c = kappa * (r - cosine)
        accepted = m.where(m.log(c / random.uniform((60, *shape))) + 1 >= c, 1.0, 0.0)
        first = accepted * m.where(m.cumulative_sum(accepted, 0) == 1, 1.0, 0.0)
        angle = m.acos(m.clip(m.sum(first * cosine, 0), -1.0, 1.0)) * m.sign(random.uniform(shape) - 0.5)
        turned = angle + self.loc
        return turned - 2 * np.pi * m.floor((turned + np.pi) / (2 * np.pi))

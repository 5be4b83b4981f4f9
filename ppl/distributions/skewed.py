"""Laws of waiting times, reaction times, excesses and lengths: Wald, ex-Gaussian, generalised Pareto, Rice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..thresholds import SHORT
from .base import concrete, constrained
from .formula import Formula

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, eq=False, repr=False)
class Wald(Formula):
    """Inverse Gaussian law: the first time at which a Brownian motion with drift reaches a level.

    Parameters
    ----------
    mean : array_like
        Positive.
    concentration : array_like
        Positive; the variance is ``mean**3 / concentration``.

    References
    ----------
    Michael, Schucany and Haas (1976), Generating random variates using transformations with multiple roots,
    The American Statistician 30.

    Examples
    --------
    >>> from scipy.stats import invgauss
    >>> round(float(Wald(2.0, 3.0).log_density(1.5)), 4)
    -1.0403
    >>> round(float(invgauss(2.0 / 3.0, scale=3.0).logpdf(1.5)), 4)  # mean / concentration, and concentration
    -1.0403
    """

    arg_constraints = constrained(mean=constraints.positive, concentration=constraints.positive)
    support = constraints.positive
    mean: Any
    concentration: Any

    def log_density(self, value):
        inside = value > 0
        x = m.where(inside, value, self.mean)
        distance = (x - self.mean) / self.mean
        density = 0.5 * m.log(self.concentration / x) - m.log(x) - _LOG_ROOT_2PI
        return m.where(inside, density - 0.5 * self.concentration * distance * distance / x, -np.inf)

    def draw(self, random, shape):
        half = 0.5 * self.mean * m.square(random.normal(shape)) / self.concentration
        smaller = self.mean / (1 + half + m.sqrt(half * (half + 2)))
        first = random.uniform(shape) * (self.mean + smaller) <= self.mean
        return m.where(first, smaller, self.mean * (self.mean / smaller))


@dataclass(frozen=True, eq=False, repr=False)
class ExGaussian(Formula):
    """Law of the sum of a normal and an independent exponential number.

    Parameters
    ----------
    loc, scale : array_like
        Mean and standard deviation (positive) of the normal part.
    rate : array_like
        Of the exponential part, positive: one over its mean.

    References
    ----------
    Hohle (1965), Inferred components of reaction times as functions of foreperiod duration, Journal of Experimental
    Psychology 69.

    Examples
    --------
    >>> from scipy.stats import exponnorm
    >>> law = ExGaussian(0.4, 0.05, 5.0)  # seconds: the mean is 0.4 + 1 / 5
    >>> round(float(law.log_density(0.6)), 4)
    0.6406
    >>> round(float(exponnorm(1 / (5.0 * 0.05), 0.4, 0.05).logpdf(0.6)), 4)
    0.6406
    """

    arg_constraints = constrained(
        loc=constraints.real,
        scale=constraints.positive,
        rate=constraints.positive,
    )
    loc: Any
    scale: Any
    rate: Any

    def log_density(self, value):
        z, step = (value - self.loc) / self.scale, self.rate * self.scale
        return m.log(self.rate) + step * (0.5 * step - z) + m.log_ndtr(z - step)

    def draw(self, random, shape):
        return self.loc + self.scale * random.normal(shape) + random.exponential(shape) / self.rate


@dataclass(frozen=True, eq=False, repr=False)
class GeneralizedPareto(Formula):
    """Law of excesses over a high threshold, with survival function ``(1 + k z)**(-1 / k)``, z standardised.

    Parameters
    ----------
    loc : array_like
        Threshold: the smallest value.
    scale : array_like
        Positive.
    concentration : array_like
        Shape k: zero for the exponential law, positive for heavy tails; below zero values end at ``loc - scale
        / k``.

    References
    ----------
    Pickands (1975), Statistical inference using extreme order statistics, The Annals of Statistics 3.

    Examples
    --------
    >>> GeneralizedPareto(10.0, 2.0, -0.5).support.words  # an end where the shape is negative
    'a number between 10 and 14'
    >>> GeneralizedPareto(10.0, 2.0, 0.5).support.words
    'a number of at least 10'
    """

    arg_constraints = constrained(
        loc=constraints.real,
        scale=constraints.positive,
        concentration=constraints.real,
    )
    loc: Any
    scale: Any
    concentration: Any

    @property
    def bounds(self):
        shape = concrete(self.concentration)
        known = shape is not None and shape.dtype.kind in "iuf" and bool((shape < 0).all())
        return self.loc, self.loc - self.scale / self.concentration if known else None

    def log_density(self, value):
        z = (value - self.loc) / self.scale
        inside = (z >= 0) & (1 + self.concentration * z > 0)
        z = m.where(inside, z, 0.0)
        u = self.concentration * z
        small = m.abs(u) < SHORT
        safe = m.where(small, 1.0, u)
        series = 1 - u * (1 / 2 - u * (1 / 3 - u * (1 / 4 - u / 5)))
        share = m.where(small, series, m.log1p(safe) / safe)  # log(1 + u) / u
        return m.where(inside, -m.log(self.scale) - z * share - m.log1p(u), -np.inf)

    def draw(self, random, shape):
        e = random.exponential(shape)
        u = self.concentration * e
        small = m.abs(u) < SHORT
        safe = m.where(small, 1.0, u)
        series = 1 + u * (1 / 2 + u * (1 / 6 + u * (1 / 24 + u / 120)))
        return self.loc + self.scale * e * m.where(small, series, m.expm1(safe) / safe)


@dataclass(frozen=True, eq=False, repr=False)
class Rice(Formula):
    """Law of the length of a vector of two normal numbers: an amplitude in noise.

    Parameters
    ----------
    nu : array_like
        Length of the mean vector, not negative.
    sigma : array_like
        Standard deviation of both numbers, positive.

    References
    ----------
    Rice (1945), Mathematical analysis of random noise, Bell System Technical Journal 24.

    Examples
    --------
    >>> float(Rice(0.0, 1.0).log_density(1.0))  # noise alone, Rayleigh's law: log x - x**2 / 2
    -0.5
    """

    arg_constraints = constrained(nu=constraints.nonnegative, sigma=constraints.positive)
    support = constraints.positive
    nu: Any
    sigma: Any

    def log_density(self, value):
        inside = value > 0
        x = m.where(inside, value, self.sigma) / self.sigma
        far = self.nu / self.sigma
        density = m.log(x) - m.log(self.sigma) - 0.5 * m.square(x - far) + m.log(m.i0e(x * far))
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        along, across = self.nu + self.sigma * random.normal(shape), self.sigma * random.normal(shape)
        return m.sqrt(along * along + across * across)

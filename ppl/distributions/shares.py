"""Laws between two bounds: continuous Bernoulli, Kumaraswamy, and any density given by its values at points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import SupportError, explain
from ..thresholds import NEARLY_EVEN
from .base import concrete, constrained, exactly_one
from .formula import Formula


@dataclass(frozen=True, eq=False, repr=False)
class ContinuousBernoulli(Formula):
    """Law of a share from 0 to 1, both included, with density proportional to ``p**x (1 - p)**(1 - x)``: of grey values.

    Parameters
    ----------
    probs : array_like, optional
        Between 0 and 1. It is not the mean, but lies on the same side of one half.
    logits : array_like, optional
        Its log odds η. Exactly one of the two is given; log odds keep their precision in the tails.

    Raises
    ------
    ModelError
        If both or neither are given.

    Notes
    -----
    The log density is ``η (x - 1/2) - log(sinh(η/2) / (η/2))``; near η = 0 its last term is the beginning of its power series.

    References
    ----------
    Loaiza-Ganem & Cunningham (2019), The continuous Bernoulli: fixing a pervasive error in variational autoencoders, NeurIPS.

    Examples
    --------
    >>> law = ContinuousBernoulli(logits=2.0)
    >>> round(float(law.log_density(0.5)), 4)  # log(2 e / (e**2 - 1))
    -0.1614
    >>> round(float(law.mean), 4)
    0.6565
    """

    arg_constraints = constrained(probs=constraints.unit_interval, logits=constraints.real)
    support = constraints.unit_interval
    probs: Any = None
    logits: Any = None

    def __post_init__(self):
        exactly_one("ContinuousBernoulli", probs=self.probs, logits=self.logits)

    @property
    def _half(self):
        """Half of the log odds."""
        return 0.5 * (m.log(self.probs) - m.log1p(-self.probs) if self.logits is None else self.logits)

    def log_density(self, value):
        inside = (value >= 0) & (value <= 1)
        half = self._half
        size = m.abs(half)
        even = size < NEARLY_EVEN
        safe = m.where(even, 1.0, size)
        s = m.where(even, half * half, 0.0)
        near = s / 6 - s * s / 180 + s * s * s / 2835
        far = safe + m.log1mexp(2 * safe) - np.log(2.0) - m.log(safe)
        density = (2 * m.where(inside, value, 0.5) - 1) * half - m.where(even, near, far)
        return m.where(inside, density, -np.inf)

    @property
    def mean(self):
        """Between 0 and 1, as ``coth(η/2) - 2/η`` is between -1 and 1."""
        half = self._half
        even = m.abs(half) < NEARLY_EVEN
        safe, s = m.where(even, 1.0, half), m.where(even, half, 0.0)
        near = s / 3 - s * s * s / 45 + 2 * s**5 / 945
        return 0.5 + 0.5 * m.where(even, near, 1 / m.tanh(safe) - 1 / safe)

    def draw(self, random, shape):
        uniform, half = random.uniform(shape), self._half
        size = 2 * m.abs(half)
        even = size < np.finfo(np.float32).tiny
        safe = m.where(even, 1.0, size)
        small = m.where(even, uniform, -m.log1p(uniform * m.expm1(-safe)) / safe)
        return m.where(half > 0, 1 - small, small)


@dataclass(frozen=True, eq=False, repr=False)
class Kumaraswamy(Formula):
    """Law of a share, with distribution function ``1 - (1 - x**a)**b``: close to a beta law, and simpler.

    Parameters
    ----------
    concentration1, concentration0 : array_like
        Positive: a and b.

    References
    ----------
    Kumaraswamy (1980), A generalized probability density function for double-bounded random processes, Journal
    of Hydrology 46.

    Examples
    --------
    >>> law = Kumaraswamy(2.0, 3.0)
    >>> round(float(law.log_density(0.5)), 4)  # log(a b x**(a - 1) (1 - x**a)**(b - 1))
    0.5232
    """

    arg_constraints = constrained(concentration1=constraints.positive, concentration0=constraints.positive)
    support = constraints.unit_interval
    concentration1: Any
    concentration0: Any

    def log_density(self, value):
        inside = (value > 0) & (value < 1)
        log_x = m.log(m.where(inside, value, 0.5))
        a, b = self.concentration1, self.concentration0
        density = m.log(a) + m.log(b) + (a - 1) * log_x + (b - 1) * m.log1mexp(-a * log_x)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        return m.exp(m.log1mexp(random.exponential(shape) / self.concentration0) / self.concentration1)


@dataclass(frozen=True, eq=False, repr=False)
class Interpolated(Formula):
    """Law whose density is a broken line: an expert's curve, or a density estimate of earlier draws.

    Parameters
    ----------
    x_points : array_like, shape (..., K)
        Increasing; the law lies between the first and the last.
    pdf_points : array_like, shape (..., K)
        Density there up to a factor, not negative and not all zero.

    Examples
    --------
    >>> triangle = Interpolated(np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, 0.0]))
    >>> round(float(np.exp(triangle.log_density(0.5))), 6)
    0.5
    """

    arg_constraints = constrained(
        x_points=constraints.ordered_vector,
        pdf_points=constraints.independent(constraints.nonnegative, 1),
    )
    x_points: Any
    pdf_points: Any

    @property
    def bounds(self):
        return self.x_points[..., 0], self.x_points[..., -1]

    def validate(self, site):
        super().validate(site)
        heights, places = concrete(self.pdf_points), np.shape(self.x_points)[-1:]
        if (
            np.shape(self.pdf_points)[-1:] != places
            or places[0] < 2
            or (heights is not None and not heights.any(-1).all())
        ):
            got = f"{np.shape(self.pdf_points)[-1]} heights at {places[0]} places"
            where = f"site '{site}', parameter 'pdf_points' of Interpolated"
            words = "as many heights as places, two at least and one of them positive"
            raise SupportError(explain(where, words, got, "give the density at each of x_points"))

    def _pieces(self):
        """Widths, first heights and rises of the pieces, and their masses, whose sum is one."""
        x, p = self.x_points, self.pdf_points
        width, mass = x[..., 1:] - x[..., :-1], 0.5 * (p[..., 1:] + p[..., :-1])
        total = m.sum(width * mass, -1, keepdims=True)
        return width, p[..., :-1] / total, (p[..., 1:] - p[..., :-1]) / total, width * mass / total

    def log_density(self, value):
        width, first, rise, _ = self._pieces()
        low, high = self.bounds
        inside = (value >= low) & (value <= high)
        x = m.expand_dims(m.where(inside, value, low), -1)
        along = m.clip((x - self.x_points[..., :-1]) / width, 0.0, 1.0)
        height = first[..., 0] + m.sum(rise * along, -1)
        good = inside & (height > 0)
        return m.where(good, m.log(m.where(good, height, 1.0)), -np.inf)

    def draw(self, random, shape):
        width, first, rise, mass = self._pieces()
        before = m.cumulative_sum(mass, -1) - mass
        own = m.clip(m.expand_dims(random.uniform(shape), -1) - before, 0.0, mass)
        slope = rise / width
        root = m.sqrt(m.maximum(first * first + 2 * slope * own, 0.0))
        step = m.where(own > 0, 2 * own / m.maximum(first + root, np.finfo(np.float64).tiny), 0.0)
        return self.bounds[0] + m.sum(m.minimum(step, width), -1)

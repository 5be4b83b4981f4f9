"""Distribution functions and survival functions, as logarithms that stay accurate far out.

One row per law that can be truncated or censored: its log density, both log tails, draws, and a map from a
bounded stretch of the line to its values, on which quantiles are sought.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .. import math as m
from ..errors import UnsupportedError, explain
from ..incomplete import log_beta_tails, log_gamma_tails
from .base import Distribution
from .continuous import Exponential, Gamma, LogNormal, Normal, StudentT
from .discrete import NegativeBinomial, Poisson
from .half_line import Weibull, log_student
from .line import Gumbel, Logistic

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


class Tail(NamedTuple):
    """What bounding a law takes, each a function of the declaration and an array."""

    log_density: Callable[[Any, Any], Any]
    log_tails: Callable[[Any, Any], tuple[Any, Any]]
    draw: Callable[[Any, Any, tuple[int, ...]], Any]
    place: Callable[[Any, Any], Any]


def tail(declared: Distribution, where: str) -> Tail:
    """The row of a declaration.

    Raises
    ------
    UnsupportedError
        Naming the laws that have one.
    """
    row = TAILS.get(type(declared))
    if row is None:
        known = ", ".join(sorted(law.__name__ for law in TAILS))
        raise UnsupportedError(
            explain(
                where,
                f"one of {known} as its base",
                type(declared).__name__,
                "choose one of these, or write the law as a CustomDist",
            )
        )
    return row


def log_density(declared: Distribution, value: Any) -> Any:
    """Log density of `value`; minus infinity outside the support."""
    return TAILS[type(declared)].log_density(declared, value)


def log_tails(declared: Distribution, value: Any) -> tuple[Any, Any]:
    """Logarithms of ``P(X <= value)`` and of ``P(X > value)``; `value` may be infinite."""
    finite = m.isfinite(value)
    below, above = TAILS[type(declared)].log_tails(declared, m.where(finite, value, 1.0))
    top = value > 0
    at_ends = m.where(top, 0.0, -np.inf), m.where(top, -np.inf, 0.0)
    return m.where(finite, below, at_ends[0]), m.where(finite, above, at_ends[1])


def quantile(declared: Distribution, reached: Callable[[Any, Any], Any], like: Any) -> Any:
    """Smallest value at which ``reached(log P(X <= x), log P(X > x))`` holds, by bisection.

    Parameters
    ----------
    declared : Distribution
        A law that has a row in `TAILS`.
    reached : callable
        False below a point and true above it.
    like : array
        Gives shape and library.
    """
    row, counts = TAILS[type(declared)], declared.is_discrete

    def halve(low, high):
        middle = m.floor(0.5 * (low + high)) if counts else 0.5 * (low + high)
        done = reached(*row.log_tails(declared, row.place(declared, middle)))
        return m.where(done, low, middle), m.where(done, middle, high)

    zero = 0.0 * like
    start = (zero - 1.0, zero + 2.0**50) if counts else (zero - 1.0, zero + 1.0)
    return row.place(declared, m.iterate(halve, start, 64)[1])


def _positive(log_tails: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Tails of a law of positive numbers, none of which lie at or below zero."""

    def both(law, x):
        inside = x > 0
        below, above = log_tails(law, m.where(inside, x, 1.0))
        return m.where(inside, below, -np.inf), m.where(inside, above, 0.0)

    return both


def _counting(log_tails: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Tails of a law of counts, none of which lie below zero."""

    def both(law, x):
        inside = x >= 0
        below, above = log_tails(law, m.where(inside, m.floor(x), 0.0))
        return m.where(inside, below, -np.inf), m.where(inside, above, 0.0)

    return both


def _on_positive(log_density: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def density(law, x):
        inside = x > 0
        return m.where(inside, log_density(law, m.where(inside, x, 1.0)), -np.inf)

    return density


def _on_counts(log_density: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def density(law, x):
        inside = (x >= 0) & (m.floor(x) == x)
        return m.where(inside, log_density(law, m.where(inside, x, 0.0)), -np.inf)

    return density


def _standard(law, x):
    return (x - law.loc) / law.scale


def _normal_density(law, x):
    z = _standard(law, x)
    return -0.5 * z * z - _LOG_ROOT_2PI - m.log(law.scale)


def _normal_tails(law, x):
    z = _standard(law, x)
    return m.log_ndtr(z), m.log_ndtr(-z)


def _logistic_tails(law, x):
    z = _standard(law, x)
    return -m.softplus(-z), -m.softplus(z)


def _gumbel_tails(law, x):
    hazard = m.exp(-_standard(law, x))
    return -hazard, m.log1mexp(hazard)


def _from_hazard(hazard: Any) -> tuple[Any, Any]:
    """Both tails of a law with survival function ``exp(-hazard)``."""
    return m.log1mexp(hazard), -hazard


def _gamma_density(law, x):
    y = law.rate * x
    return law.concentration * m.log(y) - y - m.gammaln(law.concentration) - m.log(x)


def _student_density(law, x):
    return log_student(_standard(law, x), law.df) - m.log(law.scale)


def _student_tails(law, x):
    """From the incomplete beta function beyond one scale from the centre, by quadrature of the density within."""
    z, df = _standard(law, x) + 0.0 * law.df, law.df + 0.0 * x
    size = m.abs(z)
    far = size > 1.0
    beyond = m.where(far, size, 1.0)
    log_square = 2 * m.log(beyond)
    log_y = -m.log1p(m.exp(m.log(df) - log_square))
    log_x = -m.log1p(m.exp(log_square - m.log(df)))
    outer = log_beta_tails(0.5 * df, 0.5 + 0.0 * df, log_x, log_y)[0] - np.log(2)

    within = m.where(far, 1.0, z)
    nodes = m.expand_dims(within, -1) * m.like(0.5 + 0.5 * _NODES, z)
    degrees = m.expand_dims(df, -1)
    heights = m.exp(-0.5 * (degrees + 1) * m.log1p(nodes * nodes / degrees))
    area = 0.5 * within * m.sum(heights * m.like(_WEIGHTS, z), -1)
    area = area * m.exp(-m.betaln(0.5 * df, 0.5 + 0.0 * df) - 0.5 * m.log(df))

    rest = m.log1p(-m.exp(outer))
    below = m.where(far, m.where(z < 0, outer, rest), m.log(0.5 + area))
    above = m.where(far, m.where(z < 0, rest, outer), m.log(0.5 - area))
    return below, above


def _poisson_density(law, k):
    return m.xlogy(k, law.rate) - law.rate - m.gammaln(k + 1.0)


def _poisson_tails(law, k):
    below, above = log_gamma_tails(k + 1.0, law.rate)
    return above, below


def _negative_binomial_tails(law, k):
    mean = m.maximum(law.mean, 1e-30)
    odds = m.log(mean / law.concentration)
    return log_beta_tails(law.concentration, k + 1.0, -m.softplus(odds), -m.softplus(-odds))


def _student_draw(law, random, shape):
    half = 0.5 * law.df
    return law.loc + law.scale * random.normal(shape) / m.sqrt(random.gamma(half, shape) / half)


def _negative_binomial_draw(law, random, shape):
    rate = random.gamma(law.concentration, shape) * law.mean / law.concentration
    return random.poisson(rate, shape)


def _on_line(law, w):
    return law.loc + law.scale * m.sinh(40.0 * w)


def _count(law, w):
    return w


TAILS: Mapping[type, Tail] = MappingProxyType(
    {
        Exponential: Tail(
            _on_positive(lambda law, x: m.log(law.rate) - law.rate * x),
            _positive(lambda law, x: _from_hazard(law.rate * x)),
            lambda law, random, shape: random.exponential(shape) / law.rate,
            lambda law, w: m.exp(300.0 * w) / law.rate,
        ),
        Gamma: Tail(
            _on_positive(_gamma_density),
            _positive(lambda law, x: log_gamma_tails(law.concentration, law.rate * x)),
            lambda law, random, shape: random.gamma(law.concentration, shape) / law.rate,
            lambda law, w: m.exp(300.0 * w) / law.rate,
        ),
        Gumbel: Tail(
            lambda law, x: law.log_density(x),
            _gumbel_tails,
            lambda law, random, shape: law.draw(random, shape),
            _on_line,
        ),
        LogNormal: Tail(
            _on_positive(lambda law, x: _normal_density(law, m.log(x)) - m.log(x)),
            _positive(lambda law, x: _normal_tails(law, m.log(x))),
            lambda law, random, shape: m.exp(law.loc + law.scale * random.normal(shape)),
            lambda law, w: m.exp(_on_line(law, w)),
        ),
        Logistic: Tail(
            lambda law, x: law.log_density(x),
            _logistic_tails,
            lambda law, random, shape: law.draw(random, shape),
            _on_line,
        ),
        NegativeBinomial: Tail(
            lambda law, k: law.log_density(k),
            _counting(_negative_binomial_tails),
            _negative_binomial_draw,
            _count,
        ),
        Normal: Tail(
            _normal_density,
            _normal_tails,
            lambda law, random, shape: law.loc + law.scale * random.normal(shape),
            _on_line,
        ),
        Poisson: Tail(
            _on_counts(_poisson_density),
            _counting(_poisson_tails),
            lambda law, random, shape: random.poisson(law.rate, shape),
            _count,
        ),
        StudentT: Tail(_student_density, _student_tails, _student_draw, _on_line),
        Weibull: Tail(
            lambda law, x: law.log_density(x),
            _positive(lambda law, x: _from_hazard(m.exp(law.concentration * m.log(x / law.scale)))),
            lambda law, random, shape: law.draw(random, shape),
            lambda law, w: law.scale * m.exp(300.0 * w),
        ),
    }
)
"""The laws that can be bounded."""

"""Laws of one continuous number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from ..constraints import Constraint
from ..errors import SupportError, explain
from .base import Distribution, concrete, concrete_constraint, constrained

_LOCATION_SCALE = constrained(loc=constraints.real, scale=constraints.positive)
_SCALE = constrained(scale=constraints.positive)
_GAMMA = constrained(concentration=constraints.positive, rate=constraints.positive)


@dataclass(frozen=True, eq=False, repr=False)
class Normal(Distribution):
    """Normal law with mean `loc` and standard deviation `scale`.

    Parameters
    ----------
    loc : array_like, default 0
        Mean.
    scale : array_like, default 1
        Standard deviation, positive.

    Examples
    --------
    >>> Normal(0, 5)
    Normal(loc=0, scale=5)
    """

    arg_constraints = _LOCATION_SCALE
    loc: Any = 0.0
    scale: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class LogNormal(Distribution):
    """Law of a positive number whose logarithm is ``Normal(loc, scale)``.

    Parameters
    ----------
    loc : array_like, default 0
        Mean of the logarithm.
    scale : array_like, default 1
        Standard deviation of the logarithm, positive.

    Examples
    --------
    >>> law = LogNormal(1.0, 0.5)  # of the logarithm; the median is exp(1.0)
    >>> round(float(np.exp(law.loc + law.scale**2 / 2)), 3)  # the mean
    3.08
    """

    arg_constraints = _LOCATION_SCALE
    support = constraints.positive
    loc: Any = 0.0
    scale: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class StudentT(Distribution):
    """Student's t law with `df` degrees of freedom.

    Parameters
    ----------
    df : array_like
        Degrees of freedom, positive.
    loc : array_like, default 0
        Median.
    scale : array_like, default 1
        Scale, positive (not the standard deviation).

    Examples
    --------
    >>> law = StudentT(4.0, 0.0, 2.0)
    >>> law
    StudentT(df=4.0, loc=0.0, scale=2.0)
    >>> round(law.scale * (law.df / (law.df - 2)) ** 0.5, 3)  # the standard deviation, for df above 2
    2.828
    """

    arg_constraints = constrained(df=constraints.positive, **_LOCATION_SCALE)
    df: Any
    loc: Any = 0.0
    scale: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Cauchy(Distribution):
    """Cauchy law with median `loc` and half interquartile range `scale`; it has no mean.

    Parameters
    ----------
    loc : array_like, default 0
        Median.
    scale : array_like, default 1
        Half the interquartile range, positive.

    Examples
    --------
    >>> from scipy.stats import cauchy
    >>> law = Cauchy(1.0, 2.0)
    >>> cauchy(law.loc, law.scale).cdf([-1.0, 1.0, 3.0]).round(2).tolist()  # half of it within one scale
    [0.25, 0.5, 0.75]
    """

    arg_constraints = _LOCATION_SCALE
    loc: Any = 0.0
    scale: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Laplace(Distribution):
    """Laplace law with density ``exp(-|x - loc| / scale) / (2 scale)``.

    Parameters
    ----------
    loc : array_like, default 0
        Median.
    scale : array_like, default 1
        Mean absolute deviation, positive.

    Examples
    --------
    >>> law = Laplace(0.0, 2.0)
    >>> round(2**0.5 * law.scale, 3)  # the standard deviation
    2.828
    """

    arg_constraints = _LOCATION_SCALE
    loc: Any = 0.0
    scale: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class HalfNormal(Distribution):
    """Law of ``|x|`` for x from ``Normal(0, scale)``.

    Parameters
    ----------
    scale : array_like, default 1
        Standard deviation of x, positive.

    Examples
    --------
    >>> from scipy.stats import halfnorm
    >>> halfnorm(scale=HalfNormal(2.0).scale).ppf([0.5, 0.95]).round(2).tolist()  # 95% below twice the scale
    [1.35, 3.92]
    """

    arg_constraints = _SCALE
    support = constraints.positive
    scale: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class HalfCauchy(Distribution):
    """Law of ``|x|`` for x from ``Cauchy(0, scale)``.

    Parameters
    ----------
    scale : array_like, default 1
        Median, positive.

    Notes
    -----
    The regularised horseshoe for P coefficients of which about p0 matter, with N rows and residual scale
    sigma, keeps large ones free up to a slab and draws the others to zero (Piironen and Vehtari 2017,
    Electronic Journal of Statistics 11)::

        tau = er.sample("tau", er.HalfCauchy(p0 / (P - p0) * sigma / N**0.5))
        local = er.sample("local", er.HalfCauchy(1.0).expand([P]).to_event(1))
        slab = er.sample("slab", er.InverseGamma(2.0, 8.0))
        z = er.sample("z", er.Normal(0.0, 1.0).expand([P]).to_event(1))
        shrunk = local * er.math.sqrt(slab / (slab + (tau * local) ** 2))
        beta = er.deterministic("beta", tau * shrunk * z)

    Examples
    --------
    >>> from scipy.stats import halfcauchy
    >>> halfcauchy(scale=HalfCauchy(2.0).scale).ppf([0.5, 0.95]).round(2).tolist()  # a tail that no scale bounds
    [2.0, 25.41]
    """

    arg_constraints = _SCALE
    support = constraints.positive
    scale: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Exponential(Distribution):
    """Exponential law with mean ``1 / rate``.

    Parameters
    ----------
    rate : array_like, default 1
        Hazard, positive.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Censored
    >>> law = Exponential(0.5)  # one event in two units of time: the mean is 2
    >>> float(Censored(law, upper=2.0).log_density(2.0))  # log probability of waiting for longer
    -1.0
    """

    arg_constraints = constrained(rate=constraints.positive)
    support = constraints.positive
    rate: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Gamma(Distribution):
    """Gamma law with mean ``concentration / rate``.

    Parameters
    ----------
    concentration : array_like
        Shape, positive.
    rate : array_like, default 1
        One over the scale, positive.

    Examples
    --------
    >>> mean, sd = 10.0, 5.0
    >>> Gamma((mean / sd) ** 2, mean / sd**2)  # the law with these
    Gamma(concentration=4.0, rate=0.4)
    """

    arg_constraints = _GAMMA
    support = constraints.positive
    concentration: Any
    rate: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class InverseGamma(Distribution):
    """Law of ``1 / x`` for x from ``Gamma(concentration, rate)``.

    Parameters
    ----------
    concentration : array_like
        Shape, positive; moments of this order and above do not exist.
    rate : array_like, default 1
        Positive.

    Notes
    -----
    The density is ``rate**a / Gamma(a) * x**(-a - 1) * exp(-rate / x)`` with ``a`` the concentration; `rate`
    is what other texts call the scale of the inverse gamma law.

    Examples
    --------
    >>> from scipy.stats import invgamma
    >>> law = InverseGamma(3.0, 4.0)
    >>> float(invgamma(law.concentration, scale=law.rate).mean())  # rate / (concentration - 1)
    2.0
    """

    arg_constraints = _GAMMA
    support = constraints.positive
    concentration: Any
    rate: Any = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Beta(Distribution):
    """Beta law with mean ``concentration1 / (concentration1 + concentration0)``.

    Parameters
    ----------
    concentration1, concentration0 : array_like
        Positive; less one they are the powers of x and of 1 - x in the density.

    Examples
    --------
    >>> mean, size = 0.75, 8.0  # a share, and of how many trials it is worth
    >>> Beta(mean * size, (1 - mean) * size)  # that of ones first
    Beta(concentration1=6.0, concentration0=2.0)
    """

    arg_constraints = constrained(concentration1=constraints.positive, concentration0=constraints.positive)
    support = constraints.unit_interval
    concentration1: Any
    concentration0: Any


def _check_order(law: str, site: str, low: Any, high: Any) -> None:
    below, above = concrete(low), concrete(high)
    if below is None or above is None or np.all(below < above):
        return
    where = f"site '{site}', parameters 'low' and 'high' of {law}"
    low_values, high_values = np.broadcast_arrays(below, above)
    bad = ~(low_values < high_values)
    got = f"low={low_values[bad].ravel()[0]:g} and high={high_values[bad].ravel()[0]:g}"
    if bad.ndim:
        got += f" at {int(bad.sum())} of {bad.size} positions, the first {np.argwhere(bad)[0].tolist()}"
    raise SupportError(explain(where, "low below high", got, "swap or correct the bounds"))


@dataclass(frozen=True, eq=False, repr=False)
class Uniform(Distribution):
    """Uniform law between `low` and `high`.

    Parameters
    ----------
    low, high : array_like, default 0 and 1
        Bounds, finite, `low` below `high`.

    Examples
    --------
    >>> Uniform(2.0, 5.0).support.words  # the upper end, not the width
    'a number between 2 and 5'
    """

    arg_constraints = constrained(low=constraints.real, high=constraints.real)
    low: Any = 0.0
    high: Any = 1.0

    @property
    def support(self) -> Constraint:
        return concrete_constraint(constraints.interval, self.low, self.high)

    def validate(self, site: str) -> None:
        super().validate(site)
        _check_order("Uniform", site, self.low, self.high)

"""Laws of one count: geometric, beta-binomial, zero-inflated and hurdle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import ModelError, explain
from .base import constrained, exactly_one
from .bounded import Truncated
from .discrete import NegativeBinomial, Poisson, is_count
from .formula import Formula
from .tails import log_density, tail


@dataclass(frozen=True, eq=False, repr=False)
class Geometric(Formula):
    """Law of the number of failures before the first success, from zero on.

    Parameters
    ----------
    probs, logits : array_like, optional
        Probability of success, positive, or its log odds; exactly one is given.

    Raises
    ------
    ModelError
        If both or neither are given.

    Examples
    --------
    >>> np.exp([Geometric(0.25).log_density(k) for k in (0.0, 1.0)]).round(4).tolist()  # no failure, or one
    [0.25, 0.1875]
    """

    arg_constraints = constrained(probs=constraints.unit_interval, logits=constraints.real)
    support = constraints.nonnegative_integer
    probs: Any = None
    logits: Any = None

    def __post_init__(self):
        exactly_one("Geometric", probs=self.probs, logits=self.logits)

    def log_density(self, value):
        inside = is_count(value)
        success, failure = log_odds_pair(self.probs, self.logits)
        return m.where(inside, success + m.where(inside & (value > 0), value * failure, 0.0), -np.inf)

    def draw(self, random, shape):
        _, failure = log_odds_pair(self.probs, self.logits)
        return m.floor(-random.exponential(shape) / failure)


@dataclass(frozen=True, eq=False, repr=False)
class BetaBinomial(Formula):
    """Law of the number of successes in trials whose probability of success is drawn from a beta law.

    Parameters
    ----------
    concentration1, concentration0 : array_like
        Parameters of the beta law, positive; its mean is the first divided by the sum.
    total_count : array_like of int, default 1
        Number of trials.

    References
    ----------
    Skellam (1948), A probability distribution derived from the binomial distribution by regarding the probability of
    success as variable between the sets of trials, JRSS B 10.

    Examples
    --------
    >>> law = BetaBinomial(1.0, 1.0, 4)  # the number of trials comes last; a uniform law of the probability
    >>> np.exp([law.log_density(k) for k in (0.0, 3.0)]).round(4).tolist()
    [0.2, 0.2]
    """

    arg_constraints = constrained(
        concentration1=constraints.positive,
        concentration0=constraints.positive,
        total_count=constraints.nonnegative_integer,
    )
    counts = True
    concentration1: Any
    concentration0: Any
    total_count: Any = 1

    @property
    def bounds(self):
        return 0, self.total_count

    def log_density(self, value):
        inside = is_count(value) & (value <= self.total_count)
        total = self.total_count
        hits = m.where(inside, value, 0.0)
        misses = total - hits
        chosen = -m.log1p(total) - m.betaln(misses + 1.0, hits + 1.0)
        risen = m.log_rising(self.concentration1, hits) + m.log_rising(self.concentration0, misses)
        all_risen = m.log_rising(self.concentration1 + self.concentration0, total + 0.0 * hits)
        return m.where(inside, chosen + risen - all_risen, -np.inf)

    def draw(self, random, shape):
        hits, misses = random.gamma(self.concentration1, shape), random.gamma(self.concentration0, shape)
        return random.binomial(self.total_count, hits / (hits + misses), shape)


@dataclass(frozen=True, eq=False, repr=False)
class ZeroInflated(Formula):
    """A law with more zeros: with probability `gate` zero for sure, otherwise from `base`.

    Parameters
    ----------
    base : Distribution
        Law of one count; or of a positive amount or a share (Gamma, LogNormal, Weibull, Beta, …), which is zero by the
        gate alone: rain, costs, catches, cover.
    gate, gate_logits : array_like, optional
        Probability of a sure zero, or its log odds; exactly one is given.

    Raises
    ------
    ModelError
        If `base` is another law, or not exactly one of `gate` and `gate_logits` is given.

    See Also
    --------
    Hurdle : where all zeros come from the gate.

    Notes
    -----
    Of an amount the density is with respect to length and a unit mass at zero.

    References
    ----------
    Lambert (1992), Zero-inflated Poisson regression, with an application to defects in manufacturing, Technometrics 34.

    Examples
    --------
    >>> law = ZeroInflated(NegativeBinomial(3.0, 2.0), gate=0.3)
    >>> round(float(np.exp(law.log_density(0.0))), 4)  # 0.3 for sure, and 0.16 of the other 0.7
    0.412
    """

    arg_constraints = constrained(gate=constraints.unit_interval, gate_logits=constraints.real)
    base: Any
    gate: Any = None
    gate_logits: Any = None

    def __post_init__(self):
        self._check_given()
        exactly_one("ZeroInflated", gate=self.gate, gate_logits=self.gate_logits)
        if getattr(self.base, "event_dim", 0) or not (self.base.is_discrete or _amount(self.base)):
            raise ModelError(
                explain(
                    "ZeroInflated",
                    "a law of one count, positive amount or share as its base",
                    type(self.base).__name__,
                    "use Poisson, NegativeBinomial, Binomial, Gamma, LogNormal or Beta, say",
                )
            )

    @property
    def support(self):
        return self.base.support if self.base.is_discrete else _amount(self.base)

    def validate(self, site):
        self.base.validate(site)
        super().validate(site)

    def log_density(self, value):
        gate, rest = log_odds_pair(self.gate, self.gate_logits)
        if not self.base.is_discrete:
            above = rest + self.base.log_density(m.where(value == 0, 0.5, value))
            return m.where(value == 0, gate + 0.0 * above, above)
        usual = rest + self.base.log_density(value)
        return m.where(value == 0, m.logaddexp(gate + 0.0 * usual, usual), usual)

    def draw(self, random, shape):
        gate, _ = log_odds_pair(self.gate, self.gate_logits)
        sure = m.log(random.uniform(shape)) < gate
        return m.where(sure, 0.0, 1.0) * self.base.draw(random, shape)


def _amount(base):
    """Support of a law of amounts or shares with a zero, or None for other laws."""
    support = base.support
    if support == constraints.positive or support == constraints.nonnegative:
        return constraints.nonnegative
    return constraints.unit_interval if support == constraints.unit_interval else None


def ZeroInflatedPoisson(gate: Any, rate: Any = 1.0) -> ZeroInflated:
    """``ZeroInflated(Poisson(rate), gate)``.

    Parameters
    ----------
    gate : array_like
        Probability of a sure zero.
    rate : array_like, default 1
        Mean of the other counts, zero or more.

    Returns
    -------
    ZeroInflated

    Examples
    --------
    >>> ZeroInflatedPoisson(0.3, 4.0)
    ZeroInflated(base=Poisson(rate=4.0), gate=0.3)
    """
    return ZeroInflated(Poisson(rate), gate)


def ZeroInflatedNegativeBinomial(mean: Any, concentration: Any, gate: Any) -> ZeroInflated:
    """``ZeroInflated(NegativeBinomial(mean, concentration), gate)``.

    Parameters
    ----------
    mean : array_like
        Mean of the other counts, zero or more.
    concentration : array_like
        Inverse dispersion of the counts, positive.
    gate : array_like
        Probability of a sure zero.

    Returns
    -------
    ZeroInflated

    Examples
    --------
    >>> ZeroInflatedNegativeBinomial(4.0, 2.0, 0.3)
    ZeroInflated(base=NegativeBinomial(mean=4.0, concentration=2.0), gate=0.3)
    """
    return ZeroInflated(NegativeBinomial(mean, concentration), gate)


@dataclass(frozen=True, eq=False, repr=False)
class Hurdle(Formula):
    """Zero with probability `gate`, otherwise a count from `base` given that it is not zero.

    Parameters
    ----------
    base : Distribution
        Poisson or NegativeBinomial; or a law of positive amounts or shares, for which this is `ZeroInflated`.
    gate, gate_logits : array_like, optional
        Probability of zero, or its log odds; exactly one is given.

    Raises
    ------
    ModelError
        If not exactly one of `gate` and `gate_logits` is given.
    UnsupportedError
        For another base.

    References
    ----------
    Mullahy (1986), Specification and testing of some modified count data models, Journal of Econometrics 33.

    Examples
    --------
    >>> law = Hurdle(Poisson(2.0), gate=0.3)
    >>> round(float(np.exp(law.log_density(0.0))), 4)  # the gate, whatever the base
    0.3
    """

    keeps_bases = True
    arg_constraints = constrained(gate=constraints.unit_interval, gate_logits=constraints.real)
    support = constraints.nonnegative_integer
    base: Any
    gate: Any = None
    gate_logits: Any = None

    def __new__(cls, base, gate=None, gate_logits=None):
        if base is not None and not base.is_discrete and _amount(base) is not None:
            return ZeroInflated(base, gate, gate_logits)
        return super().__new__(cls)

    def __post_init__(self):
        self._check_given()
        exactly_one("Hurdle", gate=self.gate, gate_logits=self.gate_logits)
        tail(self.base, "Hurdle")
        if not self.base.is_discrete:
            raise ModelError(
                explain(
                    "Hurdle",
                    "a law of counts or amounts as its base",
                    type(self.base).__name__,
                    "use Poisson or Gamma, say",
                )
            )

    def validate(self, site):
        self.base.validate(site)
        super().validate(site)

    def log_density(self, value):
        gate, rest = log_odds_pair(self.gate, self.gate_logits)
        above = rest + Truncated(self.base, low=1.0 + 0.0 * gate).log_density(value)
        return m.where(value == 0, gate + 0.0 * log_density(self.base, m.where(value == 0, 0.0, 1.0)), above)

    def draw(self, random, shape):
        gate, _ = log_odds_pair(self.gate, self.gate_logits)
        above = Truncated(self.base, low=1.0 + 0.0 * gate).draw(random, shape)
        return m.where(m.log(random.uniform(shape)) < gate, 0.0, above)


def HurdlePoisson(gate: Any, rate: Any = 1.0) -> Hurdle:
    """``Hurdle(Poisson(rate), gate)``.

    Parameters
    ----------
    gate : array_like
        Probability of zero.
    rate : array_like, default 1
        Mean of the counts before zero is excluded, zero or more.

    Returns
    -------
    Hurdle

    Examples
    --------
    >>> HurdlePoisson(0.3, 4.0)
    Hurdle(base=Poisson(rate=4.0), gate=0.3)
    """
    return Hurdle(Poisson(rate), gate)


def HurdleNegativeBinomial(mean: Any, concentration: Any, gate: Any) -> Hurdle:
    """``Hurdle(NegativeBinomial(mean, concentration), gate)``.

    Parameters
    ----------
    mean : array_like
        Mean of the counts before zero is excluded, zero or more.
    concentration : array_like
        Inverse dispersion of the counts, positive.
    gate : array_like
        Probability of zero.

    Returns
    -------
    Hurdle

    Examples
    --------
    >>> HurdleNegativeBinomial(4.0, 2.0, 0.3)
    Hurdle(base=NegativeBinomial(mean=4.0, concentration=2.0), gate=0.3)
    """
    return Hurdle(NegativeBinomial(mean, concentration), gate)


def log_odds_pair(probs: Any, logits: Any) -> tuple[Any, Any]:
    """Logarithms of a probability and of its complement, from either way of giving it."""
    if logits is not None:
        return -m.softplus(-logits), -m.softplus(logits)
    # The smallest normal numbers keep gradients finite at probabilities of exactly 0 and 1.
    sure = probs >= 1.0
    complement = m.log1p(-m.where(sure, 0.5, probs))
    return m.log(m.maximum(probs, 1e-37)), m.where(sure, np.log(1e-37), complement)

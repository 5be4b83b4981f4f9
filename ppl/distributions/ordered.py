"""Laws of an ordered category: a latent quantity beside cutpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from .base import constrained
from .bounded import log_mass
from .discrete import _last_axis, is_count
from .formula import Formula, between


@dataclass(frozen=True, eq=False, repr=False)
class OrderedLogistic(Formula):
    """Law of an ordered category, zero-based.

    Parameters
    ----------
    predictor : array_like, shape (...)
        Position on the latent scale.
    cutpoints : array_like, shape (..., K)
        Boundaries between the K + 1 categories, in increasing order.

    Raises
    ------
    ShapeError
        If `cutpoints` is no vector.

    Notes
    -----
    ``P(y <= k) = sigmoid(cutpoints[k] - predictor)``. With c the cutpoints less the predictor,
    ``log P(k) = log sigmoid(c_k) + log sigmoid(-c_(k-1)) + log(1 - exp(c_(k-1) - c_k))``, which keeps its digits in
    both tails.

    References
    ----------
    McCullagh (1980), Regression models for ordinal data, JRSS B 42.

    Examples
    --------
    >>> def probabilities(predictor):
    ...     law = OrderedLogistic(predictor, np.array([-1.0, 1.0]))  # two cutpoints, three categories
    ...     return np.exp([law.log_density(k) for k in (0.0, 1.0, 2.0)]).round(3).tolist()
    >>> probabilities(0.0), probabilities(1.0)  # a higher predictor, higher categories
    ([0.269, 0.462, 0.269], [0.119, 0.381, 0.5])
    """

    measure = "ordinal"
    arg_constraints = constrained(predictor=constraints.real, cutpoints=constraints.ordered_vector)
    predictor: Any
    cutpoints: Any

    def __post_init__(self):
        _last_axis("OrderedLogistic", "cutpoints", self.cutpoints)

    @property
    def support(self):
        return between(0, np.shape(self.cutpoints)[-1], is_discrete=True)

    def log_density(self, value):
        inside, value, low, high = _between_cuts(self.cutpoints, value)
        above, below = value > 0, value < np.shape(self.cutpoints)[-1]
        density = m.where(below, -m.softplus(self.predictor - high), 0.0)
        density = density + m.where(above, -m.softplus(low - self.predictor), 0.0)
        density = density + m.where(above & below, m.log1mexp(m.where(above & below, high - low, 1.0)), 0.0)
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        (only,) = random.parts(1)
        above = self.cutpoints - m.expand_dims(self.predictor, -1)
        first, last = -m.softplus(-above[..., :1]), -m.softplus(above[..., -1:])
        middle = -m.softplus(-above[..., 1:]) - m.softplus(above[..., :-1])
        middle = middle + m.log1mexp(above[..., 1:] - above[..., :-1])
        return only.categorical(m.concat([first, middle, last], -1), shape)


@dataclass(frozen=True, eq=False, repr=False)
class OrderedProbit(Formula):
    """Law of an ordered category, zero-based, with ``P(y <= k) = Phi(cutpoints[k] - predictor)``.

    Parameters
    ----------
    predictor : array_like, shape (...)
        Position on the latent scale.
    cutpoints : array_like, shape (..., K)
        Boundaries between the K + 1 categories, in increasing order.

    Raises
    ------
    ShapeError
        If `cutpoints` is no vector.

    References
    ----------
    McKelvey and Zavoina (1975), A statistical model for the analysis of ordinal level dependent variables, Journal of
    Mathematical Sociology 4.

    Examples
    --------
    >>> law = OrderedProbit(0.0, np.array([-1.0, 1.0]))  # the unit is the latent standard deviation
    >>> np.exp([law.log_density(k) for k in (0.0, 1.0, 2.0)]).round(3).tolist()
    [0.159, 0.683, 0.159]
    """

    measure = "ordinal"
    arg_constraints = constrained(predictor=constraints.real, cutpoints=constraints.ordered_vector)
    predictor: Any
    cutpoints: Any

    def __post_init__(self):
        _last_axis("OrderedProbit", "cutpoints", self.cutpoints)

    @property
    def support(self):
        return between(0, np.shape(self.cutpoints)[-1], is_discrete=True)

    def log_density(self, value):
        num_cuts = np.shape(self.cutpoints)[-1]
        inside, value, low, high = _between_cuts(self.cutpoints, value)
        low, high = low - self.predictor, high - self.predictor
        bottom, top = m.log_ndtr(high), m.log_ndtr(-low)
        apart = m.where((value > 0) & (value < num_cuts), high - low, 1.0)
        middle = log_mass(
            (m.log_ndtr(high - apart), m.log_ndtr(apart - high)), (m.log_ndtr(high), m.log_ndtr(-high))
        )
        density = m.where(value == 0, bottom, m.where(value == num_cuts, top, middle))
        return m.where(inside, density, -np.inf)

    def draw(self, random, shape):
        latent = self.predictor + random.normal(shape)
        return m.sum(m.where(m.expand_dims(latent, -1) > self.cutpoints, 1.0, 0.0), -1)


def _between_cuts(cutpoints: Any, value: Any) -> tuple[Any, Any, Any, Any]:
    """Whether values are categories; values that are; the cutpoints below and above each, at the ends the nearest."""
    num_cuts = np.shape(cutpoints)[-1]
    inside = is_count(value) & (value <= num_cuts)
    value = m.where(inside, value, 0.0)
    places = m.like(np.arange(num_cuts), value)

    def cut(position):
        return m.sum(m.where(m.expand_dims(position, -1) == places, cutpoints, 0.0), -1)

    low, high = (cut(m.clip(k, 0.0, num_cuts - 1.0)) for k in (value - 1.0, value))
    return inside, value, low, high

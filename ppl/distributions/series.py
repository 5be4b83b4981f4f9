"""Laws of a path over time: the Gaussian random walk and the autoregression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import ModelError, explain
from .base import constrained
from .formula import Formula

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


def _whole_length(law: str, num_steps: Any) -> int:
    try:
        length = int(num_steps)
        good = length == num_steps and length >= 1
    except Exception:  # a tracer refuses in a way of its own
        good = False
    if not good:
        raise ModelError(
            explain(
                f"{law}, parameter 'num_steps'",
                "a whole number of at least 1, known before the model is compiled",
                repr(num_steps)[:80],
                "give the length of the series, as in len(y)",
            )
        )
    return length


def _log_normal(z, scale):
    return -0.5 * z * z - m.log(scale) - _LOG_ROOT_2PI


@dataclass(frozen=True, eq=False, repr=False)
class GaussianRandomWalk(Formula):
    """Path whose steps are independent and normal.

    Parameters
    ----------
    scale : array_like, default 1
        Standard deviation of a step, positive.
    num_steps : int, default 1
        Length of the path, known before the model is compiled.
    drift : array_like, default 0
        Mean of a step.
    start : array_like, default 0
        Where the path stands before its first step.
    start_scale : array_like, optional
        Standard deviation of the first value, which is then ``Normal(start, start_scale)`` and no step.

    Raises
    ------
    ModelError
        If `num_steps` is not a positive whole number.

    Examples
    --------
    >>> GaussianRandomWalk(0.1, num_steps=50).event_shape  # one value is the whole path
    (50,)
    >>> near, far = GaussianRandomWalk(0.1), GaussianRandomWalk(0.1, start_scale=5.0)
    >>> float(near.log_density(np.array([1.0]))) < float(far.log_density(np.array([1.0])))  # one step from 0, or free
    True
    """

    arg_constraints = constrained(
        scale=constraints.positive,
        drift=constraints.real,
        start=constraints.real,
        start_scale=constraints.positive,
    )
    support = constraints.real_vector
    scale: Any = 1.0
    num_steps: int = 1
    drift: Any = 0.0
    start: Any = 0.0
    start_scale: Any = None

    def __post_init__(self):
        object.__setattr__(self, "num_steps", _whole_length("GaussianRandomWalk", self.num_steps))

    @property
    def event_shape(self):
        return (self.num_steps,)

    def _first(self):
        """Mean and standard deviation of the first value."""
        if self.start_scale is None:
            return self.start + self.drift, self.scale
        return self.start, self.start_scale

    def log_density(self, value):
        loc, first_scale = self._first()
        drift, scale = m.expand_dims(self.drift, -1), m.expand_dims(self.scale, -1)
        steps = _log_normal((m.diff(value) - drift) / scale, scale)
        return _log_normal((value[..., 0] - loc) / first_scale, first_scale) + m.sum(steps, -1)

    def draw(self, random, shape):
        noise = random.normal((*shape, self.num_steps))
        loc, first_scale = self._first()
        first = m.expand_dims(loc + first_scale * noise[..., 0], -1)
        steps = m.expand_dims(self.drift, -1) + m.expand_dims(self.scale, -1) * noise[..., 1:]
        return m.cumulative_sum(m.concat([first, steps], -1), -1)


@dataclass(frozen=True, eq=False, repr=False)
class AR(Formula):
    """Autoregression of order p around a mean.

    Parameters
    ----------
    coefficients : array_like, shape (..., p)
        Weights of the last p values, the most recent first.
    scale : array_like, default 1
        Standard deviation of the innovations, positive.
    num_steps : int, default 1
        Length of the path, known before the model is compiled.
    loc : array_like, default 0
        Mean of the process.
    start : array_like, shape (..., p), optional
        The p values before the first, the most recent first. Without them the process is stationary, and the
        density is minus infinity where `coefficients` do not allow that.

    Raises
    ------
    ModelError
        If `num_steps` is not a positive whole number.

    Notes
    -----
    The first values of a stationary process are predicted by the regressions of lower order that the
    Levinson-Durbin recursion gives, run backwards from order p: the exact likelihood, at no more than p**2
    operations. A process of order 1 is stationary for a coefficient between -1 and 1.

    Examples
    --------
    >>> AR([0.5], 1.0, num_steps=3).event_shape
    (3,)
    """

    arg_constraints = constrained(
        coefficients=constraints.real_vector,
        scale=constraints.positive,
        loc=constraints.real,
        start=constraints.real_vector,
    )
    support = constraints.real_vector
    coefficients: Any
    scale: Any = 1.0
    num_steps: int = 1
    loc: Any = 0.0
    start: Any = None

    def __post_init__(self):
        object.__setattr__(self, "num_steps", _whole_length("AR", self.num_steps))

    @property
    def event_shape(self):
        return (self.num_steps,)

    def _orders(self):
        """Coefficients and innovation scale (relative to `scale`) for each order below p; stationarity."""
        weights = [self.coefficients[..., i] for i in range(np.shape(self.coefficients)[-1])]
        inflation, stationary, orders = 1.0 + 0.0 * weights[0], True, []
        while weights:
            partial = weights[-1]
            inside = m.abs(partial) < 1
            stationary = inside & stationary
            partial = m.where(inside, partial, 0.0)
            rest = 1 - partial * partial
            weights = [(weights[i] + partial * weights[-2 - i]) / rest for i in range(len(weights) - 1)]
            inflation = inflation / m.sqrt(rest)
            orders.append((weights, inflation))
        return orders[::-1], stationary

    def log_density(self, value):
        order = np.shape(self.coefficients)[-1]
        y = value - m.expand_dims(self.loc, -1)
        if self.start is not None:
            before = m.flip(self.start - m.expand_dims(self.loc, -1), -1)
            lead = np.broadcast_shapes(np.shape(y)[:-1], np.shape(before)[:-1])
            y = m.concat(
                [m.broadcast_to(before, (*lead, order)), m.broadcast_to(y, (*lead, self.num_steps))], -1
            )
            return m.sum(self._innovations(y, order), -1)
        orders, stationary = self._orders()
        first = 0.0
        for t, (weights, inflation) in enumerate(orders[: self.num_steps]):
            expected = 0.0
            for i, weight in enumerate(weights):
                expected = expected + weight * y[..., t - 1 - i]
            spread = self.scale * inflation
            first = first + _log_normal((y[..., t] - expected) / spread, spread)
        if self.num_steps > order:
            first = first + m.sum(self._innovations(y, order), -1)
        return m.where(stationary, first, -np.inf)

    def _innovations(self, y, order):
        """Log densities from position `order` on."""
        length = np.shape(y)[-1]
        expected = 0.0
        for i in range(order):
            weight = m.expand_dims(self.coefficients[..., i], -1)
            expected = expected + weight * y[..., order - 1 - i : length - 1 - i]
        scale = m.expand_dims(self.scale, -1)
        return _log_normal((y[..., order:] - expected) / scale, scale)

    def draw(self, random, shape):
        order = np.shape(self.coefficients)[-1]
        noise = random.normal((self.num_steps, *shape))
        if self.start is None:
            recent = self._draw_start(random.normal((order, *shape)))
        else:
            recent = [self.start[..., i] - self.loc for i in range(order)]
        zero = 0.0 * noise[0]
        window = tuple(value + zero for value in recent)

        def step(window, shock):
            new = self.scale * shock
            for i, value in enumerate(window):
                new = new + self.coefficients[..., i] * value
            return (new, *window[:-1]), new

        _, path = m.scan(step, window, noise)
        return m.moveaxis(path, 0, -1) + m.expand_dims(self.loc, -1)

    def _draw_start(self, noise):
        """The p values before the first, the most recent first, of a stationary process."""
        past: list[Any] = []
        for t, (weights, inflation) in enumerate(self._orders()[0]):
            new = self.scale * inflation * noise[t]
            for weight, value in zip(weights, past, strict=True):
                new = new + weight * value
            past = [new, *past]
        return past

"""`Bits`: arrays of zeros and ones as one value, too many to be summed out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..thresholds import LEAST_PROBABILITY
from .base import Distribution, Expanded, Independent, constrained
from .discrete import Bernoulli
from .formula import Formula


@dataclass(frozen=True, eq=False, repr=False)
class Bits(Formula):
    """Independent zeros and ones, as numbers, of which an array is one value.

    Parameters
    ----------
    logits : array_like
        Log odds of 1.
    num_axes : int
        Last axes of `logits` that make a value.

    Notes
    -----
    What ``Bernoulli(...).expand([20]).to_event(1)`` becomes where it is a latent quantity. Its values lie among all real numbers for
    what computes with them; draws and encoders give zeros and ones only.

    Examples
    --------
    >>> Bits(np.zeros(3), 1).log_density(np.array([0.0, 1.0, 1.0])).round(4)
    np.float64(-2.0794)
    """

    arg_constraints = constrained(logits=constraints.real_vector)
    logits: Any
    num_axes: int

    @property
    def support(self):
        return constraints.independent(constraints.real, self.num_axes)

    @property
    def event_shape(self):
        return tuple(np.shape(self.logits))[-self.num_axes :]

    @property
    def batch_shape(self):
        return tuple(np.shape(self.logits))[: -self.num_axes]

    def log_density(self, value):
        return m.sum(value * self.logits - m.softplus(self.logits), axis=tuple(range(-self.num_axes, 0)))

    def draw(self, random, shape):
        u = random.uniform((*shape, *self.event_shape))
        return m.like(m.where(u < m.expit(self.logits), 1.0, 0.0), self.logits)


def unwrapped(declared: Any) -> tuple[Any, tuple[int, ...], int]:
    """The law that a declaration repeats as one value, to what batch shape, and how many of its axes make a value."""
    shape: tuple[int, ...] = ()
    num_axes, base = 0, declared
    while isinstance(base, (Independent, Expanded)):
        if isinstance(base, Independent):
            num_axes += base.num_axes
        elif not shape:
            shape = base.shape
        base = base.base
    return base, tuple(shape), num_axes


def as_bits(name: str, declared: Any) -> Any:
    """The law of the quantity `name`, as `Bits` where it is of zeros and ones of which an array is one value."""
    base, shape, num_axes = unwrapped(declared)
    if not isinstance(declared, Distribution) or not num_axes or type(base) is not Bernoulli:
        return declared
    declared.validate(name)
    logits = base.logits
    if logits is None:
        probs = m.clip(m.like(base.probs, base.probs), LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
        logits = m.log(probs) - m.log1p(-probs)
    full = np.broadcast_shapes(tuple(np.shape(logits)), shape)
    return Bits(m.broadcast_to(logits, full), num_axes)

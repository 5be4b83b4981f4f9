"""Constraints that PyTorch lacks, and all by the names of `supports`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from pyro.distributions import constraints as C


class LessThanEq(C.Constraint):
    """Numbers up to a bound, which counts."""

    is_discrete, event_dim = False, 0

    def __init__(self, upper_bound):
        self.upper_bound = upper_bound

    def check(self, value):
        return value <= self.upper_bound


class PositiveOrdered(C.Constraint):
    """Increasing vectors of positive numbers, as one event."""

    is_discrete, event_dim = False, 1

    def check(self, value):
        return C.positive_ordered_vector.check(value)


positive_ordered_vector = PositiveOrdered()


class ZeroSum(C.Constraint):
    """Arrays whose last axes sum to zero each."""

    is_discrete = False

    def __init__(self, num_axes: int):
        self.num_axes, self.event_dim = num_axes, num_axes

    def check(self, value):
        axes = range(-self.num_axes, 0)
        return torch.stack([value.sum(a).abs().flatten().amax() < 1e-6 for a in axes]).all()


NAMES = SimpleNamespace(
    **{
        **{name: value for name, value in vars(C).items() if not name.startswith("_")},
        "circular": C.interval(-np.pi, np.pi),
        "integer_greater_than": type(C.positive_integer),
        "less_than_eq": LessThanEq,
        "positive_ordered_elements": C.positive_ordered_vector,
        "positive_ordered_vector": positive_ordered_vector,
        "zero_sum": ZeroSum,
    }
)
"""PyTorch's and Pyro's constraints with those above."""

"""`Mixture`: laws of different classes, with the component summed out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import ModelError, ShapeError, explain
from .base import Distribution, constrained, exactly_one
from .discrete import _last_axis
from .formula import Formula

_POSITIVE = (constraints.positive, constraints.unit_interval, constraints.nonnegative)


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Formula):
    """Mixture of laws of any classes, with the component summed out.

    Parameters
    ----------
    components : sequence of Distribution
        K laws, all discrete or all continuous, with events of one shape.
    weights, logits : array_like, shape (..., K), optional
        Probability of each component, or their logarithms up to a constant; exactly one is given.

    Raises
    ------
    ModelError
        If both or neither of `weights` and `logits` are given, or the components do not fit together.
    ShapeError
        If there are not as many weights as components.

    See Also
    --------
    MixtureSameFamily : where all components are of one class, with parameters along an axis.

    Notes
    -----
    The support is that of the components where they share one; otherwise all positive numbers, all numbers
    or all counts, and a component has density zero outside its own.

    Examples
    --------
    >>> from elboroom.ppl.distributions import LogNormal, Mixture, Normal
    >>> Mixture([Normal(0, 1), LogNormal(2, 1)], weights=[0.9, 0.1]).support.name
    'real'
    """

    arg_constraints = constrained(weights=constraints.simplex, logits=constraints.real_vector)
    components: Any
    weights: Any = None
    logits: Any = None

    def __post_init__(self):
        self._check_given()
        object.__setattr__(self, "components", tuple(self.components))
        if not self.components:
            raise ModelError(explain("Mixture", "at least one component", "none", "list the laws it mixes"))
        strange = [
            c for c in self.components if not isinstance(c, Distribution) and not hasattr(c, "log_density")
        ]
        if strange:
            raise ModelError(
                explain(
                    "Mixture",
                    "a sequence of distributions first",
                    f"{strange[0]!r} among them",
                    "write er.Mixture([er.Normal(0, 1), er.Normal(3, 1)], weights=[0.5, 0.5])",
                )
            )
        exactly_one("Mixture", weights=self.weights, logits=self.logits)
        name = "weights" if self.logits is None else "logits"
        num = _last_axis("Mixture", name, getattr(self, name))
        if num != len(self.components):
            raise ShapeError(
                explain(
                    "Mixture",
                    f"{num} components for {num} {name}",
                    f"{len(self.components)}",
                    "match the two",
                )
            )
        kinds = {(bool(c.is_discrete), c.event_dim) for c in self.components}
        if len(kinds) > 1 or (kinds.pop()[1] and len({self._support_of(c) for c in self.components}) > 1):
            raise ModelError(
                explain(
                    "Mixture",
                    "components that are all discrete or all continuous, with one support where values are vectors",
                    ", ".join(type(c).__name__ for c in self.components),
                    "for a spike at zero in a continuous law write the two parts with er.factor",
                )
            )

    @staticmethod
    def _support_of(component):
        support = component.support
        return support if isinstance(support, constraints.Constraint) else constraints.dependent

    @property
    def event_shape(self):
        return tuple(getattr(self.components[0], "event_shape", ()))

    @property
    def support(self):
        supports = {self._support_of(c) for c in self.components}
        if len(supports) == 1 and constraints.dependent not in supports:
            return supports.pop()
        if self.components[0].is_discrete:
            return constraints.nonnegative_integer
        return constraints.positive if all(s in _POSITIVE for s in supports) else constraints.real

    def validate(self, site):
        for component in self.components:
            component.validate(site)
        super().validate(site)

    def _log_weights(self):
        if self.weights is None:
            return m.log_softmax(self.logits)
        return m.log(m.maximum(self.weights, 1e-37))

    def log_density(self, value):
        log_weights = self._log_weights()
        terms = [c.log_density(value) + log_weights[..., k] for k, c in enumerate(self.components)]
        shape = np.broadcast_shapes(*(np.shape(term) for term in terms))
        stacked = m.stack([m.broadcast_to(term, shape) for term in terms], -1)
        possible = m.any(stacked > -np.inf, -1)
        safe = m.where(m.expand_dims(possible, -1), stacked, 0.0)
        return m.where(possible, m.logsumexp(safe, -1), -np.inf)

    def draw(self, random, shape):
        reached = m.cumulative_sum(m.exp(self._log_weights()), -1)
        chosen = random.uniform(shape)
        value = self.components[-1].draw(random, shape)
        for k in range(len(self.components) - 2, -1, -1):
            here = chosen < reached[..., k]
            for _ in self.event_shape:
                here = m.expand_dims(here, -1)
            value = m.where(here, self.components[k].draw(random, shape), value)
        return value

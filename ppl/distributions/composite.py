"""Laws made of other laws, improper laws, and a user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from ..constraints import Constraint
from ..errors import ModelError, ShapeError, SupportError, explain
from .base import Distribution, check_parameter


def _shape(value: Any, where: str) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in (value if isinstance(value, (tuple, list)) else (value,)))
    except (TypeError, ValueError) as error:
        raise ShapeError(
            explain(
                where, "a tuple of whole numbers", repr(value)[:80], "give a size known before compilation"
            )
        ) from error


@dataclass(frozen=True, eq=False, repr=False)
class MixtureSameFamily(Distribution):
    """Mixture of laws of one family, with the component summed out.

    Parameters
    ----------
    mixing_distribution : Categorical
        Weights of the K components.
    component_distribution : Distribution
        A law whose last batch axis has length K.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Categorical, MixtureSameFamily, Normal
    >>> MixtureSameFamily(Categorical(probs=[0.3, 0.7]), Normal([-1.0, 1.0], 0.5)).support.name
    'real'
    """

    mixing_distribution: Any
    component_distribution: Any

    @property
    def support(self) -> Constraint:
        return self.component_distribution.support

    def validate(self, site: str) -> None:
        self._check_given(site)
        for part in (self.mixing_distribution, self.component_distribution):
            if isinstance(part, Distribution):
                part.validate(site)


@dataclass(frozen=True, eq=False, repr=False)
class Ordered(Distribution):
    """`base` restricted to vectors in increasing order.

    Parameters
    ----------
    base : Distribution
        Law of real or positive numbers whose last batch axis is the vector, of length K.

    Raises
    ------
    ModelError
        If `base` is neither real nor positive.

    Notes
    -----
    Where all K elements share one law, as in ``Ordered(Normal(0, 5).expand([4]))``, the density carries its
    exact constant K! and sampling sorts independent draws. Where they differ, as in
    ``Ordered(Normal([-1.0, 1.0], 1.0))``, the density is exact up to a constant, which depends on the
    parameters of `base`: give those as fixed numbers then. Such a law cannot be sampled.

    Examples
    --------
    >>> from elboroom.ppl.distributions import Normal, Ordered
    >>> Ordered(Normal(0, 5).expand([4])).support.name
    'ordered_vector'
    """

    base: Any

    def __post_init__(self):
        if self.base.support not in (constraints.real, constraints.positive):
            raise ModelError(
                explain(
                    "Ordered",
                    "a law of single real or positive numbers",
                    f"{type(self.base).__name__}, a law of {self.base.support.words}",
                    "order a Normal, StudentT or LogNormal, or use ImproperUniform(ordered_vector, ...)",
                )
            )

    @property
    def support(self) -> Constraint:
        if self.base.support == constraints.positive:
            return constraints.positive_ordered_vector
        return constraints.ordered_vector

    def validate(self, site: str) -> None:
        self.base.validate(site)


@dataclass(frozen=True, eq=False, repr=False)
class ImproperUniform(Distribution):
    """Density one everywhere on `support`: no proper law, so it cannot be sampled.

    Parameters
    ----------
    support : Constraint
        Where values lie, one of ``elboroom.ppl.constraints``.
    batch_shape, event_shape : tuple of int, default ()
        Shape of independent copies, and of one value.

    Raises
    ------
    ShapeError
        If `event_shape` has fewer axes than one event of `support`.

    Examples
    --------
    >>> from elboroom.ppl import constraints
    >>> from elboroom.ppl.distributions import ImproperUniform
    >>> ImproperUniform(constraints.positive, event_shape=(3,)).support.words
    'in each element a positive number'
    """

    support: Any = constraints.real
    batch_shape: tuple[int, ...] = ()
    event_shape: tuple[int, ...] = ()

    def __post_init__(self):
        event_shape = _shape(self.event_shape, "ImproperUniform, parameter 'event_shape'")
        batch_shape = _shape(self.batch_shape, "ImproperUniform, parameter 'batch_shape'")
        if not isinstance(self.support, Constraint):
            raise SupportError(
                explain(
                    "ImproperUniform, parameter 'support'",
                    "a constraint of elboroom.ppl.constraints, such as constraints.real",
                    repr(self.support),
                    "pass the constraint itself",
                )
            )
        missing = len(event_shape) - self.support.event_dim
        if missing < 0:
            raise ShapeError(
                explain(
                    "ImproperUniform, parameter 'event_shape'",
                    f"at least {self.support.event_dim} axes for {self.support.words}",
                    str(event_shape),
                    "give the shape of one value",
                )
            )
        object.__setattr__(self, "event_shape", event_shape)
        object.__setattr__(self, "batch_shape", batch_shape)
        object.__setattr__(self, "support", constraints.independent(self.support, missing))


@dataclass(frozen=True, eq=False, repr=False)
class CustomDist(Distribution):
    """A law given by the user's own functions, written with `elboroom.math` or one backend's arrays.

    Parameters
    ----------
    log_prob : callable
        ``log_prob(value, *params)`` returns the log density of each value: `value` has shape
        ``(..., *event)``, the result ``(...)``.
    sample : callable, optional
        ``sample(rng, *params, shape)`` returns draws of shape `shape`, which includes batch and event axes;
        `rng` is the backend's source of randomness (a JAX key). Without it the model can be fitted but
        neither its prior nor its predictions can be drawn.
    support : Constraint, default real
        Where values lie.
    params : sequence, default ()
        Parameters handed to both functions; they must be finite.
    event_dim : int, default 0
        Number of trailing axes that one value takes.
    shape : tuple of int, optional
        Shape of one draw, batch and event axes; by default the common shape of `params`.

    Raises
    ------
    ShapeError
        If `event_dim` is below that of `support`, or one draw's shape is unknown.

    Examples
    --------
    >>> import elboroom.ppl.math as m
    >>> from elboroom.ppl.distributions import CustomDist
    >>> def gumbel(x, loc):
    ...     return -(x - loc) - m.exp(-(x - loc))
    >>> CustomDist(gumbel, params=(0.0,)).support.name
    'real'
    """

    log_prob: Callable[..., Any]
    sample: Callable[..., Any] | None = None
    support: Any = constraints.real
    params: Any = ()
    event_dim: int = 0
    shape: tuple[int, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "params", tuple(self.params))
        event_dim = max(int(self.event_dim), self.support.event_dim)
        shape = self.shape
        if shape is None:
            try:
                shape = np.broadcast_shapes(*(np.shape(p) for p in self.params))
            except ValueError:
                shape = ()
        shape = _shape(shape, "CustomDist, parameter 'shape'")
        if len(shape) < event_dim:
            raise ShapeError(
                explain(
                    "CustomDist, parameter 'shape'",
                    f"at least {event_dim} axes, since one value has as many",
                    str(shape),
                    "give shape=, batch and event axes of one draw",
                )
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "event_dim", event_dim)
        object.__setattr__(
            self, "support", constraints.independent(self.support, event_dim - self.support.event_dim)
        )

    def validate(self, site: str) -> None:
        for position, value in enumerate(self.params):
            check_parameter(site, "CustomDist", f"params[{position}]", value, constraints.real)

    def __repr__(self) -> str:
        return f"CustomDist({getattr(self.log_prob, '__name__', 'log_prob')}, {len(self.params)} params)"

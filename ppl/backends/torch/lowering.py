"""Declarations to Pyro distributions, one table row each, and constraints in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro.distributions import constraints as C

from ... import constraints, distributions
from ...constraints import Constraint
from ...distributions.base import Expanded, Independent, Masked, concrete
from ...distributions.formula import Formula, finite_values, flatten, rebuild, whole_numbers
from ...errors import ShapeError, UnsupportedError, explain
from . import laws
from .namespace import asarray
from .transforms import LessThanEq, ZeroSum, positive_ordered_vector

_KINDS = torch.distributions.constraints

__all__ = ["constraint_of", "lower", "to_torch_constraint"]


def tensor(value: Any) -> torch.Tensor:
    """A parameter as a tensor; whole numbers become floating-point."""
    found = asarray(value)
    return found if found.dtype.is_floating_point else found.to(torch.float64)


def _law(make: Callable[..., Any], **fixed: Any) -> Callable[[Any], Any]:
    """A row whose parameters carry the same names on both sides."""

    def lowered(declared):
        return make(**{name: tensor(value) for name, value in declared.params.items()}, **fixed)

    return lowered


def _plain(law: type) -> Callable[[Any], Any]:
    return _law(law, validate_args=False)


def _multivariate_normal(declared):
    given = {name: tensor(value) for name, value in declared.params.items()}
    matrix = next(v for k, v in given.items() if k != "loc")
    loc = given["loc"]
    given["loc"] = loc.broadcast_to(torch.broadcast_shapes(loc.shape, matrix.shape[-1:]))
    return dist.MultivariateNormal(**given, validate_args=False)


def _lkj(declared):
    return laws.LKJCholesky(int(declared.dimension), tensor(declared.concentration), validate_args=False)


def _mixture(declared):
    mixing, component = lower(declared.mixing_distribution), lower(declared.component_distribution)
    count = mixing.logits.shape[-1]
    if tuple(component.batch_shape[-1:]) != (count,):
        raise ShapeError(
            explain(
                "MixtureSameFamily",
                f"a component law whose last batch axis has length {count}",
                f"batch shape {tuple(component.batch_shape)}",
                "give as many components as weights",
            )
        )
    support = component.support
    while isinstance(support, _KINDS._IndependentConstraint):
        support = support.base_constraint
    if any(np.ndim(getattr(support, name, 0)) for name in ("lower_bound", "upper_bound")):
        raise UnsupportedError(
            explain(
                "MixtureSameFamily",
                "components whose support is free of parameters",
                f"{declared.component_distribution!r} on {declared.support.words}",
                "write the mixture as a CustomDist with er.math.logsumexp",
            )
        )
    return laws.MixtureSameFamily(mixing, component, validate_args=False)


def _exchangeable(base: Any) -> bool:
    """Whether the elements along the last batch axis share their parameters."""
    if isinstance(base, Expanded):
        inner = tuple(lower(base.base).batch_shape)
        return not inner or (inner[-1] == 1 and base.shape[-1] > 1) or _exchangeable(base.base)
    return tuple(lower(base).batch_shape[-1:]) == (1,)


def _ordered(declared):
    positive = declared.support == constraints.positive_ordered_vector
    return laws.Ordered(lower(declared.base), _exchangeable(declared.base), positive)


def _improper(declared):
    support = to_torch_constraint(declared.support)
    return laws.ImproperUniform(support, declared.batch_shape, declared.event_shape)


def _custom(declared):
    cut = len(declared.shape) - declared.event_dim
    return laws.Custom(
        declared.log_prob,
        declared.sample,
        to_torch_constraint(declared.support),
        tuple(asarray(p) for p in declared.params),
        declared.shape[:cut],
        declared.shape[cut:],
    )


def _written(declared):
    structure, leaves = flatten(declared)
    whole = whole_numbers(structure)
    leaves = {
        path: value
        if isinstance(value, torch.distributions.Distribution)
        else (asarray(value) if path in whole else tensor(value))
        for path, value in leaves.items()
    }
    law = laws.Written(structure, leaves, _backed)
    law.own_support = _running_support(rebuild(structure, leaves))
    return law.enumerated(finite_values(declared))


def _backed(declared):
    law = lower(declared)
    return laws.Backed(law, constraint_of(law.support) if law is declared else declared.support)


def _running_support(declared):
    """Support of a formula that holds tensors, whose bounds may be known only while it runs."""
    if declared.bounds is None:
        return to_torch_constraint(declared.support)
    low, high = declared.bounds
    if declared.event_shape:
        return C.multinomial(high)
    if declared.counts:
        return _KINDS._IntegerGreaterThan(low) if high is None else C.integer_interval(low, high)
    if low is None and high is None:
        return C.real
    if high is None:
        return C.greater_than_eq(low)
    return LessThanEq(high) if low is None else C.interval(low, high)


def _masked(declared):
    mask = declared.mask_values
    return lower(declared.base).mask(mask if isinstance(mask, bool) else asarray(mask).bool())


TABLE: Mapping[type, Callable[[Any], Any]] = MappingProxyType(
    {
        distributions.Bernoulli: _plain(laws.Bernoulli),
        distributions.Beta: _plain(dist.Beta),
        distributions.Binomial: _plain(laws.Binomial),
        distributions.Categorical: _plain(dist.Categorical),
        distributions.Cauchy: _plain(dist.Cauchy),
        distributions.CustomDist: _custom,
        distributions.Dirichlet: _plain(dist.Dirichlet),
        distributions.Exponential: _plain(laws.Exponential),
        distributions.Gamma: _plain(laws.Gamma),
        distributions.HalfCauchy: _plain(laws.HalfCauchy),
        distributions.HalfNormal: _plain(laws.HalfNormal),
        distributions.ImproperUniform: _improper,
        distributions.InverseGamma: _plain(dist.InverseGamma),
        distributions.LKJCholesky: _lkj,
        distributions.Laplace: _plain(dist.Laplace),
        distributions.LogNormal: _plain(dist.LogNormal),
        distributions.MixtureSameFamily: _mixture,
        distributions.MultivariateNormal: _multivariate_normal,
        distributions.Normal: _plain(dist.Normal),
        distributions.Ordered: _ordered,
        distributions.Poisson: _plain(laws.Poisson),
        distributions.StudentT: _plain(dist.StudentT),
        distributions.Uniform: _plain(dist.Uniform),
        Expanded: lambda declared: lower(declared.base).expand(torch.Size(declared.shape)),
        Independent: lambda declared: lower(declared.base).to_event(declared.num_axes),
        Masked: _masked,
    }
)
"""What each declaration becomes; a new distribution is one file's class and one row here."""


def lower(declared: Any) -> Any:
    """The Pyro distribution of a declaration; a Pyro distribution is returned as it is.

    Raises
    ------
    UnsupportedError
        If no row of the table knows the class.
    ShapeError
        If parameters do not broadcast.
    """
    if isinstance(declared, torch.distributions.Distribution):
        return declared
    declared = declared.reduced if isinstance(declared, Formula) else declared
    make = _written if isinstance(declared, Formula) else TABLE.get(type(declared))
    if make is None:
        raise UnsupportedError(
            explain(
                "the torch backend",
                "a distribution of elboroom or of Pyro",
                f"an object of class {type(declared).__module__}.{type(declared).__qualname__}",
                "use one of elboroom.ppl.distributions, or CustomDist for a density of your own",
            )
        )
    try:
        return make(declared)
    except (RuntimeError, TypeError, ValueError) as error:
        shapes = {name: np.shape(value) for name, value in declared.params.items() if np.ndim(value)}
        if len(shapes) < 1 or not any(word in str(error) for word in ("shape", "size", "broadcast")):
            raise
        got = ", ".join(f"{name} of shape {tuple(shape)}" for name, shape in shapes.items())
        raise ShapeError(
            explain(
                type(declared).__name__,
                "parameters whose shapes broadcast",
                got,
                "check the lengths, or insert an axis with er.math.expand_dims",
            )
        ) from error


CIRCULAR = C.interval(-np.pi, np.pi)
_SINGLETONS: tuple[tuple[Any, Constraint], ...] = (
    (C.real, constraints.real),
    (C.positive, constraints.positive),
    (C.nonnegative, constraints.nonnegative),
    (C.unit_interval, constraints.unit_interval),
    (C.boolean, constraints.boolean),
    (C.nonnegative_integer, constraints.nonnegative_integer),
    (C.positive_integer, constraints.integer_interval(1, None)),
    (C.real_vector, constraints.real_vector),
    (C.simplex, constraints.simplex),
    (C.ordered_vector, constraints.ordered_vector),
    (positive_ordered_vector, constraints.positive_ordered_vector),
    (C.positive_ordered_vector, constraints.positive_ordered_vector),
    (C.lower_cholesky, constraints.lower_cholesky),
    (C.corr_cholesky, constraints.corr_cholesky),
    (C.corr_matrix, constraints.corr_matrix),
    (C.positive_definite, constraints.positive_definite),
    (CIRCULAR, constraints.circular),
)


def constraint_of(support: Any) -> Constraint:
    """Our constraint of a PyTorch one; `constraints.dependent` where bounds are not fixed."""
    for theirs, ours in _SINGLETONS:
        if support is theirs:
            return ours
    if isinstance(support, _KINDS._IndependentConstraint):
        return constraints.independent(
            constraint_of(support.base_constraint), support.reinterpreted_batch_ndims
        )
    if isinstance(support, ZeroSum):
        return constraints.zero_sum(support.num_axes)
    for kind, make in _BOUNDED:
        if type(support) is kind:
            names = [n for n in ("lower_bound", "upper_bound") if hasattr(support, n)]
            bounds = [concrete(getattr(support, n)) for n in names]
            if all(b is not None for b in bounds):
                return make(*bounds)
    for theirs, ours in _SINGLETONS:
        if type(support) is type(theirs) and not hasattr(support, "lower_bound"):
            return ours
    return constraints.Dependent(getattr(support, "event_dim", 0), getattr(support, "is_discrete", False))


_BOUNDED: tuple[tuple[type, Callable[..., Constraint]], ...] = (
    (_KINDS._Interval, constraints.interval),
    (_KINDS._HalfOpenInterval, constraints.interval),
    (_KINDS._GreaterThan, constraints.greater_than),
    (_KINDS._GreaterThanEq, lambda low: constraints.greater_than(low, closed=True)),
    (_KINDS._LessThan, constraints.less_than),
    (LessThanEq, lambda high: constraints.less_than(high, closed=True)),
    (_KINDS._Multinomial, constraints.counts),
    (_KINDS._IntegerInterval, constraints.integer_interval),
    (_KINDS._IntegerGreaterThan, lambda low: constraints.integer_interval(low, None)),
)


def _bound(value: Any) -> Any:
    return torch.as_tensor(np.asarray(value, float)) if isinstance(value, tuple) else value


def to_torch_constraint(constraint: Any) -> Any:
    """The PyTorch constraint of ours, or of PyTorch itself, which is returned as it is.

    Raises
    ------
    UnsupportedError
        For `constraints.dependent`, whose bounds are unknown.
    """
    if isinstance(constraint, _KINDS.Constraint):
        return constraint
    for theirs, ours in _SINGLETONS:
        if constraint == ours:
            return theirs
    match constraint:
        case constraints.Independent(base, num_axes):
            return C.independent(to_torch_constraint(base), num_axes)
        case constraints.Interval(low, high):
            return C.interval(_bound(low), _bound(high))
        case constraints.GreaterThan(low, closed):
            return (C.greater_than_eq if closed else C.greater_than)(_bound(low))
        case constraints.LessThan(high, closed):
            return (LessThanEq if closed else C.less_than)(_bound(high))
        case constraints.Counts(total):
            return C.multinomial(_bound(total))
        case constraints.IntegerInterval(low, None):
            return _KINDS._IntegerGreaterThan(_bound(low))
        case constraints.IntegerInterval(low, high):
            return C.integer_interval(_bound(low), _bound(high))
        case constraints.ZeroSum():
            return ZeroSum(constraint.event_dim)
    raise UnsupportedError(
        explain(
            "the torch backend",
            "a constraint with known bounds",
            getattr(constraint, "words", repr(constraint)),
            "give the bounds as numbers, as in constraints.interval(0, 1)",
        )
    )

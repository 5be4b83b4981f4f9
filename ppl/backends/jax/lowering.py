"""Declarations to NumPyro distributions, one table row each, and constraints in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints as numpyro_constraints

from ... import constraints, distributions
from ...constraints import Constraint
from ...distributions.base import Distribution, Expanded, Independent, Masked, concrete
from ...distributions.formula import Formula, finite_values, flatten, rebuild, whole_numbers
from ...errors import ShapeError, UnsupportedError, explain
from . import laws

__all__ = ["constraint_of", "lower", "to_numpyro_constraint"]


def _array(value: Any) -> Any:
    """A parameter that NumPyro can compute with: pandas, xarray and lists become NumPy arrays."""
    if isinstance(value, (int, float, np.ndarray, np.generic, jax.Array)):
        return value
    return np.asarray(value)


def _same(law: type, **fixed: Any) -> Callable[[Any], Any]:
    """A row whose parameters carry the same names on both sides."""

    def make(declared):
        given = {name: _array(value) for name, value in declared.params.items()}
        return law(**given, **fixed)

    return make


def _scalar(law: Callable[..., Any]) -> Callable[[Any], Any]:
    """A law of single values: log density minus infinity outside the support."""
    return _same(law, validate_args=True)


def _plain(law: Callable[..., Any]) -> Callable[[Any], Any]:
    """A law of vectors, where rounding puts good values a hair outside; or one that masks for itself."""
    return _same(law, validate_args=False)


def _mixture(declared):
    mixing, component = lower(declared.mixing_distribution), lower(declared.component_distribution)
    if component.batch_shape[-1:] != mixing.probs.shape[-1:]:
        raise ShapeError(
            explain(
                "MixtureSameFamily",
                f"a component law whose last batch axis has length {mixing.probs.shape[-1]}",
                f"batch shape {component.batch_shape}",
                "give as many components as weights",
            )
        )
    support = component.support
    while isinstance(support, numpyro_constraints.independent):
        support = support.base_constraint
    if not isinstance(support, numpyro_constraints.ParameterFreeConstraint):
        raise UnsupportedError(
            explain(
                "MixtureSameFamily",
                "components whose support is free of parameters",
                f"{declared.component_distribution!r} on {declared.support.words}",
                "write the mixture as a CustomDist with er.math.logsumexp",
            )
        )
    return dist.MixtureSameFamily(mixing, component, validate_args=False)


def _exchangeable(base: Any) -> bool:
    """Whether the elements along the last batch axis share their parameters."""
    if isinstance(base, Expanded):
        inner = lower(base.base).batch_shape
        return not inner or (inner[-1] == 1 and base.shape[-1] > 1) or _exchangeable(base.base)
    if isinstance(base, dist.ExpandedDistribution):
        return not base.base_dist.batch_shape or base.base_dist.batch_shape[-1] == 1
    return lower(base).batch_shape[-1:] == (1,)


def _ordered(declared):
    positive = declared.support == constraints.positive_ordered_vector
    return laws.Ordered(lower(declared.base), _exchangeable(declared.base), positive, validate_args=False)


def _improper(declared):
    support = to_numpyro_constraint(declared.support)
    return laws.ImproperUniform(support, declared.batch_shape, declared.event_shape, validate_args=False)


def _custom(declared):
    cut = len(declared.shape) - declared.event_dim
    return laws.Custom(
        declared.log_prob,
        declared.sample,
        to_numpyro_constraint(declared.support),
        tuple(_array(p) for p in declared.params),
        declared.shape[:cut],
        declared.shape[cut:],
        validate_args=False,
    )


def _written(declared):
    structure, leaves = flatten(declared)
    whole = whole_numbers(structure)
    leaves = {path: _leaf(value, path in whole) for path, value in leaves.items()}
    law = laws.Written(structure, leaves, None, _backed, validate_args=False)
    law.own_support = _running_support(rebuild(structure, leaves))
    return law.enumerated(finite_values(declared))


def _leaf(value, whole):
    """A parameter as a JAX array."""
    if isinstance(value, dist.Distribution):
        return value
    array = jnp.asarray(_array(value))
    # Naming the type drops JAX's weak typing, which would let a constant lower the precision.
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(array.dtype if floating or whole else jnp.result_type(float))


def _backed(declared):
    law = lower(declared)
    return laws.Backed(law, constraint_of(law.support) if law is declared else declared.support)


def _running_support(declared):
    """Support of a formula that holds JAX arrays, whose bounds may be traced."""
    if declared.bounds is None:
        return to_numpyro_constraint(declared.support)
    low, high = declared.bounds
    if declared.event_shape:
        return numpyro_constraints.multinomial(high)
    if declared.counts and high is None:
        return numpyro_constraints.integer_greater_than(low)
    if declared.counts:
        return numpyro_constraints.integer_interval(low, high)
    if low is None and high is None:
        return numpyro_constraints.real
    if high is None:
        return numpyro_constraints.greater_than_eq(low)
    return numpyro_constraints.less_than_eq(high) if low is None else numpyro_constraints.interval(low, high)


def _independent(declared):
    return lower(declared.base).to_event(declared.num_axes)


def _expanded(declared):
    return lower(declared.base).expand(declared.shape)


def _masked(declared):
    mask = declared.mask_values
    mask = mask if isinstance(mask, bool) else jnp.asarray(_array(mask)).astype(bool)
    return lower(declared.base).mask(mask)


TABLE: Mapping[type, Callable[[Any], dist.Distribution]] = MappingProxyType(
    {
        distributions.Bernoulli: _scalar(dist.Bernoulli),
        distributions.Beta: _scalar(dist.Beta),
        distributions.Binomial: _scalar(dist.Binomial),
        distributions.Categorical: _scalar(dist.Categorical),
        distributions.Cauchy: _scalar(dist.Cauchy),
        distributions.CustomDist: _custom,
        distributions.Dirichlet: _plain(dist.Dirichlet),
        distributions.Exponential: _scalar(dist.Exponential),
        distributions.Gamma: _scalar(dist.Gamma),
        distributions.HalfCauchy: _scalar(dist.HalfCauchy),
        distributions.HalfNormal: _scalar(dist.HalfNormal),
        distributions.ImproperUniform: _improper,
        distributions.InverseGamma: _scalar(dist.InverseGamma),
        distributions.LKJCholesky: _plain(dist.LKJCholesky),
        distributions.Laplace: _scalar(dist.Laplace),
        distributions.LogNormal: _scalar(dist.LogNormal),
        distributions.MixtureSameFamily: _mixture,
        distributions.MultivariateNormal: _plain(dist.MultivariateNormal),
        distributions.Normal: _scalar(dist.Normal),
        distributions.Ordered: _ordered,
        distributions.Poisson: _scalar(dist.Poisson),
        distributions.StudentT: _scalar(dist.StudentT),
        distributions.Uniform: _scalar(dist.Uniform),
        Expanded: _expanded,
        Independent: _independent,
        Masked: _masked,
    }
)
"""What each declaration becomes; a new distribution is one file's class and one row here."""


def lower(declared: Distribution | dist.Distribution) -> dist.Distribution:
    """The NumPyro distribution of a declaration.

    Parameters
    ----------
    declared : Distribution
        A declaration, or a NumPyro distribution, which is returned as it is.

    Returns
    -------
    numpyro.distributions.Distribution

    Raises
    ------
    UnsupportedError
        If no row of the table knows the class, or a mixture's components cannot be mixed.
    ShapeError
        If parameters do not broadcast.

    Examples
    --------
    >>> lower(distributions.Normal([0.0, 1.0], 1.0).to_event(1)).event_shape
    (2,)
    """
    if isinstance(declared, dist.Distribution):
        return declared
    declared = declared.reduced if isinstance(declared, Formula) else declared
    make = _written if isinstance(declared, Formula) else TABLE.get(type(declared))
    if make is None:
        raise UnsupportedError(
            explain(
                "the JAX backend",
                "a distribution of elboroom or of NumPyro",
                f"an object of class {type(declared).__module__}.{type(declared).__qualname__}",
                "use one of elboroom.ppl.distributions, or CustomDist for a density of your own",
            )
        )
    try:
        return make(declared)
    except (TypeError, ValueError) as error:
        shapes = {name: np.shape(value) for name, value in declared.params.items() if np.ndim(value)}
        if len(shapes) < 1 or "shape" not in str(error):
            raise
        got = ", ".join(f"{name} of shape {shape}" for name, shape in shapes.items())
        raise ShapeError(
            explain(
                type(declared).__name__,
                "parameters whose shapes broadcast",
                got,
                "check the lengths, or insert an axis with er.math.expand_dims",
            )
        ) from error


_SINGLETONS = (
    (numpyro_constraints.real, constraints.real),
    (numpyro_constraints.positive, constraints.positive),
    (numpyro_constraints.nonnegative, constraints.nonnegative),
    (numpyro_constraints.unit_interval, constraints.unit_interval),
    (numpyro_constraints.circular, constraints.circular),
    (numpyro_constraints.boolean, constraints.boolean),
    (numpyro_constraints.nonnegative_integer, constraints.nonnegative_integer),
    (numpyro_constraints.positive_integer, constraints.integer_interval(1, None)),
    (numpyro_constraints.real_vector, constraints.real_vector),
    (numpyro_constraints.simplex, constraints.simplex),
    (numpyro_constraints.ordered_vector, constraints.ordered_vector),
    (numpyro_constraints.positive_ordered_vector, constraints.positive_ordered_vector),
    (numpyro_constraints.lower_cholesky, constraints.lower_cholesky),
    (numpyro_constraints.corr_cholesky, constraints.corr_cholesky),
    (numpyro_constraints.corr_matrix, constraints.corr_matrix),
    (numpyro_constraints.positive_definite, constraints.positive_definite),
    # Last, so that the plain name wins on the way back.
    (numpyro_constraints.softplus_positive, constraints.positive),
    (numpyro_constraints.softplus_lower_cholesky, constraints.lower_cholesky),
    (numpyro_constraints.real_matrix, constraints.independent(constraints.real, 2)),
)


def constraint_of(support: Any) -> Constraint:
    """Our constraint of a NumPyro one.

    `constraints.dependent` where bounds are traced, or where the set has no name here.

    Examples
    --------
    >>> constraint_of(numpyro_constraints.interval(0, 2))
    Interval(lower=0.0, upper=2.0)
    """
    for theirs, ours in _SINGLETONS:
        if support is theirs or (type(support) is type(theirs) and support == theirs):
            return ours
    if isinstance(support, numpyro_constraints.independent):
        return constraints.independent(
            constraint_of(support.base_constraint), support.reinterpreted_batch_ndims
        )
    if isinstance(support, numpyro_constraints.zero_sum):
        return constraints.zero_sum(support.event_dim)
    make = _BOUNDED.get(type(support))
    if make is not None:
        names = [name for name in ("lower_bound", "upper_bound") if hasattr(support, name)]
        bounds = [concrete(getattr(support, name)) for name in names]
        if all(bound is not None for bound in bounds):
            return make(*bounds)
    return constraints.Dependent(
        _attribute(support, "event_dim", 0), _attribute(support, "is_discrete", False)
    )


def _attribute(support: Any, name: str, default: Any) -> Any:
    """A property that NumPyro's dependent constraints may refuse to give."""
    try:
        return getattr(support, name)
    except NotImplementedError:
        return default


_BOUNDED: Mapping[type, Callable[..., Constraint]] = MappingProxyType(
    {
        numpyro_constraints.interval: constraints.interval,
        numpyro_constraints.open_interval: constraints.interval,
        numpyro_constraints.greater_than: constraints.greater_than,
        numpyro_constraints.greater_than_eq: lambda low: constraints.greater_than(low, closed=True),
        numpyro_constraints.less_than: constraints.less_than,
        numpyro_constraints.less_than_eq: lambda high: constraints.less_than(high, closed=True),
        numpyro_constraints.multinomial: constraints.counts,
        numpyro_constraints.integer_interval: constraints.integer_interval,
        numpyro_constraints.integer_greater_than: lambda low: constraints.integer_interval(low, None),
    }
)


def _bound(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, tuple) else value


def to_numpyro_constraint(constraint: Constraint) -> Any:
    """The NumPyro constraint of ours, or of NumPyro itself, which is returned as it is.

    Raises
    ------
    UnsupportedError
        For `constraints.dependent`, whose bounds are unknown.

    Examples
    --------
    >>> to_numpyro_constraint(constraints.greater_than(1.0))
    GreaterThan(lower_bound=1.0)
    """
    if isinstance(constraint, numpyro_constraints.Constraint):
        return constraint
    for theirs, ours in _SINGLETONS:
        if constraint == ours:
            return theirs
    match constraint:
        case constraints.Independent(base, num_axes):
            return numpyro_constraints.independent(to_numpyro_constraint(base), num_axes)
        case constraints.Interval(low, high):
            return numpyro_constraints.interval(_bound(low), _bound(high))
        case constraints.GreaterThan(low, closed):
            make = numpyro_constraints.greater_than_eq if closed else numpyro_constraints.greater_than
            return make(_bound(low))
        case constraints.LessThan(high, closed):
            make = numpyro_constraints.less_than_eq if closed else numpyro_constraints.less_than
            return make(_bound(high))
        case constraints.ZeroSum(num_axes):
            return numpyro_constraints.zero_sum(num_axes)
        case constraints.Counts(total):
            return numpyro_constraints.multinomial(_bound(total))
        case constraints.IntegerInterval(low, None):
            return numpyro_constraints.integer_greater_than(_bound(low))
        case constraints.IntegerInterval(low, high):
            return numpyro_constraints.integer_interval(_bound(low), _bound(high))
    raise UnsupportedError(
        explain(
            "the JAX backend",
            "a constraint with known bounds",
            getattr(constraint, "words", repr(constraint)),
            "give the bounds as numbers, as in constraints.interval(0, 1)",
        )
    )

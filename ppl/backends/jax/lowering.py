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

from ... import distributions
from ..lowering import Lowering
from ..supports import Supports
from . import laws, logits

__all__ = ["TABLE", "constraint_of", "lower", "to_numpyro_constraint"]

WHERE = "the JAX backend"


def _array(value: Any) -> Any:
    """A parameter that NumPyro can compute with: pandas, xarray and lists become NumPy arrays."""
    if isinstance(value, (int, float, np.ndarray, np.generic, jax.Array)):
        return value
    return np.asarray(value)


def _leaf(value: Any, whole: bool) -> jax.Array:
    """A parameter of a formula as a JAX array."""
    array = jnp.asarray(_array(value))
    # Naming the type drops JAX's weak typing, which would let a constant lower the precision.
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(array.dtype if floating or whole else jnp.result_type(float))


def _row(law: Callable[..., Any], validate: bool) -> Callable[[Any], Any]:
    """A row whose parameters carry the same names on both sides."""

    def make(declared):
        given = {name: _array(value) for name, value in declared.params.items()}
        return law(**given, validate_args=validate)

    return make


def _scalar(law: Callable[..., Any]) -> Callable[[Any], Any]:
    """A law of single values: log density minus infinity outside the support."""
    return _row(law, True)


def _plain(law: Callable[..., Any]) -> Callable[[Any], Any]:
    """A law of vectors, where rounding puts good values a hair outside; or one that masks for itself."""
    return _row(law, False)


ROWS: Mapping[type, Callable[[Any], dist.Distribution]] = MappingProxyType(
    {
        distributions.Bernoulli: _scalar(logits.bernoulli),
        distributions.Beta: _scalar(dist.Beta),
        distributions.Binomial: _scalar(logits.binomial),
        distributions.Categorical: _scalar(dist.Categorical),
        distributions.Cauchy: _scalar(dist.Cauchy),
        distributions.Dirichlet: _plain(dist.Dirichlet),
        distributions.Exponential: _scalar(dist.Exponential),
        distributions.Gamma: _scalar(dist.Gamma),
        distributions.HalfCauchy: _scalar(dist.HalfCauchy),
        distributions.HalfNormal: _scalar(dist.HalfNormal),
        distributions.InverseGamma: _scalar(dist.InverseGamma),
        distributions.LKJCholesky: _plain(dist.LKJCholesky),
        distributions.Laplace: _scalar(dist.Laplace),
        distributions.LogNormal: _scalar(dist.LogNormal),
        distributions.MultivariateNormal: _plain(dist.MultivariateNormal),
        distributions.Normal: _scalar(dist.Normal),
        distributions.Poisson: _scalar(dist.Poisson),
        distributions.StudentT: _scalar(dist.StudentT),
        distributions.Uniform: _scalar(dist.Uniform),
    }
)

_SUPPORTS = Supports(numpyro_constraints, np.asarray, WHERE)
_LOWERING = Lowering(
    where=WHERE,
    library="NumPyro",
    kind=dist.Distribution,
    laws=laws,
    rows=ROWS,
    supports=_SUPPORTS,
    asarray=_array,
    leaf=_leaf,
    trouble=(TypeError, ValueError),
    words=("shape",),
)
TABLE = _LOWERING.table


def lower(declared: Any) -> dist.Distribution:
    """The NumPyro distribution of a declaration, see `Lowering.lower`.

    Examples
    --------
    >>> lower(distributions.Normal([0.0, 1.0], 1.0).to_event(1)).event_shape
    (2,)
    """
    return _LOWERING.lower(declared)


def constraint_of(support: Any) -> Any:
    """Our constraint of a NumPyro one, see `Supports.ours`.

    Examples
    --------
    >>> constraint_of(numpyro_constraints.interval(0, 2))
    Interval(lower=0.0, upper=2.0)
    """
    return _SUPPORTS.ours(support)


def to_numpyro_constraint(constraint: Any) -> Any:
    """The NumPyro constraint of ours, see `Supports.theirs`.

    Examples
    --------
    >>> from elboroom.ppl import constraints
    >>> to_numpyro_constraint(constraints.greater_than(1.0))
    GreaterThan(lower_bound=1.0)
    """
    return _SUPPORTS.theirs(constraint)

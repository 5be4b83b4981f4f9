"""Declarations to Pyro distributions, one table row each, and constraints in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch

from ... import distributions
from ..lowering import Lowering
from ..supports import Supports
from . import laws
from .constraints import NAMES
from .namespace import asarray

__all__ = ["TABLE", "constraint_of", "lower", "to_torch_constraint"]

WHERE = "the torch backend"


def _leaf(value: Any, whole: bool = False) -> torch.Tensor:
    """A parameter as a tensor; whole numbers become floating-point, unless they are to stay `whole`."""
    found = asarray(value)
    return found if found.dtype.is_floating_point or whole else found.to(torch.float64)


def _row(make: Callable[..., Any]) -> Callable[[Any], Any]:
    """A row whose parameters carry the same names on both sides."""

    def lowered(declared):
        given = {name: _leaf(value) for name, value in declared.params.items()}
        return make(**given, validate_args=False)

    return lowered


def _multivariate_normal(declared):
    given = {name: _leaf(value) for name, value in declared.params.items()}
    matrix = next(v for k, v in given.items() if k != "loc")
    loc = given["loc"]
    given["loc"] = loc.broadcast_to(torch.broadcast_shapes(loc.shape, matrix.shape[-1:]))
    return dist.MultivariateNormal(**given, validate_args=False)


def _lkj(declared):
    return laws.LKJCholesky(int(declared.dimension), _leaf(declared.concentration), validate_args=False)


ROWS: Mapping[type, Callable[[Any], Any]] = MappingProxyType(
    {
        distributions.Bernoulli: _row(laws.Bernoulli),
        distributions.Beta: _row(dist.Beta),
        distributions.Binomial: _row(laws.Binomial),
        distributions.Categorical: _row(dist.Categorical),
        distributions.Cauchy: _row(dist.Cauchy),
        distributions.Dirichlet: _row(dist.Dirichlet),
        distributions.Exponential: _row(laws.Exponential),
        distributions.Gamma: _row(laws.Gamma),
        distributions.HalfCauchy: _row(laws.HalfCauchy),
        distributions.HalfNormal: _row(laws.HalfNormal),
        distributions.InverseGamma: _row(dist.InverseGamma),
        distributions.LKJCholesky: _lkj,
        distributions.Laplace: _row(dist.Laplace),
        distributions.LogNormal: _row(dist.LogNormal),
        distributions.MultivariateNormal: _multivariate_normal,
        distributions.Normal: _row(dist.Normal),
        distributions.Poisson: _row(laws.Poisson),
        distributions.StudentT: _row(laws.StudentT),
        distributions.Uniform: _row(dist.Uniform),
    }
)

_SUPPORTS = Supports(NAMES, lambda bound: torch.as_tensor(np.asarray(bound, float)), WHERE)
_LOWERING = Lowering(
    where=WHERE,
    library="Pyro",
    kind=torch.distributions.Distribution,
    laws=laws,
    rows=ROWS,
    supports=_SUPPORTS,
    asarray=asarray,
    leaf=_leaf,
    trouble=(RuntimeError, TypeError, ValueError),
    words=("shape", "size", "broadcast"),
)
TABLE = _LOWERING.table


def lower(declared: Any) -> Any:
    """The Pyro distribution of a declaration, see `Lowering.lower`."""
    return _LOWERING.lower(declared)


def constraint_of(support: Any) -> Any:
    """Our constraint of a PyTorch one, see `Supports.ours`."""
    return _SUPPORTS.ours(support)


def to_torch_constraint(constraint: Any) -> Any:
    """The PyTorch constraint of ours, see `Supports.theirs`."""
    return _SUPPORTS.theirs(constraint)

"""Distributions as declarations, with NumPyro's names for their parameters.

Each is a frozen dataclass. A backend's table of lowerings turns it into a distribution that computes.
"""

from __future__ import annotations

from .base import Distribution
from .chain import MarkovChain
from .composite import CustomDist, ImproperUniform, MixtureSameFamily, Ordered
from .continuous import (
    Beta,
    Cauchy,
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    InverseGamma,
    Laplace,
    LogNormal,
    Normal,
    StudentT,
    TruncatedNormal,
    Uniform,
)
from .discrete import Bernoulli, Binomial, Categorical, NegativeBinomial, OrderedLogistic, Poisson
from .multivariate import Dirichlet, LKJCholesky, MultivariateNormal

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "CustomDist",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "Gamma",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "ImproperUniform",
    "InverseGamma",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "MarkovChain",
    "MixtureSameFamily",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "Ordered",
    "OrderedLogistic",
    "Poisson",
    "StudentT",
    "TruncatedNormal",
    "Uniform",
]

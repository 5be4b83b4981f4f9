"""Distributions as declarations, with NumPyro's names for their parameters.

Each is a frozen dataclass. A backend's table of lowerings turns it into a distribution that computes; a
`Formula` brings its density along, in words that every backend follows.
"""

from __future__ import annotations

from .base import Distribution
from .bounded import Censored, Truncated
from .chain import MarkovChain
from .composite import CustomDist, ImproperUniform, MixtureSameFamily, Ordered
from .continuous import (
    Beta,
    Cauchy,
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Laplace,
    LogNormal,
    Normal,
    StudentT,
    Uniform,
)
from .count_vectors import DirichletMultinomial, Multinomial
from .counts import (
    BetaBinomial,
    Geometric,
    Hurdle,
    HurdleNegativeBinomial,
    HurdlePoisson,
    ZeroInflated,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from .dense import CAR, MatrixNormal, MultivariateStudentT, StickBreaking
from .discrete import Bernoulli, Binomial, Categorical, NegativeBinomial, Poisson
from .half_line import ChiSquare, HalfStudentT, Pareto, VonMises, Weibull
from .integers import DiscreteUniform, Skellam
from .intervals import IntervalCensored
from .line import AsymmetricLaplace, Gumbel, Logistic, SkewNormal
from .matrices import LKJ, InverseWishart, Wishart
from .mixture import Mixture
from .multivariate import Dirichlet, LKJCholesky, MultivariateNormal
from .ordered import OrderedLogistic, OrderedProbit
from .series import AR, GaussianRandomWalk
from .shares import ContinuousBernoulli, Interpolated, Kumaraswamy
from .skewed import ExGaussian, GeneralizedPareto, Rice, Wald
from .truncated_normal import TruncatedNormal
from .vectors import ICAR, LowRankMultivariateNormal, ZeroSumNormal

__all__ = [  # noqa: RUF022  in plain alphabetical order, as a test holds all public names
    "AR",
    "AsymmetricLaplace",
    "Bernoulli",
    "Beta",
    "BetaBinomial",
    "Binomial",
    "CAR",
    "Categorical",
    "Cauchy",
    "Censored",
    "ChiSquare",
    "ContinuousBernoulli",
    "CustomDist",
    "Dirichlet",
    "DirichletMultinomial",
    "DiscreteUniform",
    "Distribution",
    "ExGaussian",
    "Exponential",
    "Gamma",
    "GaussianRandomWalk",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Hurdle",
    "HurdleNegativeBinomial",
    "HurdlePoisson",
    "ICAR",
    "ImproperUniform",
    "Interpolated",
    "IntervalCensored",
    "InverseGamma",
    "InverseWishart",
    "Kumaraswamy",
    "LKJ",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "Logistic",
    "LowRankMultivariateNormal",
    "MarkovChain",
    "MatrixNormal",
    "Mixture",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "MultivariateStudentT",
    "NegativeBinomial",
    "Normal",
    "Ordered",
    "OrderedLogistic",
    "OrderedProbit",
    "Pareto",
    "Poisson",
    "Rice",
    "Skellam",
    "SkewNormal",
    "StickBreaking",
    "StudentT",
    "Truncated",
    "TruncatedNormal",
    "Uniform",
    "VonMises",
    "Wald",
    "Weibull",
    "Wishart",
    "ZeroInflated",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
    "ZeroSumNormal",
]

_FOREIGN = {"Categorical": "nominal", "Ordered": "ordinal", "Bernoulli": "binary"}


def measure_of(name: str, is_discrete: bool) -> str:
    """What values of a law are, see `Distribution.measure`; of a library's own law by what its name says."""
    known = globals().get(name) if name in __all__ else None
    if isinstance(known, type) and issubclass(known, Distribution):
        return known.measure
    return next((m for part, m in _FOREIGN.items() if is_discrete and part in name), "")


def is_censored(name: str) -> bool:
    """Whether a law is `Distribution.censored`."""
    return name in __all__ and bool(getattr(globals()[name], "censored", False))

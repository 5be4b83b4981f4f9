"""Elboroom: declare a model; get a posterior with the evidence that it can be trusted.

The front door: every public name, imported from its room when it is first used, so that ``import elboroom``
itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import Any

from .ppl.interrupts import deferred, in_words

__version__ = "0.1.0"

_NAMES = {
    "ppl.model": ("Model", "Program", "model"),
    "ppl.foreign": ("from_numpyro", "from_pyro"),
    "ppl.primitives": ("deterministic", "factor", "levels", "observe", "plate", "sample", "scan"),
    "ppl.odes": ("odeint",),
    "ppl.modules": ("module", "param"),
    "ppl.codebook": ("Codebook",),
    "ppl.distributions.one_hot": ("OneHotCategorical",),
    "ppl.spool": ("spool",),
    "ppl.graph": ("ModelGraph",),
    "ppl.target": ("Target",),
    "ppl.distributions": (
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
    ),
    "ppl.errors": (
        "BackendError",
        "DataError",
        "DuplicateSiteError",
        "ElboroomError",
        "GuideError",
        "InferenceError",
        "MissingBackendError",
        "ModelError",
        "OutOfMemoryError",
        "RegistryError",
        "ShapeError",
        "SignatureError",
        "SupportError",
        "UnsupportedError",
    ),
    "guides": (
        "Adversarial",
        "Amortized",
        "Delta",
        "Flow",
        "FullRank",
        "LowRank",
        "MeanField",
        "Quantized",
        "Structured",
        "VariationalDropout",
    ),
    "inference.fit": ("fit",),
    "inference.batches.minibatch": ("Minibatch",),
    "inference.svi": ("SVI",),
    "inference.private.asked": ("Private",),
    "inference.federate.federate": ("federate",),
    "inference.posterior.posterior": ("Posterior",),
    "diagnostics.blame": ("blame",),
    "diagnostics.calibrated": ("calibration",),
    "diagnostics.compare": ("compare",),
    "diagnostics.effects": ("effects",),
    "diagnostics.ladder_report": ("ladder_report",),
    "diagnostics.why": ("why",),
    "inference.posterior.imported": ("from_datatree",),
    "inference.posterior.load": ("load",),
    "inference.evidence.finding": ("Finding",),
    "operations.exposition": ("Exposition",),
    "operations.logs": ("json_logs",),
    "operations.metrics.measured": ("metrics",),
    "operations.trackers.tracker": ("Tracker",),
    "operations.drift.drift": ("drift",),
    "operations.registry": ("Registry",),
    "operations.keys": ("Key",),
    "operations.trust": ("Trust",),
    "operations.signing": ("sign",),
    "operations.monitor": ("Monitor",),
    "operations.retraining.retrain": ("Terms", "retrain"),
    "operations.retraining.triggers": ("Triggers",),
    "operations.canary.canary": ("Canary",),
    "operations.canary.ab": ("ab",),
    "operations.schema.schema": ("schema",),
    "operations.serving.app": ("app",),
    "operations.serving.server": ("serve",),
    "operations.serving.tokens": ("Tokens",),
    "operations.export.export": ("export",),
}
_MODULES = {
    "guides": "guides",
    "gp": "ppl.gp",
    "math": "ppl.math",
    "nn": "ppl.nn",
    "objectives": "inference.deep.objectives",
    "plots": "diagnostics.plots",
    "priors": "ppl.priors",
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    home = _MODULES.get(name) or _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with in_words(f"while it was loading {name}: nothing has begun"), deferred():  # half an import would stay
        module = importlib.import_module(f"{__name__}.{home}")
    globals()[name] = value = module if name in _MODULES else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

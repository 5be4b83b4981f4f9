"""Laws whose density is written once, in ``er.math``: against SciPy or an independent formula, on the JAX backend.

One row per law: a declaration with several parameter values and its log density out to the tails, and a plain
declaration whose draws have known marginal laws.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from elboroom.ppl import constraints
from elboroom.ppl import distributions as er
from elboroom.ppl.backends.jax.lowering import constraint_of, lower, to_numpyro_constraint
from elboroom.ppl.distributions.formula import Formula, flatten, rebuild
from elboroom.ppl.distributions.tails import TAILS, log_tails
from elboroom.ppl.errors import ModelError, ShapeError, SupportError, UnsupportedError
from numpyro.distributions import biject_to
from quick import quickly
from scipy import integrate, special, stats

NUM_DRAWS = 4_000
P_VALUE = 1e-4  # one fixed seed per row, about sixty tests: a right sampler fails with probability 0.006

A = np.array([-3.0, 0.0, 2.5])
B = np.array([0.2, 1.0, 9.0])
LINE = np.array([-30.0, -6.0, -0.3, 0.0, 1.0, 8.0, 30.0])[:, None]
HALF = np.array([1e-8, 1e-3, 0.4, 1.0, 3.0, 40.0])[:, None]
COUNT = np.arange(40)
LAST = COUNT[-1]
WEIGHTS = np.array([0.2, 0.5, 0.3])
CUTS = np.array([-1.0, 0.5, 2.0])
ODDS = np.array([-30.0, 1e-7, 0.0999, 0.1001, 4.0])  # on both sides of where the series of the constant ends


class Row(NamedTuple):
    """A law: its declaration, values and log density; and draws with known marginal laws."""

    declared: er.Distribution
    values: np.ndarray
    log_prob: Any
    plain: er.Distribution
    marginals: tuple[tuple[Callable[[np.ndarray], np.ndarray], Any], ...]


def same(x):
    return x


def line(ours, law, *shape):
    """A law of real numbers, next to SciPy's with the shape parameters in front."""
    values = A + B * LINE
    return Row(
        ours(A, B, *shape),
        values,
        law.logpdf(values, *shape, A, B),
        ours(1.0, 2.0, *shape),
        ((same, law(*shape, 1.0, 2.0).cdf),),
    )


def counting(declared, pmf):
    """A law of one count with a table of probabilities that covers nearly all of it."""
    return Row(declared, COUNT, np.log(pmf), declared, ((same, lambda k: np.interp(k, COUNT, pmf)),))


def inflated(pmf, gate):
    return gate * (COUNT == 0) + (1 - gate) * pmf


def continuous_bernoulli(x, odds):
    """Its log density, the constant by quadrature."""
    areas = [integrate.quad(lambda t, eta=eta: np.exp(eta * t), 0, 1, epsabs=0)[0] for eta in odds]
    with np.errstate(divide="ignore"):
        return x * odds - np.log(areas) + np.log((x >= 0) & (x <= 1))


def hurdle(pmf, gate):
    return np.where(COUNT == 0, gate, (1 - gate) * pmf / (1 - pmf[0]))


def bounded(declared, law, low, high):
    """A truncated law: values within and beyond its bounds."""
    x = np.linspace(max(low, law.ppf(1e-3)), min(high, law.ppf(1 - 1e-3)), 7)[1:-1]
    beyond = np.array([v for v in (low - 1.0, high + 1.0) if np.isfinite(v)])
    mass = law.cdf(high) - law.cdf(low)
    return Row(
        declared,
        np.append(x, beyond),
        np.append(law.logpdf(x) - np.log(mass), np.full(len(beyond), -np.inf)),
        declared,
        ((same, lambda v: (law.cdf(v) - law.cdf(low)) / mass),) if np.isfinite([low, high]).all() else (),
    )


def bounded_counts(declared, law, low, high):
    pmf = law.pmf(COUNT) * ((low <= COUNT) & (high >= COUNT))
    with np.errstate(divide="ignore"):
        return counting(declared, pmf / (law.cdf(high) - law.cdf(low - 1)))


def censored(declared, law, lower, upper):
    """A censored law: at, beyond and between its bounds; draws pile up at them."""
    inside = np.linspace(max(lower, law.ppf(0.01)), min(upper, law.ppf(0.99)), 5)[1:-1]
    ends = [(v, law.logcdf(lower)) for v in (lower, lower - 1e-3) if np.isfinite(lower)]
    ends += [(v, law.logsf(upper)) for v in (upper, upper + 1.0) if np.isfinite(upper)]
    at, mass = np.array(ends).T
    values, log_prob = np.append(inside, at), np.append(law.logpdf(inside), mass)
    code = lambda x: np.where(x <= lower, 0, np.where(x >= upper, 2, 1))  # noqa: E731
    middle = law.cdf(upper) - law.cdf(lower)
    shares = np.array([law.cdf(lower), middle, law.sf(upper)])
    return Row(declared, values, log_prob, declared, ((code, lambda k: shares[k]),))


def gaussian_vector(declared, mean, covariance, values):
    """A law of normal vectors: its density, and draws along a direction and at a distance."""
    direction, precision = np.linspace(1.0, -0.4, len(mean)), np.linalg.inv(covariance)
    along = stats.norm(direction @ mean, np.sqrt(direction @ covariance @ direction))
    distance = lambda x: np.einsum("ni,ij,nj->n", x - mean, precision, x - mean)  # noqa: E731
    return Row(
        declared,
        values,
        stats.multivariate_normal(mean, covariance).logpdf(values),
        declared,
        ((lambda x: x @ direction, along.cdf), (distance, stats.chi2(len(mean)).cdf)),
    )


def ar_covariance(coefficients, scale, size):
    """Of a stationary process, from its representation as an infinite moving average."""
    weights = np.zeros(4_000)
    weights[0] = 1.0
    for t in range(1, len(weights)):
        for i, c in enumerate(coefficients[:t]):
            weights[t] += c * weights[t - 1 - i]
    gamma = [scale**2 * weights[k:] @ weights[: len(weights) - k] for k in range(size)]
    return np.array([[gamma[abs(i - j)] for j in range(size)] for i in range(size)])


def matrix_law(ours, law, direction):
    """A law of covariance matrices, next to SciPy's; a quadratic form of its draws is a scaled chi-square."""
    declared = ours(6.0, COVARIANCE)
    values = np.stack([law(6, COVARIANCE).rvs(random_state=i) for i in range(4)])
    log_prob = np.array([law(6, COVARIANCE).logpdf(x) for x in values])
    if law is stats.wishart:
        scale = direction @ COVARIANCE @ direction
        form = lambda x: np.einsum("nij,i,j->n", x, direction, direction) / scale  # noqa: E731
    else:
        scale = direction @ np.linalg.solve(COVARIANCE, direction)
        form = lambda x: np.einsum("nij,i,j->n", np.linalg.inv(x), direction, direction) / scale  # noqa: E731
    return Row(declared, values, log_prob, declared, ((form, stats.chi2(6).cdf),))


def mixed(x):
    """Distribution function of the row "Mixture"."""
    half = 2 * stats.norm.cdf(np.maximum(x, 0.0)) - 1
    return 0.5 * stats.norm.cdf(x, 1.0) + 0.2 * stats.lognorm.cdf(x, 1.0, scale=np.e) + 0.3 * half


def mixed_density(x):
    half = 2 * stats.norm.pdf(x) * (x >= 0)
    return 0.5 * stats.norm.pdf(x, 1.0) + 0.2 * stats.lognorm.pdf(x, 1.0, scale=np.e) + 0.3 * half


COVARIANCE = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.1], [-0.3, 0.1, 0.5]])
LOADINGS = np.array([[1.0, 0.2], [-0.5, 1.0], [0.3, 0.4], [2.0, -1.0]])
PATHS = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, -2.0, 0.5, 3.0], [30.0, 20.0, -40.0, 7.0]])
STEPS = np.arange(1.0, 5.0)
PHI = np.array([0.6, -0.3, 0.2])
INNOVATIONS = np.linalg.inv(np.eye(4) - sum(c * np.eye(4, k=-1 - i) for i, c in enumerate(PHI)))
EDGES = np.array([[0, 1], [1, 2], [0, 2], [2, 3]])
LEVELLED = np.linalg.pinv(np.array([[2, -1, -1, 0], [-1, 2, -1, 0], [-1, -1, 3, -1], [0, 0, -1, 1.0]]))
CENTRED = PATHS - PATHS.mean(-1, keepdims=True)
CORRELATIONS = np.array([[[1, 0.5, -0.2], [0.5, 1, 0.3], [-0.2, 0.3, 1]], np.eye(3)])
POISSON, NEGATIVE_BINOMIAL = stats.poisson(3.5), stats.nbinom(2.0, 0.4)
TABLES = np.array([[2, 5, 3], [0, 10, 0], [1, 1, 8]])
BOUNDABLE = {
    "Normal": (er.Normal(1.0, 2.0), stats.norm(1.0, 2.0)),
    "LogNormal": (er.LogNormal(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "StudentT": (er.StudentT(3.0, 1.0, 2.0), stats.t(3.0, 1.0, 2.0)),
    "Logistic": (er.Logistic(1.0, 2.0), stats.logistic(1.0, 2.0)),
    "Gumbel": (er.Gumbel(1.0, 2.0), stats.gumbel_r(1.0, 2.0)),
    "Exponential": (er.Exponential(0.5), stats.expon(scale=2.0)),
    "Gamma": (er.Gamma(2.5, 0.7), stats.gamma(2.5, scale=1 / 0.7)),
    "Weibull": (er.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2.0)),
}

ADJACENT = np.zeros((4, 4))
ADJACENT[EDGES[:, 0], EDGES[:, 1]] = ADJACENT[EDGES[:, 1], EDGES[:, 0]] = 1.0
PLACES, HEIGHTS = np.array([-1.0, 0.0, 1.0, 3.0]), np.array([0.0, 3.0, 1.0, 1.0])
FINE = np.linspace(-1.0, 3.0, 40_001)


def kumaraswamy(x, a, b):
    with np.errstate(all="ignore"):
        density = np.log(a * b) + (a - 1) * np.log(x) + (b - 1) * np.log1p(-(x**a))
    return np.where((x > 0) & (x < 1), density, -np.inf)


def skellam(k, one, two):
    """From the sum over the second count, without Bessel functions."""
    m = np.arange(2500)[:, None, None]
    return special.logsumexp(stats.poisson.logpmf(m + k, one) + stats.poisson.logpmf(m, two), axis=0)


def sticks(shares, concentration):
    """From the beta laws of the breaks, with the determinant of the map from breaks to pieces."""
    left = 1 - np.cumsum(shares, -1)[:, :-2]
    breaks = np.column_stack([shares[:, 0], shares[:, 1:-1] / left])
    return stats.beta(1, concentration).logpdf(breaks).sum(-1) - np.log(left).sum(-1)


ROWS: dict[str, Row] = {
    "Logistic": line(er.Logistic, stats.logistic),
    "Gumbel": line(er.Gumbel, stats.gumbel_r),
    "AsymmetricLaplace": Row(
        er.AsymmetricLaplace(A, B, 3.0),
        A + B * LINE,
        stats.laplace_asymmetric.logpdf(A + B * LINE, 3.0, A, B),
        er.AsymmetricLaplace(1.0, 2.0, 3.0),
        ((same, stats.laplace_asymmetric(3.0, 1.0, 2.0).cdf),),
    ),
    "SkewNormal": Row(
        er.SkewNormal(A, B, 2.0),
        A + B * LINE,
        np.log(2) + stats.norm.logpdf(LINE) + special.log_ndtr(2.0 * LINE) - np.log(B),
        er.SkewNormal(1.0, 2.0, 2.0),
        ((same, stats.skewnorm(2.0, 1.0, 2.0).cdf),),
    ),
    "Weibull": Row(
        er.Weibull(B, 1.7),
        np.append(HALF * B, [B * 0, -B], axis=0),
        np.append(stats.weibull_min.logpdf(HALF * B, 1.7, scale=B), np.full((2, 3), -np.inf), axis=0),
        er.Weibull(2.0, 1.5),
        ((same, stats.weibull_min(1.5, scale=2.0).cdf),),
    ),
    "Pareto": Row(
        er.Pareto(B, 1.7),
        B * np.array([0.5, 1.0, 3.0, 1e8])[:, None],
        stats.pareto.logpdf(np.array([0.5, 1.0, 3.0, 1e8])[:, None] * B, 1.7, scale=B),
        er.Pareto(2.0, 1.5),
        ((same, stats.pareto(1.5, scale=2.0).cdf),),
    ),
    "ChiSquare": Row(
        er.ChiSquare(B * 3),
        HALF + 0 * B,
        stats.chi2.logpdf(HALF, B * 3),
        er.ChiSquare(3.0),
        ((same, stats.chi2(3.0).cdf),),
    ),
    "VonMises": Row(
        er.VonMises(A, B * 10),
        np.linspace(-3.1, 3.1, 5)[:, None] + 0 * A,
        stats.vonmises.logpdf(np.linspace(-3.1, 3.1, 5)[:, None], B * 10, A),
        er.VonMises(2.0, 3.0),
        ((lambda x: np.mod(x - 2.0 + np.pi, 2 * np.pi) - np.pi, stats.vonmises(3.0).cdf),),
    ),
    "Geometric probs": counting(er.Geometric(0.3), 0.3 * 0.7**COUNT),
    "Geometric logits": counting(
        er.Geometric(logits=-0.5), special.expit(-0.5) * special.expit(0.5) ** COUNT
    ),
    "BetaBinomial": counting(er.BetaBinomial(2.0, 3.0, LAST), stats.betabinom(LAST, 2.0, 3.0).pmf(COUNT)),
    "ZeroInflated": Row(
        er.ZeroInflated(er.Binomial(LAST, 0.3), gate_logits=-1.0),
        COUNT,
        np.log(inflated(stats.binom(LAST, 0.3).pmf(COUNT), special.expit(-1.0))),
        er.ZeroInflated(er.Binomial(LAST, 0.3), gate_logits=-1.0),
        ((same, lambda k: inflated(stats.binom(LAST, 0.3).pmf(COUNT), special.expit(-1.0))[k]),),
    ),
    **{
        f"{word} {name}": Row(
            make(base, 0.3),
            np.array([0.0, 1e-3, 0.4, 0.9]),
            np.append(np.log(0.3), np.log(0.7) + law.logpdf([1e-3, 0.4, 0.9])),
            make(base, 0.3),
            ((lambda x: 1 * (x > 0), lambda k: np.where(k == 0, 0.3, 0.7)), (lambda x: x[x > 0], law.cdf)),
        )
        for name, base, law in (
            ("Gamma", er.Gamma(2.0, 1.5), stats.gamma(2.0, scale=1 / 1.5)),
            ("LogNormal", er.LogNormal(0.2, 0.7), stats.lognorm(0.7, scale=np.exp(0.2))),
            ("Beta", er.Beta(2.0, 3.0), stats.beta(2.0, 3.0)),
        )
        for word, make in (("Hurdle", er.Hurdle), ("ZeroInflated", er.ZeroInflated))
    },
    "ZeroInflatedPoisson": counting(er.ZeroInflatedPoisson(0.2, 3.5), inflated(POISSON.pmf(COUNT), 0.2)),
    "ZeroInflatedNegativeBinomial": counting(
        er.ZeroInflatedNegativeBinomial(3.0, 2.0, 0.2), inflated(NEGATIVE_BINOMIAL.pmf(COUNT), 0.2)
    ),
    "HurdlePoisson": counting(er.HurdlePoisson(0.2, 3.5), hurdle(POISSON.pmf(COUNT), 0.2)),
    "HurdleNegativeBinomial": counting(
        er.HurdleNegativeBinomial(3.0, 2.0, 0.2), hurdle(NEGATIVE_BINOMIAL.pmf(COUNT), 0.2)
    ),
    "OrderedProbit": Row(
        er.OrderedProbit(np.array([-1.0, 0.3, 2.0]), CUTS),
        np.arange(4)[:, None],
        np.log(
            np.diff(
                stats.norm.cdf(
                    np.concatenate([[-np.inf], CUTS, [np.inf]])[:, None] - np.array([-1.0, 0.3, 2.0])
                ),
                axis=0,
            )
        ),
        er.OrderedProbit(0.3, CUTS),
        ((same, lambda k: np.diff(stats.norm.cdf(np.concatenate([[-np.inf], CUTS, [np.inf]]) - 0.3))[k]),),
    ),
    "Multinomial probs": Row(
        er.Multinomial(10, WEIGHTS),
        TABLES,
        stats.multinomial(10, WEIGHTS).logpmf(TABLES),
        er.Multinomial(10, WEIGHTS),
        (
            *tuple((lambda x, i=i: x[:, i], stats.binom(10, WEIGHTS[i]).pmf) for i in range(3)),
            (lambda x: x[:, 0] + x[:, 2], stats.binom(10, 0.5).pmf),
        ),
    ),
    "Multinomial logits": Row(
        er.Multinomial(np.array([10, 4]), logits=np.log(WEIGHTS) + 3),
        TABLES[:, None],
        np.stack([stats.multinomial(10, WEIGHTS).logpmf(TABLES), np.full(3, -np.inf)], -1),
        er.Multinomial(10, logits=np.log(WEIGHTS)),
        ((lambda x: x[:, 1], stats.binom(10, 0.5).pmf),),
    ),
    "DirichletMultinomial": Row(
        er.DirichletMultinomial(7 * WEIGHTS, 10),
        TABLES,
        np.array([stats.dirichlet_multinomial(7 * WEIGHTS, 10).logpmf(x) for x in TABLES]),
        er.DirichletMultinomial(7 * WEIGHTS, 10),
        tuple(
            (lambda x, i=i: x[:, i], stats.betabinom(10, 7 * WEIGHTS[i], 7 - 7 * WEIGHTS[i]).pmf)
            for i in range(3)
        ),
    ),
    **{
        f"Truncated {name} {word}": bounded(er.Truncated(declared, low, high), law, *ends)
        for name, (declared, law) in BOUNDABLE.items()
        for word, low, high in (
            ("below", law.ppf(0.3), None),
            ("above", None, law.ppf(0.6)),
            ("in between", law.ppf(0.7), law.ppf(0.9)),
        )
        for ends in [(-np.inf if low is None else low, np.inf if high is None else high)]
    },
    **{
        f"Censored {name}": censored(
            er.Censored(declared, law.ppf(0.2), law.ppf(0.7)), law, *law.ppf([0.2, 0.7])
        )
        for name, (declared, law) in BOUNDABLE.items()
    },
    "GaussianRandomWalk": gaussian_vector(
        er.GaussianRandomWalk(2.0, 4, 0.5, 1.0), 1 + 0.5 * STEPS, 4 * np.minimum.outer(STEPS, STEPS), PATHS
    ),
    "GaussianRandomWalk start_scale": gaussian_vector(
        er.GaussianRandomWalk(2.0, 4, start=1.0, start_scale=3.0),
        np.ones(4),
        9 + 4 * np.minimum.outer(STEPS - 1, STEPS - 1),
        PATHS,
    ),
    "AR": gaussian_vector(er.AR(PHI, 2.0, 4, loc=1.0), np.ones(4), ar_covariance(PHI, 2.0, 4), PATHS),
    "AR shorter than its order": gaussian_vector(
        er.AR(PHI, 2.0, 2), np.zeros(2), ar_covariance(PHI, 2.0, 2), PATHS[:, :2]
    ),
    "AR start": gaussian_vector(
        er.AR(PHI, 2.0, 4, loc=1.0, start=[3.0, 1.0, 2.0]),
        1 + INNOVATIONS @ [PHI @ [2.0, 0.0, 1.0], PHI[1:] @ [2.0, 0.0], PHI[2] * 2.0, 0.0],
        4 * INNOVATIONS @ INNOVATIONS.T,
        PATHS,
    ),
    "LowRankMultivariateNormal": gaussian_vector(
        er.LowRankMultivariateNormal(STEPS, LOADINGS, STEPS / 3),
        STEPS,
        LOADINGS @ LOADINGS.T + np.diag(STEPS / 3),
        PATHS,
    ),
    "ZeroSumNormal": Row(
        er.ZeroSumNormal(np.array([2.0, 1.0, 0.5]), 4),
        CENTRED,
        -0.5 * (CENTRED**2).sum(-1) / [4, 1, 0.25] - 3 * np.log(np.sqrt(2 * np.pi) * np.array([2, 1, 0.5])),
        er.ZeroSumNormal(2.0, 4),
        (
            (lambda x: x[:, 1], stats.norm(0, 2 * np.sqrt(3 / 4)).cdf),
            (lambda x: (x**2).sum(-1) / 4, stats.chi2(3).cdf),
        ),
    ),
    "ZeroSumNormal table": Row(
        er.ZeroSumNormal(2.0, (2, 3)),
        np.array([[[1.0, 2.0, -3.0], [-1.0, -2.0, 3.0]]]),
        np.array([-0.5 * 28 / 4 - 2 * np.log(2 * np.sqrt(2 * np.pi))]),
        er.ZeroSumNormal(2.0, (2, 3)),
        ((lambda x: (x**2).sum((-1, -2)) / 4, stats.chi2(2).cdf),),
    ),
    "Wald": Row(
        er.Wald(B, 1.7),
        np.append(HALF, [[-1.0]], axis=0) + 0 * B,
        np.append(stats.invgauss.logpdf(HALF, B / 1.7, scale=1.7), np.full((1, 3), -np.inf), axis=0),
        er.Wald(2.0, 1.5),
        ((same, stats.invgauss(2.0 / 1.5, scale=1.5).cdf),),
    ),
    "ExGaussian": Row(
        er.ExGaussian(A, B, 0.7),
        A + B * LINE,
        stats.exponnorm.logpdf(A + B * LINE, 1 / (0.7 * B), A, B),
        er.ExGaussian(1.0, 2.0, 0.7),
        ((same, stats.exponnorm(1 / 1.4, 1.0, 2.0).cdf),),
    ),
    **{
        f"GeneralizedPareto {shape}": Row(
            er.GeneralizedPareto(A, B, shape),
            A + B * np.array([-0.5, 0.0, 0.4, 1.9, 3.0])[:, None],
            stats.genpareto.logpdf(A + B * np.array([-0.5, 0.0, 0.4, 1.9, 3.0])[:, None], shape, A, B),
            er.GeneralizedPareto(1.0, 2.0, shape),
            ((same, stats.genpareto(shape, 1.0, 2.0).cdf),),
        )
        for shape in (-0.4, 0.0, 1e-5, 0.3)
    },
    "Rice": Row(
        er.Rice(B * 2, 1.5),
        np.append(HALF, [[-1.0]], axis=0) + 0 * B,
        np.append(stats.rice.logpdf(HALF, B * 2 / 1.5, scale=1.5), np.full((1, 3), -np.inf), axis=0),
        er.Rice(2.0, 1.5),
        ((same, stats.rice(2.0 / 1.5, scale=1.5).cdf),),
    ),
    "Kumaraswamy": Row(
        er.Kumaraswamy(B, 1.7),
        np.array([-0.5, 1e-6, 0.2, 0.9, 0.99, 1.5])[:, None] + 0 * B,
        kumaraswamy(np.array([-0.5, 1e-6, 0.2, 0.9, 0.99, 1.5])[:, None], B, 1.7),
        er.Kumaraswamy(2.0, 1.5),
        ((same, lambda x: 1 - (1 - x**2.0) ** 1.5),),
    ),
    **{
        f"ContinuousBernoulli {name}": Row(
            er.ContinuousBernoulli(**given),
            np.array([-0.1, 0.0, 0.3, 0.5, 0.99, 1.1])[:, None] + 0 * ODDS,
            continuous_bernoulli(np.array([-0.1, 0.0, 0.3, 0.5, 0.99, 1.1])[:, None], ODDS),
            er.ContinuousBernoulli(logits=-1.5),
            ((same, lambda x: np.expm1(-1.5 * x) / np.expm1(-1.5)),),
        )
        for name, given in (("logits", {"logits": ODDS}), ("probs", {"probs": 1 / (1 + np.exp(-ODDS))}))
    },
    "Interpolated": Row(
        er.Interpolated(PLACES, HEIGHTS),
        np.array([-2.0, -1.0, 0.3, 1.2, 2.9, 3.5]),
        np.log(np.interp([-2.0, -1.0, 0.3, 1.2, 2.9, 3.5], PLACES, HEIGHTS / 5.5, 0.0, 0.0)),
        er.Interpolated(PLACES, HEIGHTS),
        (
            (
                same,
                lambda x: np.interp(
                    x, FINE, np.cumsum(np.interp(FINE, PLACES, HEIGHTS / 5.5)) * (FINE[1] - FINE[0])
                ),
            ),
        ),
    ),
    "DiscreteUniform": Row(
        er.DiscreteUniform(-2, 4),
        np.array([-3.0, -2.0, 0.0, 4.0, 5.0, 1.5]),
        np.log([0, 1 / 7, 1 / 7, 1 / 7, 0, 0]),
        er.DiscreteUniform(-2, 4),
        ((lambda x: x + 2, lambda k: np.where(k < 7, 1 / 7, 0.0)),),
    ),
    "Skellam": Row(
        er.Skellam(np.array([0.2, 3.0, 900.0]), np.array([1.5, 2.0, 870.0])),
        np.array([-60.0, -9.0, -1.0, 0.0, 1.0, 7.0, 90.0])[:, None] + np.zeros(3),
        skellam(
            np.array([-60, -9, -1, 0, 1, 7, 90])[:, None],
            np.array([0.2, 3.0, 900.0]),
            np.array([1.5, 2.0, 870.0]),
        ),
        er.Skellam(3.0, 2.0),
        ((lambda x: x + 15, lambda k: stats.skellam(3.0, 2.0).pmf(k - 15)),),
    ),
    "MultivariateStudentT": Row(
        er.MultivariateStudentT(4.0, np.ones(3), np.linalg.cholesky(COVARIANCE)),
        PATHS[:, :3],
        stats.multivariate_t(np.ones(3), COVARIANCE, 4.0).logpdf(PATHS[:, :3]),
        er.MultivariateStudentT(4.0, np.ones(3), np.linalg.cholesky(COVARIANCE)),
        (
            (lambda x: x[:, 0], stats.t(4.0, 1.0, np.sqrt(2.0)).cdf),
            (
                lambda x: np.einsum("ni,ij,nj->n", x - 1, np.linalg.inv(COVARIANCE), x - 1) / 3,
                stats.f(3, 4).cdf,
            ),
        ),
    ),
    "MatrixNormal": Row(
        er.MatrixNormal(np.ones((2, 3)), np.array([[1.0, 0.0], [0.5, 2.0]]), np.linalg.cholesky(COVARIANCE)),
        PATHS[:, :3][:, None] * np.array([[1.0], [-0.5]]),
        np.array(
            [
                stats.matrix_normal(np.ones((2, 3)), np.array([[1.0, 0.5], [0.5, 4.25]]), COVARIANCE).logpdf(
                    x * np.array([[1.0], [-0.5]])
                )
                for x in PATHS[:, :3]
            ]
        ),
        er.MatrixNormal(np.ones((2, 3)), np.array([[1.0, 0.0], [0.5, 2.0]]), np.linalg.cholesky(COVARIANCE)),
        (
            (lambda x: x[:, 1, 0], stats.norm(1.0, np.sqrt(4.25 * 2.0)).cdf),
            (lambda x: x[:, 0, 0] + x[:, 1, 1], stats.norm(2.0, np.sqrt(2 + 4.25 + 2 * 0.5 * 0.6)).cdf),
        ),
    ),
    "CAR": gaussian_vector(
        er.CAR(STEPS, 0.7, 2.0, ADJACENT),
        STEPS,
        np.linalg.inv(2.0 * (np.diag(ADJACENT.sum(1)) - 0.7 * ADJACENT)),
        PATHS,
    ),
    "StickBreaking": Row(
        er.StickBreaking(2.5, 2),
        np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05]]),
        sticks(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05]]), 2.5),
        er.StickBreaking(2.5, 2),
        (
            (lambda x: x[:, 0], stats.beta(1, 2.5).cdf),
            (lambda x: x[:, 1] / (1 - x[:, 0]), stats.beta(1, 2.5).cdf),
        ),
    ),
    "ICAR": Row(
        er.ICAR(EDGES, 4, np.array([0.5, 2.0, 3.0])),
        CENTRED,
        -0.5 * ((CENTRED[:, EDGES[:, 0]] - CENTRED[:, EDGES[:, 1]]) ** 2).sum(-1) / [0.25, 4, 9]
        - 3 * np.log(np.sqrt(2 * np.pi) * np.array([0.5, 2.0, 3.0])),
        er.ICAR(EDGES, 4),
        (
            (lambda x: x[:, 3], stats.norm(0, np.sqrt(LEVELLED[3, 3])).cdf),
            (lambda x: ((x[:, EDGES[:, 0]] - x[:, EDGES[:, 1]]) ** 2).sum(-1), stats.chi2(3).cdf),
        ),
    ),
    "ICAR soft": Row(
        er.ICAR(EDGES, 4, zero_sum_scale=0.1),
        PATHS,
        -0.5 * ((PATHS[:, EDGES[:, 0]] - PATHS[:, EDGES[:, 1]]) ** 2).sum(-1)
        - 1.5 * np.log(2 * np.pi)
        + stats.norm(0, 0.1).logpdf(PATHS.mean(-1)),
        er.ICAR(EDGES, 4, zero_sum_scale=0.1),
        (
            (lambda x: x.mean(-1), stats.norm(0, 0.1).cdf),
            (lambda x: x[:, 3], stats.norm(0, np.sqrt(LEVELLED[3, 3] + 0.01)).cdf),
            (lambda x: ((x[:, EDGES[:, 0]] - x[:, EDGES[:, 1]]) ** 2).sum(-1), stats.chi2(3).cdf),
        ),
    ),
    "Wishart": matrix_law(er.Wishart, stats.wishart, np.array([1.0, -2.0, 0.5])),
    "InverseWishart": matrix_law(er.InverseWishart, stats.invwishart, np.array([1.0, -2.0, 0.5])),
    "LKJ": Row(
        er.LKJ(3, 2.5),
        CORRELATIONS,
        1.5 * np.log(np.linalg.det(CORRELATIONS))
        - (np.log(np.pi) / 2 * 3 + special.gammaln([3.0, 2.5]).sum() - 2 * special.gammaln(3.5)),
        er.LKJ(3, 2.5),
        tuple(
            (lambda x, i=i, j=j: x[:, i, j], stats.beta(3.0, 3.0, -1, 2).cdf)
            for i, j in ((1, 0), (2, 0), (2, 1))
        ),
    ),
    "Mixture": Row(
        er.Mixture(
            [er.Normal(1.0, 1.0), er.LogNormal(1.0, 1.0), er.Truncated(er.Normal(0.0, 1.0), low=0.0)],
            weights=[0.5, 0.2, 0.3],
        ),
        np.array([-20.0, -1.0, 0.5, 3.0, 200.0]),
        np.log(mixed_density(np.array([-20.0, -1.0, 0.5, 3.0, 200.0]))),
        er.Mixture(
            [er.Normal(1.0, 1.0), er.LogNormal(1.0, 1.0), er.Truncated(er.Normal(0.0, 1.0), low=0.0)],
            weights=[0.5, 0.2, 0.3],
        ),
        ((same, mixed),),
    ),
    "Mixture of counts": counting(
        er.Mixture([er.Poisson(3.5), er.Geometric(0.3)], logits=[1.0, 1.0]),
        0.5 * POISSON.pmf(COUNT) + 0.15 * 0.7**COUNT,
    ),
    "Mixture of vectors": Row(
        er.Mixture(
            [er.Normal(np.zeros(3), 1.0).to_event(1), er.MultivariateNormal(np.ones(3), COVARIANCE)],
            weights=[0.5, 0.5],
        ),
        PATHS[:, :3],
        special.logsumexp(
            [
                stats.norm.logpdf(PATHS[:, :3]).sum(-1),
                stats.multivariate_normal(np.ones(3), COVARIANCE).logpdf(PATHS[:, :3]),
            ],
            axis=0,
        )
        + np.log(0.5),
        er.Mixture(
            [er.Normal(np.zeros(3), 1.0).to_event(1), er.MultivariateNormal(np.ones(3), COVARIANCE)],
            weights=[0.5, 0.5],
        ),
        (
            (
                lambda x: x[:, 0],
                lambda v: 0.5 * stats.norm.cdf(v) + 0.5 * stats.norm.cdf(v, 1.0, np.sqrt(2.0)),
            ),
        ),
    ),
    "Truncated Poisson": bounded_counts(er.Truncated(er.Poisson(3.5), 2, 7), POISSON, 2, 7),
    "Truncated Poisson above": bounded_counts(er.Truncated(er.Poisson(3.5), high=4.5), POISSON, 0, 4),
    "Truncated NegativeBinomial": bounded_counts(
        er.Truncated(er.NegativeBinomial(3.0, 2.0), low=1), NEGATIVE_BINOMIAL, 1, 99
    ),
    "Censored Poisson": Row(
        er.Censored(er.Poisson(3.5), upper=6),
        np.array([0, 3, 5, 6, 9]),
        np.append(POISSON.logpmf([0, 3, 5]), [POISSON.logsf(5)] * 2),
        er.Censored(er.Poisson(3.5), upper=6),
        ((same, lambda k: np.where(k < 6, POISSON.pmf(k), POISSON.sf(5))),),
    ),
    "Censored NegativeBinomial": Row(
        er.Censored(er.NegativeBinomial(3.0, 2.0), lower=2),
        np.array([0, 2, 3, 9]),
        np.append([NEGATIVE_BINOMIAL.logcdf(2)] * 2, NEGATIVE_BINOMIAL.logpmf([3, 9])),
        er.Censored(er.NegativeBinomial(3.0, 2.0), lower=2),
        ((same, lambda k: np.where(k > 2, NEGATIVE_BINOMIAL.pmf(k), (k == 2) * NEGATIVE_BINOMIAL.cdf(2))),),
    ),
}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


ELSEWHERE = {
    *(er.IntervalCensored, er.MarkovChain),
    *(er.HalfStudentT, er.NegativeBinomial, er.OrderedLogistic, er.TruncatedNormal),
}
"""Formulas with a test file of their own, or in the table of `test_distributions`."""


def test_every_formula_has_a_row():
    public = {getattr(er, name) for name in er.__all__}
    formulas = {law for law in public if inspect.isclass(law) and issubclass(law, Formula)}
    assert formulas - ELSEWHERE == {type(row.declared) for row in ROWS.values()}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.filterwarnings("ignore:Out-of-support")
def test_log_prob(name):
    row = ROWS[name]
    row.declared.validate("x")
    got = np.asarray(quickly(lower(row.declared).log_prob)(row.values))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, row.log_prob, rtol=1e-9, atol=1e-9)


def chi_square(x, pmf):
    """Probability of counts at least as far from a table of probabilities."""
    counts = np.bincount(x.astype(int))
    with np.errstate(invalid="ignore"):
        expected = NUM_DRAWS * np.nan_to_num(pmf(np.arange(len(counts))))
    kept = expected >= 5
    observed = np.append(counts[kept], counts[~kept].sum())
    expected = np.append(expected[kept], max(NUM_DRAWS - expected[kept].sum(), 0.0))
    merged = expected > 1e-3
    assert observed[~merged].sum() == 0
    statistic = ((observed - expected)[merged] ** 2 / expected[merged]).sum()
    return stats.chi2(max(merged.sum() - 1, 1)).sf(statistic)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.marginals])
def test_draws(name):
    row = ROWS[name]
    law = lower(row.plain)
    draws = np.asarray(quickly(lambda key: law.sample(key, (NUM_DRAWS,)))(jax.random.key(7)))
    assert draws.shape == (NUM_DRAWS, *law.batch_shape, *law.event_shape)
    assert row.plain.support.check(draws).all()
    assert (draws.dtype.kind == "i") == row.plain.is_discrete
    for marginal, expected in row.marginals:
        x = marginal(draws)
        p_value = stats.kstest(x, expected).pvalue if x.dtype.kind == "f" else chi_square(x, expected)
        assert p_value > P_VALUE


@pytest.mark.parametrize("name", ROWS)
def test_support_agrees_with_the_backend(name):
    declared = ROWS[name].plain
    law = lower(declared)
    assert constraint_of(law.support) == declared.support
    assert constraint_of(to_numpyro_constraint(declared.support)) == declared.support
    assert constraints.from_dict(declared.support.as_dict()) == declared.support
    assert (law.event_dim, len(law.event_shape)) == (declared.event_dim, declared.event_dim)
    assert bool(law.support.is_discrete) == declared.is_discrete


@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if not r.declared.is_discrete])
def test_transform_goes_there_and_back(name):
    declared = ROWS[name].plain
    law = lower(declared)
    transform = biject_to(law.support)
    shape = transform.inverse_shape(law.batch_shape + law.event_shape)
    z = np.random.default_rng(3).normal(size=(6, *shape))
    x = transform(z)
    assert declared.support.check(np.asarray(x)).all()
    assert np.isfinite(np.asarray(law.log_prob(x))).all()
    np.testing.assert_allclose(transform.inv(x), z, rtol=1e-7, atol=1e-7)


def test_zero_sum_map_keeps_volumes():
    """So that the density on the subspace needs no correction."""
    for shape in ((4,), (3, 4)):
        law = lower(er.ZeroSumNormal(2.0, shape))
        transform = biject_to(law.support)
        z = np.random.default_rng(0).normal(size=transform.inverse_shape(shape))
        assert z.size == np.prod([n - 1 for n in shape])
        np.testing.assert_allclose(law.log_prob(transform(z)), stats.norm(0, 2).logpdf(z).sum(), rtol=1e-12)


def test_correlation_matrix_agrees_with_its_factor():
    """The same law: densities differ by the Jacobian of the factorisation alone."""
    factors = np.linalg.cholesky(CORRELATIONS)
    diagonal = np.diagonal(factors, axis1=-2, axis2=-1)
    jacobian = (np.arange(2, -1, -1) * np.log(diagonal)).sum(-1)
    through = lower(er.LKJCholesky(3, 2.5)).log_prob(factors)
    np.testing.assert_allclose(lower(er.LKJ(3, 2.5)).log_prob(CORRELATIONS) + jacobian, through, atol=1e-12)


def test_the_mean_of_a_continuous_bernoulli_law():
    for eta in (*ODDS, -700.0, 700.0):
        top = max(eta, 0.0)
        area, moment = (
            integrate.quad(
                lambda t, k=k, eta=eta, top=top: t**k * np.exp(eta * t - top), 0, 1, points=[0.01, 0.99]
            )[0]
            for k in (0, 1)
        )
        law = lower(er.ContinuousBernoulli(logits=eta))
        np.testing.assert_allclose(law.mean, moment / area, rtol=1e-7)
    slope = jax.vmap(jax.grad(lambda eta: lower(er.ContinuousBernoulli(logits=eta)).log_prob(0.3)))
    np.testing.assert_allclose(slope(ODDS), 0.3 - lower(er.ContinuousBernoulli(logits=ODDS)).mean, rtol=1e-8)
    assert slope(jnp.zeros(1))[0] == 0.3 - 0.5  # where the closed form has no value
    ends = lower(er.ContinuousBernoulli(logits=ODDS[:, None])).log_prob(np.array([0.0, 1.0]))
    np.testing.assert_allclose(ends[:, 1] - ends[:, 0], ODDS, atol=1e-12)


def test_autoregression_that_is_not_stationary():
    def density(phi):
        return lower(er.AR(jnp.stack([phi, 0.1 * phi]), 1.0, 5)).log_prob(jnp.arange(5.0))

    assert density(1.5) == -np.inf and jax.grad(density)(1.5) == 0.0
    assert np.isfinite(jax.grad(density)(0.5))
    assert lower(er.AR(np.array([[0.2], [0.4]]), 1.0, 5)).batch_shape == (2,)


def test_graphs_are_checked():
    adjacency = np.zeros((4, 4), int)
    adjacency[tuple(EDGES.T)] = adjacency[tuple(EDGES[:, ::-1].T)] = 1
    np.testing.assert_array_equal(np.sort(er.ICAR.from_adjacency(adjacency).edges, 0), np.sort(EDGES, 0))
    with pytest.raises(ModelError, match="symmetric"):
        er.ICAR.from_adjacency(np.triu(adjacency))
    with pytest.raises(ModelError, match="2 pieces"):
        er.ICAR(EDGES[:3], 4).validate("x")
    with pytest.raises(ModelError, match="numbers below 3"):
        er.ICAR(EDGES, 3).validate("x")
    traced = jax.jit(lambda edges: lower(er.ICAR(edges, 4)).log_prob(jnp.asarray(CENTRED)))
    np.testing.assert_allclose(traced(EDGES), lower(er.ICAR(EDGES, 4)).log_prob(CENTRED))


HELD = ("total_count", "low", "high", "upper", "cutpoints", "probs", "weights", "matrix")
"""Parameters that cannot move by themselves, or whose moves would carry a value over a bound."""


@pytest.mark.parametrize("name", [n for n in ROWS if not n.endswith((" below", " above"))])
def test_gradients(name):
    """In every parameter and in the value, also outside the support: finite, and as finite differences say."""
    row = ROWS[name]
    structure, leaves = flatten(row.declared)[0], lower(row.declared).leaves
    moved = {
        path: value
        for path, value in leaves.items()
        if jnp.issubdtype(value.dtype, jnp.floating) and not any(word in path for word in HELD)
    }
    values = jnp.asarray(row.values, dtype=float)

    def density(t):
        shifted = {path: value * (1 + t[i]) for i, (path, value) in enumerate(moved.items())}
        law = lower(rebuild(structure, {**leaves, **shifted}))
        free = not row.declared.is_discrete and row.declared.event_dim < 2
        step = t[-1] if free else 0.0
        log_prob = law.log_prob(values * (1 + step))
        return jnp.where(jnp.isfinite(log_prob), log_prob, 0.0)

    @quickly
    def differentiate(t):
        steps = 1e-6 * jnp.eye(len(t))
        above, below = jnp.split(jax.lax.map(density, jnp.concatenate([t + steps, t - steps])), 2)
        numeric = jnp.moveaxis((above - below) / 2e-6, 0, -1)
        return jax.jacfwd(density)(t), jax.grad(lambda t: density(t).sum())(t), numeric

    slopes, backwards, numeric = map(np.asarray, differentiate(np.zeros(len(moved) + 1)))
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(backwards, slopes.reshape(-1, len(backwards)).sum(0), rtol=1e-8, atol=1e-8)
    smooth = np.isfinite(row.log_prob)[..., None] & (np.abs(numeric) < 1e5)
    size = 1 + np.abs(np.where(np.isfinite(row.log_prob), row.log_prob, 0.0))[..., None]
    at_edge = "Censored" in name or "Truncated" in name or name in {"Pareto", "AsymmetricLaplace"}
    error = np.abs(np.where(smooth, numeric - slopes, 0.0)) / size
    assert np.quantile(error, 0.8 if at_edge else 1.0) < 1e-5


# A law, a point, and both log tails there in fifty digits.
FAR = [
    (er.Normal(1.0, 2.0), -59, -454.3212439563432, 0.0),
    (er.Normal(1.0, 2.0), 61, 0.0, -454.3212439563432),
    (er.LogNormal(1.0, 0.5), np.exp(-14.0), -454.3212439563432, 0.0),
    (er.LogNormal(1.0, 0.5), np.exp(16.0), 0.0, -454.3212439563432),
    (er.Logistic(1.0, 2.0), -109, -55.0, -1.2995814250075031e-24),
    (er.Logistic(1.0, 2.0), 111, -1.2995814250075031e-24, -55.0),
    (er.Gumbel(1.0, 2.0), -9, -148.4131591025766, 0.0),
    (er.Gumbel(1.0, 2.0), 79, -1.1548224173015786e-17, -39.0),
    (er.Exponential(2.0), 5e-10, -20.723265837446411, -1.0e-9),
    (er.Exponential(2.0), 15.5, -3.4424771084700357e-14, -31.0),
    (er.Weibull(2.0, 1.5), 1e-6, -21.762986607963106, -3.5355339059327376e-10),
    (er.Weibull(2.0, 1.5), 20, -1.8467266624097102e-14, -31.622776601683793),
    (er.Gamma(0.3, 2.0), 1e-12 / 2, -8.1811315252709348, -0.00027992423899739921),
    (er.Gamma(0.3, 2.0), 40 / 2, -1.0556514939798349e-19, -43.694958660713222),
    (er.Gamma(4, 2.0), 1e-6 / 2, -58.440096862205029, -4.1666633333347222e-26),
    (er.Gamma(4, 2.0), 64 / 2, -7.3460419427059625e-24, -53.267880574878049),
    (er.Gamma(900, 2.0), 400 / 2, -233.57122693868418, 0.0),
    (er.Gamma(900, 2.0), 1800 / 2, 0.0, -280.48997843675062),
    (er.Gamma(2000, 2.0), 660 / 2, -881.64456986108137, 0.0),
    (er.StudentT(0.5, 1.0, 2.0), -1999.0, -4.5911238452625763, -0.010193229436906393),
    (er.StudentT(3, 1.0, 2.0), 61.0, -4.067722944309982e-5, -10.10986243376751),
    (er.StudentT(3, 1.0, 2.0), 1.5, -0.52655639141058341, -0.89314905010078926),
    (er.StudentT(3, 1.0, 2.0), 1.0, -0.69314718055994531, -0.69314718055994531),
    (er.StudentT(40, 1.0, 2.0), -59.0, -65.888949043434158, -2.425453830295104e-29),
    (er.StudentT(1.0e6, 1.0, 2.0), 61.0, 0.0, -454.11841582456561),
    (er.Poisson(3.5), 0, -3.5, -0.030662716255459634),
    (er.Poisson(3.5), 60, -9.7879567019977868e-53, -119.7624551775765),
    (er.Poisson(400), 60, -228.97829701448436, 0.0),
    (er.Poisson(400), 1000, 0.0, -321.07186431346144),
    (er.Poisson(1e-3), 4, -8.3263918642115024e-18, -39.327101461104879),
    (er.NegativeBinomial(3, 2), 0, -1.8325814637483101, -0.17435338714477775),
    (er.NegativeBinomial(3, 2), 80, -3.5809458013301818e-17, -37.868319625062591),
    (er.NegativeBinomial(700, 40), 100, -40.958304787485074, -1.629424502308469e-18),
    (er.NegativeBinomial(700, 40), 4300, 0.0, -132.7806022639936),
    (er.NegativeBinomial(5, 1e7), 80, 0.0, -152.63995410493827),
    (er.NegativeBinomial(0.1, 0.3), 12, -9.8731790744131242e-10, -20.73602903417803),
]


@pytest.mark.parametrize("declared, point, log_cdf, log_sf", FAR, ids=lambda v: str(v)[:30])
def test_tails_far_out(declared, point, log_cdf, log_sf):
    """Values to ten digits of the probability; gradients in every parameter as finite differences say."""
    structure, leaves = flatten(declared)
    leaves = {path: jnp.asarray(float(value)) for path, value in leaves.items()}

    def tails(t):
        moved = {path: value * (1 + t[i]) for i, (path, value) in enumerate(leaves.items())}
        return jnp.stack(log_tails(rebuild(structure, moved), jnp.asarray(float(point))))

    @quickly
    def differentiate(t):
        steps = 1e-5 * jnp.eye(len(t))
        pairs = jax.lax.map(lambda s: (tails(t + s) - tails(t - s)) / 2e-5, steps)
        return tails(t), jax.jacrev(tails)(t), pairs.T

    got, slopes, numeric = map(np.asarray, differentiate(np.zeros(len(leaves))))
    np.testing.assert_allclose(got, (log_cdf, log_sf), rtol=1e-10, atol=1e-50)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes, numeric, rtol=1e-6, atol=1e-5)


def test_every_boundable_law_is_tested_far_out():
    assert set(TAILS) == {type(declared) for declared, *_ in FAR}


def test_host_and_single_precision_agree():
    """The same lines compute with NumPy, and in float32."""
    for name in ("Logistic", "Weibull", "BetaBinomial", "OrderedProbit", "Truncated Gamma below"):
        row = ROWS[name]
        leaves = {p: np.asarray(v, dtype=float) for p, v in flatten(row.declared)[1].items()}
        host = rebuild(flatten(row.declared)[0], leaves).log_density(np.asarray(row.values, dtype=float))
        assert isinstance(host, np.ndarray)
        np.testing.assert_allclose(host, row.log_prob, rtol=1e-9, atol=1e-9)
    with jax.enable_x64(False):
        single = lower(er.Censored(er.Gamma(2.5, 0.7), upper=9.0)).log_prob(jnp.array([9.0, 3.0]))
    assert single.dtype == np.float32
    law = stats.gamma(2.5, scale=1 / 0.7)
    np.testing.assert_allclose(single, [law.logsf(9.0), law.logpdf(3.0)], rtol=1e-5)


def test_a_lowered_formula_passes_through_compiled_code():
    law = lower(er.Censored(er.Normal(np.array([0.0, 1.0]), 2.0), upper=1.5))
    assert law.batch_shape == (2,) and set(law.arg_constraints) == {"base.loc", "base.scale", "upper"}
    again = jax.jit(lambda law: law)(law)
    np.testing.assert_allclose(again.log_prob(1.0), law.log_prob(1.0))
    traced = jax.jit(lambda high: lower(er.Truncated(er.Normal(0.0, 1.0), high=high)).support.upper_bound)
    assert traced(2.0) == 2.0


def test_censoring_times_may_be_infinite():
    """One upper bound for each row, infinite where the event was seen."""
    times, seen = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    declared = er.Censored(er.Weibull(2.0, 1.5), upper=np.where(seen, np.inf, times))
    declared.validate("y")
    law = stats.weibull_min(1.5, scale=2.0)
    np.testing.assert_allclose(
        lower(declared).log_prob(times), np.where(seen, law.logpdf(times), law.logsf(times))
    )
    slope = jax.grad(
        lambda k: lower(er.Censored(er.Weibull(2.0, k), upper=declared.upper)).log_prob(times).sum()
    )
    assert np.isfinite(slope(1.5))


def test_truncation_far_out_keeps_its_digits():
    for declared, law, low in (
        (er.Gamma(4.0, 2.0), stats.gamma(4.0, scale=0.5), 32.0),
        (er.StudentT(3.0, 1.0, 2.0), stats.t(3.0, 1.0, 2.0), 61.0),
        (er.Normal(1.0, 2.0), stats.norm(1.0, 2.0), 61.0),
    ):
        truncated = lower(er.Truncated(declared, low=low))
        np.testing.assert_allclose(
            truncated.log_prob(low + 1.0), law.logpdf(low + 1.0) - law.logsf(low), rtol=1e-8
        )
        draws = np.asarray(quickly(lambda key, t=truncated: t.sample(key, (NUM_DRAWS,)))(jax.random.key(3)))
        scaled = np.exp(law.logsf(draws) - law.logsf(low))
        assert stats.kstest(scaled, stats.uniform.cdf).pvalue > P_VALUE


@pytest.mark.parametrize(
    "declared, parameter, words",
    [
        (er.Logistic(0, -1), "scale", "positive"),
        (er.Gumbel(np.nan, 1), "loc", "nan"),
        (er.Weibull(1, 0), "concentration", "positive"),
        (er.Pareto(-1, 1), "scale", "positive"),
        (er.ChiSquare(0), "df", "positive"),
        (er.VonMises(0, -1), "concentration", "positive"),
        (er.AsymmetricLaplace(0, 1, 0), "asymmetry", "positive"),
        (er.SkewNormal(0, 0, 1), "scale", "positive"),
        (er.Geometric(1.5), "probs", "between 0 and 1"),
        (er.BetaBinomial(1, 1, 2.5), "total_count", "count"),
        (er.ZeroInflatedPoisson(1.5, 2.0), "gate", "between 0 and 1"),
        (er.ZeroInflatedPoisson(0.5, -2.0), "rate", "zero or more"),
        (er.HurdlePoisson(0.5, -2.0), "rate", "zero or more"),
        (er.OrderedProbit(0.0, [1.0, 1.0]), "cutpoints", "increasing"),
        (er.Multinomial(10, [0.5, 0.6]), "probs", "sum to one"),
        (er.DirichletMultinomial([1.0, -1.0], 10), "concentration", "positive"),
        (er.GaussianRandomWalk(-1, 3), "scale", "positive"),
        (er.AR([np.nan], 1, 3), "coefficients", "nan"),
        (er.ZeroSumNormal(-1, 3), "scale", "positive"),
        (er.ICAR(EDGES, 4, -1), "scale", "positive"),
        (er.LowRankMultivariateNormal(STEPS, LOADINGS, -STEPS), "cov_diag", "positive"),
        (er.Wishart(1.5, np.eye(3)), "concentration", "above 2"),
        (er.InverseWishart(5, -np.eye(3)), "scale_matrix", "positive definite"),
        (er.LKJ(3, -1), "concentration", "positive"),
        (er.Mixture([er.Normal(0, -1), er.Cauchy()], weights=[0.5, 0.5]), "scale", "positive"),
        (er.Truncated(er.Normal(0, 1), low=np.inf), "low", "finite"),
        (er.Truncated(er.Normal(0, 1), 2.0, 1.0), "low", "low below high"),
        (er.Truncated(er.Normal(0, -1), low=0), "scale", "positive"),
        (er.Censored(er.Normal(0, 1), lower=np.nan), "lower", "nan"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_parameter_is_named(declared, parameter, words):
    with pytest.raises(SupportError, match=words) as caught:
        declared.validate("theta")
    assert "site 'theta'" in str(caught.value) and f"'{parameter}'" in str(caught.value)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: er.Truncated(er.Beta(1, 1), low=0.5), UnsupportedError, "Exponential, Gamma, Gumbel.*Beta"),
        (lambda: er.Censored(er.Cauchy(), upper=0.5), UnsupportedError, "Cauchy"),
        (lambda: er.ZeroInflated(er.Normal(), 0.5), ModelError, "law of one count"),
        (lambda: er.ZeroInflated(er.Poisson(1.0)), ModelError, "exactly one"),
        (lambda: er.Hurdle(er.Normal(), 0.5), ModelError, "law of counts"),
        (lambda: er.GaussianRandomWalk(1.0, 0), ModelError, "at least 1"),
        (lambda: er.AR([0.5], 1.0, 2.5), ModelError, "whole number"),
        (lambda: er.ZeroSumNormal(1.0, 1), ModelError, "two elements"),
        (lambda: er.Wishart(5.0), ModelError, "exactly one"),
        (lambda: er.LKJ(1), ModelError, "at least 2"),
        (lambda: er.Mixture([er.Normal()], weights=[0.5, 0.5]), ShapeError, "2 components"),
        (lambda: er.Mixture([er.Normal(), er.Poisson(1.0)], weights=[0.5, 0.5]), ModelError, "all discrete"),
        (lambda: er.Multinomial(3), ModelError, "exactly one"),
        (lambda: er.Multinomial(3, 0.5), ShapeError, "a vector"),
        (lambda: er.OrderedProbit(0.0, 1.0), ShapeError, "a vector"),
    ],
)
def test_bad_declaration(make, error, words):
    with pytest.raises(error, match=words):
        make()

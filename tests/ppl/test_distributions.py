"""Every distribution against SciPy or an independent formula, on the JAX backend.

One row per law: a declaration with several parameter values and its log density at points out to the tails;
and a plain declaration whose draws have a known distribution function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from itertools import permutations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray as xr
from elboroom.ppl import constraints, distributions
from elboroom.ppl import distributions as er
from elboroom.ppl.backends.jax.lowering import TABLE, constraint_of, lower, to_numpyro_constraint
from elboroom.ppl.distributions.formula import Formula
from elboroom.ppl.errors import ModelError, ShapeError, SupportError, UnsupportedError
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as theirs
from quick import quickly
from scipy import special, stats

NUM_DRAWS = 4_000
P_VALUE = 1e-4  # one fixed seed per row, about fifty tests: a right sampler fails with probability 0.005

A = np.array([-3.0, 0.0, 2.5])
B = np.array([0.2, 1.0, 9.0])
LINE = np.array([-1e4, -40.0, -6.0, -0.3, 0.0, 1.0, 8.0, 50.0, 1e4])[:, None]
HALF = np.array([1e-8, 1e-3, 0.4, 1.0, 3.0, 40.0, 1e3, 1e6])[:, None]
UNIT = np.array([1e-9, 1e-3, 0.2, 0.5, 0.9, 0.999999])[:, None]
COUNT = np.array([0, 1, 2, 7, 40, 1000])[:, None]
COVARIANCE = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.1], [-0.3, 0.1, 0.5]])
WEIGHTS = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])
CUTS = np.array([-1.0, 0.5, 2.0])


class Row(NamedTuple):
    """A law: its declaration, values and log density; and draws with known marginal laws."""

    declared: er.Distribution
    values: np.ndarray
    log_prob: np.ndarray
    plain: er.Distribution
    marginals: tuple[tuple[Callable[[np.ndarray], np.ndarray], Any], ...]


def same(x):
    return x


def folded(law):
    """Distribution function of the absolute value of a law around zero."""
    return lambda x: 2 * law.cdf(x) - 1


def ordered_logistic(k, predictor, cuts):
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    low, high = edges[k] - predictor, edges[k + 1] - predictor
    upper = low + high > 0
    low, high = np.where(upper, -high, low), np.where(upper, -low, high)
    return np.log(special.expit(high) - special.expit(low))


def negative_binomial(k, mean, size):
    """The rising factorial multiplied out in extended precision, with no gamma function."""
    i, mean, size = np.arange(k, dtype=np.longdouble), np.longdouble(mean), np.longdouble(size)
    chosen = np.log((size + i) / (i + 1)).sum()
    return chosen - size * np.log1p(mean / size) + k * np.log(mean / (size + mean))


def lkj(factor, eta):
    """Lewandowski, Kurowicka and Joe (2009), with the constant by its product over dimensions."""
    d = factor.shape[-1]
    k = np.arange(1, d)
    constant = np.sum(
        0.5 * k * np.log(np.pi)
        + special.gammaln(eta + 0.5 * (d - 1 - k))
        - special.gammaln(eta + 0.5 * (d - 1))
    )
    diagonal = np.diagonal(factor, axis1=-2, axis2=-1)[..., 1:]
    return ((d - 1 - k + 2 * eta - 2) * np.log(diagonal)).sum(-1) - constant


FACTORS = np.linalg.cholesky([[[1, 0.5, -0.2], [0.5, 1, 0.3], [-0.2, 0.3, 1]], np.eye(3)])
VECTORS = np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5], [30.0, 20.0, -40.0]])
NORMALS = np.stack([stats.multivariate_normal(np.array([1.0, 0, -1]), COVARIANCE).logpdf(v) for v in VECTORS])
DIRECTION = np.array([1.0, -2.0, 0.5])
ALONG = stats.norm(DIRECTION @ [1.0, 0, -1], np.sqrt(DIRECTION @ COVARIANCE @ DIRECTION))
NEGATIVE_BINOMIAL = np.array([[0.1, 3.0, 700.0, 5.0], [0.3, 2.0, 40.0, 1e7]])
SIMPLICES = np.array([[0.2, 0.3, 0.5], [1e-6, 0.5, 0.5 - 1e-6], [0.98, 0.01, 0.01]])
SORTED = np.array([[-9.0, 0.0, 0.1, 3.0], [0.0, 1.0, 2.0, 60.0]])


def normal_vector(**matrix):
    declared = er.MultivariateNormal(np.array([1.0, 0, -1]), **matrix)
    along = (lambda x: x @ DIRECTION, ALONG.cdf)
    distance = np.linalg.inv(COVARIANCE)
    shape = (
        lambda x: np.einsum("ni,ij,nj->n", x - [1, 0, -1], distance, x - [1, 0, -1]),
        stats.chi2(3).cdf,
    )
    return Row(declared, VECTORS, NORMALS, declared, (along, shape))


def location_scale(ours, scipy_law):
    values = A + B * LINE
    return Row(
        ours(A, B), values, scipy_law.logpdf(values, A, B), ours(1.0, 2.0), ((same, scipy_law(1.0, 2.0).cdf),)
    )


def gumbel(x, loc, scale):
    import elboroom.ppl.math as m

    z = (x - loc) / scale
    return -z - m.exp(-z) - m.log(scale)


def draw_gumbel(key, loc, scale, shape):
    return loc + scale * jax.random.gumbel(key, shape)


def truncated(low, high):
    """A normal law between bounds given in sd, with SciPy's formula for its tails."""
    low_z, high_z = (-np.inf if low is None else low), (np.inf if high is None else high)
    bounds = {k: A + B * z for k, z in (("low", low), ("high", high)) if z is not None}
    start, stop = max(low_z, min(high_z, 0) - 30), min(high_z, max(low_z, 0) + 30)
    z = np.linspace(start, stop, 5)[:, None]
    log_prob = stats.truncnorm.logpdf(z, low_z, high_z) - np.log(B)
    # Half an ulp outside of a bound is no failure of the formula: look at the interior.
    plain = er.TruncatedNormal(1.0, 2.0, **{k: 1.0 + 2.0 * v for k, v in (("low", low), ("high", high)) if v})
    law = stats.truncnorm(low_z, high_z, 1.0, 2.0)
    return Row(
        er.TruncatedNormal(A, B, **bounds), (A + B * z)[1:-1], log_prob[1:-1], plain, ((same, law.cdf),)
    )


with np.errstate(over="ignore"):
    ROWS: dict[str, Row] = {
        "Normal": location_scale(er.Normal, stats.norm),
        "Cauchy": location_scale(er.Cauchy, stats.cauchy),
        "Laplace": Row(
            er.Laplace(A, B),
            A + B * LINE,
            -np.abs(LINE) - np.log(2 * B),
            er.Laplace(1.0, 2.0),
            ((same, stats.laplace(1.0, 2.0).cdf),),
        ),
        "LogNormal": Row(
            er.LogNormal(A, B),
            HALF + 0 * A,
            stats.lognorm.logpdf(HALF, B, scale=np.exp(A)),
            er.LogNormal(1.0, 2.0),
            ((same, stats.lognorm(2.0, scale=np.exp(1.0)).cdf),),
        ),
        "StudentT": Row(
            er.StudentT(B * 3, A, B),
            A + B * LINE,
            stats.t.logpdf(A + B * LINE, B * 3, A, B),
            er.StudentT(4.0, 1.0, 2.0),
            ((same, stats.t(4.0, 1.0, 2.0).cdf),),
        ),
        "HalfNormal": Row(
            er.HalfNormal(B),
            HALF * B,
            stats.halfnorm.logpdf(HALF * B, scale=B),
            er.HalfNormal(2.0),
            ((same, stats.halfnorm(scale=2.0).cdf),),
        ),
        "HalfCauchy": Row(
            er.HalfCauchy(B),
            HALF * B,
            stats.halfcauchy.logpdf(HALF * B, scale=B),
            er.HalfCauchy(2.0),
            ((same, stats.halfcauchy(scale=2.0).cdf),),
        ),
        "HalfStudentT": Row(
            er.HalfStudentT(B * 3, B),
            HALF * B,
            np.log(2) + stats.t.logpdf(HALF * B, B * 3, 0, B),
            er.HalfStudentT(4.0, 2.0),
            ((same, folded(stats.t(4.0, 0, 2.0))),),
        ),
        "Exponential": Row(
            er.Exponential(B),
            HALF / B,
            stats.expon.logpdf(HALF / B, scale=1 / B),
            er.Exponential(2.0),
            ((same, stats.expon(scale=0.5).cdf),),
        ),
        "Gamma": Row(
            er.Gamma(B * 2, B),
            HALF / B,
            stats.gamma.logpdf(HALF / B, B * 2, scale=1 / B),
            er.Gamma(0.7, 2.0),
            ((same, stats.gamma(0.7, scale=0.5).cdf),),
        ),
        "InverseGamma": Row(
            er.InverseGamma(B * 2, B),
            HALF * B,
            stats.invgamma.logpdf(HALF * B, B * 2, scale=B),
            er.InverseGamma(3.0, 2.0),
            ((same, stats.invgamma(3.0, scale=2.0).cdf),),
        ),
        "Beta": Row(
            er.Beta(B, B[::-1]),
            UNIT + 0 * B,
            stats.beta.logpdf(UNIT, B, B[::-1]),
            er.Beta(0.5, 2.0),
            ((same, stats.beta(0.5, 2.0).cdf),),
        ),
        "Uniform": Row(
            er.Uniform(A, A + B),
            A + B * np.array([[-0.5], [0.01], [0.99], [1.5]]),
            np.where([[False], [True], [True], [False]], -np.log(B), -np.inf),
            er.Uniform(-1.0, 3.0),
            ((same, stats.uniform(-1.0, 4.0).cdf),),
        ),
        "TruncatedNormal": truncated(-1.0, 2.0),
        "TruncatedNormal low": truncated(1.5, None),
        "TruncatedNormal high": truncated(None, -0.7),
        "TruncatedNormal far above": truncated(9.0, 12.0),
        "TruncatedNormal far below": truncated(-37.0, -35.0),
        "TruncatedNormal high only, far": truncated(None, -50.0),
        "Dirichlet": Row(
            er.Dirichlet(np.array([[0.5, 1.0, 4.0]] * 3)),
            SIMPLICES,
            np.array([stats.dirichlet([0.5, 1.0, 4.0]).logpdf(x) for x in SIMPLICES]),
            er.Dirichlet([0.5, 1.0, 4.0]),
            tuple(
                (lambda x, i=i: x[:, i], stats.beta(a, 5.5 - a).cdf) for i, a in enumerate([0.5, 1.0, 4.0])
            ),
        ),
        "MultivariateNormal covariance": normal_vector(covariance_matrix=COVARIANCE),
        "MultivariateNormal precision": normal_vector(precision_matrix=np.linalg.inv(COVARIANCE)),
        "MultivariateNormal scale_tril": normal_vector(scale_tril=np.linalg.cholesky(COVARIANCE)),
        "LKJCholesky": Row(
            er.LKJCholesky(3, 2.5),
            FACTORS,
            lkj(FACTORS, 2.5),
            er.LKJCholesky(3, 2.5),
            tuple(
                (lambda x, i=i, j=j: (x @ x.swapaxes(-1, -2))[:, i, j], stats.beta(3.0, 3.0, -1, 2).cdf)
                for i, j in ((1, 0), (2, 0), (2, 1))
            ),
        ),
        "ImproperUniform": Row(
            er.ImproperUniform(constraints.positive, (2,), (3,)),
            np.ones((5, 2, 3)),
            np.zeros((5, 2)),
            None,
            (),
        ),
        "Ordered": Row(
            er.Ordered(er.Normal(0, 5).expand([4])),
            SORTED,
            np.log(24) + stats.norm(0, 5).logpdf(SORTED).sum(-1),
            er.Ordered(er.Normal(0, 5).expand([4])),
            (
                (lambda x: x[:, -1], lambda x: stats.norm(0, 5).cdf(x) ** 4),
                (lambda x: x[:, 0], lambda x: 1 - stats.norm(0, 5).sf(x) ** 4),
            ),
        ),
        "Ordered by position": Row(
            er.Ordered(er.LogNormal([0.0, 1.0], 1.0)),
            np.array([[0.1, 2.0], [3.0, 90.0]]),
            stats.lognorm.logpdf([[0.1, 2.0], [3.0, 90.0]], 1, scale=np.exp([0.0, 1.0])).sum(-1),
            None,
            (),
        ),
        "Bernoulli probs": Row(
            er.Bernoulli(np.array([1e-9, 0.3, 1 - 1e-9])),
            np.array([[0], [1]]),
            stats.bernoulli.logpmf([[0], [1]], [1e-9, 0.3, 1 - 1e-9]),
            er.Bernoulli(0.3),
            ((same, stats.bernoulli(0.3).pmf),),
        ),
        "Bernoulli logits": Row(
            er.Bernoulli(logits=np.array([-800.0, 0.3, 45.0])),
            np.array([[0], [1]]),
            -np.logaddexp(0, np.array([[1], [-1]]) * [-800.0, 0.3, 45.0]),
            er.Bernoulli(logits=-1.0),
            ((same, stats.bernoulli(special.expit(-1.0)).pmf),),
        ),
        "Categorical probs": Row(
            er.Categorical(WEIGHTS),
            np.array([[0, 1], [2, 2]]),
            np.log([[0.2, 0.1], [0.3, 0.2]]),
            er.Categorical([0.2, 0.5, 0.3]),
            ((same, lambda k: np.array([0.2, 0.5, 0.3])[k]),),
        ),
        "Categorical logits": Row(
            er.Categorical(logits=np.array([[-500.0, 1.0, 40.0]])),
            np.array([[0], [1], [2]]),
            special.log_softmax([[-500.0, 1.0, 40.0]], -1).T,
            er.Categorical(logits=np.log([0.4, 1.0, 0.6])),
            ((same, lambda k: np.array([0.2, 0.5, 0.3])[k]),),
        ),
        "Binomial probs": Row(
            er.Binomial(50, np.array([1e-6, 0.3, 0.999])),
            np.array([[0], [1], [20], [50]]),
            stats.binom.logpmf([[0], [1], [20], [50]], 50, [1e-6, 0.3, 0.999]),
            er.Binomial(9, 0.3),
            ((same, stats.binom(9, 0.3).pmf),),
        ),
        "Binomial logits": Row(
            er.Binomial(np.array([2, 50, 500]), logits=A),
            np.array([[0], [1], [2]]),
            stats.binom.logpmf([[0], [1], [2]], [2, 50, 500], special.expit(A)),
            er.Binomial(9, logits=-1.0),
            ((same, stats.binom(9, special.expit(-1.0)).pmf),),
        ),
        "Poisson": Row(
            er.Poisson(np.array([1e-3, 2.0, 900.0])),
            COUNT,
            stats.poisson.logpmf(COUNT, [1e-3, 2.0, 900.0]),
            er.Poisson(3.5),
            ((same, stats.poisson(3.5).pmf),),
        ),
        "NegativeBinomial": Row(
            er.NegativeBinomial(*NEGATIVE_BINOMIAL),
            COUNT,
            np.array(
                [
                    [negative_binomial(*row) for row in zip([k] * 4, *NEGATIVE_BINOMIAL, strict=True)]
                    for k in COUNT[:, 0]
                ]
            ),
            er.NegativeBinomial(3.0, 2.0),
            ((same, stats.nbinom(2.0, 0.4).pmf),),
        ),
        "OrderedLogistic": Row(
            er.OrderedLogistic(np.array([-60.0, 0.3, 60.0]), CUTS),
            np.array([[0], [1], [2], [3]]),
            ordered_logistic(np.array([[0], [1], [2], [3]]), np.array([-60.0, 0.3, 60.0]), CUTS),
            er.OrderedLogistic(0.3, CUTS),
            ((same, lambda k: np.exp(ordered_logistic(k, 0.3, CUTS))),),
        ),
        "MixtureSameFamily": Row(
            er.MixtureSameFamily(er.Categorical(WEIGHTS), er.Normal(A, B)),
            LINE,
            special.logsumexp(np.log(WEIGHTS) + stats.norm(A, B).logpdf(LINE[..., None]), axis=-1),
            er.MixtureSameFamily(er.Categorical(WEIGHTS[0]), er.Normal(A, B)),
            ((same, lambda x: stats.norm(A, B).cdf(x[..., None]) @ WEIGHTS[0]),),
        ),
        "CustomDist": Row(
            er.CustomDist(gumbel, draw_gumbel, params=(A, B)),
            A + B * LINE[1:],
            stats.gumbel_r.logpdf(A + B * LINE[1:], A, B),
            er.CustomDist(gumbel, draw_gumbel, params=(1.0, 2.0)),
            ((same, stats.gumbel_r(1.0, 2.0).cdf),),
        ),
    }


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


FORMULAS = {er.HalfStudentT, er.NegativeBinomial, er.OrderedLogistic, er.TruncatedNormal}
"""Laws of this table whose density is written in ``er.math``; the others of these stand in `test_formulas`."""


def test_every_distribution_has_a_row():
    public = {getattr(er, name) for name in er.__all__} - {er.Distribution}
    public = {law for law in public if inspect.isclass(law) and not issubclass(law, Formula)}
    assert public == {type(row.declared) for row in ROWS.values()} - FORMULAS
    assert public < set(TABLE)
    assert er.__all__ == sorted(er.__all__)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.filterwarnings("ignore:Out-of-support")
def test_log_prob(name):
    row = ROWS[name]
    row.declared.validate("x")
    got = np.asarray(quickly(lower(row.declared).log_prob)(row.values))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, row.log_prob, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.marginals])
def test_draws(name):
    row = ROWS[name]
    law = lower(row.plain)
    draws = np.asarray(quickly(lambda key: law.sample(key, (NUM_DRAWS,)))(jax.random.key(7)))
    assert draws.shape == (NUM_DRAWS, *law.batch_shape, *law.event_shape)
    assert row.plain.support.check(draws).all()
    for marginal, law in row.marginals:
        x = marginal(draws)
        if not row.plain.is_discrete:
            assert stats.kstest(x, law).pvalue > P_VALUE
            continue
        counts = np.bincount(x)
        expected = NUM_DRAWS * law(np.arange(len(counts)))
        kept = expected >= 5
        rest = counts[~kept].sum(), max(NUM_DRAWS - expected[kept].sum(), 1e-9)
        observed, expected = np.append(counts[kept], rest[0]), np.append(expected[kept], rest[1])
        merged = expected > 1e-3
        assert observed[~merged].sum() == 0
        statistic = ((observed - expected)[merged] ** 2 / expected[merged]).sum()
        assert stats.chi2(merged.sum() - 1).sf(statistic) > P_VALUE


@pytest.mark.parametrize("name", ROWS)
def test_support_agrees_with_the_backend(name):
    declared = ROWS[name].plain or ROWS[name].declared
    law = lower(declared)
    assert constraint_of(law.support) == declared.support
    assert constraint_of(to_numpyro_constraint(declared.support)) == declared.support
    assert constraints.from_dict(declared.support.as_dict()) == declared.support
    assert law.event_dim == declared.event_dim
    assert bool(law.support.is_discrete) == declared.is_discrete


def _free(name, x):
    """The coordinates of a value that vary: all but those a constraint fixes."""
    if name == "Dirichlet":
        return x[:-1]
    return x[np.tril_indices(x.shape[-1], -1)] if name == "LKJCholesky" else jnp.ravel(x)


@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if not r.declared.is_discrete])
def test_transform_goes_there_and_back(name):
    declared = ROWS[name].plain or ROWS[name].declared
    law = lower(declared)
    transform = biject_to(law.support)
    shape = transform.inverse_shape(law.batch_shape + law.event_shape)
    z = np.random.default_rng(3).normal(size=(6, *shape))
    x = transform(z)
    assert declared.support.check(np.asarray(x)).all()
    np.testing.assert_allclose(transform.inv(x), z, rtol=1e-7, atol=1e-7)
    if law.batch_shape:
        return
    jacobian = jax.jacobian(lambda u: _free(name, transform(u)))(z[0]).reshape(z[0].size, z[0].size)
    _, expected = np.linalg.slogdet(np.asarray(jacobian))
    np.testing.assert_allclose(transform.log_abs_det_jacobian(z[0], x[0]), expected, rtol=1e-8, atol=1e-8)


# Parameters that are outside their constraint, with a piece of the message.
BAD = [
    (er.Normal(0, -1.0), "scale", "positive number, got -1"),
    (er.Normal(0, np.array([1.0, 0.0, 2.0, -3.0])), "scale", "got 0, -3 at positions 1, 3"),
    (er.Normal(pd.Series([0.0, np.nan]), 1.0), "loc", "got nan at position 1"),
    (er.Normal(xr.DataArray([0.0, np.inf]), 1.0), "loc", "got inf at position 1"),
    (er.Normal(jnp.array([np.nan]), 1.0), "loc", "got nan at position 0"),
    (er.Normal("zero", 1.0), "loc", "finite number"),
    (er.LogNormal(0, 0.0), "scale", "positive"),
    (er.StudentT(-2, 0, 1), "df", "positive"),
    (er.Cauchy(0, -1), "scale", "positive"),
    (er.Laplace(0, -1), "scale", "positive"),
    (er.HalfNormal(-1), "scale", "positive"),
    (er.HalfCauchy(-1), "scale", "positive"),
    (er.HalfStudentT(0, 1), "df", "positive"),
    (er.Exponential(0), "rate", "positive"),
    (er.Gamma(1, -1), "rate", "positive"),
    (er.InverseGamma(-1, 1), "concentration", "positive"),
    (er.Beta(1, 0), "concentration0", "positive"),
    (er.Uniform(2.0, 1.0), "low", "low below high, got low=2 and high=1"),
    (er.TruncatedNormal(0, 1, low=np.array([0.0, 5.0]), high=3.0), "low", "1 of 2 positions"),
    (er.TruncatedNormal(0, 1, low=np.inf), "low", "finite"),
    (er.Dirichlet([1.0, -1.0]), "concentration", "positive"),
    (er.MultivariateNormal(0, covariance_matrix=-np.eye(2)), "covariance_matrix", "positive definite"),
    (er.MultivariateNormal(0, precision_matrix=[[1, 2], [0, 1]]), "precision_matrix", "symmetric"),
    (er.MultivariateNormal(0, scale_tril=np.ones((2, 2))), "scale_tril", "lower triangular"),
    (er.MultivariateNormal(0, scale_tril=np.ones(2)), "scale_tril", r"shape \(2,\)"),
    (er.LKJCholesky(3, -1), "concentration", "positive"),
    (er.Bernoulli(1.2), "probs", "between 0 and 1"),
    (er.Bernoulli(logits=np.nan), "logits", "nan"),
    (er.Categorical([0.5, 0.6]), "probs", "sum to one"),
    (er.Binomial(2.5, 0.5), "total_count", "count"),
    (er.Poisson([-1]), "rate", "zero or more"),
    (er.NegativeBinomial(1, 0), "concentration", "positive"),
    (er.OrderedLogistic(0.0, [1.0, 1.0]), "cutpoints", "increasing"),
    (er.MixtureSameFamily(er.Categorical([0.5, 0.5]), er.Normal([0, 1], -1)), "scale", "positive"),
    (er.Ordered(er.Normal(0, -5).expand([4])), "scale", "positive"),
    (er.CustomDist(gumbel, params=(0.0, np.nan)), r"params\[1\]", "nan"),
    (er.Normal(0, -1).expand([3]).to_event(1).mask(True), "scale", "positive"),
    (er.Normal(0, 1).mask(np.array([2, 1])), "mask", "0 or 1"),
]


@pytest.mark.parametrize("declared, parameter, words", BAD, ids=lambda value: str(value)[:40])
def test_bad_parameter_is_named(declared, parameter, words):
    with pytest.raises(SupportError, match=words) as caught:
        declared.validate("theta")
    assert "site 'theta'" in str(caught.value)
    assert f"'{parameter}'".replace("\\", "") in str(caught.value)


def test_every_bad_parameter_is_covered():
    laws = {type(row.declared) for row in ROWS.values()} - {er.ImproperUniform}
    assert laws <= {type(declared) for declared, _, _ in BAD}


def test_traced_parameters_are_left_alone():
    def density(scale):
        declared = er.Normal(0.0, scale)
        declared.validate("x")
        uniform = er.Uniform(0.0, scale)
        uniform.validate("y")
        assert uniform.support == constraints.dependent
        assert constraint_of(lower(uniform).support) == constraints.dependent
        return lower(declared).log_prob(1.0) + lower(uniform).log_prob(jnp.asarray(1.0))

    np.testing.assert_allclose(jax.jit(density)(2.0), stats.norm(0, 2).logpdf(1) - np.log(2))
    assert jax.jit(density)(0.5) == -np.inf


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: er.Bernoulli(), ModelError, "exactly one"),
        (lambda: er.Bernoulli(0.5, 0.0), ModelError, "probs and logits"),
        (lambda: er.Categorical(0.5), ShapeError, "a vector"),
        (lambda: er.MultivariateNormal(0.0), ModelError, "exactly one"),
        (lambda: er.LKJCholesky(1), ModelError, "at least 2"),
        (lambda: er.LKJCholesky(2.5), ModelError, "whole number"),
        (lambda: er.Ordered(er.Beta(1, 1)), ModelError, "real or positive"),
        (lambda: lower(er.Ordered(er.Normal(0, 1))), ShapeError, "last batch axis"),
        (lambda: er.ImproperUniform(constraints.simplex), ShapeError, "at least 1 axes"),
        (lambda: er.CustomDist(gumbel, event_dim=1), ShapeError, "shape="),
        (lambda: er.Normal(0, 1).expand("three"), ShapeError, "whole numbers"),
        (lambda: lower(er.Normal(np.zeros(3), np.ones(2))), ShapeError, r"loc of shape \(3,\), scale of"),
        (lambda: lower(er.Normal(0, 1).expand([2]).expand([3])), ShapeError, "broadcast"),
        (
            lambda: lower(er.MixtureSameFamily(er.Categorical(CUTS * 0 + 1 / 3), er.Normal(A[:2], 1))),
            ShapeError,
            "weights",
        ),
        (
            lambda: lower(er.MixtureSameFamily(er.Categorical(CUTS * 0 + 1 / 3), er.Uniform(A, 5))),
            UnsupportedError,
            "CustomDist",
        ),
        (lambda: lower(object()), UnsupportedError, "builtins.object"),
        (lambda: lower(type("Mine", (er.Distribution,), {})()), UnsupportedError, "Mine"),
        (lambda: to_numpyro_constraint(constraints.dependent), UnsupportedError, "known bounds"),
        (lambda: constraints.from_dict({"name": "blob"}), ModelError, "blob"),
    ],
)
def test_bad_declaration(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    "declared, words",
    [
        (er.ImproperUniform(constraints.real), "give it a proper prior"),
        (er.Ordered(er.Normal([0.0, 1.0], 1.0)), "same law"),
        (er.CustomDist(gumbel, params=(0.0, 1.0)), "give sample="),
    ],
)
def test_what_cannot_be_drawn_says_so(declared, words):
    with pytest.raises(UnsupportedError, match="(?i)" + words):
        lower(declared).sample(jax.random.key(0), (2,))


def test_custom_functions_of_the_wrong_shape_are_refused():
    summed = er.CustomDist(lambda x: jnp.sum(x), support=constraints.real)
    with pytest.raises(ShapeError, match="one log density per value"):
        lower(summed).log_prob(jnp.ones(3))
    scalar = er.CustomDist(gumbel, lambda key, loc, scale, shape: 0.0, params=(0.0, 1.0))
    with pytest.raises(ShapeError, match=r"shape \(5,\)"):
        lower(scalar).sample(jax.random.key(0), (5,))


def test_custom_vector_law():
    def log_prob(x, loc):
        return -0.5 * ((x - loc) ** 2).sum(-1)

    law = lower(er.CustomDist(log_prob, params=(np.zeros((4, 3)),), event_dim=1))
    assert (law.batch_shape, law.event_shape) == ((4,), (3,))
    np.testing.assert_allclose(law.log_prob(jnp.ones((7, 4, 3))), np.full((7, 4), -1.5))
    positive = er.CustomDist(lambda x: -x, support=constraints.positive)
    np.testing.assert_allclose(lower(positive).log_prob(jnp.array([-1.0, 1.0])), [-np.inf, -1.0])


def test_wrappers_compose():
    base = er.Normal(np.array([0.0, 1.0, 2.0]), 1.0)
    wide = lower(base.expand((4, 3)))
    assert (wide.batch_shape, wide.event_shape) == ((4, 3), ())
    assert len(np.unique(np.asarray(wide.sample(jax.random.key(0))))) == 12
    event = base.expand((4, 3)).to_event(1)
    assert (event.event_dim, event.support) == (1, constraints.real_vector)
    assert (lower(event).batch_shape, lower(event).event_shape) == ((4,), (3,))
    values = np.arange(12.0).reshape(4, 3)
    elementwise = stats.norm([0, 1, 2], 1).logpdf(values)
    np.testing.assert_allclose(lower(event).log_prob(values), elementwise.sum(-1))
    mask = np.array([True, False, True])
    np.testing.assert_allclose(lower(base.mask(mask)).log_prob(values), elementwise * mask)
    positive = er.Exponential(1.0).expand([2, 5]).to_event(2)
    assert positive.support == constraints.independent(constraints.positive, 2)
    assert constraint_of(lower(positive).support) == positive.support
    assert not positive.is_discrete and er.Poisson(1.0).expand([2]).to_event(1).is_discrete
    assert lower(er.Normal(0, 1).expand(3)).batch_shape == (3,)


def test_gradients_stay_finite_in_the_tails():
    def density(z):
        laws = [
            (er.TruncatedNormal(z, 1.0, low=40.0, high=60.0), 41.0),
            (er.TruncatedNormal(z, 1.0, high=-45.0), -46.0),
            (er.HalfStudentT(3.0 + z, 2.0), 1e6),
            (er.OrderedLogistic(z - 500.0, CUTS), jnp.array([0, 1, 2, 3])),
            (er.NegativeBinomial(5.0 + z, 1e7), jnp.array([0, 3, 1000])),
            (er.NegativeBinomial(5.0, 1e-3 + z**2), jnp.array([0, 3, 1000])),
        ]
        return jnp.stack([lower(law).log_prob(value).sum() for law, value in laws])

    differentiate = quickly(lambda z, step: jax.jvp(density, (z,), (step,)))
    for number in (np.float64, np.float32):
        values, slopes = differentiate(number(0.1), number(1.0))
        assert np.isfinite(values).all() and np.isfinite(slopes).all()
    step = 1e-6
    np.testing.assert_allclose(
        differentiate(0.1, 1.0)[1],
        (density(0.1 + step) - density(0.1 - step)) / (2 * step),
        rtol=1e-5,
        atol=1e-6,
    )


def test_ordered_density_integrates_to_one():
    """K! counts the orderings: the sum over permutations of draws equals the unordered density."""
    law = lower(er.Ordered(er.Normal(0, 2).expand([3])))
    base = stats.norm(0, 2)
    x = np.array([-1.0, 0.3, 2.0])
    total = sum(np.exp(base.logpdf(np.array(p)).sum()) for p in permutations(x))
    np.testing.assert_allclose(np.exp(law.log_prob(x)), total)
    assert lower(er.Ordered(er.Normal([0.0, 0.0, 0.0], 2.0))).exchangeable is False


def test_tables_and_numpyro_objects_are_taken_as_they_are():
    own = dist.Normal(0.0, 1.0)
    assert lower(own) is own
    mixed = er.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.5, 0.5])), er.Normal([0.0, 1.0], 1.0))
    assert lower(mixed).batch_shape == ()
    for table in (pd.Series([0.0, 1.0]), xr.DataArray([0.0, 1.0]), [0.0, 1.0], (0.0, 1.0)):
        np.testing.assert_allclose(
            lower(er.Normal(table, 1.0)).log_prob(0.0), stats.norm([0, 1], 1).logpdf(0.0)
        )


@pytest.mark.parametrize(
    "backend, expected",
    [
        (theirs.greater_than_eq(2.0), constraints.greater_than(2.0, closed=True)),
        (theirs.less_than(np.array([1.0, 2.0])), constraints.less_than((1.0, 2.0))),
        (theirs.integer_greater_than(3), constraints.integer_interval(3, None)),
        (theirs.positive_integer, constraints.integer_interval(1, None)),
        (theirs.corr_matrix, constraints.corr_matrix),
        (
            theirs.independent(theirs.interval(0.0, 2.0), 1),
            constraints.Independent(constraints.interval(0, 2), 1),
        ),
        (theirs.softplus_positive, constraints.positive),
        (theirs.sphere, constraints.Dependent(event_dim=1)),
        (theirs.dependent, constraints.dependent),
    ],
    ids=str,
)
def test_constraint_of(backend, expected):
    got = constraint_of(backend)
    assert got == expected and hash(got) == hash(expected)
    assert constraints.from_dict(got.as_dict()) == got


@pytest.mark.parametrize(
    "constraint, good, bad",
    [
        (constraints.real, 1e300, np.nan),
        (constraints.positive, 1e-300, 0.0),
        (constraints.nonnegative, 0.0, -1e-300),
        (constraints.unit_interval, 1.0, 1.1),
        (constraints.interval(-1, 2), 2.0, 2.1),
        (constraints.greater_than(1), 1.1, 1.0),
        (constraints.less_than(1, closed=True), 1.0, 1.1),
        (constraints.boolean, 1, 0.5),
        (constraints.integer_interval(1, 3), 3, 4),
        (constraints.integer_interval(1, None), 900, 1.5),
        (constraints.nonnegative_integer, 0, -1),
        (constraints.circular, 3.0, 4.0),
        (constraints.real_vector, [1.0, 2.0], [1.0, np.inf]),
        (constraints.simplex, [0.5, 0.5], [1.5, -0.5]),
        (constraints.ordered_vector, [1.0, 2.0], [2.0, 1.0]),
        (constraints.positive_ordered_vector, [1.0, 2.0], [-1.0, 2.0]),
        (constraints.lower_cholesky, [[2.0, 0.0], [1.0, 1.0]], [[2.0, 1.0], [0.0, 1.0]]),
        (constraints.corr_cholesky, [[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.6, 0.6]]),
        (constraints.corr_matrix, [[1.0, 0.5], [0.5, 1.0]], [[2.0, 0.5], [0.5, 1.0]]),
        (constraints.positive_definite, [[1.0, 0.5], [0.5, 1.0]], [[1.0, 2.0], [2.0, 1.0]]),
        (constraints.independent(constraints.positive, 1), [1.0, 2.0], [1.0, -2.0]),
    ],
    ids=lambda value: value.name if isinstance(value, constraints.Constraint) else "",
)
def test_constraint_checks(constraint, good, bad):
    np.testing.assert_array_equal(constraint.check(np.stack([good, bad])), [True, False])
    assert constraint.words and constraints.from_dict(constraint.as_dict()) == constraint


def test_declarations_are_frozen_and_named_as_in_numpyro():
    with pytest.raises(AttributeError):
        er.Normal().loc = 1.0
    for law, make in [(er.Normal, dist.Normal), (er.Gamma, dist.Gamma), (er.StudentT, dist.StudentT)]:
        names = [name for name in inspect.signature(make).parameters if name != "validate_args"]
        assert [field.name for field in fields(law)] == names
    assert repr(distributions.Normal(np.zeros(8), 2)) == "Normal(loc=<array (8,)>, scale=2)"

"""Missing values of binary and categorical covariates are summed out, with their exact probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import elboroom as er

RNG = np.random.default_rng(4)
N = 40
TRUE = RNG.integers(0, 2, N)
Y = 1.0 * TRUE + 0.7 * RNG.normal(size=N)
X = np.where(np.arange(N) % 4 == 0, np.nan, TRUE)


@er.model
def binary(x, y=None):
    p = er.sample("p", er.Beta(2, 2))
    b = er.sample("b", er.Normal(0, 2))
    with er.plate("row", len(y)):
        x = er.observe("x", er.Bernoulli(probs=p), x)
        er.observe("y", er.Normal(b * x, 0.7), y)


@er.model
def nominal(g, y=None):
    share = er.sample("share", er.Dirichlet(np.ones(3)))
    level = er.sample("level", er.Normal(np.zeros(3), 2.0).to_event(1))
    with er.plate("row", len(y)):
        g = er.observe("g", er.Categorical(probs=share), g)
        er.observe("y", er.Normal(level[g], 1.0), y)


def _exact(p, b):
    """Log joint density, and the probability of one in each row whose value is missing; at each of some points."""
    prior = stats.beta(2, 2).logpdf(p) + stats.norm(0, 2).logpdf(b)
    one = np.log(p)[..., None] + stats.norm(b[..., None], 0.7).logpdf(Y)
    zero = np.log1p(-p)[..., None] + stats.norm(0, 0.7).logpdf(Y)
    gap = np.isnan(X)
    rows = np.where(gap, np.logaddexp(one, zero), np.where(X == 1, one, zero))
    return prior + rows.sum(-1), (1 / (1 + np.exp(zero - one)))[..., gap]


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("p, b", [(0.4, 0.8), (0.7, -0.3)])
def test_a_binary_covariate(p, b, backend):
    target = binary(X, Y).target(backend)
    point = {"p": np.array(p), "b": np.array(b)}
    assert target.log_joint(point) == pytest.approx(_exact(**point)[0], abs=1e-9)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_categorical_covariate(backend):
    g = np.array([0, 1, 2, np.nan, 1, np.nan])
    y = np.array([0.1, 1.0, 2.2, 2.0, 0.7, -0.2])
    share, level = np.array([0.2, 0.5, 0.3]), np.array([0.0, 1.0, 2.0])
    each = np.log(share) + stats.norm(level, 1).logpdf(y[:, None])
    rows = [np.logaddexp.reduce(r) if np.isnan(k) else r[int(k)] for r, k in zip(each, g, strict=True)]
    prior = stats.dirichlet(np.ones(3)).logpdf(share) + stats.norm(0, 2).logpdf(level).sum()
    found = nominal(g, y).target(backend).log_joint({"share": share, "level": level})
    assert found == pytest.approx(prior + sum(rows), abs=1e-9)


def test_fit_and_probabilities_of_what_is_missing():
    posterior = er.fit(binary(X, Y), progress=False)
    p, b = (g.ravel() for g in np.meshgrid(np.linspace(0.05, 0.95, 60), np.linspace(-0.5, 2.5, 80)))
    density, chances = _exact(p, b)
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    table = posterior.summary()
    for name, grid in (("p", p), ("b", b)):
        mean = (weight * grid).sum()
        sd = np.sqrt((weight * (grid - mean) ** 2).sum())
        assert abs(table.loc[name, "mean"] - mean) < 0.1 * sd and abs(table.loc[name, "sd"] / sd - 1) < 0.1
    assert any(f.name == "missing values" and "summed out" in f.advice for f in posterior.findings)
    found = posterior.discrete()
    found = found["x_missing"] if "x_missing" in found else found["posterior"]["x_missing"]
    chance = np.asarray(found).reshape(-1, N, 2)[..., 1].mean(0)
    assert np.all(np.abs(chance[np.isnan(X)] - weight @ chances) < 0.03)
    np.testing.assert_allclose(chance[~np.isnan(X)], X[~np.isnan(X)], atol=1e-6)
    assert posterior.draws["posterior_predictive"]["y"].shape[-1] == N

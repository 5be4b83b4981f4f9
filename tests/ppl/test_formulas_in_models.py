"""Laws written in ``er.math`` inside models: densities, graphs and predictions through the whole language."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import elboroom as er

TIMES = np.array([0.5, 1.2, 3.0, 2.0])
SEEN = np.array([True, True, False, True])
GROUP = np.array([0, 1, 2, 1])


@er.model
def survival(seen, time, group, y=None):
    scale = er.sample("scale", er.LogNormal(0.0, 1.0))
    shape = er.sample("shape", er.Gamma(2.0, 1.0))
    effect = er.sample("effect", er.ZeroSumNormal(0.5, 3))
    law = er.Weibull(scale * er.math.exp(effect[group]), shape)
    er.observe("y", er.Censored(law, upper=er.math.where(seen, er.math.inf, time)), y)


@er.model
def series(y=None):
    phi = er.sample("phi", er.Uniform(-1.0, 1.0))
    level = er.sample("level", er.GaussianRandomWalk(0.5, 5))
    noise = er.sample("noise", er.AR(er.math.stack([phi]), 0.3, 5))
    er.observe("y", er.Truncated(er.Normal(level + noise, 1.0), low=-4.0), y)


@er.model
def correlated(y=None):
    correlation = er.sample("correlation", er.LKJ(3, 2.0))
    er.observe("y", er.MultivariateNormal(np.zeros(3), covariance_matrix=correlation), y)


def test_survival():
    program = survival(seen=SEEN, time=TIMES, group=GROUP, y=TIMES)
    effect = np.array([0.3, -0.1, -0.2])
    got = program.log_density({"scale": 2.0, "shape": 1.5, "effect": effect})
    law = stats.weibull_min(1.5, scale=2.0 * np.exp(effect[GROUP]))
    expected = (
        stats.lognorm(1.0).logpdf(2.0)
        + stats.gamma(2.0).logpdf(1.5)
        + stats.norm(0, 0.5).logpdf(effect).sum()
        - stats.norm(0, 0.5).logpdf(0.0)
        + np.where(SEEN, law.logpdf(TIMES), law.logsf(TIMES)).sum()
    )
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    edges = {(a, b): set(link["params"]) for a, b, link in program.graph().network.edges(data=True)}
    assert edges["scale", "y"] == {"base.scale"} and edges["shape", "y"] == {"base.concentration"}
    assert program.target().dim == 4


def test_series():
    program = series(y=np.array([0.1, -0.4, 1.0, 0.3, 2.0]))
    assert program.target().dim == 11
    edges = {(a, b): set(link["params"]) for a, b, link in program.graph().network.edges(data=True)}
    assert edges["phi", "noise"] == {"coefficients"}
    drawn = program.prior_predictive(num_draws=50)
    assert (drawn["prior_predictive"]["y"].values >= -4.0).all()


def test_correlation_matrix():
    program = correlated(y=np.array([[0.3, 0.1, -0.2], [1.0, 0.9, -0.1]]))
    assert program.target().dim == 3
    z = np.random.default_rng(0).normal(size=(2, 3))
    assert np.isfinite(program.target().log_density(z)["log_density"]).all()


def test_what_has_no_sampler_says_so():
    @er.model
    def regions(edges):
        level = er.sample("level", er.ImproperUniform())
        er.sample("phi", er.ICAR(edges, 4))
        er.factor("pull", -0.5 * level * level)

    program = regions(edges=np.array([[0, 1], [1, 2], [2, 3]]))
    assert program.target().dim == 4
    with pytest.raises(er.UnsupportedError, match=r"level.*proper"):
        program.prior_predictive(num_draws=3)

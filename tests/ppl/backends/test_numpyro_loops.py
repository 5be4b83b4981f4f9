"""NumPyro's scan and cond: their latent sites are quantities like others."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan

import elboroom as er

RNG = np.random.default_rng(5)
Q, R, T = 0.4, 0.6, 30
Y = np.cumsum(Q * RNG.normal(size=T)) + R * RNG.normal(size=T)


def local_level(y, q=Q, r=R):
    def step(level, value):
        level = numpyro.sample("level", dist.Normal(level, q))
        numpyro.sample("y", dist.Normal(level, r), obs=value)
        return level, level

    scan(step, 0.0, y)


def smoothed(y):
    """Mean and covariance of the levels given all outcomes."""
    steps = np.tril(np.ones((T, T)))
    prior = Q**2 * steps @ steps.T
    gain = prior @ np.linalg.inv(prior + R**2 * np.eye(T))
    return gain @ y, prior - gain @ prior


def test_a_local_level_is_smoothed():
    posterior = er.fit(er.from_numpyro(local_level)(Y), progress=False)
    mean, covariance = smoothed(Y)
    sd = np.sqrt(np.diag(covariance))
    found = posterior.values["level"]
    np.testing.assert_allclose(found.mean(0), mean, atol=5 * sd.max() / np.sqrt(len(found)))
    np.testing.assert_allclose(np.cov(found.T), covariance, atol=6 * sd.max() ** 2 / np.sqrt(len(found)))
    assert posterior.verdict == "trusted"
    assert posterior.summary().index[3] == "level[3]"


def test_missing_outcomes_in_a_scan():
    """The level where nothing is observed has the interpolated law."""

    def model(y, there):
        def step(level, inputs):
            value, seen = inputs
            level = numpyro.sample("level", dist.Normal(level, Q))
            with handlers.mask(mask=seen):
                numpyro.sample("y", dist.Normal(level, R), obs=value)
            return level, None

        scan(step, 0.0, (y, there))

    there = np.ones(T, bool)
    there[10:14] = False
    posterior = er.fit(er.from_numpyro(model)(np.where(there, Y, 0.0), there), progress=False)
    steps = np.tril(np.ones((T, T)))
    prior = Q**2 * steps @ steps.T
    some = np.flatnonzero(there)
    gain = prior[:, some] @ np.linalg.inv(prior[np.ix_(some, some)] + R**2 * np.eye(len(some)))
    variance = np.diag(prior - gain @ prior[some])
    found = posterior.values["level"]
    np.testing.assert_allclose(found.mean(0), gain @ Y[some], atol=5 * np.sqrt(variance.max() / len(found)))
    np.testing.assert_allclose(found.var(0), variance, rtol=0.15)
    assert np.isnan(posterior.observed_data["y"]).sum() == 4


def test_conditioned_and_substituted_levels():
    program = er.from_numpyro(local_level)(Y)
    fixed = program.condition(level=np.zeros(T))
    expected = dist.Normal(0.0, R).log_prob(Y).sum() + T * dist.Normal(0.0, Q).log_prob(0.0)
    assert fixed.log_density({}) == pytest.approx(float(expected), rel=1e-6)
    given = er.from_numpyro(handlers.substitute(local_level, data={"level": jnp.zeros(T)}))(Y)
    assert given.trace()["level"].role == "fixed"
    assert given.log_density({}) == pytest.approx(float(expected), rel=1e-6)


def test_prior_draws_move_from_step_to_step():
    drawn = er.from_numpyro(local_level)(Y).prior_predictive(4000)
    level, y = drawn["prior"]["level"].values[0], drawn["prior_predictive"]["y"].values[0]
    variance = Q**2 * np.arange(1, T + 1)
    np.testing.assert_allclose(level.var(0), variance, rtol=0.12)
    np.testing.assert_allclose((y - level).var(0), R**2, rtol=0.12)
    np.testing.assert_allclose(np.diff(level, axis=1).var(0), Q**2, rtol=0.12)


def discrete(y):
    def step(state, value):
        state = numpyro.sample("state", dist.Bernoulli(0.2 + 0.6 * state))
        numpyro.sample("y", dist.Normal(state, 1.0), obs=value)
        return state, None

    scan(step, 0, y)


def nested(y):
    def outer(level, value):
        level, _ = scan(
            lambda c, _: (numpyro.sample("level", dist.Normal(c, 1.0)), None), level, jnp.arange(2)
        )
        numpyro.sample("y", dist.Normal(level, 1.0), obs=value)
        return level, None

    scan(outer, 0.0, y)


def parameter(y):
    def step(level, value):
        level = numpyro.sample("level", dist.Normal(level, numpyro.param("width", 1.0)))
        numpyro.sample("y", dist.Normal(level, 1.0), obs=value)
        return level, None

    scan(step, 0.0, y)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (discrete, r"site 'state' in a scan: expected a continuous latent quantity, .*er.MarkovChain"),
        (nested, r"a scan or cond inside it.*jax.lax"),
        (parameter, r"param 'width' inside it. Declare it before the loop"),
    ],
)
def test_what_a_scan_cannot_hold(model, words):
    with pytest.raises(er.UnsupportedError, match=words):
        er.from_numpyro(model)(Y).trace()

"""Series of latent states behind what is seen of them: against Kalman's filter, and the smoother of Rauch, Tung and Striebel."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.guides.laws import HEADS, Law, log_prob, moments, placed
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.evidence import encoded, weighed
from elboroom.inference.deep.setup import set_up
from scipy.stats import multivariate_normal

import elboroom as er

TIMES, UNITS, SEEN = 3, 2, 3
MOVE = np.array([[0.9, 0.2], [-0.2, 0.8]])
LOADING = np.array([[1.0, -0.5, 0.3], [0.2, 1.0, 0.7]])
SHOCK, NOISE = 0.5, 0.6


@er.model
def states(x, gaps=False):
    """Two states that turn and are moved, and three linear functions of them with noise."""
    move, loading = er.math.asarray(MOVE), er.math.asarray(LOADING)
    er.module("encode", er.nn.Smoother(TIMES, SEEN, 12, UNITS, num_each=10, gaps=gaps))
    with er.plate("series", len(x)):
        z = er.sample("z0", er.Normal(0, 1).expand([UNITS]).to_event(1))
        path = [z]
        for t in range(1, TIMES):
            z = er.sample(f"z{t}", er.Normal(z @ move, SHOCK).to_event(1))
            path.append(z)
        er.observe("x", er.Normal(er.math.stack(path, 1) @ loading, NOISE).to_event(2), x)


def series(num, seed):
    """States and what is seen of them, `num` series of each."""
    rng = np.random.default_rng(seed)
    z = [rng.normal(size=(num, UNITS))]
    for _ in range(1, TIMES):
        z.append(z[-1] @ MOVE + SHOCK * rng.normal(size=(num, UNITS)))
    z = np.stack(z, 1)
    return z, z @ LOADING + NOISE * rng.normal(size=(num, TIMES, SEEN))


def cut(x, seed):
    """The same series, each broken off at a time of its own."""
    length = np.random.default_rng(seed).integers(2, TIMES + 1, len(x))
    return np.where(np.arange(TIMES)[None, :, None] < length[:, None, None], x, np.nan)


def kalman(x):
    """Log evidence of a series, means and covariances of its states given all of it, and of its last state that is seen given it."""
    mean, cov, evidence, filtered, ahead = np.zeros(UNITS), np.eye(UNITS), 0.0, [], []
    for t, seen in enumerate(x):
        if t:
            mean, cov = mean @ MOVE, MOVE.T @ cov @ MOVE + SHOCK**2 * np.eye(UNITS)
        ahead.append((mean, cov))
        if np.isfinite(seen).all():
            whole = LOADING.T @ cov @ LOADING + NOISE**2 * np.eye(SEEN)
            evidence += multivariate_normal(mean @ LOADING, whole).logpdf(seen)
            gain = cov @ LOADING @ np.linalg.inv(whole)
            mean, cov = mean + gain @ (seen - mean @ LOADING), cov - gain @ LOADING.T @ cov
        filtered.append((mean, cov))
    smooth = [filtered[-1]]
    for t in reversed(range(TIMES - 1)):
        (mean, cov), (known, spread), (later, wide) = filtered[t], ahead[t + 1], smooth[0]
        gain = cov @ MOVE @ np.linalg.inv(spread)
        smooth.insert(0, (mean + gain @ (later - known), cov + gain @ (wide - spread) @ gain.T))
    means = np.concatenate([mean for mean, _ in smooth])
    sds = np.concatenate([np.sqrt(np.diag(cov)) for _, cov in smooth])
    return evidence, means, sds


def precision():
    """Of the states of a series given it."""
    units = TIMES * UNITS
    found = np.kron(np.eye(TIMES), LOADING @ LOADING.T / NOISE**2)
    found[:UNITS, :UNITS] += np.eye(UNITS)
    for t in range(1, TIMES):
        step = np.zeros((UNITS, units))
        step[:, (t - 1) * UNITS : t * UNITS], step[:, t * UNITS : (t + 1) * UNITS] = -MOVE.T, np.eye(UNITS)
        found += step.T @ step / SHOCK**2
    return found


def right():
    """Weights of a linear network that says of a series what Kalman's smoother does."""
    units, lags = TIMES * UNITS, HEADS["chain"].num_outputs(1) - 2
    factor = np.linalg.cholesky(precision()[::-1, ::-1])[::-1, ::-1].T  # lower, of eps = factor (z - mean)
    assert np.allclose(factor.T @ factor, precision()) and np.allclose(np.triu(factor, 1), 0)
    sd = 1 / np.diag(factor)
    inner = factor * sd  # of y = (z - mean) / sd: ones on the diagonal
    weight, bias = np.zeros((units * (2 + lags), TIMES * SEEN)), np.zeros(units * (2 + lags))
    weight[:units] = np.linalg.solve(precision(), np.kron(np.eye(TIMES), LOADING) / NOISE**2)
    bias[units : 2 * units] = np.log(sd)
    for i in range(units):
        for lag in range(1, min(i, lags) + 1):
            bias[2 * units + i * lags + lag - 1] = -inner[i, i - lag]
    return {"layers.0.weight": weight, "layers.0.bias": bias}


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_chain_has_the_law_of_states_given_what_is_seen(backend):
    _, x = series(40, 0)
    target = states(x).target(backend, np.float64)
    linear = er.nn.MLP(TIMES * SEEN, [], 10 * TIMES * UNITS)
    made = set_up(er.Amortized(linear, within="chain"), "series", target, 20, 0)
    begin = {**made.begin, **{f"encoder.{k}": v for k, v in right().items()}}
    params = {"weights": {k: target.to_device(v) for k, v in begin.items()}, "guide": {}}
    compiled = Compiled(made.rows, made.encoder, {})
    evidence, mean, sd = (np.array(v) for v in zip(*map(kalman, x), strict=True))
    found = moments(encoded(compiled, params, np.arange(40)))
    np.testing.assert_allclose(found, (mean, sd), atol=1e-8)
    parts = list(weighed(compiled, params, np.arange(40), 1, num_draws=400))
    np.testing.assert_allclose(np.concatenate([part.bound for part in parts]), evidence, atol=1e-8)


def test_draws_of_a_chain_have_its_density():
    rng = np.random.default_rng(0)
    law = Law(rng.normal(size=(3, 5)), 0.3 * rng.normal(size=(3, 5)), lags=0.5 * rng.normal(size=(3, 5, 2)))
    z = placed(law, rng.normal(size=(7, 3, 5)))
    for i in range(3):
        root = np.exp(law.log_sd[i])[:, None] * np.stack(
            [(placed(law, np.eye(5)[j] + np.zeros((3, 5))) - law.mean)[i] * np.exp(-law.log_sd[i]) for j in range(5)], 1
        )  # fmt: skip
        own = multivariate_normal(law.mean[i], root @ root.T)
        np.testing.assert_allclose(log_prob(law, z)[:, i], own.logpdf(z[:, i]))
        np.testing.assert_allclose(moments(law)[1][i], np.sqrt(np.diag(own.cov)))
    assert np.abs(np.corrcoef(root)[0, 1:]).max() > 0.1


@pytest.mark.slow
def test_states_of_series_are_those_of_the_smoother():
    z, whole = series(80, 1)
    x, guide = cut(whole, 2), er.Amortized("encode", within="chain")
    posterior = er.fit(states(x, gaps=True), guide=guide, progress=False, num_draws=200, seed=0)
    assert posterior.verdict != "untrusted"
    evidence, mean, sd = (np.array(v) for v in zip(*map(kalman, x), strict=True))
    record, table = posterior.draws["fit"].to_dataset(), posterior.summary()
    found = {k: np.hstack([_by_row(table, k, t) for t in range(TIMES)]) for k in ("mean", "sd", "q5", "q95")}
    assert (
        np.abs(record["row_evidence"].to_numpy() - evidence).max() < 0.1
    )  # five standard errors of 1,000 effective draws
    assert (evidence - record["row_bound"].to_numpy()).mean() < 0.5
    fine = (table["verdict"] == "trusted").to_numpy()
    assert fine.mean() > 0.6
    assert np.abs((found["mean"] - mean) / sd).max() < 0.2 and np.abs(found["sd"] / sd - 1).max() < 0.2
    truth = z.reshape(80, -1)
    inside = (found["q5"] < truth) & (truth < found["q95"])
    assert inside.mean() == pytest.approx(0.9, abs=4 * inside.mean(1).std() / np.sqrt(80))
    drawn = posterior.latent.simulate(2000, seed=1)["x"].to_numpy()[:, -1]
    cov = MOVE.T @ (MOVE.T @ MOVE + SHOCK**2 * np.eye(UNITS)) @ MOVE + SHOCK**2 * np.eye(UNITS)
    wide = np.diag(LOADING.T @ cov @ LOADING) + NOISE**2
    assert np.abs(drawn.var(0) / wide - 1).max() < 4 * np.sqrt(2 / 2000)


def _by_row(table, column, t):
    return table[column][table.index.str.startswith(f"z{t}[")].to_numpy().reshape(-1, UNITS)


def test_what_a_smoother_cannot_take_is_refused():
    with pytest.raises(er.ModelError, match="num_each of er.nn.Smoother"):
        er.nn.Smoother(4, 3, 8, 2, num_each=1)
    with pytest.raises(er.ShapeError, match="12 numbers for each row"):
        er.fit(states(series(20, 0)[1]), guide=er.Amortized("encode"), progress=False)

"""Conditional rows, ladders of latent quantities and a capacity: each told from the basic kind by a number that is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.evidence import weighed
from elboroom.inference.deep.setup import set_up
from scipy.stats import multivariate_normal

import elboroom as er

LOADING = np.array([[1.5, -1.0, 0.5, 1.0], [0.3, 1.2, -1.4, 0.8]])
PLACES = np.array([[1.0, 0, 2, 0], [-1.0, 1, 0, 0], [0.0, -1, -2, 1]])
SLOPE, NOISE = np.array([0.0, 1.0, 0.0, -1.0]), 0.5
DENSE = er.Amortized(within="full-rank")


@er.model
def conditional(x, kind, dose):
    """A plane whose place a label and a number move."""
    loading, places = er.param("loading", LOADING), er.param("places", np.zeros((3, 4)))
    slope, sd = er.param("slope", np.zeros(4)), er.math.exp(er.param("log_sd", -0.5))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ loading + places[kind] + dose[:, None] * slope, sd).to_event(1), x)


def doses(num, seed):
    rng = np.random.default_rng(seed)
    kind, dose = rng.integers(0, 3, num), rng.normal(size=num)
    x = rng.normal(size=(num, 2)) @ LOADING + PLACES[kind] + dose[:, None] * SLOPE
    return {"x": x + NOISE * rng.normal(size=x.shape), "kind": kind, "dose": dose}


@cache
def of_doses():
    return er.fit(
        conditional(**doses(90, 0)), guide=DENSE, validation=0, progress=False, num_draws=200, seed=0
    )


def test_what_rows_are_given_is_no_part_of_what_they_cost():
    """Of rows given a label and a number, against the best that can be said of them without: two units and noise, by maximum likelihood."""
    data, new = doses(90, 0), doses(60, 1)
    learned = {k: np.asarray(v, float) for k, v in of_doses().learned.items()}
    whole = learned["loading"].T @ learned["loading"] + np.exp(2 * learned["log_sd"]) * np.eye(4)
    rest = new["x"] - learned["places"][new["kind"]] - new["dose"][:, None] * learned["slope"]
    exact = multivariate_normal(np.zeros(4), whole).logpdf(rest)
    found = of_doses().latent.score(new)
    assert np.all(np.abs(found["log_prob"] - exact) < 5 * found["se"] + 1e-3)
    values, vectors = np.linalg.eigh(np.cov(data["x"].T, bias=True))
    noise, span = values[:2].mean(), vectors[:, 2:] * np.sqrt(values[2:] - values[:2].mean())
    basic = multivariate_normal(data["x"].mean(0), span @ span.T + noise * np.eye(4)).logpdf(new["x"])
    assert (exact - basic).mean() > 0.5  # it is 0.95 at the arrays that made the rows


def test_simulated_rows_have_the_means_that_they_are_given():
    count = 4000
    for kind in range(3):
        given = {"kind": np.full(count, kind), "dose": np.full(count, 0.5)}
        drawn = of_doses().latent.simulate(count, given=given, seed=kind)["x"].to_numpy()
        learned = {k: np.asarray(v, float) for k, v in of_doses().learned.items()}
        wanted = learned["places"][kind] + 0.5 * learned["slope"]
        assert np.all(np.abs(drawn.mean(0) - wanted) < 4 * drawn.std(0) / np.sqrt(count))
        assert np.all(np.abs(wanted - PLACES[kind] - 0.5 * SLOPE) < 1.0)  # five standard errors of 30 rows


STEPS = {2: np.array([[1.5]]), 1: np.array([[1.0, -2.0]])}
SPREAD = 0.4


@er.model
def ladder(x, num):
    """Rungs above what makes a row: each is a map of the one above it, and some noise."""
    with er.plate("row", len(x)):
        z = er.sample(f"z{num}", er.Normal(0, 1).expand([1]).to_event(1))
        for rung in range(num - 1, 0, -1):
            step = er.param(f"step{rung}", STEPS[rung])
            z = er.sample(f"z{rung}", er.Normal(z @ step, SPREAD).to_event(1))
        er.observe("x", er.Normal(z @ er.math.asarray(LOADING), NOISE).to_event(1), x)


def joint(steps):
    """Covariance of the rungs, the highest first, and a row."""
    cov = np.eye(1)
    for step in steps:
        low = cov[:, -len(step) :] @ step
        cov = np.block(
            [
                [cov, low],
                [low.T, step.T @ cov[-len(step) :, -len(step) :] @ step + SPREAD**2 * np.eye(step.shape[1])],
            ]
        )
    low = cov[:, -2:] @ LOADING
    return np.block([[cov, low], [low.T, LOADING.T @ cov[-2:, -2:] @ LOADING + NOISE**2 * np.eye(4)]])


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("num", [2, 3])
def test_rungs_have_their_exact_laws_and_say_more_of_rows_than_one(num, backend):
    steps, count, units = [STEPS[rung] for rung in range(num - 1, 0, -1)], 100, num + 1
    whole = joint(steps)
    seen = whole[units:, units:]
    x = np.random.default_rng(0).multivariate_normal(np.zeros(4), seen, count)
    gain = whole[:units, units:] @ np.linalg.inv(seen)
    cov = whole[:units, :units] - gain @ whole[units:, :units]
    root = np.linalg.cholesky(cov)
    below = (root / np.diag(root)[:, None])[
        np.tril_indices(units, -1)
    ]  # of a root with ones, in units of its rows
    right = {
        "weight": np.zeros((2 * units + len(below), 4)),
        "bias": np.r_[np.zeros(units), np.log(np.diag(root)), below],
    }
    right["weight"][:units] = gain
    target = ladder(x, num).target(backend, np.float64)
    linear = er.nn.MLP(4, [], 2 * units + len(below))
    made = set_up(er.Amortized(linear, within="full-rank"), "row", target, 50, 0)
    begin = {**made.begin, **{f"encoder.layers.0.{k}": v for k, v in right.items()}}
    params = {"weights": {k: target.to_device(v) for k, v in begin.items()}, "guide": {}}
    parts = list(weighed(Compiled(made.rows, made.encoder, {}), params, np.arange(count), 1, num_draws=400))
    evidence = multivariate_normal(np.zeros(4), seen).logpdf(x)
    np.testing.assert_allclose(np.concatenate([part.bound for part in parts]), evidence, atol=1e-8)  # no gap
    own, error = (np.concatenate([part.evidence[i] for part in parts]) for i in range(2))
    assert np.all(np.abs(own - evidence) < 5 * error)
    z, weights = (np.concatenate([getattr(part, name) for part in parts]) for name in ("z", "weights"))
    mean = np.einsum("rk,rku->ru", weights, z)
    assert np.abs((mean - x @ gain.T) / np.sqrt(np.diag(cov))).max() < 5 / np.sqrt(400)
    basic = multivariate_normal(np.zeros(4), LOADING.T @ LOADING + NOISE**2 * np.eye(4))
    wanted = 0.5 * (
        np.trace(np.linalg.solve(basic.cov, seen))
        - 4
        + np.linalg.slogdet(basic.cov)[1]
        - np.linalg.slogdet(seen)[1]
    )
    more = evidence - basic.logpdf(x)
    assert wanted > 0.3 and abs(more.mean() - wanted) < 4 * more.std() / np.sqrt(count)


@pytest.mark.slow
def test_rows_have_the_divergence_that_they_are_drawn_to():
    x = doses(80, 2)["x"]

    @er.model
    def basic(x):
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
            er.observe("x", er.Normal(z @ er.math.asarray(LOADING), 1.5).to_event(1), x)

    objective = er.objectives.Elbo(beta=20.0, capacity=0.5)
    posterior = er.fit(basic(x), guide=er.Amortized(), objective=objective, validation=0, progress=False)
    law = posterior.latent.encode(weigh=False)
    mean, sd = (law[k].to_numpy() for k in ("mean", "sd"))
    own = (0.5 * (mean**2 + sd**2 - 1) - np.log(sd)).sum(1).mean()
    precision = np.eye(2) + LOADING @ LOADING.T / 1.5**2
    right = x @ LOADING.T @ np.linalg.inv(precision) / 1.5**2
    usual = 0.5 * ((right**2).sum(1) + (1 / np.diag(precision) - 1 + np.log(np.diag(precision))).sum()).mean()
    assert own == pytest.approx(0.5, abs=0.05) and usual > 1.0

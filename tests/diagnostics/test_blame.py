"""Model wrong or approximation wrong: the sentence names the right one; and models compared."""

import json
from dataclasses import replace

import numpy as np
import pytest
from elboroom.diagnostics.blame import blame
from elboroom.inference.posterior.posterior import Posterior, record_of

import elboroom as er

RNG = np.random.default_rng(2)
X = RNG.normal(size=120)


@er.model
def line(x, y):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 5))
    s = er.sample("s", er.HalfNormal(3))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x, s), y)


@er.model
def curve(x, y):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 5))
    c, s = er.sample("c", er.Normal(0, 5)), er.sample("s", er.HalfNormal(3))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x + c * x * x, s), y)


def displaced(posterior, by):
    """The same posterior with draws that are off, as a wrong approximation's would be, and judged so."""
    record = record_of(posterior)
    law = replace(record.outcome.law, z=record.outcome.law.z + by)
    table = {**record.table, "verdict": ["untrusted"] * len(record.table["label"])}
    outcome = replace(record.outcome, law=law)
    return Posterior(replace(record, z=record.z + by, table=table, outcome=outcome))


def bent(scale=1.0):
    return 1 + X + scale * X**2 + RNG.normal(size=120)


def test_a_right_model_fits_and_a_wrong_one_misfits():
    right = er.fit(line(X, bent(0.0)), progress=False)
    assert blame(right).verdict == "fits"
    wrong = er.fit(line(X, bent()), progress=False)
    found = blame(wrong)
    assert found.verdict == "model" and "curve of y" in found.misfits[wrong.law]


def test_a_bad_approximation_of_a_right_model_is_to_blame():
    posterior = displaced(er.fit(line(X, bent(0.0)), refine=False, progress=False), 1.5)
    found = blame(posterior)
    assert found.verdict == "approximation"
    assert found.misfits[posterior.law] and not found.misfits["refined"]
    assert "approximation is to blame" in found.sentence


def test_a_bad_approximation_does_not_excuse_a_wrong_model():
    posterior = displaced(er.fit(line(X, bent()), refine=False, progress=False), 1.5)
    assert blame(posterior).verdict == "model"


def test_without_draws_to_trust_it_cannot_tell():
    posterior = displaced(er.fit(line(X, bent(0.0)), refine=False, progress=False), 1.5)
    assert blame(posterior, affordable=0).verdict == "cannot tell"
    posterior = er.fit(line(X, bent(0.0)), guide="delta", refine=False, progress=False)
    assert blame(posterior, affordable=0).verdict in {"cannot tell", "unsettled"}


def test_models_are_compared_by_rows_that_they_have_not_seen(tmp_path):
    y = bent(0.6)
    fits = {"line": er.fit(line(X, y), progress=False), "curve": er.fit(curve(X, y), progress=False)}
    comparison = er.compare(fits)
    table = comparison.table
    assert list(table.index) == ["curve", "line"] and table["weight"].iloc[0] > 0.9
    assert table["elpd_diff"].iloc[0] == 0 and abs(table["elpd_diff"].iloc[1]) > 3 * table["diff_se"].iloc[1]
    assert comparison.sentence.startswith("'curve' predicts new rows better than 'line'.")
    page = comparison.report(tmp_path)
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert [m["name"] for m in content["models"]] == ["curve", "line"] and (
        tmp_path / "comparison.md"
    ).exists()
    assert content["models"][1]["fits_data"] is False and content["best"] == "curve"
    text = page.read_text()
    assert (
        "<script" not in text
        and "http" not in text.replace("http://www.w3.org", "")
        and text.count("<svg") >= 3
    )
    with pytest.raises(er.DataError, match="two posteriors"):
        er.compare({"line": fits["line"]})
    with pytest.raises(er.DataError, match="the outcomes of"):
        er.compare({"line": fits["line"], "other": er.fit(line(X, y + 1), progress=False)})


@er.model
def families(group, y):
    tau, s = er.sample("tau", er.HalfNormal(1)), er.sample("s", er.HalfNormal(1))
    with er.plate("group", 40):
        a = er.sample("a", er.Normal(0, tau))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], s), y)


@pytest.mark.slow
def test_rows_that_their_own_predictions_have_taken_in_are_no_misfit():
    from elboroom.diagnostics.checks.predictions import outcomes

    group = np.repeat(np.arange(40), 5)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=40)[group] + rng.normal(size=200)
        posterior = er.fit(families(group, y), refine=False, progress=False)
        (outcome,) = outcomes(posterior)
        assert (
            abs(outcome.leverage - 1 / 6) < 0.05
        )  # of a mean of five rows, shrunk by as much as their own noise
        assert not [f for f in posterior.check() if f.verdict == "misfit"]


def test_a_refined_posterior_is_judged_anew_and_a_loaded_one_is_not(tmp_path):
    posterior = displaced(er.fit(line(X, bent(0.0)), refine=False, progress=False), 1.5)
    assert blame(posterior).verdict == "approximation"
    assert blame(posterior.refine(progress=False)).misfits.keys() == {"mcmc"}
    posterior.save(tmp_path / "kept")
    assert blame(er.load(tmp_path / "kept")) == blame(posterior)

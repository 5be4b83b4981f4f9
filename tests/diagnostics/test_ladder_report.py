"""Families side by side, on a posterior whose moments are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from elboroom.diagnostics.ladder_report import LadderReport
from elboroom.diagnostics.report.ladder import ladder_section

import elboroom as er


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, 10).expand([2]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(50), 3 + 0.5 * rng.normal(size=50)], 1)
    program = line(x, x @ [1.0, 2.0] + rng.normal(size=50))
    cov = np.linalg.inv(np.eye(2) / 100 + x.T @ x)
    return er.ladder_report(program, ["mean-field", "full-rank", "delta"], chains=True, progress=False), cov


def test_errors_are_those_of_the_families(found):
    """A point has no sd; importance weights mend the mean field, whose plain bound is short by a known amount."""
    report, cov = found
    table = report.table
    assert report.best == "chains" and table.loc["chains", ["worst_mean", "worst_sd"]].tolist() == [0, 0]
    assert table.loc["full-rank", "worst_mean"] < 0.15 and table.loc["full-rank", "worst_sd"] < 0.1
    assert table.loc["delta", "worst_sd"] == pytest.approx(1)
    gap = 0.5 * (np.log(np.diag(np.linalg.inv(cov))).sum() + np.linalg.slogdet(cov)[1])
    short = table.loc["full-rank", "bound"] - table.loc["mean-field", "bound"]
    error = np.hypot(*table.loc[["full-rank", "mean-field"], "bound_se"])
    assert short == pytest.approx(gap, abs=4 * error + 0.02) and gap > 1
    assert table.loc["mean-field", "khat"] > table.loc["full-rank", "khat"]
    assert (table["seconds"] > 0).all() and (table["memory_mib"] >= 0).all()


def test_the_report_of_the_best_shows_it(found):
    report, _ = found
    shown = ladder_section(report.posteriors["chains"])
    assert "Families of guides side by side" in shown and "<svg" in shown and "full-rank" in shown
    assert ladder_section(report.posteriors["delta"]) == ""
    assert "Families against 'chains'" in repr(report)


def test_the_frontier_is_of_those_that_none_beats_twice():
    table = pd.DataFrame(
        {"seconds": [1.0, 2.0, 3.0, 4.0], "worst_mean": [1.0, 0.1, 0.5, 0.0]}, index=["a", "b", "c", "d"]
    )
    assert LadderReport(table, "d", {}).frontier == ("a", "b", "d")


def test_what_cannot_be_fitted_is_told(found):
    program = found[0].posteriors["chains"].program
    for wrong in (["mean field"], [], "mean-field", 3, [3]):
        with pytest.raises(er.GuideError, match="families: expected a list with some of"):
            er.ladder_report(program, wrong)

    @er.model
    def two_way(y):
        k = er.sample("k", er.Categorical(probs=np.array([0.5, 0.5])))
        er.observe("y", er.Normal(k * 1.0, 1.0), y)

    with pytest.raises(er.ElboroomError):
        er.ladder_report(two_way(np.zeros(3)), ["flow"], progress=False)

"""The headline: what is judged, and how much of the rest nothing is known of."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from elboroom.inference.posterior.posterior import Posterior, record_of

import elboroom as er

Y = np.random.default_rng(1).normal(1.0, 1.0, size=(20, 3))


@er.model
def units(y):
    mu, tau = er.sample("mu", er.Normal(0, 5)), er.sample("tau", er.HalfNormal(2))
    with er.plate("unit", len(y)):
        theta = er.sample("theta", er.Normal(mu, tau))
        with er.plate("again", y.shape[1]):
            er.observe("y", er.Normal(theta, 1.0), y.T)


@pytest.fixture(scope="module")
def fitted():
    return er.fit(units(Y), refine=False, progress=False, num_draws=1000)


def doubted(posterior, how_many, reason="symmetric under the signs of theta", **settings):
    """The same posterior with some untrusted locals."""
    verdicts = ["trusted"] * len(posterior.table["label"])
    reasons = ["all evidence within its limits"] * len(verdicts)
    for i in range(how_many):
        verdicts[-1 - i], reasons[-1 - i] = "untrusted", reason
    table = posterior.table | {"verdict": verdicts, "reason": reasons}
    record = record_of(posterior)
    return Posterior(replace(record, table=table, settings={**record.settings, **settings}))


def test_many_untrusted_locals_are_in_the_headline(fitted, tmp_path):
    posterior = doubted(fitted, 12)
    assert posterior.judgement == "trusted" and posterior.verdict == "caution"
    words = "12 of 22 quantities are untrusted; all: symmetric under the signs of theta."
    assert posterior.doubts == words
    assert f"Use with caution: {words}" in repr(posterior) and words in posterior._repr_html_()
    assert "10 trusted, 12 untrusted" in repr(posterior)
    path = posterior.report(tmp_path / "report.html")
    content = json.loads(path.with_suffix(".json").read_text())
    assert (
        content["verdict"] == "caution" and content["judgement"] == "trusted" and content["doubts"] == words
    )
    assert content["counts"] == {"trusted": 10, "caution": 0, "untrusted": 12, "constant": 0}
    card = path.read_text().split('class="card"')[1]
    assert words in card and "10 quantities trusted" in card and "established only roughly" not in card
    assert er.load(posterior.save(tmp_path / "kept")).verdict == "caution"


def test_a_few_untrusted_locals_are_not(fitted):
    assert doubted(fitted, 1).verdict == "trusted" and doubted(fitted, 1).doubts is None
    assert doubted(fitted, 2).verdict == "caution"  # 2 of 22 are 9%
    assert doubted(fitted, 12, quantities=("mu", "tau")).verdict == "trusted"
    assert doubted(fitted, 22).verdict == "untrusted"


def test_the_main_reason_counts_what_differs_in_numbers_only(fitted):
    posterior = doubted(fitted, 12)
    for i in range(10, 19):
        posterior.table["reason"][i] = f"chains diverged where it is {i / 10} sds away"
    assert posterior.doubts == (
        "12 of 22 quantities are untrusted; 9 of them: chains diverged where it is … sds away."
    )

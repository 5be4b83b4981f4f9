"""The report of real fits: self-contained, escaped, valid JSON, nothing half-written."""

import json
import os
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from elboroom.diagnostics import report as report_function
from elboroom.diagnostics.report.write import as_json
from elboroom.ppl.errors import InferenceError

import elboroom as er

SCHEMA = Path(__file__).parents[2] / "diagnostics" / "report" / "schema.json"


@er.model
def line(x, y=None):
    """How does <script>alert(1)</script> y grow with x?"""
    a = er.sample("<script>a</script>", er.Normal(0, 10))
    b = er.sample("b", er.Normal(0, 10))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x, 1.0), y)


@er.model
def rate(y=None):
    lam = er.sample("lam", er.Gamma(1.0, 1.0))
    with er.plate("row", 60):
        er.observe("y", er.Poisson(lam), y)


@er.model
def coin(y=None):
    p = er.sample("p", er.Beta(1.0, 1.0))
    with er.plate("row", 60):
        er.observe("y", er.Bernoulli(probs=p), y)


def posterior(kind):
    rng = np.random.default_rng(0)
    if kind == "continuous":
        x = rng.normal(size=60)
        return er.fit(line(x, 1 + 2 * x + rng.normal(size=60)), progress=False)
    if kind == "count":
        return er.fit(rate(rng.poisson(3, 60)), progress=False)
    return er.fit(coin(rng.integers(0, 2, 60)), progress=False)


@pytest.mark.parametrize("kind", ["continuous", "count", "binary"])
def test_report(kind, tmp_path):
    fitted = posterior(kind)
    page = fitted.report(tmp_path)
    text = page.read_text()
    content = json.loads((tmp_path / "report.json").read_text())
    jsonschema.validate(content, json.loads(SCHEMA.read_text()))
    assert content["verdict"] == "trusted" and content["fits_data"] is True
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]
    assert "<script" not in text
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert page.stat().st_size < 2_000_000
    assert text.count("<svg") >= 1
    table = fitted.summary()
    first = content["quantities"][0]
    assert first["mean"] == table["mean"].iloc[0] and first["verdict"] == table["verdict"].iloc[0]


def test_misfit_is_said_in_words(tmp_path):
    rng = np.random.default_rng(0)
    fitted = er.fit(rate(rng.negative_binomial(1, 0.2, 60)), progress=False)
    content = as_json(fitted)
    assert content["fits_data"] is False and content["verdict"] == "trusted"
    page = report_function(fitted, tmp_path / "page.html")
    assert "Change the model before relying on it" in page.read_text()


def test_a_place_that_cannot_be_written(tmp_path):
    fitted = posterior("binary")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InferenceError, match="report"):
        fitted.report(blocked / "inside")
    assert os.listdir(tmp_path) == ["file"]

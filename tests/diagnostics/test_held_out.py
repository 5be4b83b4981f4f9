"""Models with encoders are compared by the rows that training held out, on linear models whose densities have a closed form."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from elboroom.inference.posterior.posterior import Posterior, record_of
from scipy.stats import multivariate_normal

import elboroom as er


@er.model
def plane(x, units):
    weight = er.param("weight", np.random.default_rng(0).normal(size=(units, 4)))
    sd = er.math.exp(er.param("log_sd", -1.0))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([units]).to_event(1))
        er.observe("x", er.Normal(z @ weight, sd).to_event(1), x)


@cache
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 2)) @ rng.normal(size=(2, 4)) + 0.5 * rng.normal(size=(400, 4))


@cache
def fits():
    how = {"guide": er.Amortized(), "progress": False, "refine": False}
    return {f"{units} units": er.fit(plane(data(), units), **how) for units in (1, 2)}


@cache
def comparison():
    return er.compare(fits())


def exact(posterior, rows):
    """Log density of rows at the fitted arrays."""
    weight, log_sd = (np.asarray(posterior.learned[k], float) for k in ("weight", "log_sd"))
    return multivariate_normal(np.zeros(4), weight.T @ weight + np.exp(2 * log_sd) * np.eye(4)).logpdf(rows)


def altered(posterior, **arrays):
    record = record_of(posterior)
    return Posterior(replace(record, fit_record={**record.fit_record, **arrays}))


@pytest.mark.slow
def test_they_are_compared_by_rows_held_out():
    held = fits()["1 units"].latent.held_out
    each = {name: exact(posterior, data()[held]) for name, posterior in fits().items()}
    table = comparison().table
    assert len(held) == 40 == comparison().held_out
    for name, value in each.items():
        assert table.loc[name, "elpd"] == pytest.approx(value.sum(), abs=0.3)
        assert table.loc[name, "se"] == pytest.approx(np.sqrt(40 * value.var()), rel=0.05)
    best, other = table.index
    apart = each[best] - each[other]
    assert table.loc[other, "elpd_diff"] == pytest.approx(apart.sum(), abs=0.4)
    assert table.loc[other, "diff_se"] == pytest.approx(np.sqrt(40 * apart.var()), rel=0.1)
    assert table["influential"].tolist() == [0, 0] and "40 rows held out" in comparison().sentence


@pytest.mark.slow
def test_its_report_says_by_which_rows(tmp_path):
    page = comparison().report(tmp_path)
    assert "the 40 that training held out" in page.read_text() and "leave-one-out" not in page.read_text()
    assert json.loads((tmp_path / "comparison.json").read_text())["held_out"] == 40


@pytest.mark.slow
def test_rows_whose_density_is_not_established_are_counted():
    one, two = fits().values()
    rows = np.array(one.latent.held_out)
    far = data().copy()
    far[rows[:3]] += [300.0, -300.0, 300.0, 300.0]

    def with_far(posterior):
        record = record_of(posterior)
        program = plane(far, posterior.learned["weight"].shape[0])
        target = program.target(record.backend, record.model["dtype"]).at(record.weights)
        return Posterior(replace(record, program=program, target=target, observed_data={"x": far}))

    found = er.compare({"one": with_far(one), "two": with_far(two)})
    assert found.table["influential"].max() >= 1 and "whose density is not established" in found.sentence


@pytest.mark.parametrize(
    "other, words",
    [
        (lambda p: altered(p, held_out=np.arange(40)), "the rows that '1 units' has held out"),
        (lambda p: altered(p, held_out=np.arange(0)), "rows that training held out"),
        (lambda p: Posterior(replace(record_of(p), observed_data={"x": data() + 1})), "the outcomes of"),
        (lambda p: Posterior(replace(record_of(p), target=None)), "its program and data"),
        (lambda p: Posterior(replace(record_of(p), settings={**record_of(p).settings, "encoder": None})), "all have an encoder"),
    ],
)  # fmt: skip
def test_other_rows_are_refused(other, words):
    with pytest.raises(er.ElboroomError, match=words):
        er.compare({"1 units": fits()["1 units"], "other": other(fits()["2 units"])})

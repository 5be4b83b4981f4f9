"""Drift of rows with an encoder: units, norm, reconstruction; the rules of the sources; an incident played again."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.operations.drift import tests
from elboroom.operations.drift.compare import shifts_of
from elboroom.operations.drift.series import LATENT, NORM, UNIT, Series, seen_of
from scipy.stats import chi, norm

import elboroom as er

SLOPES = np.array([[1.5, -1.0, 0.5, 1.0], [0.3, 1.2, -1.4, 0.8]])


@er.model
def plane(x, c):
    weight = er.param("weight", np.random.default_rng(0).normal(size=(2, 4)))
    move = er.param("move", np.zeros(4))
    sd = er.math.exp(er.param("log_sd", -1.0))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ weight + c[:, None] * move, sd).to_event(1), x)


def made(num, seed):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=num)
    x = rng.normal(size=(num, 2)) @ SLOPES + c[:, None] * [1.0, 0, -1, 0]
    return {"x": x + 0.5 * rng.normal(size=(num, 4)), "c": c}


@pytest.fixture(scope="module")
def posterior():
    return er.fit(plane(**made(300, 0)), guide=er.Amortized(), progress=False)


def images(rng, count, black=0):
    found = rng.integers(0, 256, size=(count, 8, 8)) * 1.0
    found[:black] = 0.0
    return found


def incident(posterior, count, seed, mean=0.0, variance=1.0, error=1.0, black=0):
    """Rows whose first latent unit, noise and images are as asked for."""
    rng = np.random.default_rng(seed)
    c, z = rng.normal(size=count), rng.normal(size=(count, 2))
    z[:, 0] = mean + np.sqrt(variance) * z[:, 0]
    x = posterior.latent.decode(z, given={"c": c})["x"].to_numpy()
    return {
        "x": x + 0.5 * np.sqrt(error) * rng.normal(size=(count, 4)),
        "c": c,
        "image": images(rng, count, black),
    }


# -- rows that have not moved, and rows that have -----------------------------------------------------------


def test_rows_that_lack_a_column_of_what_is_made_again_are_told(posterior):
    new = made(100, 3)
    lacking, empty = {**new, "x": new["x"][:, :3]}, {**new, "x": new["x"] * [np.nan, 1, 1, 1]}
    assert "x[3]" in er.drift(posterior, lacking).moved
    (told,) = (f for f in er.drift(posterior, empty) if f.name == "latent: not known")
    assert "all that the reference always has, got none" in told.advice


def test_rows_of_the_training_s_law_say_nothing(posterior):
    found = er.drift(posterior, made(400, 1))
    assert {s.stream for s in found.shifts} == {"data", "latent", "reconstruction", "concept"}
    assert not found.drifted


def test_units_are_told_by_name_with_an_exact_distance(posterior):
    """Draws of a unit are N(0, 1) on rows of the model's law, so that the distance of a shift is known."""
    reference, new = incident(posterior, 3000, 2), incident(posterior, 3000, 3, mean=0.35)
    found = er.drift(reference, new, posterior)
    shape = next(s for s in found.shifts if (s.stream, s.name, s.test) == ("latent", "z[0]", "shape"))
    assert shape.moved
    assert shape.effect == pytest.approx(2 * norm.cdf(0.35 / 2) - 1, abs=0.035)
    assert "z[1]" not in found.moved
    distance = next(s for s in found.shifts if s.test == "Fréchet distance")
    assert distance.effect == pytest.approx(0.35**2, abs=0.12)


def test_rows_that_are_made_again_worse_are_a_misfit(posterior):
    found = er.drift(incident(posterior, 1500, 4), incident(posterior, 500, 5, error=1.98), posterior)
    tail = next(f for f in found if f.name == "reconstruction: great values")
    assert tail.verdict == "misfit" and "mean ×" in tail.advice
    assert not [f for f in found if f.name.startswith("latent") and f.verdict != "ok"]


def test_an_incident_is_seen_in_one_window(posterior):
    reference = incident(posterior, 2000, 6, mean=0.02, variance=1.01)
    monitor = er.Monitor(posterior, reference=reference)
    for day in range(3):
        monitor.see(incident(posterior, 500, 10 + day, mean=0.02, variance=1.01), at=86_400.0 * day)
        assert not monitor.findings().drifted
    broken = incident(posterior, 500, 20, mean=0.35, variance=0.67, error=1.98, black=15)
    monitor.see(broken, at=86_400.0 * 3)
    found = monitor.findings()
    assert {"z[0]", "error", "image"} <= set(found.moved) and "z[1]" not in found.moved
    assert {(s.name, s.test) for s in found.shifts if s.moved} >= {
        ("z[0]", "shape"),
        ("z[0]", "mean"),
        ("z[0]", "spread"),
    }
    assert "collaps" not in str(list(found))
    kept, checked = er.schema(reference).gate(broken)
    assert np.flatnonzero(checked.refused).tolist() == list(range(15)) and len(kept["x"]) == 485


def test_rows_with_gaps_are_left_out_and_do_not_crash(posterior):
    new = made(300, 7)
    new["x"][:20, 1] = np.nan
    new["c"][20:25] = np.inf
    found = er.drift(posterior, new)
    assert next(s for s in found.shifts if s.stream == "latent").num_rows == 275
    assert "x[1]" in found.moved


# -- the sources' rules ------------------------------------------------------------------------------------


def units(rng, count, dim, mean=0.0, sd=1.0):
    z = rng.normal(mean, sd, size=(count, dim))
    series = [Series(LATENT, f"z[{j}]", UNIT, z[:, j]) for j in range(dim)]
    size = np.sqrt((z**2).sum(1))
    return seen_of([*series, Series(LATENT, "norm", NORM, size, limit=float(chi.isf(0.001, dim)))])


def test_a_norm_of_five_rejects_most_healthy_rows_of_32_units():
    """P(chi_32 > 5) = 0.81: the sources' rule alarms always, ours at 7.9 never."""
    rng = np.random.default_rng(8)
    reference, new = units(rng, 2000, 32), units(rng, 500, 32)
    strict = {s.test: s for s in shifts_of(reference, new, rng, strict=True) if s.name == "norm"}
    assert strict["far rows"].moved and strict["far rows"].effect == pytest.approx(chi.sf(5, 32), abs=0.06)
    ours = {s.test: s for s in shifts_of(reference, new, rng) if s.name == "norm"}
    assert not ours["far rows"].moved
    assert reference["latent", "norm", NORM].limit == pytest.approx(7.9, abs=0.05)


def test_the_sources_rules_say_what_they_say():
    rng = np.random.default_rng(9)
    reference, new = units(rng, 2000, 2), units(rng, 500, 2, mean=0.3, sd=0.7)
    told = {(s.name, s.test): s for s in shifts_of(reference, new, rng, strict=True)}
    assert told["z[0]", "mean"].moved and told["z[0]", "mean"].limit == 0.1
    assert told["z[0]", "spread"].moved and told["z[0]", "spread"].limit == 0.8
    assert told["z[0]", "shape"].moved and not told["norm", "far rows"].moved
    assert not any(s.moved for s in shifts_of(reference, units(rng, 500, 2), rng))


def test_an_estimated_quantile_alarms_as_often_as_it_should():
    """Errors above the reference's 99% quantile: p < 0.001 in 0.1% of healthy windows or fewer, where a count against 1% has 40%."""
    rng = np.random.default_rng(10)
    ours = naive = 0
    for _ in range(2000):
        reference, new = rng.exponential(size=500), rng.exponential(size=1000)
        limit = np.sort(reference)[-int(0.01 * 501)]
        many, known = int((new > limit).sum()), int((reference > limit).sum())
        ours += tests.exceedances(many, 1000, known, 500) < 0.001
        naive += many > 10
    assert ours <= 8 and 0.3 < naive / 2000 < 0.6

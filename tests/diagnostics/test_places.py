"""Intervals of continuous outcomes and counts against the shares of rows within them; maps that mend predictions, and are kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from elboroom.diagnostics.calibrated import Calibration
from elboroom.diagnostics.maps import Isotonic, Levels, Temperature
from elboroom.diagnostics.places import PlaceCalibration, distances, ranked
from elboroom.diagnostics.reliability import bins_of, reliability
from elboroom.diagnostics.report.calibration import calibration_section
from scipy.stats import kstest, norm

import elboroom as er


@er.model
def line(x, y):
    a = er.sample("a", er.Normal(0, 5))
    b = er.sample("b", er.Normal(0, 5))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x, 1.0), y)


def rows(count, seed, sd=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    return {"x": x, "y": 1 + 2 * x + shift + sd * rng.normal(size=count)}


@pytest.fixture(scope="module")
def posterior():
    return er.fit(line(**rows(400, 0)), progress=False)


def test_places_are_values_of_the_predictive_distribution_function(posterior):
    """Of a normal line they are known: mean and variance of the prediction by the exact posterior."""
    old, new = rows(400, 0), rows(300, 1)
    X, Z = (np.stack([np.ones_like(d["x"]), d["x"]], 1) for d in (old, new))
    cov = np.linalg.inv(X.T @ X + np.eye(2) / 25)
    mean = cov @ X.T @ old["y"]
    exact = norm.cdf(new["y"], Z @ mean, np.sqrt(1 + np.einsum("ni,ij,nj->n", Z, cov, Z)))
    found = er.calibration(posterior, new)
    noise = np.sqrt(exact * (1 - exact) / 500 + 1 / 500**2)
    assert np.abs((found.places - exact) / noise).max() < 4.5
    assert found.distance == pytest.approx(kstest(found.places, "uniform").statistic)


def test_the_point_of_a_right_model_is_that_of_right_models():
    """Sets of rows whose predictions are right pass it one time in twenty, also where few fitted rows leave a shared error."""
    rng, passed, naive = np.random.default_rng(2), [], []
    for _ in range(120):
        mean = rng.normal() * 0.5
        drawn = (mean + 0.5 * rng.normal(size=(200, 1))) + rng.normal(size=(200, 300))
        observed = (mean + 0.5 * rng.normal()) + rng.normal(size=300)
        found = PlaceCalibration.of("y", observed, drawn, None, (), 0.0)
        passed.append(found.excess > 0)
        naive.append(found.distance > 1.358 / np.sqrt(300))
    assert abs(np.mean(passed) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 120)
    assert np.mean(naive) > 0.5  # the usual limit takes what rows share for a misfit


def test_coverage_is_told_with_its_standard_error(posterior):
    found = er.calibration(posterior, rows(2000, 3))
    table = found.coverage()
    for level, row in table.iterrows():
        assert abs(row["share"] - level) < 4 * row["se"] + 0.01 and row["low"] < level < row["high"]
    assert [f.verdict for f in found.findings] == ["ok"]


@pytest.mark.parametrize(
    "change, words",
    [({"sd": 2.0}, "too sure"), ({"sd": 0.4}, "not sure enough"), ({"shift": 0.7}, "too low")],
)
def test_what_is_wrong_is_named(posterior, change, words):
    found = er.calibration(posterior, rows(800, 4, **change))
    assert [f.verdict for f in found.findings] == ["misfit"] and words in found.findings[0].advice
    within = 2 * norm.cdf(norm.ppf(0.95) / change.get("sd", 1.0)) - 1
    if "sd" in change:
        assert (
            abs(found.coverage().loc[0.9, "share"] - within) < 4 * np.sqrt(within * (1 - within) / 800) + 0.01
        )
    shown = calibration_section(posterior)
    assert words in shown and "Places of y" in shown and "within 90%" in shown


def test_levels_mend_intervals_of_other_rows_and_stay_with_the_posterior(posterior, tmp_path):
    wide = {"sd": 2.0}
    mend = er.calibration(posterior, rows(2000, 5, **wide)).levels()
    low, high = mend.quantiles([0.05, 0.95])
    exact = norm.cdf(2 * norm.ppf([0.05, 0.95]))
    assert abs(low - exact[0]) < 0.01 and abs(high - exact[1]) < 0.01
    kept = posterior.calibrated(mend)
    assert kept.verdict == posterior.verdict and posterior.maps == {}
    again = er.load(kept.save(tmp_path / "kept"), program=posterior.program)
    found = er.calibration(again, rows(2000, 6, **wide))
    assert [f.verdict for f in found.findings] == ["ok"] and found.used.kind == "levels"
    raw = er.calibration(again, rows(2000, 6, **wide), map=None)
    assert [f.verdict for f in raw.findings] == ["misfit"]
    with pytest.raises(er.DataError, match="the levels was not fitted to"):
        er.calibration(again, rows(2000, 5, **wide))
    with pytest.raises(er.DataError, match="predictions as the model has them"):
        found.levels()
    with pytest.raises(er.InferenceError, match="maps of this model's outcomes"):
        posterior.calibrated("a map")


def test_counts_and_ties():
    rng = np.random.default_rng(7)
    drawn = rng.poisson(1.5, (300, 4000))
    places = ranked(drawn)
    assert kstest(places[0], "uniform").pvalue > 0.01 and kstest(places[:, 0], "uniform").pvalue > 0.01
    assert distances(places[:1])[0] == pytest.approx(kstest(places[0], "uniform").statistic)
    wrong = PlaceCalibration.of("y", rng.poisson(2.5, 4000), drawn, None, (), 0.0)
    assert wrong.excess > 0.2 and "too low" in wrong.findings[0].advice


def test_windows_in_their_order_tell_when_it_began(posterior):
    parts = [rows(1000, 8), rows(500, 9, sd=2.0)]
    new = {k: np.concatenate([part[k] for part in parts]) for k in ("x", "y")}
    table = er.calibration(posterior, new).rolling(500)
    assert (table["excess"] > 0).tolist() == [False, False, True]
    assert table.index.tolist() == [499, 999, 1499] and abs(table["within"].iloc[-1] - 0.59) < 0.09
    with pytest.raises(er.DataError, match="1 to 1500 rows"):
        er.calibration(posterior, new).rolling(2000)


def test_rows_that_were_fitted_and_wrong_rows_are_refused_or_told(posterior):
    assert er.calibration(posterior).findings[0].name == "fitted rows"
    with pytest.raises(er.DataError, match="rows of levels: expected rows that were not fitted"):
        er.calibration(posterior).levels()
    with pytest.raises(er.DataError, match="rows with their outcome, argument 'y'"):
        er.calibration(posterior, {"x": [1.0]})
    with pytest.raises(er.DataError, match=r"one of \['y'\]"):
        er.calibration(posterior, rows(30, 1), name="z")
    with pytest.raises(er.DataError, match="map: expected for 'y' one of"):
        er.calibration(posterior, rows(30, 1), map=Isotonic((), frozenset()))


def test_rows_come_in_tables_and_whole(posterior):
    """Of a table other columns are left out; a lacking one is not that of the fitted rows; of few rows nothing is said."""
    new = rows(400, 11)
    found = er.calibration(posterior, pd.DataFrame({**new, "number": np.arange(400)}))
    assert found.distance == er.calibration(posterior, new).distance and found.findings[0].verdict == "ok"
    with pytest.raises(er.DataError, match=r"all that runs along the rows, \['x'\] too"):
        er.calibration(posterior, {"y": new["y"]})
    few = er.calibration(posterior, rows(3, 12))
    assert [f.verdict for f in few.findings] == ["not assessable"]
    for wrong in (3, "rows", [1.0], np.zeros(3)):
        with pytest.raises(er.DataError, match="data of a calibration: expected a mapping"):
            er.calibration(posterior, wrong)
    for size in ("ten", 2.5, True):
        with pytest.raises(er.DataError, match="rolling: expected 1 to 400 rows"):
            found.rolling(size)


def test_rows_are_the_same_in_single_precision_and_twice(posterior):
    held = rows(100, 13)
    levels = er.calibration(posterior, held).levels()
    for same in (
        {k: v.astype(np.float32) for k, v in held.items()},
        {k: np.repeat(v, 2) for k, v in held.items()},
    ):
        with pytest.raises(er.DataError, match="the levels was not fitted to, got 100%"):
            er.calibration(posterior, same, map=levels)
    assert er.calibration(posterior, rows(100, 14), map=levels).findings[0].name == "rows of a map"
    for wrong in ([-0.1, 0.5], "half"):
        with pytest.raises(er.DataError, match="levels: expected shares between 0 and 1"):
            levels.quantiles(wrong)
    with pytest.raises(er.InferenceError, match="maps of this model's outcomes"):
        posterior.calibrated(Temperature(1.5, 0.1, frozenset(), "y"))


# -- classes ---------------------------------------------------------------------------------------------


def test_what_has_not_come_in_a_few_rows_is_not_impossible():
    """Maps of few rows: their log score of others is finite, and by no more than so much worse."""
    rng = np.random.default_rng(4)
    q = rng.uniform(0.02, 0.98, 4000)
    came, p = (rng.uniform(size=4000) < q) * 1, np.stack([1 - q, q], 1)
    right = Calibration("y", p, came, None, ()).log_score
    for count, worse in ((1, 0.5), (5, 0.5), (300, 0.03)):
        held = Calibration("y", p[:count], came[:count], None, ())
        for one in (held.isotonic(), held.temperature()):
            assert right - worse < Calibration("y", one(p), came, one, ()).log_score < right + 0.01
    never = Calibration("y", p, np.zeros(4000, int), None, ()).isotonic()
    np.testing.assert_allclose(never(p)[:, 1], 0.5 / 4001)


def test_bins_of_equal_mass_hold_equally_many_rows():
    p = np.random.default_rng(0).beta(20, 1, 1500)
    assert np.bincount(bins_of(p, "mass")).tolist() == [100] * 15
    tied = np.repeat([0.5, 0.9, 0.99], [500, 500, 500])
    assert len(np.unique(bins_of(tied, "mass"))) == 3
    probabilities = np.array([[0.9, 0.1], [0.88, 0.12], [0.3, 0.7], [0.05, 0.95]])
    found = reliability(probabilities, np.array([0, 0, 1, 1]), "mass")
    assert found.ece == pytest.approx((0.1 + 0.12 + 0.3 + 0.05) / 4)


def test_isotonic_steps_mend_what_no_temperature_does():
    rng = np.random.default_rng(1)
    q = rng.uniform(0, 1, 6000)
    truth = np.where(q < 0.5, 0.5 * q, 1 - 0.5 * (1 - q))  # too unsure at both ends, with a jump
    came = (rng.uniform(size=6000) < truth) * 1
    p = np.stack([1 - q, q], 1)
    first = Calibration("y", p[:3000], came[:3000], None, ())
    steps, cooler = first.isotonic(), first.temperature()
    mended = {
        kind: reliability(map_(p[3000:]), came[3000:], "mass") for kind, map_ in (("i", steps), ("t", cooler))
    }
    assert mended["i"].ece < 0.03 and mended["t"].excess > 0 and mended["i"].ece < 0.5 * mended["t"].ece
    np.testing.assert_allclose(steps(p).sum(1), 1.0)
    at = np.array([0.2, 0.4, 0.6, 0.8])
    assert np.abs(steps(np.stack([1 - at, at], 1))[:, 1] - [0.1, 0.2, 0.8, 0.9]).max() < 0.06
    assert (np.diff(steps(np.stack([1 - np.sort(q), np.sort(q)], 1))[:, 1]) >= 0).all()


def test_maps_come_back_from_plain_values():
    from elboroom.diagnostics.maps import from_dict

    rng = np.random.default_rng(2)
    p = rng.dirichlet([1, 1, 1], 500)
    found = Calibration("y", p, rng.integers(0, 3, 500), None, (b"a", b"b"))
    for one in (found.temperature(), found.isotonic()):
        again = from_dict("y", one.as_dict())
        np.testing.assert_allclose(again(p), one(p))
        assert again.rows == {b"a", b"b"} and again.kind == one.kind
    levels = Levels.fitted("y", rng.uniform(size=50), frozenset())
    np.testing.assert_allclose(from_dict("y", levels.as_dict())(0.3), levels(0.3))

"""Drift: exact answers of each test, what is named, and that rows that have not moved say nothing."""

from __future__ import annotations

import json
from math import comb

import numpy as np
import pandas as pd
import pytest
from elboroom.diagnostics.reliability import reliability
from elboroom.operations.columns import frame_of
from elboroom.operations.drift import distances, tests
from elboroom.operations.drift.data import data_series
from elboroom.operations.drift.series import DATA, JOINT, LEVEL, Series, joined, seen_of
from elboroom.operations.drift.shift import holm
from scipy import stats
from scipy.stats import norm
from typer.testing import CliRunner

import elboroom as er
from elboroom.__main__ import app

# -- exact answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.1, 0.35, 1.0])
def test_distance_of_shifted_normals(delta):
    """D of N(0, 1) and N(δ, 1) is 2 Φ(δ/2) - 1, on quantiles in place of draws."""
    q = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    distance, _ = tests.ks(q, q + delta)
    assert distance == pytest.approx(2 * norm.cdf(delta / 2) - 1, abs=2e-4)


def test_distance_has_its_exact_p_value():
    """Of two times twenty that are all apart: two of the ways to deal forty out."""
    distance, p = tests.ks(np.arange(20.0), np.arange(20.0) + 30)
    assert distance == 1 and p == pytest.approx(2 / comb(40, 20))


def test_discrepancy_has_its_closed_form(rng):
    n, d, h, t, delta = 1500, 2, 1.3, 0.8, np.array([0.5, -0.25])
    x, y = rng.normal(size=(n, d)), delta + t * rng.normal(size=(n, d))
    right = (1 + 2 / h**2) ** (-d / 2) + (1 + 2 * t**2 / h**2) ** (-d / 2)
    right -= 2 * (1 + (1 + t**2) / h**2) ** (-d / 2) * np.exp(-(delta @ delta) / (2 * (h**2 + 1 + t**2)))
    assert distances.joint_test(x, y, rng, 1, h).value == pytest.approx(right, abs=0.014)  # 4 sds over draws


def test_discrepancy_is_unbiased(rng):
    found = [
        distances.joint_test(rng.normal(size=(30, 2)), rng.normal(size=(40, 2)), rng, 1, 1.0).value
        for _ in range(300)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)


def test_frechet_has_its_closed_form(rng):
    a, b = rng.normal(size=(4000, 2)), np.array([1.0, 0.0]) + rng.normal(size=(6000, 2)) * [1.0, 2.0]
    found = distances.frechet_test(a, b, rng, permutations=20, resamples=50)
    assert found.value == pytest.approx(1 + 1, abs=4 * found.se)  # |Δμ|² = 1, and (2 - 1)² of the second sd
    assert 0.02 < found.se < 0.12
    assert found.usual < 0.01


def test_exceedances_are_beta_binomial():
    """The chance of m of n beyond the k-th largest of N others is that of a beta-binomial law."""
    n, total, k = 200, 500, 5
    right = stats.betabinom(n, k, total - k + 1)
    for m in (1, 4, 9):
        assert tests.exceedances(m, n, k - 1, total) == pytest.approx(right.sf(m - 1), rel=1e-9)


def test_holm():
    assert holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])


@pytest.mark.parametrize(
    "draw",
    [
        np.random.Generator.standard_normal,
        lambda g, n: g.standard_t(2, n),
        lambda g, n: np.exp(2 * g.normal(size=n)),
        lambda g, n: np.where(g.uniform(size=n) < 0.97, 0.0, g.exponential(size=n)),
        lambda g, n: np.full(n, 0.3),
    ],
)
def test_spread_and_place_keep_their_level(draw):
    """Whatever the law, also where most numbers are equal: rejections at 5% of 500 sets lie within 4 standard errors."""
    g, found = np.random.default_rng(5), []
    for _ in range(500):
        x, y = draw(g, 400), draw(g, 25)
        found.append((tests.spread(x, y, g)[1], tests.location(x, y, g)))
    assert (np.array(found) < 0.05).mean(0) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 500))


def test_shares_of_many_rare_levels_keep_their_level():
    """Levels that the reference lacks count among the rare ones: without them it would have too many of these."""
    g, names = np.random.default_rng(6), np.arange(1, 400)
    law, found = 1 / names / (1 / names).sum(), []
    for _ in range(200):
        sets = [Series(DATA, "city", LEVEL, g.choice(names, n, p=law).astype(object)) for n in (1500, 600)]
        found.append(next(tests.level_shares(tests.Pair(*sets, g))).p_value)
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 200))


# -- what is named ---------------------------------------------------------------------------------------


def table(rng, count, shift=0.0, sd=1.0):
    return {
        "age": rng.normal(shift, sd, count),
        "income": np.exp(rng.normal(size=count)),
        "city": rng.choice(["Oslo", "Bergen", "Tromsø"], count, p=[0.5, 0.3, 0.2]),
        "children": rng.poisson(1.2, count),
    }


def test_rows_of_one_law_say_nothing(rng):
    found = er.drift(table(rng, 1000), table(rng, 400))
    assert not found.drifted and found.moved == []
    assert {f.verdict for f in found} == {"ok"}


@pytest.mark.parametrize("container", [dict, pd.DataFrame, "polars"])
def test_the_column_that_moved_is_named(rng, container):
    if container == "polars":
        container = pytest.importorskip("polars").DataFrame
    found = er.drift(container(table(rng, 1000)), container(table(rng, 500, shift=0.5)))
    assert "age" in found.moved and {"income", "city", "children"}.isdisjoint(found.moved)
    shift = next(s for s in found.shifts if s.name == "age" and s.test == "shape")
    assert shift.effect == pytest.approx(2 * norm.cdf(0.25) - 1, abs=0.08)
    assert shift.p_value < 1e-6 and "p = " in found[0].advice


def test_a_smaller_variance_is_named(rng):
    found = er.drift(table(rng, 2000), table(rng, 500, sd=np.sqrt(0.67)))
    assert found.moved == ["age"]
    assert [s.test for s in found.shifts if s.moved] == ["spread"]


def test_many_rows_do_not_make_a_small_effect_matter(rng):
    found = er.drift({"x": rng.normal(size=40_000)}, {"x": rng.normal(0.1, 1, size=40_000)})
    shape = next(s for s in found.shifts if s.test == "shape")
    assert shape.p_value < 1e-3 and not shape.moved


def test_levels_missing_cells_and_unseen_levels(rng):
    before, now = table(rng, 1500), table(rng, 500)
    now["city"] = rng.choice(["Oslo", "Bergen", "Bodø"], 500, p=[0.3, 0.5, 0.2])
    now["income"][:60] = np.nan
    found = er.drift(before, now)
    tests_of = {(s.name, s.test) for s in found.shifts if s.moved}
    assert {("city", "shares of levels"), ("city", "unseen levels"), ("income", "missing values")} <= tests_of
    assert "Bodø" in str(found)


def test_one_row_of_a_new_level_is_no_drift(rng):
    now = table(rng, 500)
    now["city"][0] = "Bodø"
    assert not er.drift(table(rng, 1500), now).drifted


def test_black_images_are_named(rng):
    images = rng.integers(0, 256, size=(1500, 8, 8)) * 1.0
    new = rng.integers(0, 256, size=(500, 8, 8)) * 1.0
    new[:15] = 0
    found = er.drift({"image": images}, {"image": new})
    assert "image" in found.moved and "blank rows" in str(found)


def test_several_windows_a_day_have_permutations_enough(rng):
    x, other = rng.normal(size=(2, 800)), rng.normal(size=(2, 300))
    before = {"a": x[0], "b": 0.9 * x[0] + 0.4 * x[1]}
    found = er.drift(before, {"a": other[0], "b": 0.985 * other[1]}, level=0.002)
    joint = next(s for s in found.shifts if s.test == "all together")
    assert joint.moved and joint.p_value < 0.2 * 0.002


def test_columns_that_go_together_otherwise(rng):
    x = rng.normal(size=(2, 1500))
    other = rng.normal(size=(2, 500))
    before = {"a": x[0], "b": 0.9 * x[0] + 0.4 * x[1]}
    found = er.drift(before, {"a": other[0], "b": 0.985 * other[1]})
    assert "all columns" in found.moved


def test_numbers_that_come_as_text_and_columns_that_do_not_come(rng):
    before, now = table(rng, 500), table(rng, 200)
    now["age"] = [f"{v:.3f}" for v in now["age"]]
    del now["income"]
    found = er.drift(before, now)
    assert found.moved == ["income"]
    mixed = now["age"][:-1] + ["unknown"]
    assert "age" not in er.drift(before, {**now, "age": mixed}).moved


def test_a_column_that_does_not_come_leaves_the_others_together(rng):
    """Of three columns of numbers, at once and in two batches."""
    before, now = rng.normal(size=(500, 3)), rng.normal(size=(90, 3)) + [0, 0, 2]
    found = er.drift({"x": before}, {"x[0]": now[:, 0], "x[2]": now[:, 2]})
    assert found.moved == ["x[1]", "x[2]"]
    whole, lacking = (
        seen_of(data_series(frame_of(rows), frame_of({"x": before}).kinds))
        for rows in ({"x": now}, {"x[0]": now[:, 0], "x[2]": now[:, 2]})
    )
    assert joined(whole, lacking)[DATA, "all columns", JOINT].values.shape == (180, 3)


def test_rows_that_come_twice_are_told(rng):
    before, now = {"x": rng.normal(size=(600, 2))}, rng.normal(size=(150, 2))
    (told,) = (s for s in er.drift(before, {"x": np.repeat(now, 2, 0)}).shifts if s.test == "repeated rows")
    assert told.moved and told.effect == 0.5 and "50.0% rows that repeat another" in told.words
    rounded = {"x": rng.integers(0, 30, (600, 2)) / 7}, {"x": rng.integers(0, 30, (300, 2)) / 7}
    (fine,) = (s for s in er.drift(*rounded).shifts if s.test == "repeated rows")
    assert not fine.moved and abs(fine.effect) < 0.05 < fine.p_value


def test_columns_of_a_matrix_go_by_their_numbers(rng):
    x = rng.normal(size=(30, 3))
    frame = frame_of(pd.DataFrame(x[:, [2, 0, 1]], columns=["x[2]", "x[0]", "x[1]"]))
    np.testing.assert_array_equal(frame.arguments()["x"], x)
    with pytest.raises(
        er.DataError, match=r"columns of 'x': expected all columns from \[0\] on, got \[0, 2\]"
    ):
        frame.only(["x[2]", "x[0]"]).arguments()


def test_what_is_not_compared_is_told(rng):
    before = {**table(rng, 500), "key": [f"r{i}" for i in range(500)]}
    few, named = (er.drift(before, {**table(rng, n), "key": [f"q{i}" for i in range(n)]}) for n in (5, 300))
    assert not few.shifts and {f.verdict for f in few} == {"not assessable"}
    assert "age, income" in few[0].advice and "20 values on each side" in few[0].advice
    (told,) = (f for f in named if f.verdict == "not assessable")
    assert told.quantity == "key" and "name rows" in told.advice


def test_written_dates_and_cells_of_several_kinds(rng):
    """Time goes on, also in text; of cells of several kinds shares are compared."""
    days = pd.date_range("2026-01-01", periods=700).strftime("%Y-%m-%d").to_list()
    before = {**table(rng, 500), "day": days[:500], "code": [1, "x"] * 250}
    assert not er.drift(before, {**table(rng, 200), "day": days[500:], "code": [1, "x"] * 100}).drifted
    assert er.drift(before, {**table(rng, 200), "day": days[500:], "code": ["x"] * 200}).moved == ["code"]


def test_dates_and_durations_are_no_numbers(rng):
    before = table(rng, 500)
    for cells in (
        pd.date_range("2026-01-01", periods=100),
        np.arange(100).astype("m8[s]"),
        np.ones(100) * 1j,
    ):
        found = er.drift(before, {**table(rng, 100), "age": cells})
        assert [(s.name, s.test) for s in found.shifts if s.moved] == [("age", "missing values")]


@pytest.mark.parametrize(
    "given", [{"level": 0}, {"level": "1%"}, {"seed": -1}, {"seed": 1.5}, {"posterior": 3}]
)
def test_arguments_that_cannot_be_meant(given, rng):
    with pytest.raises(er.InferenceError, match=f"{next(iter(given))}: expected"):
        er.drift(table(rng, 30), table(rng, 30), **given)


def test_nothing_crashes(rng):
    before = table(rng, 300)
    gone = {name: np.full(50, np.nan) for name in before}
    endless = {**table(rng, 50), "age": np.full(50, np.inf)}
    empty = {name: values[:0] for name, values in before.items()}
    for new in (
        gone,
        endless,
        empty,
        {"age": [1.0]},
        {"age": np.zeros((30, 3))},
        {"age": np.zeros((0, 8, 8))},
    ):
        er.drift(before, new)
    assert "age" in er.drift(before, endless).moved


def test_what_is_no_data_set_is_refused(rng):
    with pytest.raises(er.DataError, match="new rows: expected a data set"):
        er.drift(table(rng, 30), 3)
    with pytest.raises(er.ShapeError, match="columns of one length"):
        er.drift(table(rng, 30), {"age": [1.0], "income": [1.0, 2.0]})


# -- a model without an encoder --------------------------------------------------------------------------


@er.model
def cost(age, group, spent=None):
    level = er.sample("level", er.Normal(0, 1))
    slope = er.sample("slope", er.Normal(0, 1))
    spread = er.sample("spread", er.Normal(0, 1))
    with er.plate("group", er.levels(group)):
        own = er.sample("own", er.Normal(0, 0.5))
    with er.plate("row", len(age)):
        er.observe("spent", er.Normal(level + slope * age + own[group], er.math.exp(spread * age)), spent)


def patients(rng, rows, centre=0.0, more=0.0):
    age, group = rng.normal(centre, 1, rows), rng.choice(["a", "b", "c", "d"], rows)
    mean = 0.5 + 0.5 * age + np.where(group == "c", more, 0.0)
    return {"age": age, "group": group, "spent": rng.normal(mean, np.exp(0.5 * age))}


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(3)
    data = patients(rng, 700)
    return er.fit(cost(**data), progress=False)


def test_fitted_rows_beside_others_of_their_law(fitted):
    found = er.drift(fitted, patients(np.random.default_rng(4), 500))
    assert {s.stream for s in found.shifts} == {"data", "concept", "calibration"}
    assert not found.drifted


def test_harder_rows_are_no_change_of_the_concept(fitted):
    """Outcomes of greater ages vary more, as the model says: rows have moved, the model holds."""
    found = er.drift(fitted, patients(np.random.default_rng(5), 500, centre=1.0))
    assert "age" in found.moved
    assert {f.verdict for f in found if f.name.startswith(("concept", "calibration"))} == {"ok"}


def test_the_group_whose_outcomes_moved_is_named(fitted):
    found = er.drift(fitted, patients(np.random.default_rng(6), 600, more=1.0))
    assert "spent, group = c" in found.moved
    assert not {"spent, group = a", "spent, group = b", "spent, group = d"} & set(found.moved)
    assert next(f for f in found if f.quantity == "spent, group = c").verdict == "misfit"


def test_rows_that_all_lack_something_are_told(fitted):
    new = patients(np.random.default_rng(7), 100)
    new["age"][:] = np.nan
    found = er.drift(fitted, new)
    (told,) = (f for f in found if f.name == "concept: not known")
    assert "lack nothing that the model takes, got none" in told.advice and found.moved == ["age"]


def test_classes_that_few_rows_were_fitted_to_have_not_drifted():
    """Of thirty rows probabilities are never right; they are as wrong as they were until outcomes change."""

    @er.model
    def logistic(x, y):
        slope = er.sample("slope", er.Normal(0, 2))
        level = er.sample("level", er.Normal(0, 5))
        with er.plate("row", len(x)):
            er.observe("y", er.Bernoulli(logits=level + slope * x), y)

    def made(count, seed):
        g = np.random.default_rng(seed)
        x = g.normal(size=count)
        return {"x": x, "y": (g.uniform(size=count) < 1 / (1 + np.exp(-x))) * 1}

    posterior = er.fit(logistic(**made(30, 4)), guide="laplace", refine=False, progress=False)
    new = made(2000, 5)
    assert reliability(*seen_by(posterior, new)).excess > 0.05
    assert er.drift(posterior, new).moved == []
    assert "y" in er.drift(posterior, {"x": new["x"], "y": 1 - new["y"]}).moved


def seen_by(posterior, rows):
    found = er.calibration(posterior, rows)
    return found.probabilities, found.observed


def test_rows_without_outcomes_and_of_unknown_groups(fitted):
    new = patients(np.random.default_rng(7), 300)
    del new["spent"]
    found = er.drift(fitted, new)
    assert not found.drifted and "not assessable" in {f.verdict for f in found}
    new = patients(np.random.default_rng(7), 300)
    new["group"][:40] = "z"
    assert er.drift(fitted, new).moved[0] == "group"


# -- the page --------------------------------------------------------------------------------------------


def test_page_and_command(fitted, tmp_path, monkeypatch):
    folder = tmp_path / "fit"
    fitted.save(folder / "posterior")
    moved = pd.DataFrame(patients(np.random.default_rng(8), 500, centre=1.0))
    moved.to_csv(tmp_path / "new.csv", index=False)
    words = ["drift", folder, "--data", tmp_path / "new.csv", "--fail-on", "drift"]
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 6 and "age" in done.output
    page = (folder / "drift.html").read_text()
    assert page.count("<svg") >= 1 and "age" in page and "http" not in page.replace("http://www.w3.org", "")
    record = json.loads((folder / "drift.json").read_text())
    assert record["drifted"] and "age" in record["moved"]
    pd.DataFrame(patients(np.random.default_rng(9), 500)).to_csv(tmp_path / "same.csv", index=False)
    same = [
        "drift",
        folder,
        "--data",
        tmp_path / "same.csv",
        "--fail-on",
        "drift",
        "--model",
        f"{__name__}:cost",
    ]
    done = CliRunner().invoke(app, [str(w) for w in same])
    assert done.exit_code == 0, done.output
    streams = {shift["stream"] for shift in json.loads((folder / "drift.json").read_text())["shifts"]}
    assert streams == {"data", "concept", "calibration"}


def test_a_page_of_too_few_rows_gives_no_all_clear(rng, tmp_path):
    page = er.drift(table(rng, 300), table(rng, 5)).report(tmp_path).read_text()
    assert "Not known." in page and "No test sees a change" not in page


def test_figure(fitted):
    found = er.drift(fitted, patients(np.random.default_rng(5), 300, centre=1.0))
    assert found.figure().axes[0].get_xlabel() == "age"
    assert found.figure("spent").axes
    with pytest.raises(er.InferenceError, match="figure of a drift"):
        found.figure("nothing")


def test_a_program_is_a_data_set(fitted):
    assert frame_of(fitted.program).columns["group"].values[0] in {"a", "b", "c", "d"}
    assert frame_of(fitted).num_rows == 700

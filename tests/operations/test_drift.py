"""Drift: exact answers of each test, what is named, and that rows that have not moved say nothing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from elboroom.operations.columns import frame_of
from elboroom.operations.drift import distances, tests
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


def test_distance_is_scipys(rng):
    one, other = rng.normal(size=300), rng.normal(0.2, 1, size=170)
    distance, p = tests.ks(one, other)
    found = stats.ks_2samp(one, other, method="exact")
    assert distance == pytest.approx(found.statistic, abs=1e-12)
    assert p == pytest.approx(found.pvalue, rel=0.15)


def test_discrepancy_has_its_closed_form(rng):
    n, d, h, t, delta = 1500, 2, 1.3, 0.8, np.array([0.5, -0.25])
    x, y = rng.normal(size=(n, d)), delta + t * rng.normal(size=(n, d))
    right = (1 + 2 / h**2) ** (-d / 2) + (1 + 2 * t**2 / h**2) ** (-d / 2)
    right -= 2 * (1 + (1 + t**2) / h**2) ** (-d / 2) * np.exp(-(delta @ delta) / (2 * (h**2 + 1 + t**2)))
    assert distances.mmd(x, y, h) == pytest.approx(right, abs=0.014)  # 4 sds over draws


def test_discrepancy_is_unbiased(rng):
    found = [distances.mmd(rng.normal(size=(30, 2)), rng.normal(size=(40, 2)), 1.0) for _ in range(300)]
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
    ],
)
def test_spread_and_place_keep_their_level(draw):
    """Whatever the law: rejections at 5% of 500 sets lie within 4 standard errors."""
    g = np.random.default_rng(5)
    found = np.array(
        [(tests.spread(x := draw(g, 200), y := draw(g, 100))[1], tests.location(x, y)) for _ in range(500)]
    )
    assert (found < 0.05).mean(0) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 500))


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


def test_nothing_crashes(rng):
    before = table(rng, 300)
    gone = {name: np.full(50, np.nan) for name in before}
    endless = {**table(rng, 50), "age": np.full(50, np.inf)}
    for new in (gone, endless, table(rng, 1), {"age": [1.0]}, {"age": np.zeros((30, 3))}):
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


def test_figure(fitted):
    found = er.drift(fitted, patients(np.random.default_rng(5), 300, centre=1.0))
    assert found.figure().axes[0].get_xlabel() == "age"
    assert found.figure("spent").axes
    with pytest.raises(er.InferenceError, match="figure of a drift"):
        found.figure("nothing")


def test_a_program_is_a_data_set(fitted):
    assert frame_of(fitted.program).columns["group"].values[0] in {"a", "b", "c", "d"}
    assert frame_of(fitted).num_rows == 700

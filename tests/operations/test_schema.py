"""What rows may hold: every way in which data silently come wrong is provoked, and rows that are right pass."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import elboroom as er


def people(rng, count):
    height = rng.normal(1.75, 0.1, count)
    return {
        "age": rng.integers(18, 90, count),
        "height": height,
        "weight": 70 + 60 * (height - 1.75) + rng.normal(0, 6, count),
        "income": np.exp(rng.normal(10, 0.6, count)),
        "temperature": rng.normal(12, 8, count),
        "score": rng.normal(size=count),
        "city": rng.choice(["Oslo", "Bergen", "Tromsø"], count),
        "smoker": rng.integers(0, 2, count),
    }


@pytest.fixture(scope="module")
def schema():
    return er.schema(people(np.random.default_rng(0), 2000))


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).permutation(load_digits().images)


# -- rows that are right ---------------------------------------------------------------------------------


def test_rows_of_the_same_law_pass(schema):
    rng = np.random.default_rng(1)
    for count in (1, 2, 10, 50, 400):
        for _ in range(20):
            checked = schema.check(people(rng, count))
            assert not checked.refused.any() and not checked.suspicions and not checked.absent


def test_rows_that_have_moved_are_drift_and_no_error(schema):
    """Another mean, another spread, other shares: `er.drift` speaks of these, and nothing is said to be altered."""
    rng = np.random.default_rng(2)
    moved = people(rng, 300)
    moved["age"] = rng.integers(18, 40, 300)
    moved["income"] = 1.5 * moved["income"]
    moved["score"] = moved["score"] + 1
    moved["temperature"] = moved["temperature"] / 2
    moved["city"] = np.full(300, "Oslo")
    checked = schema.check(moved)
    assert not checked.suspicions and not checked.refused.any()


# -- cells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column, cell, what",
    [
        ("age", 900, "far outside"),
        ("income", -5.0, "far outside"),
        ("income", 30.0, "far outside"),
        ("height", np.nan, "missing"),
        ("height", np.inf, "infinite"),
        ("city", "Bodø", "unseen level"),
        ("city", None, "missing"),
        ("smoker", 2, "unseen level"),
        ("age", "forty", "type"),
    ],
)
def test_a_cell_that_is_refused_names_its_row(schema, column, cell, what):
    rows = pd.DataFrame(people(np.random.default_rng(3), 30))
    rows[column] = rows[column].astype(object)
    rows.loc[7, column] = cell
    checked = schema.check(rows)
    assert np.flatnonzero(checked.refused).tolist() == [7]
    assert {(f.column, f.what) for f in checked.flags if f.refused} == {(column, what)}
    with pytest.raises(er.DataError, match=rf"column '{column}'.*rows \[7\] \(1 in all\)"):
        schema.refuse(rows)
    kept, again = schema.gate(rows)
    assert len(kept) == 29 and 7 not in kept.index and again.refused.sum() == 1


def test_unusual_rows_are_told_and_kept(schema):
    rows = people(np.random.default_rng(4), 30)
    rows["score"][3] = 5.5
    checked = schema.check(rows)
    assert checked.flagged[3] and not checked.refused.any()
    assert schema.refuse(rows) is rows
    assert checked.table().loc[0, ["row", "column", "what"]].tolist() == [3, "score", "outside"]


def test_what_has_to_come_is_not_refused(rng):
    """Zero after a count of one, labels of which many are rare, dates, gaps and images as there were; whatever differs from few rows."""

    def made(count, start=0):
        gaps = rng.normal(size=count)
        gaps[::7] = np.nan
        names = 1 / np.arange(1, 2000)
        days = pd.date_range("2026-01-01", periods=count) + pd.Timedelta(days=start)
        return {
            "count": 1.0 + rng.poisson(9, count) * rng.poisson(3, count), "street": rng.choice(1999, count, p=names / names.sum()).astype(str), "gaps": gaps,
            "day": days.strftime("%Y-%m-%d").to_list(), "image": rng.uniform(0.01, 1, (count, 8, 8)), "empty": np.full(count, np.nan),
        }  # fmt: skip

    schema, new = er.schema(made(500)), made(200, 500)
    new["count"][0], new["image"][1, 2, 3], new["empty"][2] = 0.0, 0.0, 1.0
    checked = schema.check(new)
    assert not checked.refused.any() and not checked.suspicions
    assert {(f.column, f.what) for f in checked.flags} <= {(n, "outside") for n in new} | {
        ("street", "unseen level")
    }
    few = er.schema({"x": rng.normal(1, 1, 5)})
    assert (
        not few.check({"x": rng.normal(1, 1, 2000)}).refused.any() and few.check({"x": [1e6]}).refused.all()
    )
    assert json.dumps(schema.json_schema(), allow_nan=False)


def test_spellings_are_no_sign_where_the_training_data_had_several():
    schema = er.schema({"city": ["Oslo", "OSLO", "Bergen"] * 50})
    assert not schema.check({"city": ["BERGEN"] * 20}).suspicions


@pytest.mark.parametrize("factor", [10, 0.1, 1000])
def test_another_unit_of_whole_numbers_and_of_numbers_that_are_mostly_zero(factor, rng):
    """0.3 / 0.1 is not quite 3, and zero is zero in any unit."""

    def made(count):
        return {
            "seats": 2.0 + rng.integers(0, 20, count),
            "rain": np.where(rng.uniform(size=count) < 0.7, 0, rng.lognormal(2, 1, count)),
        }

    schema, new = er.schema(made(1000)), made(90)
    assert not schema.check(new).suspicions
    for name in new:
        assert suspected(schema, {**new, name: factor * new[name]}) == {(name, "unit")}


def test_other_levels_may_be_allowed(schema):
    rows = people(np.random.default_rng(5), 20)
    rows["city"][0] = "Paris"
    assert schema.check(rows).refused[0]
    assert not schema.allow("city").check(rows).refused.any()
    with pytest.raises(er.DataError, match="columns of a schema"):
        schema.allow("town")


# -- sets that were altered ------------------------------------------------------------------------------


def suspected(schema, rows):
    return {(one.column, one.what) for one in schema.check(rows).suspicions}


@pytest.mark.parametrize("count", [12, 40, 300])
@pytest.mark.parametrize(
    "column, change, words",
    [
        ("height", lambda v: 100 * v, "a hundred"),
        ("height", lambda v: v / 0.3048, "feet"),
        ("income", lambda v: v / 1000, "a thousand"),
        ("income", lambda v: 1000 * v, "a thousand"),
        ("income", lambda v: 10 * v, "ten"),
        ("income", np.log, "logarithms"),
        ("weight", lambda v: v / 0.45359237, "pounds"),
        ("temperature", lambda v: 1.8 * v + 32, "Fahrenheit"),
        ("temperature", lambda v: v + 273.15, "kelvins"),
        ("height", lambda v: (v - 1.75) / 0.1, "standardised"),
    ],
)
def test_another_unit_is_suspected(schema, column, change, words, count):
    rows = people(np.random.default_rng(6), count)
    rows[column] = change(rows[column])
    found = [one for one in schema.check(rows).suspicions if one.column == column]
    assert found and found[0].what == "unit"
    if count == 300 or words in ("feet", "Fahrenheit"):
        assert words in found[0].words
    with pytest.raises(er.DataError, match=f"column '{column}'"):
        schema.refuse(rows)


@pytest.mark.parametrize("pair", [("age", "income"), ("height", "temperature"), ("weight", "temperature")])
def test_columns_that_are_exchanged_are_suspected(schema, pair):
    rows = people(np.random.default_rng(7), 60)
    rows[pair[0]], rows[pair[1]] = rows[pair[1]], rows[pair[0]]
    assert {(name, "columns") for name in pair} <= suspected(schema, rows)


def test_columns_of_one_law_are_known_by_how_they_go_together():
    """All are standard normal: only correlations tell."""
    rng = np.random.default_rng(8)
    mix = np.array([[1, 0.8, 0.0, 0.3], [0, 0.6, 0.5, 0.0], [0, 0, 0.87, 0.2], [0, 0, 0, 0.93]])
    x, new = (rng.normal(size=(n, 4)) @ mix for n in (3000, 300))
    x, new = x / np.linalg.norm(mix, axis=0), new / np.linalg.norm(mix, axis=0)
    schema = er.schema({"x": x})
    assert not schema.check({"x": new}).suspicions
    assert suspected(schema, {"x": new[:, [1, 0, 2, 3]]}) == {("x[0]", "columns"), ("x[1]", "columns")}
    turned = new * [1, 1, -1, 1]
    assert suspected(schema, {"x": turned}) == {("x[2]", "columns")}


def test_stuck_columns_and_spellings(schema):
    rows = people(np.random.default_rng(9), 40)
    stuck = {**rows, "temperature": np.full(40, 11.5)}
    assert suspected(schema, stuck) == {("temperature", "stuck")}
    spelt = {**rows, "city": [name.upper() + " " for name in rows["city"]]}
    assert ("city", "spelling") in suspected(schema, spelt)
    comma = {**rows, "height": [f"{v:.2f}".replace(".", ",") for v in rows["height"]]}
    assert ("height", "spelling") in suspected(schema, comma)
    named = pd.DataFrame(rows).rename(columns={"age": "Age"})
    checked = schema.check(named)
    assert ("age", "names") in suspected(schema, named) and checked.absent == ("age",)


# -- images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda v: np.swapaxes(v, 1, 2), "transposed"),
        (lambda v: v[:, :, ::-1], "mirrored"),
        (lambda v: v[:, ::-1], "upside down"),
        (lambda v: 16 - v, "inverted"),
        (lambda v: v / 255, "255th"),
        (lambda v: (v - 4.9) / 6.0, "standardised"),
    ],
)
def test_images_that_are_turned_or_scaled_are_suspected(pictures, change, words):
    schema = er.schema({"image": pictures[:1200]})
    assert not schema.check({"image": pictures[1200:1300]}).suspicions
    (found,) = schema.check({"image": change(pictures[1200:1300])}).suspicions
    assert found.column == "image" and words in found.words


def test_black_images_are_refused_and_others_kept(pictures):
    schema = er.schema({"image": pictures[:1200]})
    new = pictures[1200:1400].copy()
    new[[3, 50]] = 0.0
    kept, checked = schema.gate({"image": new})
    assert np.flatnonzero(checked.refused).tolist() == [3, 50] and len(kept["image"]) == 198
    assert "blank" in str(checked.findings)


def test_shapes_of_images_and_of_matrices(rng):
    wide = rng.uniform(size=(300, 6, 12)) * np.linspace(0, 1, 12)
    schema = er.schema({"image": wide})
    (found,) = schema.check({"image": np.swapaxes(wide[:50], 1, 2)}).suspicions
    assert "transposed" in found.words and "numpy.transpose(image, (0, 2, 1))" in found.remedy
    assert schema.check({"image": wide[:20, :, :5]}).refused.all()
    flat = er.schema({"x": rng.uniform(size=(400, 100))})
    (found,) = flat.check({"x": rng.uniform(size=(100, 90))}).suspicions
    assert "x.T" in found.remedy


# -- formats, and prediction -----------------------------------------------------------------------------


def test_json_schema_refuses_what_check_refuses(schema):
    validator = jsonschema.Draft202012Validator(schema.json_schema())
    jsonschema.Draft202012Validator.check_schema(schema.json_schema())
    rows = pd.DataFrame(people(np.random.default_rng(10), 40))
    spoilt = rows.astype(object).copy()
    for row, (column, cell) in enumerate(
        [("age", 900), ("city", "Bodø"), ("income", -5.0), ("height", None), ("smoker", 2)]
    ):
        spoilt.loc[row, column] = cell
    found = [not validator.is_valid(json.loads(spoilt.loc[row].to_json())) for row in range(40)]
    assert found == schema.check(spoilt).refused.tolist() and sum(found) == 5


def test_json_schema_of_images_and_matrices(rng):
    schema = er.schema({"image": rng.uniform(size=(100, 8, 9)), "x": rng.normal(size=(100, 3))})
    validator = jsonschema.Draft202012Validator(schema.json_schema())
    row = {"image": rng.uniform(size=(8, 9)).tolist(), "x": [0.1, 0.2, 0.3]}
    assert validator.is_valid(row)
    assert not validator.is_valid({**row, "x": [0.1, 0.2]})
    assert not validator.is_valid({**row, "image": rng.uniform(size=(9, 8)).tolist()})


def test_pandera_refuses_what_check_refuses(schema):
    pandera = pytest.importorskip("pandera.pandas")
    made, rows = schema.pandera(), pd.DataFrame(people(np.random.default_rng(11), 40))
    made.validate(rows)
    for column, cell in (("age", 900), ("city", "Bodø"), ("income", -5.0), ("smoker", 2)):
        bad = rows.astype({column: object})
        bad.loc[3, column] = cell
        with pytest.raises(pandera.errors.SchemaErrors) as error:
            made.validate(bad, lazy=True)
        assert set(error.value.failure_cases["column"]) == {column}


def test_a_schema_is_the_same_when_read_again(schema, tmp_path):
    again = er.schema(schema.save(tmp_path / "schema.json"))
    rows = people(np.random.default_rng(12), 50)
    rows["income"] = rows["income"] / 1000
    assert again.check(rows).findings == schema.check(rows).findings
    assert again.json_schema() == schema.json_schema()
    path = tmp_path / "schema.json"
    path.write_text(path.read_text().replace('"num_rows": 2000', '"num_rows": 3'))
    with pytest.raises(er.InferenceError, match="changed content"):
        er.schema(path)


def test_prediction_refuses_by_it():
    rng = np.random.default_rng(13)

    @er.model
    def line(height, y=None):
        slope = er.sample("slope", er.Normal(0, 5))
        with er.plate("row", len(height)):
            er.observe("y", er.Normal(slope * height, 1), y)

    height = rng.normal(1.7, 0.1, 200)
    posterior = er.fit(line(height, 2 * height + rng.normal(size=200)), progress=False)
    for source in (posterior.program, posterior):
        schema = er.schema(source)
        assert schema.fields["y"].outcome and not schema.fields["height"].outcome
        assert posterior.predict(height=height[:5], gate=schema)["posterior_predictive"]["y"].shape[-1] == 5
        with pytest.raises(er.DataError, match=r"column 'height'.*a hundred times"):
            posterior.predict(height=100 * height[:50], gate=schema)


def test_what_is_no_data_set():
    for nothing in (3, {"x": []}):
        with pytest.raises(er.DataError, match="data of a schema"):
            er.schema(nothing)
    with pytest.raises(er.InferenceError, match="expected a file"):
        er.schema("/nowhere/schema.json")

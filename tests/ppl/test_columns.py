"""What tables hold: taken with one stated meaning, or refused by name with what to do."""

from __future__ import annotations

import datetime
import decimal

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import torch
from elboroom.ppl.data import convert

import elboroom as er

ZONED = pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("Asia/Tokyo"))


def _arrow(values, kind):
    pa = pytest.importorskip("pyarrow")
    return pd.Series(values, dtype=pd.ArrowDtype(getattr(pa, kind)() if isinstance(kind, str) else kind(pa)))


NUMBERS = {
    "list": lambda: [1, 2],
    "list with None": lambda: [1.0, None],
    "nullable": lambda: pd.Series([1, 2], dtype="Int64"),
    "nullable, missing": lambda: pd.Series([1, None], dtype="Int64"),
    "nullable booleans, missing": lambda: pd.Series([True, None], dtype="boolean"),
    "objects": lambda: pd.Series([1, 2.0], dtype=object),
    "decimal": lambda: pd.Series([decimal.Decimal(1), decimal.Decimal(2)]),
    "sparse": lambda: pd.Series(pd.arrays.SparseArray([1.0, 2.0])),
    "masked": lambda: np.ma.masked_array([1.0, 5.0], [False, True]),
    "half": lambda: np.array([1, 2], np.float16),
    "brain float of JAX": lambda: jnp.array([1, 2], jnp.bfloat16),
    "brain float of torch": lambda: torch.tensor([1, 2], dtype=torch.bfloat16),
    "arrow": lambda: _arrow([1, 2], "int64"),
    "arrow, missing": lambda: _arrow([1, None], "int64"),
    "arrow decimal": lambda: _arrow([decimal.Decimal(1), decimal.Decimal(2)], lambda pa: pa.decimal128(5, 2)),
    "pyarrow": lambda: pytest.importorskip("pyarrow").array([1, None]),
    "polars": lambda: pytest.importorskip("polars").Series([1, 2]),
    "polars, missing": lambda: pytest.importorskip("polars").Series([1, None]),
    "polars decimal": lambda: pytest.importorskip("polars").Series([decimal.Decimal(1), decimal.Decimal(2)]),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers(kind):
    found = convert(NUMBERS[kind](), "x")
    second = found.value[1]
    assert found.traced and found.labels is None and found.value.dtype in (np.int64, np.float64)
    assert found.value[0] == 1 and (second == 2 or np.isnan(second))
    assert np.isnan(second) == ("missing" in kind or "None" in kind or kind in ("masked", "pyarrow"))


REFUSED = {
    "complex": (lambda: np.array([1 + 2j, 1]), "complex numbers.*real and imaginary"),
    "durations": (lambda: pd.Series(pd.to_timedelta([1, 2], "D")), "durations.*pd.Timedelta"),
    "periods": (lambda: pd.Series(pd.period_range("2020", periods=2)), "periods.*to_timestamp"),
    "intervals": (lambda: pd.Series(pd.interval_range(0, 2)), "intervals.*mid"),
    "nested": (lambda: pd.Series([[1, 2], [3]]), "nested values"),
    "bytes": (lambda: np.array([b"a", b"b"]), "bytes"),
    "mixed list": (lambda: [1.0, "n/a", 2.0], r"labels and numbers.*'n/a'.*rows \[1\]"),
    "mixed column": (lambda: pd.Series([1.0, "n/a", 2.0]), r"labels and numbers.*'n/a'.*rows \[1\]"),
    "large": (lambda: np.array([1, 2**63], np.uint64), rf"{2**63} in rows \[1\]"),
    "large list": (lambda: [1, 2**70], r"rows \[1\]"),
    "missing date": (lambda: pd.Series([pd.Timestamp("2020"), pd.NaT]), r"rows \[1\]"),
    "times": (lambda: [datetime.time(1), datetime.time(2)], "times of day"),
    "polars dates in lists": (lambda: pytest.importorskip("polars").Series([[1], [2]]), "nested values"),
    "polars durations": (
        lambda: pytest.importorskip("polars").Series([datetime.timedelta(1)]),
        "durations",
    ),
    "mixed table": (lambda: pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "'a' of numbers, 'b' of labels"),
    "table of dates": (lambda: pd.DataFrame({"a": pd.to_datetime(["2020"])}), "'a' of dates"),
    "same names": (lambda: pd.Categorical([1, "1"], categories=[1, "1"]), "'1'.* twice"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_number_label_or_date_is_refused(kind):
    make, words = REFUSED[kind]
    with pytest.raises(er.DataError, match=f"argument 'x'.*{words}"):
        convert(make(), "x")


def test_strings_of_numpys_own_type_are_labels():
    found = convert(np.array(["b", "a"], dtype=np.dtypes.StringDType()), "x")
    assert found.labels == ("a", "b") and found.value.tolist() == [1, 0]


@pytest.mark.parametrize("make", [lambda t: t, lambda t: pytest.importorskip("polars").from_pandas(t)])
def test_a_table_of_numbers_is_a_matrix(make):
    table = pd.DataFrame({"a": [1, 2], "b": [3.5, np.nan]})
    np.testing.assert_array_equal(convert(make(table), "x").value, table.to_numpy())


@er.model
def line(x, y=None):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(b * x, 1.0), y)


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(
    "dates",
    [
        pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])),
        ZONED,
        np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"),
        [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
    ],
)
def test_dates_are_no_numbers(dates, backend):
    with pytest.raises(er.DataError, match=r"'x'.*dates, which have no unit.*dt\.days"):
        line(dates, np.ones(2)).trace(backend)
    with pytest.raises(er.DataError, match=r"'y'.*dates"):
        line(np.ones(2), dates).trace(backend)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_dates_with_a_unit_that_the_model_states(backend):
    @er.model
    def trend(date, y=None):
        b = er.sample("b", er.Normal(0, 1))
        days = (date - date.min()) / np.timedelta64(1, "D")
        with er.plate("row", len(date), coords=date):
            er.observe("y", er.Normal(b * er.math.asarray(days), 1.0), y)

    y = np.array([0.0, 1.0])
    for unit in ("s", "us", "ns"):
        dates = pd.Series(pd.to_datetime(["2020-01-01", "2020-01-03"])).astype(f"datetime64[{unit}]")
        expected = line(np.array([0.0, 2.0]), y).target(backend).log_joint({"b": 0.5})
        assert trend(dates, y).target(backend).log_joint({"b": 0.5}) == pytest.approx(expected, abs=1e-12)


# -- rows that belong together -------------------------------------------------------------------------

TABLE = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.1, 2.9]}, index=["a", "b", "c"])


def test_the_same_rows_in_another_order_are_refused():
    with pytest.raises(er.DataError, match=r"'x' and 'y'.*another order.*row 0: a and c"):
        line(TABLE["x"], TABLE["y"].iloc[::-1])
    with pytest.raises(er.DataError, match="another order"):
        line(TABLE[["x"]].sample(frac=1, random_state=1), TABLE["y"])
    shuffled = TABLE.reset_index(drop=True)
    with pytest.raises(er.DataError, match="another order"):
        line(shuffled["x"], shuffled["y"].sort_values(ascending=False))
    line(TABLE["x"], TABLE["y"])
    line(TABLE["x"], TABLE["y"].to_numpy()[::-1])


def test_coordinates_in_another_order_are_refused():
    x, y = TABLE["x"].to_xarray().rename(index="row"), TABLE["y"].to_xarray().rename(index="row")
    line(x, y)
    with pytest.raises(er.DataError, match="another order"):
        line(x, y[::-1])


def test_rows_of_other_names_are_a_finding():
    posterior = er.fit(line(TABLE["x"], TABLE["y"].reset_index(drop=True)), progress=False, refine=False)
    (found,) = [f for f in posterior.findings if f.name == "rows of other names"]
    assert found.verdict == "caution" and found.quantity == "x, y"
    same = er.fit(line(TABLE["x"], TABLE["y"]), progress=False, refine=False)
    assert not [f for f in same.findings if f.name == "rows of other names"]


# -- a model's own slips -------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_slips_are_named_with_the_line(backend):
    def refused(fn, error, words, *data):
        with pytest.raises(error, match=words):
            er.model(fn)(*data).trace(backend)

    def misnamed(y):
        er.sample("a", er.Normal(mu=0, sigma=1))

    def incomplete(y):
        er.sample("a", er.Beta(2.0))

    def observed(y):
        er.sample("y", er.Normal(0, 1), obs=y)

    def column(table):
        er.sample("a", er.Normal(table["x"], 1.0))

    def attribute(table):
        er.sample("a", er.Normal(table.x, 1.0))

    refused(misnamed, er.ModelError, r"line \d+.*er\.Normal\(loc, scale\), got 'mu'", np.ones(2))
    refused(incomplete, er.ModelError, r"er\.Beta\(.*missing", np.ones(2))
    refused(observed, er.ModelError, r"er\.observe\(name, law, data\)", np.ones(2))
    for fn in (column, attribute):
        refused(fn, er.ModelError, "argument 'table'.*one matrix.*arguments of their own", TABLE)


def test_a_decision_on_a_latent_quantity_is_named():
    @er.model
    def decides(y):
        a = er.sample("a", er.Normal(0, 1))
        er.observe("y", er.Normal(a if a > 0 else -a, 1.0), y)

    with pytest.raises(er.UnsupportedError, match=r"line \d+ \(er\.observe.*er\.math\.where"):
        decides(np.ones(2)).trace("jax")


def test_precision_is_one_of_two():
    with pytest.raises(er.UnsupportedError, match="dtype: expected float64 or float32, got 'float31'"):
        er.fit(line(np.ones(2), np.ones(2)), dtype="float31")


def test_a_library_that_is_being_imported_has_no_values_yet(monkeypatch):
    import sys
    from types import ModuleType

    from elboroom.ppl.columns import is_instance

    monkeypatch.setitem(sys.modules, "half", ModuleType("half"))
    assert not is_instance(np.zeros(2), "half", "Tensor")
    assert is_instance(np.zeros(2), "numpy", "ndarray")

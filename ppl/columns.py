"""What a container holds: numbers, labels or dates, whatever library it comes from.

================================  =====================================================================
numbers, nullable numbers         float or whole numbers; a missing value is NaN
booleans                          booleans; with missing values 0, 1 and NaN
decimals, fractions               float64
strings                           labels
categories (pandas, polars,       labels in the order of the categories
Arrow dictionaries)
sparse                            dense
dates, with and without a zone    kept as they are (UTC): they name the elements of a plate
complex, durations, periods,      refused, each with what to do
intervals, nested, bytes, mixed
================================  =====================================================================
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import numbers
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError, explain
from .thresholds import LABELS_SHOWN, QUOTED, ROWS_SHOWN

LARGEST = np.iinfo(np.int64).max
"""Largest whole number that data may hold."""
REMEDIES = {
    "complex numbers": "model the real and imaginary parts, or the modulus",
    "durations": "divide by a unit: x / pd.Timedelta('1D')",
    "periods": "use x.dt.to_timestamp() to name the elements of a plate, or a number such as x.dt.year",
    "intervals": "use .mid for numbers, or .astype('category') for groups",
    "nested values": "give each part an argument of its own, or an array with one more axis",
    "bytes": "decode them to strings, or convert them to numbers",
    "times of day": "convert them to a number in a unit of your choice",
}
"""What to do about each kind of value that is no number, label or date."""
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "labels"),
    ((bool, np.bool_, numbers.Real, decimal.Decimal, fractions.Fraction), "numbers"),
    (numbers.Complex, "complex numbers"),
    ((datetime.date, np.datetime64), "dates"),
    ((datetime.timedelta, np.timedelta64), "durations"),
    (datetime.time, "times of day"),
    ((bytes, bytearray), "bytes"),
    ((list, tuple, dict, set, np.ndarray), "nested values"),
)
"""Classes of cells, the first that fits counts."""
_NULLABLE = {"i": "int64", "u": "uint64", "f": "float64", "b": "bool"}
"""Kind of a nullable column without missing values to the type of the array that holds it."""


@dataclass(frozen=True)
class Column:
    """What a container holds.

    Attributes
    ----------
    values : numpy.ndarray
        Numbers; strings as objects, None where missing; ``datetime64[ns]``.
    kind : {"numbers", "labels", "dates"}
    categories : tuple or None
        The labels in an order that the container states.
    ordered : bool
        Whether that order was stated: said to mean something, or another than that of the alphabet.
    """

    values: np.ndarray
    kind: str
    categories: tuple | None = None
    ordered: bool = False


def is_instance(value: Any, module: str, *names: str) -> bool:
    """Whether a value is of one of some classes of a library that may not even be imported."""
    library = sys.modules.get(module)
    # a library that another thread is importing just now may lack the class, and then has no values of it
    return library is not None and isinstance(value, tuple(getattr(library, name, ()) for name in names))


def native(value: Any) -> Any:
    """A column or table of Arrow as one of pandas, of polars or another library as one of narwhals, else `value`."""
    if is_instance(value, "pyarrow", "Array", "ChunkedArray", "Table"):
        return value.to_pandas()
    ours = is_instance(value, "pandas", "Series", "DataFrame") or is_instance(value, "xarray", "DataArray")
    if ours or not hasattr(value, "__arrow_c_stream__"):
        return value
    import narwhals

    return narwhals.from_native(value, eager_only=True, allow_series=True, pass_through=True)


def column_of(value: Any, where: str) -> Column:
    """What one column holds.

    Parameters
    ----------
    value : pandas.Series, pandas.Index, pandas.Categorical, narwhals.Series or array
        One column.
    where : str
        What messages call it.

    Returns
    -------
    Column

    Raises
    ------
    DataError
        For what is neither numbers, nor labels, nor dates, with the rows.
    """
    if is_instance(value, "narwhals", "Series"):
        return _narwhals(value, where)
    if is_instance(value, "pandas", "Series", "Index", "Categorical") or hasattr(value, "dtype"):
        dtype = value.dtype
        kind = type(dtype).__name__
        if kind == "ArrowDtype" and "dictionary" in str(dtype):
            value = value.astype("category")
            kind = "CategoricalDtype"
        if kind == "CategoricalDtype":
            return _categories(value)
        if kind == "DatetimeTZDtype":
            value = value.to_numpy("datetime64[ns]")  # in UTC
        if kind == "SparseDtype":
            value = np.asarray(value)
    return array_column(_plain(value), where)


def _plain(value) -> np.ndarray:
    """An array of one dtype; nullable numbers with missing ones as floats."""
    dtype = getattr(value, "dtype", None)
    extension = not isinstance(dtype, np.dtype) and hasattr(dtype, "na_value")
    name = _NULLABLE.get(getattr(dtype, "kind", "")) if extension else None
    if name is None:
        return np.asarray(value)
    if value.isna().any():
        return value.to_numpy(dtype=float, na_value=np.nan)
    return value.to_numpy(dtype=name)


def array_column(array: np.ndarray, where: str) -> Column:
    """What an array holds, see `column_of`.

    Examples
    --------
    >>> array_column(np.array(["b", None], dtype=object), "argument 'group'").kind
    'labels'

    Raises
    ------
    DataError
        For what is neither numbers, nor labels, nor dates, with the rows.
    """
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float64)
    kind = array.dtype.kind
    if kind == "u" and array.size and array.max() > LARGEST:
        return array_column(array.astype(object), where)
    if kind in "iufb":
        return Column(array, "numbers")
    if kind in "UST":
        return array_column(array.astype(object), where)
    if kind == "M":
        return _dates(array, where)
    if kind == "O":
        return _objects(array, where)
    words = {"c": "complex numbers", "m": "durations"}.get(kind, f"values of type {array.dtype}")
    raise _refused(where, words, array, np.arange(len(array)) if array.ndim else np.zeros(0, int))


def _dates(array, where) -> Column:
    missing = np.isnat(array)
    if missing.any():
        raise DataError(
            explain(where, "a date in every row", f"none in rows {rows_of(missing)}", "drop those rows")
        )
    return Column(array.astype("datetime64[ns]"), "dates")


def _kind_of(kind: type) -> str:
    """What values of a class are."""
    for classes, words in _KINDS:
        if issubclass(kind, classes):
            return words
    return {"Period": "periods", "Interval": "intervals"}.get(kind.__name__, f"values of {kind.__name__}")


def _objects(array, where) -> Column:
    """Python objects, by what they all are."""
    import pandas as pd

    flat = array.reshape(-1)
    missing = pd.isna(flat)
    kinds = {kind: _kind_of(kind) for kind in {type(v) for v in flat[~missing]}}
    named = sorted(set(kinds.values()))
    if not named:
        return Column(np.full(array.shape, np.nan), "numbers")
    if len(named) > 1:
        raise _mixed(flat, missing, kinds, where, array.shape)
    (name,) = named
    if name == "labels":
        values = flat.copy()
        values[missing] = None
        return Column(values.reshape(array.shape), "labels")
    if name == "dates":
        stamps = pd.to_datetime(pd.Series(flat), utc=True).dt.tz_localize(None)
        return _dates(stamps.to_numpy().reshape(array.shape), where)
    if name != "numbers":
        raise _refused(where, name, flat, np.flatnonzero(~missing))
    return Column(_numbers(flat, missing, set(kinds), where, array.shape).reshape(array.shape), "numbers")


def _mixed(flat, missing, kinds: dict[type, str], where: str, shape: tuple[int, ...]) -> DataError:
    """The error of values of several kinds, which names those of the rarest."""
    named = sorted(set(kinds.values()))
    rare = min(named, key=lambda name: sum(kinds.get(type(v)) == name for v in flat[~missing]))
    odd = np.array([not m and kinds[type(v)] == rare for v, m in zip(flat, missing, strict=True)])
    return DataError(
        explain(
            where,
            "values of one kind",
            f"{' and '.join(named)}: {[str(v) for v in flat[odd][:LABELS_SHOWN]]} in rows "
            f"{rows_of(odd.reshape(shape))}",
            "correct or drop those rows",
        )
    )


def _numbers(flat, missing, kinds: set[type], where: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers as Python has them: booleans, whole numbers, or floats with NaN where they are missing."""
    whole = all(issubclass(kind, (int, np.integer)) for kind in kinds)
    if not whole or missing.any():
        return np.array([np.nan if m else float(v) for v, m in zip(flat, missing, strict=True)])
    if kinds <= {bool, np.bool_} and len(kinds) == 1:
        return flat.astype(bool)
    large = np.array([abs(int(v)) > LARGEST for v in flat])
    if large.any():
        raise DataError(
            explain(
                where,
                f"whole numbers up to {LARGEST}",
                f"{flat[large][0]} in rows {rows_of(large.reshape(shape))}",
                "make identifiers strings, or convert the column to float",
            )
        )
    return flat.astype(np.int64)


def _categories(value) -> Column:
    pandas = value.cat if is_instance(value, "pandas", "Series") else value
    codes, categories = np.asarray(pandas.codes), pandas.categories
    names = np.empty(len(categories) + 1, dtype=object)  # the code -1 reads the last one
    names[:-1] = [as_label(c) for c in categories]
    order = bool(pandas.ordered) or categories.dtype.kind in "iuf" or list(names[:-1]) != sorted(names[:-1])
    return Column(names[codes], "labels", tuple(names[:-1]), order)


def _narwhals(series, where) -> Column:
    import narwhals as nw

    dtype = series.dtype
    if isinstance(dtype, (nw.Categorical, nw.Enum)):
        names = dtype.categories if isinstance(dtype, nw.Enum) else series.cat.get_categories().to_list()
        values = np.array(series.cast(nw.String).to_list(), dtype=object)
        return Column(values, "labels", tuple(names), isinstance(dtype, nw.Enum))
    if dtype.is_numeric() and not isinstance(dtype, nw.Decimal) and not series.is_null().any():
        return array_column(series.to_numpy(), where)
    cells = series.to_list()
    array = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):  # as they are: lists too are single values
        array[i] = cell
    return array_column(array, where)


def as_label(value: Any) -> str:
    """The name of a group: the same for 3, 3.0 and "3".

    Examples
    --------
    >>> as_label(3.0), as_label("3"), as_label(2.5)
    ('3', '3', '2.5')
    """
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value)


def no_dates(where: str, label: str) -> str:
    """The message about dates in an argument `label`, where numbers are expected."""
    return explain(
        where,
        "numbers",
        "dates, which have no unit",
        f"say which: ({label} - {label}.min()).dt.days, or {label}.dt.year; dates as coords of a plate are fine",
    )


def rows_of(where: np.ndarray, most: int = ROWS_SHOWN, start: int = 0) -> str:
    """The first rows in which something holds, in words; `start` is the number of the first.

    Examples
    --------
    >>> rows_of(np.array([False, True, True])), rows_of(np.ones(9, bool), most=2)
    ('[1, 2]', '[0, 1]…')
    """
    rows = sorted({start + int(b[0]) if len(b) else 0 for b in np.argwhere(where)})
    return f"{rows[:most]}{'…' if len(rows) > most else ''}"


def _refused(where, name, values, rows) -> DataError:
    first = values[rows[0]] if len(rows) else values
    got = f"{name}, such as {str(first)[:QUOTED]}" + (f" in row {int(rows[0])}" if len(rows) else "")
    return DataError(
        explain(
            where, "numbers, labels or dates", got, REMEDIES.get(name, "convert them to numbers or strings")
        )
    )

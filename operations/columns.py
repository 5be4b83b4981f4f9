"""What a data set is: a frame of any library, a mapping of arrays, an array, or what a program or posterior was fitted to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from ..inference.posterior.posterior import Posterior, record_of
from ..inference.posterior.predict import fitted_labels
from ..ppl.columns import as_label, column_of, is_instance, native
from ..ppl.data import contents
from ..ppl.errors import DataError, ShapeError, explain
from ..ppl.model import Program
from .thresholds import FEW_LEVELS, WIDE

NUMBERS, LABELS, DATES, BLOCKS, MIXED = "numbers", "labels", "dates", "blocks", "mixed"
"""Kinds of columns; a block has many numbers in each row, as images do; of a mixed one cells are of several kinds."""
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?$")


@dataclass(frozen=True)
class Kind:
    """What is known of a column of the reference.

    Attributes
    ----------
    kind : str
        As a `Column` has it.
    few : bool
        Whether its whole numbers are compared level by level.
    low, high : float
        Least and greatest number of a block.
    gaps : bool
        Whether any cell holds nothing.
    """

    kind: str
    few: bool = False
    low: float = 0.0
    high: float = 1.0
    gaps: bool = False


@dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Attributes
    ----------
    name : str
    kind : {"numbers", "labels", "dates", "blocks", "mixed"}
    values : numpy.ndarray, shape (N, …)
        Numbers as floats, NaN where missing; labels as objects, None where missing.
    whole : bool
        Whether they came as whole numbers or booleans.
    """

    name: str
    kind: str
    values: np.ndarray
    whole: bool = False

    @property
    def missing(self) -> np.ndarray:
        """Where nothing is, ``(N,)``; of a block, where any number is missing."""
        if self.kind in (NUMBERS, BLOCKS):
            return np.asarray(flat(np.isnan(self.values)).any(1))
        if self.kind == DATES:
            return np.isnat(self.values)
        import pandas as pd

        return np.asarray(pd.isna(self.values), bool)

    @property
    def few(self) -> bool:
        """Whether these are whole numbers of a few values, which are compared as levels are."""
        known = self.values[np.isfinite(self.values)] if self.kind == NUMBERS else np.zeros(0)
        return (
            len(known) > 0 and bool((known == np.round(known)).all()) and len(np.unique(known)) <= FEW_LEVELS
        )

    @property
    def dated(self) -> bool:
        """Whether these are dates, also such as are written out: 2026-01-31."""
        names = {str(cell) for cell in self.values[~self.missing]} if self.kind == LABELS else set()
        return self.kind == DATES or (bool(names) and all(map(ISO_DATE.match, names)))

    @property
    def usual(self) -> Kind:
        """What is known of it as one of the reference."""
        low, high = range_of(self.values) if self.kind == BLOCKS else (0.0, 1.0)
        kind = DATES if self.dated else self.kind
        return Kind(kind, self.few, low, high, bool(self.missing.any()))

    def as_labels(self) -> np.ndarray:
        """Names of what the cells hold, None where they hold nothing or many numbers, shape ``(N,)``."""
        if self.kind == BLOCKS:
            return np.full(len(self.values), None)
        cells = self.values.tolist() if self.kind == NUMBERS else self.values
        named = [
            None if gone else as_label(cell) for cell, gone in zip(cells, self.missing.tolist(), strict=True)
        ]
        return np.array(named, dtype=object)

    def as_numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """The cells as numbers ``(N,)``, NaN where they are none, and where they hold something that is none."""
        if self.kind == NUMBERS:
            return self.values, np.zeros(len(self.values), bool)
        one_each = self.kind in (LABELS, MIXED)
        found = np.array([_number(cell) if one_each else np.nan for cell in self.values], float)
        return found, np.isnan(found) & ~self.missing

    def as_it_came(self) -> np.ndarray:
        """The values, whole numbers as such."""
        return self.values.astype(np.int64) if self.whole and not self.missing.any() else self.values

    def take(self, rows: Any) -> Column:
        """Some of the rows."""
        return replace(self, values=self.values[rows])


def flat(values: np.ndarray) -> np.ndarray:
    """The numbers of each row side by side, ``(N, K)``, also of no row."""
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def range_of(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest number; zero and one where there is none."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _number(cell: Any) -> float:
    if not isinstance(cell, (str, np.bool_, Real, Decimal)):  # a date is no number, nor is a complex one
        return np.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        return np.nan


@dataclass(frozen=True, eq=False)
class Frame:
    """Rows with columns.

    Attributes
    ----------
    columns : mapping of Column
    num_rows : int
    """

    columns: Mapping[str, Column]
    num_rows: int

    @property
    def kinds(self) -> dict[str, Kind]:
        """What is known of the columns, as those of the reference."""
        return {name: column.usual for name, column in self.columns.items()}

    def spoilt(self, may_lack: Iterable[str]) -> np.ndarray:
        """Rows with a number that is infinite, or missing but in columns that may lack some, ``(N,)``."""
        out, lacking = np.zeros(self.num_rows, bool), set(may_lack)
        for name, column in self.columns.items():
            if column.kind in (NUMBERS, BLOCKS):
                out |= flat(np.isinf(column.values)).any(1)
                out |= column.missing & (name not in lacking)
        return out

    def take(self, rows: Any) -> Frame:
        """Some of the rows, by position or mask."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows, int)
        return Frame({name: column.take(rows) for name, column in self.columns.items()}, len(rows))

    def only(self, names: Iterable[str]) -> Frame:
        """Some of the columns."""
        return replace(self, columns={name: self.columns[name] for name in names})

    def arguments(self) -> dict[str, np.ndarray]:
        """The values by name, columns ``x[0]``, ``x[1]`` … of a matrix together, in the order of their numbers.

        Raises
        ------
        DataError
            For a matrix that lacks one.
        """
        found: dict[str, Any] = {}
        parts: dict[str, dict[int, np.ndarray]] = {}
        for name, column in self.columns.items():
            base, _, rest = name.partition("[")
            if rest and rest[:-1].isdigit():
                parts.setdefault(base, {})[int(rest[:-1])] = column.as_it_came()
            else:
                found[name] = column.as_it_came()
        for base, own in parts.items():
            if sorted(own) != list(range(len(own))):
                want, got = "all columns from [0] on", f"{sorted(own)[:8]}"
                raise DataError(explain(f"columns of '{base}'", want, got, "give the others too"))
            found[base] = np.column_stack([own[i] for i in range(len(own))])
        return found


def frame_of(data: Any, where: str = "data") -> Frame:
    """A data set as columns.

    Parameters
    ----------
    data : table, mapping, array, Program, Posterior or Frame
        A frame of pandas, polars, Arrow or another library that narwhals knows; a mapping from name to array or column, of
        which numbers, strings and nothing are settings; an array, rows first. Of a program or a posterior the rows that it
        was, or is to be, fitted to.
    where : str
        What messages call it.

    Returns
    -------
    Frame

    Raises
    ------
    DataError
        For what is no data set.
    ShapeError
        For columns of several lengths.

    Examples
    --------
    >>> frame = frame_of({"age": [30, 41], "city": ["Oslo", None]})
    >>> {name: column.kind for name, column in frame.columns.items()}
    {'age': 'numbers', 'city': 'labels'}
    """
    if isinstance(data, Frame):
        return data
    if isinstance(data, Program):
        return _longest(_leaves(data))
    if isinstance(data, Posterior):
        record = record_of(data)
        return _longest(_recorded(record) if record.target is None else _leaves(record.program))
    named = _named(data, where)
    columns = {c.name: c for name, value in named.items() for c in _columns(name, value, where)}
    lengths = {len(column.values) for column in columns.values()}
    if len(lengths) != 1:
        counts = {name: len(column.values) for name, column in columns.items()}
        got = f"{counts}" if columns else "no column"
        raise ShapeError(explain(where, "columns of one length", got[:200], "give a value for every row"))
    return Frame(columns, lengths.pop())


def _named(data: Any, where: str) -> dict[str, Any]:
    """What a container holds, by name."""
    data = native(data)
    if is_instance(data, "pandas", "DataFrame") or is_instance(data, "narwhals", "DataFrame"):
        return {str(name): data[name] for name in data.columns}
    if isinstance(data, Mapping):
        single = (str, bytes, int, float, bool, np.number)
        return {str(k): v for k, v in data.items() if v is not None and not isinstance(v, single)}
    if is_instance(data, "pandas", "Series") or is_instance(data, "narwhals", "Series"):
        return {str(data.name or "x"): data}
    if hasattr(data, "__array__") or isinstance(data, (list, tuple)):
        return {"x": data}
    got, remedy = (
        f"{type(data).__name__}",
        "pass a table, a mapping from name to array, or an array with rows first",
    )
    raise DataError(explain(where, "a data set", got, remedy))


def _columns(name: str, value: Any, where: str) -> list[Column]:
    """The columns of one value: itself, a block, or those of a matrix."""
    place = f"{where}, column '{name}'"
    try:
        series = is_instance(value, "narwhals", "Series") or is_instance(
            value, "pandas", "Series", "Categorical"
        )
        found = column_of(value, place) if series else contents(value, place)
    except DataError:
        cells = np.empty(len(value), dtype=object)
        cells[:] = list(value)
        return [Column(name, MIXED, cells)]
    if found is None:
        got = f"{type(value).__name__}"
        raise DataError(explain(place, "numbers, labels or dates", got, "pass an array with rows first"))
    return _split(name, found.values, found.kind)


def _split(name: str, values: np.ndarray, kind: str) -> list[Column]:
    if values.ndim == 0:
        return []
    whole = values.dtype.kind in "iub"
    if kind == NUMBERS:
        values = values.astype(np.float64)
    if values.ndim == 1:
        return [Column(name, kind, values, whole)]
    if kind == NUMBERS and (values.ndim > 2 or values.shape[1] >= WIDE):
        return [Column(name, BLOCKS, values)]
    columns = flat(values).T
    return [Column(f"{name}[{i}]", kind, column, whole) for i, column in enumerate(columns)]


def _leaves(program: Program) -> list[Column]:
    """Arrays among the arguments of a program, codes by their labels."""
    found = []
    for name, leaf in program.data_leaves.items():
        if isinstance(leaf.value, np.ndarray) and leaf.value.dtype.kind in "fiubM":
            found += _of_argument(name, leaf.value, leaf.labels)
    return found


def _recorded(record: Any) -> list[Column]:
    """Arrays that a posterior kept of the data that it was fitted to."""
    named = {site.argument or name: record.observed_data[name] for name, site in record.observed.items()
             if name in record.observed_data}  # fmt: skip
    labels = record.labels if record.labels is not None else fitted_labels(record)
    return [c for name, value in (record.constant_data | named).items()
            for c in _of_argument(name, np.asarray(value), labels.get(name))]  # fmt: skip


def _of_argument(name: str, value: np.ndarray, labels: tuple | None) -> list[Column]:
    if labels is not None:
        return _split(name, np.asarray(labels, dtype=object)[value], LABELS)
    return _split(name, value, DATES if value.dtype.kind == "M" else NUMBERS)


def _longest(columns: list[Column]) -> Frame:
    """Those that run along the rows: of the length that most have, and of lengths that are as frequent the greatest."""
    if not columns:
        raise DataError(
            explain("data set of a model", "arrays among its arguments", "none", "pass the rows themselves")
        )
    lengths = Counter(len(column.values) for column in columns)
    num = max(lengths, key=lambda length: (lengths[length], length))
    return Frame({c.name: c for c in columns if len(c.values) == num}, num)

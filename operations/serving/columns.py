"""Columns of a request, as the compiled functions take them: what comes as JSON is checked cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ...ppl.columns import as_label
from ...ppl.names import printable
from ...ppl.thresholds import QUOTED
from .ranges import Ranges
from .refusals import Refused

FLAG, REFUSE = "flag", "refuse"
GATES = (REFUSE, FLAG)


@dataclass(frozen=True, eq=False)
class Wanted:
    """A column that an answer is made of.

    Attributes
    ----------
    name : str
        Argument of the model.
    shape : tuple of int
        Of a row of it.
    dtype : numpy.dtype
    codes : mapping of str to int, or None
        Codes of labels.
    unseen : int or None
        Code of all other labels, where groups may be new.
    low, high : float
        Numbers beyond which nothing is computed: an index that reaches further would be taken for another one.
    ranges : Ranges or None
        What the training data held, of numbers; None where that is not known: then no row is within it.
    gap : bool
        Whether numbers may be missing, null then.
    holed : bool
        Whether some of those that were fitted are: then such a row is as the training data were.
    whole : bool
        Whether numbers have to be whole, whatever they are kept as.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    codes: Mapping[str, int] | None = None
    unseen: int | None = None
    low: float = -np.inf
    high: float = np.inf
    ranges: Ranges | None = None
    gap: bool = False
    holed: bool = False
    whole: bool = False

    def taken(self, cells: Sequence[Any], gate: str) -> tuple[np.ndarray, np.ndarray]:
        """Cells as an array ``(N, *shape)``, and which rows are as the training data were ``(N,)``.

        Raises
        ------
        Refused
            Where a cell is none of such a column; 422.
        """
        return self._labels(cells) if self.codes is not None else self._numbers(cells, gate)

    def _labels(self, cells: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        codes, unseen = self.codes or {}, self.unseen
        found = np.empty(len(cells), np.int64)
        for row, cell in enumerate(cells):
            code = codes.get(cell) if isinstance(cell, str) else codes.get(self._label(row, cell))
            if code is None:
                if unseen is None:
                    raise self.refused("unseen level", "one that was fitted", cell, row)
                code = unseen
            found[row] = code
        return found, found != (-1 if unseen is None else unseen)

    def _label(self, row: int, cell: Any) -> str:
        if cell is None or isinstance(cell, (list, dict, bool)):
            raise self.refused("type", "a label", cell, row)
        return as_label(cell)

    def _numbers(self, cells: Sequence[Any], gate: str) -> tuple[np.ndarray, np.ndarray]:
        values = self._parsed(cells)
        lost = np.isnan(values)
        flat, gone = values.reshape(len(values), -1), lost.reshape(len(values), -1).any(1)
        fine = np.isfinite(flat).all(1) | (gone & self.gap & ~np.isinf(flat).any(1))
        if not fine.all():
            bad = int(np.argmin(fine))
            raise self.refused("not finite", "finite numbers", cells[bad], bad)
        if self.gap and lost.any():
            values = np.where(lost, self._stand_in, values)
            flat = values.reshape(len(values), -1)
        low, high = flat.min(1), flat.max(1)
        if (self.whole or self.dtype.kind in "iub") and (values != np.round(values)).any():
            bad = int(np.argmax((values != np.round(values)).reshape(len(values), -1).any(1)))
            raise self.refused("not whole", "whole numbers", cells[bad], bad)
        out = (low < self.low) | (high > self.high)
        if out.any():
            bad = int(np.argmax(out))
            raise self.refused("index", f"numbers from {self.low:.4g} to {self.high:.4g}", cells[bad], bad)
        inside = np.zeros(len(values), bool)
        if self.ranges is not None:
            if gate == REFUSE and (far := self.ranges.far(values)).any():
                bad = int(np.argmax(far))
                raise self.refused("far outside", self.ranges.words, cells[bad], bad)
            inside = self.ranges.inside(values) & (~gone | self.holed)
        return np.where(lost, np.nan, values) if gone.any() else values.astype(self.dtype), inside

    def _parsed(self, cells: Sequence[Any]) -> np.ndarray:
        """Cells as numbers, NaN where one is missing and may be."""
        for row, cell in enumerate(cells):
            kind = type(cell)
            number = kind is float or kind is int or (cell is None and self.gap and not self.shape)
            if not number and (kind is not list or not self.shape):
                raise self.refused("type", self._wanted, cell, row)
        try:
            values = np.array(cells, float)
        except (ValueError, TypeError, OverflowError):
            raise self.refused("type", self._wanted, None) from None
        if values.shape != (len(cells), *self.shape):
            raise self.refused("shape", self._wanted, f"arrays of shape {values.shape[1:]}")
        flat: Iterable[Any] = cells
        for _ in self.shape:
            flat = chain.from_iterable(flat)
        if not set(map(type, flat)) <= {int, float, *([type(None)] if self.gap else [])}:
            raise self.refused("type", self._wanted, None)
        return values

    @property
    def _stand_in(self) -> Any:
        """What is within all that is asked of numbers, where one is missing."""
        return (
            0.0
            if self.ranges is None
            else self.ranges.low
            if self.ranges.levels is None
            else self.ranges.levels[0]
        )

    @property
    def _wanted(self) -> str:
        words = f"arrays of numbers of shape {self.shape}" if self.shape else "a number"
        return f"{words}, null where it is missing" if self.gap else words

    def refused(self, what: str, wanted: str, got: Any, row: int | None = None) -> Refused:
        """The refusal of a cell."""
        came = printable(repr(got))[:QUOTED] if not isinstance(got, (list, dict)) else type(got).__name__
        words = f"column '{self.name}': expected {wanted}, got {came}."
        return Refused(422, what, words, column=self.name, row=row)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a request.

    Attributes
    ----------
    arrays : mapping of numpy.ndarray
        Argument to shape ``(N, *shape)``.
    inside : numpy.ndarray of bool, shape (N,)
        Which are within what the training data held.
    count : int
    """

    arrays: Mapping[str, np.ndarray]
    inside: np.ndarray
    count: int

    def keys(self) -> list[bytes]:
        """What tells rows apart: the bytes of each."""
        columns = [np.ascontiguousarray(value) for value in self.arrays.values()]
        return [b"".join(column[i].tobytes() for column in columns) for i in range(self.count)]

    @staticmethod
    def joined(several: Sequence[Rows]) -> Rows:
        """Rows of several requests, one after the other."""
        if len(several) == 1:
            return several[0]
        names = several[0].arrays
        arrays = {name: np.concatenate([rows.arrays[name] for rows in several]) for name in names}
        inside = np.concatenate([rows.inside for rows in several])
        return Rows(arrays, inside, len(inside))

    def some(self, chosen: np.ndarray) -> Rows:
        """Some of the rows, by position."""
        arrays = {name: value[chosen] for name, value in self.arrays.items()}
        return Rows(arrays, self.inside[chosen], len(chosen))


def read_rows(asked: Any, wanted: Sequence[Wanted], gate: str, most: int) -> Rows:
    """Rows of a request's body: ``{"rows": [{column: cell}]}`` or ``{"columns": {column: [cell]}}``.

    Raises
    ------
    Refused
        422 for what is none of these; 413 for more rows than are answered at once.
    """
    if not isinstance(asked, dict) or len(asked) != 1 or next(iter(asked)) not in ("rows", "columns"):
        raise Refused(422, "body", 'expected {"rows": [{…}, …]} or {"columns": {"name": […], …}}.')
    kind, given = next(iter(asked.items()))
    columns = _of_rows(given, wanted, most) if kind == "rows" else _of_columns(given, wanted, most)
    count, arrays, inside = len(columns[wanted[0].name]), {}, None
    for column in wanted:
        arrays[column.name], own = column.taken(columns[column.name], gate)
        inside = own if inside is None else inside & own
    assert inside is not None
    return Rows(arrays, inside, count)


def _of_rows(given: Any, wanted: Sequence[Wanted], most: int) -> dict[str, list]:
    if not isinstance(given, list) or not given or not all(type(row) is dict for row in given):
        raise Refused(422, "body", "rows: expected a list of objects, one a row.")
    _check_count(len(given), most)
    names = {column.name for column in wanted}
    for number, row in enumerate(given):
        if row.keys() != names:
            _refuse_names(row.keys(), names, row=number)
    return {name: [row[name] for row in given] for name in names}


def _of_columns(given: Any, wanted: Sequence[Wanted], most: int) -> dict[str, list]:
    if not isinstance(given, dict) or not given or not all(isinstance(v, list) for v in given.values()):
        raise Refused(422, "body", "columns: expected an object of lists, one a column.")
    names = {column.name for column in wanted}
    if given.keys() != names:
        _refuse_names(given.keys(), names)
    lengths = {name: len(cells) for name, cells in given.items()}
    if len(set(lengths.values())) > 1 or not min(lengths.values()):
        raise Refused(422, "body", f"columns: expected lists of one length, got {lengths}.")
    _check_count(next(iter(lengths.values())), most)
    return given


def _check_count(count: int, most: int) -> None:
    if count > most:
        words = f"rows: expected at most {most}, got {count}. Send them in parts."
        raise Refused(413, "too many rows", words)


def _refuse_names(given: Any, names: set[str], row: int | None = None) -> None:
    lacking, strange = sorted(names - set(given)), sorted(map(str, set(given) - names))[:5]
    got = f"without {lacking}" if lacking else f"{printable(str(strange))[:QUOTED]} too"
    words = f"expected columns {sorted(names)}, got {got}."
    raise Refused(422, "columns", words, column=lacking[0] if lacking else None, row=row)

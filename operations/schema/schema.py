"""``er.schema``: what the training data looked like, and rows that do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding, Findings
from ...inference.posterior.posterior import Posterior, record_of
from ...ppl.columns import is_instance, rows_of
from ...ppl.errors import DataError, explain
from ...ppl.model import Program
from ..columns import BLOCKS, NUMBERS, Column, Frame, frame_of
from ..kept import read_record, write_record
from .exports import as_pandera, json_schema
from .fields import Field, Flag, field_of, flags
from .kept import as_record, from_record
from .suspicions import Suspicion, suspicions

WHERE = "rows of a schema"


@dataclass(frozen=True, eq=False)
class Checked:
    """Rows looked at by a `Schema`.

    Attributes
    ----------
    num_rows : int
    flags : tuple of Flag
        By column and rule, with the rows.
    suspicions : tuple of Suspicion
        Of the set as a whole.
    absent : tuple of str
        Columns that did not come, outcomes left out.
    """

    num_rows: int
    flags: tuple[Flag, ...]
    suspicions: tuple[Suspicion, ...]
    absent: tuple[str, ...]

    @property
    def refused(self) -> np.ndarray:
        """Which rows are refused, shape ``(N,)``."""
        return self._any(flag for flag in self.flags if flag.refused)

    @property
    def flagged(self) -> np.ndarray:
        """Which rows have anything to be told of, refused ones among them, shape ``(N,)``."""
        return self._any(self.flags)

    def _any(self, some) -> np.ndarray:
        out = np.zeros(self.num_rows, bool)
        for flag in some:
            out |= flag.rows
        return out

    @property
    def findings(self) -> Findings:
        """What is to be said, the worst first: *untrusted* of a set that looks altered, *caution* of rows."""
        told = [
            Finding(
                f"schema: {s.what}",
                s.column,
                s.distance,
                s.limit,
                "untrusted",
                f"{_sentence(s.words)} {_sentence(s.remedy)}",
            )
            for s in self.suspicions
        ]
        for name in self.absent:
            told.append(
                Finding("schema: absent", name, None, None, "caution", f"There is no column '{name}'.")
            )
        for flag in sorted(self.flags, key=lambda flag: not flag.refused):
            share = float(flag.rows.mean())
            words = f"{int(flag.rows.sum())} of {self.num_rows} rows {'are refused' if flag.refused else 'are unusual'}, {rows_of(flag.rows)}: {flag.words}."
            told.append(Finding(f"schema: {flag.what}", flag.column, share, 0.0, "caution", words))
        if not told:
            told.append(
                Finding(
                    "schema",
                    "fit",
                    0.0,
                    0.0,
                    "ok",
                    f"All {self.num_rows} rows are such as the training data had.",
                )
            )
        return Findings(told)

    def table(self):
        """A ``pandas.DataFrame`` of row, column, rule, whether the row is refused, and why."""
        import pandas as pd

        rows = [
            (int(row), f.column, f.what, f.refused, f.words)
            for f in self.flags
            for row in np.flatnonzero(f.rows)
        ]
        return pd.DataFrame(rows, columns=["row", "column", "what", "refused", "words"]).sort_values(
            "row", ignore_index=True
        )

    def __repr__(self) -> str:
        return repr(self.findings)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


@dataclass(frozen=True, eq=False)
class Schema:
    """What the columns of the training data held. Made by `elboroom.schema`.

    Attributes
    ----------
    name : str
        Of the model, or ``"data"``.
    fields : mapping of Field
    num_rows : int
    order : tuple of str
        Columns of numbers.
    together : numpy.ndarray
        Their correlations.
    """

    name: str
    fields: Mapping[str, Field]
    num_rows: int
    order: tuple[str, ...]
    together: np.ndarray

    # -- rows ------------------------------------------------------------------------------------------

    def check(self, data: Any) -> Checked:
        """What is wrong with rows.

        Parameters
        ----------
        data : table, mapping or array
            Of a mapping, columns that the training data did not have are left out.

        Returns
        -------
        Checked

        Raises
        ------
        DataError, ShapeError
            For what is no data set.

        Notes
        -----
        Refused are: cells of another type; missing ones where none was; infinite numbers; numbers farther out than the training's by more
        than its range, negative ones where none was, and positive ones as many times smaller than any as these ranged over; levels that
        were never seen; blank images (a variance below 0.01 of the range squared); rows of another shape. A set is suspected where it is
        none of the training's law, and would be in another unit, with two columns exchanged, with images turned, inverted or scaled.
        """
        frame = self._frame(data)
        found = [
            flag
            for name, column in frame.columns.items()
            if name in self.fields
            for flag in flags(self.fields[name], column)
        ]
        seen = tuple(suspicions(self.fields, frame.columns, self.together, self.order))
        absent = tuple(
            name for name, field in self.fields.items() if name not in frame.columns and not field.outcome
        )
        return Checked(frame.num_rows, tuple(found), seen, absent)

    def _frame(self, data: Any) -> Frame:
        frame = frame_of(self._known(data) if isinstance(data, Mapping) else data, WHERE)
        columns = dict(frame.columns)
        for name, field in self.fields.items():
            narrow = [other for other in columns if other.startswith(f"{name}[")]
            if field.kind == BLOCKS and name not in columns and narrow:
                columns[name] = Column(
                    name, BLOCKS, np.column_stack([columns.pop(other).values for other in narrow])
                )
        return Frame(columns, frame.num_rows)

    def _known(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What is called as columns of the training data are, or nearly."""
        known = {name.strip().casefold() for one in self.fields for name in (one, one.partition("[")[0])}
        return {str(k): v for k, v in data.items() if str(k).strip().casefold() in known}

    def gate(self, data: Any) -> tuple[Any, Checked]:
        """Rows that are not refused, in the container that they came in, and what is to be said of all.

        Parameters
        ----------
        data : table, mapping or array
            As `check` takes it.

        Returns
        -------
        tuple
            Rows, and a `Checked` whose `refused` says which are left out.
        """
        checked = self.check(data)
        return _kept(data, np.flatnonzero(~checked.refused), checked.num_rows), checked

    def refuse(self, data: Any) -> Any:
        """Rows as they are, or an error.

        Parameters
        ----------
        data : table, mapping or array
            As `check` takes it.

        Raises
        ------
        DataError
            Where a row is refused, or the set looks altered: it names column and rows, and what it looks like.
        """
        if isinstance(data, Mapping) and not self._known(data):
            return data
        checked = self.check(data)
        if checked.suspicions:
            one = checked.suspicions[0]
            raise DataError(
                explain(
                    f"column '{one.column}'",
                    f"rows such as {self.num_rows:,} training rows were",
                    one.words,
                    one.remedy,
                )
            )
        for flag in checked.flags:
            if flag.refused:
                got = f"{flag.words}, in rows {rows_of(flag.rows)} ({int(flag.rows.sum())} in all)"
                remedy = "correct or leave out these rows: schema.gate(rows) keeps the others"
                raise DataError(
                    explain(f"column '{flag.column}'", "cells such as the training data had", got, remedy)
                )
        return data

    def allow(self, *names: str) -> Schema:
        """The same, but other levels of these columns are told, and not refused: groups that are new.

        Parameters
        ----------
        *names : str
            Columns.

        Raises
        ------
        DataError
            For a column that there is not.
        """
        unknown = [name for name in names if name not in self.fields]
        if unknown:
            raise DataError(
                explain(
                    "columns of a schema", f"some of {sorted(self.fields)}", f"{unknown}", "correct the names"
                )
            )
        opened = {name: replace(self.fields[name], open=True) for name in names}
        return replace(self, fields={**self.fields, **opened})

    # -- kept ------------------------------------------------------------------------------------------

    def json_schema(self) -> dict[str, Any]:
        """A JSON Schema (draft 2020-12) of one row as an object: what `check` refuses of it, but for blank images and infinite numbers."""
        return json_schema(self.name, self.fields)

    def pandera(self):
        """A ``pandera.DataFrameSchema`` of tables of such rows, images left out.

        Raises
        ------
        MissingBackendError
            Without the extra ``elboroom[pandera]``.
        """
        return as_pandera(self.name, self.fields)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return as_record(self)

    def save(self, path: str | Path) -> Path:
        """Write it as one JSON file; ``elboroom.schema(path)`` reads it.

        Parameters
        ----------
        path : str or path
            The file.

        Raises
        ------
        InferenceError
            If it cannot be written.
        """
        return write_record(path, "schema", self.as_dict())

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Schema:
        """What `as_dict` gave."""
        return cls(**from_record(record))

    def __repr__(self) -> str:
        lines = [f"Schema of {self.name}, {self.num_rows:,} rows"]
        return "\n".join(lines + [f"  {name}: {_told(field)}" for name, field in self.fields.items()])


def _told(field: Field) -> str:
    gaps = "" if field.missing == 0 else f", {field.missing:.1%} missing"
    if field.kind == NUMBERS:
        return f"{'whole ' if field.whole else ''}numbers, {field.low:.4g} to {field.high:.4g}{gaps}"
    if field.kind == BLOCKS:
        return f"{' × '.join(map(str, field.shape))} numbers, {field.low:.4g} to {field.high:.4g}{gaps}"
    return (
        f"{'labels' if field.levels is None else f'{len(field.levels)} levels'}{gaps}"
        if field.kind == "labels"
        else field.kind
    )


def _kept(data: Any, rows: np.ndarray, count: int) -> Any:
    """Some rows of a container, as it came."""
    if isinstance(data, Mapping) and not hasattr(data, "iloc"):
        return {name: _kept(value, rows, count) for name, value in data.items()}
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    if is_instance(data, "pyarrow", "Table", "Array", "ChunkedArray"):
        return data.take(rows)
    if isinstance(data, (list, tuple)) and len(data) == count:
        return [data[i] for i in rows]
    return (
        data[rows] if hasattr(data, "__len__") and not isinstance(data, str) and len(data) == count else data
    )


def schema(source: Any) -> Schema:
    """What training data looked like: types, ranges, levels, gaps, and how columns go together.

    Parameters
    ----------
    source : Program, Posterior, table, mapping, array or path
        A model with its data, or the data; or the file of a schema that was saved.

    Returns
    -------
    Schema
        Its `check` says what is wrong with other rows, `gate` keeps the others, `refuse` is an error; ``posterior.predict(...,
        gate=schema)`` refuses before it predicts.

    Raises
    ------
    DataError, InferenceError
        For what is no data set, or no schema.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> made = schema({"height": rng.normal(1.7, 0.1, 500), "city": rng.choice(["Oslo", "Bergen"], 500)})
    >>> checked = made.check({"height": rng.normal(170, 10, 50), "city": ["oslo"] * 50})
    >>> [(one.column, one.what) for one in checked.suspicions]
    [('height', 'unit'), ('city', 'spelling')]
    """
    if isinstance(source, (str, Path)):
        return read_record(
            source, "schema", Schema.from_dict, "correct the path, or make it again with er.schema(program)"
        )
    name, outcomes = "data", set()
    if isinstance(source, Program):
        name, outcomes = source.name, {s.argument for s in source.trace().by_role("observed")}
    elif isinstance(source, Posterior):
        name, outcomes = source.name, {s.argument for s in record_of(source).observed.values()}
    frame = frame_of(source, "data of a schema")
    if not frame.num_rows:
        raise DataError(explain("data of a schema", "at least one row", "none", "give data"))
    fields = {
        column: field_of(frame.columns[column], frame.num_rows, column.partition("[")[0] in outcomes)
        for column in frame.columns
    }
    order = tuple(column for column, field in fields.items() if field.kind == NUMBERS and field.sd > 0)
    return Schema(name, fields, frame.num_rows, order, _correlations(frame, order))


def _correlations(frame: Frame, order: tuple[str, ...]) -> np.ndarray:
    if len(order) < 2:
        return np.eye(len(order))
    values = np.column_stack([frame.columns[name].values for name in order])
    values = values[np.isfinite(values).all(1)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(values.T) if len(values) > 2 else np.full((len(order), len(order)), np.nan)

"""Predictions of rows: what the model expects of outcomes, with intervals and what may be trusted of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...inference.posterior.classes import along_rows
from ...inference.posterior.posterior import Posterior, record_of
from ...inference.posterior.predict import Prepared, fitted_labels, prepared
from ...ppl.errors import ElboroomError, UnsupportedError, explain, in_short
from ..schema.schema import Schema
from .columns import Rows, Wanted
from .thresholds import DIGITS, FAR, INTERVAL, MOST_SCALE
from .verdicts import RowVerdicts

NEW = "elboroom: a group that was not fitted"
"""The label that stands for all that were not fitted."""


@dataclass(frozen=True, eq=False)
class Predicting:
    """Predicts rows of any number, each as if it came alone.

    Attributes
    ----------
    wanted : tuple of Wanted
    ready : Prepared
        Of one row.
    classes : mapping of str to int
        Outcomes that are one of so many classes.
    verdicts : RowVerdicts
    """

    wanted: tuple[Wanted, ...]
    ready: Prepared
    classes: Mapping[str, tuple[Any, Any, np.ndarray, int]]
    verdicts: RowVerdicts

    name = "predict"

    @classmethod
    def of(cls, posterior: Posterior, known: Schema | None, settings: Any, fits: bool | None) -> Predicting:
        """Of a posterior with its program.

        Raises
        ------
        UnsupportedError
            Where its rows cannot be predicted one by one.
        """
        record = record_of(posterior)
        if record.settings.get("encoder"):
            what, remedy = f"predict of '{posterior.name}'", "ask for encode and score"
            raise UnsupportedError(explain(what, "a model without an encoder", "one with", remedy))
        columns = columns_of(posterior, known, settings.new_groups)
        first = _first_row(record, columns)
        groups = [c.name for c in columns if c.unseen is not None]
        unseen = {name: np.array([NEW], object) for name in groups}
        try:
            ready = prepared(
                record,
                True if groups else None,
                None,
                settings.draws,
                None,
                settings.seed,
                {**first, **unseen},
            )
            columns = tuple(_checked(record, column, first) for column in columns)
        except ElboroomError as error:
            what, want = f"predict of '{posterior.name}'", "a model whose rows can be predicted one by one"
            raise UnsupportedError(
                explain(what, want, in_short(error), "predict all rows at once")
            ) from error
        return cls(columns, _on_device(ready), {}, RowVerdicts.of(posterior, fits))

    def run(self, rows: Rows) -> list[dict[str, Any]]:
        """Answers of rows, in order."""
        target, ready = self.ready.target, self.ready
        arrays = {name: value[:, None] for name, value in rows.arrays.items()}
        found = target.density.predict_each(ready.values, ready.seeds, arrays, target.data, ready.weights)
        answers: list[dict[str, Any]] = [{} for _ in range(rows.count)]
        for name in ready.names:
            for answer, own in zip(answers, summaries(np.asarray(found[name])), strict=True):
                answer[name] = own
        return answers


def summaries(drawn: np.ndarray) -> list[dict[str, Any]]:
    """Mean, sd and quantiles of draws ``(S, N, …)``, for each of N rows."""
    draws = np.moveaxis(drawn, 0, -1).astype(float, copy=False)
    ordered = np.sort(draws, -1)
    last = draws.shape[-1] - 1
    parts = {"mean": draws.mean(-1), "sd": draws.std(-1)}
    for name, level in zip(("q5", "median", "q95"), INTERVAL, strict=True):
        below = int(level * last)
        share = level * last - below
        above = min(below + 1, last)
        parts[name] = ordered[..., below] * (1 - share) + ordered[..., above] * share
    plain = {name: rounded(_squeezed(value)).tolist() for name, value in parts.items()}
    return [{name: values[row] for name, values in plain.items()} for row in range(len(draws))]


def rounded(values: np.ndarray) -> np.ndarray:
    """Numbers to `DIGITS` significant ones."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** np.clip(DIGITS - 1 - np.where(np.isfinite(size), size, 0.0), -MOST_SCALE, MOST_SCALE)
    return np.round(values * scale) / scale


def _squeezed(value: np.ndarray) -> np.ndarray:
    """Without the axis of the one row that the program has."""
    return value[:, 0] if value.ndim > 1 and value.shape[1] == 1 else value


def columns_of(posterior: Posterior, known: Schema | None, new_groups: bool = False) -> tuple[Wanted, ...]:
    """Columns that a row has: arguments that run along the rows, outcomes left out."""
    record = record_of(posterior)
    outcomes = {site.argument for site in record.observed.values()}
    labels, fields = fitted_labels(record), known.fields if known is not None else {}
    out = []
    for name in sorted(along_rows(record) - outcomes):
        leaf = record.program.leaves[name]
        value, codes = np.asarray(leaf.value), None
        if name in labels:
            codes = {str(label): code for code, label in enumerate(labels[name])}
        unseen = len(codes) if codes is not None and new_groups else None
        out.append(Wanted(name, value.shape[1:], value.dtype, codes, unseen, field=fields.get(name)))
    return tuple(out)


def _first_row(record: Any, columns: tuple[Wanted, ...]) -> dict[str, Any]:
    labels, leaves = fitted_labels(record), record.program.leaves
    first: dict[str, Any] = {}
    for column in columns:
        value = np.asarray(leaves[column.name].value)[:1]
        first[column.name] = (
            np.asarray(labels[column.name], object)[value] if column.codes is not None else value
        )
    count = max((len(np.asarray(leaves[c.name].value)) for c in columns), default=0)
    for name, leaf in leaves.items():
        if not leaf.traced and isinstance(leaf.value, int) and leaf.value == count and count > 1:
            first[name] = 1  # the number of rows, given as an argument
    return first


def _checked(record: Any, column: Wanted, first: Mapping[str, Any]) -> Wanted:
    """A column of whole numbers with the limits that it has as an index: beyond them another element would be read."""
    value = np.asarray(record.program.leaves[column.name].value)
    whole = value.dtype.kind in "iu" or (value.dtype.kind == "f" and bool((value == np.round(value)).all()))
    if column.codes is not None or not whole:
        return column
    low, high = float(value.min()), float(value.max())
    for far in (high + FAR, low - FAR):
        tried = np.full_like(np.asarray(first[column.name]), far)
        try:
            prepared(record, None, None, 1, None, 0, {**first, column.name: tried})
        except ElboroomError:
            return replace(column, low=min(low, 0.0) if low < 0 else 0.0, high=high)
    return column


def _on_device(ready: Prepared) -> Prepared:
    """The same with draws where they are computed with."""
    move = ready.target.to_device
    values = {k: tuple(map(move, v)) if isinstance(v, tuple) else move(v) for k, v in ready.values.items()}
    return replace(ready, values=values)

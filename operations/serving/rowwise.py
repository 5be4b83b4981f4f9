"""The row of a model that is served: its columns, and the first row as an example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...inference.posterior.classes import MEASURES, along_rows, conditions, num_classes
from ...inference.posterior.posterior import Posterior, record_of
from ...inference.posterior.predict import fitted_labels, prepared
from ...ppl.errors import ElboroomError
from ..schema.schema import Schema
from .columns import Wanted
from .ranges import Ranges
from .thresholds import FAR, MOST_GAPS


def inputs_of(posterior: Posterior, known: Schema | None, new_groups: bool = False) -> tuple[Wanted, ...]:
    """Columns that a row has: arguments that run along the rows, without the outcomes that no other depends on. Those others may be
    missing, and are as their laws have them then."""
    record = record_of(posterior)
    given = conditions(record)
    outcomes = {site.argument for site in record.observed.values()} - given
    names = sorted(along_rows(record) - outcomes)
    numbers = [n for n in names if n in given and record.program.leaves[n].value.dtype.kind == "f"]
    gaps = numbers if len(numbers) <= MOST_GAPS else []
    found = [_wanted(record, name, known, new_groups and name not in given) for name in names]
    return tuple(replace(c, gap=c.name in gaps, holed=_lacks(record, c.name)) for c in found)


def _lacks(record: Any, name: str) -> bool:
    """Whether some of the rows that were fitted lack numbers of an argument."""
    value = np.asarray(record.program.leaves[name].value)
    return value.dtype.kind == "f" and bool(np.isnan(value).any())


def complete(record: Any, names: Iterable[str]) -> int:
    """A row that was fitted and lacks nothing of some arguments; the first where there is none."""
    return int(np.argmax(lacking_nothing(record, names)))


def lacking_nothing(record: Any, names: Iterable[str]) -> Any:
    """Which of the rows that were fitted lack nothing of some arguments."""
    fine: Any = True
    for name in names:
        value = np.asarray(record.program.leaves[name].value)
        if value.dtype.kind == "f":
            fine = fine & np.isfinite(value.reshape(len(value), -1)).all(1)
    return fine


def outcomes_of(posterior: Posterior, known: Schema | None) -> tuple[Wanted, ...]:
    """Columns of outcomes, with the classes that they may be of."""
    record = record_of(posterior)
    out = []
    for site in record.observed.values():
        if site.argument is None or site.argument not in record.program.leaves:
            continue
        made = _wanted(record, site.argument, known, False)
        if site.measure in MEASURES and site.constraint is not None and made.codes is None:
            made = replace(made, low=0.0, high=float(num_classes(site) - 1))
        out.append(made)
    return tuple(out)


def _wanted(record: Any, name: str, known: Schema | None, new_groups: bool) -> Wanted:
    labels, fields = fitted_labels(record), known.fields if known is not None else {}
    value, codes = np.asarray(record.program.leaves[name].value), None
    if name in labels:
        codes = {str(label): code for code, label in enumerate(labels[name])}
    unseen = len(codes) if codes is not None and new_groups else None
    return Wanted(
        name, value.shape[1:], value.dtype, codes, unseen, ranges=Ranges.of(name, value.shape[1:], fields)
    )


def first_row(record: Any, columns: tuple[Wanted, ...]) -> dict[str, Any]:
    """A row that was fitted and lacks nothing, as a model's arguments."""
    return some_rows(record, columns, np.array([complete(record, (c.name for c in columns))]))


def some_rows(record: Any, columns: tuple[Wanted, ...], at: np.ndarray) -> dict[str, Any]:
    """Some of the rows that were fitted, as a model's arguments."""
    labels, leaves = fitted_labels(record), record.program.leaves
    found: dict[str, Any] = {}
    for column in columns:
        value = np.asarray(leaves[column.name].value)[at]
        coded = column.codes is not None
        found[column.name] = np.asarray(labels[column.name], object)[value] if coded else value
    count = max((len(np.asarray(leaves[c.name].value)) for c in columns), default=0)
    for name, leaf in leaves.items():
        if not leaf.traced and isinstance(leaf.value, int) and leaf.value == count and count > 1:
            found[name] = len(at)  # the number of rows, given as an argument
    return found


def checked(record: Any, column: Wanted, first: Mapping[str, Any]) -> Wanted:
    """A column of whole numbers with the limits that it has as an index: beyond them another element would be read."""
    value = np.asarray(record.program.leaves[column.name].value)
    whole = value.dtype.kind in "iu" or (value.dtype.kind == "f" and bool((value == np.round(value)).all()))
    if column.codes is not None or not whole:
        return column
    low, high = float(np.nanmin(value)), float(np.nanmax(value))
    for far in (high + FAR, low - FAR):
        tried = np.full_like(np.asarray(first[column.name]), far)
        try:
            prepared(record, None, None, 1, None, 0, {**first, column.name: tried})
        except ElboroomError:
            return replace(column, low=min(low, 0.0), high=high)
    return column

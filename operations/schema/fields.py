"""One column of the training data: what its cells were, and which cells of other rows are none of its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..columns import BLOCKS, DATES, LABELS, MIXED, NUMBERS, Column, flat, range_of
from ..drift.data import is_blank
from ..thresholds import (
    BLANK_VARIANCE,
    LEAST_SAID,
    LEAST_SINGLE,
    MOST_LEVELS,
    MOST_NAMES,
    OPEN_SHARE,
    QUANTILES,
    REACH,
    USUALLY_BLANK,
)


@dataclass(frozen=True)
class Flag:
    """Rows with something that the training data did not have.

    Attributes
    ----------
    column, what : str
        Where, and which rule speaks.
    rows : numpy.ndarray of bool, shape (N,)
    refused : bool
        Whether such rows are refused; else they are told.
    words : str
        What came, and what was expected.
    """

    column: str
    what: str
    rows: np.ndarray = field(repr=False)
    refused: bool
    words: str


@dataclass(frozen=True, eq=False)
class Field:
    """What a column of the training data held.

    Attributes
    ----------
    name, kind : str
        As a `Column` has them.
    whole : bool
        Whether its numbers were whole.
    count : int
        Numbers, or rows of a block, that were there.
    low, high : float
        Least and greatest number.
    mean, sd : float
        Of numbers; of a block of all of them.
    missing : float
        Share of cells that held nothing.
    levels : tuple of str, or None
        Of labels, and of whole numbers of two values; None where they were too many, or names of rows.
    open : bool
        Whether other levels are told, and not refused: `Schema.allow` says so, or many levels were rare, so that others are to come.
    shape : tuple of int
        Of a row of a block.
    least_variance : float
        Of a block: variance of the least varied of its rows, in units of the range squared, but for a few.
    outcome : bool
        Whether it is what the model predicts, which rows need not have.
    quantiles : numpy.ndarray
        Of numbers, evenly spaced.
    picture, spread : numpy.ndarray
        Of a block: mean and sd of each of its numbers.
    """

    name: str
    kind: str
    whole: bool = False
    count: int = 0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    sd: float = 0.0
    missing: float = 0.0
    levels: tuple[str, ...] | None = None
    open: bool = False
    shape: tuple[int, ...] = ()
    least_variance: float = 0.0
    outcome: bool = False
    quantiles: np.ndarray = field(default_factory=lambda: np.zeros(0))
    picture: np.ndarray = field(default_factory=lambda: np.zeros(0))
    spread: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def limits(self) -> tuple[float, float]:
        """Numbers beyond which a cell is refused: a range farther than any; below zero where none was, and of positive numbers as many
        times smaller than the least as the greatest was greater, but for the next whole number. Of few rows ranges are wider, and
        nothing is said of signs."""
        if not self.count:
            return -np.inf, np.inf
        reach = REACH * (self.high - self.low) * max(1.0, LEAST_SAID / self.count)
        low = self.low - reach
        if self.low < 0 or self.count < LEAST_SAID:
            return low, self.high + reach
        if self.low > 0 and self.kind == NUMBERS:  # of a block zero is one of its numbers
            low = max(low, self.low * (self.low / self.high) ** REACH)
            low = min(low, self.low - 1) if self.whole and reach > 0 else low
        return max(low, 0.0), self.high + reach


def field_of(column: Column, num_rows: int, outcome: bool = False) -> Field:
    """What a column held."""
    gone = column.missing
    known = replace(column, values=column.values[~gone])
    made = Field(
        column.name,
        column.kind,
        column.whole,
        missing=float(gone.mean()) if len(gone) else 0.0,
        outcome=outcome,
    )
    if column.kind == BLOCKS:
        return _of_block(made, column)
    if column.kind in (LABELS, MIXED):
        labels = known.as_labels()
        levels = None if column.dated else _levels(labels, num_rows)
        return replace(made, kind=LABELS, levels=levels, open=_goes_on(labels))
    values = known.values[np.isfinite(known.values)] if column.kind == NUMBERS else np.zeros(0)
    if not len(values):
        return made
    low, high = range_of(values)
    two = column.few and len(np.unique(values)) <= 2
    levels = (
        tuple(known.as_labels()[i] for i in np.unique(values, return_index=True)[1])
        if two and num_rows >= LEAST_SAID
        else None
    )
    return replace(made, count=len(values), low=low, high=high, mean=float(values.mean()), sd=float(values.std()), levels=levels,
                   whole=bool((values == np.round(values)).all()), quantiles=np.quantile(values, np.linspace(0, 1, QUANTILES)))  # fmt: skip


def _levels(labels: np.ndarray, num_rows: int) -> tuple[str, ...] | None:
    levels = sorted(set(labels.tolist()))
    return tuple(levels) if len(levels) <= min(MOST_LEVELS, max(MOST_NAMES * num_rows, 2)) else None


def _goes_on(labels: np.ndarray) -> bool:
    """Whether rows of levels that were never seen are to be expected: as many as there were levels of one row (Good 1953)."""
    single = sum(often == 1 for often in Counter(labels.tolist()).values())
    return single >= LEAST_SINGLE and single > OPEN_SHARE * len(labels)


def _of_block(made: Field, column: Column) -> Field:
    values = column.values
    low, high = range_of(values)
    span = max(high - low, np.finfo(float).tiny)
    known = values[flat(np.isfinite(values)).any(1)]
    variance = np.nanvar(flat(known), axis=1) / span**2 if len(known) else np.zeros(1)
    with np.errstate(invalid="ignore"):
        picture, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    return replace(made, count=len(known), low=low, high=high, mean=float(np.nanmean(known)), sd=float(np.nanstd(known)), shape=values.shape[1:],
                   least_variance=float(np.quantile(variance, USUALLY_BLANK)), picture=picture, spread=spread)  # fmt: skip


# -- rows ------------------------------------------------------------------------------------------------


def flags(known: Field, column: Column) -> Iterator[Flag]:
    """What is wrong with cells of a column, rule by rule."""
    for found in RULES[known.kind](known, column):
        if found.rows.any():
            yield found


def _missing(known: Field, gone: np.ndarray) -> Flag:
    """Cells that hold nothing, where none did; an outcome has not come yet."""
    rows = gone & (known.missing == 0) & (not known.outcome)
    return Flag(known.name, "missing", rows, True, "nothing, where the training data always had something")


def _numbers(known: Field, column: Column) -> Iterator[Flag]:
    if column.kind == BLOCKS:
        yield _all(known, column, "type", f"arrays of shape {column.values.shape[1:]}, where numbers were")
        return
    if column.kind == DATES:
        yield _all(known, column, "type", "dates, where numbers were")
        return
    values, text = column.as_numbers()
    examples = [str(cell) for cell in column.values[text][:3]]
    yield Flag(known.name, "type", text, True, f"{examples}, where numbers were")
    yield _missing(known, np.isnan(values) & ~text)
    yield Flag(known.name, "infinite", np.isinf(values), True, "infinite numbers")
    there, (low, high) = np.isfinite(values), known.limits
    far = there & ((values < low) | (values > high))
    yield Flag(known.name, "far outside", far, True, f"{_some(values[far])}, where {_range(known)} were")
    outside = there & ~far & ((values < known.low) | (values > known.high))
    yield Flag(known.name, "outside", outside, False, f"{_some(values[outside])}, where {_range(known)} were")
    if known.levels is not None:
        other = there & ~far & ~np.isin(values, [float(level) for level in known.levels])
        yield Flag(
            known.name,
            "unseen level",
            other,
            not known.open,
            f"{_some(values[other])}, where {list(known.levels)} were",
        )
    elif known.whole:
        parts = there & ~far & (values != np.round(values))
        yield Flag(known.name, "not whole", parts, False, f"{_some(values[parts])}, where numbers were whole")


def _labels(known: Field, column: Column) -> Iterator[Flag]:
    if column.kind in (BLOCKS, DATES):
        yield _all(known, column, "type", f"{column.kind}, where labels were")
        return
    yield _missing(known, column.missing)
    if known.levels is not None:
        labels = column.as_labels()
        other = np.array([label is not None and label not in set(known.levels) for label in labels], bool)
        names = list(dict.fromkeys(labels[other]))
        yield Flag(
            known.name,
            "unseen level",
            other,
            not known.open,
            f"{names[:5]}, which the training data did not have",
        )


def _blocks(known: Field, column: Column) -> Iterator[Flag]:
    if column.kind != BLOCKS or column.values.shape[1:] != known.shape:
        got = column.values.shape[1:] if column.kind == BLOCKS else column.kind
        yield _all(known, column, "shape", f"rows of shape {got}, where {known.shape} was")
        return
    cells = flat(column.values)
    infinite = np.isinf(cells).any(1)
    yield _missing(known, column.missing)
    yield Flag(known.name, "infinite", infinite, True, "infinite numbers")
    low, high = known.limits
    with np.errstate(invalid="ignore"):
        far = ~infinite & ((cells < low) | (cells > high)).any(1)
        outside = ~infinite & ~far & ((cells < known.low) | (cells > known.high)).any(1)
    yield Flag(known.name, "far outside", far, True, f"numbers beyond {low:.4g} to {high:.4g}")
    yield Flag(known.name, "outside", outside, False, f"numbers beyond {_range(known)}")
    if known.least_variance >= BLANK_VARIANCE:
        words = f"blank rows: a variance below {BLANK_VARIANCE:g} of the range squared"
        yield Flag(known.name, "blank", is_blank(cells, known.low, known.high), True, words)


def _dates(known: Field, column: Column) -> Iterator[Flag]:
    if not column.dated and not column.missing.all():
        yield _all(known, column, "type", f"{column.kind}, where dates were")


def _all(known: Field, column: Column, what: str, words: str) -> Flag:
    return Flag(known.name, what, np.ones(len(column.values), bool), True, words)


def _range(known: Field) -> str:
    return f"{known.low:.4g} to {known.high:.4g}" if known.count else "no numbers"


def _some(values: np.ndarray) -> str:
    return f"{[float(f'{v:.4g}') for v in values[:3]]}{'…' if len(values) > 3 else ''}"


RULES: dict[str, Any] = {NUMBERS: _numbers, LABELS: _labels, BLOCKS: _blocks, DATES: _dates}
"""Rules of each kind of column."""

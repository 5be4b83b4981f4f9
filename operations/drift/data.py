"""Series of the columns of a data set, as the reference's columns are: numbers, levels, blank images, and all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..columns import BLOCKS, DATES, LABELS, NUMBERS, Column, Frame, Kind
from ..thresholds import BLANK_VARIANCE
from .series import DATA, FLAG, JOINT, LEVEL, NUMBER, Series


def data_series(frame: Frame, like: Mapping[str, Kind]) -> Iterator[Series]:
    """Series of the columns that both have.

    Parameters
    ----------
    frame : Frame
        The rows.
    like : mapping of Kind
        What the columns of the reference are.
    """
    numbers = {}
    for name, usual in like.items():
        column = frame.columns.get(name)
        if column is None or usual.kind == DATES:  # time goes on: no column of dates is as it was
            continue
        for one in _series(column, usual):
            yield one
            if one.kind == NUMBER:
                numbers[one.name] = one.values
    if len(numbers) > 1:
        yield Series(DATA, "all columns", JOINT, np.column_stack(list(numbers.values())))


def _series(column: Column, usual: Kind) -> Iterator[Series]:
    if usual.kind == BLOCKS:
        yield from _block(column, usual)
    elif usual.kind == NUMBERS and not usual.few:
        values, _ = (
            column.as_numbers() if column.kind != BLOCKS else (np.full(len(column.values), np.nan), None)
        )
        yield Series(DATA, column.name, NUMBER, values)
    elif usual.kind in (NUMBERS, LABELS) and column.kind != BLOCKS:
        yield Series(DATA, column.name, LEVEL, column.as_labels())


def _block(column: Column, usual: Kind) -> Iterator[Series]:
    """Of images and the like: how bright, how varied, and how many are blank."""
    if column.kind != BLOCKS:
        return
    flat = column.values.reshape(len(column.values), -1)
    gone = np.isnan(flat).all(1)
    mean, variance = np.full(len(flat), np.nan), np.full(len(flat), np.nan)
    mean[~gone], variance[~gone] = np.nanmean(flat[~gone], 1), np.nanvar(flat[~gone], 1)
    yield Series(DATA, f"{column.name}, mean", NUMBER, mean)
    yield Series(DATA, f"{column.name}, sd", NUMBER, np.sqrt(variance))
    yield Series(DATA, column.name, FLAG, is_blank(flat, usual.low, usual.high))


def is_blank(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which rows ``(N, …)`` hardly vary: all black, or all of one colour; in units of the range of the reference.

    Examples
    --------
    >>> is_blank(np.array([[0.0, 0.0, 0.0], [0.0, 255.0, 128.0]]), 0.0, 255.0)
    array([ True, False])
    """
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    count = np.maximum(known.sum(1), 1)
    mean = np.where(known, flat, 0.0).sum(1) / count
    variance = np.where(known, (flat - mean[:, None]) ** 2, 0.0).sum(1) / count
    return (variance < BLANK_VARIANCE * (high - low) ** 2) & known.any(1)


def columns_apart(frame: Frame, like: Mapping[str, Kind]) -> Mapping[str, list[str]]:
    """Columns that the rows lack, and those that the reference lacks."""
    return {
        "absent": [name for name in like if name not in frame.columns],
        "new": [name for name in frame.columns if name not in like],
    }

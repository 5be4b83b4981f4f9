"""Series of the columns of a data set, as the reference's columns are: numbers, levels, blank images, and all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..columns import BLOCKS, DATES, NUMBERS, Column, Frame, Kind, flat
from ..thresholds import BLANK_VARIANCE
from .series import DATA, FLAG, JOINT, LEVEL, NUMBER, Series


def data_series(frame: Frame, like: Mapping[str, Kind]) -> Iterator[Series]:
    """Series of the columns that both have; a cell that is none of the reference's kind counts as missing.

    Parameters
    ----------
    frame : Frame
        The rows.
    like : mapping of Kind
        What the columns of the reference are.
    """
    together = []
    for name, usual in like.items():
        if usual.kind == DATES:  # time goes on: no column of dates is as it was
            continue
        column = frame.columns.get(name)
        known = column if column is not None else Column(name, NUMBERS, np.full(frame.num_rows, np.nan))
        found = list(_series(known, usual))
        together += [one.values for one in found if one.kind == NUMBER]
        yield from found if column is not None else ()
    if len(together) > 1:
        yield Series(DATA, "all columns", JOINT, np.column_stack(together))


def _series(column: Column, usual: Kind) -> Iterator[Series]:
    if usual.kind == BLOCKS:
        yield from _block(column, usual)
    elif usual.kind == NUMBERS and not usual.few:
        yield Series(DATA, column.name, NUMBER, column.as_numbers()[0])
    else:
        yield Series(DATA, column.name, LEVEL, column.as_labels())


def _block(column: Column, usual: Kind) -> Iterator[Series]:
    """Of images and the like: how bright, how varied, and how many are blank."""
    known = column.values if column.kind == BLOCKS else np.full((len(column.values), 1), np.nan)
    cells = flat(known)
    there = ~np.isnan(cells).all(1)
    mean, variance = np.full(len(cells), np.nan), np.full(len(cells), np.nan)
    mean[there], variance[there] = np.nanmean(cells[there], 1), np.nanvar(cells[there], 1)
    yield Series(DATA, f"{column.name}, mean", NUMBER, mean)
    yield Series(DATA, f"{column.name}, sd", NUMBER, np.sqrt(variance))
    yield Series(DATA, column.name, FLAG, is_blank(cells, usual.low, usual.high))


def is_blank(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which rows ``(N, …)`` hardly vary: all black, or all of one colour; in units of the range of the reference.

    Examples
    --------
    >>> is_blank(np.array([[0.0, 0.0, 0.0], [0.0, 255.0, 128.0]]), 0.0, 255.0)
    array([ True, False])
    """
    cells = flat(values)
    known = np.isfinite(cells)
    count = np.maximum(known.sum(1), 1)
    mean = np.where(known, cells, 0.0).sum(1) / count
    variance = np.where(known, (cells - mean[:, None]) ** 2, 0.0).sum(1) / count
    return (variance < BLANK_VARIANCE * (high - low) ** 2) & known.any(1)

"""How far rows are from each other in their outcomes, whatever these are: amounts, counts, categories, images.

References
----------
Gower (1971), A general coefficient of similarity and some of its properties, Biometrics 27.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..thresholds import DISTANCES_AT_ONCE, HARDLY_VARIES, NEARLY_EQUAL

NOMINAL = "nominal"


def tables(parts: Sequence[Mapping[str, np.ndarray]], measures: Mapping[str, str]) -> list[np.ndarray]:
    """Sets of rows as columns in which Euclidean distances mean something, shapes ``(rows, columns)``.

    Parameters
    ----------
    parts : sequence of mapping
        Values of outcomes by name, rows first. The scale of each column is by all parts together.
    measures : mapping
        What the values of an outcome are, see `Site`.

    Notes
    -----
    A column is divided by its sd, or a tenth of the usual one where it hardly varies: each has the same say. Categories are one
    column for each value, so that two different ones are as far apart on average as two amounts are.
    """
    columns: list[list[np.ndarray]] = [[] for _ in parts]
    scale = []
    for name, measure in measures.items():
        values = [np.asarray(part[name], np.float64) for part in parts]
        flat = [value.reshape(len(value), -1) for value in values]
        whole = np.concatenate(flat)
        codes = np.unique(whole[~np.isnan(whole)]) if measure == NOMINAL else None
        scale.append(_spread(whole, codes))
        for own, value in zip(columns, flat, strict=True):
            own.append(value if codes is None else _indicators(value, codes))
    sd = np.concatenate(scale)
    sd = np.maximum(sd, HARDLY_VARIES * np.median(sd[sd > 0]) if (sd > 0).any() else 1.0)
    return [np.concatenate(own, 1) / sd for own in columns]


def _spread(whole: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
    """Sd of each column; of categories the root of half the probability that two rows differ, which is that of two values."""
    known = ~np.isnan(whole)
    count = np.maximum(known.sum(0), 1)
    if codes is None:
        mean = np.where(known, whole, 0.0).sum(0) / count
        return np.sqrt(np.where(known, (whole - mean) ** 2, 0.0).sum(0) / count)
    share = (whole[:, :, None] == codes).sum(0) / count[:, None]
    return np.repeat(np.sqrt((1 - (share**2).sum(1)) / 2), len(codes))


def _indicators(value: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """A column for each code, one apart where codes differ."""
    found = np.where(np.isnan(value)[:, :, None], np.nan, value[:, :, None] == codes)
    return found.reshape(len(value), -1) / np.sqrt(2)


def blocks(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some of the rows at a time, and their squared distances from others, shape ``(rows, others)``.

    Over the columns that both have, as if the rest were alike; infinite where there are none.
    """
    whole = not (np.isnan(rows).any() or np.isnan(others).any())
    apart = _over_products(rows, others) if whole else lambda some: _over_known(rows[some], others)
    size = max(1, DISTANCES_AT_ONCE // max(others.shape[0] * (1 if whole else others.shape[1]), 1))
    for start in range(0, len(rows), size):
        some = np.arange(start, min(start + size, len(rows)))
        yield some, apart(some)


def _over_products(rows: np.ndarray, others: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Distances of some rows, many times as fast as by differences: rounding leaves none but equal rows at nought."""
    both = np.concatenate([rows, others])
    _, kind = np.unique(both, axis=0, return_inverse=True)
    both = both - both.mean(0)
    size, kind, count = (both**2).sum(1), kind.ravel(), len(rows)

    def apart(some: np.ndarray) -> np.ndarray:
        whole = size[some, None] + size[count:]
        square = np.maximum(whole - 2 * both[some] @ both[count:].T, NEARLY_EQUAL * whole)
        square[kind[some, None] == kind[count:]] = 0.0
        return square

    return apart


def _over_known(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    square = (rows[:, None] - others[None]) ** 2
    count = (~np.isnan(square)).sum(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, np.nansum(square, 2) * rows.shape[1] / count, np.inf)

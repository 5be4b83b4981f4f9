"""How far rows are from each other in their outcomes, whatever these are: amounts, counts, categories, images.

References
----------
Gower (1971), A general coefficient of similarity and some of its properties, Biometrics 27.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..thresholds import DISTANCES_AT_ONCE, HARDLY_VARIES

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
    from scipy.spatial.distance import cdist

    whole = not (np.isnan(rows).any() or np.isnan(others).any())
    size = max(1, DISTANCES_AT_ONCE // max(others.shape[0] * (1 if whole else others.shape[1]), 1))
    for start in range(0, len(rows), size):
        some = np.arange(start, min(start + size, len(rows)))
        # differences themselves: by products, equal rows would not be at zero
        yield some, cdist(rows[some], others, "sqeuclidean") if whole else _over_known(rows[some], others)


def _over_known(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    square = (rows[:, None] - others[None]) ** 2
    count = (~np.isnan(square)).sum(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, np.nansum(square, 2) * rows.shape[1] / count, np.inf)

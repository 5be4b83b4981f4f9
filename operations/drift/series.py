"""What is compared of two sets of rows: one value, or one vector, for each row, with a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

NUMBER, LEVEL, FLAG, UNIT, JOINT, NORM, ERROR, SURPRISE, UNLIKELY, PIT, CLASSES = (
    "number", "level", "flag", "unit", "joint", "norm", "error", "surprise", "unlikely", "pit", "classes",
)  # fmt: skip
"""Kinds of series, each with tests of its own, see `tests.TESTS`."""
DATA, LATENT, RECONSTRUCTION, CONCEPT, CALIBRATION = (
    "data",
    "latent",
    "reconstruction",
    "concept",
    "calibration",
)
STREAMS = DATA, LATENT, RECONSTRUCTION, CONCEPT, CALIBRATION


@dataclass(frozen=True, eq=False)
class Series:
    """A value for each row.

    Attributes
    ----------
    stream : str
        One of `STREAMS`.
    name : str
        The column, latent unit or outcome.
    kind : str
        Which tests are its own.
    values : numpy.ndarray, shape (N, …)
        NaN, or None of levels, where there is none.
    groups : mapping of numpy.ndarray
        Of outcomes: levels of the rows, by column.
    seen : numpy.ndarray or None
        Of classes: which one came.
    limit : float or None
        Of a tail: where it begins, if the reference does not say.
    """

    stream: str
    name: str
    kind: str
    values: np.ndarray = field(repr=False)
    groups: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    seen: np.ndarray | None = field(default=None, repr=False)
    limit: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by among others."""
        return self.stream, self.name, self.kind

    @property
    def count(self) -> int:
        """Rows that have a value."""
        return int((~gone(self.values)).sum())

    def take(self, rows: Any) -> Series:
        """Some of the rows."""
        groups = {k: v[rows] for k, v in self.groups.items()}
        seen = None if self.seen is None else self.seen[rows]
        return replace(self, values=self.values[rows], groups=groups, seen=seen)

    def join(self, other: Series) -> Series:
        """With the rows of another one behind."""
        groups = {k: np.concatenate([v, other.groups[k]]) for k, v in self.groups.items()}
        seen = (
            self.seen if self.seen is None or other.seen is None else np.concatenate([self.seen, other.seen])
        )
        return replace(self, values=np.concatenate([self.values, other.values]), groups=groups, seen=seen)


def gone(values: np.ndarray) -> np.ndarray:
    """Where there is none, ``(N,)``; of vectors, where any number is missing."""
    if values.dtype.kind == "O":
        return np.array([v is None for v in values], bool)
    if values.dtype.kind != "f":
        return np.zeros(len(values), bool)
    return np.isnan(values).any(tuple(range(1, values.ndim)))


Seen = dict[tuple[str, str, str], Series]
"""Series of a set of rows by their keys. Not all have as many rows: outcomes come for some only."""


def seen_of(series: Any) -> Seen:
    """Series by their keys."""
    return {one.key: one for one in series}


def some_of(seen: Seen, most: int, rng: np.random.Generator) -> Seen:
    """At most so many rows of each series, the same ones where series are as long."""
    chosen: dict[int, np.ndarray] = {}
    for one in seen.values():
        count = len(one.values)
        if count > most and count not in chosen:
            chosen[count] = np.sort(rng.choice(count, most, replace=False))
    return {
        key: one.take(chosen[len(one.values)]) if len(one.values) > most else one for key, one in seen.items()
    }


def joined(first: Seen, second: Seen) -> Seen:
    """Two sets of rows, one after the other; series that one of them lacks are those of the other."""
    return {**first, **{key: first[key].join(one) if key in first else one for key, one in second.items()}}

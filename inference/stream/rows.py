"""Rows of a stream: which they are, whether they have come before, and those that are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...ppl.columns import rows_of
from ...ppl.data import replaced
from ...ppl.errors import DataError, explain
from ...ppl.model import CARRIED, Program
from ...ppl.rows import alignment, sizes_of
from .carrying import plain


def along_rows(program: Program, backend: str) -> tuple[tuple[str, ...], int]:
    """Arguments with an element for each observed row, and the number of rows; none where rows cannot be told.

    Parameters
    ----------
    program : Program
        With one plate that all outcomes lie in, or outcomes in no plate.
    backend : str
        Where it is traced.
    """
    trace = program.trace(backend)
    sizes = sizes_of(trace)
    outcomes = [s for s in trace.by_role("observed") if s.argument is not None]
    plates = {s.plates[:1] for s in outcomes}
    if len(plates) != 1 or any(not s.shape for s in outcomes):
        return (), 0
    own = {s.argument for s in outcomes if s.argument is not None}
    plate = next(iter(plates))
    count = outcomes[0].shape[0]
    if plate:
        along, _ = alignment(trace, program.accesses(backend), sizes)
        own |= {label for label, axes in along.items() if axes.get(0) == plate[0]}
    else:
        leaves = program.leaves.items()
        own |= {k for k, leaf in leaves if leaf.traced and np.shape(leaf.value)[:1] == (count,)}
    own.discard(CARRIED)
    if any(len(np.asarray(program.leaves[label].value)) != count for label in own):
        return (), 0
    return tuple(sorted(own)), count


def named(program: Program, label: str) -> np.ndarray:
    """An argument's values, labels by their names."""
    leaf = program.leaves[label]
    value = np.asarray(leaf.value)
    return value if leaf.labels is None else np.asarray(leaf.labels, dtype=object)[value]


def hashed(keys: Any, count: int | None = None) -> np.ndarray:
    """64 bits for each key.

    Raises
    ------
    DataError
        Where there is no key for each row, or one stands twice.
    """
    import pandas as pd

    column = pd.Series(np.asarray(keys).reshape(-1) if np.ndim(keys) else np.asarray([keys]))
    if count is not None and len(column) != count:
        want = f"a key for each of the {count} rows"
        raise DataError(explain("keys", want, f"{len(column)}", "pass the column that names the rows"))
    if column.isna().any():
        where = rows_of(column.isna().to_numpy())
        raise DataError(explain("keys", "a key in every row", f"none in rows {where}", "name those rows"))
    return pd.util.hash_array(column.astype(str).to_numpy(object))


def fingerprints(program: Program, labels: Iterable[str], count: int) -> np.ndarray:
    """64 bits for the contents of each row, shape ``(count,)``."""
    parts = []
    for label in labels:
        value = named(program, label)
        if value.dtype == object:
            value = np.array([hash_of(str(v)) for v in value.reshape(-1)], np.uint64).reshape(value.shape)
        parts.append(np.ascontiguousarray(value.reshape(count, -1)).view(np.uint8).reshape(count, -1))
    rows = np.concatenate(parts, 1)
    return np.array([hash_of(row.tobytes()) for row in rows], np.uint64)


def hash_of(content: str | bytes) -> int:
    """64 bits of a digest."""
    data = content.encode() if isinstance(content, str) else content
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


@dataclass(frozen=True, eq=False)
class Kept:
    """Rows that a stream keeps, at most `limit`: all of them, or none once there were more.

    Attributes
    ----------
    limit : int
    count : int
        Rows seen.
    columns : mapping of numpy.ndarray
        Arguments of the rows that are kept; empty once there were more than `limit`.
    """

    limit: int
    count: int = 0
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether all rows that were seen are kept."""
        return bool(self.columns)

    def with_rows(self, program: Program, labels: tuple[str, ...], count: int) -> Kept:
        """With the rows of a batch."""
        total = self.count + count
        if not labels or total > self.limit or (self.count and not self.whole):
            return Kept(self.limit, total)
        new = {label: named(program, label) for label in labels}
        if self.columns and set(self.columns) != set(labels):
            return Kept(self.limit, total)
        both = {k: np.concatenate([self.columns[k], v]) if self.columns else v for k, v in new.items()}
        return Kept(self.limit, total, both)

    def program(self, like: Program, batch: int) -> Program:
        """A program of the user's own model with all rows that are kept, labels coded as in another.

        Parameters
        ----------
        like : Program
            The last batch's.
        batch : int
            Its number of rows: whole numbers among its arguments that say the same are replaced.
        """
        own = plain(like)
        arguments = dict(own.arguments)
        for label, value in self.columns.items():
            arguments = replaced(arguments, label, value)
        for label, leaf in own.leaves.items():
            whole = isinstance(leaf.value, (int, np.integer)) and not isinstance(leaf.value, bool)
            if not leaf.traced and whole and leaf.value == batch:
                arguments = replaced(arguments, label, self.count)
        made = own.altered(arguments=arguments)
        made.carried = None
        return made


@dataclass(frozen=True, eq=False)
class Seen:
    """What tells rows that have come before.

    Attributes
    ----------
    batches : tuple of str
        Fingerprints of the data of each batch.
    keys : numpy.ndarray of uint64
        Of the rows' keys.
    rows : numpy.ndarray of uint64
        Of the contents of the rows.
    """

    batches: tuple[str, ...] = ()
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))

    def refuse(self, batch: str, keys: np.ndarray | None) -> None:
        """Refuse rows whose keys have been seen, or without keys a batch that has come before as a whole.

        Raises
        ------
        DataError
        """
        if keys is None:
            if batch in self.batches:
                place = self.batches.index(batch) + 1
                want = "rows that have not been counted yet"
                got = f"the data of batch {place} again"
                remedy = "leave it out; where other rows have the same values, say so with keys="
                raise DataError(explain("update", want, got, remedy))
            return
        again = np.isin(keys, self.keys)
        _, first = np.unique(keys, return_index=True)
        twice = np.ones(len(keys), bool)
        twice[first] = False
        for where, words in ((again, "have been counted before"), (twice, "stand twice in this batch")):
            if where.any():
                got = f"{int(where.sum())} that {words}, in rows {rows_of(where)}"
                want = "keys of rows that have not been counted yet"
                raise DataError(explain("keys", want, got, "leave those rows out: see Prior.seen(keys)"))

    def share(self, rows: np.ndarray) -> float:
        """Share of the rows whose contents have come before; 0 where rows of one batch repeat each other too."""
        if not len(rows) or len(np.unique(rows)) < len(rows):
            return 0.0
        return float(np.isin(rows, self.rows).mean())

    def with_batch(self, batch: str, keys: np.ndarray | None, rows: np.ndarray) -> Seen:
        """With a batch more."""
        own = self.keys if keys is None else np.concatenate([self.keys, keys])
        return replace(self, batches=(*self.batches, batch), keys=own, rows=np.concatenate([self.rows, rows]))

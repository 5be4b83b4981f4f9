"""Rows of a model as a file sees them: one at a time, with the groups that each is of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...ppl.errors import InferenceError, ModelError, UnsupportedError, explain, in_short
from ...ppl.rows import alignment, shrunk, sizes_of


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a target.

    Attributes
    ----------
    target : Target
        Of all rows that were fitted.
    plate : str
        Its elements are the rows.
    along : mapping of str to int
        Argument to the axis on which it runs along the rows.
    places : mapping of str to tuple
        Argument whose codes name a group to the plate of that, and which of the groups of one row it names.
    beside : mapping of str to tuple
        Argument with a value for each group to the axis and the plate.
    fresh : frozenset of str
        Plates whose elements may be new.
    codes : mapping of str to str
        Every argument whose codes point into a plate.
    """

    target: Any
    plate: str
    along: Mapping[str, int]
    places: Mapping[str, tuple[str, int]]
    beside: Mapping[str, tuple[int, str]]
    fresh: frozenset[str]
    codes: Mapping[str, str]

    @classmethod
    def of(cls, target: Any, plate: str, fresh: Collection[str] = ()) -> Rows:
        """The rows of a plate, in which elements of some plates may be new.

        Raises
        ------
        InferenceError, UnsupportedError
            Where these are no plates that rows name, or have data of their own.
        """
        trace = target.trace
        axes, codes = alignment(trace, target.program.accesses(target.backend), sizes_of(trace))
        along = {
            label: next(a for a, p in own.items() if p == plate)
            for label, own in axes.items()
            if plate in own.values()
        }
        places: dict[str, tuple[str, int]] = {}
        for label in along:
            if label in codes and codes[label] != plate:
                places[label] = codes[label], sum(p == codes[label] for p, _ in places.values())
        groups = {p for p, _ in places.values()}
        beside = {
            label: (a, p)
            for label, own in axes.items()
            if label not in along
            for a, p in own.items()
            if p in groups
        }
        unknown = set(fresh) - groups - {plate}
        if unknown:
            want = f"plates among {sorted(groups | {plate})}, whose elements rows name"
            raise InferenceError(explain("new_groups", want, f"{sorted(unknown)}", "correct the names"))
        for label, (_, group) in beside.items():
            if group in fresh:
                got, remedy = (
                    f"'{label}', which has a value for each of them",
                    f"give it to the model by row, as {label}[codes]",
                )
                raise UnsupportedError(
                    explain(f"new_groups='{group}'", "groups without data of their own", got, remedy)
                )
        return cls(target, plate, along, places, beside, frozenset(fresh), codes)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of elements of each plate."""
        return sizes_of(self.target.trace)

    @property
    def data(self) -> dict[str, np.ndarray]:
        """The data that were fitted, rows in front."""
        leaves = self.target.program.leaves
        return {k: np.moveaxis(np.asarray(leaves[k].value), axis, 0) for k, axis in self.along.items()}

    @cached_property
    def complete(self) -> np.ndarray:
        """Rows of which no number is missing; all of them where there are none."""
        fine = [np.isfinite(v.reshape(len(v), -1)).all(1) for v in self.data.values() if v.dtype.kind == "f"]
        found = (
            np.flatnonzero(np.all(fine, axis=0)) if fine else np.arange(len(next(iter(self.data.values()))))
        )
        return found if len(found) else np.arange(len(fine[0]))

    def table(self, label: str) -> np.ndarray:
        """An argument with a value for each group, groups in front."""
        return np.moveaxis(np.asarray(self.target.program.leaves[label].value), self.beside[label][0], 0)

    def naming(self, plate: str) -> list[str]:
        """Arguments whose codes name groups of a plate, in the order of their places."""
        return [label for label, (own, _) in self.places.items() if own == plate]

    # -- targets of other rows ----------------------------------------------------------------------------

    def alone(self, dtype: Any) -> Any:
        """The target of one row, in which a plate has an element for each argument that names one of its groups."""
        lengths = {self.plate: 1, **{p: len(self.naming(p)) for p, _ in self.places.values()}}
        data = {k: v[self.complete[:1]] for k, v in self.data.items()}
        data |= {k: np.full_like(data[k], place) for k, (_, place) in self.places.items()}
        laid = self._laid(data)
        for label, (axis, plate) in self.beside.items():
            laid[label] = np.moveaxis(self.table(label)[np.zeros(lengths[plate], int)], 0, axis)
        return self._cut(laid, lengths, dtype)

    def whole(self, data: Mapping[str, np.ndarray], more: Mapping[str, int]) -> Any:
        """The target of other rows in double precision, with `more` elements of some plates."""
        count = len(next(iter(data.values())))
        lengths = {self.plate: count, **{plate: self.sizes[plate] + extra for plate, extra in more.items()}}
        return self._cut(self._laid(data), lengths, np.float64)

    def _laid(self, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Rows where the model has them."""
        return {k: np.moveaxis(v, 0, self.along[k]) for k, v in data.items()}

    def _cut(self, data: Mapping[str, np.ndarray], lengths: Mapping[str, int], dtype: Any) -> Any:
        """The target of other rows.

        Raises
        ------
        UnsupportedError
            Where the model cannot be run on them.
        """
        try:
            return shrunk(self.target, data, lengths, self.codes, dtype=dtype)
        except ModelError as error:
            want = "a model that runs on any number of rows, none of which sees another"
            remedy = "compute what rows share beforehand and pass it as an argument"
            raise UnsupportedError(
                explain(f"rows of '{self.plate}'", want, in_short(error), remedy)
            ) from error


def plate_of(trace: Any, asked: str | None) -> str:
    """The plate of the outcomes: the one that is asked for, or their only one.

    Raises
    ------
    InferenceError
    """
    outcomes = trace.by_role("observed", "predicted")
    known = sorted({plate for site in outcomes for plate in site.plates})
    if asked is not None and asked not in known:
        got, want = repr(asked)[:80], f"a plate of an outcome, among {known}"
        raise InferenceError(explain("rows", want, got, "name one of them"))
    if asked is None and len(known) != 1:
        remedy = f"say which are the rows, as rows='{known[0]}'" if known else "put them in er.plate(...)"
        raise InferenceError(explain("rows", "outcomes in one plate", f"{known or 'none'}", remedy))
    return asked or known[0]

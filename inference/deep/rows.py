"""Rows of a plate whose latent quantities an encoder gives: their data, and where their coordinates lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...ppl import math as m
from ...ppl.ancestral import ancestral_sites
from ...ppl.errors import DataError, GuideError, ShapeError, explain
from ...ppl.rows import alignment, shrunk, sizes_of
from ...ppl.sites import Site


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a target.

    Attributes
    ----------
    full : Target
        Of all rows.
    small : Target
        Of one batch.
    plate : str
        Its elements are the rows.
    size, total : int
        Rows of a batch and in all.
    along : mapping
        Argument to the axis on which it runs along the plate.
    names : tuple of str
        Latent sites of the plate, in program order: a row's coordinates are theirs, one after the other.
    """

    full: Any
    small: Any
    plate: str
    size: int
    total: int
    along: Mapping[str, int]
    names: tuple[str, ...]

    @classmethod
    def of(cls, target: Any, plate: str, size: int) -> Rows:
        """The rows of a plate in batches of a size.

        Raises
        ------
        GuideError
            For a plate that the model does not have, that no argument follows, or whose rows are not alike.
        """
        sizes = sizes_of(target.trace)
        if plate not in sizes:
            raise _refused(plate, f"a plate among {sorted(sizes)}", "none of that name", "name one of them")
        if sizes[plate] < 2:
            remedy = "give more rows, or name another guide: guide='full-rank', say"
            raise _refused(plate, "two rows at least", "one", remedy)
        along = aligned(target, plate)
        if not along:
            got = "no argument that runs along it"
            raise _refused(plate, "data for an encoder to see", got, "pass them as arguments of the model")
        others = [s.name for s in target.sites if s.plates and plate not in s.plates]
        if others:
            got = f"site '{others[0]}' in plate '{target.trace[others[0]].plates[-1]}'"
            raise _refused(
                plate, "latent quantities of one plate, and of none", got, "encode the rows of that plate"
            )
        imputed = [name for name, how in target.trace.missing.items() if how == "imputed"]
        if imputed:
            got = f"values of '{imputed[0]}' that other parts of the model see"
            raise _refused(plate, "missing values that nothing else depends on", got, "leave these rows out")
        names = tuple(s.name for s in target.sites if plate in s.plates)
        rows = np.arange(size)
        leaves = target.program.leaves
        for label in along:  # the function of a batch is one of data with gaps wherever all rows have some
            if leaves[label].holes is not None:
                rows = _with_gap(leaves[label].holes, along[label], rows)
        data = {label: _cut(leaves[label].value, axis, rows) for label, axis in along.items()}
        small = shrunk(target, data, {plate: size}, {})
        return cls(target, small, plate, size, sizes[plate], along, names)

    def lacking(self, labels: Iterable[str]) -> Rows:
        """With functions of a batch in which numbers of these arguments are missing, whether or not the rows themselves lack any."""
        labels, leaves = set(labels), self.small.program.leaves
        if not labels:
            return self
        some = {k: np.array(leaves[k].value, float if k in labels else None) for k in self.along}
        for label in labels:
            some[label].flat[0] = np.nan
        return replace(self, small=shrunk(self.full, some, {self.plate: self.size}, {}))

    @property
    def weights(self) -> Any:
        """Learned arrays of the model, as they begin."""
        return self.full.weights

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """The latent sites of the plate."""
        return tuple(self.small.trace[name] for name in self.names)

    @cached_property
    def outcomes(self) -> frozenset[str]:
        """Arguments that are outcomes of the rows."""
        observed = self.small.trace.by_role("observed", "predicted")
        return frozenset(s.argument for s in observed if self.plate in s.plates and s.argument in self.along)

    @cached_property
    def in_order(self) -> tuple[str, ...]:
        """Outcomes that are given to a network of their own law, see `ancestral_sites`."""
        small = self.small
        return tuple(
            s.site for s in ancestral_sites(small.trace, lambda: small.program.accesses(small.backend))
        )

    @cached_property
    def conditions(self) -> frozenset[str]:
        """Arguments that are outcomes on which the laws of other outcomes depend: rows that are not there must be given them."""
        small = self.small
        outcomes = small.trace.by_role("observed")
        if len(outcomes) == 1:
            return frozenset()
        access = small.program.accesses(small.backend)
        seen = {
            site.name: {
                label
                for part, sources in access.get(site.name, {}).items()
                for label, how in sources.items()
                if part != "log_prob" and how.kind == "data"
            }
            for site in outcomes
        }
        return frozenset(
            site.argument for site in outcomes for other in outcomes
            if other is not site and site.argument in seen[other.name]
        )  # fmt: skip

    @cached_property
    def num_units(self) -> int:
        """Coordinates of a row."""
        return sum(site.size for site in self.sites) // self.size

    @cached_property
    def num_shared(self) -> int:
        """Coordinates that all rows share."""
        return self.small.dim - self.size * self.num_units

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Where the coordinates of a site lie among those of a row."""
        out, start = {}, 0
        for site in self.sites:
            count = site.size // self.size
            out[site.name] = slice(start, start + count)
            start += count
        return out

    def joined(self, own: Any, shared: Any) -> Any:
        """All coordinates ``(..., dim)`` by those of rows ``(..., n, u)`` and those that they share ``(..., g)``."""
        target = self.small if np.shape(own)[-2] == self.size else self.full
        lead, pieces, start = tuple(np.shape(own)[:-2]), [], 0
        for site in target.sites:
            if site.name in self.parts:
                part = own[..., self.parts[site.name]]
                shape, axis = site.unconstrained_shape, site.dims.index(self.plate)
                rest = shape[:axis] + shape[axis + 1 :]
                part = m.moveaxis(m.reshape(part, (*lead, shape[axis], *rest)), len(lead), len(lead) + axis)
                pieces.append(m.reshape(part, (*lead, -1)))
            else:
                pieces.append(shared[..., start : start + site.size])
                start += site.size
        return m.concat(pieces, axis=-1)

    def apart(self, z: np.ndarray) -> np.ndarray:
        """Coordinates of the rows of a batch ``(K, n, u)`` by all of theirs ``(K, dim)``, on the host: the inverse of `joined`."""
        parts = []
        for site in self.sites:
            value = z[:, self.small.offsets[site.name]].reshape(len(z), *site.unconstrained_shape)
            value = np.moveaxis(value, 1 + site.dims.index(self.plate), 1)
            parts.append(value.reshape(len(z), self.size, -1))
        return np.concatenate(parts, axis=-1)

    def shared_mean(self, params: Mapping[str, Any]) -> np.ndarray:
        """Means of the coordinates that all rows share, shape ``(g,)``."""
        return np.asarray(params["guide"]["mean"], np.float64) if self.num_shared else np.zeros(0)

    def host(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The data of some rows."""
        return self.taken(self.data, rows)

    @property
    def data(self) -> dict[str, np.ndarray]:
        """The data of all rows, as they lie."""
        return {label: self.full.program.leaves[label].value for label in self.along}

    def taken(self, data: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some rows of data: whole numbers of a memory map as wide as those of any array, so that none overflows."""
        found = {label: _cut(value, self.along[label], rows) for label, value in data.items()}
        return {k: v.astype(np.int64, copy=False) if v.dtype.kind in "iu" else v for k, v in found.items()}

    def fixed(self) -> dict[str, Any]:
        """The data that do not run along the plate, where the target computes."""
        return {label: value for label, value in self.small.data.items() if label not in self.along}


def aligned(target: Any, plate: str) -> dict[str, int]:
    """Arguments that run along a plate, with the axis on which each does."""
    along, _ = alignment(target.trace, target.program.accesses(target.backend), sizes_of(target.trace))
    found: dict[str, int] = {}
    for label, axes in along.items():
        own = [axis for axis, name in axes.items() if name == plate]
        if own:
            found[label] = own[0]
    return found


def gathered(data: Mapping[str, Any], along: Mapping[str, int], rows: Any) -> dict[str, Any]:
    """Some rows of arrays, within a backend's own functions."""
    return {label: m.take(data[label], rows, axis=axis) for label, axis in along.items()}


def in_front(data: Mapping[str, Any], along: Mapping[str, int]) -> dict[str, Any]:
    """Arrays with the axis of rows first, as encoders see them."""
    return {
        label: value if along[label] == 0 else m.moveaxis(value, along[label], 0)
        for label, value in data.items()
    }


def _cut(value: np.ndarray, axis: int, rows: np.ndarray) -> np.ndarray:
    return np.asarray(value[rows]) if axis == 0 else np.take(value, rows, axis=axis)


def _with_gap(holes: np.ndarray, axis: int, rows: np.ndarray) -> np.ndarray:
    """The same number of rows, with one among them in which a number is missing."""
    lost = np.asarray(holes.any(tuple(i for i in range(holes.ndim) if i != axis)))
    return rows if lost[rows].any() else np.append(rows[:-1], np.flatnonzero(lost)[0])


def check_rows(program: Any, along: Mapping[str, int], new: Mapping[str, np.ndarray], what: str) -> int:
    """Number of rows of new data.

    Raises
    ------
    ShapeError, DataError
        For arguments that do not run along the plate or are left out, or shapes other than those that were fitted.
    """
    unknown, absent = sorted(set(new) - set(along)), sorted(set(along) - set(new))
    if unknown or absent:
        raise DataError(
            explain(what, f"data for {sorted(along)}", f"{sorted(new)}", "give what runs along the rows")
        )
    counts = {}
    for label, axis in along.items():
        known, value = program.leaves[label].value.shape, new[label].shape
        if len(value) != len(known) or value[:axis] + value[axis + 1 :] != known[:axis] + known[axis + 1 :]:
            want = f"shape {tuple('rows' if i == axis else n for i, n in enumerate(known))}"
            raise ShapeError(explain(f"argument '{label}' of {what}", want, f"{value}", "reshape it"))
        counts[label] = value[axis]
    if len(set(counts.values())) > 1:
        raise ShapeError(
            explain(what, "as many rows of each argument", f"{counts}", "give the same rows of all")
        )
    return next(iter(counts.values()))


def _refused(plate: str, *words: str) -> GuideError:
    return GuideError(explain(f"encoder of the rows of '{plate}'", *words))

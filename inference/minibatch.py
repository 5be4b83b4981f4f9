"""Minibatches: rows of a plate, the elements of other plates that they reach, and what both stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from ..ppl.errors import InferenceError, explain
from ..ppl.rows import alignment, sizes_of, subset


@dataclass(frozen=True)
class Minibatch:
    """Fit on some rows of a plate at a time.

    Parameters
    ----------
    plate : str
        Name of the plate, or of the observed site that runs along one.
    size : int, default 1024
        Rows in a batch.

    Examples
    --------
    >>> Minibatch("row", size=256)
    Minibatch(plate='row', size=256)
    """

    plate: str
    size: int = 1024


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of a target, each of the same shapes.

    Attributes
    ----------
    target : Target
        Of one batch: every other has its shapes.
    rows : str
        The plate whose rows are drawn.
    size, total : int
        Rows in a batch and in all.
    groups : dict
        Plates that the rows reach through codes: per plate the code of every row, the number of elements in a
        batch, and the probability that each element is in one.
    """

    full: object
    target: object
    rows: str
    size: int
    total: int
    groups: dict[str, tuple[np.ndarray, int, np.ndarray]]
    along: dict[str, dict[int, str]]
    into: dict[str, str]

    @classmethod
    def of(cls, full, minibatch: Minibatch) -> Batches:
        """Of a target.

        Raises
        ------
        InferenceError
            For a plate that the model does not have or that no data follow, or a batch larger than it.
        """
        trace, program = full.trace, full.program
        sizes = sizes_of(trace)
        plate = minibatch.plate
        if plate not in sizes and plate in {site.name for site in trace.sites} and trace[plate].plates:
            plate = trace[plate].plates[-1]
        if plate not in sizes:
            raise InferenceError(
                explain("minibatch", f"a plate among {sorted(sizes)}", repr(plate), "declare the rows in one")
            )
        total = sizes[plate]
        if not 1 <= minibatch.size <= total:
            raise InferenceError(
                explain(
                    f"minibatch of '{plate}'",
                    f"1 to {total} rows",
                    str(minibatch.size),
                    "use a smaller batch",
                )
            )
        along, into = alignment(trace, program.accesses(full.backend), sizes)
        if not any(plate in axes.values() for axes in along.values()):
            raise InferenceError(
                explain(
                    f"minibatch of '{plate}'",
                    "a plate along which some argument runs",
                    "one that no argument follows",
                    "pass its data as arguments",
                )
            )
        groups = {}
        for label, owner in into.items():
            if owner == plate or along.get(label, {}).get(0) != plate:
                continue
            codes = np.asarray(program.leaves[label].value)
            count = np.bincount(codes, minlength=sizes[owner])
            groups[owner] = codes, min(minibatch.size, sizes[owner]), _inclusion(count, total, minibatch.size)
        first = {plate: np.arange(minibatch.size)}
        for owner, (codes, most, _) in groups.items():
            first[owner] = _members(codes[first[plate]], most, sizes[owner])[0]
        return cls(full, subset(full, first), plate, minibatch.size, total, groups, along, into)

    def sample(self, rng) -> np.ndarray:
        """Rows of one batch, distinct."""
        if self.size * 4 > self.total:
            return np.sort(rng.permutation(self.total)[: self.size])
        chosen = np.unique(rng.integers(0, self.total, self.size + 8 + self.size * self.size // self.total))
        while len(chosen) < self.size:
            chosen = np.unique(np.append(chosen, rng.integers(0, self.total, self.size)))
        return np.sort(rng.permutation(chosen)[: self.size])

    @property
    def num_bytes(self) -> int:
        """Of the data of one batch."""
        return sum(leaf.value.nbytes for leaf in self.target.program.leaves.values() if leaf.traced)

    def many(self, rng, count: int) -> dict:
        """The `inputs` of many steps, along a new first axis."""
        return _stacked([self.inputs(self.sample(rng)) for _ in range(count)])

    def inputs(self, rows: np.ndarray) -> dict:
        """What one step takes: sliced ``data``, ``scale`` by plate, ``where`` its coordinates lie, their ``weight``."""
        chosen, scale = {self.rows: rows}, {self.rows: np.float64(self.total / self.size)}
        for owner, (codes, most, chance) in self.groups.items():
            members, present = _members(codes[rows], most, len(chance))
            chosen[owner] = members
            scale[owner] = np.where(present, 1 / np.maximum(chance[members], 1e-300), 0.0)
        data = {}
        for label, leaf in self.full.program.leaves.items():
            if not leaf.traced:
                continue
            value, axes, owner = leaf.value, self.along.get(label, {}), self.into.get(label)
            for axis, plate in axes.items():
                if plate in chosen:
                    value = np.take(value, chosen[plate], axis=axis)
            if owner in chosen:
                value = np.searchsorted(chosen[owner], value)
            data[label] = np.asarray(value)
        where, weight = [], []
        for site in self.full.sites:
            index = np.arange(site.size).reshape(site.unconstrained_shape)
            own = np.ones(())
            for plate in site.plates:
                if plate in chosen and plate in site.dims:
                    axis = site.dims.index(plate)
                    index = np.take(index, chosen[plate], axis=axis)
                    own = own * np.reshape(scale[plate], (-1, *[1] * (index.ndim - axis - 1)))
            where.append(index.ravel() + self.full.offsets[site.name].start)
            weight.append(np.broadcast_to(own, index.shape).ravel())
        return {
            "data": data,
            "scale": scale,
            "where": np.concatenate(where),
            "weight": np.concatenate(weight),
        }


def _stacked(values):
    """Arrays, or mappings of them, along a new first axis."""
    if isinstance(values[0], dict):
        return {key: _stacked([value[key] for value in values]) for key in values[0]}
    return np.stack(values)


def _members(codes, most, total):
    """Sorted elements that some rows reach, filled up to `most` with others, and which of them are reached."""
    present = np.unique(codes)
    lacking = most - len(present)
    if lacking:
        known = np.zeros(min(total, most + len(present)) + 1, bool)
        known[present[present < len(known)]] = True
        others = np.flatnonzero(~known[: min(total, len(known))])[:lacking]
        members = np.sort(np.concatenate([present, others]))
    else:
        members = present
    return members, np.isin(members, present)


def _inclusion(count, total, size):
    """Chance that a batch of distinct rows holds one of an element's `count` rows."""

    def log_choose(n):
        return gammaln(n + 1) - gammaln(np.maximum(n - size, 0) + 1)

    absent = np.where(total - count >= size, np.exp(log_choose(total - count) - log_choose(total)), 0.0)
    return 1 - absent

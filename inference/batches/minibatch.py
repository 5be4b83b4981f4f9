"""Minibatches: rows of a plate, the elements of other plates that they reach, and what both stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import gammaln

from ...ppl.errors import InferenceError, OutOfMemoryError, ShapeError, explain
from ...ppl.rows import alignment, shrunk, sizes_of
from ..thresholds import CODES_BLOCK, LEAST_ROWS, MADE, MEMORY_SHARE, MOST_BLOCKS, NUM_POINTS, TIGHT_BLOCKS

REMEDY = "compute what sees many rows beforehand and pass it as an argument, or fit on all rows"


@dataclass(frozen=True)
class Minibatch:
    """Fit on some rows of a plate at a time.

    Parameters
    ----------
    plate : str
        Name of the plate, or of the observed site that runs along one.
    size : int, default 1024
        Rows in a batch.
    args : sequence of str, or mapping of str to int
        Data arguments that run along the plate (on their first axis, or on the axis given) although the analysis of
        the model does not see it. All others are found from how they enter the model, never from their lengths.

    Examples
    --------
    >>> Minibatch("row", size=256)
    Minibatch(plate='row', size=256, args=())
    """

    plate: str
    size: int = 1024
    args: Sequence[str] | Mapping[str, int] = ()

    def __post_init__(self):
        if not isinstance(self.plate, str):
            raise InferenceError(
                explain("Minibatch", "the name of a plate", f"{self.plate!r}"[:60], "pass its name")
            )
        whole = isinstance(self.size, (int, np.integer)) and not isinstance(self.size, bool)
        if not whole or self.size < 1:
            want = "a size that is a whole number of rows"
            raise InferenceError(explain("Minibatch", want, f"{self.size!r}"[:60], "pass size=256, say"))


def automatic(target) -> Batches | None:
    """Batches of the longest observed plate where one gradient over all rows would pass a share of the memory.

    None where it would not, or where the rows cannot be taken apart.
    """
    numbers = (target.memory or available()) * MEMORY_SHARE / target.dtype.itemsize / MADE
    plate = longest(target)
    if target.work <= numbers or plate is None:
        return None
    total = sizes_of(target.trace)[plate]
    size = int(2 ** np.floor(np.log2(max(total * numbers / target.work / TIGHT_BLOCKS, 1.0))))
    try:
        batches = Batches.of(target, Minibatch(plate, int(np.clip(size, LEAST_ROWS, total))))
    except InferenceError:
        return None
    return replace(batches, tight=True)


def plate_of(trace, name: str) -> str:
    """The plate of that name, or the one that the site of that name runs along."""
    own = name not in sizes_of(trace) and name in {site.name for site in trace.sites} and trace[name].plates
    return own[-1] if own else name


def longest(target) -> str | None:
    """The longest plate with outcomes in it."""
    sizes = sizes_of(target.trace)
    plates = {plate for site in target.trace.by_role("observed") for plate in site.plates if plate in sizes}
    return max(sorted(plates), key=sizes.__getitem__) if plates else None


def available() -> float:
    """Bytes of memory that the machine has."""
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


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
        Plates that the rows reach through codes: per plate the codes of every row, shape ``(total, k)``, the number of
        elements in a batch, and the probability that each element is in one.
    along, into : dict
        Which axes of which argument run along which plate, and the plate that codes point into.
    idle : dict
        Per plate the elements that no row reaches, and how many of them are in a batch.
    tight : bool
        Whether memory is too short for all rows at once.
    """

    full: Any
    target: Any
    rows: str
    size: int
    total: int
    groups: dict[str, tuple[np.ndarray, int, np.ndarray]]
    along: dict[str, dict[int, str]]
    into: dict[str, str]
    idle: dict[str, tuple[np.ndarray, int]]
    places: dict[str, np.ndarray]  # of each element of a group among those of the batch at hand
    tight: bool = False

    @classmethod
    def of(cls, full, minibatch: Minibatch, check: bool = True) -> Batches:
        """Of a target; with `check`, compared with it.

        Raises
        ------
        InferenceError
            For a plate that the model does not have or that no data follow, a batch larger than it, or a model
            whose density is no sum over its rows.
        """
        trace, program = full.trace, full.program
        sizes = sizes_of(trace)
        plate = plate_of(trace, minibatch.plate)
        if plate not in sizes:
            raise _refused(
                "minibatch", f"a plate among {sorted(sizes)}", repr(plate), "declare the rows in one"
            )
        what, total = f"minibatch of '{plate}'", sizes[plate]
        whole = isinstance(minibatch.size, (int, np.integer)) and not isinstance(minibatch.size, bool)
        if not whole or not 1 <= minibatch.size <= total:
            raise _refused(what, f"1 to {total} rows", repr(minibatch.size), "use a smaller batch")
        access = program.accesses(full.backend)
        along, into = alignment(trace, access, sizes)
        along = _declared(minibatch, plate, total, program, along)
        if not any(plate in axes.values() for axes in along.values()):
            raise _refused(
                what,
                "a plate along which some argument runs",
                "one that no argument follows",
                "pass its data as arguments",
            )
        gaps = [name for name in trace.missing if plate in trace[name].plates]
        gaps += list(program.masks.kept) if program.masks else []
        if gaps:
            raise _refused(
                what,
                "rows without missing values",
                f"some in '{gaps[0]}'",
                "leave out the rows that lack it, or fit on all rows",
            )
        groups = _groups(plate, minibatch.size, program, trace, access, along, into, sizes)
        groups, idle = _with_idle(groups, along, into, total, minibatch.size)
        places = {owner: np.zeros(len(chance), np.int64) for owner, (_, _, chance) in groups.items()}
        made = cls(full, None, plate, int(minibatch.size), total, groups, along, into, idle, places)
        try:
            made = replace(made, target=made.part(np.arange(made.size)))
        except ShapeError as error:
            got = _whole(access, trace, plate, along) or str(error)
            raise _refused(what, "a model that takes its data row by row", got, REMEDY) from error
        if check:
            made.compare(minibatch)
        return made

    @property
    def mapped(self) -> bool:
        """Whether rows lie in memory maps."""
        return any(isinstance(self.full.program.leaves[label].value, np.memmap) for label in self.along)

    def compare(self, minibatch) -> None:
        """`check`, on some of the rows where all are too many, and in smaller batches."""
        some, size = 16 * self.size, self.size
        if self.total <= (some if self.mapped else MOST_BLOCKS * size):
            try:
                return self.check()
            except OutOfMemoryError:
                if self.total < 4:
                    raise
                some = min(some, self.total // 2)
        rows = np.random.default_rng(0).choice(self.total, some, replace=False, shuffle=False)
        Batches.of(self.part(np.sort(rows)), replace(minibatch, size=min(size, some // 2)))

    def part(self, rows: np.ndarray):
        """The target of some rows, and of the elements that they reach."""
        sizes = {owner: len(chance) for owner, (_, _, chance) in self.groups.items()}
        more = {owner: count for owner, (_, count) in self.idle.items()}
        groups = {
            owner: (codes, min(len(rows) * codes.shape[1] + more.get(owner, 0), sizes[owner]), chance)
            for owner, (codes, _, chance) in self.groups.items()
        }
        chosen, _, data = replace(self, groups=groups).chosen(rows[None])
        lengths = {name: some.shape[1] for name, some in chosen.items()}
        return shrunk(self.full, {label: value[0] for label, value in data.items()}, lengths, self.into)

    @property
    def num_bytes(self) -> int:
        """Of the data of one batch."""
        return sum(leaf.value.nbytes for leaf in self.target.program.leaves.values() if leaf.traced)

    def sample(self, rng) -> np.ndarray:
        """Rows of one batch, distinct and in order; then, as if they were rows, elements that have none."""
        parts, start = [np.sort(rng.choice(self.total, self.size, replace=False, shuffle=False))], self.total
        for idle, count in self.idle.values():
            parts.append(start + rng.choice(len(idle), count, replace=False, shuffle=False))
            start += len(idle)
        return np.concatenate(parts)

    def inputs(self, rows: np.ndarray) -> dict:
        """What one step takes: sliced ``data``, ``scale`` by plate, ``where`` its coordinates lie, their ``weight``."""
        return _first(self._inputs(np.asarray(rows)[None]))

    def many(self, rng, count: int) -> dict:
        """The `inputs` of many steps, along a new first axis."""
        return self._inputs(np.stack([self.sample(rng) for _ in range(count)]))

    def blocks(self) -> Iterator[dict]:
        """Inputs of batches that hold each row, and each element of a group, with weight one in one of them.

        What is in no plate of the batches is in each of them: see `density`.
        """
        left = {owner: np.ones(len(chance), bool) for owner, (_, _, chance) in self.groups.items()}
        for begin in range(0, self.total, self.size):
            rows = np.arange(self.size)[None] + min(begin, self.total - self.size)
            chosen, present, data = self.chosen(rows)
            scale = {self.rows: (rows >= begin).astype(float)}
            for owner, mask in present.items():
                members = chosen[owner][0]
                scale[owner] = (mask & left[owner][members]).astype(float)
                left[owner][members[mask[0]]] = False
            yield _first(self._gathered(chosen, data, scale))
        while any(mask.any() for mask in left.values()):  # elements without rows
            scale = {self.rows: np.zeros(rows.shape)}
            for owner, mask in left.items():
                chosen[owner] = np.argsort(~mask, kind="stable")[: self.groups[owner][1]][None]
                scale[owner] = mask[chosen[owner]].astype(float)
                mask[chosen[owner]] = False
            yield _first(self._gathered(chosen, self._data(chosen, {}), scale))

    def density(self, z: np.ndarray) -> np.ndarray:
        """Log density of all rows, batch by batch, shape ``(B,)``."""
        return self.value_and_grad(z)[0]

    def value_and_grad(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density of all rows and its gradient, batch by batch, shapes ``(B,)`` and ``(B, dim)``."""
        small, count = self.target, 0
        total, grad = np.zeros(len(z)), np.zeros(np.shape(z))
        for given in self.blocks():
            where = given["where"]
            data = {name: small.to_device(value) for name, value in given["data"].items()}
            value, slope = small.value_and_grad(z[:, where], data=data, scale=given["scale"])
            total, grad[:, where] = total + value, grad[:, where] + slope
            count += 1
        if count > 1:  # what is in no plate was in each of them
            none = {name: np.zeros_like(scale) for name, scale in given["scale"].items()}
            value, slope = small.value_and_grad(z[:, where], data=data, scale=none)
            total, grad[:, where] = total - (count - 1) * value, grad[:, where] - (count - 1) * slope
        return total, grad

    def check(self) -> None:
        """Compare the sum over batches with the density of all rows, at random points.

        Raises
        ------
        InferenceError
            Where they differ: some row's density depends on other rows.
        """
        full = self.full
        z = 0.5 * np.random.default_rng(0).standard_normal((NUM_POINTS, full.dim))
        with np.errstate(all="ignore"):
            own, whole = self.density(z), full.value_and_grad(z)[0]
            size = np.abs(full.log_density(z)["log_likelihood"]) + np.abs(whole)
            good = np.isfinite(whole) & np.isfinite(own)
        if (
            np.abs(own - whole)[good] <= (1e-7 if full.dtype == np.float64 else 1e-3) * (1 + size[good])
        ).all():
            return
        access = full.program.accesses(full.backend)
        worst = np.flatnonzero(good)[np.argmax(np.abs(own - whole)[good])]
        raise _refused(
            f"minibatch of '{self.rows}'",
            "a log density that is a sum over its rows",
            f"{own[worst]:.6g} from batches and {whole[worst]:.6g} from all rows"
            + (f": {words}" if (words := _whole(access, full.trace, self.rows, self.along)) else ""),
            REMEDY,
        )

    def _inputs(self, rows):
        rows, extra = rows[:, : self.size], rows[:, self.size :] - self.total
        chosen, present, data = self.chosen(rows, extra if extra.size else None)
        scale = {self.rows: np.full(rows.shape, self.total / self.size)}
        for owner, mask in present.items():
            chance = self.groups[owner][2]
            scale[owner] = np.where(mask, 1 / np.maximum(chance[chosen[owner]], 1e-300), 0.0)
        return self._gathered(chosen, data, scale)

    def chosen(self, rows, extra=None):
        """Of each plate the elements of some batches, of each group which of them the rows reach, and the data."""
        chosen = {self.rows: rows} | {
            owner: np.empty((len(rows), most), np.int64) for owner, (_, most, _) in self.groups.items()
        }
        present = {owner: np.zeros(chosen[owner].shape, bool) for owner in self.groups}
        codes: dict[str, list] = {}
        reached = {
            owner: np.sort(known[rows].reshape(len(rows), -1)) for owner, (known, _, _) in self.groups.items()
        }
        first = {owner: np.diff(some, axis=1, prepend=-1) > 0 for owner, some in reached.items()}
        more, start, place = {}, 0, 0
        for owner, (elements, count) in self.idle.items() if extra is not None else ():
            more[owner] = elements[extra[:, place : place + count] - start]
            start, place = start + len(elements), place + count
        for i in range(len(rows)):
            for owner, (_, most, _) in self.groups.items():
                found = reached[owner][i][first[owner][i]]
                if owner in more:
                    found = np.concatenate([found, more[owner][i]])
                chosen[owner][i], present[owner][i] = _filled(found, most), np.arange(most) < len(found)
                self.places[owner][chosen[owner][i]] = np.arange(most)
            for label, owner in self.into.items():
                if owner in self.groups:
                    some = chosen[self.along[label][0]][i]
                    codes.setdefault(label, []).append(self.places[owner][self._value(label)[some]])
        return chosen, present, self._data(chosen, {label: np.stack(value) for label, value in codes.items()})

    def _value(self, label):
        """Codes; those that a memory map holds are read where they are used."""
        return self.full.program.leaves[label].value

    def _data(self, chosen, codes):
        """Slices of the data arguments; `codes` are positions among the chosen elements."""
        count, data = len(chosen[self.rows]), dict(codes)
        for label, leaf in self.full.program.leaves.items():
            if leaf.traced and label not in data:
                cut = {
                    axis: chosen[plate]
                    for axis, plate in self.along.get(label, {}).items()
                    if plate in chosen
                }
                value = _cut(leaf.value, cut, count)
                if isinstance(leaf.value, np.memmap):  # of any precision
                    value = np.asarray(value, np.float64 if value.dtype.kind == "f" else np.int64)
                data[label] = np.zeros_like(value) if self.into.get(label) in self.groups else value
        return data

    def _gathered(self, chosen, data, scale):
        places = [_coordinates(site, chosen, scale) for site in self.full.sites]
        starts = [part.start for part in self.full.offsets.values()]
        return {
            "data": data,
            "scale": scale,
            "where": np.concatenate(
                [index + start for (index, _), start in zip(places, starts, strict=True)], 1
            ),
            "weight": np.concatenate([weight for _, weight in places], 1),
        }


def _coordinates(site, chosen, scale):
    """Where the elements of a site that are in some batches lie among its coordinates, and the weight of each."""
    count = len(next(iter(chosen.values())))
    index, weight = np.zeros(1, np.int64), np.ones(1)
    for axis, length in enumerate(site.unconstrained_shape):
        plate = site.dims[axis] if axis < len(site.dims) else None
        shape = (-1, *[1] * axis, length)
        if plate in chosen and plate in site.plates:
            shape = (count, *shape[1:-1], chosen[plate].shape[1])
            index = index[..., None] * length + chosen[plate].reshape(shape)
            weight = weight[..., None] * scale[plate].reshape(shape)
        else:
            index, weight = index[..., None] * length + np.arange(length).reshape(shape), weight[..., None]
    index = np.broadcast_to(index, (count, *index.shape[1:]))
    return index.reshape(count, -1), np.broadcast_to(weight, index.shape).reshape(count, -1)


def _cut(value, cut, count):
    """An array on its chosen elements, along a new first axis; a memory map is read there only."""
    if not cut:
        return np.broadcast_to(value, (count, *value.shape))
    axis, some = next(iter(cut.items()))
    if len(cut) == 1 and axis == 0:
        return np.asarray(value[some])
    out = []
    for i in range(count):
        one = value
        for axis, some in cut.items():  # the rows first: what is left is small
            one = np.take(one, some[i], axis=axis)
        out.append(one)
    return np.stack(out)


def _first(values):
    """The first of arrays, or of mappings of them, along their first axis."""
    return {key: _first(value) if isinstance(value, dict) else value[0] for key, value in values.items()}


def _filled(found, most):
    """Distinct elements: those that are found, then others up to `most`."""
    free = np.ones(most, bool)
    free[found[found < most]] = False
    return np.concatenate([found, np.flatnonzero(free)[: most - len(found)]])


def _with_idle(groups, along, into, total, size):
    """Elements without rows join the batches as often as rows do, unless they stand for more than themselves."""
    found, idle = dict(groups), {}
    passed = {along[label][0] for label, owner in into.items() if owner in groups}
    for owner, (codes, most, chance) in groups.items():
        alone = np.flatnonzero(chance == 0)
        if len(alone) and owner not in passed:
            count = -(-len(alone) * size // total)
            chance = np.where(chance == 0, count / len(alone), chance)
            idle[owner] = alone, count
            found[owner] = codes, min(most + count, len(chance)), chance
    return found, idle


def _groups(plate, size, program, trace, access, along, into, sizes):
    """Plates whose elements are reached through codes of the rows, and only so."""
    groups: dict[str, tuple] = {}
    total, before = sizes[plate], -1
    while before < len(groups):  # those that groups reach in turn
        before = len(groups)
        for owner in sizes.keys() - groups.keys() - {plate}:
            labels = [label for label, other in into.items() if other == owner]
            sources = [along.get(label, {}).get(0) for label in labels]
            ready = all(s == plate or s in groups for s in sources)
            if not labels or not ready or not _only_by(owner, labels, trace, access):
                continue
            columns = [program.leaves[label].value for label in labels]
            columns = [
                (value if s == plate else value[groups[s][0]]).reshape(total, -1)
                for value, s in zip(columns, sources, strict=True)
            ]
            codes = columns[0] if len(columns) == 1 else np.concatenate(columns, 1)
            count = np.zeros(sizes[owner], np.int64)
            for begin in range(0, total, CODES_BLOCK):
                some = np.sort(codes[begin : begin + CODES_BLOCK], axis=1)
                again = np.pad(some[:, 1:] == some[:, :-1], ((0, 0), (1, 0)))
                count += np.bincount(some[~again], minlength=sizes[owner])
            most = min(size * codes.shape[1], sizes[owner])
            groups[owner] = codes, most, _inclusion(count, total, size)
    return groups


def _only_by(owner, labels, trace, access) -> bool:
    """Whether densities see the sites of a plate element by element, or through these codes."""
    for site in trace.sites:
        if site.role == "deterministic":
            continue
        for part in access.get(site.name, {}).values():
            for source, how in part.items():
                if (
                    how.kind != "latent"
                    or owner not in trace[source].plates
                    or owner not in trace[source].dims
                ):
                    continue
                state, out, label = how.axes[trace[source].dims.index(owner)]
                own = label is None and out is not None and out < len(site.dims) and site.dims[out] == owner
                if state not in {"aligned", "gathered"} or not (own or label in labels):
                    return False
    return True


def _declared(minibatch, plate, total, program, along):
    """What runs along which plate, with what the user says of it."""
    args = minibatch.args if isinstance(minibatch.args, Mapping) else dict.fromkeys(minibatch.args, 0)
    along = {label: dict(axes) for label, axes in along.items()}
    for label, axis in args.items():
        leaf = program.leaves.get(label)
        if leaf is None or not leaf.traced:
            known = sorted(name for name, leaf in program.leaves.items() if leaf.traced)
            raise _refused(
                "Minibatch(args=…)", f"data arguments among {known}", repr(label), "correct the name"
            )
        along.setdefault(label, {})[axis] = plate
    for label, axes in along.items():
        for axis, name in axes.items():
            shape = program.leaves[label].value.shape
            if name == plate and (axis >= len(shape) or shape[axis] != total):
                raise _refused(
                    f"argument '{label}'",
                    f"{total} rows on axis {axis}, as plate '{plate}' has",
                    f"shape {shape}",
                    "give it one row per element of the plate, or leave it out of args",
                )
    return along


def _whole(access, trace, plate, along) -> str:
    """The site in a plate that sees several rows of an argument at once, in words."""
    for site in trace.by_role("observed", "factor"):
        for part in access.get(site.name, {}).values():
            for source, how in part.items():
                for axis, (state, _, _) in enumerate(how.axes):
                    long = how.kind == "data" and (axis == 0 or along.get(source, {}).get(axis) == plate)
                    if long and plate in site.plates and state in {"summed", "mixed"}:
                        return f"site '{site.name}' sees all of '{source}' at once, as x - x.mean() does"
    return ""


def _refused(*words) -> InferenceError:
    return InferenceError(explain(*words))


def _inclusion(count, total, size):
    """Chance that a batch of distinct rows holds one of an element's `count` rows."""

    def log_choose(n):
        return gammaln(n + 1) - gammaln(np.maximum(n - size, 0) + 1)

    absent = np.where(total - count >= size, np.exp(log_choose(total - count) - log_choose(total)), 0.0)
    return 1 - absent

"""Who is protected: rows of a plate, one by one or a group at a time, and batches of them in which each is by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from ...ppl.errors import DataError, InferenceError, ShapeError, explain
from ...ppl.rows import alignment, shrunk, sizes_of
from ...ppl.thresholds import QUOTED_LONG
from ..batches.minibatch import Minibatch, longest, plate_of
from ..thresholds import LEAST_PRIVATE, NUM_POINTS, PRIVATE_SHARE, TRUNCATED_SHARE
from .accounting import Budget, accountant_name, most_of, noise_for
from .asked import Private

REMEDY = "leave private= out, or change the model"


@dataclass(frozen=True, eq=False)
class Units:
    """Units of a target whose rows are protected together.

    Attributes
    ----------
    full, small : Target
        Of all rows, and of those of one unit: as many as the largest has.
    plate : str
        Of the rows.
    along : mapping
        Argument to the axis on which it runs along the plate.
    members : numpy.ndarray of int, shape (units, k)
        Rows of each; a smaller one has its first again.
    known : numpy.ndarray, shape (units, k)
        Ones, and zeros where a row is there again.
    """

    full: Any
    small: Any
    plate: str
    along: Mapping[str, int]
    members: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, target: Any, plate: str, by: Any = None, encoded: bool = False) -> Units:
        """The units of a target.

        Parameters
        ----------
        target : Target
            Of all rows.
        plate : str
            Of the rows.
        by : array_like, optional
            A label for each row.
        encoded : bool
            Whether an encoder gives the latent quantities of rows, so that none of these is a parameter.

        Raises
        ------
        DataError, InferenceError
            For a model that is no sum over its rows, or whose parameters belong to rows.
        """
        along = _along(target, plate)
        _check(target, plate, along, encoded)
        total = sizes_of(target.trace)[plate]
        members, known = grouped(by, total)
        data = {
            label: np.take(target.program.leaves[label].value, members[0], axis)
            for label, axis in along.items()
        }
        try:
            small = shrunk(target, data, {plate: members.shape[1]}, {})
        except ShapeError:
            got = "one in which several rows are seen at once, as x - x.mean() does"
            _refuse(plate, "a model that takes its data row by row", got)
        made = cls(target, small, plate, along, members, known)
        if not encoded and not target.trace.counts:
            made.compare()
        return made

    def compare(self) -> None:
        """See whether densities of made-up rows add up: rows of which none is private, so that what is refused tells of none.

        Raises
        ------
        InferenceError
        """
        z = 0.5 * np.random.default_rng(0).standard_normal((NUM_POINTS, self.full.dim))
        whole, parts = self.full.value_and_grad(z, data=_made_up(self.full, self.along))[0], []
        for first in (0, 1):
            data = _made_up(self.small, self.along, first)
            once, twice = (
                self.small.value_and_grad(z, data=data, scale={self.plate: s})[0] for s in (1.0, 2.0)
            )
            parts.append(((twice - once) / self.members.shape[1], 2 * once - twice))
        total = sizes_of(self.full.trace)[self.plate]
        (even, around), (odd, other) = parts
        own = around + even * (total - total // 2) + odd * (total // 2)
        size = (1e-7 if self.full.dtype == np.float64 else 1e-3) * (1 + np.abs(whole) + np.abs(own))
        good = np.isfinite(whole) & np.isfinite(own)
        if (np.abs(own - whole) > size)[good].any() or (np.abs(around - other) > size)[good].any():
            words = "one that depends on several at once, or on how many there are"
            _refuse(self.plate, "a log density that is a sum over its rows", words)

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.members)

    @property
    def words(self) -> str:
        """What is protected."""
        return (
            f"rows of '{self.plate}'" if self.members.shape[1] == 1 else f"groups of rows of '{self.plate}'"
        )

    def fixed(self) -> dict[str, Any]:
        """Data that do not run along the rows, where the target computes."""
        return {label: value for label, value in self.small.data.items() if label not in self.along}

    def nobody(self) -> dict[str, Any]:
        """Data of a unit that is none, for what depends on no row."""
        leaves = self.small.program.leaves
        return {label: np.zeros_like(np.asarray(leaves[label].value)) for label in self.along}

    def data(self, units: np.ndarray) -> dict[str, np.ndarray]:
        """Data of some units, by argument: their shape, the rows of a unit, and the rest, with the plate's axis in front."""
        rows, out = self.members[units], {}
        for label, axis in self.along.items():
            value = self.full.program.leaves[label].value
            out[label] = np.asarray(np.moveaxis(value, axis, 0)[rows])
        return out

    @property
    def public(self) -> tuple[str, ...]:
        """What is taken to be public, in words."""
        leaves, named = self.full.program.leaves, []
        others = sorted(label for label, leaf in leaves.items() if leaf.traced and label not in self.along)
        if others:
            named.append(f"arguments {', '.join(others)}")
        levels = sorted(label for label in self.along if leaves[label].labels)
        if levels:
            named.append(f"the levels of {', '.join(levels)}")
        return (f"the number of {self.words}", *named, "constants of the model")


@dataclass(eq=False)
class Drawn:
    """Batches of units, in which each is by chance, and the noise of each; see `Batches` for what an ascent asks.

    Attributes
    ----------
    units : Units
    budget : Budget
    rng : numpy.random.Generator
        Which nobody else has.
    noise : mapping of tuple
        Shapes of the arrays that get noise, by name.
    spent : int
        Batches that were drawn.
    """

    units: Units
    budget: Budget
    rng: np.random.Generator
    noise: Mapping[str, tuple[int, ...]]
    spent: int = 0

    groups: ClassVar[Mapping[str, Any]] = {}
    """Every coordinate is in every batch."""

    @property
    def target(self) -> Any:
        """Of one unit."""
        return self.units.small

    @property
    def num_bytes(self) -> int:
        """Of the data of one batch."""
        leaves, most = self.units.small.program.leaves, self.budget.most
        numbers = sum(int(np.prod(shape, dtype=int)) for shape in self.noise.values())
        return most * sum(leaves[label].value.nbytes for label in self.units.along) + 8 * numbers

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Units of a batch, filled up by any, and ones where they are of it."""
        units, most = self.units, self.budget.most
        chosen = np.flatnonzero(self.rng.random(units.total) < self.budget.sampling_rate)
        if len(chosen) > most:  # hardly ever, and accounted for
            chosen = self.rng.permutation(chosen)[:most]
        out = np.zeros(most, np.int64)
        out[: len(chosen)] = chosen
        return out, (np.arange(most) < len(chosen)).astype(float)

    def allow(self, count: int) -> None:
        """Refuse steps that no budget is left for.

        Raises
        ------
        InferenceError
        """
        left = self.budget.steps - self.spent
        if count > left:
            want = f"up to {left} more of the {self.budget.steps} steps that the budget is for"
            remedy = "pass er.Private(steps=...) as many as there will be"
            raise InferenceError(explain("num_steps", want, f"{count}", remedy))

    def many(self, _rng: Any, count: int) -> dict[str, Any]:
        """What so many steps take, which are spent from now on."""
        self.allow(count)
        self.spent += count
        parts = [self.sample() for _ in range(count)]
        units, present = (np.stack(part) for part in zip(*parts, strict=True))
        noise = {name: self.rng.standard_normal((count, *shape)) for name, shape in self.noise.items()}
        return {
            "data": self.units.data(units),
            "known": self.units.known[units],
            "present": present,
            "noise": noise,
        }

    def constants(self) -> dict[str, float]:
        """What every step sees of the budget."""
        budget = self.budget
        return {
            "clip": budget.clip,
            "noise": budget.clip * budget.noise_multiplier,
            "rate": budget.sampling_rate,
        }


def budget_of(private: Private, units: Units, minibatch: Minibatch | None) -> Budget:
    """What a private fit spends.

    Raises
    ------
    InferenceError
        For a delta that lets whole rows out, or batches larger than all.
    """
    total, delta = units.total, float(private.delta)
    if delta >= 1 / total:
        want = f"below one over the {total} {units.words}, {1 / total:.2g}: at that delta one may be released as it is"
        raise InferenceError(
            explain("delta of er.Private", want, f"{delta:g}", f"pass delta={0.1 / total:.0e}, say")
        )
    size = _size(total) if minibatch is None else minibatch.size
    if size > total:
        raise InferenceError(
            explain("minibatch", f"up to {total} {units.words}", f"{size}", "use smaller batches")
        )
    rate, steps = size / total, int(private.steps)
    left = delta * (1 - TRUNCATED_SHARE)
    return Budget(
        float(private.epsilon), delta, float(private.clip), noise_for(float(private.epsilon), left, steps, rate),
        steps, rate, units.words, total, accountant_name(), units.public, private.seed is not None,
        most_of(private.epsilon, delta, steps, rate, total),
    )  # fmt: skip


def private_plate(target: Any, minibatch: Minibatch | None) -> str:
    """The plate whose rows are protected: that of the batches, or the longest one with outcomes.

    Raises
    ------
    InferenceError
    """
    sizes = sizes_of(target.trace)
    if minibatch is not None and minibatch.args:
        words = "a model that is seen to take its data row by row"
        raise InferenceError(
            explain("args of er.Minibatch", words, f"{minibatch.args!r}"[:QUOTED_LONG], REMEDY)
        )
    found = longest(target) if minibatch is None else plate_of(target.trace, minibatch.plate)
    if found is None or found not in sizes:
        got = "a model without any" if found is None else repr(found)
        raise InferenceError(
            explain("private", f"rows in a plate among {sorted(sizes)}", got, "declare the rows in one")
        )
    return found


def grouped(by: Any, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each group, shape ``(groups, k)``, those of a smaller one filled up by its first, and ones where they are not that.

    Raises
    ------
    DataError
    """
    if by is None:
        return np.arange(total)[:, None], np.ones((total, 1))
    labels = np.asarray(by)
    if isinstance(by, str) or labels.shape != (total,):
        got = repr(by) if isinstance(by, str) else f"shape {labels.shape}"
        raise DataError(
            explain("by of er.Private", f"a label for each of {total} rows", got, "pass one for each row")
        )
    _, codes = np.unique(labels.astype(str) if labels.dtype.kind == "O" else labels, return_inverse=True)
    order, counts = np.argsort(codes, kind="stable"), np.bincount(codes)
    first = np.cumsum(counts) - counts
    known = np.arange(counts.max()) < counts[:, None]
    place = first[:, None] + np.where(known, np.arange(counts.max()), 0)
    return order[place], known.astype(float)


def _size(total: int) -> int:
    """Units of a batch on average, where nobody says."""
    return int(min(total, max(LEAST_PRIVATE, PRIVATE_SHARE * total)))


def _along(target: Any, plate: str) -> dict[str, int]:
    """Arguments that run along a plate, and the axis on which each does."""
    sizes = sizes_of(target.trace)
    along, _ = alignment(target.trace, target.program.accesses(target.backend), sizes)
    found: dict[str, int] = {}
    for label, axes in along.items():
        own = [axis for axis, name in axes.items() if name == plate]
        if len(own) > 1:
            _refuse(plate, "an argument with one axis of rows", f"'{label}' with {len(own)}")
        if own:
            found[label] = own[0]
    if not found:
        _refuse(plate, "arguments that run along it", "none", "pass its data as arguments")
    return found


def _check(target: Any, plate: str, along: Mapping[str, int], encoded: bool) -> None:
    """Refuse a model that is no sum over the rows of a plate, or has parameters for each.

    Raises
    ------
    InferenceError
    """
    trace, program = target.trace, target.program
    if program.carried is not None:
        _refuse(plate, "a prior that knows no rows", "one that earlier rows have been carried into")
    local = [site.name for site in trace.latents if plate in site.plates]
    if local and not encoded:
        _refuse(
            plate,
            "parameters that all rows share",
            f"'{local[0]}' of each row, which would be released with its rows' own values",
            "integrate it out, or give it an encoder: guide=er.Amortized()",
        )
    if trace.missing or program.masks or any(program.leaves[label].holes is not None for label in along):
        _refuse(
            plate, "rows without missing values", "some", "leave out the rows that lack one, or fill them in"
        )
    shared = [name for name in trace.counts if plate not in trace[name].plates]
    if shared:
        _refuse(plate, "no discrete site that rows share", f"'{shared[0]}'")
    total = sizes_of(trace)[plate]
    strange = sorted(
        k for k, leaf in program.leaves.items() if k not in along and total in np.shape(leaf.value)
    )
    if strange:
        got = f"'{strange[0]}' of shape {np.shape(program.leaves[strange[0]].value)}, which the model does not take row by row"
        remedy = "take it row by row, or pass numbers that are no matter of these rows"
        _refuse(
            plate, f"arguments that run along it, or have another length than its {total} rows", got, remedy
        )
    fixed = [
        label
        for label, leaf in program.leaves.items()
        if not leaf.traced and isinstance(leaf.value, np.ndarray)
    ]
    if fixed:
        words = "arguments that the model computes with as arrays"
        _refuse(plate, words, f"'{fixed[0]}', of which it takes the numbers", "use er.math in place of numpy")
    _check_sites(target, plate, along)


def _check_sites(target: Any, plate: str, along: Mapping[str, int]) -> None:
    """Refuse sites that see rows without being of them.

    Raises
    ------
    InferenceError
    """
    access = target.program.accesses(target.backend)
    for site in target.trace.sites:
        inside = plate in site.plates
        if site.role in ("observed", "factor") and not inside:
            words = "an outcome" if site.role == "observed" else "a factor"
            _refuse(
                plate,
                "outcomes and factors of its rows",
                f"'{site.name}', {words} of none",
                "put it into the plate",
            )
        for part in access.get(site.name, {}).values():
            for source, how in part.items():
                if how.kind != "data" or source not in along:
                    continue
                state, out, _ = how.axes[along[source]]
                own = (
                    state in ("aligned", "gathered")
                    and out is not None
                    and site.dims[out : out + 1] == (plate,)
                )
                if site.role != "deterministic" and not (inside and own):
                    what = "all of" if inside else "rows of"
                    got = f"site '{site.name}', which sees {what} '{source}' at once, as x - x.mean() does"
                    _refuse(plate, "a log density that is a sum over its rows", got)


def _made_up(target: Any, along: Mapping[str, int], first: int | None = None) -> dict[str, Any]:
    """Data of rows that are none: of one kind, or of two by turns."""
    data = dict(target.data)
    for label, axis in along.items():
        value = np.asarray(target.program.leaves[label].value)
        turns = np.arange(value.shape[axis]) % 2 if first is None else np.full(value.shape[axis], first)
        turns = turns.reshape([-1 if i == axis else 1 for i in range(value.ndim)])
        few = value.dtype.kind == "f"
        made = np.broadcast_to(0.25 + 0.5 * turns if few else turns, value.shape).astype(value.dtype)
        data[label] = target.to_device(made)
    return data


def _refuse(plate: str, want: str, got: str, remedy: str = REMEDY) -> NoReturn:
    raise InferenceError(explain(f"private fit of the rows of '{plate}'", want, got, remedy))

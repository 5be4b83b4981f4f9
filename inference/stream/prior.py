"""A posterior as the prior of what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ppl.errors import DataError, InferenceError, UnsupportedError, explain
from ...ppl.model import CARRIED, Program
from ...ppl.rows import sizes_of
from ..evidence.verdicts import EARLIER
from ..posterior.predict import fitted_counts, fitted_labels
from ..posterior.record import Record
from ..thresholds import FAR_AWAY, LARGEST_BLOCK, RESERVOIR
from .carrying import beside, carrying, plain
from .grouped import Grouped, Plate, drift
from .parameters import Parameters
from .rows import Kept, Seen, along_rows, fingerprints, hashed
from .state import Stream
from .told import Told

MOVED_AWAY = "the posterior has moved to where their likelihoods were not carried"


@dataclass(frozen=True, eq=False, repr=False)
class Prior:
    """What a posterior has learned, for the data that come next. Made by `Posterior.as_prior`.

    The prior of the model stays as it was declared; beside it stands what all rows so far have said, as a function of the
    shared parameters with all their correlations.

    Attributes
    ----------
    stream : Stream
        Where the stream stands.
    labels : mapping of str to tuple
        Labels that have codes already.
    counts : mapping of str to int
        Numbers of groups of codes without labels.
    shapes : mapping of str to tuple of int
        Of the parameters that all rows share.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> first = er.fit(level([1.0, 2.0, 3.0]), progress=False)
    >>> both = er.fit(first.as_prior().onto(level([4.0, 5.0])), progress=False)
    >>> bool(abs(both.summary().loc["mu", "mean"] - 15 / 5.01) < 0.02), both.verdict
    (True, 'trusted')
    """

    stream: Stream
    labels: Mapping[str, tuple]
    counts: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]

    def limit(self, values: Mapping[str, np.ndarray], weights: np.ndarray | None = None) -> tuple[str, str]:
        """The best verdict that a posterior with this prior may have whose draws of its sites these are, and why."""
        if self.stream.told.away(values, weights) < FAR_AWAY:
            return "untrusted", f"{EARLIER}: {MOVED_AWAY}"
        return self.stream.allowed, f"{EARLIER}: {self.stream.words}"

    def onto(self, program: Program) -> Program:
        """A program whose posterior is that of its own rows and all rows before.

        Parameters
        ----------
        program : Program
            The same model with rows that have not been counted.

        Returns
        -------
        Program

        Raises
        ------
        InferenceError
            For another model.
        """
        if not isinstance(program, Program):
            want, got = "a program: the model called with its new rows", type(program).__name__
            raise InferenceError(explain("update", want, got, "write posterior.update(model(rows))"))
        before, own = self.stream.model.fn.model, plain(program)
        if own.model is not before and own.model.code_hash != before.code_hash:
            want = f"the model that was fitted, '{before.name}'"
            got = f"'{own.name}'" if own.name != before.name else "one of the same name whose code is another"
            raise InferenceError(explain("update", want, got, "fit the new model on all rows"))
        counts = {**own.level_counts}
        for label, count in self.counts.items():
            counts[label] = max(counts.get(label, 0), count)
        known = own.altered(labels=self.labels, level_counts=counts)
        told = self._padded(known)
        made = beside(self.stream.model, own, told.packed(), self.labels, counts)
        made.carried = self
        return made

    def _padded(self, program: Program) -> Told | Grouped:
        """What has been said, of as many groups as a program has.

        Raises
        ------
        UnsupportedError, DataError
            Where shared parameters have another shape, or there are fewer groups.
        """
        trace, told = program.trace(), self.stream.told
        for name, shape in self.shapes.items():
            if trace[name].shape != shape:
                want = f"'{name}' of the shape that it had, {shape}"
                remedy = "fit all rows at once, or give groups codes: er.plate('group', er.levels(group))"
                raise UnsupportedError(explain("update", want, f"{trace[name].shape}", remedy))
        if self.plate is None:
            return told
        count, before = sizes_of(trace)[self.plate.name], len(told.linear)
        if count < before:
            want = f"the {before} groups of '{self.plate.name}' so far, and new ones after them"
            remedy = "give their codes or labels as before; groups may have no rows"
            raise DataError(explain("update", want, f"{count}", remedy))
        return told.padded(count)

    @property
    def plate(self) -> Plate | None:
        """Groups of rows."""
        return getattr(self.stream.told, "plate", None)

    def seen(self, keys: Any) -> np.ndarray:
        """Which keys are those of rows that have been counted, shape ``(N,)``."""
        return np.isin(hashed(keys), self.stream.seen.keys)

    def __repr__(self) -> str:
        stream = self.stream
        rows = f"{stream.kept.count:,} rows" if stream.kept.count else "all rows so far"
        return f"<prior of {', '.join(self.shapes)} after {rows}: {stream.words}>"


def prior_of(record: Record, forget: float = 1.0) -> Prior:
    """See `Posterior.as_prior`."""
    if isinstance(forget, bool) or not isinstance(forget, (int, float)) or not 0 < forget <= 1:
        raise InferenceError(
            explain("forget", "a number above 0, up to 1", repr(forget), "1 forgets nothing")
        )
    record.needs_program("as_prior")
    stream = stream_of(record).faded_by(float(forget))
    plate = getattr(stream.told, "plate", None)
    local = set() if plate is None else {site.name for site in plate.sites}
    shapes = {s.name: s.shape for s in record.latents if s.name not in local}
    labels, counts = fitted_labels(record), {**record.program.level_counts, **fitted_counts(record)}
    if plate is not None and plate.argument not in labels:
        counts[plate.argument] = len(stream.told.linear)
    return Prior(stream, labels, counts, shapes)


def stream_of(record: Record) -> Stream:
    """Where the stream of a posterior stands: that of its updates, or one that begins with it."""
    if record.stream is not None:
        return record.stream
    _check(record)
    before = record.program.carried
    if before is not None:
        return added(before.stream, record, None, None)
    found, values = Parameters.of(record.program, record.backend), latent_values(record)
    told: Told | Grouped
    if found.plate is None:
        told = Told.nothing(found.shared, values)
    else:
        told = Grouped.nothing(found.plate, values)
    model = carrying(record.program.model, told.form())
    return added(Stream(told, model, Kept(RESERVOIR), Seen(), num_updates=-1), record, None, None)


def added(stream: Stream, record: Record, keys: Any, when: float | None) -> Stream:
    """A stream with the rows of a posterior that was fitted with it as its prior."""
    _check(record)
    program, backend = record.program, record.backend
    told, moved = _heard(stream.told, record)
    labels, count = along_rows(program, backend)
    own = None if keys is None else hashed(keys, count or None)
    rows = fingerprints(program, labels, count) if labels else np.zeros(0, np.uint64)
    found = stream.heard(told, moved, record.judgement)
    return replace(
        found,
        kept=stream.kept.with_rows(program, labels, count),
        seen=stream.seen.with_batch(plain(program).data_fingerprint, own, rows),
        num_updates=stream.num_updates + 1,
        when=when if when is not None else stream.when,
    )


def _heard(told: Told | Grouped, record: Record) -> tuple[Told | Grouped, float]:
    """What has been said with a posterior's own rows, and how far what was left over of them may move a mean."""
    values = latent_values(record)
    if isinstance(told, Told):
        found, left = told.heard(values, log_likelihood(record))
        return found, float(left.std())
    some, sums = by_group(record, told.plate.argument)
    more, rest = told.heard(values, sums, some)
    return more, drift(rest)


def latent_values(record: Record) -> dict[str, np.ndarray]:
    """Draws of the latent sites, in double precision."""
    return {s.name: np.asarray(record.values[s.name], np.float64) for s in record.latents}


def middle(record: Record) -> dict[str, np.ndarray]:
    """The draw of the latent sites that is nearest to the middle of all, in units of their sds."""
    scale = record.z.std(0)
    away = (record.z - record.z.mean(0)) / np.where(scale > 0, scale, 1.0)
    nearest = int((away**2).sum(1).argmin())
    return {name: np.asarray(value[nearest]) for name, value in latent_values(record).items()}


def log_likelihood(record: Record) -> np.ndarray:
    """Of the rows of a posterior's own program, at its draws, shape ``(S,)``: outcomes, and factors that read data."""
    found = record.target.log_density(record.z)["log_likelihood"]
    reading = _reading(record)
    if reading:
        terms = record.target.terms(record.z)
        found = found + sum(terms[name].sum(1) for name in reading)
    return found


def by_group(record: Record, argument: str) -> tuple[list[int], np.ndarray]:
    """Groups with rows, and the log likelihood of the rows of each at the draws, shape ``(S, groups)``.

    Raises
    ------
    UnsupportedError
        For models with factors that read data: which group one is of is not known.
    """
    reading = _reading(record)
    if reading:
        want, remedy = "a model of groups whose data are all outcomes", "declare them with er.observe"
        raise UnsupportedError(explain("as_prior", want, f"er.factor {reading}", remedy))
    codes = np.asarray(record.program.leaves[argument].value)
    some, place = np.unique(codes, return_inverse=True)
    chosen = np.zeros((len(codes), len(some)))
    chosen[np.arange(len(codes)), place] = 1.0
    step, parts = max(1, LARGEST_BLOCK // len(codes)), []
    for start in range(0, len(record.z), step):
        rows = record.target.per_row(record.z[start : start + step])
        own = [v.reshape(len(v), len(codes), -1).sum(2) for k, v in rows.items() if k in record.observed]
        parts.append(sum(own) @ chosen)
    return some.tolist(), np.concatenate(parts)


def _reading(record: Record) -> list[str]:
    """Factors that read data, but for what is carried on."""
    names = [s.name for s in record.target.trace.by_role("factor") if s.name != CARRIED]
    return [name for name in names if _reads(record.program, record.backend, name)]


def _reads(program: Program, backend: str, name: str) -> bool:
    parts = program.accesses(backend).get(name, {}).values()
    return any(how.kind == "data" for part in parts for how in part.values())


def _check(record: Record) -> None:
    """Refuse posteriors without their program and data.

    Raises
    ------
    InferenceError
    """
    record.needs_program("as_prior")
    if record.target is None:
        want = "a posterior with its program and the data that were fitted"
        raise InferenceError(
            explain(
                "as_prior", want, "one without the data", "load it with er.load(path, program=model(data))"
            )
        )

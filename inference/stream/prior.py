"""A posterior as the prior of what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ppl.errors import InferenceError, UnsupportedError, explain
from ...ppl.model import Program
from ..posterior.predict import fitted_counts, fitted_labels
from ..posterior.record import Record
from ..thresholds import RESERVOIR
from .carrying import ARGUMENT, beside, carrying, plain
from .coordinates import carried
from .rows import Kept, Seen, along_rows, fingerprints, hashed
from .state import Stream
from .told import Carried, Told


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

    @property
    def limit(self) -> tuple[str, str]:
        """The best verdict that a posterior with this prior may have, and why."""
        return self.stream.allowed, f"after {self.stream.num_updates} updates, {self.stream.words}"

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
        made = beside(self.stream.model, own, self.stream.told.packed(), self.labels, counts)
        made.carried = self
        return made

    def seen(self, keys: Any) -> np.ndarray:
        """Which keys are those of rows that have been counted, shape ``(N,)``."""
        return np.isin(hashed(keys), self.stream.seen.keys)

    def __repr__(self) -> str:
        stream = self.stream
        rows = f"{stream.kept.count:,} rows" if stream.kept.count else "all rows so far"
        return f"<prior of {', '.join(s.name for s in stream.told.sites)} after {rows}: {stream.words}>"


def prior_of(record: Record, forget: float = 1.0) -> Prior:
    """See `Posterior.as_prior`."""
    if isinstance(forget, bool) or not isinstance(forget, (int, float)) or not 0 < forget <= 1:
        raise InferenceError(
            explain("forget", "a number above 0, up to 1", repr(forget), "1 forgets nothing")
        )
    stream = stream_of(record).faded_by(float(forget))
    return Prior(stream, fitted_labels(record), fitted_counts(record))


def stream_of(record: Record) -> Stream:
    """Where the stream of a posterior stands: that of its updates, or one that begins with it."""
    if record.stream is not None:
        return record.stream
    record.needs_program("as_prior")
    _check(record)
    before = record.program.carried
    if before is not None:
        return added(before.stream, record, None, None)
    values = latent_values(record)
    sites = tuple(Carried(s.name, s.constraint) for s in record.latents)
    told = Told.nothing(sites, values)
    model = carrying(record.program.model, sites, told.dim)
    return added(Stream(told, model, Kept(RESERVOIR), Seen(), num_updates=-1), record, None, None)


def added(stream: Stream, record: Record, keys: Any, when: float | None) -> Stream:
    """A stream with the rows of a posterior that was fitted with it as its prior."""
    _check(record)
    program, backend = record.program, record.backend
    told, left = stream.told.heard(latent_values(record), log_likelihood(record))
    labels, count = along_rows(program, backend)
    own = None if keys is None else hashed(keys, count or None)
    rows = fingerprints(program, labels, count) if labels else np.zeros(0, np.uint64)
    found = stream.heard(told, left, record.judgement)
    return replace(
        found,
        kept=stream.kept.with_rows(program, labels, count),
        seen=stream.seen.with_batch(plain(program).data_fingerprint, own, rows),
        num_updates=stream.num_updates + 1,
        when=when if when is not None else stream.when,
    )


def latent_values(record: Record) -> dict[str, np.ndarray]:
    """Draws of the latent sites, in double precision."""
    return {s.name: np.asarray(record.values[s.name], np.float64) for s in record.latents}


def log_likelihood(record: Record) -> np.ndarray:
    """Of the rows of a posterior's own program, at its draws, shape ``(S,)``: outcomes, and factors that read data."""
    target = record.target
    found = target.log_density(record.z)["log_likelihood"]
    factors = [s.name for s in target.trace.by_role("factor") if s.name != ARGUMENT]
    reading = [name for name in factors if _reads(record.program, record.backend, name)]
    if reading:
        terms = target.terms(record.z)
        found = found + sum(terms[name].sum(1) for name in reading)
    return found


def _reads(program: Program, backend: str, name: str) -> bool:
    parts = program.accesses(backend).get(name, {}).values()
    return any(how.kind == "data" for part in parts for how in part.values())


def _check(record: Record) -> None:
    """Refuse posteriors whose likelihood is not carried on.

    Raises
    ------
    InferenceError, UnsupportedError
    """
    if record.target is None:
        want = "a posterior with its program and the data that were fitted"
        raise InferenceError(
            explain(
                "as_prior", want, "one without the data", "load it with er.load(path, program=model(data))"
            )
        )
    trace = record.target.trace
    local = set(record.settings.get("local", ()))
    hurdles = (
        (sorted(trace.weights), "a model without learned arrays", "give them priors"),
        (sorted(local), "a model whose parameters are shared by all rows", "fit all rows at once"),
        (sorted(trace.missing), "outcomes without missing values", "drop those rows"),
        (
            [s.name for s in record.latents if not carried(s.constraint)],
            "supports with fixed bounds, and no whole matrices",
            "fit all rows at once",
        ),
    )
    for names, want, remedy in hurdles:
        if names:
            raise UnsupportedError(explain("as_prior", want, f"{names}", remedy))

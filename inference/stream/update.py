"""The next batch of a stream: its posterior, and what the chain of updates may have cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...ppl.errors import DataError, InferenceError, explain
from ...ppl.model import Program
from ..evidence.finding import Finding, Findings
from ..evidence.verdicts import EARLIER
from ..fit import fit
from ..posterior.posterior import Posterior, record_of
from ..posterior.record import Record
from ..thresholds import MEAN, SEEN_BEFORE
from .carrying import plain
from .prior import MOVED_AWAY, Prior, added, middle, prior_of, stream_of
from .rows import Kept, along_rows, fingerprints, hashed
from .state import Stream


def updated(
    record: Record,
    program: Program,
    forget: float,
    keys: Any,
    when: float | None,
    keep: int | None,
    options: Mapping[str, Any],
) -> Posterior:
    """See `Posterior.update`."""
    before = _kept_to(stream_of(record), keep)
    weight = _weight(before, forget, when)
    prior = prior_of(replace(record, stream=before), weight)
    bound = prior.onto(program)
    findings = _counted_once(before, bound, record.backend, keys)
    asked = {"backend": record.backend, "progress": False, **options}
    found = record_of(fit(bound, start=_start(record, bound), **asked))
    stream = added(prior.stream, found, keys, when)
    found = replace(found, program=_for_use(bound))
    limit = prior.limit(found.values)
    moved = limit[1].endswith(MOVED_AWAY)
    due = moved or prior.stream.due(stream.kept.count)
    if due and stream.kept.whole and not stream.faded:
        return _audited(stream, found, findings, asked)
    findings.append(_told(prior, limit, due))
    return Posterior(replace(found, stream=stream, findings=Findings([*found.findings, *findings])))


def _audited(stream: Stream, found: Record, findings: list[Finding], asked: Mapping[str, Any]) -> Posterior:
    """All rows fitted together, where they are kept: the chain begins anew there."""
    program = found.program
    _, batch = along_rows(program, found.backend)
    whole = record_of(fit(stream.kept.program(program, batch), **asked))
    far = distance(found, whole)
    agreed = far <= MEAN
    anew = stream_of(whole)
    stream = replace(
        stream,
        told=anew.told,
        since=anew.since,
        drift=anew.drift,
        worst=anew.worst,
        agreed=agreed,
        fitted=anew.kept.count,
    )
    words = (
        f"All {stream.kept.count:,} rows were fitted together, which is this posterior: the chain of updates was off by at "
        f"most {far:.2f} sd" + ("." if agreed else ", and begins anew from here.")
    )
    verdict = "ok" if agreed else "caution"
    findings.append(Finding("stream", "fit", far, MEAN, verdict, words))
    return Posterior(replace(whole, stream=stream, findings=Findings([*whole.findings, *findings])))


def distance(one: Record, other: Record) -> float:
    """Largest difference of means in sds, or of log sds, over the judged quantities of `other`."""
    mine = {label: i for i, label in enumerate(one.table["label"])}
    worst = 0.0
    for j in other.judged:
        i, sd = mine.get(other.table["label"][j]), float(other.table["sd"][j])
        if i is None or not sd > 0:
            continue
        shift, own = (
            abs(float(one.table["mean"][i]) - float(other.table["mean"][j])) / sd,
            float(one.table["sd"][i]),
        )
        spread = abs(math.log(own / sd)) if 0 < own < math.inf else math.inf
        worst = max(worst, shift if math.isfinite(shift) else math.inf, spread)
    return worst


def _told(prior: Prior, limit: tuple[str, str], due: bool) -> Finding:
    """What the chain of updates has cost, and whether all rows should be fitted together."""
    verdict, words = limit[0], limit[1].removeprefix(f"{EARLIER}: ")
    if prior.stream.faded:
        words = (
            f"{words[0].upper()}{words[1:]}. Earlier rows count less: the posterior is that of weighted rows."
        )
    elif due:
        kept = prior.stream.kept
        words = f"A full refit is due: {words}, and no more than {kept.limit:,} rows are kept. Fit all rows, and go on from there."
    else:
        words = f"{words[0].upper()}{words[1:]}."
    return Finding(
        "stream", "fit", prior.stream.drift, MEAN, "ok" if verdict == "trusted" else verdict, words
    )


def _counted_once(stream: Stream, program: Program, backend: str, keys: Any) -> list[Finding]:
    """Refuse rows that have been counted; a finding where their contents have come before.

    Raises
    ------
    DataError
    """
    labels, count = along_rows(program, backend)
    own = None if keys is None else hashed(keys, count or None)
    stream.seen.refuse(plain(program).data_fingerprint, own)
    if keys is not None or not labels:
        return []
    share = stream.seen.share(fingerprints(program, labels, count))
    if share <= SEEN_BEFORE:
        return []
    words = (
        f"{share:.0%} of these rows have come before, to the last digit, and no two of one batch are alike: they are counted "
        "twice. Pass keys=, a column that names the rows, and repeated ones are refused."
    )
    return [Finding("rows seen before", "data", share, SEEN_BEFORE, "caution", words)]


def _weight(stream: Stream, forget: float, when: float | None) -> float:
    """What rows so far count for: by update, or by the time that has passed.

    Raises
    ------
    DataError, InferenceError
    """
    if isinstance(forget, bool) or not isinstance(forget, (int, float)) or not 0 < forget <= 1:
        raise InferenceError(
            explain("forget", "a number above 0, up to 1", repr(forget), "1 forgets nothing")
        )
    if when is None or stream.when is None or forget == 1:
        return float(forget)
    passed = float(when) - stream.when
    if passed < 0:
        want = f"rows no older than the last batch's, of time {stream.when:g}, where older rows count less"
        raise DataError(
            explain("when", want, f"{when:g}", "leave late rows out, or forget nothing: forget=1")
        )
    return float(forget) ** passed


def _kept_to(stream: Stream, keep: int | None) -> Stream:
    """With another limit on the rows that are kept.

    Raises
    ------
    InferenceError
    """
    if keep is None or keep == stream.kept.limit:
        return stream
    if isinstance(keep, bool) or not isinstance(keep, (int, np.integer)) or keep < 0:
        raise InferenceError(explain("keep", "a number of rows, 0 or more", repr(keep), "correct it"))
    kept = replace(stream.kept, limit=int(keep))
    return replace(stream, kept=kept if kept.count <= keep else Kept(int(keep), kept.count))


def _for_use(bound: Program) -> Program:
    """The user's own program of the same rows and groups, for predictions; what is carried on still caps its verdicts."""
    program = plain(bound)
    program.carried = bound.carried
    return program


def _start(record: Record, program: Program) -> dict[str, np.ndarray] | None:
    """The draw nearest to the middle of the posterior so far; None where a site has another shape now."""
    trace = program.trace(record.backend)
    if any(record.values[s.name].shape[1:] != s.shape for s in trace.latents if s.name in record.values):
        return None
    found = middle(record)
    return {s.name: found[s.name] for s in trace.latents}

"""`Tracker`: who is told of fits, and keeps it in one or several places."""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...inference.evidence.finding import Finding
from ...inference.posterior.groups import version
from ...inference.posterior.posterior import Posterior
from ...inference.posterior.record import framed
from ...inference.run.trail import Rung
from ...ppl import files
from ...ppl.errors import DataError, explain, in_short
from ..extras import library
from ..ledger import now
from ..naming import bare
from ..thresholds import TRACKED_EACH, TRACKED_NAME, TRACKED_ROWS, TRACKER_SECONDS
from . import MIRRORS
from .delivery import Delivery

KINDS = {mirror.scheme: mirror for mirror in MIRRORS}
SCHEME = re.compile(r"([a-z]{2,}):(?!\\)(.*)", re.DOTALL)  # a drive's letter is none


class Tracker:
    """Keeps the course of fits, their settings, verdicts, findings and costs.

    A tracker never changes a fit, and never ends one: whatever becomes of it is a finding of the posterior, named *tracker*.

    Parameters
    ----------
    *places : str or path
        A folder: each run has one below it, with lines of JSON (``events.jsonl``, fields in `elboroom.operations.logs.FIELDS`), its
        trail and its summary. Or ``"mlflow:URL"``, ``"wandb:PROJECT"``, ``"tensorboard:FOLDER"``, ``"tracing:"`` (spans of OpenTelemetry, for
        the program's own provider). Several are told at once.
    report : bool
        Make the report of each posterior too, and keep it as a file: some seconds.

    Raises
    ------
    DataError, MissingBackendError
        For a place of no known kind, or one whose library is not installed.

    Notes
    -----
    Steps are told at a rate that falls with their number, so that a long course has about a hundred for each doubling. What is told goes
    its way in threads; the end of a fit waits for them, three seconds at most.

    Examples
    --------
    >>> import tempfile, elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> runs = tempfile.TemporaryDirectory()
    >>> posterior = er.fit(level([1.0, 2.0, 3.0]), track=er.Tracker(runs.name), progress=False)
    >>> sorted(path.name for path in Path(runs.name).glob("level-*/*"))
    ['events.jsonl', 'summary.csv', 'trail.csv']
    >>> runs.cleanup()
    """

    def __init__(self, *places: Any, report: bool = False):
        if not places:
            raise DataError(explain("er.Tracker", "a place, such as 'runs'", "none", "name a folder"))
        found = [_place(place) for place in places]
        self._places = {shown: (mirror, rest) for shown, mirror, rest in found}  # each is told once
        self._report = report

    def begun(self, kind: str, name: str, settings: Mapping[str, Any]) -> Told:
        """See `elboroom.inference.run.track.Track`."""
        stem = re.sub(r"[^\w.-]+", "_", name)[:TRACKED_NAME]
        run = f"{stem}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        deliveries = [Delivery(shown, mirror(rest, run)) for shown, (mirror, rest) in self._places.items()]
        told = Told(run, deliveries, self._report)
        told.tell("begin", kind=kind, model=name, settings=dict(settings), version=version())
        return told


class Told:
    """One run.

    Parameters
    ----------
    run : str
        Its name.
    deliveries : list of Delivery
        Where it is kept.
    report : bool
        Whether the report is made.
    """

    def __init__(self, run: str, deliveries: list[Delivery], report: bool):
        self.run, self._deliveries, self._report = run, deliveries, report
        self._begin = time.perf_counter()
        self._counts: Counter[str] = Counter()
        self._held: dict[str, Any] | None = None

    def tell(self, event: str, **values: Any) -> None:
        """Put an event on its way to all places."""
        if event != "step":
            self._release()
        self._send({"time": now(), "event": event, "run": self.run, **values})

    def _send(self, event: dict[str, Any]) -> None:
        for delivery in self._deliveries:
            delivery.tell(event)

    def _release(self) -> None:
        """The last step of a stage is told in any case."""
        if self._held is not None:
            held, self._held = self._held, None
            self._send(held)

    def begun(self, kind: str, name: str, settings: Mapping[str, Any]) -> Part:
        """A part of this run."""
        return Part(self)

    def step(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """See `Track.step`."""
        if self._held is not None and self._held["stage"] != stage:
            self._release()
        self._counts[stage] += 1
        own = {name: float(value) for name, value in values.items()}
        event = {
            "time": now(),
            "event": "step",
            "run": self.run,
            "stage": stage,
            "step": step,
            "values": own,
        }
        if due(self._counts[stage]):
            self._held = None
            self._send(event)
        else:
            self._held = event

    def line(self, rung: Rung) -> None:
        """See `Track.line`."""
        self.tell("line", rung=asdict(rung))

    def rested(self) -> tuple[Finding, ...]:
        """See `Track.rested`."""
        self.tell("rest")
        return self._waited()

    def ended(self, record: Any) -> tuple[Finding, ...]:
        """See `Track.ended`."""
        found = []
        try:
            kept, troubles = self._kept(record)
            found += troubles
            self.tell("end", **kept)
        except Exception as error:  # a tracker ends no fit
            found.append(_trouble(self.run, f"what came of it could not be told ({in_short(error)})", None))
        return (*found, *self._waited())

    def failed(self, error: BaseException) -> None:
        """See `Track.failed`."""
        self.tell("fail", error=in_short(error), seconds=self._seconds)
        self._waited()

    @property
    def _seconds(self) -> float:
        return round(time.perf_counter() - self._begin, 3)

    def _kept(self, record: Any) -> tuple[dict[str, Any], list[Finding]]:
        """What came of a fit, with files as text; and what went wrong with the report."""
        seconds, troubles = self._seconds, []
        texts = {
            "trail.csv": record.trail.to_frame().to_csv(index=False),
            "summary.csv": framed(record.table).head(TRACKED_ROWS).to_csv(),
        }
        if self._report:
            try:
                texts |= _report(record)
            except Exception as error:  # a report ends no fit
                troubles.append(_trouble(self.run, f"the report could not be made ({in_short(error)})", None))
        kept = {
            "verdict": record.verdict,
            "khat": float(record.khat),
            "counts": record.counts,
            "findings": [finding.as_dict() for finding in record.findings],
            "cost": asdict(record.cost),
            "seconds": seconds,
            "files": texts,
        }
        return kept, troubles

    def _waited(self) -> tuple[Finding, ...]:
        """What has not arrived after a little while, place by place."""
        deadline, found = time.perf_counter() + TRACKER_SECONDS, []
        for delivery in self._deliveries:
            there = delivery.arrived(deadline - time.perf_counter())
            lost = delivery.lost
            if there and not lost:
                continue
            why = delivery.error or (
                "no answer within the time that a fit waits" if not there else "too many events"
            )
            found.append(_trouble(delivery.name, why, lost or None))
        return tuple(found)


class Part:
    """A part of a run: refinement within a fit. It ends with the whole."""

    def __init__(self, whole: Told):
        self._whole = whole

    def begun(self, kind: str, name: str, settings: Mapping[str, Any]) -> Part:
        """See `Track.begun`."""
        return self

    def step(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """See `Track.step`."""
        self._whole.step(stage, step, values)

    def line(self, rung: Rung) -> None:
        """See `Track.line`."""
        self._whole.line(rung)

    def rested(self) -> tuple[Finding, ...]:
        """See `Track.rested`."""
        return ()

    def ended(self, record: Any) -> tuple[Finding, ...]:
        """See `Track.ended`."""
        return ()

    def failed(self, error: BaseException) -> None:
        """See `Track.failed`."""


def due(count: int) -> bool:
    """Whether the step of this number is told: about a hundred for each doubling.

    Examples
    --------
    >>> sum(due(count) for count in range(1, 1_000_001))
    1422
    """
    return count % max(1, 2 ** ((count // TRACKED_EACH).bit_length() - 1)) == 0


def _place(place: Any) -> tuple[str, Any, str]:
    """How a place is shown, its kind, and the rest of its name."""
    found = SCHEME.fullmatch(place) if isinstance(place, str) else None
    scheme, rest = found.groups() if found else ("", place)
    if scheme not in KINDS:
        known = ", ".join(f"'{name}:…'" for name in KINDS if name)
        raise DataError(explain("er.Tracker", f"a folder, or {known}", repr(place), "correct it"))
    mirror = KINDS[scheme]
    if mirror.needs:
        library(mirror.needs, mirror.extra, f"er.Tracker '{scheme}:'")  # now, so that no fit waits for it
    if not scheme:
        rest = files.place(rest, "er.Tracker")  # where it is now, whatever folder a program goes to
    mirror(rest, "")  # refuses what is no place
    return bare(f"{scheme}:{rest}" if scheme else str(rest)), mirror, rest


def _report(record: Any) -> dict[str, str]:
    """The report's two files, as text."""
    with tempfile.TemporaryDirectory() as folder:
        Posterior(record).report(Path(folder) / "report")
        return {
            path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).rglob("report*.*"))
        }


def _trouble(place: str, why: str, lost: int | None) -> Finding:
    words = f"{place} was not told all of it: {why}. The fit is what it would be without: see that the place can be reached and has room."
    return Finding("tracker", place, None if lost is None else float(lost), 0.0, "ok", words)

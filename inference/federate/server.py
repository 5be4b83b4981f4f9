"""The server's side: sites are met, asked in sweeps until nothing moves, and what they have said becomes a posterior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...ppl.errors import DataError, InferenceError, explain
from ...ppl.model import Program
from ..evidence.finding import Findings
from ..fit import fit
from ..posterior.posterior import Posterior, record_of
from ..posterior.record import Record
from ..stream.carrying import beside, carrying
from ..stream.prior import latent_values, middle
from ..stream.rows import Kept, Seen
from ..stream.state import Stream
from ..stream.told import Carried, Frame, Shared, Told, placed
from ..stream.update import distance
from ..thresholds import MOST_LATE, MOST_SWEEPS, MOVED_LAST, RESERVOIR
from .hushed import Declared, hushed, made_up, unlabelled
from .levels import agreed
from .messages import Lost, Met, Reply, Task, parts_of, read, to_bytes, told_of
from .site import Beside
from .suspicion import absurd, conflicts, introduction, refusal
from .tally import Tally
from .transport import Transport
from .verdict import Cost

TOGETHER, IN_TURN, AS_THEY_COME = "together", "in turn", "as they come"
SCHEDULES = (TOGETHER, IN_TURN, AS_THEY_COME)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a federation was asked for.

    Attributes
    ----------
    program : Program
        Of the server: the model with rows that are made up.
    backend : str
    schedule : str
        One of `SCHEDULES`.
    least : int
        Sites without which there is no posterior.
    seconds : float or None
        That a sweep waits for replies.
    options : mapping
        Of `elboroom.fit`, here and at the sites.
    """

    program: Program
    backend: str
    schedule: str
    least: int
    seconds: float | None
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Server:
    """A model without rows, and the way to its sites."""

    asked: Asked
    transport: Transport
    labels: Mapping[str, tuple]
    counts: Mapping[str, int]

    @cached_property
    def program(self) -> Program:
        """The model with the groups of all sites."""
        own = self.asked.program
        return own.altered(labels=self.labels, level_counts={**own.level_counts, **self.counts})

    @cached_property
    def declared(self) -> Declared:
        """The prior that was declared."""
        return Declared.of(self.program, self.asked.backend)

    @property
    def nothing(self) -> Told:
        """Nothing said."""
        return self.declared.nothing

    @property
    def sites(self) -> tuple[Carried, ...]:
        """What all rows share."""
        return self.nothing.sites

    @cached_property
    def _without_data(self) -> tuple[Program, Any]:
        """The prior, and the model that carries what sites have said beside it."""
        own = hushed(self.program, self.asked.backend)
        return own, carrying(own.model, Shared(self.sites, self.nothing.dim))

    # -- one posterior ---------------------------------------------------------------------------------------

    def whole(self, tally: Tally, before: Record | None, limit: Any, **more: Any) -> Record:
        """The posterior of what all sites have said."""
        own, model = self._without_data
        bound = beside(model, own, tally.total.packed(), own.labels, own.level_counts)
        bound.carried = limit
        options = {**self.asked.options, "backend": self.asked.backend, "progress": False, **more}
        return record_of(fit(bound, start=None if before is None else middle(before), **options))

    # -- sweeps ----------------------------------------------------------------------------------------------

    def sweep(self, tally: Tally, before: Record | None) -> Tally:
        """Every site asked once, or as long as some reply is awaited."""
        tally = replace(tally, sweep=tally.sweep + 1)
        waiting = set(tally.live)
        while waiting:
            together = self.asked.schedule != IN_TURN
            names = [n for n in tally.idle if n in waiting][: None if together else 1]
            tally, heard = self._asked(tally, names, before)
            waiting &= set(tally.live) - heard - (set(names) if not together else set())
            if self.asked.schedule == TOGETHER or not (heard or names):
                break
        tally = _without_absurd(tally)
        late = [n for n, (_, sent) in tally.flying.items() if tally.sweep - sent >= MOST_LATE]
        for name in late:
            tally = tally.without(name, f"no reply within {MOST_LATE} sweeps")
        return self.enough(tally)

    def _asked(self, tally: Tally, names: list[str], before: Record | None) -> tuple[Tally, set[str]]:
        """After some tasks were sent and what has come was taken; who has been heard."""
        tasks, asked = {}, tally
        for name in names:
            asked = asked.sent(name)
            tasks[name] = to_bytes(self._task(tally, name, asked.number, before))
        tally = asked
        least = len(tally.flying) if self.asked.schedule == TOGETHER else min(1, len(tally.flying))
        heard = set()
        for name, reply in sorted(self.transport.ask(tasks, least, self.asked.seconds), key=lambda r: r[0]):
            tally = self._taken(tally, name, reply)
            heard.add(name)
        return tally, heard

    def _task(self, tally: Tally, name: str, number: int, before: Record | None) -> Task:
        start = {} if before is None else middle(before)
        others = tally.others(name)
        told = {} if others is tally.nothing else parts_of(others)
        return Task(number, self.labels, self.counts, told, start, self.asked.options)

    def _taken(self, tally: Tally, name: str, reply: bytes | Lost) -> Tally:
        if name not in tally.met or name in tally.out:
            return tally
        if isinstance(reply, Lost):
            return tally.struck(name, reply.why)
        try:
            found = read(reply, Reply)
        except DataError as error:
            return tally.struck(name, str(error).rstrip("."))
        why = refusal(found, name, tally, self.declared)
        if why is not None:
            return tally.struck(name, why)
        return tally.told(name, told_of(self.sites, found.factor), found.evidence)

    def enough(self, tally: Tally) -> Tally:
        """The same, where there are sites enough.

        Raises
        ------
        InferenceError
        """
        if len(tally.live) >= self.asked.least:
            return tally
        why = "; ".join(f"'{name}': {words}" for name, words in sorted(tally.out.items()))
        raise InferenceError(
            explain(
                "er.federate",
                f"at least {self.asked.least} sites (least=)",
                f"{len(tally.live)} of {len(tally.met)}" + (f" ({why})" if why else ""),
                "bring them back, and call it again: what sites have is as it was",
            )
        )


def _without_absurd(tally: Tally) -> Tally:
    for name, why in absurd(tally).items():
        tally = tally.without(name, why)
    return tally


def introduced(replies: Iterable[tuple[str, bytes | Lost]]) -> tuple[dict[str, Met], dict[str, str]]:
    """Sites that have introduced themselves, and those that could not and why."""
    met: dict[str, Met] = {}
    out: dict[str, str] = {}
    for name, reply in sorted(replies, key=lambda r: r[0]):
        if isinstance(reply, Lost):
            out[name] = reply.why
            continue
        try:
            found = read(reply, Met)
            why = introduction(found, met) or (None if found.site == name else "another name than its own")
        except DataError as error:
            why = str(error)
        except (TypeError, AttributeError):
            why = "an introduction whose parts are of other kinds than they should be"
        if why is not None:
            out[name] = why
        else:
            met[name] = found
    return met, out


def begun(asked: Asked, transport: Transport) -> tuple[Server, Tally]:
    """A server that has met its sites."""
    met, out = introduced(transport.ask({"": to_bytes(Task(0))}, asked.least, asked.seconds))
    labels, counts = agreed({k: m.labels for k, m in met.items()}, {k: m.counts for k, m in met.items()})
    server = Server(asked, transport, labels, counts)
    return server, server.enough(Tally(server.nothing, met, out=out))


def joined(asked: Asked, transport: Transport) -> Posterior:
    """The posterior of all sites, see `federate`."""
    server, tally = begun(asked, transport)
    record: Record | None = None
    last = np.inf
    while tally.sweep < MOST_SWEEPS:
        tally = server.sweep(tally, record)
        if not tally.held:
            continue
        found = server.whole(tally, record, Beside(), refine=False)
        moved = np.inf if record is None else distance(record, found)
        record = found
        if moved > last:
            tally = replace(tally, rate=max(tally.rate / 2, 1 / len(tally.held)))
        last = 0.0 if tally.exact else moved
        if last <= MOVED_LAST and tally.whole:
            break
    assert record is not None  # sites that say nothing are out before
    return _concluded(server, tally, record, last)


def _concluded(server: Server, tally: Tally, record: Record, last: float) -> Posterior:
    cost = Cost(tally, last, conflicts(tally, latent_values(record)) if len(tally.held) > 1 else {})
    found = server.whole(tally, record, cost)
    program = unlabelled(made_up(server.program, server.asked.backend), server.asked.backend)
    program.carried = cost
    findings = Findings([*found.findings, *cost.findings()])
    return Posterior(replace(found, program=program, stream=_stream(server, cost, found), findings=findings))


def _stream(server: Server, cost: Cost, record: Record) -> Stream:
    """What goes on where a posterior of sites is updated."""
    told, rows = cost.tally.total, cost.tally.rows
    if cost.left:
        x = placed(server.sites, latent_values(record), 1)[0]
        told = replace(told, places=(Frame.of((x - told.centre) / told.scale),))
    model = carrying(server.program.model, told.form())
    return Stream(told, model, Kept(RESERVOIR, rows), Seen(), drift=cost.left, worst=record.judgement)

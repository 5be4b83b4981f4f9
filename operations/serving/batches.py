"""Requests that are computed together: by rows, within a latency budget, one call at a time."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .columns import Rows
from .refusals import Refused

LOG = logging.getLogger("elboroom.serving")


@dataclass(eq=False)
class Job:
    """Rows of one request that wait for a call.

    Attributes
    ----------
    run : callable
        Takes `Rows` and gives an answer for each; jobs of the same one go together.
    rows : Rows
    future : asyncio.Future
        Of the event loop that waits.
    """

    run: Callable[[Rows], Sequence[Any]]
    rows: Rows
    future: asyncio.Future
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """A thread that computes what waits.

    Parameters
    ----------
    most_rows : int
        Rows of one call.
    wait : float
        Seconds that a request waits for others at the most: only where others have come together with the last one.
    most_waiting : int
        Rows that may wait; more are refused.
    together : bool
        Whether requests share calls.
    """

    def __init__(self, most_rows: int, wait: float, most_waiting: int, together: bool = True):
        self._most_rows, self._wait, self._most_waiting = most_rows, wait, most_waiting
        self._together = together
        self._jobs: deque[Job] = deque()
        self._rows = 0
        self._changed = threading.Condition()
        self._closed = False
        self._usual = 1  # requests of the call before: so many come together
        self._rate = 0.0  # rows a second, lately
        self.busy_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="elboroom-batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return self._rows

    def late(self, seconds: float) -> bool:
        """Whether what waits takes longer than that, at the rate of late."""
        return self._rate > 0 and self._rows / self._rate > seconds

    def submit(self, run: Callable[[Rows], Sequence[Any]], rows: Rows) -> asyncio.Future:
        """A future of the answers, one a row, in the event loop that runs.

        Raises
        ------
        Refused
            429 where too many rows wait, 503 once it is closed.
        """
        job = Job(run, rows, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._closed:
                raise Refused(503, "ending", "the service is ending.", {"Retry-After": "1"})
            if self._rows and self._rows + rows.count > self._most_waiting:
                seconds = math.ceil(self._rows / self._rate) if self._rate > 0 else 1
                words = f"{self._rows} rows wait already: send this again in {seconds} s."
                raise Refused(429, "too many requests", words, {"Retry-After": str(max(1, min(seconds, 60)))})
            self._jobs.append(job)
            self._rows += rows.count
            if (
                len(self._jobs) in (1, self._usual) or self._rows >= self._most_rows
            ):  # others need not wake it
                self._changed.notify()
        return job.future

    def close(self, seconds: float) -> None:
        """Take nothing more, compute what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    # -- the thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            jobs = self._next()
            if jobs is None:
                return
            self.busy_since = time.monotonic()
            try:
                found = _computed(jobs)
            finally:
                spent, self.busy_since = time.monotonic() - self.busy_since, None
            self._rate = 0.8 * self._rate + 0.2 * sum(j.rows.count for j in jobs) / max(spent, 1e-6)
            _deliver(found)

    def _next(self) -> list[Job] | None:
        """The jobs of the next call, once there are any; None at the end."""
        with self._changed:
            while not self._jobs:
                if self._closed:
                    return None
                self._changed.wait()
            if self._together:
                self._linger()
            return self._taken()

    def _linger(self) -> None:
        """Wait for as many requests as came together before, a little while."""
        until = self._jobs[0].since + self._wait
        while len(self._jobs) < self._usual and self._rows < self._most_rows and not self._closed:
            left = until - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                break

    def _taken(self) -> list[Job]:
        first = self._jobs.popleft()
        jobs, rows = [first], first.rows.count
        while self._together and self._jobs and self._jobs[0].run == first.run:
            if rows + self._jobs[0].rows.count > self._most_rows:
                break
            job = self._jobs.popleft()
            jobs.append(job)
            rows += job.rows.count
        self._rows -= rows
        self._usual = len(jobs)
        return [job for job in jobs if not job.future.cancelled()]


def _computed(jobs: list[Job]) -> list[tuple[Job, Any]]:
    """What each job is answered: its rows, or an error."""
    if not jobs:
        return []
    try:
        answers = jobs[0].run(Rows.joined([job.rows for job in jobs]))
    except Exception as error:
        if len(jobs) > 1:  # none fails for what came with it
            return [one for job in jobs for one in _computed([job])]
        LOG.exception("a call failed")
        return [(jobs[0], error)]
    out, start = [], 0
    for job in jobs:
        out.append((job, answers[start : start + job.rows.count]))
        start += job.rows.count
    return out


def _deliver(found: list[tuple[Job, Any]]) -> None:
    """Hand answers to the loops that wait, each once."""
    for loop in {job.future.get_loop() for job, _ in found}:
        own = [(job.future, answer) for job, answer in found if job.future.get_loop() is loop]
        try:
            loop.call_soon_threadsafe(_settle, own)
        except RuntimeError:  # the loop has ended, nobody waits
            continue


def _settle(pairs: list[tuple[asyncio.Future, Any]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

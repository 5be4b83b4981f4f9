"""Events on their way to a place: a thread of its own, so that nothing waits for it but the end of a fit, and that not for long."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from ...ppl.errors import in_short
from ..thresholds import TRACKER_EVENTS, TRACKER_PAUSE, TRACKER_TRIES


class Mirror(Protocol):
    """A place where events are kept; made in the thread of the fit, written to in another.

    Attributes
    ----------
    scheme : str
        What its name begins with.
    needs, extra : str
        Library that it needs, and the extra that installs it.
    """

    scheme: str
    needs: str
    extra: str

    def write(self, events: Sequence[dict[str, Any]]) -> None:
        """Keep events, in order. Whatever it raises, it is called again with the same ones, a few times."""
        ...


class Delivery:
    """The way to one place.

    Parameters
    ----------
    name : str
        As it is shown.
    mirror : Mirror
    """

    def __init__(self, name: str, mirror: Mirror):
        self.name, self._mirror = name, mirror
        self._events: queue.Queue = queue.Queue(TRACKER_EVENTS)
        self._changed, self._hurry, self._under_way = threading.Condition(), threading.Event(), 0
        self.lost, self.error = 0, ""
        threading.Thread(target=self._run, name=f"elboroom {name}", daemon=True).start()

    def tell(self, event: dict[str, Any]) -> None:
        """Put an event on its way; never waits."""
        self._hurry.clear()
        with self._changed:
            self._under_way += 1
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._done(1, lost=1)

    def arrived(self, seconds: float) -> bool:
        """Whether nothing is on its way any more, within so many seconds."""
        self._hurry.set()
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, max(seconds, 0.0))

    def _run(self) -> None:
        failures, events = 0, self._next()
        while failures < TRACKER_TRIES:
            try:
                self._mirror.write(events)
            except Exception as error:  # of whatever library: it must not reach the fit
                failures, self.error = failures + 1, in_short(error)
                time.sleep(TRACKER_PAUSE)
                continue
            failures, self.error = 0, ""
            self._done(len(events))
            events = self._next()
        while True:  # nothing more is kept of what it is told
            self._done(len(events), lost=len(events))
            events = self._next()

    def _done(self, count: int, lost: int = 0) -> None:
        with self._changed:
            self._under_way -= count
            self.lost += lost
            self._changed.notify_all()

    def _next(self) -> list[dict[str, Any]]:
        """What is waiting, together; waits for the first."""
        found = [self._events.get()]
        if found[0]["event"] == "step":
            self._hurry.wait(TRACKER_PAUSE)
        while not self._events.empty():
            found.append(self._events.get())
        return found

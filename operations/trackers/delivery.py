"""Events on their way to a place: in a thread of their own, so that nothing waits for it but the end of a fit, and that not for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from ...ppl.errors import in_short
from ..naming import bare
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

    def write(self, events: Sequence[dict[str, Any]]) -> int:
        """Keep the first of some events, all or none of them; how many. Whatever it raises, it is called again, a few times."""
        ...


class Delivery:
    """The way to one place. Its thread lives while there is something on the way.

    Parameters
    ----------
    name : str
        As it is shown.
    mirror : Mirror
    """

    def __init__(self, name: str, mirror: Mirror):
        self.name, self._mirror = name, mirror
        self._events: list[dict[str, Any]] = []
        self._changed, self._hurry = threading.Condition(), threading.Event()
        self._busy, self._gave_up, self._kept, self._in_vain = False, False, 0, -1
        self.lost, self.error = 0, ""

    def tell(self, event: dict[str, Any]) -> None:
        """Put an event on its way; never waits."""
        self._hurry.clear()
        with self._changed:
            if self._gave_up or len(self._events) >= TRACKER_EVENTS:
                self.lost += 1
                return
            self._events.append(event)
            if self._busy:
                return
            self._busy = True
        try:
            threading.Thread(target=self._run, name=f"elboroom {self.name}", daemon=True).start()
        except RuntimeError as error:  # there are too many
            self._give_up(error)

    def arrived(self, seconds: float) -> bool:
        """Whether nothing is on its way any more, within so many seconds; where nothing has moved since one waited in vain, at once."""
        self._hurry.set()
        with self._changed:
            seconds = 0.0 if self._in_vain == self._kept else max(seconds, 0.0)
            there = self._changed.wait_for(lambda: not self._busy, seconds)
            self._in_vain = -1 if there else self._kept
            return there

    def _run(self) -> None:
        failures = 0
        while not self._is_done():
            if self._events[0]["event"] == "step":  # more will follow, which go together
                self._hurry.wait(TRACKER_PAUSE)
            try:
                count = self._mirror.write(self._events)
            except Exception as error:  # of whatever library: it must not reach the fit
                failures, self.error = failures + 1, bare(in_short(error))
                if failures == TRACKER_TRIES:
                    self._give_up(error)
                    return
                time.sleep(TRACKER_PAUSE)
                continue
            failures, self.error = 0, ""
            with self._changed:
                del self._events[:count]
                self._kept += count

    def _is_done(self) -> bool:
        with self._changed:
            self._busy = bool(self._events)
            self._changed.notify_all()
            return not self._busy

    def _give_up(self, error: Exception) -> None:
        """Nothing more is kept of what it is told."""
        with self._changed:
            self.lost, self.error = self.lost + len(self._events), bare(in_short(error))
            self._events.clear()
            self._busy, self._gave_up = False, True
            self._changed.notify_all()

"""What a fit looks at while it runs: its deadline, its progress line, and the best state so far."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

from ...ppl.errors import InferenceError, explain
from ...ppl.interrupts import came
from ..thresholds import REDRAWN
from .track import Track
from .trail import Rung

logger = logging.getLogger("elboroom")


def check_seconds(seconds, positive: bool = True, name: str = "max_seconds") -> None:
    """Refuse what is no time limit.

    Raises
    ------
    InferenceError
    """
    number = isinstance(seconds, Real) and not isinstance(seconds, bool)
    if seconds is not None and not (number and (seconds > 0 or (seconds == 0 and not positive))):
        raise InferenceError(
            explain(name, "a positive number", repr(seconds)[:80], "correct it, or leave it out")
        )


class Watch:
    """Deadline and progress of one fit.

    Parameters
    ----------
    max_seconds : float or None
    progress : bool
        Show a line on a terminal or in Jupyter; nothing when piped.
    track : Track, optional
        Who is told what goes on.
    """

    def __init__(self, max_seconds: float | None = None, progress: bool = True, track: Track | None = None):
        self.begin = time.perf_counter()
        self.deadline = None if max_seconds is None else self.begin + max_seconds
        self.interrupted = False
        self._show = progress and _interactive()
        self._status: Any = None  # of rich, which is slow to import
        self._title = ""
        self._track, self._steps = track, Counter[str]()

    def stop(self) -> bool:
        """Whether to end what is running; called once per step."""
        return (
            self.interrupted or came() or (self.deadline is not None and time.perf_counter() > self.deadline)
        )

    @property
    def elapsed(self) -> float:
        """Seconds since the fit began."""
        return time.perf_counter() - self.begin

    @contextmanager
    def showing(self, title: str):
        """Show what is being done for the length of a block."""
        logger.info(title)
        self._title = title
        if not self._show:
            yield
            return
        from rich.console import Console

        if self._status is None:
            self._status = Console(stderr=True).status(title, refresh_per_second=4)
            self._status.start()
        self.tell("")
        yield

    def tell(self, words: str) -> None:
        """Show how far it is."""
        logger.debug("%s: %s", self._title, words)
        if self._status is not None:
            parts = [part for part in (self._title, words) if part]
            self._status.update(f"{'  '.join(parts)}  [dim]{self.elapsed:.0f} s[/dim]")

    def saw(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Tell who follows what was seen after a step of what is being done."""
        self._steps[self._title] += 1
        if self._track is not None:
            self._track.step(self._title, self._steps[self._title] if step is None else step, values)

    def noted(self, rung: Rung) -> None:
        """Tell who follows a line of the trail."""
        if self._track is not None:
            self._track.line(rung)

    def close(self) -> None:
        """Take the progress line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None


class Bar:
    """Progress of a known number of steps; cheap to tell at any rate.

    Parameters
    ----------
    total : int
    show : bool
        Show a bar on a terminal or in Jupyter; nothing when piped.
    """

    def __init__(self, total: int, show: bool = True):
        self._total, self._show = total, show and _interactive()
        self._bar: Any = None  # of rich, which is slow to import
        self._drawn = time.perf_counter()

    def tell(self, done: int, words: str = "") -> None:
        """So many steps are done."""
        now = time.perf_counter()
        if not self._show or now - self._drawn < REDRAWN:
            return
        self._drawn = now
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )
            console = Console(stderr=True)
            self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        self._bar.update(self._task, completed=done, description=words, refresh=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _interactive() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules

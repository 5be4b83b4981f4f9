"""``er.Triggers``: when a model is to be fitted again. It decides; the user's own scheduler runs.

Two thresholds keep it from wavering: drift has to be seen in several windows on end before it calls, and after it has called as
many calm windows have to pass before it may call again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...inference.evidence.finding import Finding
from ...ppl import files
from ...ppl.errors import InferenceError, explain
from ..asked import is_number
from ..kept import read_record, write_record
from ..thresholds import (
    CALM_WINDOWS,
    CONFIRMED_WINDOWS,
    DAY,
    FEWEST_NEW_ROWS,
    FULL_DAYS,
    INCREMENTAL_DAYS,
    LONGEST_BACK_OFF,
    REST_DAYS,
)
from .policies import EMERGENCY, FULL, INCREMENTAL, NAMES

FORMAT, WHAT = "elboroom-triggers/1", "state of triggers"


@dataclass(frozen=True)
class Due:
    """That a model is to be fitted again.

    Attributes
    ----------
    policy : {"incremental", "full", "emergency"}
    because : str
        Why.
    """

    policy: str
    because: str


@dataclass(frozen=True)
class State:
    """What has happened so far.

    Attributes
    ----------
    last : mapping of str to float
        When each policy was last run, in seconds since 1970.
    drifted, calm : int
        Windows on end in which rows had drifted, and had not.
    armed : bool
        Whether drift may call.
    failed : int
        Runs on end that failed.
    until : float
        Nothing is due before, after a failure.
    """

    last: Mapping[str, float] = field(default_factory=dict)
    drifted: int = 0
    calm: int = 0
    armed: bool = True
    failed: int = 0
    until: float = 0.0


class Triggers:
    """When a model is to be fitted again.

    Parameters
    ----------
    path : str or path, optional
        A JSON file that remembers between runs; without one this object does.
    incremental, full : float
        Days between updates with new rows, and between fits of all rows.
    rows : int
        New rows without which no update is due.
    confirm, calm : int
        Windows on end with drift before an emergency is due, and without before another may be.
    rest : float
        Days between two emergencies at the least.

    Examples
    --------
    >>> triggers = Triggers(incremental=7, full=30, confirm=2)
    >>> day = 86_400.0
    >>> triggers.due(now=0.0, new_rows=1000).policy
    'full'
    >>> triggers.done("full", now=0.0)
    >>> triggers.due(now=6 * day, new_rows=1000) is None, triggers.due(now=7 * day, new_rows=1000).policy
    (True, 'incremental')
    """

    def __init__(
        self,
        path: Any = None,
        incremental: float = INCREMENTAL_DAYS,
        full: float = FULL_DAYS,
        rows: int = FEWEST_NEW_ROWS,
        confirm: int = CONFIRMED_WINDOWS,
        calm: int = CALM_WINDOWS,
        rest: float = REST_DAYS,
    ):
        for name, value, least in (
            ("incremental", incremental, 0),
            ("full", full, 0),
            ("rows", rows, 0),
            ("confirm", confirm, 1),
            ("calm", calm, 1),
            ("rest", rest, 0),
        ):
            if not is_number(value) or not least <= value < float("inf"):
                want = f"a number of at least {least}"
                raise InferenceError(
                    explain(f"{name} of triggers", want, repr(value)[:80], "correct the argument")
                )
        self.incremental, self.full, self.rows = incremental, full, rows
        self.confirm, self.calm, self.rest = confirm, calm, rest
        self.path: Path | None = None if path is None else files.place(path, WHAT)
        known = self.path is not None and self.path.exists()
        self.state = read_record(self.path, WHAT, _state, "remove it, to begin anew") if known else State()

    def due(
        self, now: Any = None, new_rows: int = 0, findings: Iterable[Finding] | None = None
    ) -> Due | None:
        """What is to be run now, or None.

        Parameters
        ----------
        now : datetime or float, optional
            Seconds since 1970.
        new_rows : int
            Rows that have come since the model was last fitted.
        findings : iterable of Finding, optional
            Of a window that has closed: what `elboroom.drift` or a `Monitor` said of it, and the findings of what is live. Without
            them no window has passed.
        """
        now = _seconds(now)
        if findings is not None:
            self._window(tuple(findings), getattr(findings, "drifted", None))
        if now < self.state.until:
            return None
        return self._emergency(now) or self._full(now, findings) or self._incremental(now, new_rows)

    def done(self, policy: str, now: Any = None) -> None:
        """A run has ended, whatever came of it: a model that was not promoted is not fitted to the same rows again."""
        now = _seconds(now)
        self._checked(policy)
        with_it = {policy: now} | ({INCREMENTAL: now} if policy != INCREMENTAL else {})
        state = replace(self.state, last={**self.state.last, **with_it}, failed=0, until=0.0)
        if policy == EMERGENCY:
            state = replace(state, armed=False, drifted=0, calm=0)
        self._keep(state)

    def failed(self, policy: str, now: Any = None) -> None:
        """A run has raised an error: nothing is due for an hour, and twice as long after each further one, up to a day."""
        now = _seconds(now)
        self._checked(policy)
        count = self.state.failed + 1
        wait = min(LONGEST_BACK_OFF, DAY / 24 * 2 ** (count - 1))
        self._keep(replace(self.state, failed=count, until=now + wait))

    # -- within ------------------------------------------------------------------------------------------

    def _window(self, findings: tuple[Finding, ...], drifted: bool | None) -> None:
        seen = any(f.verdict == "misfit" for f in findings) if drifted is None else bool(drifted)
        state = self.state
        if seen:
            state = replace(state, drifted=state.drifted + 1, calm=0)
        else:
            calm = state.calm + 1
            state = replace(state, drifted=0, calm=calm, armed=state.armed or calm >= self.calm)
        self._keep(state)

    def _emergency(self, now: float) -> Due | None:
        state = self.state
        if not state.armed or state.drifted < self.confirm or self._days(EMERGENCY, now) < self.rest:
            return None
        return Due(EMERGENCY, f"rows have drifted in {state.drifted} windows on end")

    def _full(self, now: float, findings: Iterable[Finding] | None) -> Due | None:
        asked = [f for f in findings or () if f.name == "stream" and f.verdict not in ("ok", "trusted")]
        days = self._days(FULL, now)
        if days >= self.full:
            never = "all rows have not been fitted yet"
            return Due(
                FULL, never if days == float("inf") else f"all rows were last fitted {days:.0f} days ago"
            )
        if asked and days >= self.rest:
            return Due(FULL, f"the chain of updates asks for it: {asked[0].advice}")
        return None

    def _incremental(self, now: float, new_rows: int) -> Due | None:
        days = self._days(INCREMENTAL, now)
        if new_rows < max(self.rows, 1) or days < self.incremental:
            return None
        return Due(INCREMENTAL, f"{new_rows:,} new rows in {days:.0f} days")

    def _days(self, policy: str, now: float) -> float:
        """Days since a policy was last run; a clock that went back counts from where it is."""
        last = self.state.last.get(policy)
        if last is None:
            return float("inf")
        if last > now:
            self._keep(replace(self.state, last={**self.state.last, policy: now}))
        return max(now - last, 0.0) / DAY

    def _keep(self, state: State) -> None:
        self.state = state
        if self.path is not None:
            write_record(self.path, WHAT, {"format": FORMAT, **asdict(state)})

    @staticmethod
    def _checked(policy: Any) -> None:
        if policy not in NAMES:
            raise InferenceError(explain("policy", f"one of {NAMES}", repr(policy)[:80], "choose one"))


def _state(record: dict[str, Any]) -> State:
    record = dict(record)
    if record.pop("format", None) != FORMAT:
        raise ValueError(f"another format than {FORMAT}")
    return State(**record)


def _seconds(now: Any) -> float:
    """A time in seconds since 1970.

    Raises
    ------
    InferenceError
    """
    if now is None:
        return time.time()
    if isinstance(now, datetime):
        return (now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp()
    if not is_number(now):
        raise InferenceError(
            explain("now", "a datetime, or seconds since 1970", repr(now)[:80], "correct it")
        )
    return float(now)

"""What a monitor holds between two calls, frozen: the reference, the window that is open, sums, and summaries of windows before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ..thresholds import (
    CLIPPED,
    FIVE_MINUTES,
    MOST_RECORDED,
    MOST_WINDOW,
    RUN_LENGTH,
    SHARE_OF_SLOW,
    SOURCE_SIGMAS,
)
from .compare import shifts_of
from .cusum import Cusum, limit_of
from .kept import recorded, restored
from .series import ERROR, SURPRISE, UNLIKELY, Seen, joined
from .shift import Shift
from .tests import OUTCOMES

SLOW = SURPRISE, UNLIKELY, ERROR
"""Kinds of series that are summed up: a mean that only rises where something is wrong."""
COUNTS = "rows", "not finite", "without outcomes", "late"


@dataclass(frozen=True)
class State:
    """State of a monitor.

    Attributes
    ----------
    reference, window : Seen
        Series of the reference, and of the rows of the window that is open.
    sums : mapping of Cusum
        By series.
    start, end : float or None
        Seconds of the first and last row of the window.
    rate : float
        Share of the window's rows that are kept.
    number : int
        Windows closed so far.
    rows : int
        Of the window.
    counts : mapping of int
        Over all windows.
    averages : mapping
        Rows and sum of each series, by five minutes.
    notes : tuple of Finding
        What is not known of the window's rows.
    history : tuple of dict
        Summaries of windows before, the last ones.
    """

    reference: Seen
    sums: Mapping[tuple[str, str, str], Cusum]
    window: Seen = field(default_factory=dict)
    start: float | None = None
    end: float | None = None
    rate: float = 1.0
    number: int = 0
    rows: int = 0
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    averages: Mapping[tuple, tuple[int, float]] = field(default_factory=dict)
    notes: tuple[Finding, ...] = ()
    history: tuple[dict[str, Any], ...] = ()


def begun(reference: Seen) -> State:
    """Before any row."""
    sums = {
        key: Cusum.of(_clipped(one.values, one.values))
        for key, one in reference.items()
        if key[2] in SLOW and len(one.values) > 1
    }
    return State(reference, sums)


def _clipped(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Those that are there, no farther out than all but a few of the reference."""
    known = known[np.isfinite(known)]
    return (
        np.clip(values[~np.isnan(values)], *np.quantile(known, [CLIPPED, 1 - CLIPPED]))
        if len(known)
        else values[:0]
    )


def added(
    state: State, seen: Seen, notes: tuple[Finding, ...], when: float, num_rows: int, rng: np.random.Generator
) -> State:
    """With more rows in the window."""
    window, rate = joined(state.window, seen), state.rate
    while max((len(one.values) for one in window.values()), default=0) > MOST_WINDOW:
        window, rate = (
            {key: one.take(rng.uniform(size=len(one.values)) < 0.5) for key, one in window.items()},
            rate / 2,
        )
    averages = dict(state.averages)
    for key, one in seen.items():
        if key[2] in SLOW:
            known = one.values[~np.isnan(one.values)]
            before = averages.get((key, int(when // FIVE_MINUTES)), (0, 0.0))
            averages[key, int(when // FIVE_MINUTES)] = before[0] + len(known), before[1] + float(known.sum())
    return replace(
        state,
        window=window,
        rate=rate,
        averages=averages,
        notes=tuple(dict.fromkeys([*state.notes, *notes])),
        start=when if state.start is None else min(state.start, when),
        end=when if state.end is None else max(state.end, when),
        rows=state.rows + num_rows,
    )


# -- closing a window ------------------------------------------------------------------------------------


def closed(
    state: State, rng: np.random.Generator, strict: bool, level: float, per_day: float
) -> tuple[State, list[Shift]]:
    """What a window says, and the state before the next one."""
    shifts = list(shifts_of(state.reference, state.window, rng, strict, level))
    if strict:
        sums, slow = state.sums, list(_five_minutes(state))
    else:
        sums, slow = _summed(state, level, per_day)
    shifts += slow
    summary = {
        "number": state.number,
        "start": state.start,
        "end": state.end,
        "rows": state.rows,
        "drifted": any(s.moved and not s.early for s in shifts),
        "warned": any(s.early for s in shifts),
        "moved": list(dict.fromkeys(s.name for s in shifts if s.moved)),
        "effects": {f"{s.stream}: {s.test}, {s.name}": (s.effect, s.p_value) for s in shifts},
    }
    history = (*state.history, summary)[-MOST_RECORDED:]
    return State(state.reference, sums, number=state.number + 1, counts=state.counts, history=history), shifts


def _summed(state: State, level: float, per_day: float) -> tuple[dict, list[Shift]]:
    """Sums with one more window, and what they say: a warning each thirty days, an alarm each few hundred, of rows that do not change."""
    sums, shifts, many = dict(state.sums), [], max(len(state.sums), 1)
    early, late = limit_of(RUN_LENGTH * per_day * many), limit_of(many / (SHARE_OF_SLOW * level))
    for key, before in state.sums.items():
        values = (
            _clipped(state.window[key].values, state.reference[key].values)
            if key in state.window
            else np.zeros(0)
        )
        if not len(values):
            continue
        now = before.step(values)
        alarm, warning = now.late > late, now.early > early
        sums[key] = now if alarm else now.learned(values)
        words = f"its mean has risen for a while, from {before.mean:.3g} to {values.mean():.3g} in this window: sum {now.late:.2g}"
        shifts.append(Shift(key[0], key[1], "slow change", now.late, late, alarm, float("nan"), words, OUTCOMES, moved=alarm,
                            num_rows=len(values)))  # fmt: skip
        if warning and not alarm:
            told = f"{words}. Such a warning comes once in {RUN_LENGTH:.0f} days where nothing changes"
            shifts.append(Shift(key[0], key[1], "slow change, early", now.early, early, True, float("nan"), told, moved=True,
                                num_rows=len(values), early=True))  # fmt: skip
        sums[key] = replace(
            sums[key], late=0.0 if alarm else now.late, early=0.0 if warning or alarm else now.early
        )
    return sums, shifts


def _five_minutes(state: State):
    """The sources' rule for averages of five minutes: three sigmas."""
    for key, one in state.reference.items():
        bins = [value for (name, _), value in state.averages.items() if name == key and value[0]]
        if key[2] not in SLOW or not bins:
            continue
        mean, sd = float(np.nanmean(one.values)), float(np.nanstd(one.values))
        away = np.array(
            [abs(total / count - mean) * np.sqrt(count) / max(sd, 1e-300) for count, total in bins]
        )
        many = int((away > SOURCE_SIGMAS).sum())
        words = f"{many} of {len(bins)} averages of five minutes are beyond three sigmas"
        yield Shift(key[0], key[1], "averages of five minutes", float(away.max()), SOURCE_SIGMAS, many > 0, float("nan"), words,
                    moved=many > 0, num_rows=state.rows)  # fmt: skip


# -- as JSON ---------------------------------------------------------------------------------------------


def as_record(state: State) -> dict[str, Any]:
    """A state for JSON."""
    return {
        "reference": recorded(state.reference),
        "window": recorded(state.window),
        "sums": [[list(key), asdict(one)] for key, one in state.sums.items()],
        "averages": [[list(key), number, list(value)] for (key, number), value in state.averages.items()],
        "notes": [note.as_dict() for note in state.notes],
        "history": [_finite(one) for one in state.history],
        **{name: getattr(state, name) for name in ("start", "end", "rate", "number", "rows")},
        "counts": dict(state.counts),
    }


def _finite(summary: dict[str, Any]) -> dict[str, Any]:
    effects = {k: [v if np.isfinite(v) else None for v in pair] for k, pair in summary["effects"].items()}
    return {**summary, "effects": effects}


def from_record(record: dict[str, Any]) -> State:
    """What `as_record` was given."""
    return State(
        restored(record["reference"]),
        {tuple(key): Cusum(**one) for key, one in record["sums"]},
        restored(record["window"]),
        start=record["start"],
        end=record["end"],
        rate=record["rate"],
        number=record["number"],
        rows=record["rows"],
        counts=record["counts"],
        averages={(tuple(key), number): tuple(value) for key, number, value in record["averages"]},
        notes=tuple(Finding(**note) for note in record["notes"]),
        history=tuple(record["history"]),
    )

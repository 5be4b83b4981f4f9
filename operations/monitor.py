"""``er.Monitor``: whether a deployed model still holds, window by window."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.evidence.finding import Finding
from ..inference.posterior.posterior import record_of
from ..ppl.errors import DataError, InferenceError, explain
from .asked import check_level, check_seed, is_number
from .columns import Frame, Kind, frame_of
from .dashboards import write_dashboards
from .drift import window as windows
from .drift.compare import not_compared
from .drift.drift import Drift
from .drift.look import Look
from .drift.series import CALIBRATION, CONCEPT
from .exposition import Exposition
from .kept import read_record, write_record
from .metrics.of_drift import of_drift
from .rules import Objectives, write_rules
from .thresholds import DAY, LEAST_COMPARED, MOST_WINDOW, WINDOW_LEVEL

FORMAT, WHAT = "elboroom-monitor/1", "state of a monitor"


class Monitor:
    """Rows of a deployed model as they come, compared with a reference window by window.

    Parameters
    ----------
    posterior : Posterior
        With its program where outcomes, or latent units, are to be looked at.
    reference : table, mapping or array, optional
        Rows that the model was validated on; by default those that training held out, or those that were fitted.
    every : {"day"} or int
        A window is a day (UTC), or so many rows. It also closes when `findings` is asked for.
    strict : bool
        The rules of the sources as they stand, without corrections.
    per_day : float
        Windows a day: the level of each is that of a day over their number.
    level : float
        Probability of any finding on a day without drift.
    seed : int
        Of permutations, and of rows that are drawn where there are many.

    Attributes
    ----------
    last : Drift
        What the last window that was closed has said.

    Notes
    -----
    What is controlled: on a day without drift any finding appears with probability `level` at most, over all columns, latent units,
    outcomes, groups and windows of the day together. Days are not corrected for each other: with 1% there is a false alarm in a hundred days.
    Besides, sums over days of log scores and errors warn early, once in thirty days where nothing changes: these warnings are
    *caution*, have "early" in their name, and are no drift.

    Memory does not grow: 5,000 rows of the reference and 10,000 of a window are kept, of more some at random.

    References
    ----------
    See `elboroom.drift`, and Hawkins (1987), Self-starting CUSUM charts, The Statistician 36.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def level(y):
    ...     mu = er.sample("mu", er.Normal(0, 10))
    ...     with er.plate("row", len(y)):
    ...         er.observe("y", er.Normal(mu, 1), y)
    >>> rng = np.random.default_rng(0)
    >>> posterior = er.fit(level(rng.normal(size=200)), progress=False)
    >>> monitor = er.Monitor(posterior, reference={"y": rng.normal(size=1000)})
    >>> monitor.see({"y": rng.normal(0.8, 1, size=300)})
    >>> monitor.findings().drifted
    True
    """

    def __init__(
        self,
        posterior: Any,
        reference: Any = None,
        every: str | int = "day",
        strict: bool = False,
        per_day: float = 1.0,
        level: float = WINDOW_LEVEL,
        seed: int = 0,
    ):
        check_level(level)
        check_seed(seed)
        if not is_number(per_day) or not 0 < per_day < np.inf:
            want, remedy = "a positive number of windows a day", "correct it"
            raise InferenceError(explain("per_day of a monitor", want, repr(per_day)[:80], remedy))
        record_of(posterior)
        self.posterior, self.strict, self.level, self.seed = posterior, bool(strict), level, seed
        self.every, self.per_day = _every(every), float(per_day)
        self.look, known, self.doubts = Look.of(
            posterior if reference is None else reference, posterior, seed
        )
        self.state = windows.begun(known)
        self.last = Drift()

    # -- rows ------------------------------------------------------------------------------------------

    def see(self, x: Any, y: Any = None, at: Any = None, late: bool = False) -> None:
        """Take rows in.

        Parameters
        ----------
        x : table, mapping or array
            Rows; outcomes may be among the columns.
        y : array or mapping, optional
            Outcomes of these rows, NaN where they have not come.
        at : datetime or float, optional
            When they came, in seconds since 1970 or with a time zone (UTC without); by default now.
        late : bool
            Whether the rows were seen before and come again with their outcomes: these alone are looked at.

        Raises
        ------
        DataError, ShapeError
            For what is no data set. Whatever the cells hold is counted, and never an error.
        """
        when, frame = _seconds(at), self._frame(x, y)
        if self.every is None and self.state.start is not None and when // DAY > self.state.start // DAY:
            self.close()
        early = self.every is None and self.state.start is not None and when // DAY < self.state.start // DAY
        self._count(frame, {"late": frame.num_rows if early or late else 0})
        for part in self._parts(frame):
            self._add(part, when if not early else self.state.start or when, late)
            if self.every is not None and self.state.rows >= self.every:
                self.close()

    def _parts(self, frame: Frame) -> Iterator[Frame]:
        """The rows, up to the end of each window."""
        start = 0
        while start < frame.num_rows:
            room = MOST_WINDOW if self.every is None else self.every - self.state.rows
            stop = min(start + max(room, 1), frame.num_rows)
            yield frame.take(np.arange(start, stop))
            start = stop

    def _add(self, frame: Frame, when: float, late: bool) -> None:
        rng = np.random.default_rng([self.seed, 93, self.state.number, self.state.rows])
        kept = (
            frame if self.state.rate == 1 else frame.take(rng.uniform(size=frame.num_rows) < self.state.rate)
        )
        seen, notes = self.look.rows(kept) if kept.num_rows else ({}, [])
        if late:
            seen = {key: one for key, one in seen.items() if key[0] in (CONCEPT, CALIBRATION)}
        self.state = windows.added(self.state, seen, tuple(notes), when, frame.num_rows, rng)

    def _frame(self, x: Any, y: Any) -> Frame:
        """Rows with their outcomes, a matrix with one argument by its name."""
        outcomes = [s.argument or s.name for s in record_of(self.posterior).observed.values()]
        names = {name.partition("[")[0] for name in self.look.like}
        if hasattr(x, "__array__") and not hasattr(x, "columns") and not isinstance(x, Mapping):
            inputs = sorted(names - set(outcomes)) or sorted(names)
            if len(inputs) > 1:
                got = f"one array for {inputs}"
                raise DataError(
                    explain("rows of a monitor", "columns by name", got, "pass a mapping or a table")
                )
            x = {inputs[0]: x}
        columns = dict(frame_of(x, "rows of a monitor").columns)
        if y is not None:
            if not isinstance(y, Mapping):
                if len(outcomes) != 1:
                    remedy = f"pass a mapping with {sorted(outcomes)}"
                    raise DataError(explain("y of a monitor", "outcomes by name", "one array", remedy))
                y = {outcomes[0]: y}
            columns |= frame_of(y, "y of a monitor").columns
        return frame_of({}, "rows of a monitor") if not columns else _of_columns(columns)

    def _count(self, frame: Frame, more: Mapping[str, int]) -> None:
        arguments = {s.argument for s in record_of(self.posterior).observed.values()}
        outcomes = [name for name in frame.columns if name.partition("[")[0] in arguments]
        gaps = [name for name, usual in self.look.like.items() if usual.gaps]
        lost = frame.spoilt([*outcomes, *gaps])
        came = np.zeros(frame.num_rows, bool)
        for name in outcomes:
            came |= ~frame.columns[name].missing
        found = {
            "rows": frame.num_rows,
            "not finite": int(lost.sum()),
            "without outcomes": int((~came).sum()),
            **more,
        }
        counts = {name: self.state.counts.get(name, 0) + found.get(name, 0) for name in windows.COUNTS}
        self.state = replace(self.state, counts=counts)

    # -- windows ---------------------------------------------------------------------------------------

    def close(self) -> Drift:
        """End the window that is open, if it has rows enough to be compared; what the last one said.

        A window of few rows stays open: they are compared together with those that come next.
        """
        if max((len(one.values) for one in self.state.window.values()), default=0) >= LEAST_COMPARED:
            before, rng = self.state, np.random.default_rng([self.seed, 94, self.state.number])
            share = self.level / self.per_day
            self.state, shifts = windows.closed(before, rng, self.strict, share, self.per_day)
            silent = () if self.strict else not_compared(before.reference, before.window, shifts)
            notes = list(dict.fromkeys([*self.doubts, *before.notes, *silent]))
            self.last = Drift(shifts, notes, before.reference, before.window, self.look.name, self.strict)
        return self.last

    def findings(self) -> Drift:
        """End the window that is open, and say what it, or the last one before, has found. `last` asks without ending it."""
        return self.close()

    @property
    def counts(self) -> dict[str, int]:
        """Rows so far; those with a number that is infinite, or missing where the reference has all; without outcomes; that came late."""
        return dict(self.state.counts)

    def history(self):
        """A row for each window, the last 400: a ``pandas.DataFrame``."""
        import pandas as pd

        columns = ["number", "start", "end", "rows", "drifted", "warned", "moved"]
        frame = pd.DataFrame(
            [{name: one[name] for name in columns} for one in self.state.history], columns=columns
        )
        for name in ("start", "end"):
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
        return frame

    def figure(self):
        """Effects of the clearest tests over windows, those that speak marked: a ``matplotlib.figure.Figure``."""
        from .drift.pictures import course

        return course(self.state.history)

    def report(self, path: str | Path) -> Path:
        """Write ``drift.html`` of the last window, with the course of all, see `Drift.report`."""
        from .drift.page import write

        return write(self.last, path, self.state.history)

    # -- Prometheus and Grafana --------------------------------------------------------------------------

    def exposition(self, version: str = "") -> Exposition:
        """What the last window has said, and how many rows there were, for Prometheus: its ``text()``, ``serve(port)`` and ``push(url)``.

        Parameters
        ----------
        version : str
            A label of all metrics.

        Returns
        -------
        Exposition
        """
        shown = Exposition(self.posterior.name, version).tell(of_drift(self.last))
        counts = self.state.counts
        shown.add("rows_total", counts.get("rows", 0), data="live")
        if lost := counts.get("not finite", 0):
            shown.add("not_finite_total", lost, what="rows")
        return shown

    def rules(self, path: str | Path, **objectives: Any) -> Path:
        """Write alert rules for Prometheus, and runbooks beside them.

        Parameters
        ----------
        path : str or path
            A ``.yaml`` file.
        **objectives
            What is promised: ``seconds``, ``availability``, ``compute``, ``job``, see `elboroom.operations.rules.Objectives`.
        """
        return write_rules(path, Objectives(**objectives))

    def dashboards(self, path: str | Path, **objectives: Any) -> list[Path]:
        """Write dashboards for Grafana into a folder: executive, on-call and debug; objectives as of `rules`."""
        return write_dashboards(path, Objectives(**objectives))

    # -- kept ------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the state, reference and open window included, as one JSON file.

        Parameters
        ----------
        path : str or path
            The file.

        Raises
        ------
        InferenceError
            If it cannot be written.
        """
        record = {
            "format": FORMAT,
            "every": self.every,
            "per_day": self.per_day,
            "strict": self.strict,
            "level": self.level,
            "seed": self.seed,
            "like": {name: asdict(kind) for name, kind in self.look.like.items()},
            "fitted": self.look.fitted,
            "doubts": [doubt.as_dict() for doubt in self.doubts],
            "state": windows.as_record(self.state),
        }
        return write_record(path, WHAT, record)

    @classmethod
    def load(cls, path: str | Path, posterior: Any) -> Monitor:
        """Go on where `save` was called.

        Parameters
        ----------
        path : str or path
            The file.
        posterior : Posterior
            The one that was monitored.

        Raises
        ------
        InferenceError
            If there is none, or it was changed.
        """
        record_of(posterior)
        return read_record(
            path,
            WHAT,
            lambda record: cls._from(record, posterior),
            "correct the path, or begin anew with er.Monitor",
        )

    @classmethod
    def _from(cls, record: dict[str, Any], posterior: Any) -> Monitor:
        if record.get("format") != FORMAT:
            raise ValueError(f"the format {record.get('format')!r}")
        self = cls.__new__(cls)
        self.posterior, self.last = posterior, Drift()
        self.every, self.per_day, self.strict = record["every"], record["per_day"], record["strict"]
        self.level, self.seed = record["level"], record["seed"]
        like = {name: Kind(**kind) for name, kind in record["like"].items()}
        self.look = Look(like, posterior, record["fitted"], record["seed"])
        self.doubts = [Finding(**doubt) for doubt in record["doubts"]]
        self.state = windows.from_record(record["state"])
        return self

    def __repr__(self) -> str:
        state = self.state
        return f"<elboroom monitor: {state.number} windows, {state.counts['rows']:,} rows, {state.rows:,} of them in the open one>"


def _of_columns(columns: Mapping[str, Any]) -> Frame:
    lengths = {len(column.values) for column in columns.values()}
    if len(lengths) != 1:
        got = f"{ {name: len(column.values) for name, column in columns.items()} }"[:200]
        raise DataError(
            explain("rows of a monitor", "as many outcomes as rows", got, "give a value, or NaN, for each")
        )
    return Frame(columns, lengths.pop())


def _every(every: str | int) -> int | None:
    """Rows of a window; None for a day."""
    if every == "day":
        return None
    if isinstance(every, (int, np.integer)) and not isinstance(every, bool) and every >= LEAST_COMPARED:
        return int(every)
    want = f"'day', or a number of rows from {LEAST_COMPARED} on"
    raise InferenceError(explain("every of a monitor", want, repr(every), "correct it"))


def _seconds(at: Any) -> float:
    """Seconds since 1970."""
    if at is None:
        return time.time()
    if is_number(at) and np.isfinite(at):
        return float(at)
    if isinstance(at, np.datetime64):
        at = at.astype("datetime64[us]").astype(datetime)
    if isinstance(at, datetime) and at == at:  # pandas' NaT is one, and none
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    remedy = "pass a datetime, or seconds since 1970"
    raise DataError(explain("at of a monitor", "a time", repr(at)[:80], remedy))

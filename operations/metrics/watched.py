"""A posterior and the rows that it is measured at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...inference.posterior.classes import along_rows
from ...inference.posterior.posterior import record_of
from ...ppl.errors import DataError, explain
from ..columns import Frame, frame_of
from ..drift.concept import Scorer
from ..thresholds import METRIC_ROWS

WHERE = "data of er.metrics"


@dataclass(frozen=True, eq=False)
class Watched:
    """What is measured.

    Attributes
    ----------
    posterior : Posterior
    data : dict or None
        Arguments by name, of rows that can be measured; None for the fitted rows.
    name : str
        Of the rows.
    anomalous : numpy.ndarray or None
        Of the rows of `data`.
    spoilt, left_out : int
        Rows with a number that is infinite, or missing where there has to be one; and all that cannot be measured, these among them.
    given : int
        Rows that were given.
    """

    posterior: Any
    data: dict[str, Any] | None
    name: str
    anomalous: np.ndarray | None = None
    spoilt: int = 0
    left_out: int = 0
    given: int = 0

    @classmethod
    def of(cls, posterior: Any, data: Any, name: str | None, anomalous: Any) -> Watched:
        """From what a user gave.

        Raises
        ------
        DataError, ShapeError
            For what are no rows, rows that lack an argument, or anomalies of another number of them.
        """
        record = record_of(posterior)
        if data is None:
            return cls(posterior, None, name or "fitted", None if anomalous is None else _marks(anomalous))
        if not isinstance(data, Mapping) and not hasattr(data, "columns"):
            got = type(data).__name__
            raise DataError(explain(WHERE, "a mapping or a table", got, "name its columns"))
        if record.program is None:
            return cls(posterior, dict(data), name or "new")
        axes = posterior.latent.setup.rows.along if encodes(record) else dict.fromkeys(along_rows(record), 0)
        frame, settings = _rows(data, axes, axes if encodes(record) else record.program.arguments)
        fine, spoilt = _usable(posterior, frame)
        marks = None if anomalous is None else _marks(anomalous, frame.num_rows)[fine]
        made = {k: np.moveaxis(v, 0, axes[k]) for k, v in frame.take(fine).arguments().items()}
        return cls(
            posterior,
            settings | made,
            name or "new",
            marks,
            spoilt,
            frame.num_rows - len(fine),
            frame.num_rows,
        )

    @property
    def record(self) -> Any:
        """What the posterior is made of."""
        return record_of(self.posterior)

    @property
    def encodes(self) -> bool:
        """Whether its rows have an encoder."""
        return encodes(self.record)

    @cached_property
    def chosen(self) -> np.ndarray:
        """Which encoded rows are looked at: some of them, evenly, where they are many."""
        count = self._whole[1]
        if not count:
            raise DataError(explain(WHERE, "rows that can be measured", "none", "look at the findings"))
        return np.unique(np.linspace(0, count - 1, min(METRIC_ROWS, count)).astype(int))

    @cached_property
    def _whole(self) -> tuple[dict[str, np.ndarray], int]:
        return self.posterior.latent.data_of(self.data, "er.metrics")

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Data of encoded rows."""
        along = self.posterior.latent.setup.rows.along
        return {
            k: np.take(np.asarray(v), self.chosen, along[k]) for k, v in self._whole[0].items() if k in along
        }

    def some(self, most: int) -> dict[str, np.ndarray]:
        """The data of fewer of them."""
        along = self.posterior.latent.setup.rows.along
        count = len(self.chosen)
        index = np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
        return {label: np.take(value, index, along[label]) for label, value in self.rows.items()}


def encodes(record: Any) -> bool:
    """Whether rows of a posterior have an encoder."""
    return bool(record.settings.get("encoder"))


def _rows(data: Any, axes: Mapping[str, int], arguments: Any) -> tuple[Frame, dict[str, Any]]:
    """What runs along the rows, rows first, and the model's other arguments; what it does not take is left out."""
    if not isinstance(data, Mapping):
        frame = frame_of(data, WHERE)
        frame, settings = frame.only(n for n in frame.columns if n.partition("[")[0] in axes), {}
    else:
        known = {str(k): v for k, v in data.items() if str(k).partition("[")[0] in arguments}
        along = {k: _in_front(v, axes.get(k, 0)) for k, v in known.items() if k.partition("[")[0] in axes}
        frame = frame_of(along, WHERE) if along else Frame({}, 0)
        settings = {k: v for k, v in known.items() if k not in along}
    lacking = set(axes) - {name.partition("[")[0] for name in frame.columns}
    if lacking:
        want, got = f"all that runs along the rows, {sorted(lacking)} too", f"{sorted(frame.columns)[:8]}"
        raise DataError(explain(WHERE, want, got, "add them, lest values of the fitted rows stand there"))
    return frame, settings


def _in_front(value: Any, axis: int) -> Any:
    return value if axis == 0 else np.moveaxis(np.asarray(value), axis, 0)


def _usable(posterior: Any, frame: Frame) -> tuple[np.ndarray, int]:
    """Rows that can be measured, and how many have a number that is none.

    Outcomes that have not come are no fault of a row; an encoder looks at rows that lack some of theirs.
    """
    record = record_of(posterior)
    arguments = {site.argument for site in record.observed.values()}
    outcomes = [name for name in frame.columns if name.partition("[")[0] in arguments]
    spoilt = frame.spoilt(outcomes)
    fine = ~spoilt
    if not encodes(record):
        inputs = [name for name in frame.columns if name not in outcomes]
        known = np.zeros(frame.num_rows, bool)
        known[Scorer(posterior).usable(frame.only(inputs))] = True
        fine &= known & ~np.all([frame.columns[name].missing for name in outcomes], axis=0)
    return np.flatnonzero(fine), int(spoilt.sum())


def _marks(anomalous: Any, count: int | None = None) -> np.ndarray:
    """Which rows are anomalies."""
    marks = np.asarray(anomalous)
    good = marks.dtype.kind == "b" or (marks.dtype.kind in "iuf" and np.isin(marks, (0, 1)).all())
    if not good or marks.ndim != 1 or len(marks) != (len(marks) if count is None else count):
        want = (
            "true or false for each row" if count is None else f"{count} values, true or false for each row"
        )
        got = f"{marks.dtype} of shape {marks.shape}"
        raise DataError(explain("anomalous", want, got, "say of each row whether it is one"))
    return marks.astype(bool)

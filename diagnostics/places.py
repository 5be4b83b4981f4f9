"""Where outcomes fall among their predictions, of rows that were not fitted: intervals that hold the share of rows that they say.

References
----------
Gneiting, Balabdaoui & Raftery (2007), Probabilistic forecasts, calibration and sharpness, JRSS B 69. Dawid (1984), Statistical
theory: the prequential approach, JRSS A 147.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..inference.evidence.finding import Finding
from ..inference.posterior.classes import bound, whole_rows
from ..inference.posterior.posterior import record_of
from ..ppl.errors import DataError, explain
from .maps import Levels
from .rolling import windows
from .seen import UNKNOWN, check_unseen, few_rows, fitted_rows
from .thresholds import (
    COVERAGES,
    ECE_EXCESS,
    ECE_LEVEL,
    MOST_ROWS,
    OUTER_INTERVAL,
    PLACE_BLOCK,
    PLACE_DRAWS,
    ROLLING_ROWS,
    TELLING_COUNT,
)


@dataclass(frozen=True, eq=False)
class PlaceCalibration:
    """Places of outcomes among their predictions. Made by `elboroom.calibration`, for continuous outcomes and counts.

    Attributes
    ----------
    name : str
        The outcome.
    places : numpy.ndarray, shape (N,)
        Values of the predictive distribution function, as the map mends them, where there is one: uniform were the predictions
        right. Ties are broken at random, with a fixed seed.
    replicated : numpy.ndarray, shape (S, N)
        The same of outcomes that draws of the posterior predict, each a whole set of rows.
    used : Levels or None
    rows : tuple of bytes
        A digest of each row.
    seen : float
        Share of them that were fitted.
    """

    name: str
    places: np.ndarray
    replicated: np.ndarray = field(repr=False)
    used: Levels | None
    rows: tuple[bytes, ...] = field(repr=False)
    seen: float = 0.0

    @classmethod
    def of(cls, name, observed, drawn, used, rows, seen) -> PlaceCalibration:
        """Of outcomes ``(N,)`` and draws ``(S, N)`` of their predictions; of very many rows some at random."""
        if len(observed) > MOST_ROWS:
            some = np.sort(np.random.default_rng(0).choice(len(observed), MOST_ROWS, replace=False))
            observed, drawn, rows = observed[some], drawn[:, some], tuple(rows[i] for i in some)
        found = ranked(np.concatenate([observed[None], drawn]))
        own = found[0].astype(float)
        return cls(name, own if used is None else used(own), found[1:], used, rows, seen)

    @cached_property
    def distance(self) -> float:
        """Largest distance of the places' distribution function from that of uniform ones (Kolmogorov–Smirnov)."""
        return float(distances(self.places[None])[0])

    @cached_property
    def _under(self) -> np.ndarray:
        return distances(self.replicated)

    @property
    def null(self) -> float:
        """95% point of `distance`, were the predictions right."""
        return float(np.quantile(self._under, 1 - ECE_LEVEL))

    @property
    def excess(self) -> float:
        """`distance` less `null`; positive where rows say that predictions are wrong."""
        return self.distance - self.null

    @property
    def p(self) -> float:
        """How often the distance would be as large, were the predictions right."""
        return float((1 + (self._under >= self.distance).sum()) / (1 + len(self._under)))

    def coverage(self) -> pd.DataFrame:
        """Shares of rows within central intervals.

        Returns
        -------
        pandas.DataFrame
            Indexed by ``level``: the ``share`` that came within, its standard error ``se`` over rows, and ``low`` and ``high``, the
            ends of 90% of what it would be were the predictions right.
        """
        found = []
        for level in COVERAGES:
            share = float(_within(self.places, level).mean())
            low, high = np.quantile(_within(self.replicated, level).mean(1), OUTER_INTERVAL)
            se = np.sqrt(max(share * (1 - share), 0.0) / len(self.places))
            found.append({"level": level, "share": share, "se": se, "low": low, "high": high})
        return pd.DataFrame(found).set_index("level")

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of it: *misfit* where the distance exceeds that of right predictions by more than 0.05."""
        share = self.coverage().loc[COVERAGES[-2], "share"]
        words = (f"places are {self.distance:.3f} from uniform ({self.null:.3f} is the 95% point were the predictions right), "
                 f"{share:.0%} of rows lie within {COVERAGES[-2]:.0%} intervals")  # fmt: skip
        if self.excess > ECE_EXCESS:
            verdict, advice = (
                "misfit",
                f"Predictions of '{self.name}' are {self._shape()}: {words}. Mend their levels on rows that are neither these nor the fitted ones, or change the model.",
            )
        elif self.excess > 0:
            verdict, advice = (
                "caution",
                f"Predictions of '{self.name}' are off by a little, {self._shape()}: {words}.",
            )
        elif len(self.places) < TELLING_COUNT:
            verdict, advice = (
                UNKNOWN,
                f"{len(self.places)} rows say nothing of predictions of '{self.name}': {words}.",
            )
        else:
            verdict, advice = "ok", f"Predictions of '{self.name}' are what comes true: {words}."
        own = Finding("calibration of predictions", self.name, self.distance, self.null, verdict, advice)
        return (*fitted_rows(self.name, self.seen), *few_rows(self.name, self.used), own)

    def levels(self) -> Levels:
        """What mends the levels of intervals. Judge it on others: ``er.calibration(posterior, others, map=it)``.

        Raises
        ------
        DataError
            If these are the rows that were fitted, or already mended.
        """
        check_unseen("levels", self.seen, self.used)
        return Levels.fitted(self.name, self.places, frozenset(self.rows))

    def rolling(self, size: int = ROLLING_ROWS, step: int | None = None) -> pd.DataFrame:
        """The same of windows of rows in their order: whether intervals still hold what they say.

        Parameters
        ----------
        size, step : int
            Rows of a window, and from the end of one to that of the next: by default they do not overlap.

        Returns
        -------
        pandas.DataFrame
            Indexed by the last row of each: ``distance``, ``null``, ``excess`` and ``p`` as of all rows, and ``within``, the share of
            rows within intervals of 90%.
        """

        def told(rows: slice) -> dict[str, float]:
            own = PlaceCalibration(self.name, self.places[rows], self.replicated[:, rows], None, ())
            found = {name: getattr(own, name) for name in ("distance", "null", "excess", "p")}
            return {**found, "within": float(_within(own.places, COVERAGES[-2]).mean())}

        return windows(len(self.places), size, step, told)

    def _shape(self) -> str:
        """In which way places are not uniform."""
        shift, spread = self.places.mean() - 0.5, self.places.var() * 12
        if abs(shift) * np.sqrt(12) > abs(spread - 1):
            return "too low" if shift > 0 else "too high"
        return (
            "too sure: their intervals are too narrow"
            if spread > 1
            else "not sure enough: their intervals are too wide"
        )

    def __repr__(self) -> str:
        at = "" if self.used is None else f", {self.used.words}"
        lines = "\n".join(map(str, self.findings))
        return f"Calibration of {len(self.places)} rows of '{self.name}'{at}\n{lines}\n{self.coverage().round(3)}"


def places_of(
    posterior: Any, data: Mapping[str, Any], name: str | None
) -> tuple[str, np.ndarray, np.ndarray]:
    """The outcome's name, its values ``(N,)`` and draws ``(S, N)`` of its predictions.

    Raises
    ------
    DataError
        If no such outcome is an argument, or its values are not all there.
    """
    record = record_of(posterior)
    known = {s.name: s for s in record.observed.values() if s.argument is not None}
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name not in known:
        want = f"one of {sorted(known) or 'the outcomes that are arguments, of which there is none'}"
        got = "none given" if name is None else f"'{name}'"
        raise DataError(explain("outcome of a calibration", want, got, "name it"))
    argument = known[name].argument
    program = bound(record, whole_rows(record, argument, data)) if data else record.program
    observed = np.asarray(program.leaves[argument].value, float)
    if observed.ndim != 1 or not np.isfinite(observed).all():
        got = (
            f"shape {observed.shape}"
            if observed.ndim != 1
            else f"{int((~np.isfinite(observed)).sum())} that are missing"
        )
        raise DataError(
            explain(
                f"outcome '{name}'",
                "a number for each row",
                got,
                "leave those rows out, or name another outcome",
            )
        )
    drawn = posterior.predict(var_names=[name], num_draws=min(PLACE_DRAWS, len(record.z)), **data)
    values = drawn["posterior_predictive"][name].to_numpy()
    return name, observed, values.reshape(-1, len(observed))


def ranked(values: np.ndarray) -> np.ndarray:
    """Places ``(S, N)`` of each value among those of its column, uniform where they are exchangeable; ties at random.

    Examples
    --------
    >>> places = ranked(np.zeros((4, 1000)))
    >>> bool(abs(places.mean() - 0.5) < 0.02), bool(abs(places.var() - 1 / 12) < 0.005)
    (True, True)
    """
    rng, out = np.random.default_rng(0), np.empty(values.shape, np.float32)
    for start in range(0, values.shape[1], PLACE_BLOCK):
        block = values[:, start : start + PLACE_BLOCK]
        order = np.lexsort((rng.uniform(size=block.shape), block), axis=0)
        ranks = np.argsort(order, axis=0)
        out[:, start : start + PLACE_BLOCK] = (ranks + rng.uniform(size=block.shape)) / len(values)
    return out


def distances(places: np.ndarray) -> np.ndarray:
    """Kolmogorov–Smirnov distances ``(S,)`` of sets of places ``(S, N)`` from uniform ones."""
    count = places.shape[1]
    found = [np.sort(row).astype(float) for row in places]
    steps = np.arange(count)
    return np.array([max((row - steps / count).max(), ((steps + 1) / count - row).max()) for row in found])


def _within(places: np.ndarray, level: float) -> np.ndarray:
    return np.abs(places - 0.5) <= level / 2

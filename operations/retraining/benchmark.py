"""Rows that are never fitted, and what two posteriors make of them: how much one forgets that the other knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.posterior.posterior import Posterior
from ...ppl.errors import DataError, explain
from ..columns import Frame, frame_of
from ..drift.concept import Scorer
from ..thresholds import FORGETTING_SURE, LEAST_BENCHMARK

WHERE = "benchmark"


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Rows with their outcomes that no fit ever sees.

    Attributes
    ----------
    frame : Frame
    digest : str
        Of all of their cells: what versions are compared on has to stay the same.
    parts : mapping of str to numpy.ndarray
        Rows of each part that is looked at by itself, all of them among these.
    """

    frame: Frame
    digest: str
    parts: dict[str, np.ndarray]

    @classmethod
    def of(cls, rows: Any, by: str | None = None) -> Benchmark:
        """Those of a table or mapping; `by` names a column whose levels are looked at one by one.

        Raises
        ------
        DataError
            For a column that there is not, or too few rows.
        """
        frame = frame_of(rows, WHERE)
        if frame.num_rows < LEAST_BENCHMARK:
            want, remedy = f"at least {LEAST_BENCHMARK} rows", "keep more rows out of every fit"
            raise DataError(explain(WHERE, want, f"{frame.num_rows}", remedy))
        parts = {"": np.arange(frame.num_rows)}
        if by is not None:
            if by not in frame.columns:
                got = f"none called '{by}'"
                raise DataError(
                    explain(f"by of a {WHERE}", f"one of {sorted(frame.columns)}", got, "correct it")
                )
            names = frame.columns[by].as_labels()
            for level in sorted({str(name) for name in names}):
                found = np.flatnonzero(np.array([str(name) == level for name in names]))
                if len(found) >= LEAST_BENCHMARK:
                    parts[f"{by} {level}"] = found
        return cls(frame, f"{hashed(frame).sum(dtype=np.uint64):016x}", parts)

    def scores(self, posterior: Posterior) -> np.ndarray:
        """Log predictive density of each row, all outcomes together, NaN where the model cannot say, shape ``(N,)``."""
        scorer, out = Scorer(posterior), np.full(self.frame.num_rows, np.nan)
        rows = scorer.usable(self.frame)
        if len(rows):
            found = scorer.scores(self.frame.take(rows))
            out[rows] = np.sum([one.log_prob for one in found.values()], axis=0)
        return out

    def compared(self, candidate: Posterior, live: Posterior) -> list[Forgetting]:
        """How much of what `live` knows a candidate has forgotten, of all rows and of each part."""
        new, old = self.scores(candidate), self.scores(live)
        return [
            Forgetting.of(name, old[rows] - new[rows], len(self.parts)) for name, rows in self.parts.items()
        ]


def hashed(frame: Frame) -> np.ndarray:
    """64 bits for each row of a frame, whatever the order of its columns."""
    import pandas as pd

    columns = {}
    for name in sorted(frame.columns):
        column = frame.columns[name]
        flat = column.values.reshape(frame.num_rows, -1)
        for i in range(flat.shape[1]):
            one = flat[:, i]
            columns[f"{name}[{i}]"] = one.astype(str) if one.dtype == object else one
    table = pd.DataFrame(columns)
    return pd.util.hash_pandas_object(table, index=False).to_numpy(np.uint64)


@dataclass(frozen=True)
class Forgetting:
    """Share of the predictive density of a row that a candidate has lost, on the geometric mean.

    Attributes
    ----------
    part : str
        Of the benchmark; empty for all of it.
    share : float
        ``exp(mean(live − candidate)) − 1`` of log predictive densities; below zero where the candidate is better.
    most : float
        Its upper end: with 95% probability it is no more, over all parts together.
    num_rows : int
        Rows that both can say something of.
    """

    part: str
    share: float
    most: float
    num_rows: int

    @classmethod
    def of(cls, part: str, lost: np.ndarray, count: int) -> Forgetting:
        """From the log densities that each row lost, one of so many parts."""
        from scipy.stats import norm

        lost = lost[np.isfinite(lost)]
        if len(lost) < LEAST_BENCHMARK:
            return cls(part, float("nan"), float("inf"), len(lost))
        se = lost.std(ddof=1) / np.sqrt(len(lost))
        end = lost.mean() + norm.isf((1 - FORGETTING_SURE) / count) * se
        return cls(part, float(np.expm1(lost.mean())), float(np.expm1(end)), len(lost))

    def finding(self, margin: float) -> Finding:
        """The same as a finding: *caution* where it may be more than a margin."""
        where = f" of {self.part}" if self.part else ""
        if not np.isfinite(self.most):
            words = (
                f"Only {self.num_rows} rows{where} can be scored: whether anything is forgotten is not known."
            )
            return Finding("forgetting", self.part or "benchmark", None, margin, "not assessable", words)
        good = self.most <= margin
        words = (
            f"A row{where} is predicted {abs(self.share):.2%} {'worse' if self.share > 0 else 'better'} than by what is live, at "
            f"most {self.most:.2%} worse ({self.num_rows:,} rows)."
        )
        if not good and self.share <= margin:
            words += " More rows in the benchmark would say for certain."
        return Finding(
            "forgetting", self.part or "benchmark", self.share, margin, "ok" if good else "caution", words
        )

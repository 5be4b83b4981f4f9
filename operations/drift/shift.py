"""What one test saw, and which of many tests speak: Holm's procedure, with an effect that matters.

References
----------
Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...inference.evidence.finding import Finding
from ..thresholds import SHARE_OF_JOINT, SHARE_OF_SLOW, WINDOW_LEVEL
from .series import DATA, LATENT

UNKNOWN = "not assessable"


@dataclass(frozen=True)
class Shift:
    """One test of one series.

    Attributes
    ----------
    stream, name : str
        Of the series.
    test : str
        What was asked: ``"shape"``, ``"spread"``, ``"missing values"`` and so on.
    effect, limit : float
        How much has moved, and what matters.
    matters : bool
        Whether it is beyond.
    p_value : float
        Of rows that have not moved.
    words : str
        From what to what.
    advice : str
    apart : bool
        Whether it has a share of the level for itself.
    most : float
        What its p-value has to be below, besides.
    adjusted : float
        p-value by Holm's procedure among the tests of all series.
    moved : bool
        Whether it speaks.
    num_rows : int
        That it is of.
    early : bool
        Whether this is a warning, which comes oftener than what is promised of findings.
    """

    stream: str
    name: str
    test: str
    effect: float
    limit: float | None
    matters: bool
    p_value: float
    words: str
    advice: str = ""
    apart: bool = False
    most: float = 1.0
    adjusted: float = float("nan")
    moved: bool = False
    num_rows: int = 0
    early: bool = False

    @property
    def finding(self) -> Finding:
        """The same as a `Finding`: *misfit* where model and rows disagree, *caution* where rows alone have moved."""
        rows_alone = self.early or self.stream in (DATA, LATENT)
        verdict = ("caution" if rows_alone else "misfit") if self.moved else "ok"
        sure = "" if np.isnan(self.p_value) else f", p = {self.p_value:.2g}"
        told = f"{self.words} (effect {self.effect:.3g}{sure}, {self.num_rows:,} rows)."
        advice = f"{told} {self.advice}" if self.moved and self.advice else told
        return Finding(
            f"{self.stream}: {self.test}", self.name, _or_none(self.effect), self.limit, verdict, advice
        )


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values: below a level for any that is of no effect with at most that probability, however they depend on each other.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return out


def judged(shifts: Sequence[Shift], level: float = WINDOW_LEVEL) -> list[Shift]:
    """Which of the tests of a window speak: with probability `level` at most any, where nothing has moved.

    Each joint test has a share of the level, a monitor's cumulative sums have one, and all others have the rest together.
    """
    together = [i for i, shift in enumerate(shifts) if not shift.apart and not np.isnan(shift.p_value)]
    adjusted = dict(zip(together, holm([shifts[i].p_value for i in together]), strict=True))
    own, rest = SHARE_OF_JOINT * level, (1 - 2 * SHARE_OF_JOINT - SHARE_OF_SLOW) * level
    out = []
    for i, shift in enumerate(shifts):
        p, limit = (shift.p_value, own) if shift.apart else (adjusted.get(i, np.nan), rest)
        moved = bool(p <= limit and shift.p_value <= shift.most and shift.matters)
        out.append(replace(shift, adjusted=float(p), moved=moved))
    return out

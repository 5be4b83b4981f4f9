"""Residuals: do they still follow a group, a predictor, the prediction itself, or the rows before them?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..thresholds import (
    DIFFERENT,
    DIFFERENT_ROWS,
    LAGS,
    LEAST_DISTINCT,
    LEAST_IN_TIME,
    LEAST_ORDERED,
    PULLED,
)
from .binning import group_means, sorting, waves
from .judge import Test
from .outcome import Outcome
from .refits import left

TIMES = ("time", "date", "year", "month", "day", "week")
"""Words that name a column of time."""

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Look:
    """One way to look at residuals: features ``(…, K)`` of rows ``(…, N)``, and one number for each set of features."""

    check: str
    along: str
    features: Statistic
    statistic: Statistic
    misfit: str
    fits: str
    two_sided: bool = False
    rest: slice | np.ndarray = field(default_factory=lambda: slice(None))

    def tests(self, outcome: Outcome) -> Iterator[Test]:
        """Its test, without the features that a fit settles altogether; none where it settles all."""
        observed, replicated = outcome.standardised
        drawn = self.features(replicated[self.rest])
        refitted = outcome.refitted(drawn, self.rest)
        kept = left(drawn, refitted)
        if kept.any():
            yield Test(
                self.check,
                outcome.name,
                self.along,
                float(self.statistic(self.features(observed) * kept)),
                self.statistic(refitted * kept),
                self.misfit,
                self.fits,
                self.two_sided,
            )


def tests(outcome: Outcome) -> Iterator[Test]:
    """Means of the residuals in groups and along columns, and their correlation from row to row."""
    if outcome.kind == "categorical":
        return
    for look in (*_in_groups(outcome), *_along_columns(outcome), *_from_row_to_row(outcome)):
        yield from look.tests(outcome)


def _in_groups(outcome) -> Iterator[_Look]:
    for along, codes in outcome.groups.items():

        def roots(z, codes=codes):
            mean, size = group_means(codes, z)
            return mean * np.sqrt(size)

        yield _Look(
            "groups",
            along,
            roots,
            _power,
            f"What is left of '{outcome.name}' differs between the groups of {{along}}: give them an effect of their own.",
            f"What is left of '{outcome.name}' does not differ between groups.",
        )


def _along_columns(outcome) -> Iterator[_Look]:
    columns = {k: v for k, v in outcome.columns.items() if len(np.unique(v)) > LEAST_DISTINCT}
    expected, first = sorting(outcome.replicated)
    if _differs(expected, outcome.replicated, first) and outcome.pull(expected) < PULLED:
        columns["the prediction"] = expected
    for along, column in columns.items():
        curve = waves(column) / np.sqrt(len(column))
        shapes: dict[str, tuple[np.ndarray, Statistic]] = {
            "curve": (curve, _power),
            "bend": (curve[1:2], lambda wave: wave[..., 0]),
        }
        for shape, (basis, statistic) in shapes.items():
            yield _Look(
                "curve",
                along,
                partial(_projected, basis),
                statistic,
                f"What is left of '{outcome.name}' follows {{along}}: try a curve, an interaction or another link.",
                f"What is left of '{outcome.name}' follows no predictor.",
                two_sided=shape == "bend",
                rest=~first if along == "the prediction" else slice(None),
            )


def _projected(basis, z):
    return z @ basis.T


def _from_row_to_row(outcome) -> Iterator[_Look]:
    if num_rows(outcome) < LEAST_IN_TIME or not outcome.whole:
        return
    order = in_time(outcome)
    along_rows = partial(_correlations, None if outcome.column is None else outcome.column[order])
    lags: dict[str, Statistic] = {"lag 1": lambda z: along_rows(z[..., order], 1)[..., 0]}
    if outcome.exact:  # else rows pull at each other, and leave residuals that go against each other
        lags[f"lags 1 to {LAGS}"] = lambda z: _log((along_rows(z[..., order], LAGS) ** 2).sum(-1))
    for along, correlation in lags.items():
        yield _Look(
            "dependence on the rows before",
            along,
            correlation,
            lambda value: value,
            f"Neighbouring rows of '{outcome.name}' go together more than the model predicts ({{along}}): they may be in "
            "order of time or of a group; try an autoregression, a random walk or an effect of the group.",
            f"What is left of '{outcome.name}' does not depend on the rows before.",
            two_sided=along == "lag 1" and outcome.exact,
        )


def _differs(expected, replicated, first) -> bool:
    """Whether predictions of rows differ by more than the noise of the draws that they are means of."""
    noise = replicated[:, : min(replicated.shape[1], DIFFERENT_ROWS)].var(0).mean()
    return bool(expected.var() > DIFFERENT * noise / first.sum())


def time_of(outcome: Outcome) -> str | None:
    """The column that is named for time and tells rows apart; None where there is none."""
    for name, column in outcome.columns.items():
        distinct = len(np.unique(column)) > LEAST_ORDERED * num_rows(outcome)
        if distinct and any(word in name.lower() for word in TIMES):
            return name
    return None


def in_time(outcome: Outcome) -> np.ndarray:
    """Order of the elements ``(N,)``: one column after the other, along the column of time or as they come."""
    time = time_of(outcome)
    by = [] if time is None else [outcome.columns[time]]
    by += [] if outcome.column is None else [outcome.column]
    return np.lexsort(by) if by else np.arange(len(outcome.observed))


def num_rows(outcome: Outcome) -> int:
    """Elements of the longest column."""
    return len(outcome.observed) if outcome.column is None else int(np.bincount(outcome.column).max())


def _correlations(column, z, most):
    """Correlations of residuals ``(…, N)`` with those of the rows before, by lag: ``(…, most)``; within columns alone."""
    z = z - (z.mean(-1, keepdims=True) if column is None else group_means(column, z)[0][..., column])
    own, found = np.maximum((z**2).sum(-1), 1e-300), []
    for lag in range(1, most + 1):
        products = z[..., lag:] * z[..., :-lag]
        if column is not None:
            products *= column[lag:] == column[:-lag]
        found.append(products.sum(-1) / own)
    return np.stack(found, -1)


def _power(values):
    return _log((values**2).mean(-1))


def _log(value):
    return np.log(np.maximum(value, 1e-300))

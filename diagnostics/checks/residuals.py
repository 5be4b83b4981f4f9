"""Residuals: do they still follow a group, a predictor, the prediction itself, or the rows before them?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .judge import Test
from .predictions import PULLED, Outcome, group_means, sorting, waves
from .refits import left

LAGS = 5
TIMES = ("time", "date", "year", "month", "day", "week")
LEAST_IN_TIME = 20  # rows
ORDERED = 0.5  # share of distinct values from which on a rising column is time


def tests(outcome: Outcome) -> Iterator[Test]:
    """Means of the residuals in groups and along columns, and their correlation from row to row."""
    if outcome.kind == "categorical":
        return
    observed, replicated = outcome.standardised

    def test(check, along, features, statistic, misfit, fits, two_sided=False, rest=slice(None)):  # noqa: B008
        drawn = features(replicated[rest])
        many = outcome.refitted(drawn, rest)
        kept = left(drawn, many)
        if not kept.any():
            return
        one, many = features(observed) * kept, many * kept
        yield Test(
            check, outcome.name, along, float(statistic(one)), statistic(many), misfit, fits, two_sided
        )

    def roots(codes):
        def features(z):
            mean, size = group_means(codes, z)
            return mean * np.sqrt(size)

        return features

    name = outcome.name
    for along, codes in outcome.groups.items():
        yield from test(
            "groups",
            along,
            roots(codes),
            _power,
            f"What is left of '{name}' differs between the groups of {{along}}: give them an effect of their own.",
            f"What is left of '{name}' does not differ between groups.",
        )
    along_these = {k: v for k, v in outcome.columns.items() if len(np.unique(v)) > 5}
    expected, first = sorting(outcome.replicated)
    if _differs(expected, outcome.replicated, first) and outcome.pull(expected) < PULLED:
        along_these["the prediction"] = expected
    for along, column in along_these.items():
        basis = waves(column) / np.sqrt(len(column))
        shapes = {"curve": (basis, _power), "bend": (basis[1:2], lambda wave: wave[..., 0])}
        for shape, (basis, statistic) in shapes.items():
            yield from test(
                "curve",
                along,
                lambda z, basis=basis: z @ basis.T,
                statistic,
                f"What is left of '{name}' follows {{along}}: try a curve, an interaction or another link.",
                f"What is left of '{name}' follows no predictor.",
                two_sided=shape == "bend",
                rest=~first if along == "the prediction" else slice(None),
            )
    if len(observed) >= LEAST_IN_TIME and outcome.whole:
        order = in_time(outcome)
        lags = {
            "lag 1": lambda z: _correlations(z[..., order], 1)[..., 0],
            f"lags 1 to {LAGS}": lambda z: _log((_correlations(z[..., order], LAGS) ** 2).sum(-1)),
        }
        if not outcome.exact:  # rows that pull at each other leave residuals that go against each other
            del lags[f"lags 1 to {LAGS}"]
        for along, statistic in lags.items():
            yield from test(
                "dependence on the rows before",
                along,
                statistic,
                lambda value: value,
                f"Neighbouring rows of '{name}' go together more than the model predicts ({{along}}): they may be in "
                "order of time or of a group; try an autoregression, a random walk or an effect of the group.",
                f"What is left of '{name}' does not depend on the rows before.",
                two_sided=along == "lag 1" and outcome.exact,
            )


def _differs(expected, replicated, first) -> bool:
    """Whether predictions of rows differ by more than the noise of the draws that they are means of."""
    return bool(
        expected.var() > 2 * replicated[:, : min(replicated.shape[1], 2000)].var(0).mean() / first.sum()
    )


def time_of(outcome: Outcome) -> str | None:
    """The column that is named for time and tells rows apart."""
    for name, column in outcome.columns.items():
        if any(word in name.lower() for word in TIMES) and len(np.unique(column)) > ORDERED * len(column):
            return name
    return None


def in_time(outcome: Outcome) -> np.ndarray:
    """Order of the rows: along the column of time, or as they come."""
    time = time_of(outcome)
    return (
        np.arange(len(outcome.observed)) if time is None else np.argsort(outcome.columns[time], kind="stable")
    )


def _correlations(z, most):
    z = z - z.mean(-1, keepdims=True)
    own = np.maximum((z**2).sum(-1), 1e-300)
    return np.stack([(z[..., lag:] * z[..., :-lag]).sum(-1) / own for lag in range(1, most + 1)], -1)


def _power(values):
    return _log((values**2).mean(-1))


def _log(value):
    return np.log(np.maximum(value, 1e-300))

"""Calibration of binary outcomes: of rows given probability p, does a share p come true?"""

from __future__ import annotations

import numpy as np

from ...inference.evidence.finding import Finding
from .predictions import Outcome, outcomes, tail_probabilities

LEVEL, BINS = 0.01, 10


def binned(by: np.ndarray, outcomes: np.ndarray, most: int = BINS):
    """Means of ``by`` and of the outcomes ``(…, N)`` in bins of equal count along ``by``."""
    order = np.argsort(by, kind="stable")
    groups = [g for g in np.array_split(order, min(most, max(2, len(order) // 10))) if len(g)]
    return (
        np.array([by[g].mean() for g in groups]),
        np.stack([outcomes[..., g].mean(-1) for g in groups], -1),
        np.array([len(g) for g in groups]),
    )


def split(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Predicted probabilities ``(N,)`` to sort rows by, and the other draws to compare with.

    Rows sorted by the noise of draws would differ between bins in those draws, and in nothing else.
    """
    first = np.arange(len(outcome.replicated)) % 4 == 0
    return outcome.replicated[first].mean(0), outcome.replicated[~first]


def covariates(posterior, num_rows: int) -> dict[str, np.ndarray]:
    """Numeric data arguments with one value per row, matrices by column."""
    found = {}
    for name, value in getattr(posterior, "constant_data", {}).items():
        value = np.asarray(value)
        if value.dtype.kind not in "fiu" or value.shape[:1] != (num_rows,):
            continue
        columns = value.reshape(num_rows, -1).T[:20].astype(float)
        for i, column in enumerate(columns):
            if np.ptp(column) > 0:
                found[name if len(columns) == 1 else f"{name}[{i}]"] = column
    return found


def _distance(by, expected, observed, replicated):
    """Chi-square distance of shares from expectations in bins: observed, and replicated ``(S,)``."""
    _, mean, count = binned(by, expected)
    variance = np.maximum(mean * (1 - mean), 1e-6) / count

    def statistic(y):
        return ((binned(by, y)[1] - mean) ** 2 / variance).sum(-1)

    return float(statistic(observed)), statistic(replicated)


def check(posterior) -> list[Finding]:
    """For each binary outcome: along its predicted probability, and along each covariate.

    References
    ----------
    Hosmer & Lemeshow (1980); judged here against its own posterior predictive distribution.
    """
    found = []
    for outcome in outcomes(posterior):
        if outcome.kind != "binary":
            continue
        by_probability, replicated = split(outcome)
        expected = replicated.mean(0)
        along = {"predicted probability": by_probability, **covariates(posterior, len(outcome.observed))}
        statistics = {
            name: _distance(by, expected, outcome.observed, replicated) for name, by in along.items()
        }
        probabilities = tail_probabilities(
            {name: observed for name, (observed, _) in statistics.items()},
            {name: values for name, (_, values) in statistics.items()},
            two_sided=False,
        )
        for name, probability in probabilities.items():
            bad = probability < LEVEL
            if name != "predicted probability" and not bad:
                continue
            found.append(
                Finding(
                    "calibration",
                    outcome.name,
                    probability,
                    LEVEL,
                    "misfit" if bad else "ok",
                    f"Along {name}, the predicted probabilities of '{outcome.name}' are not the shares that "
                    "come true: try another link, a curve or an interaction."
                    if bad
                    else f"The predicted probabilities of '{outcome.name}' are the shares that come true.",
                )
            )
    return found

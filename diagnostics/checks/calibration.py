"""Calibration of binary outcomes: of rows given probability p, does a share p come true?"""

from __future__ import annotations

import numpy as np

from ...inference.evidence.finding import Finding
from .predictions import outcomes, two_sided

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
        expected = outcome.replicated.mean(0)
        along = {
            "predicted probability": expected,
            **covariates(posterior, len(outcome.observed)),
        }
        level = LEVEL / len(along)
        for name, by in along.items():
            _, mean, count = binned(by, expected)
            variance = np.maximum(mean * (1 - mean), 1e-6) / count

            def statistic(y, by=by, mean=mean, variance=variance):
                return ((binned(by, y)[1] - mean) ** 2 / variance).sum(-1)

            replicated = statistic(outcome.replicated)
            observed = float(statistic(outcome.observed))
            probability = two_sided(replicated, observed)
            bad = probability < level and observed > np.median(replicated)
            if name != "predicted probability" and not bad:
                continue
            found.append(
                Finding(
                    "calibration",
                    outcome.name,
                    probability,
                    level,
                    "misfit" if bad else "ok",
                    f"Along {name}, the predicted probabilities of '{outcome.name}' are not the shares that "
                    "come true: try another link, a curve or an interaction."
                    if bad
                    else f"The predicted probabilities of '{outcome.name}' are the shares that come true.",
                )
            )
    return found

"""Calibration of binary outcomes: of rows given probability p, does a share p come true?"""

from __future__ import annotations

import numpy as np

from ...inference.evidence.finding import Finding
from .predictions import outcomes, two_sided

LEVEL, BINS = 0.01, 10


def binned(probability: np.ndarray, outcomes: np.ndarray):
    """Mean probability, share of ones and rows of each bin of equal count."""
    order = np.argsort(probability, kind="stable")
    groups = [g for g in np.array_split(order, min(BINS, max(2, len(order) // 10))) if len(g)]
    return (
        np.array([probability[g].mean() for g in groups]),
        np.stack([outcomes[..., g].mean(-1) for g in groups], -1),
        np.array([len(g) for g in groups]),
    )


def check(posterior) -> list[Finding]:
    """One finding for each binary outcome.

    References
    ----------
    Hosmer & Lemeshow (1980); judged here against its own posterior predictive distribution.
    """
    found = []
    for outcome in outcomes(posterior):
        if outcome.kind != "binary":
            continue
        expected = outcome.replicated.mean(0)

        def statistic(y, expected=expected):
            mean, share, count = binned(expected, y)
            variance = np.maximum(mean * (1 - mean), 1e-6) / count
            return ((share - mean) ** 2 / variance).sum(-1)

        replicated = statistic(outcome.replicated)
        observed = float(statistic(outcome.observed))
        probability = two_sided(replicated, observed)
        bad = probability < LEVEL and observed > np.median(replicated)
        found.append(
            Finding(
                "calibration",
                outcome.name,
                probability,
                LEVEL,
                "misfit" if bad else "ok",
                f"The predicted probabilities of '{outcome.name}' are not the shares that come true: try "
                "another link, a curve or an interaction."
                if bad
                else f"The predicted probabilities of '{outcome.name}' are the shares that come true.",
            )
        )
    return found

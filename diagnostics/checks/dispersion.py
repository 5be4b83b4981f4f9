"""Dispersion: is the spread of the outcomes about their expectation what the model says?"""

from __future__ import annotations

import numpy as np

from ...inference.evidence.finding import Finding
from .predictions import outcomes, standardised, tail_probabilities

LEVEL = 0.01


def statistics(outcome) -> dict:
    """Discrepancies of an outcome: name to values for the observed and the replicated data.

    Logarithms, because a ratio's distribution is skewed and both of its tails count alike.
    """
    z = standardised(outcome)

    def both(statistic, data):
        return tuple(statistic(v) for v in data)

    def log(value):
        return np.log(np.maximum(value, 1e-300))

    found = {"dispersion": both(lambda z: log((z**2).mean(-1)), z)}
    if outcome.kind == "count":
        data = (outcome.observed, outcome.replicated)
        found["share of zeros"] = both(lambda y: (y == 0).mean(-1), data)
    else:
        found["tail weight"] = both(lambda z: log((z**4).mean(-1)) - 2 * log((z**2).mean(-1)), z)
    return found


def check(posterior) -> list[Finding]:
    """Findings for continuous and count outcomes."""
    found = []
    for outcome in outcomes(posterior):
        if outcome.kind not in {"continuous", "count"}:
            continue
        tests = statistics(outcome)
        probabilities = tail_probabilities(
            {name: observed for name, (observed, _) in tests.items()},
            {name: replicated for name, (_, replicated) in tests.items()},
        )
        for name, probability in probabilities.items():
            bad = probability < LEVEL
            found.append(
                Finding(
                    name,
                    outcome.name,
                    probability,
                    LEVEL,
                    "misfit" if bad else "ok",
                    f"The {name} of '{outcome.name}' is not what the model predicts: consider a likelihood "
                    "with a dispersion or tail parameter (negative binomial, Student t)."
                    if bad
                    else f"The {name} of '{outcome.name}' is what the model predicts.",
                )
            )
    return found

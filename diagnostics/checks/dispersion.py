"""Dispersion: is the spread of the outcomes about their expectation what the model says?"""

from __future__ import annotations

import numpy as np

from ...inference.evidence.finding import Finding
from .predictions import outcomes, two_sided

LEVEL = 0.01


def statistics(outcome) -> dict:
    """Discrepancies of an outcome: name to a function of data of shape ``(…, N)``."""
    centre = outcome.replicated.mean(0)
    spread = np.maximum(outcome.replicated.std(0), 1e-12)

    def standardised(y):
        return (y - centre) / spread

    if outcome.kind == "count":
        return {
            "dispersion": lambda y: (standardised(y) ** 2).mean(-1),
            "share of zeros": lambda y: (y == 0).mean(-1),
        }
    return {
        "dispersion": lambda y: (standardised(y) ** 2).mean(-1),
        "tail weight": lambda y: (standardised(y) ** 4).mean(-1) / (standardised(y) ** 2).mean(-1) ** 2,
    }


def check(posterior) -> list[Finding]:
    """Findings for continuous and count outcomes."""
    found = []
    for outcome in outcomes(posterior):
        if outcome.kind not in {"continuous", "count"}:
            continue
        tests = statistics(outcome)
        for name, statistic in tests.items():
            probability = two_sided(statistic(outcome.replicated), float(statistic(outcome.observed)))
            bad = probability < LEVEL / len(tests)
            found.append(
                Finding(
                    name,
                    outcome.name,
                    probability,
                    LEVEL / len(tests),
                    "misfit" if bad else "ok",
                    f"The {name} of '{outcome.name}' is not what the model predicts: consider a likelihood "
                    "with a dispersion or tail parameter (negative binomial, Student t)."
                    if bad
                    else f"The {name} of '{outcome.name}' is what the model predicts.",
                )
            )
    return found

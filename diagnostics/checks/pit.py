"""PIT-ECDF: do the outcomes fall evenly over their predictive distributions?"""

from __future__ import annotations

import numpy as np

from ...inference.evidence.finding import Finding
from .predictions import outcomes, pit

LEVEL = 0.01


def band(num_rows: int, level: float = LEVEL, num_simulations: int = 2000) -> float:
    """Simultaneous band: the largest deviation of a uniform ECDF that is exceeded with probability `level`.

    References
    ----------
    Säilynoja, Bürkner & Vehtari (2022), Graphical test for discrete uniformity, Statistics & Computing 32.
    """
    rng = np.random.default_rng(num_rows)
    draws = np.sort(rng.uniform(size=(num_simulations, min(num_rows, 2000))), axis=1)
    steps = np.arange(1, draws.shape[1] + 1) / draws.shape[1]
    deviation = np.maximum(np.abs(draws - steps), np.abs(draws - steps + 1 / draws.shape[1])).max(1)
    return float(np.quantile(deviation, 1 - level) * np.sqrt(draws.shape[1] / num_rows))


def check(posterior) -> list[Finding]:
    """One finding for each continuous or count outcome."""
    found = []
    rng = np.random.default_rng(posterior.seed)
    for outcome in outcomes(posterior):
        if outcome.kind not in {"continuous", "count"}:
            continue
        values = np.sort(pit(outcome, rng))
        count = len(values)
        steps = np.arange(1, count + 1) / count
        deviation = float(np.maximum(np.abs(values - steps), np.abs(values - steps + 1 / count)).max())
        limit = band(count)
        bad = deviation > limit
        found.append(
            Finding(
                "PIT-ECDF",
                outcome.name,
                deviation,
                limit,
                "misfit" if bad else "ok",
                f"The outcomes of '{outcome.name}' do not fall evenly over their predictions: look at the "
                "overlay for shape, spread and skew."
                if bad
                else f"The outcomes of '{outcome.name}' fall evenly over their predictions.",
            )
        )
    return found

"""Coverage: do the predictive intervals hold as many outcomes as they say?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..thresholds import INTERVALS
from .judge import Test
from .outcome import Outcome


def tests(outcome: Outcome) -> Iterator[Test]:
    """Share of the rows inside central intervals of their predictions, against that of replicated data."""
    if outcome.kind not in {"continuous", "count"} or outcome.near is None:
        return
    for interval in INTERVALS:
        share, shares = ((np.abs(p - 0.5) <= interval / 2).mean(-1) for p in outcome.places)
        yield Test(
            "coverage",
            outcome.name,
            f"{interval:.0%} intervals hold {share:.0%}",
            float(share),
            outcome.refitted(shares),
            f"The predictive intervals of '{outcome.name}' are not as wide as they should be ({{along}}).",
            f"The predictive intervals of '{outcome.name}' hold as many rows as they say.",
        )

"""Two sets of rows compared, series by series: our rules, or those of the sources as they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..thresholds import PERMUTATIONS, SHARE_OF_JOINT, WINDOW_LEVEL
from .series import Seen
from .shift import Shift, judged
from .strict import source_rules
from .tests import compared


def shifts_of(
    reference: Seen, new: Seen, rng: np.random.Generator, strict: bool = False, level: float = WINDOW_LEVEL
) -> Sequence[Shift]:
    """What has moved, and what has not, series by series."""
    if strict:
        return list(source_rules(reference, new, rng))
    dealt = max(
        PERMUTATIONS, int(np.ceil(1 / (SHARE_OF_JOINT * level)))
    )  # as many as can say so little a level
    found = [
        shift for key, one in reference.items() if key in new for shift in compared(one, new[key], rng, dealt)
    ]
    return judged(found, level)

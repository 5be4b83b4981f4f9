"""Two sets of rows compared, series by series: our rules, or those of the sources as they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...inference.evidence.finding import Finding
from ..thresholds import LEAST_COMPARED, MOST_PERMUTATIONS, NAMED, PERMUTATIONS, SHARE_OF_JOINT, WINDOW_LEVEL
from .series import JOINT, Seen
from .shift import UNKNOWN, Shift, judged
from .strict import source_rules
from .tests import MISSING, compared


def shifts_of(
    reference: Seen, new: Seen, rng: np.random.Generator, strict: bool = False, level: float = WINDOW_LEVEL
) -> Sequence[Shift]:
    """What has moved, and what has not, series by series."""
    if strict:
        return list(source_rules(reference, new, rng))
    least = int(np.ceil(1 / (SHARE_OF_JOINT * level)))  # that can say so little a level
    dealt = int(np.clip(least, PERMUTATIONS, MOST_PERMUTATIONS))
    found = [
        shift for key, one in reference.items() if key in new for shift in compared(one, new[key], rng, dealt)
    ]
    return judged(found, level)


def not_compared(reference: Seen, new: Seen, shifts: Sequence[Shift]) -> Iterator[Finding]:
    """What both have and no test has looked at, and why: nobody is to take silence for an answer."""
    told = {(shift.stream, shift.name) for shift in shifts if shift.test != MISSING}
    silent = [key for key in reference if key in new and key[2] != JOINT and key[:2] not in told]
    counts = {key: min(reference[key].count, new[key].count) for key in silent}
    few = [key for key in silent if counts[key] < LEAST_COMPARED]
    for keys, why in (
        (few, f"it takes {LEAST_COMPARED} values on each side"),
        ([key for key in silent if key not in few], "their labels name rows"),
    ):
        if keys:
            names = list(dict.fromkeys(key[1] for key in keys))
            words = f"{', '.join(names[:NAMED])}{' …' if len(names) > NAMED else ''} not compared: {why}."
            least = float(min(counts[key] for key in keys))
            yield Finding(f"{keys[0][0]}: not compared", names[0], least, LEAST_COMPARED, UNKNOWN, words)

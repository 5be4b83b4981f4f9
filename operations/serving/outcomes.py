"""What became of requests, told later by their keys: what they lost, or rows with their outcomes, of which versions' losses follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..asked import is_number
from .answering import computed
from .asked import KEY, Asked, checked_key
from .batches import Batcher
from .columns import read_rows
from .refusals import Refused
from .served import Served
from .settings import Settings
from .thresholds import LEAST_LOG
from .trial import Trial

SCORE, LOSS, ROWS = "score", "loss", "rows"


async def taken(
    asked: Asked, given: Any, trial: Trial, live: Served, batcher: Batcher, settings: Settings
) -> dict[str, Any]:
    """How many outcomes of a body were taken in, and of how many there is no request, or was none that is compared.

    Raises
    ------
    Refused
        422 for what is none, and then none is taken; 501 where rows have no log density.
    """
    told, found = _checked(given, settings.most_rows, trial.shadow), []
    asked.rows = len(told)
    for one in told:
        key = checked_key(one[KEY])
        judges = trial.judges(key, live)
        if LOSS in one:
            losses = [float(one[LOSS])] * len(judges)
        else:
            losses = [
                await _loss(one[ROWS], served, batcher if served is live else trial.batcher, settings)
                for served in judges
            ]
        found.append((key, losses))
    count = sum(trial.lost(key, losses) for key, losses in found if losses)
    return {"taken": count, "unknown": len(found) - count, "decision": trial.as_dict().get("decision")}


def _checked(given: Any, most: int, shadow: bool) -> list[dict[str, Any]]:
    """Outcomes of a body."""
    if not isinstance(given, dict) or given.keys() != {"outcomes"} or not isinstance(given["outcomes"], list):
        raise Refused(422, "body", 'expected {"outcomes": [{"key": …, "loss": …}, …]}.')
    if len(given["outcomes"]) > most:
        raise Refused(413, "too many outcomes", f"expected at most {most}. Send them in parts.")
    for number, one in enumerate(given["outcomes"]):
        if not isinstance(one, dict) or one.keys() not in ({KEY, LOSS}, {KEY, ROWS}):
            words = f'outcome: expected {{"{KEY}": …, "{LOSS}": …}} or {{"{KEY}": …, "{ROWS}": [{{…}}]}}.'
            raise Refused(422, "outcome", words, row=number)
        checked_key(one[KEY])
        if LOSS in one and shadow:
            words = "loss: the caller knows that of one version alone; send the rows with their outcomes."
            raise Refused(422, "outcome", words, row=number)
        if LOSS in one and not (is_number(one[LOSS]) and _finite(one[LOSS])):
            raise Refused(422, "outcome", "loss: expected a finite number.", row=number)
    return given["outcomes"]


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


async def _loss(given: Any, served: Served, batcher: Batcher, settings: Settings) -> float:
    """Minus the mean log density of rows by a version."""
    use = served.uses.get(SCORE)
    if use is None:
        raise Refused(501, "use", served.absent.get(SCORE, "no model of this kind has log densities."))
    rows = read_rows({ROWS: given}, use.wanted, settings.gate, settings.most_rows)
    answers = await computed(served.calls[SCORE], rows, batcher, settings)
    known = [LEAST_LOG if one["log_prob"] is None else max(one["log_prob"], LEAST_LOG) for one in answers]
    return -float(np.mean(known))

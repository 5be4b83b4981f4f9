"""Rows of a body, answered by a version."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...ppl.errors import DataError
from .asked import Asked
from .batches import Batcher
from .columns import Rows, read_rows
from .refusals import Refused
from .served import Call, Served
from .settings import Settings
from .thresholds import PATIENCE
from .verdicts import told


@dataclass(frozen=True, eq=False)
class Answered:
    """What a version answered.

    Attributes
    ----------
    served : Served
    rows : sequence of mapping
    seconds : float
        That computing took; no number where the answers were kept.
    """

    served: Served
    rows: Sequence[dict[str, Any]]
    seconds: float

    @property
    def degraded(self) -> int:
        """How many rows are with less evidence than usual."""
        return sum("degraded" in row for row in self.rows)

    @property
    def untrusted(self) -> float:
        """Share of the rows that are *untrusted*, or with less evidence than usual."""
        return sum(row["verdict"] == "untrusted" or "degraded" in row for row in self.rows) / len(self.rows)


async def answered(
    asked: Asked, served: Served, name: str, given: Any, batcher: Batcher, settings: Settings
) -> Answered:
    """The rows of a body as a version answers them.

    Raises
    ------
    Refused
        For rows that are none of this version's, 501 for what it cannot be asked, 504 where it takes too long.
    """
    use = served.uses.get(name)
    if use is None:
        raise Refused(501, "use", served.absent.get(name, "no model of this kind does this."))
    asked.served = served
    rows = read_rows(given, use.wanted, settings.gate, settings.most_rows)
    asked.rows = rows.count
    keys = rows.keys() if settings.cached else []
    answers, begin, seconds = (
        served.kept.found(name, keys) if settings.cached else None,
        time.monotonic(),
        math.nan,
    )
    if answers is None:
        answers = await computed(served.calls[name], rows, batcher, settings)
        seconds = time.monotonic() - begin
        if settings.cached and not any("degraded" in answer for answer in answers):
            served.kept.keep(name, keys, answers)
    verdicts, reasons = use.verdicts.at(rows)
    every = zip(answers, verdicts, reasons, rows.inside.tolist(), strict=True)
    return Answered(served, [told(*one) for one in every], seconds)


async def computed(call: Any, rows: Rows, batcher: Batcher, settings: Settings) -> Any:
    """What a call gives for rows; with less evidence where there is no time for more, or it fails.

    Raises
    ------
    Refused
        504 where it takes too long, 422 for rows that the model has no law of.
    """
    plain = call.plain if isinstance(call, Call) else None
    try:
        async with asyncio.timeout(settings.seconds):
            if plain is not None and batcher.late(PATIENCE * settings.seconds):
                return await batcher.submit(plain, rows)
            try:
                return await batcher.submit(call, rows)
            except (Refused, DataError):
                raise
            except Exception:
                if plain is None:
                    raise
                return await batcher.submit(plain, rows)
    except DataError as error:
        raise Refused(422, "rows", str(error)) from None
    except TimeoutError:
        words = f"no answer within {settings.seconds:g} s."
        raise Refused(504, "too slow", words, {"Retry-After": "1"}) from None

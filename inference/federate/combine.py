"""Sums of what sites have said, in units that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..stream.told import Told


def onto(told: Told, centre: np.ndarray, scale: np.ndarray) -> Told:
    """The same function, but for a constant, in other units."""
    across = scale / told.scale
    away = (centre - told.centre) / told.scale
    return replace(
        told,
        centre=centre,
        scale=scale,
        linear=across * (told.linear - told.quadratic @ away),
        quadratic=across[:, None] * told.quadratic * across,
    )


def combined(factors: Sequence[Told], nothing: Told) -> Told:
    """The sum of factors, in the middle of their units; `nothing` where there are none."""
    if not factors:
        return nothing
    centre, scale = (np.median([getattr(f, part) for f in factors], 0) for part in ("centre", "scale"))
    moved = [onto(factor, centre, scale) for factor in factors]
    linear, quadratic, natural = (
        sum(getattr(f, part) for f in moved) for part in ("linear", "quadratic", "natural")
    )
    return replace(moved[0], linear=linear, quadratic=quadratic, natural=natural, places=())


def damped(before: Told, after: Told, rate: float) -> Told:
    """A step from one factor towards another."""
    return after if rate == 1 else combined([before.faded(1 - rate), after.faded(rate)], before)

"""Draws of outcomes as numbers of an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .mended import Map, levels_of, weights_of
from .numbers import by_row
from .thresholds import INTERVAL


def summaries(drawn: np.ndarray, map: Map | None = None) -> list[dict[str, Any]]:
    """Mean, sd and quantiles of draws ``(S, N, …)``, for each of N rows; those of the law that a map makes of them."""
    draws = drawn[:, :, 0] if drawn.ndim > 2 and drawn.shape[2] == 1 else drawn
    draws = np.ascontiguousarray(np.moveaxis(draws, 0, -1), float)
    ordered, weights = np.sort(draws, -1), weights_of(map, draws.shape[-1])
    if weights is None:
        mean, sd = draws.mean(-1), draws.std(-1)
    else:
        mean = ordered @ weights
        sd = np.sqrt((ordered - mean[..., None]) ** 2 @ weights)
    return by_row({"mean": mean, "sd": sd, **quantiles(np.moveaxis(ordered, -1, 0), map)})


def quantiles(ordered: np.ndarray, map: Map | None = None) -> dict[str, np.ndarray]:
    """Quantiles of what is in order along its first axis, between neighbours by their distance."""
    last, out = len(ordered) - 1, {}
    for name, level in zip(("q5", "median", "q95"), levels_of(map, INTERVAL), strict=True):
        below = int(level * last)
        share = level * last - below
        out[name] = ordered[below] * (1 - share) + ordered[min(below + 1, last)] * share
    return out

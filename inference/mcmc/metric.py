"""The frame of draws, whose scale is the metric of chains."""

from __future__ import annotations

import numpy as np

from ...guides.transport import Affine
from ..thresholds import LARGEST_METRIC, MANY_ENOUGH


def spread(z: np.ndarray, weights: np.ndarray | None = None, largest: int = LARGEST_METRIC) -> Affine | None:
    """The frame of draws ``(S, dim)``: dense up to `largest` dimensions where they are many enough for it; None where they
    have no spread."""
    dim, weights = z.shape[1], np.full(len(z), 1 / len(z)) if weights is None else weights
    mean = weights @ z
    centred = z - mean
    try:
        if dim <= largest and 1 / np.sum(weights**2) >= MANY_ENOUGH * dim:
            return Affine(mean, np.linalg.cholesky((centred * weights[:, None]).T @ centred))
        sd = np.sqrt(weights @ centred**2)
        return Affine(mean, sd) if np.isfinite(sd).all() and (sd > 0).all() else None
    except np.linalg.LinAlgError:
        return None

"""What an engine is made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...guides.family import Guide
from ...guides.transport import Gaussian
from .loop import Density, Fit


@dataclass(frozen=True, eq=False)
class Problem:
    """A law to be fitted.

    Attributes
    ----------
    density : callable
        See `Density`.
    target : Target
    guide : Guide
    start : Gaussian
    rng : numpy.random.Generator
    stop : callable
        Whether to end; engines that take steps within a step ask it too.
    rows : View
        Which rows the density reads.
    before : Fit or None
        What the engine before it has reached.
    round : int
        How often an engine of this kind has run before.
    kept : Checkpoint or None
        For engines whose state lies on disk while they run.
    """

    density: Density
    target: Any
    guide: Guide
    start: Gaussian
    rng: np.random.Generator
    stop: Callable[[], bool]
    rows: Any = None
    before: Fit | None = None
    round: int = 0
    kept: Any = None


def marked(density: Density) -> Density:
    """A density with what is not finite as −∞, its gradient as 0."""

    def found(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):
            value, grad = density(z)
        bad = ~np.isfinite(value) | ~np.isfinite(grad).all(1)
        if bad.any():
            value, grad = np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, grad)
        return value, grad

    return found

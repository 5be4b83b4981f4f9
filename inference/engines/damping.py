"""The guard of a natural gradient: steps that lower the bound beyond its noise are taken back and made again, shorter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..thresholds import DAMPED, GROWN, NOISE, SPENT


@dataclass(frozen=True)
class Damping:
    """Length of a natural-gradient step, as a share of Newton's.

    Attributes
    ----------
    rate : float
    most : float
        Never more than this.
    """

    rate: float
    most: float

    def shorter(self) -> Damping:
        """After a step that was refused."""
        return replace(self, rate=DAMPED * self.rate)

    def longer(self) -> Damping:
        """After one that was taken."""
        return replace(self, rate=min(self.most, GROWN * self.rate))

    @property
    def spent(self) -> bool:
        """Whether no step is short enough."""
        return self.rate < SPENT


def refused(elbo: float, error: float, before: float, error_before: float, slack: float = 0.0) -> bool:
    """Whether a bound lies below the one before by more than the noise of both, and `slack`."""
    return bool(elbo < before - NOISE * np.hypot(error, error_before) - slack)

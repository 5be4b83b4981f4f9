"""A point at the posterior mode of the unconstrained density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .family import Guide, Params
from .transport import Gaussian


@dataclass(frozen=True)
class Delta:
    """Point mass (maximum a posteriori on the unconstrained space). Its verdict is always *untrusted*.

    Examples
    --------
    >>> Delta().name
    'delta'
    """

    name: str = "delta"
    engines = ("mode",)
    recentres = False  # a mode depends on the coordinates

    def bind(self, target) -> Guide:
        """The guide of a target, whose ``params = {mean: (dim,)}``."""
        return Guide(self, target.dim, Point.by, Point.from_arrays)


@dataclass(frozen=True, eq=False)
class Point:
    """All mass at one point: a law without a density.

    Attributes
    ----------
    mean : numpy.ndarray, shape (dim,)
    """

    mean: np.ndarray

    spread = False

    @classmethod
    def by(cls, start: Gaussian) -> Point:
        """The mean of a Gaussian."""
        return cls(start.mean)

    @classmethod
    def from_arrays(cls, arrays: Params) -> Point:
        """From ``mean``."""
        return cls(np.asarray(arrays["mean"]))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``mean``."""
        return {"mean": self.mean}

    def sample(self, num_draws: int, rng=None) -> np.ndarray:
        """The point, so many times, shape ``(num_draws, dim)``."""
        return np.repeat(self.mean[None], num_draws, 0)

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Zero at the point, and −∞ elsewhere, shape ``(B,)``."""
        return np.where((np.asarray(z) == self.mean).all(-1), 0.0, -np.inf)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The point, and no covariance."""
        return self.mean, np.zeros((len(self.mean), len(self.mean)))

"""Frames: the coordinates in which a Gaussian is standard normal, dense or sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from ..guides.sparse import Factor, Layout

LARGEST_DENSE = 1000  # dimensions up to which frames are dense


@dataclass(frozen=True, eq=False)
class Dense:
    """``z = mean + scale x`` with a dense lower-triangular `scale`."""

    mean: np.ndarray
    scale: np.ndarray

    def points(self, x: np.ndarray) -> np.ndarray:
        """Points at frame coordinates, shape ``(B, dim)``."""
        return self.mean + x @ self.scale.T

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """Frame coordinates of points."""
        return solve_triangular(self.scale, (z - self.mean).T, lower=True).T

    def gradients(self, grad: np.ndarray) -> np.ndarray:
        """Gradients with respect to the frame coordinates."""
        return grad @ self.scale

    @property
    def precision(self) -> np.ndarray:
        """Precision of each coordinate, the others given."""
        inverse = solve_triangular(self.scale, np.eye(len(self.mean)), lower=True)
        return (inverse**2).sum(0)

    @property
    def widest(self) -> float:
        """Largest sd of a coordinate, given those before it."""
        return float(np.abs(np.diag(self.scale)).max())

    @property
    def start(self) -> dict:
        """What `Guide.init` takes."""
        return {"mean": self.mean, "scale_tril": self.scale, "sd": np.abs(np.diag(self.scale))}


@dataclass(frozen=True, eq=False)
class Sparse:
    """``z = mean + L⁻ᵀ x`` with a sparse factor of the precision."""

    mean: np.ndarray
    factor: Factor

    def points(self, x: np.ndarray) -> np.ndarray:
        """Points at frame coordinates, shape ``(B, dim)``."""
        return self.mean + self.factor.root(x)

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """Frame coordinates of points."""
        return self.factor.unroot(z - self.mean)

    def gradients(self, grad: np.ndarray) -> np.ndarray:
        """Gradients with respect to the frame coordinates."""
        return self.factor.whiten(grad)

    @property
    def precision(self) -> np.ndarray:
        """Precision of each coordinate, the others given."""
        return self.factor.precision_diagonal

    @property
    def widest(self) -> float:
        """Largest sd of a coordinate, given those eliminated after it."""
        return float(1 / min(self.factor.diagonal.min(), np.diag(self.factor.lower).min()))

    @property
    def start(self) -> dict:
        """What `Guide.init` takes."""
        return {"mean": self.mean, "factor": self.factor, "sd": 1 / np.sqrt(self.precision)}


def independent(mean: np.ndarray, sd: np.ndarray) -> Dense | Sparse:
    """The frame of independent Gaussians."""
    if len(mean) <= LARGEST_DENSE:
        return Dense(mean, np.diag(sd))
    layout = Layout.diagonal(len(mean))
    return Sparse(mean, Factor(layout, 1 / sd, np.zeros(0), np.diag(1 / sd[layout.tail])))


def sparse(mean: np.ndarray, factor: Factor) -> Dense | Sparse:
    """The frame of a Gaussian with a sparse precision."""
    if len(mean) > LARGEST_DENSE:
        return Sparse(mean, factor)
    root = factor.root(np.eye(len(mean)))
    return Dense(mean, np.linalg.cholesky(root.T @ root))

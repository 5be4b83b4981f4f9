"""Coordinates in which chains run: those of an affine frame, or the base coordinates of a flow.

References
----------
Hoffman et al. (2019), NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..evidence.frame import Dense


@dataclass(frozen=True, eq=False)
class Affine:
    """``z = mean + scale x``, with one scale per coordinate or a lower-triangular matrix."""

    mean: np.ndarray
    scale: np.ndarray

    flow = None

    @property
    def arrays(self) -> tuple:
        """What the backend's sampler takes."""
        return self.mean, self.scale

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """Coordinates of points, shape ``(B, dim)``."""
        if self.scale.ndim == 1:
            return (z - self.mean) / self.scale
        return Dense(self.mean, self.scale).coordinates(z)

    def points(self, x: np.ndarray) -> np.ndarray:
        """Points at coordinates."""
        return self.mean + (x * self.scale if self.scale.ndim == 1 else x @ self.scale.T)

    def pulled(self, x, value, grad) -> tuple[np.ndarray, np.ndarray]:
        """Log density in the coordinates, up to a constant, and its gradient, from those at the points."""
        return value, grad * self.scale if self.scale.ndim == 1 else grad @ self.scale


@dataclass(frozen=True, eq=False)
class Bent:
    """``z = mean + scale T(x)``: the base coordinates of a flow, in which its law is standard normal."""

    guide: object
    params: dict

    @property
    def flow(self):
        """The backend's layers."""
        return self.guide.flow

    @property
    def arrays(self) -> tuple:
        """What the backend's sampler takes."""
        params = self.params
        return params["mean"], params["scale_tril"], self.guide.weights(params), self.guide.order

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """Coordinates of points, shape ``(B, dim)``."""
        return self.guide.inverse(self.params, z)[0]

    def points(self, x: np.ndarray) -> np.ndarray:
        """Points at coordinates."""
        return self.guide.forward(self.params, x)[0]

    def pulled(self, x, value, grad) -> tuple[np.ndarray, np.ndarray]:
        """Log density in the coordinates, up to a constant, and its gradient, from those at the points."""
        bent = self.guide.forward(self.params, x)[1] - self.guide.log_scale(self.params)
        return value + bent, self.guide.pullback(self.params, x, grad)

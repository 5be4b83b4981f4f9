"""Stein's identities on weighted draws: do they come from the density that they should?

For draws of p and any frame, ``E[h] = 0`` and ``E[h xᵀ] = −I``, with h the gradient of log p in the frame's
coordinates x. What is left over says in which direction the draws miss p, and by how much.

References
----------
Gorham & Mackey (2015), Measuring sample quality with Stein's method, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...guides.transport import Gaussian
from ..thresholds import TYPICAL
from .pool import Pool


@dataclass(frozen=True, eq=False)
class Stein:
    """Residuals in the frame, with standard errors.

    Attributes
    ----------
    location : numpy.ndarray, shape (dim,)
        ``E[h]``: for a Gaussian, how far the mean is off, in sds.
    scale : numpy.ndarray, shape (dim, dim)
        ``E[h xᵀ] + I``: for a Gaussian, how far the variance is off, as a fraction.
    location_se, scale_se : numpy.ndarray
    x : numpy.ndarray or None
        The coordinates that the residuals are of, at each draw of the law, where they are no frame's: of a guide
        that is bent.
    """

    location: np.ndarray
    scale: np.ndarray
    location_se: np.ndarray
    scale_se: np.ndarray
    x: np.ndarray | None = None

    def along(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals along unit directions ``(Q, dim)``, each enlarged by two standard errors."""
        location = np.abs(directions @ self.location) + 2 * np.sqrt(directions**2 @ self.location_se**2)
        scale = np.abs(((directions @ self.scale) * directions).sum(1))
        error = np.sqrt(((directions**2) @ (self.scale_se**2) * directions**2).sum(1))
        return location, scale + 2 * error

    @property
    def worst(self) -> tuple[float, float]:
        """Largest residuals of the frame's coordinates, enlarged by two standard errors."""
        location = np.abs(self.location) + 2 * self.location_se
        return location.max(), (np.abs(np.diag(self.scale)) + 2 * np.diag(self.scale_se)).max()

    @property
    def curvature(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and vectors of ``−E[h xᵀ]``: near 0 in a direction that nothing holds."""
        matrix = np.eye(len(self.location)) - self.scale
        return np.linalg.eigh(0.5 * (matrix + matrix.T))


@dataclass(frozen=True, eq=False)
class SharedStein:
    """Residuals in the coordinates that groups share, of draws whose groups are drawn given them.

    Attributes
    ----------
    residual : Stein or None
        None where there are no gradients to take it of: then the weights alone speak.
    x : numpy.ndarray, shape (S, D)
        The coordinates, at each draw.
    weights : numpy.ndarray, shape (S,)
    """

    residual: Stein | None
    x: np.ndarray
    weights: np.ndarray

    @property
    def worst(self) -> tuple[float, float]:
        """See `Stein.worst`."""
        return (0.0, 0.0) if self.residual is None else self.residual.worst

    def of(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals of quantities with `values` at the draws, along what they have of the coordinates."""
        if self.residual is None:
            return np.zeros(values.shape[1]), np.zeros(values.shape[1])
        return self.residual.along(directions(self.x, values, self.weights))


def stein(x: np.ndarray, h: np.ndarray, weights: np.ndarray) -> Stein:
    """Residuals of weighted draws ``x`` ``(S, dim)`` with frame gradients ``h`` ``(S, dim)``."""
    h = np.where(np.isfinite(h), h, 0.0)
    location = weights @ h
    moment = (weights[:, None] * h).T @ x
    w2 = weights**2
    location_se = np.sqrt(w2 @ (h - location) ** 2)
    second = (w2[:, None] * h**2).T @ x**2
    scale_se = np.sqrt(np.maximum(second - w2.sum() * moment**2, 0.0))
    return Stein(location, 0.5 * (moment + moment.T) + np.eye(x.shape[1]), location_se, scale_se)


@dataclass(frozen=True, eq=False)
class MarginalStein:
    """Residuals of each coordinate of a sparse Gaussian, in sds and as a fraction of its variance.

    With P its precision, ``E[P⁻¹ ∇log p]`` is the Newton step of the mean, and ``E[(z - m) P⁻¹ ∇log p]`` minus the
    variance for an exact fit.
    """

    location: np.ndarray
    scale: np.ndarray
    location_se: np.ndarray
    scale_se: np.ndarray

    @property
    def _bounds(self):
        return np.abs(self.location) + 2 * self.location_se, np.abs(self.scale) + 2 * self.scale_se

    @property
    def worst(self) -> tuple[float, float]:
        """Largest residuals, enlarged by two standard errors."""
        location, scale = self._bounds
        return location.max(), scale.max()

    def typical(self, few: np.ndarray) -> tuple[float, float]:
        """As `worst`, of the coordinates `few` and of all but one in fifty of the others."""
        location, scale = (max(b[few].max(initial=0.0), np.quantile(b, TYPICAL)) for b in self._bounds)
        return float(location), float(scale)

    def of(self, known, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Residuals of quantities, enlarged by two standard errors.

        Parameters
        ----------
        known : Coordinates or None
            What they are made of: a quantity gets the worst of the coordinates behind it, all where unknown.
        count : int
            Number of quantities.
        """
        if known is None:
            location, scale = self.worst
            return np.full(count, location), np.full(count, scale)
        location, scale = self._bounds
        return known.behind(location), known.behind(scale)


def marginal_stein(frame: Gaussian, pool: Pool, weighted: bool) -> MarginalStein:
    """Residuals of a sparse Gaussian, at the guide's own draws of a pool or at all of them, weighted."""
    rows = slice(None) if weighted else pool.from_guide
    z, grad = pool.z[rows], pool.grad[rows]
    weights = pool.weights if weighted else np.full(len(z), 1 / len(z))
    centred = z - frame.mean
    rest = centred + frame.linear(frame.whiten(np.where(np.isfinite(grad), grad, 0.0)))
    sd = frame.marginals()[1]
    variance = sd**2
    location = weights @ rest
    product = rest * centred / variance
    scale, squared = weights @ product, weights**2
    location_se = np.sqrt(squared @ (rest - location) ** 2) / sd
    return MarginalStein(location / sd, scale, location_se, np.sqrt(squared @ (product - scale) ** 2))


def directions(x: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Unit vectors along which each quantity varies: weighted regression of ``values`` on ``x``."""
    centred = x - weights @ x
    gram = (weights[:, None] * centred).T @ centred
    gram += 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram))
    slope = np.linalg.solve(gram, (weights[:, None] * centred).T @ values).T
    norm = np.linalg.norm(slope, axis=1, keepdims=True)
    return slope / np.where(norm > 0, norm, 1.0)

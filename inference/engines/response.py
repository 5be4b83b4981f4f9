"""Linear response: how the guide's means move when the log density is tilted, which is their covariance.

Independent Gaussians get their means right and their sds too small. The change of those means under a small tilt
``log p + t·z`` is ``E_q[-∇² log p]⁻¹ t``, and at ``t = 0`` it is the covariance of z: exactly so for a Gaussian
posterior, whatever the guide. The matrix is never formed: conjugate gradients in the guide's frame need its products
alone, and these are differences of gradients.

References
----------
Giordano, Broderick & Jordan (2018), Covariances, robustness, and variational Bayes, JMLR 19. Hestenes & Stiefel
(1952), Methods of conjugate gradients for solving linear systems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from ...guides.transport import Gaussian
from ..thresholds import (
    HESSIAN_STEP,
    LARGEST_CALL,
    MOST_RESPONSE_GRADIENTS,
    RESPONSE_DRAWS,
    RESPONSE_TOLERANCE,
)
from .designs import antithetic
from .loop import Density


@dataclass
class Curvature:
    """Products with ``E_q[-∇² log p]``: averages over fixed draws of central differences of the gradient.

    Attributes
    ----------
    density : callable
        ``density(z) -> (log density (B,), gradient (B, dim))``.
    points : numpy.ndarray, shape (M, dim)
        Draws of the guide.
    num_gradients : int
        Gradients used so far.
    """

    density: Density
    points: np.ndarray
    num_gradients: int = 0

    @classmethod
    def of(cls, density: Density, guide: Gaussian, rng: np.random.Generator, num_draws: int) -> Curvature:
        """At antithetic draws of a guide, those left out where the density is not finite."""
        points = guide.forward(antithetic(rng, num_draws, guide.dim, unit=True))[0]
        value, grad = density(points)
        good = np.isfinite(value) & np.isfinite(grad).all(1)
        return cls(density, points[good] if good.any() else guide.mean[None], len(points))

    def __call__(self, v: np.ndarray, single: bool = False) -> np.ndarray:
        """The matrix times each row of `v`; rows are about a draw's distance from the mean, or an sd long.

        Parameters
        ----------
        v : numpy.ndarray, shape (K, dim)
            What is multiplied.
        single : bool
            Whether each row sees one of the draws, in turn, in place of all.
        """
        num, dim = (1 if single else len(self.points)), v.shape[1]
        size = max(1, LARGEST_CALL // (2 * num * dim))
        parts = [self._part(v, slice(k, k + size), single) for k in range(0, len(v), size)]
        self.num_gradients += 2 * num * len(v)
        return np.concatenate(parts) if parts else np.zeros_like(v)

    def _part(self, v, rows, single):
        shift = HESSIAN_STEP * v[rows, None]
        places = self.points[None]
        if single:
            places = self.points[np.arange(len(v))[rows] % len(self.points)][:, None]
        z = np.stack([places + shift, places - shift])
        value, grad = self.density(z.reshape(-1, v.shape[1]))
        finite = np.asarray(np.isfinite(value) & np.isfinite(grad).all(1)).reshape(z.shape[:3])
        good = np.asarray(finite.all(0))[..., None]
        change = np.where(good, np.subtract(*grad.reshape(z.shape)[::-1]), 0.0)
        return change.sum(1) / (2 * HESSIAN_STEP * np.maximum(good.sum(1), 1))


@dataclass
class Response:
    """Covariances of some linear functions of z.

    Attributes
    ----------
    covariance : numpy.ndarray, shape (K, K)
    error : numpy.ndarray, shape (K,)
        Bound on how far each sd may still be too small, as a fraction; infinite where the curvature is negative.
    converged : numpy.ndarray of bool, shape (K,)
        Where `error` is within the tolerance.
    num_iterations, num_gradients : int
    """

    covariance: np.ndarray
    error: np.ndarray
    converged: np.ndarray
    num_iterations: int
    num_gradients: int

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations; those that did not converge are too small."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))


def linear_response(
    density: Density,
    guide: Gaussian,
    functions: np.ndarray,
    rng: np.random.Generator,
    num_draws: int = RESPONSE_DRAWS,
    max_gradients: int = MOST_RESPONSE_GRADIENTS,
    tolerance: float = RESPONSE_TOLERANCE,
    callback: Callable[[], bool] | None = None,
) -> Response:
    """Covariances of coordinates, or of linear functions of them, by conjugate gradients.

    Parameters
    ----------
    density : callable
        See `Density`.
    guide : Gaussian
        As it was fitted.
    functions : numpy.ndarray, shape (K,) of int or (K, dim)
        Coordinates, or one linear function a row.
    num_draws : int
        Draws over which the Hessian is averaged; even.
    rng : numpy.random.Generator
        For the draws, and a random function.
    max_gradients : int
        Where it ends.
    callback : callable, optional
        Whether to stop.
    tolerance : float
        Largest error of an sd, as a fraction.

    Notes
    -----
    The matrix is the block of the means. The full response of independent Gaussians also lets their log sds move,
    which adds a term of second order in the third derivatives. It is left out: on a logistic regression with 500
    coefficients it changes the sds by 0.1%, and from a few draws its estimate need not leave the matrix positive.
    What matters more is where the Hessian is averaged: a guide that is too narrow averages it over too little, so that
    the response of a low-rank guide is the better one, and the cheaper one, its frame being a better preconditioner.

    One more right-hand side is random: its Krylov space sees the wide directions that the functions may hardly touch
    at first, so that the bounds know of them.
    """
    dim = guide.dim
    rows = np.asarray(functions)
    if rows.ndim == 1:
        rows = _units(rows, dim)
    product = Curvature.of(density, guide, rng, num_draws)
    right = np.concatenate([guide.whiten(rows), rng.standard_normal((1, dim))])
    size = np.linalg.norm(right, axis=1, keepdims=True)
    size = np.where(size > 0, size, 1.0)
    right = right / size

    x, rest, way = np.zeros_like(right), right.copy(), right.copy()
    squared = (rest**2).sum(1)
    count = len(right)
    error, negative = np.full(count, np.inf), np.zeros(count, bool)
    active, lowest = squared > 0, np.inf
    error[~active] = 0.0
    alphas: list[list[float]] = [[] for _ in range(count)]
    betas: list[list[float]] = [[] for _ in range(count)]
    num_iterations = 0
    while active[:-1].any():
        cost = 2 * len(product.points) * int(active.sum())
        if product.num_gradients + cost > max_gradients or (callback is not None and callback()):
            break
        which = np.flatnonzero(active)
        length = np.linalg.norm(way[which], axis=1, keepdims=True)
        image = guide.whiten(product(guide.linear(way[which] / length))) * length
        curved = (way[which] * image).sum(1)
        bad = curved <= 1e-10 * length[:, 0] ** 2
        negative[which[bad]], active[which[bad]], error[which[bad]] = True, False, np.inf
        which, image, curved = which[~bad], image[~bad], curved[~bad]
        alpha = squared[which] / curved
        x[which] += alpha[:, None] * way[which]
        rest[which] -= alpha[:, None] * image
        now = (rest[which] ** 2).sum(1)
        beta = now / squared[which]
        way[which] = rest[which] + beta[:, None] * way[which]
        squared[which] = now
        for k, step, ratio in zip(which, alpha, beta, strict=True):
            alphas[k].append(step)
            betas[k].append(ratio)
            lowest = min(lowest, _lowest(np.array(alphas[k]), np.array(betas[k])))
        variance = np.maximum((x * (right + rest)).sum(1), 1e-300)
        error = np.where(negative, np.inf, 0.5 * squared / (lowest * variance))
        active = ~negative & (error > tolerance) & (squared > 1e-24)
        num_iterations += 1
    covariance = right[:-1] @ x[:-1].T + x[:-1] @ rest[:-1].T
    covariance = 0.5 * (covariance + covariance.T) * size[:-1] * size[:-1].T
    return Response(covariance, error[:-1], error[:-1] <= tolerance, num_iterations, product.num_gradients)


def _units(coordinates: np.ndarray, dim: int) -> np.ndarray:
    """Unit vectors, shape ``(K, dim)``."""
    rows = np.zeros((len(coordinates), dim))
    rows[np.arange(len(coordinates)), coordinates] = 1.0
    return rows


def _lowest(alpha, beta) -> float:
    """Smallest Ritz value of a Krylov space, from the numbers of conjugate gradients."""
    diagonal = 1.0 / alpha
    diagonal[1:] += beta[:-1] / alpha[:-1]
    beside = np.sqrt(beta[:-1]) / alpha[:-1]
    return float(eigvalsh_tridiagonal(diagonal, beside, select="i", select_range=(0, 0))[0])

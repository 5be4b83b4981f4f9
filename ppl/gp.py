"""``er.gp``: covariance functions of Gaussian processes, exact and by a Hilbert-space approximation.

Covariances are written in ``er.math``, so hyperparameters may be latent on either backend. An exact process is a
``MultivariateNormal``, cubic in the number of points::

    kernel = er.gp.Matern52(lengthscale=ell, scale=eta)
    f = er.sample("f", er.MultivariateNormal(m.zeros(n), scale_tril=er.gp.cholesky(kernel, x)))

The approximation is a linear model on fixed basis functions, linear in the number of points::

    basis = er.gp.HilbertBasis(x, num=30)
    beta = er.sample("beta", er.Normal(0, 1).expand([30]).to_event(1))
    f = er.deterministic("f", basis.functions @ (basis.weights(kernel) * beta))

References
----------
Rasmussen and Williams (2006), Gaussian Processes for Machine Learning. Riutort-Mayol, Bürkner, Andersen, Solin
and Vehtari (2023), Practical Hilbert space approximate Bayesian Gaussian processes for probabilistic programming,
Statistics and Computing 33.

Examples
--------
>>> import elboroom as er
>>> kernel = er.gp.Matern52(lengthscale=1.0, scale=2.0)
>>> er.gp.covariance(kernel, [0.0, 1.0], jitter=0.0).round(3).tolist()  # the scale is a standard deviation
[[4.0, 2.096], [2.096, 4.0]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import math as m
from .errors import ModelError, ShapeError, explain
from .thresholds import BOUNDARY, JITTER

__all__ = ["RBF", "ExpQuad", "HilbertBasis", "Matern32", "Matern52", "Periodic", "cholesky", "covariance"]


def _points(x: Any) -> Any:
    """Points as a matrix, one row each."""
    x = np.asarray(x, dtype=float) if isinstance(x, (list, tuple)) or not hasattr(x, "ndim") else x
    x = m.like(x, x)
    return m.expand_dims(x, -1) if np.ndim(x) == 1 else x


def _squared_distance(x: Any, y: Any, lengthscale: Any) -> Any:
    """Between all rows of two matrices, in lengthscales: shape (n, m)."""
    gaps = (m.expand_dims(_points(x), 1) - m.expand_dims(_points(y), 0)) / lengthscale
    return m.sum(gaps * gaps, -1)


def _distance(x: Any, y: Any, lengthscale: Any) -> Any:
    """Its root, whose gradient is zero and not NaN where two points coincide."""
    squared = _squared_distance(x, y, lengthscale)
    apart = squared > 0
    return m.where(apart, m.sqrt(m.where(apart, squared, 1.0)), 0.0)


@dataclass(frozen=True)
class ExpQuad:
    """Exponentiated quadratic covariance ``scale**2 exp(-d**2 / (2 lengthscale**2))``: very smooth functions.

    Parameters
    ----------
    lengthscale : array_like, default 1
        Distance over which the function changes, positive; one for each column of the points, if several.
    scale : array_like, default 1
        Marginal standard deviation, positive.

    References
    ----------
    Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 4.2.

    Examples
    --------
    >>> ExpQuad(lengthscale=1.0, scale=2.0)([0.0, 1.0]).round(3)
    array([[4.   , 2.426],
           [2.426, 4.   ]])
    """

    lengthscale: Any = 1.0
    scale: Any = 1.0

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Covariances between the rows of `x` and of `y`, by default of `x`: shape (n, m)."""
        squared = _squared_distance(x, x if y is None else y, self.lengthscale)
        return m.square(self.scale) * m.exp(-0.5 * squared)

    def spectral_density(self, frequency: Any) -> Any:
        """Spectral density at angular frequencies.

        Parameters
        ----------
        frequency : array_like, shape (K, D)
            In radians per unit of the points.

        Returns
        -------
        array, shape (K,)

        References
        ----------
        Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, chapter 4.
        """
        widths, scaled = _in_lengthscales(self.lengthscale, frequency)
        volume = m.prod(widths * np.sqrt(2 * np.pi), -1)
        return m.square(self.scale) * volume * m.exp(-0.5 * m.sum(scaled * scaled, -1))


RBF = ExpQuad
"""Another name of `ExpQuad`."""


@dataclass(frozen=True)
class Matern32:
    """Matérn covariance of order 3/2: functions with one derivative.

    Parameters
    ----------
    lengthscale : array_like, default 1
        Distance over which the function changes, positive; one for each column of the points, if several.
    scale : array_like, default 1
        Marginal standard deviation, positive.

    References
    ----------
    Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 4.2.

    Examples
    --------
    >>> Matern32()([0.0, 1.0]).round(3)
    array([[1.   , 0.483],
           [0.483, 1.   ]])
    """

    lengthscale: Any = 1.0
    scale: Any = 1.0

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Covariances between the rows of `x` and of `y`, by default of `x`: shape (n, m)."""
        d = np.sqrt(3) * _distance(x, x if y is None else y, self.lengthscale)
        return m.square(self.scale) * (1 + d) * m.exp(-d)

    def spectral_density(self, frequency: Any) -> Any:
        """Spectral density at angular frequencies.

        Parameters
        ----------
        frequency : array_like, shape (K, D)
            In radians per unit of the points.

        Returns
        -------
        array, shape (K,)

        References
        ----------
        Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, chapter 4.
        """
        return _matern_density(1.5, self, frequency)


@dataclass(frozen=True)
class Matern52:
    """Matérn covariance of order 5/2: functions with two derivatives.

    Parameters
    ----------
    lengthscale : array_like, default 1
        Distance over which the function changes, positive; one for each column of the points, if several.
    scale : array_like, default 1
        Marginal standard deviation, positive.

    References
    ----------
    Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 4.2.

    Examples
    --------
    >>> Matern52()([0.0, 1.0]).round(3)
    array([[1.   , 0.524],
           [0.524, 1.   ]])
    """

    lengthscale: Any = 1.0
    scale: Any = 1.0

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Covariances between the rows of `x` and of `y`, by default of `x`: shape (n, m)."""
        d = np.sqrt(5) * _distance(x, x if y is None else y, self.lengthscale)
        return m.square(self.scale) * (1 + d + d * d / 3) * m.exp(-d)

    def spectral_density(self, frequency: Any) -> Any:
        """Spectral density at angular frequencies.

        Parameters
        ----------
        frequency : array_like, shape (K, D)
            In radians per unit of the points.

        Returns
        -------
        array, shape (K,)

        References
        ----------
        Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, chapter 4.
        """
        return _matern_density(2.5, self, frequency)


@dataclass(frozen=True)
class Periodic:
    """Periodic covariance ``scale**2 exp(-2 sin(pi d / period)**2 / lengthscale**2)``.

    Parameters
    ----------
    period : array_like
        Distance after which the function repeats, positive.
    lengthscale, scale : array_like, default 1
        Roughness within a period, and marginal standard deviation; both positive.

    References
    ----------
    MacKay (1998), Introduction to Gaussian processes.

    Examples
    --------
    >>> Periodic(period=2.0)([0.0, 1.0, 2.0]).round(3)[0]
    array([1.   , 0.135, 1.   ])
    """

    period: Any
    lengthscale: Any = 1.0
    scale: Any = 1.0

    def __call__(self, x: Any, y: Any = None) -> Any:
        """Covariances between the rows of `x` and of `y`, by default of `x`: shape (n, m)."""
        y = x if y is None else y
        gaps = m.expand_dims(_points(x), 1) - m.expand_dims(_points(y), 0)
        turned = m.sin(np.pi * gaps / self.period) / self.lengthscale
        return m.square(self.scale) * m.exp(-2 * m.sum(turned * turned, -1))


def _in_lengthscales(lengthscale: Any, frequency: Any) -> tuple[Any, Any]:
    """One lengthscale for each column of the frequencies, and the frequencies in their units."""
    columns = np.ones(np.shape(frequency)[-1])
    lengthscale = m.like(lengthscale, lengthscale)
    widths = lengthscale * m.like(columns, lengthscale)
    return widths, widths * m.like(frequency, widths)


def _matern_density(order: float, kernel: Any, frequency: Any) -> Any:
    from scipy.special import gamma

    widths, scaled = _in_lengthscales(kernel.lengthscale, frequency)
    dim = np.shape(frequency)[-1]
    constant = (4 * np.pi) ** (dim / 2) * gamma(order + dim / 2) / gamma(order) * (2 * order) ** order
    fall = (2 * order + m.sum(scaled * scaled, -1)) ** -(order + dim / 2)
    return m.square(kernel.scale) * constant * m.prod(widths, -1) * fall


def covariance(kernel: Any, x: Any, jitter: float = JITTER) -> Any:
    """Covariance matrix of a process at points, positive definite also where points nearly coincide.

    Parameters
    ----------
    kernel : callable
        A covariance function of this module, or a sum or product of such: ``lambda x, y: k1(x, y) + k2(x, y)``.
    x : array_like, shape (n,) or (n, D)
        Points, one row each.
    jitter : float, default 1e-8
        Added to the diagonal, relative to its mean. In single precision 1e-5 is needed.

    Returns
    -------
    array, shape (n, n)

    Examples
    --------
    >>> covariance(ExpQuad(), [0.0, 1.0]).round(3)
    array([[1.   , 0.607],
           [0.607, 1.   ]])
    """
    matrix = kernel(x, x)
    size = m.mean(m.linalg.diagonal(matrix))
    return matrix + jitter * size * m.like(np.eye(np.shape(matrix)[-1]), matrix)


def cholesky(kernel: Any, x: Any, jitter: float = JITTER) -> Any:
    """Lower Cholesky factor of a covariance matrix, for ``MultivariateNormal(..., scale_tril=...)`` or ``factor @ z``.

    Parameters
    ----------
    kernel : callable
        See `covariance`.
    x : array_like, shape (n,) or (n, D)
        Points, one row each.
    jitter : float, default 1e-8
        See `covariance`.

    Returns
    -------
    array, shape (n, n)

    Examples
    --------
    >>> cholesky(ExpQuad(), [0.0, 1.0]).round(3)
    array([[1.   , 0.   ],
           [0.607, 0.795]])
    """
    return m.linalg.cholesky(covariance(kernel, x, jitter))


class HilbertBasis:
    """Basis functions on which a stationary process is a linear model with independent normal weights.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, D)
        Points. They are centred on the middle of their range.
    num : int or sequence of int
        Number of basis functions, for each column; the basis is their product.
    boundary : float or sequence of float, default 1.5
        Half width of the domain, relative to that of the points. Larger values need more functions; a
        lengthscale of ``a`` half ranges asks for at least ``max(1.2, 3.2 a)`` (4.1 for `Matern52`, 4.5 for
        `Matern32`).
    center, half_range : array_like, optional
        Middle and half width of the points that the basis is for, where `x` are new points.

    Attributes
    ----------
    functions : array, shape (n, K)
        Values of the basis functions, K the product of `num`.
    frequencies : numpy.ndarray, shape (K, D)
        Roots of the eigenvalues, in units of the points.

    Raises
    ------
    ModelError
        If `boundary` is not above 1, or the range of a column is zero.
    ShapeError
        If `num` or `boundary` do not have one entry for each column.

    Notes
    -----
    On ``[-L, L]`` the functions are ``sin(sqrt(lambda_j) (x + L)) / sqrt(L)`` with ``sqrt(lambda_j) = j pi / (2
    L)``. A lengthscale of ``a`` half ranges is represented well by about ``1.75 boundary / a`` of them (2.65 for
    `Matern52`, 3.42 for `Matern32`).

    Examples
    --------
    >>> basis = HilbertBasis(np.linspace(0, 10, 50), num=40, boundary=2.0)
    >>> kernel = Matern52(lengthscale=2.0, scale=1.5)
    >>> loadings = basis.functions * basis.weights(kernel)
    >>> bool(np.abs(loadings @ loadings.T - kernel(np.linspace(0, 10, 50))).max() < 0.01)
    True
    """

    def __init__(
        self, x: Any, num: Any, boundary: Any = BOUNDARY, center: Any = None, half_range: Any = None
    ):
        points = _points(x)
        dim = np.shape(points)[-1]
        counts = _each("num", num, dim, int)
        ratio = np.array(_each("boundary", boundary, dim, float))
        if np.any(ratio <= 1):
            raise ModelError(
                explain("HilbertBasis, 'boundary'", "a number above 1", f"{boundary}", f"use {BOUNDARY}")
            )
        low, high = m.min(points, 0), m.max(points, 0)
        self.center = 0.5 * (low + high) if center is None else center
        self.half_range = 0.5 * (high - low) if half_range is None else half_range
        if isinstance(self.half_range, np.ndarray) and np.any(self.half_range <= 0):
            raise ModelError(
                explain("HilbertBasis, 'x'", "points that differ", "a range of zero", "drop that column")
            )
        width = self.half_range * m.like(ratio, points)
        grid = np.stack(np.meshgrid(*(np.arange(1, n + 1) for n in counts), indexing="ij"), -1)
        orders = m.like(grid.reshape(-1, dim), points)
        self.frequencies = orders * np.pi / (2 * width)
        shifted = m.expand_dims(points - self.center + width, 1)
        self.functions = m.prod(m.sin(self.frequencies * shifted) / m.sqrt(width), -1)

    def weights(self, kernel: Any) -> Any:
        """Standard deviation of each function's weight under a kernel.

        Parameters
        ----------
        kernel : ExpQuad, Matern32 or Matern52
            With a spectral density.

        Returns
        -------
        array, shape (K,)

        Raises
        ------
        ModelError
            If the kernel has no spectral density.
        """
        density = getattr(kernel, "spectral_density", None)
        if density is None:
            raise ModelError(
                explain(
                    "HilbertBasis.weights",
                    "ExpQuad, Matern32 or Matern52",
                    type(kernel).__name__,
                    "use the exact covariance for other kernels",
                )
            )
        return m.sqrt(density(self.frequencies))


def _each(name: str, given: Any, dim: int, kind: type) -> list:
    values = [kind(v) for v in (given if isinstance(given, (list, tuple, np.ndarray)) else [given] * dim)]
    if len(values) != dim:
        raise ShapeError(
            explain(
                f"HilbertBasis, '{name}'",
                f"{dim} entries, one for each column",
                f"{len(values)}",
                "match them",
            )
        )
    return values

"""Transports: invertible maps from standard-normal coordinates, as frozen objects of arrays.

The image of a standard normal law is a law q(z) on the unconstrained space. One contract serves the guides, the
coordinates in which fits and chains run, whitened residuals, and what is written to disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from ..ppl.errors import GuideError, explain
from .thresholds import LARGEST_COVARIANCE

Arrays = Mapping[str, np.ndarray]


@runtime_checkable
class Transport(Protocol):
    """An invertible map ``z = T(eps)``; rows are points, shapes ``(B, dim)``.

    Attributes
    ----------
    dim : int
    layers : object or None
        What a backend's sampler needs beside `to_arrays` to run the same map; None for one that is affine.
    """

    @property
    def dim(self) -> int: ...

    @property
    def layers(self) -> Any: ...

    def forward(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points at base coordinates, and the log absolute Jacobian determinant there, shape ``(B,)``."""
        ...

    def inverse(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Base coordinates of points, and the log absolute Jacobian determinant of the inverse, shape ``(B,)``."""
        ...

    def pullback(self, eps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Gradient of a log density in base coordinates, its log Jacobian included.

        Parameters
        ----------
        eps, gradient : numpy.ndarray, shape (B, dim)
            Base coordinates, and the gradient of the log density at their images.
        """
        ...

    def moments(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Exact mean ``(dim,)`` and covariance ``(dim, dim)``; None where they are not known."""
        ...

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All that the map is made of, by name: the parameters of its guide."""
        ...


@runtime_checkable
class Gaussian(Transport, Protocol):
    """A transport that is affine, so that its law is Gaussian.

    Attributes
    ----------
    mean : numpy.ndarray, shape (dim,)
    """

    @property
    def mean(self) -> np.ndarray: ...

    def linear(self, eps: np.ndarray) -> np.ndarray:
        """The map without its mean."""
        ...

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        """Gradients in base coordinates: `pullback`, which is the same everywhere."""
        ...

    def marginals(self) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean and sd of every coordinate, at any dimension."""
        ...

    @property
    def precision(self) -> np.ndarray:
        """Precision of every coordinate, the others given, shape ``(dim,)``."""
        ...


def standard_normal(eps):
    """Log density of independent standard normals along the last axis."""
    return -0.5 * (eps * eps).sum(-1) - 0.5 * eps.shape[-1] * np.log(2 * np.pi)


def student_t(eps: np.ndarray, df: float) -> np.ndarray:
    """Log density of a multivariate t with identity scale, shape ``(B,)``."""
    dim = eps.shape[-1]
    constant = gammaln((df + dim) / 2) - gammaln(df / 2) - 0.5 * dim * np.log(df * np.pi)
    return constant - 0.5 * (df + dim) * np.log1p((eps**2).sum(-1) / df)


def covariance_of(transport: Gaussian) -> np.ndarray:
    """Dense covariance of a Gaussian transport, shape ``(dim, dim)``.

    Raises
    ------
    GuideError
        In more dimensions than a dense covariance is made for.
    """
    if transport.dim > LARGEST_COVARIANCE:
        raise GuideError(
            explain(
                "moments",
                f"at most {LARGEST_COVARIANCE} dimensions for a dense covariance",
                f"{transport.dim}",
                "use marginals()",
            )
        )
    root = transport.linear(np.eye(transport.dim))
    return root.T @ root


def triangular(transport: Gaussian) -> Affine:
    """The same Gaussian as a dense lower-triangular map."""
    if isinstance(transport, Affine):
        scale = transport.scale
        return transport if scale.ndim == 2 else Affine(transport.mean, np.diag(scale))
    return Affine(transport.mean, np.linalg.cholesky(covariance_of(transport)))


def packed(transport: Gaussian) -> Affine:
    """The same Gaussian as an `Affine` map, whose scale is dense where it has any correlations."""
    return transport if isinstance(transport, Affine) else triangular(transport)


@dataclass(frozen=True, eq=False)
class Affine:
    """``z = mean + scale eps``: independent coordinates, or a lower-triangular matrix.

    Attributes
    ----------
    mean : numpy.ndarray, shape (dim,)
    scale : numpy.ndarray, shape (dim,) or (dim, dim)

    Examples
    --------
    >>> map_ = Affine(np.array([1.0, 2.0]), np.array([2.0, 0.5]))
    >>> z, log_jacobian = map_.forward(np.array([[1.0, -2.0]]))
    >>> z.tolist(), log_jacobian.tolist()
    ([[3.0, 1.0]], [0.0])
    """

    mean: np.ndarray
    scale: np.ndarray

    layers: ClassVar[None] = None

    @property
    def frame(self) -> tuple:
        """What a backend's sampler takes."""
        return self.mean, self.scale

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Affine:
        """From ``mean`` and ``log_sd`` or ``scale_tril``."""
        scale = np.exp(arrays["log_sd"]) if "log_sd" in arrays else arrays["scale_tril"]
        return cls(np.asarray(arrays["mean"]), np.asarray(scale))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``mean``, and ``log_sd`` ``(dim,)`` or ``scale_tril`` ``(dim, dim)``."""
        if self.scale.ndim == 1:
            return {"mean": self.mean, "log_sd": np.log(self.scale)}
        return {"mean": self.mean, "scale_tril": self.scale}

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @property
    def num_parameters(self) -> int:
        """Free numbers."""
        return self.dim + (self.dim if self.scale.ndim == 1 else self.dim * (self.dim + 1) // 2)

    @property
    def log_det(self) -> float:
        """Log absolute determinant of the scale."""
        return float(np.log(np.abs(self.deviations)).sum())

    @property
    def deviations(self) -> np.ndarray:
        """Sd of every coordinate, those before it given, shape ``(dim,)``."""
        return self.scale if self.scale.ndim == 1 else np.diag(self.scale)

    def linear(self, eps: np.ndarray) -> np.ndarray:
        """``scale eps``."""
        return eps * self.scale if self.scale.ndim == 1 else eps @ self.scale.T

    def forward(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.mean + self.linear(eps), np.full(len(eps), self.log_det)

    def inverse(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        moved = np.asarray(z) - self.mean
        if self.scale.ndim == 1:
            eps = moved / self.scale
        else:
            eps = solve_triangular(self.scale, moved.T, lower=True).T
        return eps, np.full(len(eps), -self.log_det)

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        """``scaleᵀ gradient``."""
        return gradient * self.scale if self.scale.ndim == 1 else gradient @ self.scale

    def unwhiten(self, h: np.ndarray) -> np.ndarray:
        """Inverse of `whiten`."""
        if self.scale.ndim == 1:
            return h / self.scale
        return solve_triangular(self.scale, h.T, lower=True, trans="T").T

    def pullback(self, eps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """See `Transport`."""
        return self.whiten(gradient)

    def marginals(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Gaussian`."""
        return self.mean, self.scale if self.scale.ndim == 1 else np.sqrt((self.scale**2).sum(1))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.mean, np.diag(self.scale**2) if self.scale.ndim == 1 else self.scale @ self.scale.T

    @property
    def precision(self) -> np.ndarray:
        """See `Gaussian`."""
        if self.scale.ndim == 1:
            return (1 / self.scale) ** 2
        inverse = solve_triangular(self.scale, np.eye(self.dim), lower=True)
        return (inverse**2).sum(0)


@dataclass(frozen=True, eq=False)
class Rooted:
    """``z = mean + R eps``, with a root R of the covariance that is sparse or of low rank beside its diagonal.

    Attributes
    ----------
    mean : numpy.ndarray, shape (dim,)
    factor : Factor or LowRankFactor
    """

    mean: np.ndarray
    factor: Any

    layers: ClassVar[None] = None

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``mean``, and the arrays of the root."""
        return {"mean": self.mean, **self.factor.to_arrays()}

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @property
    def num_parameters(self) -> int:
        """Free numbers."""
        return self.dim + self.factor.num_parameters

    def linear(self, eps: np.ndarray) -> np.ndarray:
        """``R eps``."""
        return self.factor.root(eps)

    def forward(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.mean + self.linear(eps), np.full(len(eps), -self.factor.log_det)

    def inverse(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.factor.unroot(np.asarray(z) - self.mean), np.full(len(z), self.factor.log_det)

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        """``Rᵀ gradient``."""
        return self.factor.whiten(gradient)

    def pullback(self, eps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """See `Transport`."""
        return self.whiten(gradient)

    def marginals(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Gaussian`."""
        return self.mean, np.sqrt(self.factor.variances())

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport`."""
        return self.mean, covariance_of(self)

    @property
    def precision(self) -> np.ndarray:
        """See `Gaussian`."""
        return self.factor.precision_diagonal

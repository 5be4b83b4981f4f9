"""Frames: the coordinates in which a Gaussian is standard normal, dense or sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtri

from ...guides.low_rank import LowRankFactor
from ...guides.sparse import Factor, Layout
from .estimates import PROBABILITIES, Estimates

FEW = 32  # elements of a site that others may depend on as a whole
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
    """``z = mean + L⁻ᵀ x`` with a sparse factor of the precision, or a low-rank one of the covariance."""

    mean: np.ndarray
    factor: Factor | LowRankFactor

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
        return self.factor.widest

    @property
    def start(self) -> dict:
        """What `Guide.init` takes."""
        return {"mean": self.mean, "factor": self.factor, "sd": 1 / np.sqrt(self.precision)}


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What quantities are made of.

    Attributes
    ----------
    index : numpy.ndarray of int, shape (Q,)
        The guide's coordinate that belongs to each quantity; -1 for none.
    kind : numpy.ndarray of int, shape (Q,)
        0: the coordinate itself; 1: a function of it; 2: of it and of the sites with few elements; 3: of any.
    few : numpy.ndarray of int
        Coordinates of sites with few elements.
    mean, sd : numpy.ndarray, shape (dim,)
        The guide's exact moments.
    """

    index: np.ndarray
    kind: np.ndarray
    few: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, target, layout, mean, sd) -> Coordinates:
        """Of quantities in the order of `layout`, pairs of site name and shape."""
        sites, index, kind = {s.name: s for s in target.sites}, [], []
        for name, shape in layout:
            size, site = int(np.prod(shape, dtype=int)), sites.get(name)
            own = site is not None and site.unconstrained_shape == site.shape
            index.append(np.arange(size) + target.offsets[name].start if own else np.full(size, -1))
            if not own:
                kind.append(3)
            elif name in target.centring:
                kind.append(2)
            else:
                kind.append(
                    0 if getattr(_base(site.constraint), "name", "") in {"real", "real_vector"} else 1
                )
            kind[-1] = np.full(size, kind[-1])
        return cls(np.concatenate(index), np.concatenate(kind), few_of(target), mean, sd)

    def behind(self, values: np.ndarray) -> np.ndarray:
        """Largest of the values, shape ``(dim,)``, of the coordinates behind each quantity."""
        own = values[self.index]
        shared = np.maximum(own, values[self.few].max(initial=0.0))
        return np.select([self.kind <= 1, self.kind == 2], [own, shared], values.max())

    def exactly(self, found: Estimates) -> Estimates:
        """Estimates with the guide's exact moments where they are a quantity's."""
        mean, sd, same = self.mean[self.index], self.sd[self.index], self.kind == 0
        quantiles = mean + sd * ndtri(PROBABILITIES)[:, None]
        return Estimates(
            np.where(same, mean, found.mean),
            np.where(same, sd, found.sd),
            np.where(same, quantiles, found.quantiles),
            np.where(same, 0.0, found.mean_se),
            np.where(same, 0.0, found.sd_se),
            np.where(same, 0.0, found.quantile_se),
        )


def _base(constraint):
    while hasattr(constraint, "base"):
        constraint = constraint.base
    return constraint


def few_of(target) -> np.ndarray:
    """Coordinates of sites with few elements."""
    few = [np.arange(s.size) + target.offsets[s.name].start for s in target.sites if s.size <= FEW]
    return np.concatenate([np.zeros(0, int), *few])


def independent(mean: np.ndarray, sd: np.ndarray) -> Dense | Sparse:
    """The frame of independent Gaussians."""
    return Dense(mean, np.diag(sd)) if len(mean) <= LARGEST_DENSE else rooted(mean, 1 / sd)


def rooted(mean: np.ndarray, root: np.ndarray) -> Sparse:
    """The sparse frame of independent Gaussians with precisions ``root²``."""
    layout = Layout.diagonal(len(mean))
    return Sparse(mean, Factor(layout, root, np.zeros(0), np.diag(root[layout.tail])))


def sparse(mean: np.ndarray, factor: Factor | LowRankFactor) -> Dense | Sparse:
    """The frame of a Gaussian with a sparse precision, or a covariance of low rank beside its diagonal."""
    if len(mean) > LARGEST_DENSE:
        return Sparse(mean, factor)
    root = factor.root(np.eye(len(mean)))
    return Dense(mean, np.linalg.cholesky(root.T @ root))

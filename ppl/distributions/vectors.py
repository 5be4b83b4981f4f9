"""Laws of a vector: normal of low rank, summing to zero, smooth over a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import ModelError, explain
from .base import concrete, constrained
from .composite import _shape
from .formula import Formula

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, eq=False, repr=False)
class LowRankMultivariateNormal(Formula):
    """Normal law of a vector with covariance ``cov_factor @ cov_factor.T + diag(cov_diag)``.

    Parameters
    ----------
    loc : array_like, shape (..., D)
        Mean.
    cov_factor : array_like, shape (..., D, R)
        Loadings of R common factors.
    cov_diag : array_like, shape (..., D)
        Variances of what is not common, positive.

    Notes
    -----
    The cost is linear in D, by the matrix inversion lemma.

    Examples
    --------
    >>> from scipy.stats import multivariate_normal
    >>> loadings, variances = np.array([[1.0], [2.0]]), np.array([0.5, 1.0])
    >>> law, x = LowRankMultivariateNormal(np.zeros(2), loadings, variances), np.array([1.0, 0.0])
    >>> round(float(law.log_density(x)), 4)
    -3.1785
    >>> round(float(multivariate_normal(cov=loadings @ loadings.T + np.diag(variances)).logpdf(x)), 4)
    -3.1785
    """

    arg_constraints = constrained(
        loc=constraints.real_vector,
        cov_factor=constraints.independent(constraints.real, 2),
        cov_diag=constraints.independent(constraints.positive, 1),
    )
    support = constraints.real_vector
    loc: Any
    cov_factor: Any
    cov_diag: Any

    @property
    def event_shape(self):
        return (np.shape(self.cov_factor)[-2],)

    def log_density(self, value):
        size, rank = np.shape(self.cov_factor)[-2:]
        rest = value - self.loc
        scaled = m.matrix_transpose(self.cov_factor / m.expand_dims(self.cov_diag, -1))
        inner = m.like(np.eye(rank), self.cov_factor) + m.matmul(scaled, self.cov_factor)
        factor = m.linalg.cholesky(inner)
        along = m.linalg.solve_triangular(factor, m.matmul(scaled, m.expand_dims(rest, -1)))[..., 0]
        distance = m.sum(rest * rest / self.cov_diag, -1) - m.sum(along * along, -1)
        half_log_det = m.sum(m.log(m.linalg.diagonal(factor)), -1) + 0.5 * m.sum(m.log(self.cov_diag), -1)
        return -0.5 * distance - half_log_det - size * _LOG_ROOT_2PI

    def draw(self, random, shape):
        size, rank = np.shape(self.cov_factor)[-2:]
        common = m.matmul(self.cov_factor, random.normal((*shape, rank, 1)))[..., 0]
        return self.loc + common + m.sqrt(self.cov_diag) * random.normal((*shape, size))


@dataclass(frozen=True, eq=False, repr=False)
class ZeroSumNormal(Formula):
    """Independent normal numbers given that they sum to zero along every axis of the event.

    Parameters
    ----------
    scale : array_like
        Standard deviation before the condition, positive.
    event_shape : int or tuple of int
        Shape of one value; the sum is zero along each of its axes.

    Raises
    ------
    ModelError
        If an axis has fewer than two elements.

    Notes
    -----
    Effects of groups measured against their own mean: beside an intercept they are identified, unlike
    independent effects. The density is with respect to the volume of the subspace; with n elements on one
    axis the law has n - 1 dimensions.

    Examples
    --------
    >>> law = ZeroSumNormal(2.0, 3)  # the scale, then the number of effects
    >>> law.event_shape, law.support.words
    ((3,), 'numbers that sum to zero')
    """

    arg_constraints = constrained(scale=constraints.positive)
    scale: Any
    event_shape: Any = ()

    def __post_init__(self):
        shape = _shape(self.event_shape, "ZeroSumNormal, parameter 'event_shape'")
        if not shape or min(shape) < 2:
            raise ModelError(
                explain(
                    "ZeroSumNormal, parameter 'event_shape'",
                    "at least two elements along each axis",
                    str(shape),
                    "give the number of groups",
                )
            )
        object.__setattr__(self, "event_shape", shape)

    @property
    def support(self):
        return constraints.zero_sum(len(self.event_shape))

    def log_density(self, value):
        axes = tuple(range(-len(self.event_shape), 0))
        num_free = float(np.prod([n - 1 for n in self.event_shape]))
        squares = m.sum(value * value, axes) / (self.scale * self.scale)
        return -0.5 * squares - num_free * (m.log(self.scale) + _LOG_ROOT_2PI)

    def draw(self, random, shape):
        value = random.normal((*shape, *self.event_shape))
        for axis in range(-len(self.event_shape), 0):
            value = value - m.mean(value, axis, keepdims=True)
        scale = self.scale
        for _ in self.event_shape:
            scale = m.expand_dims(scale, -1)
        return scale * value


@dataclass(frozen=True, eq=False, repr=False)
class ICAR(Formula):
    """Intrinsic conditional autoregression: effects of regions that are close to those of their neighbours.

    Parameters
    ----------
    edges : array_like of int, shape (E, 2)
        Pairs of neighbours, each pair once, zero-based; see `from_adjacency`.
    num_nodes : int
        Number of regions.
    scale : array_like, default 1
        Standard deviation of the difference between two neighbours, positive.
    zero_sum_scale : array_like, optional
        Standard deviation of the mean of all effects, for a soft constraint. By default they sum to zero
        exactly.

    Notes
    -----
    The log density is that of ``sum over edges of (x_i - x_j)**2``, with the power of `scale` that belongs
    to a connected graph; its constant, which depends on the graph alone, is left out. Draws are normal with
    covariance ``scale**2`` times the pseudo-inverse of the graph's Laplacian; their level is zero, or normal
    with `zero_sum_scale`, independent of the rest. They cost a solution with one dense matrix of all regions.

    References
    ----------
    Besag, York and Mollié (1991), Bayesian image restoration with two applications in spatial statistics,
    Annals of the Institute of Statistical Mathematics 43. Morris et al. (2019), Bayesian hierarchical
    spatial models, Spatial and Spatio-temporal Epidemiology 31.

    Examples
    --------
    >>> chain = ICAR(np.array([[0, 1], [1, 2]]), num_nodes=3)
    >>> round(float(chain.log_density(np.array([-1.0, 0.0, 1.0]))), 4)
    -2.8379
    """

    indices = ("edges",)
    arg_constraints = constrained(
        edges=constraints.independent(constraints.nonnegative_integer, 2),
        scale=constraints.positive,
        zero_sum_scale=constraints.positive,
    )
    edges: Any
    num_nodes: int
    scale: Any = 1.0
    zero_sum_scale: Any = None

    @classmethod
    def from_adjacency(cls, adjacency: Any, scale: Any = 1.0, zero_sum_scale: Any = None) -> ICAR:
        """The law over a symmetric matrix of zeros and ones, shape (n, n)."""
        matrix = np.asarray(adjacency)
        if matrix.ndim != 2 or not np.array_equal(matrix, matrix.T):
            raise ModelError(
                explain("ICAR", "a symmetric square matrix", f"shape {matrix.shape}", "correct the adjacency")
            )
        return cls(np.argwhere(np.triu(matrix, 1)), len(matrix), scale, zero_sum_scale)

    @property
    def support(self):
        return constraints.zero_sum(1) if self.zero_sum_scale is None else constraints.real_vector

    @property
    def event_shape(self):
        return (self.num_nodes,)

    def validate(self, site):
        super().validate(site)
        edges = concrete(self.edges)
        if edges is None:
            return
        if edges.ndim != 2 or edges.shape[1] != 2 or edges.max(initial=0) >= self.num_nodes:
            got = f"shape {edges.shape} and a largest number of {edges.max(initial=0)}"
            raise ModelError(
                explain(
                    f"site '{site}', ICAR", f"pairs of numbers below {self.num_nodes}", got, "count from 0"
                )
            )
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        links = coo_array((np.ones(len(edges)), edges.T), shape=(self.num_nodes, self.num_nodes))
        parts = connected_components(links, directed=False)[0]
        if parts > 1:
            raise ModelError(
                explain(
                    f"site '{site}', ICAR",
                    "a graph in one piece",
                    f"{parts} pieces",
                    "declare one law for each, or join islands to a neighbour",
                )
            )

    def log_density(self, value):
        step = m.take(value, self.edges[..., 0], -1) - m.take(value, self.edges[..., 1], -1)
        scale = m.expand_dims(self.scale, -1)
        rough = -0.5 * m.sum(m.square(step / scale), -1)
        density = rough - (self.num_nodes - 1) * (m.log(self.scale) + _LOG_ROOT_2PI)
        if self.zero_sum_scale is None:
            return density
        level = m.mean(value, -1) / self.zero_sum_scale
        return density - 0.5 * level * level - m.log(self.zero_sum_scale) - _LOG_ROOT_2PI

    def draw(self, random, shape):
        noise = random.normal((int(np.prod(shape)), np.shape(self.edges)[0]))
        nodes = m.like(np.eye(self.num_nodes), noise)
        steps = m.take(nodes, self.edges[..., 0], 0) - m.take(nodes, self.edges[..., 1], 0)
        grounded = m.matmul(m.matrix_transpose(steps), steps) + 1 / self.num_nodes
        value = m.matrix_transpose(m.linalg.solve(grounded, m.matrix_transpose(m.matmul(noise, steps))))
        value = m.reshape(value - m.mean(value, -1, keepdims=True), (*shape, self.num_nodes))
        value = m.expand_dims(self.scale, -1) * value
        if self.zero_sum_scale is None:
            return value
        return value + m.expand_dims(self.zero_sum_scale * random.normal(shape), -1)

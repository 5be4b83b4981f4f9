"""Laws of vectors and matrices with dense dependence: Student t, matrix normal, conditional autoregression; sticks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from ..errors import ModelError, explain
from .base import concrete, constrained
from .formula import Formula

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True, eq=False, repr=False)
class MultivariateStudentT(Formula):
    """Student t law of a vector: a normal vector divided by the root of one gamma number.

    Parameters
    ----------
    df : array_like
        Degrees of freedom, positive; the covariance is ``df / (df - 2)`` times that of `scale_tril`, above two.
    loc : array_like, shape (..., D)
        Location; the mean for more than one degree of freedom.
    scale_tril : array_like, shape (..., D, D)
        Lower Cholesky factor of the scale matrix.

    References
    ----------
    Lange, Little and Taylor (1989), Robust statistical modeling using the t distribution, JASA 84.

    Examples
    --------
    >>> from scipy.stats import multivariate_t
    >>> law, x = MultivariateStudentT(4.0, np.zeros(2), np.diag([1.0, 2.0])), np.array([0.5, -1.0])
    >>> round(float(law.log_density(x)), 4)
    -2.8844
    >>> matrix = np.diag([1.0, 4.0])  # of which SciPy takes no factor
    >>> round(float(multivariate_t(np.zeros(2), matrix, df=4.0).logpdf(x)), 4)
    -2.8844
    """

    arg_constraints = constrained(
        df=constraints.positive,
        loc=constraints.real_vector,
        scale_tril=constraints.lower_cholesky,
    )
    support = constraints.real_vector
    df: Any
    loc: Any
    scale_tril: Any

    @property
    def event_shape(self):
        return (np.shape(self.scale_tril)[-1],)

    def log_density(self, value):
        (size,) = self.event_shape
        rest = m.linalg.solve_triangular(self.scale_tril, m.expand_dims(value - self.loc, -1))[..., 0]
        distance = m.log1p(m.sum(rest * rest, -1) / self.df)
        half = 0.5 * self.df
        constant = m.gammaln(half + 0.5 * size) - m.gammaln(half) - 0.5 * size * m.log(np.pi * self.df)
        spread = m.sum(m.log(m.linalg.diagonal(self.scale_tril)), -1)
        return constant - spread - (half + 0.5 * size) * distance

    def draw(self, random, shape):
        normal = m.matmul(self.scale_tril, random.normal((*shape, *self.event_shape, 1)))[..., 0]
        wide = m.sqrt(0.5 * self.df / random.gamma(0.5 * self.df, shape))
        return self.loc + m.expand_dims(wide, -1) * normal


@dataclass(frozen=True, eq=False, repr=False)
class MatrixNormal(Formula):
    """Normal law of a matrix whose rows and whose columns are correlated.

    Parameters
    ----------
    loc : array_like, shape (..., N, P)
        Mean.
    scale_tril_row : array_like, shape (..., N, N)
        Lower Cholesky factor of the rows' covariance.
    scale_tril_column : array_like, shape (..., P, P)
        Lower Cholesky factor of the columns' covariance.

    Notes
    -----
    The stacked columns have the Kronecker product of the columns' and the rows' covariance.

    References
    ----------
    Dawid (1981), Some matrix-variate distribution theory, Biometrika 68.

    Examples
    --------
    >>> law = MatrixNormal(np.zeros((2, 3)), np.eye(2), np.eye(3))  # rows first
    >>> law.event_dim, law.event_shape
    (2, (2, 3))
    """

    arg_constraints = constrained(
        loc=constraints.independent(constraints.real, 2),
        scale_tril_row=constraints.lower_cholesky,
        scale_tril_column=constraints.lower_cholesky,
    )
    support = constraints.independent(constraints.real, 2)
    loc: Any
    scale_tril_row: Any
    scale_tril_column: Any

    @property
    def event_shape(self):
        return np.shape(self.scale_tril_row)[-1], np.shape(self.scale_tril_column)[-1]

    def log_density(self, value):
        rows, columns = self.event_shape
        half = m.linalg.solve_triangular(self.scale_tril_row, value - self.loc)
        rest = m.linalg.solve_triangular(self.scale_tril_column, m.matrix_transpose(half))
        spread = columns * m.sum(m.log(m.linalg.diagonal(self.scale_tril_row)), -1)
        spread = spread + rows * m.sum(m.log(m.linalg.diagonal(self.scale_tril_column)), -1)
        return -0.5 * m.sum(rest * rest, (-2, -1)) - spread - rows * columns * _LOG_ROOT_2PI

    def draw(self, random, shape):
        noise = m.matmul(self.scale_tril_row, random.normal((*shape, *self.event_shape)))
        return self.loc + m.matmul(noise, m.matrix_transpose(self.scale_tril_column))


@dataclass(frozen=True, eq=False, repr=False)
class CAR(Formula):
    """Proper conditional autoregression: a normal law of regions, each near the mean of its neighbours.

    Parameters
    ----------
    loc : array_like, shape (..., n)
        Mean.
    correlation : array_like
        Between -1 and 1, how much neighbours say of each other.
    conditional_precision : array_like
        Positive; a region's precision given the others is this times its number of neighbours.
    adj_matrix : array_like, shape (n, n)
        Symmetric, ones where two regions are neighbours; every region has one at least.

    Notes
    -----
    The precision matrix is ``conditional_precision * (D - correlation * adj_matrix)``, D the diagonal matrix of
    numbers of neighbours. The cost is that of a dense Cholesky factor.

    References
    ----------
    Besag (1974), Spatial interaction and the statistical analysis of lattice systems, JRSS B 36.

    Examples
    --------
    >>> adjacent = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> law = CAR(np.zeros(3), 0.9, 1.0, adjacent)
    >>> agree, differ = (law.log_density(np.array(v)) for v in ([1.0, 1.0, 1.0], [1.0, -1.0, 1.0]))
    >>> round(float(agree - differ), 4)  # 4 times correlation times conditional precision
    3.6
    """

    arg_constraints = constrained(
        loc=constraints.real_vector,
        correlation=constraints.interval(-1.0, 1.0),
        conditional_precision=constraints.positive,
        adj_matrix=constraints.independent(constraints.unit_interval, 2),
    )
    support = constraints.real_vector
    loc: Any
    correlation: Any
    conditional_precision: Any
    adj_matrix: Any

    @property
    def event_shape(self):
        return (np.shape(self.adj_matrix)[-1],)

    def validate(self, site):
        super().validate(site)
        known = concrete(self.adj_matrix)
        if known is None:
            return
        square = known.ndim >= 2 and known.shape[-1] == known.shape[-2]
        if not square or not np.array_equal(known, np.swapaxes(known, -1, -2)) or not known.sum(-1).all():
            where = f"site '{site}', parameter 'adj_matrix' of CAR"
            words = "a symmetric matrix of zeros and ones, with a neighbour for every region"
            got = f"shape {known.shape}" + (
                ", a region without neighbours" if square and not known.sum(-1).all() else ""
            )
            raise ModelError(
                explain(where, words, got, "correct the adjacency, or join islands to a neighbour")
            )

    def _precision(self):
        """Of the conditional precision one."""
        neighbours = m.sum(self.adj_matrix, -1)
        eye = m.like(np.eye(self.event_shape[0]), self.adj_matrix)
        share = m.expand_dims(m.expand_dims(self.correlation, -1), -1)
        return eye * m.expand_dims(neighbours, -1) - share * self.adj_matrix

    def log_density(self, value):
        (size,) = self.event_shape
        factor, rest = m.linalg.cholesky(self._precision()), m.expand_dims(value - self.loc, -1)
        along = m.matmul(m.matrix_transpose(factor), rest)[..., 0]
        half_log_det = m.sum(m.log(m.linalg.diagonal(factor)), -1)
        distance = self.conditional_precision * m.sum(along * along, -1)
        return (
            half_log_det
            + 0.5 * size * m.log(self.conditional_precision)
            - 0.5 * distance
            - size * _LOG_ROOT_2PI
        )

    def draw(self, random, shape):
        factor = m.linalg.cholesky(self._precision())
        noise = random.normal((*shape, *self.event_shape, 1))
        value = m.linalg.solve_triangular(m.matrix_transpose(factor), noise, lower=False)[..., 0]
        return self.loc + value / m.expand_dims(m.sqrt(self.conditional_precision), -1)


@dataclass(frozen=True, eq=False, repr=False)
class StickBreaking(Formula):
    """Law of shares from a stick that is broken again and again: a Dirichlet process cut off after some pieces.

    Parameters
    ----------
    concentration : array_like
        Positive: large for many pieces of like size; each break leaves a ``Beta(concentration, 1)`` share.
    num_breaks : int
        Number of breaks; there is one piece more.

    References
    ----------
    Ishwaran and James (2001), Gibbs sampling methods for stick-breaking priors, JASA 96.

    Examples
    --------
    >>> StickBreaking(2.0, num_breaks=9).event_shape  # one piece more than breaks
    (10,)
    """

    arg_constraints = constrained(concentration=constraints.positive)
    support = constraints.simplex
    concentration: Any
    num_breaks: int = 1

    @property
    def event_shape(self):
        return (self.num_breaks + 1,)

    def log_density(self, value):
        rest = m.flip(m.cumulative_sum(m.flip(value, -1), -1), -1)  # before each break
        last = m.log(value[..., -1])
        density = self.num_breaks * m.log(self.concentration) + (self.concentration - 1) * last
        return density - m.sum(m.log(rest[..., 1:-1]), -1)

    def draw(self, random, shape):
        breaks = random.exponential((*shape, self.num_breaks)) / m.expand_dims(self.concentration, -1)
        left = m.exp(-m.cumulative_sum(breaks, -1))
        whole = m.concat([0 * left[..., :1] + 1, left], -1)
        return m.concat([whole[..., :-1] - left, left[..., -1:]], -1)

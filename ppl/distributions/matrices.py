"""Laws of a covariance or correlation matrix: Wishart, inverse Wishart, LKJ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import constraints
from .. import math as m
from .base import check_parameter, constrained, exactly_one
from .formula import Formula
from .multivariate import LKJCholesky


def _log_det(factor):
    """Log determinant of a matrix from its Cholesky factor."""
    return 2 * m.sum(m.log(m.linalg.diagonal(factor)), -1)


def _log_multivariate_gamma(a, size):
    total = 0.25 * size * (size - 1) * np.log(np.pi)
    for i in range(size):
        total = total + m.gammaln(a - 0.5 * i)
    return total


class _Scaled(Formula):
    """What the two Wishart laws share: a scale matrix given as it is or by its Cholesky factor."""

    concentration: Any
    scale_matrix: Any
    scale_tril: Any

    def __post_init__(self):
        exactly_one(type(self).__name__, scale_matrix=self.scale_matrix, scale_tril=self.scale_tril)

    @property
    def event_shape(self):
        return tuple(np.shape(self.scale_tril if self.scale_matrix is None else self.scale_matrix)[-2:])

    def validate(self, site):
        super().validate(site)
        above = constraints.greater_than(self.event_shape[-1] - 1)
        check_parameter(site, type(self).__name__, "concentration", self.concentration, above)

    def _factor(self):
        return m.linalg.cholesky(self.scale_matrix) if self.scale_tril is None else self.scale_tril

    def _bartlett(self, random, shape):
        """Lower factor of a Wishart matrix with unit scale."""
        size = self.event_shape[-1]
        degrees = m.expand_dims(self.concentration, -1) - m.like(np.arange(size), self.concentration)
        diagonal = m.sqrt(2 * random.gamma(0.5 * degrees, (*shape, size)))
        below = random.normal((*shape, size, size)) * m.like(np.tri(size, k=-1), self.concentration)
        return below + m.expand_dims(diagonal, -1) * m.like(np.eye(size), self.concentration)


@dataclass(frozen=True, eq=False, repr=False)
class Wishart(_Scaled):
    """Law of a covariance matrix with mean ``concentration * scale_matrix``.

    Parameters
    ----------
    concentration : array_like
        Degrees of freedom, above the number of rows less one.
    scale_matrix, scale_tril : array_like, shape (..., D, D), optional
        Scale, or its lower Cholesky factor; exactly one is given.

    Raises
    ------
    ModelError
        If both or neither of the two are given.

    References
    ----------
    Wishart (1928), The generalised product moment distribution in samples from a normal multivariate population,
    Biometrika 20A.

    Examples
    --------
    >>> from scipy.stats import chi2
    >>> law = Wishart(5.0, np.eye(1))  # a sum of five squares
    >>> round(float(law.log_density(np.array([[3.0]]))), 4), round(float(chi2(5).logpdf(3.0)), 4)
    (-1.8696, -1.8696)
    """

    arg_constraints = constrained(
        concentration=constraints.positive,
        scale_matrix=constraints.positive_definite,
        scale_tril=constraints.lower_cholesky,
    )
    support = constraints.positive_definite
    concentration: Any
    scale_matrix: Any = None
    scale_tril: Any = None

    def log_density(self, value):
        size, half = self.event_shape[-1], 0.5 * self.concentration
        factor, own = self._factor(), m.linalg.cholesky(value)
        relative = m.linalg.solve_triangular(factor, own)
        density = (half - 0.5 * (size + 1)) * _log_det(own) - 0.5 * m.sum(relative * relative, (-2, -1))
        return density - half * (size * np.log(2) + _log_det(factor)) - _log_multivariate_gamma(half, size)

    def draw(self, random, shape):
        factor = m.matmul(self._factor(), self._bartlett(random, shape))
        return m.matmul(factor, m.matrix_transpose(factor))


@dataclass(frozen=True, eq=False, repr=False)
class InverseWishart(_Scaled):
    """Law of a covariance matrix whose inverse is ``Wishart(concentration, inverse of scale_matrix)``.

    Parameters
    ----------
    concentration : array_like
        Degrees of freedom, above the number of rows less one; the mean is ``scale_matrix / (concentration -
        D - 1)`` where that is positive.
    scale_matrix, scale_tril : array_like, shape (..., D, D), optional
        Scale, or its lower Cholesky factor; exactly one is given.

    Raises
    ------
    ModelError
        If both or neither of the two are given.

    Examples
    --------
    >>> from scipy.stats import invwishart
    >>> law, x = InverseWishart(5.0, np.eye(2)), np.array([[1.0, 0.2], [0.2, 0.5]])
    >>> round(float(law.log_density(x)), 4), round(float(invwishart(5, np.eye(2)).logpdf(x)), 4)
    (-2.8471, -2.8471)
    """

    arg_constraints = constrained(
        concentration=constraints.positive,
        scale_matrix=constraints.positive_definite,
        scale_tril=constraints.lower_cholesky,
    )
    support = constraints.positive_definite
    concentration: Any
    scale_matrix: Any = None
    scale_tril: Any = None

    def log_density(self, value):
        size, half = self.event_shape[-1], 0.5 * self.concentration
        factor, own = self._factor(), m.linalg.cholesky(value)
        relative = m.linalg.solve_triangular(own, factor)
        density = -(half + 0.5 * (size + 1)) * _log_det(own) - 0.5 * m.sum(relative * relative, (-2, -1))
        return density + half * (_log_det(factor) - size * np.log(2)) - _log_multivariate_gamma(half, size)

    def draw(self, random, shape):
        factor = self._factor()
        inner = m.linalg.solve_triangular(self._bartlett(random, shape), m.matrix_transpose(factor))
        return m.matmul(m.matrix_transpose(inner), inner)


@dataclass(frozen=True, eq=False, repr=False)
class LKJ(Formula):
    """Law of a correlation matrix.

    Parameters
    ----------
    dimension : int
        Number of rows, at least 2, known before the model is compiled.
    concentration : array_like, default 1
        Positive; 1 makes all correlation matrices equally likely, larger values favour weak correlation.

    Raises
    ------
    ModelError
        If `dimension` is not a whole number of at least 2.

    See Also
    --------
    LKJCholesky : the same law through its Cholesky factor, cheaper inside a multivariate normal law.

    Notes
    -----
    Each correlation is, by itself, beta distributed between -1 and 1 with both parameters
    ``concentration - 1 + dimension / 2``.

    References
    ----------
    Lewandowski, Kurowicka and Joe (2009), Generating random correlation matrices based on vines and extended
    onion method, Journal of Multivariate Analysis 100.

    Examples
    --------
    >>> law = LKJ(2, 1.0)  # the one correlation is uniform between -1 and 1
    >>> round(float(np.exp(law.log_density(np.array([[1.0, 0.7], [0.7, 1.0]])))), 4)
    0.5
    """

    arg_constraints = constrained(concentration=constraints.positive)
    support = constraints.corr_matrix
    dimension: int
    concentration: Any = 1.0

    def __post_init__(self):
        object.__setattr__(self, "dimension", LKJCholesky(self.dimension).dimension)

    @property
    def event_shape(self):
        return (self.dimension, self.dimension)

    def log_density(self, value):
        size, eta = self.dimension, self.concentration
        constant = 0.0
        for k in range(1, size):
            rest = 0.5 * (size - 1 - k)
            constant = constant + 0.5 * k * np.log(np.pi) + m.gammaln(eta + rest)
        constant = constant - (size - 1) * m.gammaln(eta + 0.5 * (size - 1))
        return (eta - 1) * _log_det(m.linalg.cholesky(value)) - constant

    def draw(self, random, shape):
        size = self.dimension
        noise = random.normal((*shape, size, size))
        rows = [m.concat([1.0 + 0.0 * noise[..., 0, :1], 0.0 * noise[..., 0, 1:]], -1)]
        for k in range(1, size):
            near = random.gamma(0.5 * k, shape)
            far = random.gamma(self.concentration + 0.5 * (size - 1 - k), shape)
            share = m.expand_dims(near / (near + far), -1)
            direction = noise[..., k, :k]
            direction = direction / m.sqrt(m.sum(direction * direction, -1, keepdims=True))
            rows.append(
                m.concat([m.sqrt(share) * direction, m.sqrt(1 - share), 0.0 * noise[..., k, k + 1 :]], -1)
            )
        factor = m.stack(rows, -2)
        return m.matmul(factor, m.matrix_transpose(factor))

"""Laws of a vector or a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import constraints
from ..errors import ModelError, explain
from .base import Distribution, constrained, exactly_one


@dataclass(frozen=True, eq=False, repr=False)
class Dirichlet(Distribution):
    """Law of a probability vector.

    Parameters
    ----------
    concentration : array_like, shape (..., K)
        Positive; the mean is the concentration divided by its sum.

    Examples
    --------
    >>> law = Dirichlet([1.0, 1.0, 1.0])  # all shares alike; their number is that of the entries
    >>> law.support.words, law.event_dim
    ('probabilities that sum to one', 1)
    """

    arg_constraints = constrained(concentration=constraints.independent(constraints.positive, 1))
    support = constraints.simplex
    concentration: Any


@dataclass(frozen=True, eq=False, repr=False)
class MultivariateNormal(Distribution):
    """Normal law of a vector.

    Parameters
    ----------
    loc : array_like, shape (..., D)
        Mean.
    covariance_matrix, precision_matrix, scale_tril : array_like, shape (..., D, D), optional
        Covariance, its inverse, or the lower Cholesky factor of the covariance. Exactly one is given.

    Raises
    ------
    ModelError
        If none or several of the three are given.

    Examples
    --------
    >>> import numpy as np
    >>> MultivariateNormal(np.zeros(2), np.eye(2))  # second comes the covariance; a factor goes by name
    MultivariateNormal(loc=<array (2,)>, covariance_matrix=<array (2, 2)>)
    """

    arg_constraints = constrained(
        loc=constraints.real,
        covariance_matrix=constraints.positive_definite,
        precision_matrix=constraints.positive_definite,
        scale_tril=constraints.lower_cholesky,
    )
    support = constraints.real_vector
    loc: Any = 0.0
    covariance_matrix: Any = None
    precision_matrix: Any = None
    scale_tril: Any = None

    def __post_init__(self):
        exactly_one(
            "MultivariateNormal",
            covariance_matrix=self.covariance_matrix,
            precision_matrix=self.precision_matrix,
            scale_tril=self.scale_tril,
        )


@dataclass(frozen=True, eq=False, repr=False)
class LKJCholesky(Distribution):
    """Law of the lower Cholesky factor of a correlation matrix.

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
    LKJ : the law of the correlation matrix itself, whose summary shows correlations.

    Notes
    -----
    To see correlations beside the factor, which is what a ``MultivariateNormal(scale_tril=...)`` takes::

        factor = er.sample("factor", er.LKJCholesky(3, 2.0))
        er.deterministic("correlation", factor @ er.math.matrix_transpose(factor))

    References
    ----------
    Lewandowski, Kurowicka and Joe (2009), Generating random correlation matrices based on vines and extended
    onion method, Journal of Multivariate Analysis 100.

    Examples
    --------
    >>> law = LKJCholesky(3, 2.0)  # the number of rows, then the concentration
    >>> law.event_dim, law.support.words
    (2, 'a lower triangular matrix with a positive diagonal and rows of length one')
    """

    arg_constraints = constrained(concentration=constraints.positive)
    support = constraints.corr_cholesky
    dimension: int
    concentration: Any = 1.0

    def __post_init__(self):
        try:
            good = int(self.dimension) == self.dimension and self.dimension >= 2
        except Exception:  # a tracer refuses in a way of its own
            good = False
        if not good:
            raise ModelError(
                explain(
                    "LKJCholesky, parameter 'dimension'",
                    "a whole number of at least 2, known before the model is compiled",
                    repr(self.dimension)[:80],
                    "give the number of correlated quantities",
                )
            )
        object.__setattr__(self, "dimension", int(self.dimension))

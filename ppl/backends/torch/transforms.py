"""Bijections from the unconstrained space to supports."""

from __future__ import annotations

import numpy as np
import torch
from pyro.distributions import constraints as C
from torch.distributions import biject_to, transforms

from .constraints import LessThanEq, ZeroSum, positive_ordered_vector


class _Tril(transforms.Transform):
    """Vector to lower Cholesky factor: the entries below the diagonal row by row, then the log diagonal."""

    domain, bijective = C.real_vector, True
    codomain: C.Constraint = C.lower_cholesky

    def _call(self, x):
        size = _side(x.shape[-1])
        below = size * (size - 1) // 2
        row, column = np.tril_indices(size, -1)
        place = torch.zeros((below, size, size), dtype=x.dtype)
        place[np.arange(below), row, column] = 1.0
        return torch.tensordot(x[..., :below], place, 1) + torch.diag_embed(torch.exp(x[..., below:]))

    def _inverse(self, y):
        row, column = np.tril_indices(y.shape[-1], -1)
        return torch.cat([y[..., row, column], torch.log(torch.diagonal(y, dim1=-2, dim2=-1))], -1)

    def log_abs_det_jacobian(self, x, y):
        size = _side(x.shape[-1])
        return x[..., size * (size - 1) // 2 :].sum(-1)

    def forward_shape(self, shape):
        size = _side(shape[-1])
        return (*shape[:-1], size, size)

    def inverse_shape(self, shape):
        return (*shape[:-2], shape[-1] * (shape[-1] + 1) // 2)


def _side(length: int) -> int:
    return round((np.sqrt(8 * length + 1) - 1) / 2)


class _Square(_Tril):
    """Vector to positive definite matrix, by its Cholesky factor."""

    codomain = C.positive_definite

    def _call(self, x):
        factor = super()._call(x)
        return factor @ factor.mT

    def _inverse(self, y):
        return super()._inverse(torch.linalg.cholesky(y))

    def log_abs_det_jacobian(self, x, y):
        size = _side(x.shape[-1])
        diagonal = x[..., size * (size - 1) // 2 :]
        powers = torch.arange(size, 0, -1, dtype=x.dtype)
        return size * np.log(2.0) + (diagonal * (powers + 1)).sum(-1)


class _CorrSquare(transforms.Transform):
    """Vector to correlation matrix, by its Cholesky factor."""

    domain, codomain, bijective = C.real_vector, C.corr_matrix, True
    _factor = transforms.CorrCholeskyTransform()

    def _call(self, x):
        factor = self._factor(x)
        return factor @ factor.mT

    def _inverse(self, y):
        return self._factor.inv(torch.linalg.cholesky(y))

    def log_abs_det_jacobian(self, x, y):
        factor = self._factor(x)
        size = y.shape[-1]
        powers = torch.arange(size - 1, -1, -1, dtype=x.dtype)
        diagonal = torch.log(torch.diagonal(factor, dim1=-2, dim2=-1))
        return self._factor.log_abs_det_jacobian(x, factor) + (diagonal * powers).sum(-1)

    def forward_shape(self, shape):
        return self._factor.forward_shape(shape)

    def inverse_shape(self, shape):
        return self._factor.inverse_shape(shape)


class _ZeroSum(transforms.Transform):
    """Array to one whose axes sum to zero, by an orthonormal map along each of them."""

    bijective = True

    def __init__(self, num_axes):
        super().__init__()
        self.num_axes = num_axes
        self.domain, self.codomain = C.independent(C.real, num_axes), ZeroSum(num_axes)

    def _call(self, x):
        for axis in range(-self.num_axes, 0):
            x = self._extend(x, axis)
        return x

    def _inverse(self, y):
        for axis in range(-self.num_axes, 0):
            y = self._reduce(y, axis)
        return y

    @staticmethod
    def _extend(x, axis):
        n = x.shape[axis] + 1
        total = x.sum(axis, keepdim=True)
        norm = total / (np.sqrt(n) + n)
        last = norm - total / np.sqrt(n)
        return torch.cat([x, last], axis) - norm

    @staticmethod
    def _reduce(y, axis):
        n = y.shape[axis]
        last = y.narrow(axis, n - 1, 1)
        total = -last * np.sqrt(n)
        return y.narrow(axis, 0, n - 1) + total / (np.sqrt(n) + n)

    def log_abs_det_jacobian(self, x, y):
        return torch.zeros(x.shape[: x.ndim - self.num_axes], dtype=x.dtype)

    def forward_shape(self, shape):
        cut = len(shape) - self.num_axes
        return (*shape[:cut], *(n + 1 for n in shape[cut:]))

    def inverse_shape(self, shape):
        cut = len(shape) - self.num_axes
        return (*shape[:cut], *(n - 1 for n in shape[cut:]))


def is_real(support) -> bool:
    """Whether a support is the whole space."""
    mixture = torch.distributions.constraints.MixtureSameFamilyConstraint
    while isinstance(support, (C.independent, mixture)):
        support = support.base_constraint
    return support is C.real or support is C.real_vector


def transform_to(support):  # noqa: PLR0911  one for each kind of support
    """Bijection from the unconstrained space to a support.

    Raises
    ------
    NotImplementedError
        Where there is none.
    """
    if isinstance(support, torch.distributions.constraints.MixtureSameFamilyConstraint):
        return transform_to(support.base_constraint)
    if isinstance(support, ZeroSum):
        return _ZeroSum(support.num_axes)
    if isinstance(support, LessThanEq):
        return biject_to(C.less_than(support.upper_bound))
    if support is C.lower_cholesky:
        return _Tril()
    if support is C.positive_definite:
        return _Square()
    if support is C.corr_matrix:
        return _CorrSquare()
    if support is C.positive_ordered_vector or support is positive_ordered_vector:
        base = biject_to(C.ordered_vector)
        return transforms.ComposeTransform(
            [base, transforms.IndependentTransform(transforms.ExpTransform(), 1)]
        )
    if support is C.ordered_vector or isinstance(support, type(C.ordered_vector)):
        return biject_to(C.ordered_vector)
    return biject_to(support)

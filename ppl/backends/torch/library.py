"""What the functions of a draw ask of PyTorch: `functions.Library`."""

from __future__ import annotations

import copy

import numpy as np
import pyro
import torch

from ...recursion import scan_in_python
from .arrays import DTYPES
from .execute import Run, execute
from .laws import LKJCholesky
from .namespace import asarray
from .transforms import is_real, transform_to

name = "torch"
run = Run
grad = torch.func.grad
vmap = torch.func.vmap

__all__ = [
    "asarray",
    "cast",
    "draws",
    "execute",
    "grad",
    "is_real",
    "jvp",
    "name",
    "run",
    "scan",
    "total",
    "transform",
    "vmap",
    "zeros",
]


class draws:  # called as a function is, on both backends
    """Random numbers of one draw, from PyTorch's stream, which the caller has begun at a seed."""

    def __init__(self, seed, dtype):
        self.dtype = DTYPES[np.dtype(dtype)]

    def sample(self, fn, at=None):
        value = _drawable(fn).sample()  # of a law of plain numbers they are doubles
        return value.to(self.dtype) if value.dtype.is_floating_point else value

    def choose(self, shares, site, step=None):
        return torch.distributions.Categorical(shares.movedim(0, -1), validate_args=False).sample()

    def afresh(self, step):
        return self  # the stream goes on


def cast(value, like):
    """An array with the type of another."""
    return value.to(like.dtype)


def total(value):
    """Sum of all elements."""
    return value.sum()


def zeros(shape, dtype):
    """Zeros of a precision of NumPy's name."""
    return torch.zeros(shape, dtype=DTYPES[np.dtype(dtype)])


def jvp(fn, at, along):
    """Derivative of a function at a point along a direction."""
    return torch.func.jvp(fn, (at,), (along,))[1]


def transform(fn):
    """Bijection from the unconstrained space to a law's support."""
    return transform_to(fn.support)


def scan(step, init, xs, length=None):
    """A recursion over the first axis, in Python."""
    return scan_in_python(step, init, xs, length)


def _drawable(fn):
    """A law whose draws have its density: a Pyro model's own LKJ, also under wrappers, is replaced."""
    if type(fn) is pyro.distributions.LKJCholesky:
        return LKJCholesky(fn.dim, fn.concentration, validate_args=False)
    base = getattr(fn, "base_dist", None)
    other = None if base is None else _drawable(base)
    if other is base:
        return fn
    made = copy.copy(fn)
    made.base_dist = other
    return made

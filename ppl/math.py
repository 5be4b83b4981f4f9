"""``er.math``: functions that follow their operands, so that a model is written once.

With host data (numbers, lists, NumPy, pandas, xarray) they compute with NumPy and SciPy and return NumPy; as
soon as one operand belongs to a backend they compute there. Names are those of the Python array API, plus the
words of statistics. Functions that create arrays return those of the library that is running the model, and
NumPy outside of one.

Examples
--------
>>> import jax.numpy as jnp
>>> import elboroom as er
>>> type(er.math.softmax([0.0, 1.0])).__module__, isinstance(er.math.softmax(jnp.arange(2.0)), jnp.ndarray)
('numpy', True)
>>> er.math.expit([-800.0, 0.0, 800.0]).tolist()  # which overflows nowhere
[0.0, 0.5, 1.0]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import *  # noqa: F403  the words of `arrays` are those of this module
from .arrays import exp, floating, log, log1p, namespace
from .bessel import log_bessel_i as _log_bessel_i
from .incomplete import log_beta_tails as _log_beta_tails
from .incomplete import log_gamma_tails as _log_gamma_tails
from .interpreter import running_array, running_constant
from .namespace import host as _host


def gammainc(a: Any, x: Any) -> Any:
    """Regularised lower incomplete gamma function P(a, x), differentiable in both arguments."""
    return exp(log_gammainc(a, x))


def gammaincc(a: Any, x: Any) -> Any:
    """Regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return exp(log_gammaincc(a, x))


def betainc(a: Any, b: Any, x: Any) -> Any:
    """Regularised incomplete beta function I_x(a, b), differentiable in all arguments."""
    return exp(log_betainc(a, b, x))


def log_gammainc(a: Any, x: Any) -> Any:
    """Logarithm of `gammainc`, accurate far out."""
    return _log_gamma_tails(*floating(a, x))[0]


def log_gammaincc(a: Any, x: Any) -> Any:
    """Logarithm of `gammaincc`, accurate far out."""
    return _log_gamma_tails(*floating(a, x))[1]


def log_betainc(a: Any, b: Any, x: Any) -> Any:
    """Logarithm of `betainc`, accurate far out; x strictly between 0 and 1."""
    a, b, x = floating(a, b, x)
    return _log_beta_tails(a, b, log(x), log1p(-x))[0]


def log_bessel_i(order: Any, x: Any) -> Any:
    """Logarithm of the modified Bessel function of the first kind, of any order that is not negative; x positive."""
    return _log_bessel_i(*floating(order, x))


def zeros(shape: Any) -> Any:
    """Array of zeros."""
    return running_array(np.zeros(shape))


def ones(shape: Any) -> Any:
    """Array of ones."""
    return running_array(np.ones(shape))


def full(shape: Any, fill_value: float) -> Any:
    """Array of one value."""
    return running_array(np.full(shape, fill_value))


def eye(n_rows: int, n_cols: int | None = None) -> Any:
    """Identity matrix."""
    return running_array(np.eye(n_rows, n_cols))


def arange(start: Any, stop: Any = None, step: Any = 1) -> Any:
    """Array of evenly spaced numbers; ``arange(n)`` counts from zero."""
    return running_array(np.arange(start, step=step) if stop is None else np.arange(start, stop, step))


def linspace(start: float, stop: float, num: int) -> Any:
    """Array of `num` numbers from `start` to `stop`, both included."""
    return running_array(np.linspace(start, stop, num))


def asarray(value: Any) -> Any:
    """`value` as an array that stands beside latent quantities in any operator, and takes them as indices, on every backend."""
    return running_constant(np.asarray(value)) if namespace(value) is _host() else value

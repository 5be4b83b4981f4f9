"""The modified Bessel function of any order, whose logarithm keeps its digits."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import arrays as m

FAR = 50.0
"""Length of order and argument from which Debye's expansion errs by less than 1e-9: the first polynomial left out."""
TERMS = 90
"""Terms of the power series: they fall from half of `FAR` on, and are 1e-16 of the sum at the last (DLMF 10.25.2)."""
DEBYE = (
    (3 / 24, -5 / 24),
    (81 / 1152, -462 / 1152, 385 / 1152),
    (30375 / 414720, -369603 / 414720, 765765 / 414720, -425425 / 414720),
    (
        4465125 / 39813120,
        -94121676 / 39813120,
        349922430 / 39813120,
        -446185740 / 39813120,
        185910725 / 39813120,
    ),
)
"""Coefficients of Debye's polynomials in the square of the angle's cosine (DLMF 10.41.10)."""


def log_bessel_i(order: Any, x: Any) -> Any:
    """Logarithm of the modified Bessel function of the first kind.

    Parameters
    ----------
    order : array
        Not negative.
    x : array
        Positive.

    References
    ----------
    NIST Digital Library of Mathematical Functions, 10.25.2 and 10.41.3.

    Examples
    --------
    >>> from scipy.special import ive
    >>> bool(abs(float(log_bessel_i(3.0, 2.0)) - (np.log(ive(3, 2.0)) + 2)) < 1e-12)
    True
    """
    length = m.sqrt(order * order + x * x)
    far = length > FAR
    return m.where(
        far,
        _expanded(order, x, m.where(far, length, FAR)),
        _summed(m.where(far, 0.0, order), m.where(far, 1.0, x)),
    )


def _expanded(order, x, length):
    """Debye's expansion, in one over the root of the squares of order and argument."""
    square = (order / length) * (order / length)
    correction = 0.0
    for k, coefficients in enumerate(DEBYE, start=1):
        polynomial = 0.0
        for coefficient in reversed(coefficients):
            polynomial = coefficient + square * polynomial
        correction = correction + polynomial / length**k
    exponent = length + order * m.log(x / (order + length))
    return exponent - 0.5 * m.log(2 * np.pi * length) + m.log1p(correction)


def _summed(order, x):
    """The power series by Horner's rule, from its first term: each of the others is a multiple of the one before."""
    half, rest = 0.5 * x, 0.0
    for k in range(TERMS - 1, 0, -1):
        rest = half * half / (k * (order + k)) * (1.0 + rest)
    return order * m.log(half) - m.gammaln(order + 1.0) + m.log1p(rest)

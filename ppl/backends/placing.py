"""Draws of laws by standard normal numbers that are given, for what runs where no library draws any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import math as m
from ..errors import UnsupportedError, explain
from .wrappers import base_name, base_of


def _laplace(fn: Any, eps: Any) -> Any:
    tail = float(np.log(2.0)) + m.log_ndtr(-m.abs(eps))
    return fn.loc - fn.scale * m.sign(eps) * tail


def _dense(fn: Any, eps: Any) -> Any:
    return fn.loc + m.sum(fn.scale_tril * eps[..., None, :], axis=-1)


def _categorical(fn: Any, eps: Any) -> Any:
    below = m.cumulative_sum(fn.probs, axis=-1)[..., :-1]
    return m.sum(m.where(m.ndtr(eps)[..., None] > below, 1, 0), axis=-1)


RULES: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "Normal": lambda fn, eps: fn.loc + fn.scale * eps,
        "LogNormal": lambda fn, eps: m.exp(fn.loc + fn.scale * eps),
        "HalfNormal": lambda fn, eps: fn.scale * m.abs(eps),
        "MultivariateNormal": _dense,
        "Exponential": lambda fn, eps: -m.log_ndtr(-eps) / fn.rate,
        "Laplace": _laplace,
        "Logistic": lambda fn, eps: fn.loc + fn.scale * (m.log_ndtr(eps) - m.log_ndtr(-eps)),
        "Gumbel": lambda fn, eps: fn.loc - fn.scale * m.log(-m.log_ndtr(eps)),
        "Uniform": lambda fn, eps: fn.low + (fn.high - fn.low) * m.ndtr(eps),
        "Bernoulli": lambda fn, eps: m.like(m.where(m.ndtr(eps) < fn.probs, 1.0, 0.0), eps),
        "Categorical": _categorical,
    }
)
"""Laws by name to their values at standard normal numbers: increasing ones, but for the half normal."""


def placed(name: str, fn: Any, eps: Any) -> Any:
    """A value of a law from standard normal numbers of its shape.

    Parameters
    ----------
    name : str
        Of the site, for errors.
    fn : object
        The library's law.
    eps : array
        Standard normal numbers of the shape of the value.

    Raises
    ------
    UnsupportedError
        For laws other than `RULES` has.
    """
    rule = RULES.get(base_name(fn))
    if rule is None:
        words = f"a law that standard normal numbers are made into: {', '.join(sorted(RULES))}"
        raise UnsupportedError(explain(f"draws of '{name}'", words, base_name(fn), "export with noise=False"))
    return rule(base_of(fn), eps)

"""``er.OneHotCategorical``: one of several classes as a row of zeros with a one in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import math as m
from ..thresholds import LEAST_PROBABILITY
from .base import exactly_one
from .bits import Bits, unwrapped
from .discrete import Categorical


def OneHotCategorical(probs: Any = None, logits: Any = None) -> OneHots:
    """Law of one of K classes, as K numbers of which one is 1 and all others are 0.

    Parameters
    ----------
    probs : array_like, shape (..., K), optional
        Probability of each class.
    logits : array_like, shape (..., K), optional
        Their logarithms up to a constant. Exactly one of the two is given.

    Returns
    -------
    Distribution
        Of vectors of shape ``(K,)``.

    Raises
    ------
    ModelError
        If both or neither are given, or there are no two classes.

    Notes
    -----
    For latent quantities of the rows of a plate that are too many to be summed out, with `elboroom.Amortized`: networks take the numbers
    as they are, and while they are trained these may lie between. Where a class is a code, and its few values can be summed out,
    `elboroom.Categorical` is the law.

    Examples
    --------
    >>> import elboroom as er
    >>> @er.model
    ... def choices(x):
    ...     decode = er.module("decode", er.nn.MLP(80, [16], 5))
    ...     with er.plate("row", len(x)):
    ...         z = er.sample("z", er.OneHotCategorical(logits=np.zeros(16)).expand([5]).to_event(1))
    ...         er.observe("x", er.Normal(decode(z.reshape(-1, 80)), 0.5).to_event(1), x)
    >>> choices(np.zeros((20, 5))).trace()["z"].shape
    (20, 5, 16)
    """
    exactly_one("OneHotCategorical", probs=probs, logits=logits)
    Categorical(probs, logits).validate("er.OneHotCategorical")
    if logits is None:
        logits = m.log(m.maximum(m.like(probs, probs), LEAST_PROBABILITY))
    return OneHots(logits, 1)


@dataclass(frozen=True, eq=False, repr=False)
class OneHots(Bits):
    """Independent classes as rows of zeros and a one, of which an array is one value.

    Parameters
    ----------
    logits : array_like, shape (..., K)
        Logarithms of the probabilities, up to a constant.
    num_axes : int
        Last axes of `logits` that make a value.

    Notes
    -----
    Values lie among all real numbers for what computes with them; draws and encoders give zeros and ones only.

    Examples
    --------
    >>> OneHots(np.zeros((3, 4)), 2).log_density(np.eye(4)[:3]).round(4)
    np.float64(-4.1589)
    """

    def log_density(self, value):
        return m.sum(value * m.log_softmax(self.logits), axis=tuple(range(-self.num_axes, 0)))

    def draw(self, random, shape):
        code = random.categorical(self.logits, (*shape, *self.event_shape[:-1]))
        return m.like(m.expand_dims(code, -1) == np.arange(np.shape(self.logits)[-1]), self.logits)


def as_one_hots(declared: Any) -> Any:
    """The law as one of `OneHots` where it is of several independent ones."""
    base, shape, num_axes = unwrapped(declared)
    if type(base) is not OneHots or base is declared:
        return declared
    own = tuple(np.shape(base.logits))
    full = (*np.broadcast_shapes(own[:-1], shape), own[-1])
    return OneHots(m.broadcast_to(base.logits, full), base.num_axes + num_axes)

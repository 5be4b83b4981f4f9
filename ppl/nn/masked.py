"""Dense layers that show each number of a row those before it alone.

References
----------
Germain et al. (2015), MADE: masked autoencoder for distribution estimation, ICML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .. import math as m
from .layers import (
    ACTIVATIONS,
    Arrays,
    check_activation,
    check_context,
    check_last,
    check_share,
    glorot,
    size_of,
    sizes_of,
)
from .noise import dropped


@dataclass(frozen=True)
class Masked:
    """Masked dense layers: what comes out at each place of a row sees what came in before it, and a context.

    Parameters
    ----------
    num_in : int
        Numbers of a row, on the last axis: pixels of an image, row by row, say.
    hidden : sequence of int
        Units of each layer between; none for a linear map.
    num_out : int, default 1
        Numbers that come out at each place.
    num_context : int, default 0
        Numbers of the context, which all places see.
    activation : str, default "silu"
        See `MLP`.
    dropout : float, default 0
        Share of the numbers that come in that are taken for zero while networks are trained, and only then: a model that cannot rely
        on them learns to use the context (Bowman et al. 2016).

    Raises
    ------
    ModelError
        For sizes that are no positive whole numbers, another activation, or no share.

    Notes
    -----
    A unit of a layer sees the places up to a number of its own, evenly spread; beside the layers there is a linear map. The density of
    a row ``x`` is that of ``x`` given what comes out for ``x`` itself; its elements are drawn one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> net = Masked(4, [16], num_context=2)
    >>> weights = net.arrays(np.random.default_rng(0))
    >>> x, z = np.random.default_rng(1).normal(size=(5, 4)), np.zeros((5, 2))
    >>> before = net.apply(weights, x, z)
    >>> before.shape
    (5, 4)
    >>> x[:, 2] = 100.0
    >>> [bool(np.all(one)) for one in (net.apply(weights, x, z) == before).T]
    [True, True, True, False]
    """

    num_in: int
    hidden: Sequence[int]
    num_out: int = 1
    num_context: int = 0
    activation: str = "silu"
    dropout: float = 0.0

    def __post_init__(self):
        what = "er.nn.Masked"
        for argument in ("num_in", "num_out"):
            object.__setattr__(self, argument, size_of(what, argument, getattr(self, argument)))
        object.__setattr__(self, "hidden", sizes_of(what, "hidden", self.hidden))
        object.__setattr__(self, "num_context", size_of(what, "num_context", self.num_context, 0))
        check_activation(what, self.activation)
        check_share(what, "dropout", self.dropout)

    @property
    def _seen(self) -> list[np.ndarray]:
        """Of each layer, ends included, how many places each of its units sees; of a place that goes in, its number from 1 on."""
        places = np.arange(1, self.num_in + 1)
        inner = [np.round(np.linspace(0, self.num_in - 1, size)).astype(int) for size in self.hidden]
        return [places, *inner, np.repeat(places - 1, self.num_out)]

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: Glorot's uniform law, and no biases; the linear map beside the layers begins at nothing."""
        seen, out = self._seen, {}
        for i, (below, above) in enumerate(pairwise(seen)):
            extra = self.num_context if not i else 0
            fan_in = max((below[None] <= above[:, None]).sum() / len(above), 1) + extra
            out[f"layers.{i}.weight"] = glorot(rng, (len(above), len(below) + extra), fan_in, len(above))
            out[f"layers.{i}.bias"] = np.zeros(len(above))
        if self.hidden:
            out["beside.weight"] = np.zeros((len(seen[-1]), self.num_in + self.num_context))
        return out

    def apply(self, arrays: Arrays, x: Any, context: Any = None) -> Any:
        """Rows ``(..., num_in)`` and contexts ``(..., num_context)`` to ``(..., num_in)``, or ``(..., num_in, num_out)`` of several.

        Raises
        ------
        ModelError
            If a context is missing, or is none of its declaration.
        ShapeError
            For rows or contexts of another length.
        """
        check_last("er.nn.Masked", x, self.num_in)
        check_context("er.nn.Masked", context, self.num_context)
        x = dropped(m.like(x, arrays["layers.0.weight"]), self.dropout)
        if context is not None:
            context = m.like(context, x)
            lead = np.broadcast_shapes(tuple(np.shape(x))[:-1], tuple(np.shape(context))[:-1])
            x = m.broadcast_to(x, (*lead, self.num_in))
            x = m.concat([x, m.broadcast_to(context, (*lead, self.num_context))], axis=-1)
        seen, first = self._seen, x
        for i, (below, above) in enumerate(pairwise(seen)):
            x = ACTIVATIONS[self.activation](x) if i else x
            weight = arrays[f"layers.{i}.weight"] * self._mask(below, above, weight_like=x, first=not i)
            x = m.matmul(x, m.matrix_transpose(weight)) + arrays[f"layers.{i}.bias"]
        if self.hidden:
            weight = arrays["beside.weight"] * self._mask(seen[0], seen[-1], weight_like=x, first=True)
            x = x + m.matmul(first, m.matrix_transpose(weight))
        return x if self.num_out == 1 else m.reshape(x, (*np.shape(x)[:-1], self.num_in, self.num_out))

    def _mask(self, below: np.ndarray, above: np.ndarray, weight_like: Any, first: bool) -> Any:
        """Ones where a unit may see one below; all of the context."""
        mask = below[None] <= above[:, None]
        if first:
            mask = np.concatenate([mask, np.ones((len(above), self.num_context), bool)], axis=1)
        return m.like(mask.astype(float), weight_like)

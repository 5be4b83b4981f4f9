"""``er.nn``: networks that are declared once and run on either backend.

A network is a frozen declaration: ``arrays(rng)`` makes its initial weights, in NumPy, so that they are the same on both
backends, and ``apply(arrays, *inputs)`` computes with them, over `elboroom.math`. Leading axes of inputs are rows, all
treated alike; `elboroom.module` takes these networks, and those of equinox, flax and PyTorch.

References
----------
Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, AISTATS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from . import math as m
from .errors import ModelError, ShapeError, explain

Arrays = Mapping[str, Any]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: m.maximum(x, 0.0),
    "silu": lambda x: x * m.expit(x),
    "softplus": m.softplus,
    "tanh": m.tanh,
    "sigmoid": m.expit,
    "identity": lambda x: x,
}
"""By the names that a network takes."""


@dataclass(frozen=True)
class MLP:
    """Dense layers with an activation between them.

    Parameters
    ----------
    num_in : int
        Numbers of a row that comes in, on the last axis.
    hidden : sequence of int
        Units of each layer between; none for a linear map.
    num_out : int
        Numbers of a row that comes out.
    activation : str, default "silu"
        ``"relu"``, ``"silu"``, ``"softplus"``, ``"tanh"``, ``"sigmoid"`` or ``"identity"``.

    Raises
    ------
    ModelError
        For sizes that are no positive whole numbers, or another activation.

    Examples
    --------
    >>> import numpy as np
    >>> net = MLP(2, [3], 1)
    >>> weights = net.arrays(np.random.default_rng(0))
    >>> sorted(weights)
    ['layers.0.bias', 'layers.0.weight', 'layers.1.bias', 'layers.1.weight']
    >>> net.apply(weights, np.zeros((5, 2))).shape
    (5, 1)
    """

    num_in: int
    hidden: Sequence[int]
    num_out: int
    activation: str = "silu"

    def __post_init__(self):
        hidden = self.hidden if isinstance(self.hidden, (list, tuple)) else ()
        if hidden is not self.hidden or not all(_positive(n) for n in (self.num_in, *hidden, self.num_out)):
            got = f"({self.num_in!r}, {self.hidden!r}, {self.num_out!r})"[:80]
            raise ModelError(explain("er.nn.MLP", "positive whole numbers, the middle ones in a list", got,
                                     "write er.nn.MLP(8, [256], 64)"))  # fmt: skip
        if self.activation not in ACTIVATIONS:
            raise ModelError(explain("activation of er.nn.MLP", f"one of {sorted(ACTIVATIONS)}",
                                     f"{self.activation!r}"[:80], "choose one of them"))  # fmt: skip
        object.__setattr__(self, "hidden", tuple(int(n) for n in hidden))

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: Glorot's uniform law, and no biases."""
        sizes, out = (self.num_in, *self.hidden, self.num_out), {}
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            edge = np.sqrt(6.0 / (fan_in + fan_out))
            out[f"layers.{i}.weight"] = rng.uniform(-edge, edge, (fan_out, fan_in))
            out[f"layers.{i}.bias"] = np.zeros(fan_out)
        return out

    def apply(self, arrays: Arrays, x: Any) -> Any:
        """Rows ``(..., num_in)`` to ``(..., num_out)``.

        Raises
        ------
        ShapeError
            For rows of another length.
        """
        check_last("er.nn.MLP", x, self.num_in)
        for i in range(len(self.hidden) + 1):
            if i:
                x = ACTIVATIONS[self.activation](x)
            x = m.matmul(x, m.matrix_transpose(arrays[f"layers.{i}.weight"])) + arrays[f"layers.{i}.bias"]
        return x


def check_last(what: str, x: Any, size: int) -> None:
    """Refuse rows of another length than a network takes.

    Raises
    ------
    ShapeError
    """
    shape = tuple(np.shape(x))
    if not shape or shape[-1] != size:
        raise ShapeError(explain(what, f"inputs whose last axis has {size} numbers", f"shape {shape}",
                                 "give it that many, or declare the network with what comes in"))  # fmt: skip


def _positive(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool) and number >= 1

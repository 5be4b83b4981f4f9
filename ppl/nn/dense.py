"""Dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .layers import ACTIVATIONS, Arrays, check_activation, check_last, glorot, linear, size_of, sizes_of


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
        what = "er.nn.MLP"
        object.__setattr__(self, "num_in", size_of(what, "num_in", self.num_in))
        object.__setattr__(self, "hidden", sizes_of(what, "hidden", self.hidden))
        object.__setattr__(self, "num_out", size_of(what, "num_out", self.num_out))
        check_activation(what, self.activation)

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: Glorot's uniform law, and no biases."""
        sizes, out = (self.num_in, *self.hidden, self.num_out), {}
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            out[f"layers.{i}.weight"] = glorot(rng, (fan_out, fan_in), fan_in, fan_out)
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
            x = linear(arrays, f"layers.{i}", x)
        return x

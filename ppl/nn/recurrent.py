"""Gated recurrent units.

References
----------
Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, EMNLP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import math as m
from .layers import Arrays, check_last, glorot, linear, size_of


@dataclass(frozen=True)
class GRU:
    """A state over time, from zeros, and a linear map of it.

    Parameters
    ----------
    num_in : int
        Numbers that come in at each time, on the last axis; time is the axis before.
    num_hidden : int
        Numbers of the state.
    num_out : int
        Numbers that come out at each time.
    last : bool, default False
        Whether only what comes out at the last time is given, without the axis of time.

    Raises
    ------
    ModelError
        For sizes that are no positive whole numbers.

    Notes
    -----
    With the gates r and u of the inputs x and the last state h,
    ``n = tanh(A x + a + r (B h + b))`` and the next state is ``(1 - u) n + u h``, as in PyTorch. Rows of the weights
    are those of r, of u and of n, in this order.

    Examples
    --------
    >>> import numpy as np
    >>> net = GRU(2, 3, 1)
    >>> weights = net.arrays(np.random.default_rng(0))
    >>> {name: value.shape for name, value in weights.items() if name.endswith("weight")}
    {'input.weight': (9, 2), 'state.weight': (9, 3), 'out.weight': (1, 3)}
    >>> net.apply(weights, np.zeros((5, 7, 2))).shape
    (5, 7, 1)
    """

    num_in: int
    num_hidden: int
    num_out: int
    last: bool = False

    def __post_init__(self):
        for argument in ("num_in", "num_hidden", "num_out"):
            object.__setattr__(self, argument, size_of("er.nn.GRU", argument, getattr(self, argument)))

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: Glorot's uniform law, and no biases."""
        n, size = self.num_in, self.num_hidden
        return {
            "input.weight": glorot(rng, (3 * size, n), n, size),
            "input.bias": np.zeros(3 * size),
            "state.weight": glorot(rng, (3 * size, size), size, size),
            "state.bias": np.zeros(3 * size),
            "out.weight": glorot(rng, (self.num_out, size), size, self.num_out),
            "out.bias": np.zeros(self.num_out),
        }

    def apply(self, arrays: Arrays, x: Any) -> Any:
        """Sequences ``(..., T, num_in)`` to ``(..., T, num_out)``, or to ``(..., num_out)`` of the last.

        Raises
        ------
        ShapeError
            For inputs without an axis of time, or of another length.
        """
        check_last("er.nn.GRU", x, self.num_in, 2)
        size = self.num_hidden
        inputs = m.moveaxis(m.like(x, arrays["input.weight"]), -2, 0)
        first = m.like(np.zeros((*np.shape(inputs)[1:-1], size)), inputs)

        def step(state, given):
            # here, not before: parts of what is scanned are read number by number on CPUs, which takes three times as long
            own, given = linear(arrays, "state", state), linear(arrays, "input", given)
            gates = m.expit(given[..., : 2 * size] + own[..., : 2 * size])
            reset, update = gates[..., :size], gates[..., size:]
            new = m.tanh(given[..., 2 * size :] + reset * own[..., 2 * size :])
            state = (1.0 - update) * new + update * state
            return state, state

        final, states = m.scan(step, first, inputs)
        return linear(arrays, "out", final if self.last else m.moveaxis(states, 0, -2))

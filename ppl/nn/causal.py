"""What comes next in a sequence, from what came before.

References
----------
Bowman et al. (2016), Generating sentences from a continuous space, CoNLL, on word dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import math as m
from .layers import Arrays, check_context, check_last, check_share, size_of
from .noise import dropped
from .recurrent import GRU


@dataclass(frozen=True)
class Causal:
    """A network of a sequence whose output at each time sees what came in before, and a context.

    Parameters
    ----------
    num_in : int
        Numbers that come in at each time, on the last axis; time is the axis before.
    num_hidden : int
        Numbers of its state.
    num_out : int
        Numbers that come out at each time.
    num_context : int, default 0
        Numbers of the context, which all times see.
    dropout : float, default 0
        Share of the times whose numbers are taken for zeros where they come in while networks are trained, and only then: word dropout,
        so that a model learns to use the context (Bowman et al. 2016).

    Raises
    ------
    ModelError
        For sizes that are no positive whole numbers, or no share.

    Notes
    -----
    A `GRU` over the sequence, shifted by one: the first output sees zeros and the context. The density of a sequence
    ``x`` is then that of ``x`` given what comes out for ``x`` itself.

    Examples
    --------
    >>> import numpy as np
    >>> net = Causal(1, 8, 2, num_context=3)
    >>> weights = net.arrays(np.random.default_rng(0))
    >>> x, z = np.random.default_rng(1).normal(size=(5, 7, 1)), np.zeros((5, 3))
    >>> before = net.apply(weights, x, z)
    >>> before.shape
    (5, 7, 2)
    >>> x[:, 3] = 100.0
    >>> [bool(np.all(one)) for one in (net.apply(weights, x, z) == before).swapaxes(0, 1)]
    [True, True, True, True, False, False, False]
    """

    num_in: int
    num_hidden: int
    num_out: int
    num_context: int = 0
    dropout: float = 0.0

    def __post_init__(self):
        check_share("er.nn.Causal", "dropout", self.dropout)
        for argument in ("num_in", "num_hidden", "num_out"):
            object.__setattr__(self, argument, size_of("er.nn.Causal", argument, getattr(self, argument)))
        object.__setattr__(self, "num_context", size_of("er.nn.Causal", "num_context", self.num_context, 0))

    @property
    def _inner(self) -> GRU:
        return GRU(self.num_in + self.num_context, self.num_hidden, self.num_out)

    def arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial weights: those of a `GRU` of the sequence and the context."""
        return self._inner.arrays(rng)

    def apply(self, arrays: Arrays, x: Any, context: Any = None) -> Any:
        """Sequences ``(..., T, num_in)`` and contexts ``(..., num_context)`` to ``(..., T, num_out)``.

        Raises
        ------
        ModelError
            If a context is missing, or is none of its declaration.
        ShapeError
            For inputs without an axis of time, or of another length.
        """
        check_last("er.nn.Causal", x, self.num_in, 2)
        check_context("er.nn.Causal", context, self.num_context)
        weight = arrays["input.weight"]
        x = dropped(m.like(x, weight), self.dropout, 1)
        x = m.concat([m.like(np.zeros(np.shape(x[..., :1, :])), x), x[..., :-1, :]], axis=-2)
        if context is not None:
            context = m.expand_dims(m.like(context, weight), -2)
            lead = np.broadcast_shapes(tuple(np.shape(x))[:-2], tuple(np.shape(context))[:-2])
            num_steps = np.shape(x)[-2]
            x = m.broadcast_to(x, (*lead, num_steps, self.num_in))
            context = m.broadcast_to(context, (*lead, num_steps, self.num_context))
            x = m.concat([x, context], axis=-1)
        return self._inner.apply(arrays, x)

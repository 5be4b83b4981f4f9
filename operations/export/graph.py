"""``Graph``: what a file computes, before it is one, with the source that it has to agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ppl.backends.portable import Input, Made

Arrays = Mapping[str, np.ndarray]
NOISE = "eps_"
"""What the names of inputs of standard normal numbers begin with."""


@dataclass(frozen=True, eq=False)
class Graph:
    """What a file computes.

    Attributes
    ----------
    made : callable
        Outputs by constants and inputs, on the backend.
    constants : mapping of numpy.ndarray
        What the file holds: draws, learned arrays, tables of groups.
    inputs : tuple of Input
        Each with rows in front.
    words : mapping of str
        What each input and output is.
    source : callable
        Outputs of the posterior itself, in double precision and all rows at once, for inputs of the same rows with several noises.
    examples : callable
        Inputs in so many rows, of those that were fitted.
    fitted : mapping of numpy.ndarray
        Inputs as they were fitted.
    labels : mapping of tuple
        Of the codes of an input.
    stepped : frozenset of str
        Outputs that jump where noise passes a threshold.
    num_draws : int
        Of the posterior that it is made of; 0 where there are none.
    num_rows : int
        That were fitted.
    limits : tuple of str
        Sentences of the card.
    best_row : str
        The best verdict that an encoded row can have where the file runs; empty where there are none.
    """

    made: Made
    constants: Arrays
    inputs: tuple[Input, ...]
    words: Mapping[str, str]
    source: Callable[[Sequence[Arrays]], list[dict[str, np.ndarray]]]
    examples: Callable[[int], dict[str, np.ndarray]]
    fitted: Arrays
    labels: Mapping[str, tuple] = field(default_factory=dict)
    stepped: frozenset[str] = frozenset()
    num_draws: int = 0
    num_rows: int = 0
    limits: tuple[str, ...] = ()
    best_row: str = ""

    def typed(self, dtype: Any) -> dict[str, np.ndarray]:
        """Its constants, double ones in the precision of the file."""
        return {k: v.astype(dtype) if v.dtype == np.float64 else v for k, v in self.constants.items()}

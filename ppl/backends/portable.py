"""What is written to files that run without elboroom: functions of named arrays, whose first axis may be of any length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Made = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
"""``fn(constants, inputs) -> outputs``: of a backend's arrays, by name."""


@dataclass(frozen=True)
class Input:
    """An input of such a function.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of one row.
    dtype : str
        Name of its type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    def some(self, count: int) -> np.ndarray:
        """Zeros in so many rows."""
        return np.zeros((count, *self.shape), self.dtype)

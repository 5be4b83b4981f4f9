"""Which numbers of a column are such as the training data held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..schema.fields import Field


@dataclass(frozen=True, eq=False)
class Ranges:
    """What a column of numbers held; arrays are of a row's shape, or numbers.

    Attributes
    ----------
    low, high : numpy.ndarray
        Least and greatest.
    far_low, far_high : numpy.ndarray
        Beyond which numbers are farther outside than the training data ranged.
    whole : numpy.ndarray of bool
        Whether they were whole.
    levels : numpy.ndarray or None
        All that there were, of a column of two.
    """

    low: np.ndarray
    high: np.ndarray
    far_low: np.ndarray
    far_high: np.ndarray
    whole: np.ndarray
    levels: np.ndarray | None = None

    @classmethod
    def of(cls, name: str, shape: tuple[int, ...], fields: Mapping[str, Field]) -> Ranges | None:
        """Of an argument, whose columns a schema may list one by one; None where it knows nothing of it."""
        own = [fields[name]] if name in fields else [f for k, f in fields.items() if k.startswith(f"{name}[")]
        if not own or not all(field.count for field in own):
            return None
        if name not in fields and len(own) != int(np.prod(shape, dtype=int)):
            return None
        parts = [np.array([f.low, f.high, *f.limits, f.whole], float) for f in own]
        low, high, far_low, far_high, whole = (
            np.array(part).reshape(() if name in fields else shape) for part in zip(*parts, strict=True)
        )
        known = own[0].levels if len(own) == 1 and not own[0].open else None
        levels = None if known is None else np.array([float(level) for level in known])
        return cls(low, high, far_low, far_high, whole.astype(bool), levels)

    def far(self, values: np.ndarray) -> np.ndarray:
        """Rows that are farther out, or of another level, ``(N,)``."""
        out = np.asarray((values < self.far_low) | (values > self.far_high))
        if self.levels is not None:
            out = out | ~np.isin(values, self.levels)
        return np.asarray(out.reshape(len(values), -1).any(1))

    def inside(self, values: np.ndarray) -> np.ndarray:
        """Rows of which all numbers are such, ``(N,)``."""
        well = np.asarray((values >= self.low) & (values <= self.high))
        well &= ~self.whole | (values == np.round(values))
        if self.levels is not None:
            well &= np.isin(values, self.levels)
        return np.asarray(well.reshape(len(values), -1).all(1))

    @property
    def words(self) -> str:
        """What is not refused."""
        if self.levels is not None:
            return f"one of {[float(level) for level in self.levels]}"
        if self.far_low.ndim:
            return "numbers that are not so far from those of the training data"
        return f"numbers from {float(self.far_low):.4g} to {float(self.far_high):.4g}"

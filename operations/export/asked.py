"""What an export is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...inference.posterior.record import Record
from ...ppl.errors import InferenceError, explain
from ..thresholds import EXPORT_DRAWS, EXPORT_ROW_DRAWS

DTYPES = ("float32", "float64")
QUANTIZED = (None, "float16", "int8")


@dataclass(frozen=True, eq=False)
class Asked:
    """What an export is asked for.

    Attributes
    ----------
    record : Record
        Of the posterior.
    target : Target
        Of the fitted data, on the backend that writes.
    what : str
    draws : int or None
        How many were asked for.
    dtype : numpy.dtype
    noise : bool
        Whether outcomes are drawn.
    rows : str or None
        Plate of the rows.
    new_groups : tuple of str
        Plates whose elements may be new.
    """

    record: Record
    target: Any
    what: str
    draws: int | None
    dtype: np.dtype
    noise: bool
    rows: str | None
    new_groups: tuple[str, ...]

    def __post_init__(self):
        whole = isinstance(self.draws, (int, np.integer)) and not isinstance(self.draws, bool)
        if self.draws is not None and (not whole or self.draws < 1):
            got = repr(self.draws)[:80]
            raise InferenceError(explain("draws", "a whole number from 1 on", got, "correct it"))

    @property
    def picked(self) -> np.ndarray:
        """Draws of the posterior that go into a file, evenly among all of them.

        Raises
        ------
        InferenceError
            Where there are not as many.
        """
        count = len(self.record.z)
        draws = min(EXPORT_DRAWS, count) if self.draws is None else self.draws
        if draws > count:
            words = f"a whole number from 1 to the {count} there are"
            raise InferenceError(explain("draws", words, repr(draws)[:80], "correct it"))
        return np.unique(np.linspace(0, count - 1, draws).astype(int))

    @property
    def num_draws(self) -> int:
        """Draws of each row that an encoder has a law of."""
        return EXPORT_ROW_DRAWS if self.draws is None else self.draws


def names_of(new_groups: Any) -> tuple[str, ...]:
    """Plates whose elements may be new.

    Raises
    ------
    InferenceError
    """
    if new_groups is None:
        return ()
    found = [new_groups] if isinstance(new_groups, str) else new_groups
    if not isinstance(found, Sequence) or not all(isinstance(name, str) for name in found):
        want = "the name of a plate, or several"
        raise InferenceError(
            explain("new_groups", want, repr(new_groups)[:80], "write new_groups='county', say")
        )
    return tuple(found)

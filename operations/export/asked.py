"""What an export is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...inference.posterior.record import Record
from ...ppl.errors import InferenceError, explain
from ..thresholds import EXPORT_DRAWS

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
    picked : numpy.ndarray of int
        Draws of the posterior.
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
    picked: np.ndarray
    dtype: np.dtype
    noise: bool
    rows: str | None
    new_groups: tuple[str, ...]


def picked(record: Record, draws: Any) -> np.ndarray:
    """Draws that go into a file, evenly among all of them.

    Raises
    ------
    InferenceError
    """
    count = len(record.z)
    if draws is None:
        draws = min(EXPORT_DRAWS, count)
    whole = isinstance(draws, (int, np.integer)) and not isinstance(draws, bool)
    if not whole or not 1 <= draws <= count:
        raise InferenceError(
            explain(
                "draws", f"a whole number from 1 to the {count} there are", repr(draws)[:80], "correct it"
            )
        )
    return np.unique(np.linspace(0, count - 1, draws).astype(int))


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

"""Arguments that several functions take."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from ..ppl.errors import InferenceError, explain


def check_seed(seed: Any) -> None:
    """Refuse what is no seed.

    Raises
    ------
    InferenceError
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise InferenceError(explain("seed", "an integer of at least 0", repr(seed)[:80], "correct it"))


def check_level(level: Any) -> None:
    """Refuse what is no probability of a false alarm.

    Raises
    ------
    InferenceError
    """
    if not is_number(level) or not 0 < level < 1:
        want, remedy = "a probability between 0 and 1", "0.01 is one false alarm in a hundred"
        raise InferenceError(explain("level", want, repr(level)[:80], remedy))


def is_number(value: Any) -> bool:
    """Whether a value is one number, and no boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)

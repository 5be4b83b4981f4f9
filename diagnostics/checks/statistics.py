"""Test statistics of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ...ppl.errors import DataError, explain
from .judge import Test
from .outcome import Outcome


def own(outcome: Outcome, statistics: Mapping[str, Callable]) -> Iterator[Test]:
    """A test for each statistic.

    Parameters
    ----------
    outcome : Outcome
        What is tested.
    statistics : mapping of str to callable
        Name to a function from the rows ``(N,)`` to a number.

    Raises
    ------
    DataError
        If a statistic raises, or returns anything but one finite number.
    """
    for name, statistic in statistics.items():
        many = np.array([_value(name, statistic, y, outcome.name) for y in outcome.replicated])
        yield Test(
            name,
            outcome.name,
            "",
            _value(name, statistic, outcome.observed, outcome.name),
            many,
            f"The {name} of '{outcome.name}' is not what the model predicts.",
            f"The {name} of '{outcome.name}' is what the model predicts.",
        )


def _value(name, statistic, y, outcome) -> float:
    where = f"statistic '{name}' of '{outcome}'"
    try:
        value = np.asarray(statistic(np.array(y)), float)
    except Exception as error:
        raise DataError(
            explain(where, "a function of the rows", f"{type(error).__name__}: {error}", "mend it")
        ) from error
    if value.shape != () or not np.isfinite(value):
        got = f"shape {value.shape}" if value.shape else str(value)
        raise DataError(explain(where, "one finite number", got, "return a scalar"))
    return float(value)

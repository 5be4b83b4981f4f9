"""A statistic of windows of rows, in their order."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import pandas as pd

from ..ppl.errors import DataError, explain


def windows(
    count: int, size: int, step: int | None, told: Callable[[slice], dict[str, float]]
) -> pd.DataFrame:
    """A row for each window, indexed by its last row.

    Parameters
    ----------
    count : int
        Rows that there are.
    size, step : int
        Rows of a window, and from one to the next; by default its size.
    told : callable
        Of the rows of a window.

    Raises
    ------
    DataError
        For sizes that no window has.

    Examples
    --------
    >>> windows(5, 2, None, lambda rows: {"start": rows.start}).to_dict()
    {'start': {1: 0, 3: 2}}
    """
    step = size if step is None else step
    whole = all(isinstance(one, Integral) and not isinstance(one, bool) for one in (size, step))
    if not whole or not 1 <= size <= count or step < 1:
        got = f"size={size!r}, step={step!r}"[:80]
        raise DataError(
            explain("rolling", f"1 to {count} rows of a window, and a step of at least 1", got, "correct it")
        )
    starts = range(0, count - size + 1, step)
    found = [told(slice(start, start + size)) for start in starts]
    return pd.DataFrame(found, index=pd.Index([start + size - 1 for start in starts], name="row"))

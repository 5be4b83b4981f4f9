"""Numbers of answers, as JSON has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .thresholds import DIGITS, MOST_SCALE

NOT_FINITE = {"verdict": "untrusted", "reason": "some numbers are not finite"}


def rounded(values: np.ndarray) -> np.ndarray:
    """Numbers to `DIGITS` significant ones.

    Examples
    --------
    >>> rounded(np.array([1 / 3, 0.0, 123456.7890123])).tolist()
    [0.333333333, 0.0, 123456.789]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** np.clip(DIGITS - 1 - np.where(np.isfinite(size), size, 0.0), -MOST_SCALE, MOST_SCALE)
    return np.round(values * scale) / scale


def by_row(parts: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Arrays with rows on their first axis as a mapping for each row; what is not finite is null, and its row untrusted.

    Examples
    --------
    >>> by_row({"mean": np.array([1.0, np.nan])})
    [{'mean': 1.0}, {'mean': None, 'verdict': 'untrusted', 'reason': 'some numbers are not finite'}]
    """
    count = len(next(iter(parts.values())))
    finite = np.ones(count, bool)
    plain = {}
    for name, value in parts.items():
        array = np.asarray(value, float)
        finite &= np.isfinite(array).reshape(count, -1).all(1)
        plain[name] = rounded(array).tolist()
    rows = [{name: values[row] for name, values in plain.items()} for row in range(count)]
    for row in np.flatnonzero(~finite).tolist():
        rows[row] = {**_without(rows[row]), **NOT_FINITE}
    return rows


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without(one) for one in value]
    return value if np.isfinite(value) else None

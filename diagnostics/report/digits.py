"""Numbers as a report shows them, and values as JSON takes them."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """The value with NumPy scalars unwrapped and NaN and infinity as None.

    Examples
    --------
    >>> plain({"mean": float("nan"), "rows": (1, 2)})
    {'mean': None, 'rows': [1, 2]}
    """
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def measured(value: float | None, sd: float | None) -> str:
    """As many digits as an sd has two of.

    Examples
    --------
    >>> measured(12.3456, 0.21), measured(12345.6, 210.0)
    ('12.35', '12,346')
    """
    if value is None or not sd or sd <= 0:
        return number(value)
    decimals = 1 - math.floor(math.log10(sd))
    if decimals < 0:
        return f"{value:,.0f}"
    return f"{value:.{decimals}f}" if decimals <= 6 else f"{value:.4g}"


def number(value: Any) -> str:
    """Three or four significant digits; a dash for None.

    Examples
    --------
    >>> number(0.123456), number(12345.6), number(12345), number(None)
    ('0.123', '12,346', '12,345', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"

"""Rows that a calibration is asked of: those that were fitted, of which predictions say too much, and too few for what is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..inference.evidence.finding import Finding
from ..ppl.columns import native
from ..ppl.errors import DataError, explain
from .thresholds import MAP_ROWS, SEEN_BEFORE

UNKNOWN = "not assessable"


def rows_given(data: Any, program: Any, where: str) -> dict[str, Any]:
    """Rows by argument; of a table the columns that a model takes; nothing for the fitted ones.

    Raises
    ------
    DataError
        For what are no rows.
    """
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return dict(data)
    table = native(data)
    if not hasattr(table, "columns"):
        got, remedy = type(data).__name__, "name the values of each argument"
        raise DataError(explain(where, "a mapping from argument to values, or a table", got, remedy))
    return {str(name): table[name] for name in table.columns if str(name) in program.arguments}


def few_rows(name: str, used: Any) -> Iterator[Finding]:
    """A *caution* where a map was fitted to so few rows that it may spoil more than it mends."""
    if used is not None and len(used.rows) < MAP_ROWS[used.kind]:
        least = MAP_ROWS[used.kind]
        advice = f"What mends it ({used.words}) was fitted to {len(used.rows)} rows: of fewer than {least} it may spoil more."
        yield Finding("rows of a map", name, float(len(used.rows)), float(least), "caution", advice)


def fitted_rows(name: str, seen: float) -> Iterator[Finding]:
    """A *caution* where a share of the rows were fitted."""
    if seen > SEEN_BEFORE:
        advice = (f"{seen:.0%} of these rows were fitted: of such rows a model is surer than of others, and right more often. "
                  "Give rows that it has not seen.")  # fmt: skip
        yield Finding("fitted rows", name, seen, SEEN_BEFORE, "caution", advice)


def check_unseen(what: str, seen: float, used: Any) -> None:
    """Refuse to fit a map to rows that were fitted, or to predictions that are mended already.

    Raises
    ------
    DataError
    """
    where = f"rows of {what}"
    if seen > SEEN_BEFORE:
        remedy = "keep some rows apart from the fit"
        raise DataError(explain(where, "rows that were not fitted", f"{seen:.0%} that were", remedy))
    if used is not None:
        got, remedy = f"some with {used.words}", "make one from er.calibration(posterior, rows, map=None)"
        raise DataError(explain(where, "predictions as the model has them", got, remedy))

"""Rows that were fitted, of which predictions say too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..inference.evidence.finding import Finding
from ..ppl.errors import DataError, explain
from .thresholds import SEEN_BEFORE


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

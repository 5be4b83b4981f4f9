"""What a comparison of rows says, as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..drift.drift import Drift
from ..thresholds import MOST_UNITS
from .measured import Sample


def of_drift(found: Drift) -> Iterator[Sample]:
    """Whether each kind of drift is there, and of each column, unit, group and outcome its clearest test.

    Parameters
    ----------
    found : Drift
        What `elboroom.drift` or a monitor gave. Of very many columns those with the smallest p-values are told.

    Yields
    ------
    Sample
    """
    clearest: dict[tuple[str, str], Any] = {}
    for shift in (one for one in found.shifts if not one.early):
        key = shift.stream, shift.name
        if key not in clearest or _order(shift) < _order(clearest[key]):
            clearest[key] = shift
    for kind in sorted({shift.stream for shift in clearest.values()}):
        own = sorted((s for s in clearest.values() if s.stream == kind), key=_order)
        moved = any(s.moved and not s.early for s in found.shifts if s.stream == kind)
        yield Sample("drifted", {"kind": kind}, float(moved))
        for shift in own[:MOST_UNITS]:
            labels = {"kind": kind, "what": shift.name}
            yield Sample("drift_effect", labels, float(shift.effect))
            if shift.adjusted == shift.adjusted:  # some tests have no p-value
                yield Sample("drift_p", labels, float(shift.adjusted))


def _order(shift: Any) -> tuple[bool, float]:
    """What speaks before what does not, then by p-value."""
    return not shift.moved, shift.adjusted if shift.adjusted == shift.adjusted else 1.0

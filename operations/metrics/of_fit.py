"""What is known of a fit without computing anything."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...inference.thresholds import KHAT_TRUSTED
from .watched import Watched


def of_fit(watched: Watched) -> Iterator[tuple]:
    """Bound, weights, verdicts, gradients, and numbers that are none."""
    record = watched.record
    found = record.fit_record
    for verdict, count in record.counts.items():
        yield "quantities", count, {"verdict": verdict}
    for verdict, count in Counter(finding.verdict for finding in record.findings).items():
        yield "findings", count, {"verdict": verdict}
    if not np.isnan(record.khat):
        yield "khat", record.khat
    if watched.data is None:
        if "row_khat" in found:
            yield "khat_share", np.mean(found["row_khat"] >= KHAT_TRUSTED)
        yield from _bound(record)
    norms = np.asarray(found.get("gradient_norm", ()), float)
    if len(norms):
        yield "gradient_norm", np.median(norms[-max(1, len(norms) // 20) :])
    lost = float(np.nansum(found["not_finite"])) if "not_finite" in found else 0.0
    lost += sum(finding.value or 0 for finding in record.findings if finding.name == "not finite")
    yield "not_finite_total", lost, {"what": "gradient"}


def _bound(record) -> Iterator[tuple]:
    """The bound, a row: of encoded rows their own mean, else that of the last line that measured one over values observed."""
    if "row_bound" in record.fit_record:
        bound = np.asarray(record.fit_record["row_bound"], float)
        yield "elbo", bound.mean()
        yield "elbo_se", bound.std() / np.sqrt(len(bound))
        return
    count = sum(int((~np.isnan(np.asarray(v, float))).sum()) for v in record.observed_data.values())
    lines = [rung for rung in record.trail if np.isfinite(rung.elbo) and np.isfinite(rung.elbo_se)]
    if lines and count:
        yield "elbo", lines[-1].elbo / count
        yield "elbo_se", lines[-1].elbo_se / count


def of_spoilt(watched: Watched) -> Iterator[tuple]:
    """New rows with numbers that are none."""
    if watched.data is not None:
        yield "not_finite_total", watched.spoilt, {"what": "rows"}


def of_cost(watched: Watched) -> Iterator[tuple]:
    """Time and memory."""
    cost = watched.record.cost
    yield "fit_seconds", cost.run_seconds
    yield "fit_gradients", cost.num_gradients
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield "resident_bytes", peak * (1 if sys.platform == "darwin" else 1024)

"""New quantities computed from the draws, with verdicts of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...ppl.errors import InferenceError, explain
from ...ppl.sites import element_labels
from ..evidence.estimates import Estimates, estimate
from ..evidence.judging import verdicts_of
from ..evidence.quantities import quantity_values
from ..evidence.verdicts import Verdicts
from .make import carried
from .record import Record, columns, split


def derived(record: Record, fn: Callable[[Mapping[str, np.ndarray]], Any]):
    """See `Posterior.derive`."""
    import pandas as pd

    outcome, target = record.outcome, record.target
    if outcome is None:
        labels, values = _values(fn, record.values)
        estimates, verdicts = _from_draws(record, values)
    else:
        labels, values = _values(fn, split(*quantity_values(target, outcome.law.z)))
        mirrored = outcome.mirrored(lambda z: _values(fn, split(*quantity_values(target, z)))[1], values)
        rng = np.random.default_rng([record.seed, 11])
        estimates, verdicts = verdicts_of(outcome, values, rng, mirrored=mirrored)
    verdicts = carried(record.program, verdicts, record.values)
    return pd.DataFrame(columns(estimates, verdicts), index=pd.Index(labels))


def _values(fn: Callable, inputs: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """Labels and values ``(S, Q)`` of what `fn` makes of the draws."""
    result = fn(inputs)
    result = result if isinstance(result, dict) else {getattr(fn, "__name__", "derived"): result}
    labels, found = [], []
    count = len(next(iter(inputs.values())))
    for name, value in result.items():
        value = np.asarray(value, float)
        if value.shape[:1] != (count,):
            raise InferenceError(
                explain(
                    f"derived quantity '{name}'",
                    f"an array with {count} draws on its first axis",
                    f"shape {value.shape}",
                    "compute draw by draw and keep the first axis",
                )
            )
        labels += element_labels(name, value.shape[1:])
        found.append(value.reshape(count, -1))
    return labels, np.concatenate(found, 1)


def _from_draws(record: Record, values: np.ndarray) -> tuple[Estimates, Verdicts]:
    """Verdicts where only the stored draws are left: never better than the posterior's own."""
    found = estimate(values)
    words = f"as the posterior: {record.verdict}"
    constant = found.sd <= 1e-12 * np.abs(found.mean)
    return found, Verdicts(
        [None if c else record.verdict for c in constant], ["constant" if c else words for c in constant]
    )

"""Predictions of rows each as if it came alone: a file gives what its rows give one by one, bit for bit.

One function is compiled, for a few rows at a time, and every row is computed at the same size with the same random numbers:
what it gets depends neither on the rows beside it nor on its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ppl.columns import rows_of
from ...ppl.data import convert
from ...ppl.errors import DataError, UnsupportedError, explain
from ...ppl.tree import dataset, tree
from ..thresholds import ROWS_ALONE
from .classes import along_rows
from .predict import fitted_counts, fitted_labels, prepared
from .record import Record

NEW = "elboroom: a group that was not fitted"
"""The label that stands for all that were not fitted."""
WHERE = "predict(by_row=True)"


def predict_by_row(record: Record, new_groups, var_names, num_draws, do, seed, new_data):
    """See `Posterior.predict`."""
    rows = _rows(record, new_data, new_groups)
    count = len(next(iter(rows.values())))
    ready = prepared(
        record, new_groups, var_names, num_draws, do, seed, _first(record, rows, new_data, count, new_groups)
    )
    target, parts = ready.target, []
    for start in range(0, count, ROWS_ALONE):
        at = np.minimum(np.arange(start, start + ROWS_ALONE), count - 1)
        block = {name: _placed(target, value[at][:, None]) for name, value in rows.items()}
        found = target.density.predict_each(ready.values, ready.seeds, block, target.data, ready.weights)
        parts.append({name: np.asarray(found[name])[:, : count - start] for name in ready.names})
    made = {name: np.concatenate([part[name] for part in parts], 1) for name in ready.names}
    trace = target.trace
    plates = {s.dims[0] for s in trace.by_role("observed", "predicted") if s.dims}
    dims = {s.name: s.dims for s in trace.sites}
    values = {name: _along(value, dims[name], plates)[None] for name, value in made.items()}
    coords = {k: v for k, v in trace.coords.items() if k not in plates}
    attrs = {"law": record.law, "seed": int(seed), "backend": record.backend}
    return tree({"posterior_predictive": dataset(values, dims, coords)}, attrs)


def _along(value: np.ndarray, dims: tuple[str, ...], plates: set[str]) -> np.ndarray:
    """Draws ``(S, N, 1, …)`` of a site that runs along the rows as ``(S, N, …)``; of another those of one row."""
    return value[:, :, 0] if dims[:1] and dims[0] in plates else value[:, 0]


def _placed(target: Any, value: np.ndarray) -> Any:
    return target.to_device(value) if value.dtype.kind == "f" else value


def _rows(record: Record, new_data: Mapping[str, Any], new_groups: Any) -> dict[str, np.ndarray]:
    """Columns of the rows as the model has them, labels coded as those were that were fitted.

    Raises
    ------
    DataError, UnsupportedError
    """
    outcomes = {site.argument for site in record.observed.values()}
    names = sorted(along_rows(record) - outcomes)
    lacking = [name for name in names if name not in new_data]
    if lacking:
        raise DataError(explain(WHERE, f"all that runs along the rows: {names}", f"no {lacking}", "add it"))
    if not names:
        want = "a model whose rows have columns"
        raise UnsupportedError(explain(WHERE, want, "one without", "predict all rows at once"))
    labels, counts = fitted_labels(record), fitted_counts(record)
    found = {}
    for name in names:
        value = np.asarray(convert(new_data[name], name, labels.get(name)).value)
        if not value.ndim:
            raise DataError(explain(f"argument '{name}'", "a value for each row", f"{value}", "pass a list"))
        found[name] = _checked(name, value, labels.get(name), counts.get(name), new_groups)
    lengths = {name: len(value) for name, value in found.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            explain(WHERE, "columns of one length", f"{lengths}", "pass the columns of one table")
        )
    return found


def _checked(name: str, value: np.ndarray, known: tuple | None, count: int | None, new: Any) -> np.ndarray:
    """A column without what the compiled function would take for something else.

    Raises
    ------
    DataError
    """
    most = len(known) if known is not None else count
    if value.dtype.kind == "f" and np.isnan(value).any():
        where = rows_of(np.isnan(value.reshape(len(value), -1)).any(1))
        raise DataError(explain(f"argument '{name}'", "numbers", f"none in rows {where}", "drop those rows"))
    if most is None or value.dtype.kind not in "iu":
        return value
    beyond = (value >= most) | (value < 0)
    if not beyond.any():
        return value
    if known is None or not new:
        want = "groups that were fitted" if known is not None else f"codes from 0 to {most - 1}"
        remedy = "say that groups may be new: new_groups=True" if known is not None else "give groups labels"
        raise DataError(explain(f"argument '{name}'", want, f"others in rows {rows_of(beyond)}", remedy))
    return np.where(beyond, most, value)


def _first(record: Record, rows, new_data: Mapping[str, Any], count: int, new_groups: Any) -> dict[str, Any]:
    """The first row as the model's arguments; of groups that may be new always one that is, so that all rows are computed alike."""
    labels = fitted_labels(record)
    first = dict(new_data)
    for name, leaf in record.program.leaves.items():
        own = leaf.value
        if not leaf.traced and isinstance(own, int) and name not in new_data and _counts(record, own):
            first[name] = 1
    first |= {
        k: 1 for k, v in new_data.items() if isinstance(v, int) and not isinstance(v, bool) and v == count
    }
    for name, value in rows.items():
        if name not in labels:
            first[name] = value[:1]
        else:
            first[name] = np.asarray([NEW] if new_groups else [labels[name][int(value[0])]], object)
    return first


def _counts(record: Record, number: int) -> bool:
    """Whether a number is that of the fitted rows."""
    lengths = {len(np.asarray(v)) for v in record.observed_data.values() if np.ndim(v)}
    return number in lengths and number > 1

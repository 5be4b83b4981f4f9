"""Whether a file gives the numbers of the posterior that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from ...ppl.errors import InferenceError, explain
from ..thresholds import EXPORT_RELATIVE, EXPORT_ROWS
from .graph import NOISE, Graph

Arrays = Mapping[str, np.ndarray]


def gate(run: Callable[[Arrays], Arrays], graph: Graph, path_name: str) -> tuple[Arrays, Arrays]:
    """Inputs of the largest batch, and outputs of the source at them; outputs of the file agree with these in batches of each size.

    Raises
    ------
    InferenceError
        Where one does not.
    """
    given = graph.examples(max(EXPORT_ROWS))
    noises = [given, *(_moved(given, sign) for sign in ((-1.0, 1.0) if graph.stepped else ()))]
    want, *others = graph.source(noises)
    lower, upper = _bounds(want, others, graph.stepped)
    for count in EXPORT_ROWS:
        found = run({i.name: given[i.name][:count].astype(i.dtype) for i in graph.inputs})
        for name in want:
            what = f"{path_name}, output '{name}' of {count} rows"
            _agree(what, found.get(name), (lower[name][:count], upper[name][:count]))
    return given, want


def steady(run: Callable[[Arrays], Arrays], graph: Graph, given: Arrays, path_name: str) -> Arrays:
    """Outputs of a file whose numbers were rounded, of the largest batch; those of smaller ones are the same.

    Raises
    ------
    InferenceError
    """
    batches = [
        run({i.name: given[i.name][:count].astype(i.dtype) for i in graph.inputs}) for count in EXPORT_ROWS
    ]
    lower, upper = _bounds(batches[-1], (), ())
    for count, found in zip(EXPORT_ROWS, batches, strict=True):
        for name, value in found.items():
            what = f"{path_name}, output '{name}' of {count} rows"
            _agree(what, value, (lower[name][:count], upper[name][:count]))
    return batches[-1]


def _moved(given: Arrays, sign: float) -> Arrays:
    """Noise that is as little off as outputs may be."""
    off = {
        k: sign * EXPORT_RELATIVE * np.maximum(1.0, np.abs(v))
        for k, v in given.items()
        if k.startswith(NOISE)
    }
    return {k: v + off.get(k, np.zeros((), v.dtype)) for k, v in given.items()}


def _bounds(want: Arrays, others: Sequence[Arrays], stepped: Collection[str]) -> tuple[Arrays, Arrays]:
    """Least and most that outputs may be; what jumps may do so where noise that is as little off does."""
    lower, upper = {}, {}
    for name, value in want.items():
        known = value[np.isfinite(value)]
        usual = np.sqrt(np.mean(known * known)) if known.size else 1.0
        room = EXPORT_RELATIVE * np.maximum(np.abs(value), usual)
        lower[name], upper[name] = value - room, value + room
        for other in others if name in stepped else ():
            lower[name], upper[name] = (
                np.minimum(lower[name], other[name]),
                np.maximum(upper[name], other[name]),
            )
    return lower, upper


def _agree(what: str, found: np.ndarray | None, bounds: tuple[np.ndarray, np.ndarray]) -> None:
    low, high = bounds
    if found is None or found.shape != low.shape:
        got = "none" if found is None else f"shape {found.shape}"
        raise InferenceError(
            explain(what, f"shape {low.shape}", got, "nothing was written; export to another kind of file")
        )
    lost = np.isnan(low)
    off = np.where(lost, ~np.isnan(found), ~((found >= low) & (found <= high)))
    if off.any():
        at = tuple(np.argwhere(off)[0])
        middle = 0.5 * (low[at] + high[at])
        got = f"{found[at]:.9g} in place of {middle:.9g}, and {int(off.sum())} of {off.size} numbers are off"
        remedy = (
            "nothing was written; where the numbers are large beside their differences, take dtype='float64', or centre the data; "
            "where rows see each other, compute what they share beforehand"
        )
        raise InferenceError(
            explain(what, f"the posterior's own numbers to {EXPORT_RELATIVE:g}", got, remedy)
        )

"""Data that cannot tell what the model asks of them: one value, or the same value in every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..thresholds import ALIKE, FEW, LOOKED_AT, MOST_COLUMNS, NO_NOISE, SEEN_ROWS, SHRUNK, SHRUNK_TOLD
from .finding import DEGENERATE, Finding

PLACES = frozenset({"log_prob", "value", "loc", "mean"})  # parts of a law that are no spread of it


def degenerate(program, trace, backend) -> list[Finding]:
    """What is wrong with the outcomes, if anything.

    Returns
    -------
    list of Finding
        ``constant outcome`` for one of a continuous law whose spread is unknown: with the location at that value the
        density grows without bound as the spread shrinks, unless its prior forbids it. ``one row`` where all outcomes
        together are one number.
    """
    values = {
        site.name: _alike(np.asarray(program.leaves[site.argument].value).reshape(-1))
        for site in trace.by_role("observed")
        if site.argument is not None and not site.is_discrete
    }
    found = [_constant(name, own) for name, own in values.items() if len(own) > 1]
    access = program.accesses(backend) if found else {}
    graph = program.graph(backend) if found else None
    found = [f for f in found if _spreads(access.get(f.quantity, {}), graph, f.quantity)]
    outcomes = trace.by_role("observed")
    if len(outcomes) == 1 and int(np.prod(outcomes[0].shape, dtype=int)) == 1 and not trace.by_role("factor"):
        found.append(_single(outcomes[0].name))
    return found


def _alike(values) -> np.ndarray:
    """The values that are there, as the law sees them, where they are all the same; none otherwise."""
    for part in (values[:LOOKED_AT], values):  # most are told by the first ones, and may lie on a disk
        own = part.astype(float)
        own = own[~np.isnan(own)]
        if len(own) and np.ptp(own) > 0:
            return own[:0]
    return own


def _constant(name, values) -> Finding:
    value = f"{values[0]:g}"
    advice = (
        f"All {values.size} values of '{name}' are {value}: nothing tells how far they spread, and the likelihood of a scale "
        "grows without bound as the scale shrinks. Check the column; or give the scale a prior that excludes zero, or a value."
    )
    return Finding("constant outcome", name, float(values.size), None, "caution", advice)


def _single(name) -> Finding:
    advice = f"'{name}' is one number: what it says of more than one quantity is what their priors say. Check the data."
    return Finding("one row", name, 1.0, None, "caution", advice)


def _spreads(parts, graph, name: str) -> bool:
    """Whether a parameter other than its place depends on a latent quantity, or on a learned array."""
    latent = (
        part for part, sources in parts.items() if any(how.kind == "latent" for how in sources.values())
    )
    return any(part.split(".")[-1] not in PLACES for part in [*latent, *_learned(graph, name)])


def _learned(graph, name: str) -> list[str]:
    """Parts of the law of an outcome that learned arrays reach."""
    return [part for (_, child), link in graph.learned.items() if child == name for part in link["params"]]


# -- after a fit: learned scales that went to nothing ------------------------------------------------------------


def shrunk_scales(
    target: Any, whole: Any, z: np.ndarray, given: Mapping[str, Any], plate: str | None = None
) -> list[Finding]:
    """A finding for each outcome whose learned spread has gone to nothing, and its density to infinity.

    Parameters
    ----------
    target : Target
        Of all rows or of some.
    whole : Target
        Of all rows.
    z : numpy.ndarray, shape (S, dim)
        Draws of the coordinates of `target`.
    given : mapping
        ``data`` and ``weights`` where the target computes.
    plate : str, optional
        Whose elements are the rows; by default the longest of each outcome.
    """
    program, trace = whole.program, whole.trace
    graph = program.graph(whole.backend) if trace.weights else None
    suspects = [
        site
        for site in trace.by_role("observed")
        if graph is not None
        and site.argument is not None
        and not site.is_discrete
        and any(part.split(".")[-1] not in PLACES for part in _learned(graph, site.name))
    ]
    if not suspects:
        return []
    found = _variances(target, z, given, tuple(site.name for site in suspects))
    made = [
        _shrunk(site, np.asarray(program.leaves[site.argument].value), found[site.name], plate)
        for site in suspects
        if site.name in found
    ]
    return [finding for finding in made if finding is not None]


def _variances(
    target: Any, z: np.ndarray, given: Mapping[str, Any], names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Variances of outcomes at draws, shapes ``(S, *shape)``; of laws that know theirs."""
    loops, density, key = target.loops, target.density, ("variances", names)

    def step(state, one, constants):
        def each(at):
            found = density.variances(at, constants["data"], constants["weights"])
            return {name: found[name] for name in names if name in found}

        return state, loops.mapped(each)(one["z"])

    if key not in density.ascents:
        density.ascents[key] = loops.loop(step, target.dtype, density.clock, (1,))
    inputs = {"seed": np.zeros(1, np.int64), "z": z.astype(target.dtype)[None]}
    with target.room():
        _, found = density.ascents[key]({}, inputs, dict(given))
    return {name: np.asarray(value, np.float64)[0] for name, value in found.items()}


def _shrunk(site: Any, values: np.ndarray, variance: np.ndarray, plate: str | None) -> Finding | None:
    """What is said of an outcome; None where no column's spread is small beside what it should be."""
    sizes = {name: n for name, n in zip(site.dims, site.shape, strict=False) if name in site.plates}
    rows = plate if plate in sizes else max(sizes, key=sizes.__getitem__, default=None)
    axis = None if rows is None else site.dims.index(rows)
    if values.shape != site.shape:
        return None  # values that its law repeats, of which another finding speaks
    own, table = _smallest(variance, site.shape, axis), _columns(values, axis)
    chosen = np.unique(np.linspace(0, len(table) - 1, min(len(table), SEEN_ROWS)).astype(int))
    same, limit = _limits(table[chosen].astype(float))
    which = np.flatnonzero(own < limit)
    if not len(which):
        return None
    first = int(which[np.argmin(own[which] / limit[which])])
    names = [f"{site.name}[{j}]" for j in which[:FEW]] if len(own) > 1 else [site.name]
    more = f" and {len(which) - FEW} more" if len(which) > FEW else ""
    why = ", whose values are all one" if same[first] else ""
    advice = (
        f"The learned spread of {', '.join(names)}{more} went to nothing{why}: it is {own[first]:.2g}. "
        "The density grows without bound as it shrinks, and what is given such arrays is no answer. Give the scale a prior "
        "(er.sample in place of er.param) that excludes zero, or a value, or leave the column out."
    )
    return Finding(DEGENERATE, ", ".join(names), float(own[first]), float(limit[first]), "untrusted", advice)


def _smallest(variance: np.ndarray, shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    """Smallest sd of each column over draws and rows, whose number may be another than the site's."""
    least = variance.min(0)
    while least.ndim > len(shape):  # of each value of a discrete site that is summed out
        least = least.min(0)
    least = least.reshape((1,) * (len(shape) - least.ndim) + least.shape)
    if axis is None:
        return np.sqrt(least.min(keepdims=True)).ravel()
    least = least.min(axis, keepdims=True)
    return np.sqrt(np.broadcast_to(least, (*shape[:axis], 1, *shape[axis + 1 :]))).ravel()


def _columns(values: np.ndarray, axis: int | None) -> np.ndarray:
    """Rows along an axis, all else in columns; one column where there is no such axis."""
    return (
        values.reshape(-1, 1)
        if axis is None
        else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    )


def _limits(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns with one value, and below what the spread of each is nothing.

    Where a column is a constant, or a sum of others, no noise of it was seen and a spread far above nothing is on its way there.
    """
    known = ~np.isnan(table)
    mean = np.where(known, table, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    centred = np.where(known, table - mean, 0.0)
    sd = np.sqrt((centred**2).sum(0) / np.maximum(known.sum(0), 1))
    same = sd <= ALIKE * np.maximum(np.abs(mean), 1e-300)
    usual = np.median(sd[~same]) if not same.all() else np.where(mean != 0, np.abs(mean), 1.0)
    told = np.zeros(len(sd), bool)
    if known.all():
        told[~same] = _told_by_others(centred[:, ~same] / sd[~same])
    return same, np.where(same, SHRUNK_TOLD * usual, np.where(told, SHRUNK_TOLD, SHRUNK) * sd)


def _told_by_others(columns: np.ndarray) -> np.ndarray:
    """Which standardised columns are sums of others, times numbers, in every row."""
    count = columns.shape[1]
    if not 1 < count <= MOST_COLUMNS:
        return np.zeros(count, bool)
    values, vectors = np.linalg.eigh(columns.T @ columns / len(columns))
    return (vectors[:, values < NO_NOISE] ** 2).sum(1) > NO_NOISE

"""A target on some rows of its axes only: what minibatches stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .data import replaced
from .errors import ShapeError, explain


def subset(target, rows: Mapping[str, np.ndarray]):
    """The target of the same model with only the given elements of the named plates.

    Data arguments that run along a plate are sliced, local latents outside the rows are left out of ``z``,
    and index arrays into a plate are remapped to the positions of its rows.

    Parameters
    ----------
    target : Target
        The target of the whole model.
    rows : mapping
        Plate name to indices of its elements, distinct and in range.

    Returns
    -------
    Target
        Of the smaller model; its ``z`` holds the globals and those rows' locals.

    Raises
    ------
    ShapeError
        For an unknown axis, an index out of range, or data that reach a row outside of the subset.
    """
    trace, program = target.trace, target.program
    sizes = sizes_of(trace)
    for name, index in rows.items():
        if name not in sizes:
            raise ShapeError(explain("rows", f"an axis among {sorted(sizes)}", repr(name), "name a plate"))
        if index.ndim != 1 or index.size == 0 or index.min() < 0 or index.max() >= sizes[name]:
            raise ShapeError(
                explain(
                    f"rows of '{name}'", f"indices from 0 to {sizes[name] - 1}", f"{index}", "correct them"
                )
            )
    analysis = program.accesses(target.backend)
    along, into = alignment(trace, analysis, sizes)
    arguments = {}
    for label, axes in along.items():
        value = np.asarray(program.leaves[label].value)
        for axis, plate in axes.items():
            if plate in rows:
                value = np.take(value, rows[plate], axis=axis)
        plate = into.get(label)
        if plate in rows:
            if value.min() < 0 or value.max() >= sizes[plate]:
                raise ShapeError(
                    explain(
                        f"argument '{label}'",
                        f"codes from 0 to {sizes[plate] - 1} used as they are",
                        "codes that the model computes with",
                        "pass zero-based codes",
                    )
                )
            position = np.full(sizes[plate], -1)
            position[rows[plate]] = np.arange(len(rows[plate]))
            value = position[value]
            if (value < 0).any():
                raise ShapeError(
                    explain(
                        f"argument '{label}'",
                        f"codes among the chosen rows of '{plate}'",
                        "codes of other rows",
                        "choose the rows of both axes together",
                    )
                )
        arguments[label] = value
    return shrunk(target, arguments, {plate: len(index) for plate, index in rows.items()}, into)


def shrunk(
    target,
    data: Mapping[str, np.ndarray],
    lengths: Mapping[str, int],
    into: Mapping[str, str],
    labels: Mapping[str, tuple] | None = None,
    dtype: Any = None,
):
    """The target of the same model with other data and fewer elements of some plates.

    Parameters
    ----------
    target : Target
        The target of the whole model.
    data : mapping
        Arguments of the model; the others stay.
    lengths : mapping
        Plate name to its number of elements.
    into : mapping
        Argument to the plate that its codes point into.
    labels : mapping of str to tuple, optional
        Of arguments that are labels: none by default, as codes have none.
    dtype : dtype, optional
        Precision, by default that of the target.

    Returns
    -------
    Target
    """
    program, sizes = target.program, sizes_of(target.trace)
    arguments = dict(program.arguments)
    for label, value in data.items():
        arguments = replaced(arguments, label, value)
    for label, leaf in program.leaves.items():
        counted = isinstance(leaf.value, int) and not isinstance(leaf.value, bool) and not leaf.traced
        named = [plate for plate in lengths if counted and sizes[plate] == leaf.value]
        if named:
            arguments = replaced(arguments, label, lengths[named[0]])
    counts = {
        label: max(program.level_counts.get(label, 0), len(leaf.labels or ()) or int(leaf.value.max()) + 1)
        for label, leaf in program.leaves.items()
        if leaf.traced and leaf.value.dtype.kind in "iu"
    }
    counts |= {label: lengths.get(plate, sizes[plate]) for label, plate in into.items()}
    small = type(program)(program.model, arguments, program.fixed, program.intervened, labels, counts)
    small.sizes = dict(lengths)
    made = type(target).of(small, target.backend, target.dtype if dtype is None else dtype, target.device)
    return made.at(_learned(target, made)) if target.fitted else made


def _learned(target, made) -> dict[str, np.ndarray]:
    """Learned arrays of a target for one of fewer elements.

    Raises
    ------
    ShapeError
        Where one has an entry for each element.
    """
    known = {name: np.asarray(target.weights[name]) for name in made.trace.weights}
    for name, value in known.items():
        if value.shape != (own := np.shape(made.trace.weights[name])):
            want = f"the same shape however many rows the model sees, {value.shape}"
            raise ShapeError(
                explain(
                    f"er.param '{name}'", want, f"{own} of a batch", "give its entries priors in the plate"
                )
            )
    return known


def sizes_of(trace) -> dict[str, int]:
    """Number of elements of each plate of a traced model."""
    return {
        plate: site.shape[site.dims.index(plate)]
        for site in trace.sites
        for plate in site.plates
        if plate in site.dims
    }


def alignment(trace, access, sizes):
    """Which axis of which data argument runs along which plate, and which codes point into one.

    Parameters
    ----------
    trace : ModelTrace
        The sites of the model.
    access : mapping
        What reaches each part of each site, see `Access`.
    sizes : mapping
        Plate to its number of elements.

    Returns
    -------
    tuple of dict
        Argument to axis to plate; and argument to the plate that its codes point into.
    """
    along: dict[str, dict[int, str]] = {}
    into: dict[str, str] = {}
    for site in trace.sites:
        for part in access.get(site.name, {}).values():
            for source, how in part.items():
                for axis, (state, out, index) in enumerate(how.axes):
                    if how.kind == "data" and state in {"aligned", "gathered"} and out is not None:
                        if out < len(site.dims) and site.dims[out] in sizes and index is None:
                            along.setdefault(source, {})[axis] = site.dims[out]
                    if how.kind == "latent" and state == "gathered" and index is not None:
                        owner = trace[source]
                        if axis < len(owner.dims) and owner.dims[axis] in sizes:
                            into[index] = owner.dims[axis]
                            if out is not None and out < len(site.dims) and site.dims[out] in sizes:
                                along.setdefault(index, {})[0] = site.dims[out]
    return along, into

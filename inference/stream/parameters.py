"""Which parameters of a model are carried on: those that all rows share, and those of groups whose codes rows have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl.data import replaced
from ...ppl.errors import ElboroomError, UnsupportedError, explain
from ...ppl.model import Program
from ...ppl.rows import alignment, sizes_of
from .coordinates import carried
from .grouped import Local, Plate
from .rows import along_rows
from .told import Carried

REMEDY = "fit all rows at once"


@dataclass(frozen=True)
class Parameters:
    """What is carried on.

    Attributes
    ----------
    shared : tuple of Carried
    plate : Plate or None
        Groups, where rows have codes of some.
    """

    shared: tuple[Carried, ...]
    plate: Plate | None

    @classmethod
    def of(cls, program: Program, backend: str) -> Parameters:
        """Those of a program.

        Raises
        ------
        UnsupportedError
            Where a parameter belongs to single rows, or the model has what is not carried on.
        """
        trace = program.trace(backend)
        _refuse(program, trace, backend)
        found = _plates(program, trace, backend)
        plate = max(found, key=lambda p: sum(trace[s.name].size for s in p.sites), default=None)
        local = set() if plate is None else {s.name for s in plate.sites}
        shared = tuple(Carried(s.name, s.constraint) for s in trace.latents if s.name not in local)
        return cls(shared, plate)


def _read(program: Program, backend: str, name: str) -> dict[str, Any]:
    """How latent quantities reach the density of a site."""
    part = program.accesses(backend).get(name, {}).get("log_prob", {})
    return {source: how for source, how in part.items() if how.kind == "latent"}


def _plates(program: Program, trace: Any, backend: str) -> list[Plate]:
    """Plates whose elements rows see one each of, by codes."""
    rows, _ = along_rows(program, backend)
    outcomes = [s for s in trace.by_role("observed") if s.argument is not None]
    _, into = alignment(trace, program.accesses(backend), sizes_of(trace))
    plates = []
    for argument, name in into.items():
        reads = [_read(program, backend, s.name) for s in outcomes]
        if argument not in rows or not reads or not all(reads):
            continue
        local = [s for s in trace.latents if s.dims.count(name) == 1 and any(s.name in r for r in reads)]
        seen = [(s, r.get(s.name)) for s in local for r in reads]
        if local and all(how is not None and _by_codes(s, how, name, argument) for s, how in seen):
            names = {s.name for s in local}
            beside = {source for read in reads for source in read} - names
            plates.append(
                Plate(
                    name,
                    argument,
                    tuple(Local(s.name, s.constraint, s.dims.index(name)) for s in local),
                    tuple(Carried(s.name, s.constraint) for s in trace.latents if s.name in beside),
                )
            )
    return plates


def _by_codes(site: Any, how: Any, plate: str, argument: str) -> bool:
    axis = how.axes[site.dims.index(plate)]
    return axis.how == "gathered" and axis.label == argument and axis.axis == 0 and how.index == (argument,)


def _refuse(program: Program, trace: Any, backend: str) -> None:
    rows = {plate for s in trace.by_role("observed") for plate in s.plates[:1]}
    alone, followed = set[str](), set[str]()
    for site in trace.by_role("observed"):
        for source, how in _read(program, backend, site.name).items():
            if any(axis.how == "aligned" and axis.axis == 0 for axis in how.axes):
                alone.add(source)
            if how.time:
                followed.add(source)
    alone |= {s.name for s in trace.latents if rows & set(s.plates)}
    alone |= _growing(program, trace, backend)
    by_code = "give groups codes: er.plate('group', er.levels(group)) and effect[group]"
    hurdles = (
        (sorted(trace.weights), "a model without learned arrays", "give them priors"),
        (sorted(trace.missing), "outcomes without missing values", "drop those rows"),
        (sorted(alone), "parameters that rows share", by_code),
        (sorted(followed), "rows that do not follow one another", REMEDY),
        (
            [s.name for s in trace.latents if not carried(s.constraint)],
            "supports with fixed bounds, and no whole matrices",
            REMEDY,
        ),
    )
    for names, want, remedy in hurdles:
        if names:
            raise UnsupportedError(explain("as_prior", want, f"{names}", remedy))


def _growing(program: Program, trace: Any, backend: str) -> set[str]:
    """Latent sites that have another shape with a row less."""
    labels, count = along_rows(program, backend)
    if not labels or count < len(("a row", "another")):
        return set()
    arguments = dict(program.arguments)
    counts = dict(program.level_counts)
    for label in labels:
        leaf = program.leaves[label]
        value = np.asarray(leaf.value)
        names = value if leaf.labels is None else np.asarray(leaf.labels, object)[value]
        arguments = replaced(arguments, label, names[:-1])
        if leaf.labels is None and value.dtype.kind in "iu":
            counts[label] = max(counts.get(label, 0), int(value.max()) + 1)
    for label, leaf in program.leaves.items():
        if not leaf.traced and isinstance(leaf.value, int) and leaf.value == count:
            arguments = replaced(arguments, label, count - 1)
    try:
        other = program.altered(arguments=arguments, level_counts=counts).trace(backend)
    except ElboroomError:
        return set()
    shapes = {s.name: s.shape for s in other.latents}
    return {s.name for s in trace.latents if shapes.get(s.name) != s.shape}

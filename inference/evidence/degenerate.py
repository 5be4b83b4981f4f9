"""Data that cannot tell what the model asks of them: one value, or the same value in every row."""

from __future__ import annotations

import numpy as np

from ..thresholds import LOOKED_AT
from .finding import Finding

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
    found = [finding for finding in found if _spreads(access.get(finding.quantity, {}))]
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


def _spreads(parts) -> bool:
    """Whether a parameter other than its place depends on a latent quantity."""
    return any(
        how.kind == "latent"
        for part, sources in parts.items()
        if part.split(".")[-1] not in PLACES
        for how in sources.values()
    )

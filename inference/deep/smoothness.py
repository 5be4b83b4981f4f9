"""Do the outcomes move evenly along a unit, or by jumps, through places that the decoder was never trained at?

References
----------
Berthelot et al. (2019), Understanding and improving interpolation in autoencoders via an adversarial regularizer, ICLR, on smooth
interpolations as a sign of a latent space that is filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..evidence.finding import Finding
from ..thresholds import ACTIVE_VARIANCE, JUMP, STILL, TRAVERSED, TRAVERSED_PLACES
from .compiled import Compiled


def jumps(compiled: Compiled, params: Mapping[str, Any], units: np.ndarray) -> np.ndarray:
    """Largest step of the outcomes' means over the median one along each of some units, the others at zero.

    Parameters
    ----------
    compiled : Compiled
        Functions of the rows.
    params : mapping
        The learned arrays.
    units : numpy.ndarray of int
        Which.

    Returns
    -------
    numpy.ndarray, shape (len(units),)
        Of the outcome that is largest for; NaN where no mean moves, or is known. What rows are given is that of the first one.
    """
    if not len(units):
        return np.zeros(0)
    rows = compiled.rows
    values = np.linspace(-TRAVERSED, TRAVERSED, TRAVERSED_PLACES)
    z = np.zeros((len(units), len(values), rows.num_units))
    z[np.arange(len(units)), :, units] = values
    ratios = [
        _ratio(path.reshape(*z.shape[:2], -1))
        for path in _means(compiled, params, z.reshape(-1, rows.num_units))
    ]
    return np.fmax.reduce(ratios, initial=np.nan) if ratios else np.full(len(units), np.nan)


def _means(compiled: Compiled, params: Mapping[str, Any], z: np.ndarray) -> list[np.ndarray]:
    """Means of each outcome at coordinates ``(N, u)`` of the first row."""
    rows, size = compiled.rows, compiled.rows.size
    sites = [
        s for s in rows.small.trace.by_role("observed", "predicted") if s.dims and s.dims[0] == rows.plate
    ]
    given = {"seed": np.zeros(1, np.int64), **compiled.batches(np.zeros((1, size), int))}
    constants, parts = {**compiled.constants, "params": params}, []
    for start in range(0, len(z), size):
        own = np.resize(z[start : start + size], (1, 1, size, z.shape[1])).astype(rows.small.dtype)
        parts.append(compiled.decoded({}, {"z": own, **given}, constants)[1])
    # of an outcome that its own network is given, a row's mean is none of its coordinates alone
    found = [s.name for s in sites if s.name in parts[0] and s.name not in rows.in_order]
    return [
        np.concatenate([np.asarray(p[name], np.float64)[0, 0] for p in parts])[: len(z)] for name in found
    ]


def _ratio(path: np.ndarray) -> np.ndarray:
    """Of paths ``(U, places, entries)``."""
    steps = np.sqrt((np.diff(path, axis=1) ** 2).sum(2))
    largest, usual = steps.max(1), np.median(steps, axis=1)
    rounding = STILL * np.abs(path).max((1, 2))
    with np.errstate(invalid="ignore"):
        return np.where(largest > rounding, largest / np.maximum(usual, rounding), np.nan)


def smoothness_findings(compiled: Compiled, params: Mapping[str, Any], mean: np.ndarray) -> list[Finding]:
    """What that says of the active units, by the encoder's means ``(rows, u)``."""
    active = np.flatnonzero(mean.var(0) > ACTIVE_VARIANCE)
    jump = jumps(compiled, params, active)
    large = jump > JUMP
    if not large.any():
        return []
    worst = int(np.nanargmax(jump))
    words = (
        f"Along {large.sum()} of {len(active)} active units the outcomes' means jump, along unit {active[worst]} by a step of "
        f"{jump[worst]:.3g} times the usual one: interpolations and traversals pass through places that the decoder was never "
        "trained at, and show no rows. Where the data have groups with nothing between them, let the model say so; otherwise "
        "more rows, fewer units or smaller networks help."
    )
    return [Finding("jumps along units", compiled.rows.plate, float(jump[worst]), JUMP, "caution", words)]

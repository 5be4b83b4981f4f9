"""Numbers that a file keeps in fewer bytes, and makes into its own precision as it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...ppl import math as m
from ..thresholds import LEAST_ROUNDED, LEVELS
from .graph import Graph

KEPT, CENTRE, STEP = "kept ", "centre of ", "step of "
"""What the names of an array's parts begin with."""


def rounded(graph: Graph, quantize: str, dtype: Any) -> Graph:
    """A graph whose larger arrays are kept in fewer bytes.

    Parameters
    ----------
    graph : Graph
        With arrays in full.
    quantize : {"float16", "int8"}
        Half precision; or whole numbers of a step, one for each element of a site over its draws, and for each row of a matrix.
    dtype : dtype
        Precision of the file.
    """
    held: dict[str, np.ndarray] = {}
    for name, value in graph.constants.items():
        held |= _parts(name, value, quantize, dtype)

    def made(constants: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return graph.made(whole(constants), inputs)

    return replace(graph, made=made, constants=held)


def whole(constants: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by their parts."""
    out = {k: v for k, v in constants.items() if not k.startswith((KEPT, CENTRE, STEP))}
    for key, value in constants.items():
        if key.startswith(KEPT):
            name = key.removeprefix(KEPT)
            step = constants[STEP + name]
            own = m.like(value, step) * step
            out[name] = own + constants[CENTRE + name] if CENTRE + name in constants else own
    return out


def _parts(name: str, value: np.ndarray, quantize: str, dtype: Any) -> dict[str, np.ndarray]:
    """What is kept of an array: itself where it is small, or too large for half precision."""
    if value.dtype.kind != "f" or value.size < LEAST_ROUNDED:
        return {name: value}
    if quantize == "float16":
        half = value.astype(np.float16)
        fits = np.isfinite(half).all() and (half[value != 0] != 0).all()
        return {KEPT + name: half, STEP + name: np.ones((), dtype)} if fits else {name: value}
    axis = _axis(name, value)
    low, high = value.min(axis, keepdims=True), value.max(axis, keepdims=True)
    centre, step = (low + high) / 2, (high - low) / (2 * LEVELS)
    step = np.where(step > 0, step, 1.0)
    kept = np.clip(np.rint((value - centre) / step), -LEVELS, LEVELS).astype(np.int8)
    return {KEPT + name: kept, CENTRE + name: centre.astype(dtype), STEP + name: step.astype(dtype)}


def _axis(name: str, value: np.ndarray) -> int:
    """Axis along which numbers are alike: that of draws, or of what a unit sees."""
    of_draws = {"site": 0, "group": 1}
    return of_draws.get(name.partition(":")[0], value.ndim - 1)

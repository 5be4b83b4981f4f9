"""Where a model computes with the codes of labels: they are positions, and mean nothing as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .indices import called, is_literal

_ORDER = {"lt": "comparison", "le": "comparison", "gt": "comparison", "ge": "comparison"}


def code_problems(closed, positions: Mapping[str, list[int]], labelled: Mapping) -> list[tuple[str, str]]:
    """Arguments of labels that are used as numbers, each with the operation.

    Parameters
    ----------
    closed : jax.extend.core.ClosedJaxpr
        The traced model, its constants with it.
    positions : mapping of str to list of int
        Label of each data argument to its positions among the inputs.
    labelled : mapping of str to numpy.ndarray
        The codes of the arguments that came as labels; those that are no inputs are known as constants.

    Returns
    -------
    list of (str, str)
        Argument and name of the operation, each argument once.

    Notes
    -----
    Codes may be moved, compared for equality, computed with as whole numbers (``region * 3 + year``) and used as
    indices; they may not become floats, nor be compared by size.
    """
    jaxpr = closed.jaxpr
    codes: dict[Any, frozenset[str]] = dict.fromkeys(jaxpr.invars, frozenset())
    for label in labelled:
        for i in positions.get(label, ()):
            codes[jaxpr.invars[i]] |= {label}
    held = {label: value for label, value in labelled.items() if label not in positions}
    found: dict[str, str] = {}
    _walk(jaxpr, closed.consts, codes, held, found)
    return list(found.items())


def _walk(jaxpr, consts, codes, held, found) -> list[frozenset]:
    """Follow codes through a jaxpr; gives those of its outputs."""
    codes = dict(codes)
    for var, value in zip(jaxpr.constvars, consts, strict=True):
        codes[var] = frozenset(label for label, own in held.items() if _same(value, own))

    def look(var):
        return frozenset() if is_literal(var) else codes.get(var, frozenset())

    for eqn in jaxpr.eqns:
        given = [look(v) for v in eqn.invars]
        inner = called(eqn)
        name = eqn.primitive.name
        if inner is not None:
            body, constants = inner
            outs = _walk(body, constants, dict(zip(body.invars, given, strict=True)), held, found)
        elif name == "scan" and any(given):
            body = eqn.params["jaxpr"]
            outs = _walk(
                body.jaxpr, body.consts, dict(zip(body.jaxpr.invars, given, strict=True)), held, found
            )
        elif any(given):
            outs = [_after(jaxpr, eqn, var, given, found) for var in eqn.outvars]
        else:
            continue
        codes.update(zip(eqn.outvars, outs, strict=True))
    return [look(v) for v in jaxpr.outvars]


def _after(jaxpr, eqn, out, given, found) -> frozenset:
    """The codes that an output holds."""
    name = eqn.primitive.name
    if name in {"gather", "dynamic_slice"} or name.startswith("scatter"):
        given = given[:1] + (given[2:3] if name.startswith("scatter") else [])
    labels = frozenset().union(*given)
    if name in _ORDER and not _wraps(eqn):
        found.update(dict.fromkeys(labels - found.keys(), _ORDER[name]))
    kind = np.dtype(out.aval.dtype).kind
    if kind in "iu":
        return labels
    if kind in "fc":
        word = _consumer(jaxpr, out) if name == "convert_element_type" else name
        found.update(dict.fromkeys(labels - found.keys(), word))
    return frozenset()


def _wraps(eqn) -> bool:
    """Whether a comparison is that of an index with zero, before negatives are wrapped."""
    other = eqn.invars[1]
    return eqn.primitive.name == "lt" and is_literal(other) and not np.any(other.val)


def _consumer(jaxpr, var) -> str:
    """The operation that a number goes into."""
    uses = (eqn for eqn in jaxpr.eqns if any(v is var for v in eqn.invars))
    return next((eqn.primitive.name for eqn in uses if called(eqn) is None), "computation with numbers")


def _same(value, codes: np.ndarray) -> bool:
    """Whether a constant holds the codes of an argument, as whole numbers."""
    value = np.asarray(value) if hasattr(value, "dtype") else None
    same = value is not None and value.dtype.kind in "iu" and value.shape == codes.shape and codes.ndim > 0
    return bool(same and np.array_equal(value, codes))

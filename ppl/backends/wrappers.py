"""Laws under the wrappers that NumPyro and Pyro name alike: what is wrapped, masked, independent, and with which parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import math
from .movements import lacking

_WRAPPERS = frozenset({"Independent", "ExpandedDistribution", "MaskedDistribution", "ReshapedDistribution"})
_HELD = ("loc", "scale", "rate")  # parameters that a law made of another leaves to this


def base_of(fn: Any) -> Any:
    """The law under its wrappers."""
    while type(fn).__name__ in _WRAPPERS:
        fn = fn.base_dist
    return fn


def base_name(fn: Any) -> str:
    """Name of the distribution under its wrappers."""
    fn = base_of(fn)
    name = getattr(fn, "declared_name", None) or type(fn).__name__
    return name.removesuffix("Probs").removesuffix("Logits")


def elements(fn: Any) -> Any:
    """The law of the elements of one event that are independent, each of which may be missing by itself; or None."""
    kind = type(fn).__name__
    if kind == "ExpandedDistribution":
        inner = elements(fn.base_dist)
        return None if inner is None else inner.expand(tuple(fn.batch_shape) + tuple(fn.event_shape))
    return fn.base_dist if kind == "Independent" and not fn.base_dist.event_shape else None


def mask_of(fn: Any) -> Any:
    """The mask of a law, of its batch shape; None where it has none, or one for all."""
    kind = type(fn).__name__
    if kind == "MaskedDistribution":
        mask = fn._mask  # noqa: SLF001  neither library has a public name for it
        return None if isinstance(mask, bool) else math.broadcast_to(mask, fn.batch_shape)
    inner = mask_of(fn.base_dist) if kind in ("ExpandedDistribution", "Independent") else None
    if inner is None or kind == "ExpandedDistribution":
        return None if inner is None else math.broadcast_to(inner, fn.batch_shape)
    return math.any(inner, axis=tuple(range(-fn.reinterpreted_batch_ndims, 0)))


def parameters_of(fn: Any, ndim: int, asarray: Callable[[Any], Any]) -> dict[str, Any]:
    """Parameters of a law, with as many axes as a value of `ndim` axes asks for.

    Parameters
    ----------
    fn : object
        A law of the library.
    ndim : int
        Axes of the site's value.
    asarray : callable
        Makes an array of the library of a number.
    """
    fn = base_of(fn)
    known = getattr(fn, "arg_constraints", {})
    leaves = {name: fn.__dict__.get(name) for name in known} | getattr(fn, "leaves", {})
    leaves |= {name: getattr(fn, name, None) for name in _HELD if name in known and leaves[name] is None}
    found = {}
    for name, value in leaves.items():
        if not hasattr(value, "shape") and not isinstance(value, (int, float)):
            continue
        value = asarray(value)
        more = lacking(value.ndim, ndim, len(fn.event_shape), known.get(name))
        found[name] = value.reshape((1,) * more + tuple(value.shape)) if more else value
    return found


def parts_of(record: Any, asarray: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    """Of every node of a run the value or the log density, and the parameters of its law."""
    out: dict = {}
    for node in record.nodes.values():
        if node.role == "deterministic":
            out[node.name] = {"value": asarray(node.value)}
        elif node.role == "factor":
            out[node.name] = {"log_prob": asarray(node.fn.log_factor)}
        elif node.role in {"latent", "observed", "fixed", "discrete"}:
            ndim = len(tuple(node.value.shape)) if hasattr(node.value, "shape") else 0
            out[node.name] = {"log_prob": node.log_prob, **parameters_of(node.fn, ndim, asarray)}
    return out

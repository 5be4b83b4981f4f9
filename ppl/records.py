"""Records among the arguments of a model: taken apart into their items, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def parts(value: Any) -> dict[str, Any] | None:
    """What a record holds, by name: a mapping, a named tuple, a dataclass, or a tuple of arrays that make no matrix.

    None for anything else; what this library declares is no record.

    Examples
    --------
    >>> parts((np.zeros(2), np.zeros(3)))["1"].shape
    (3,)
    """
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {str(name): getattr(value, name) for name in value._fields}
    if (
        is_dataclass(value)
        and not isinstance(value, type)
        and not type(value).__module__.startswith("elboroom.")
    ):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, tuple) and value and all(hasattr(item, "__array__") for item in value):
        arrays = [np.asarray(item) for item in value]
        if len({(one.shape, one.dtype.kind) for one in arrays}) > 1 and all(one.ndim for one in arrays):
            return {str(i): item for i, item in enumerate(value)}
    return None


def with_parts(value: Any, items: Mapping[str, Any]) -> Any:
    """A record of the same kind with other items.

    Parameters
    ----------
    value : object
        A record, see `parts`.
    items : mapping
        Name to item, for all of them.
    """
    if isinstance(value, Mapping):
        return {key: items[str(key)] for key in value}
    if isinstance(value, tuple):
        return type(value)(**items) if hasattr(value, "_fields") else tuple(items.values())
    made = copy(value)
    for name, item in items.items():
        object.__setattr__(made, name, item)  # also of a frozen one
    return made


def rebuild(arguments: Mapping[str, Any], leaves: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The nested arguments again, with each leaf's value taken from `leaves`.

    Parameters
    ----------
    arguments : mapping
        Name to value, records among them.
    leaves : mapping
        Label to what stands in its place.
    prefix : str
        Of the labels of these arguments.
    """
    out = {}
    for name, value in arguments.items():
        opened = parts(value)
        label = f"{prefix}{name}"
        out[name] = (
            leaves[label] if opened is None else with_parts(value, rebuild(opened, leaves, f"{label}."))
        )
    return out


def replaced(arguments: Mapping[str, Any], label: str, value: Any) -> dict[str, Any]:
    """The arguments with another value of one leaf.

    Examples
    --------
    >>> replaced({"data": {"x": 1, "y": 2}}, "data.y", 3)
    {'data': {'x': 1, 'y': 3}}
    """
    head, _, rest = label.partition(".")
    opened = parts(arguments.get(head)) if rest and label not in arguments else None
    if opened is None:
        return {**arguments, label: value}
    return {**arguments, head: with_parts(arguments[head], replaced(opened, rest, value))}

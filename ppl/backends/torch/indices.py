"""Operations that read by index, and a run in which no index reaches outside its axis.

PyTorch stops at the first such index without naming it; `provenance` names them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ARGUMENTS = {
    "index": "indices",
    "index_select": "index",
    "gather": "index",
    "embedding": "indices",
}
"""Operations that read by index, and the argument that holds it."""


def arguments(func, args, kwargs) -> dict[str, Any]:
    """Arguments of an operation by name."""
    schema = func._schema  # noqa: SLF001  PyTorch has no public name for an operation's signature
    return {**dict(zip((a.name for a in schema.arguments), args, strict=False)), **kwargs}


def indexed(name: str, given: dict, held: Callable[[torch.Tensor, int], torch.Tensor]) -> dict | None:
    """Arguments with ``held(index, size)`` for each index and the size of its axis; None for other operations."""
    where = _ARGUMENTS.get(name)
    if where is None:
        return None
    if name == "index":
        sizes = given["self"].shape
        pairs = zip(given[where], sizes, strict=False)
        return {**given, where: [i if i is None else held(i, size) for i, size in pairs]}
    source, axis = (given["weight"], 0) if name == "embedding" else (given["self"], given["dim"])
    return {**given, where: held(given[where], source.shape[axis] if source.ndim else 1)}


def is_position(index: torch.Tensor) -> bool:
    """Whether an index holds positions, and some."""
    return index.dtype not in (torch.bool, torch.uint8) and index.numel() > 0


class Held(TorchDispatchMode):
    """A run goes on with every index held inside its axis."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        held = indexed(name, arguments(func, args, kwargs), _clamped) if name in _ARGUMENTS else None
        return func(*args, **kwargs) if held is None else func(**held)


def _clamped(index, size):
    return index.clamp(-size, size - 1) if is_position(index) else index

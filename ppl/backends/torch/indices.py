"""Check every index array while the model runs: out of range, or negative, is an error that names its data."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.overrides import TorchFunctionMode

from ...errors import DataError, explain


@dataclass(frozen=True)
class Gather:
    """One use of a data argument as an index: its label, the tensor that it reads, and the axis."""

    label: str
    source: torch.Tensor
    axis: int


class _Watch(TorchFunctionMode):
    def __init__(self, leaves):
        super().__init__()
        self.names = {leaf.data_ptr(): k for k, leaf in leaves.items() if isinstance(leaf, torch.Tensor)}
        self.gathers: list[Gather] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.__getitem__, torch.index_select, torch.Tensor.index_select):
            self._look(func, args)
        return func(*args, **(kwargs or {}))

    def _look(self, func, args):
        source, index = args[0], args[1] if func is torch.Tensor.__getitem__ else args[2]
        if not isinstance(source, torch.Tensor):
            return
        items = index if isinstance(index, tuple) else (index,)
        if func is not torch.Tensor.__getitem__:
            self._check(source, int(args[1]), index)
            return
        axis = 0
        for item in items:
            if item is None:
                continue
            if item is Ellipsis:
                used = sum(i is not None and i is not Ellipsis for i in items)
                axis += source.ndim - used
                continue
            if (
                isinstance(item, torch.Tensor)
                and not item.dtype.is_floating_point
                and item.dtype != torch.bool
            ):
                self._check(source, axis, item)
            axis += 1

    def _check(self, source, axis, index):
        size, flat = source.shape[axis], index.reshape(-1)
        label = self.names.get(index.data_ptr(), "")
        if label:
            self.gathers.append(Gather(label, source, axis))
        if not flat.numel() or (int(flat.min()) >= 0 and int(flat.max()) < size):
            return
        bad = torch.nonzero((flat < 0) | (flat >= size)).reshape(-1)
        one_based = int(flat.min()) >= 1 and int(flat.max()) == size
        hint = (
            "the codes look one-based: subtract 1"
            if one_based
            else "use zero-based codes below the size of the axis"
        )
        raise DataError(
            explain(
                f"index argument '{label}'",
                f"codes from 0 to {size - 1}",
                f"{flat[bad[:5]].tolist()} in rows {bad[:5].tolist()}",
                hint,
            )
        )


@contextmanager
def indices_checked(leaves):
    """Run a block with every index checked; gives the watch, whose ``gathers`` say what was indexed."""
    with _Watch(leaves) as watch:
        yield watch

"""Where a model computes with the codes of labels: they are positions, and mean nothing as numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

_INDICES = {
    "index": "indices",
    "index_put": "indices",
    "index_put_": "indices",
    "embedding": "indices",
    **dict.fromkeys(
        "gather index_select scatter scatter_ scatter_add scatter_add_ index_add index_add_ take".split(),
        "index",
    ),
}
"""Operations that read or write by index, and the argument that holds it."""
_ORDER = {"lt", "le", "gt", "ge"}


class Codes:
    """Which tensors of a run hold codes of labels.

    Codes may be moved, compared for equality, computed with as whole numbers (``region * 3 + year``) and used as
    indices; they may not become floats, nor be compared by size.

    Parameters
    ----------
    labelled : mapping of str to numpy.ndarray
        Argument to its codes.
    """

    def __init__(self, labelled: Mapping[str, np.ndarray]):
        self.labelled = {label: torch.from_numpy(np.array(value)) for label, value in labelled.items()}
        self.found: dict[str, str] = {}
        self._known: dict[int, frozenset] = {}

    def source(self, label: str, tensor) -> None:
        """A tensor is the argument itself."""
        if label in self.labelled:
            self._known[id(tensor)] = frozenset({label})

    def after(self, name: str, given: dict, outs: list) -> None:
        """Note what an operation made of codes; every tensor is kept alive by the run."""
        if not self.labelled:
            return
        index = _INDICES.get(name)
        read = [
            t for k, v in given.items() if k != index for t in tree_leaves(v) if isinstance(t, torch.Tensor)
        ]
        labels = frozenset().union(*map(self._labels, read))
        if not labels:
            return
        word = name.rstrip("_")
        floats = any(t.dtype.is_floating_point or t.dtype.is_complex for t in outs)
        if floats or word in _ORDER:
            word = "computation with numbers" if word == "_to_copy" else word
            self.found.update(dict.fromkeys(labels - self.found.keys(), word))
            return
        for tensor in outs:
            if tensor.dtype is not torch.bool:
                self._known[id(tensor)] = labels

    def _labels(self, tensor) -> frozenset:
        if id(tensor) in self._known:
            return self._known[id(tensor)]
        if tensor.dtype.is_floating_point or tensor.dtype is torch.bool or not tensor.ndim:
            return frozenset()
        return frozenset(
            label for label, own in self.labelled.items() if torch.equal(tensor.cpu().long(), own)
        )

"""The log density on many rows, one block of them at a time: what a call holds is a block, however many rows there are.

A block's density has the whole prior, and its own rows in place of all: the mean over blocks is the density on all.
"""

from __future__ import annotations

import numpy as np

from ..thresholds import DATA_BLOCK, ROWS_TIMES_DRAWS
from .minibatch import Batches, Minibatch


def whole(batches: Batches) -> bool:
    """Whether every batch holds all coordinates, so that one dense law over them can be fitted on batches."""
    return batches.target.dim == batches.full.dim


class Blocks:
    """Log density and gradient on some rows of a plate.

    Parameters
    ----------
    batches : Batches
        Its batches are the blocks; each must hold all coordinates, see `whole`.
    rows : numpy.ndarray of int, optional
        Which rows, without repetition; all by default.
    share : float
        What the densities of the rows are multiplied by.

    Attributes
    ----------
    num_rows : int
        Rows that a call reads.
    """

    def __init__(self, batches: Batches, rows: np.ndarray | None = None, share: float = 1.0):
        self._batches, self._rows, self._share = batches, rows, share
        self.num_rows = batches.total if rows is None else len(rows)
        self._axes = {
            label: [axis for axis, plate in axes.items() if plate == batches.rows]
            for label, axes in batches.along.items()
        }
        self._batch = int(np.clip(ROWS_TIMES_DRAWS // batches.size, 1, 32))

    @classmethod
    def of(cls, batches: Batches) -> Blocks:
        """All rows, in blocks that suit the cache."""
        most = batches.size if batches.tight else batches.total
        size = int(np.clip(DATA_BLOCK * batches.total // batches.full.work, 1, most))
        return cls(Batches.of(batches.full, Minibatch(batches.rows, size), check=False))

    def __call__(self, z: np.ndarray, weights=None) -> tuple[np.ndarray, np.ndarray]:
        """Values ``(B,)`` and gradients ``(B, dim)`` at rows of `z`."""
        size, small = self._batches.size, self._batches.target
        count = -(-self.num_rows // size)
        value, grad = np.zeros(len(z)), np.zeros(np.shape(z))
        for k in range(count):
            data, there = self._block(k * size, min((k + 1) * size, self.num_rows), size)
            scale = {self._batches.rows: count * self._share * there}
            found = small.value_and_grad(z, data, weights, self._batch, scale)
            value += found[0] / count
            grad += found[1] / count
        return value, grad

    def _block(self, start, stop, size):
        """Data of some rows, filled up with the first of them, and which rows are there."""
        some = slice(start, stop) if self._rows is None else self._rows[start:stop]
        program, small, data = self._batches.full.program, self._batches.target, {}
        for label, leaf in program.leaves.items():
            if not leaf.traced:
                continue
            value = leaf.value
            for axis in self._axes.get(label, ()):
                if isinstance(some, slice):
                    value = value[(slice(None),) * axis + (some,)]
                else:
                    value = np.take(value, some, axis=axis)
                if stop - start < size:
                    filled = np.minimum(np.arange(size), stop - start - 1)
                    value = np.take(value, filled, axis=axis)
            data[label] = small.to_device(value)
        return data, (np.arange(size) < stop - start).astype(small.dtype)

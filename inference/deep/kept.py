"""Which rows a posterior holds: all of them, or so many of those held out and trained on where all would not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl.rows import shrunk
from ..evidence.finding import Finding
from ..thresholds import AUDITED, FEWEST_KEPT, KEPT_NUMBERS, LARGEST_BLOCK, MOST_KEPT_ROWS
from .rows import Rows, aligned

KEPT = "kept_rows"
"""Name of the positions of these rows among all that were fitted, in what is kept of a fit."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Rows that a posterior holds, of a number that it does not.

    Attributes
    ----------
    positions : numpy.ndarray of int
        Of these rows among all that were fitted.
    total : int
        How many these were.
    """

    positions: np.ndarray
    total: int

    def finding(self, plate: str) -> Finding:
        """That not all rows are held."""
        count = len(self.positions)
        words = (
            f"The networks are fitted to {self.total} rows, of which the posterior holds {count}, drawn among those held out and those "
            "trained on: posterior.latent.positions says which. posterior.latent.encode(x) has the others."
        )
        return Finding("rows that are kept", plate, float(count), float(self.total), "ok", words)


def chosen(rows: Rows, held: np.ndarray, seed: int) -> Kept | None:
    """The rows that are kept, half of them held out where there are so many; None where all are.

    Parameters
    ----------
    rows : Rows
        All that were fitted.
    held : numpy.ndarray of int
        Those that training held out.
    seed : int
        Same seed, same rows.
    """
    if rows.total * rows.num_units * FEWEST_KEPT <= LARGEST_BLOCK:
        return None
    columns = sum(value.size for value in rows.data.values()) // rows.total
    fewest = 2 * AUDITED
    most = min(
        MOST_KEPT_ROWS, KEPT_NUMBERS // max(columns, 1), LARGEST_BLOCK // (FEWEST_KEPT * rows.num_units)
    )
    most = max(most, fewest)
    if most >= rows.total:
        return None
    rng = np.random.default_rng([seed, 84])
    own = np.setdiff1d(np.arange(rows.total), held, assume_unique=True)
    num_held = min(len(held), most // 2)
    parts = [
        rng.choice(held, num_held, replace=False),
        rng.choice(own, min(len(own), most - num_held), replace=False),
    ]
    return Kept(np.sort(np.concatenate(parts)), rows.total)


def of_rows(target: Any, plate: str, rows: np.ndarray) -> Any:
    """The target of the same model on some rows of a plate, with the labels that its data have."""
    program, data = target.program, {}
    for label, axis in aligned(target, plate).items():
        leaf = program.leaves[label]
        value = leaf.value[rows] if axis == 0 else np.take(leaf.value, rows, axis)
        data[label] = np.asarray(value) if leaf.labels is None else np.asarray(leaf.labels, object)[value]
    return shrunk(target, data, {plate: len(rows)}, {}, program.labels)

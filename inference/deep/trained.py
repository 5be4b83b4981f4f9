"""What a training has reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..thresholds import ACTIVE_NATS
from .collapse import silent

ARRAYS, GROUPS = ("held", "bounds", "trace", "norms", "tight", "each"), ("weights", "guide")
"""Arrays of what was reached, and groups of its learned arrays."""
SUNK = "collapsed"
STEP_LIMIT = "step limit"
ENDED = ("settled", STEP_LIMIT, SUNK)
"""Reasons of a training that came to its end; one of them is that the laws of rows were their prior for a while."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What training has reached.

    Attributes
    ----------
    params : mapping
        ``weights``, learned arrays by name, and ``guide``, of the coordinates that rows share; NumPy.
    held : numpy.ndarray of int
        Rows that were held out; empty where none were.
    bounds : numpy.ndarray, shape (E, 5)
        Steps so far, bound per row of the training batches since, bound per held-out row, divergence per row, and active units.
    trace : numpy.ndarray
        Bound of all rows by the batch of each step, in nats.
    num_steps : int
    epochs : float
    reason : str
        Why it ended.
    num_bad : int
        Steps whose gradient was not finite.
    rate : float
        That the pilots chose.
    information, information_se : float
        What the laws of rows tell of them where training ended, in nats, and its standard error.
    excess, excess_se : float
        By how much the bound of a row that was trained on is greater than that of one held out, in nats, and its standard error.
    each : numpy.ndarray
        What each coordinate of rows tells of them by itself there.
    active : int
        How many were active there.
    decay : float
        By what share of themselves, times the rate, matrices of networks shrank at the last steps.
    norms : numpy.ndarray
        Norm of the gradient at each step.
    tight : numpy.ndarray
        Importance-weighted bounds of the rows that were looked at; empty where they were not asked for.
    told : tuple of str
        A line for each start after a collapse, this one's or another's.
    """

    params: Mapping[str, Mapping[str, np.ndarray]]
    held: np.ndarray
    bounds: np.ndarray
    trace: np.ndarray
    num_steps: int
    epochs: float
    reason: str
    num_bad: int
    rate: float
    information: float
    information_se: float
    excess: float
    excess_se: float
    each: np.ndarray
    active: int
    decay: float = 0.0
    norms: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tight: np.ndarray = field(default_factory=lambda: np.zeros(0))
    told: tuple[str, ...] = ()

    @property
    def collapsed(self) -> bool:
        """Whether the laws of rows tell nothing of them."""
        return silent(self.information + 2 * self.information_se, self.each)

    @property
    def telling(self) -> bool:
        """Whether they tell something."""
        return not self.collapsed and self.information - 2 * self.information_se > ACTIVE_NATS

    def split(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What JSON takes, and arrays by name."""
        arrays = {f"{group}/{k}": v for group, part in self.params.items() for k, v in part.items()}
        arrays |= {name: getattr(self, name) for name in ARRAYS}
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*ARRAYS, "params")}
        return numbers, arrays

    @classmethod
    def joined(cls, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Trained:
        """From what `split` gave."""
        params = {
            group: {k.removeprefix(f"{group}/"): v for k, v in arrays.items() if k.startswith(f"{group}/")}
            for group in GROUPS
        }
        rest: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
        return cls(params=params, **rest, **{**numbers, "told": tuple(numbers["told"])})

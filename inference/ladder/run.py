"""What stages run on: deadline, random numbers, the density and what a gradient of it costs, and what is reached so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engines.loop import Density
from ..engines.problem import marked
from ..run.checkpoint import Checkpoint
from ..run.watch import Watch
from ..thresholds import DEAR_SECONDS, PLAIN_GRADIENTS
from .state import State


class Run:
    """One climb of the ladder.

    Parameters
    ----------
    watch : Watch
    checkpoint : Checkpoint, optional
    seed : int

    Attributes
    ----------
    reached : State
        What the stage under way has reached: the climb goes on from there where it is broken off.
    unreported : tuple
        Gradients and seconds of stages without a line since the last one: the next has them too.
    """

    def __init__(self, watch: Watch, checkpoint: Checkpoint | None = None, seed: int = 0):
        self.watch, self.seed = watch, seed
        self.checkpoint = Checkpoint(None, {}) if checkpoint is None else checkpoint
        self.reached: State = None  # type: ignore[assignment]  # there once a climb has begun
        self.unreported: tuple[int, float] = (0, 0.0)
        self._streams: dict[int, np.random.Generator] = {}
        self._seconds, self._gradients = 0.0, 0

    def stop(self) -> bool:
        """Whether time or patience has ended."""
        return self.watch.stop()

    def rng(self, stream: int) -> np.random.Generator:
        """Random numbers of a stream, from its beginning."""
        return np.random.default_rng([self.seed, stream])

    def stream(self, number: int) -> np.random.Generator:
        """Random numbers of a stream, from where it was left."""
        if number not in self._streams:
            self._streams[number] = self.rng(number)
        return self._streams[number]

    def keep(self, state: State) -> State:
        """Take a state as what has been reached."""
        self.reached = state
        return state

    def density(self, state: State, batch: int | None = None) -> Density:
        """Log density and gradient of all rows, in the coordinates of a state; −∞ and 0 where they are not finite."""
        target, rows = state.target, state.rows
        return marked(lambda z: self._timed(target, lambda: rows.value_and_grad(target, z, batch)))

    @property
    def pace(self) -> float:
        """Seconds of a gradient, as they were measured so far; NaN before."""
        return self._seconds / self._gradients if self._gradients else np.nan

    def dear(self, price: float) -> str | None:
        """Why a stage is not begun that takes so many gradients; None where it is affordable.

        It is not where it takes both long and longer than chains without any fit would, in whose place it stands.
        """
        seconds, plain = price * self.pace, PLAIN_GRADIENTS * self.pace
        if seconds > max(DEAR_SECONDS, plain):
            return f"not begun: {seconds:.0f} s projected, where chains from nothing take some {plain:.0f} s"
        return None

    def _timed(self, target, call: Callable[[], Any]) -> Any:
        clock, counter = target.density.clock, target.counter
        begin, compiled, count = time.perf_counter(), clock["compile"], counter.num_gradients
        found = call()
        # what is compiled meanwhile, in a thread of its own too, says nothing
        if clock["compile"] == compiled:
            self._seconds += time.perf_counter() - begin
            self._gradients += counter.num_gradients - count
        return found

"""Hamiltonian Monte Carlo with all chains in lockstep: one batched gradient per leapfrog step.

All chains share the step size, the metric, and the length of trajectories, which climbs the change of squared distances
from the mean that a trajectory makes (ChEES). What NUTS decides by Python for each chain on its own is arithmetic of
arrays here, so that a gradient of 64 chains costs little more than one.

References
----------
Hoffman, Radul & Sountsov (2021), An adaptive-MCMC scheme for setting trajectory lengths in Hamiltonian Monte Carlo,
AISTATS. Kingma & Ba (2015), Adam, ICLR. Stan Reference Manual, chapter 15 (windows of a warm-up).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...guides.flow import Spline
from ...guides.transport import Affine
from ..evidence.chains import Place, StepSize, chosen, trajectory
from ..thresholds import (
    CACHED,
    DIVERGENT_ENERGY,
    LENGTH,
    LENGTH_DECAY,
    LENGTH_RATE,
    LENGTHS,
    LONGEST_PATH,
    METRICS,
    SHORTEST_SHARE,
)
from .metric import spread


@dataclass(frozen=True)
class Length:
    """Longest of the trajectories: its log, by Adam without momentum up a slope, and the average that stays."""

    log: float = float(np.log(LENGTH))
    average: float = float(np.log(LENGTH))
    square: float = 0.0
    count: int = 0

    def after(self, slope: float) -> Length:
        """After a transition with some slope of the criterion in the log length."""
        t = self.count + 1
        square = LENGTH_DECAY * self.square + (1 - LENGTH_DECAY) * slope**2
        scale = np.sqrt(square / (1 - LENGTH_DECAY**t))
        log = self.log + (LENGTH_RATE * slope / scale if scale > 0 else 0.0)
        log = float(np.clip(log, *np.log(LENGTHS)))
        return Length(log, t**-0.75 * log + (1 - t**-0.75) * self.average, square, t)


@dataclass(frozen=True, eq=False)
class State:
    """Chains between two iterations; `late` are the points of the window that is under way."""

    place: Place
    size: StepSize
    accept: float
    rng: np.random.Generator
    length: Length = Length()
    count: int = 0
    late: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, eq=False)
class Lockstep:
    """A sampler, see `elboroom.ppl.backends.protocol.Sampler`, on a target's batched gradients.

    Parameters
    ----------
    target : Target
    place : Affine or Spline
        The coordinates x in which chains move.
    num_warmup : int
        Iterations that set the step size, and the length.
    metric : bool
        Whether the warm-up sets a metric in x also.
    superchains : int
        Groups of chains, next to each other, that began at one point each; 0 where each chain is one. A metric is of the
        spread within groups: those that have not met say nothing of the spread between them.
    """

    target: Any
    place: Affine | Spline
    num_warmup: int
    metric: bool
    superchains: int

    def density(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density in x, and its gradient."""
        z, log_det = self.place.forward(x)
        batch = len(z) if len(z) * self.target.work < CACHED else None
        value, grad = self.target.value_and_grad(z, batch=batch)
        return value + log_det - self.place.log_det, self.place.pullback(x, grad)

    def begin(  # noqa: PLR0913, PLR0917  as the protocol has it
        self, seeds, x, value, grad, step_size: float, accept: float, frame, data, weights
    ) -> State:
        """State of chains that start at `x`, shape ``(C, dim)``."""
        del frame, data, weights  # the target knows them
        unit = Affine(np.zeros(x.shape[1]), np.ones(x.shape[1]))
        return State(
            Place(unit, x, value, grad), StepSize.at(step_size), accept, np.random.default_rng(seeds)
        )

    def run(self, state: State, count: int) -> tuple[State, dict[str, np.ndarray]]:
        """The state after `count` more iterations, and what they gave, ``(C, count, …)`` each."""
        rows = []
        with np.errstate(all="ignore"):  # trajectories that leave the support
            for _ in range(count):
                state, row = self._after(state)
                rows.append(row)
        return state, {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}

    def _after(self, state: State) -> tuple[State, dict[str, np.ndarray]]:
        """One iteration of all chains."""
        size, length, place = state.size, state.length, state.place
        warm = state.count < self.num_warmup
        step, longest = (
            float(np.exp(one))
            for one in ((size.log_step, length.log) if warm else (size.average, length.average))
        )
        time = longest * (SHORTEST_SHARE + (1 - SHORTEST_SHARE) * halton(state.count + 1))
        num_steps = int(np.clip(np.ceil(time / step), 1, LONGEST_PATH))
        p = state.rng.standard_normal(place.x.shape)
        energy = 0.5 * (p**2).sum(1) - place.value
        there, p = trajectory(self.density, place, p, step, num_steps)
        change = energy + there.value - 0.5 * (p**2).sum(1)
        change = np.where(np.isnan(change), -np.inf, change)
        accept = np.exp(np.minimum(change, 0.0))
        moved = chosen(place, there, change, state.rng)
        x = place.frame.forward(moved.x)[0]
        row = {
            "x": x,
            "num_steps": np.full(len(x), num_steps),
            "accept_prob": accept,
            "diverging": change < -DIVERGENT_ENERGY,
            "energy": energy,
        }
        late = state.late
        if warm:
            size = size.after(float(accept.mean()), state.accept)
            length = length.after(time * slope(place.x, there.x, p, accept))
            late = (*late, x) if self.metric else ()
        after = State(moved, size, state.accept, state.rng, length, state.count + 1, late)
        return self._renewed(after) if warm and self.metric else after, row

    def _renewed(self, state: State) -> State:
        """In the metric of the window that has just ended, if one has; step size and length then begin anew."""
        if state.count not in {int(share * self.num_warmup) for share in METRICS}:
            return state
        x = np.stack(state.late, 1)
        grouped = x.reshape(self.superchains or len(x), -1, x.shape[2])
        found = spread((grouped - grouped.mean(1, keepdims=True)).reshape(-1, x.shape[2]))
        if found is None:
            return State(state.place, state.size, state.accept, state.rng, state.length, state.count)
        frame = Affine(np.zeros(found.dim), found.scale)
        place = Place.at(self.density, frame, frame.inverse(x[:, -1])[0])
        return State(place, StepSize.at(first_step(found.dim)), state.accept, state.rng, count=state.count)


def first_step(dim: int) -> float:
    """Step size to begin with where the metric is that of the posterior."""
    return 0.5 / dim**0.25


def halton(n: int) -> float:
    """The n-th number of van der Corput's sequence in base 2, which is Halton's in one dimension."""
    return sum((n >> bit & 1) / 2 ** (bit + 1) for bit in range(n.bit_length()))


def slope(x: np.ndarray, there: np.ndarray, p: np.ndarray, accept: np.ndarray) -> float:
    """Derivative of ChEES in the time that trajectories take, from where these begin and end, ``(C, dim)`` each.

    The proposals' weights are their probabilities of acceptance (Hoffman, Radul & Sountsov 2021, section 3.1).
    """
    taken = accept > 0  # of what ended where nothing is finite there is none
    if not taken.any():
        return 0.0
    weights = accept[taken] / accept[taken].sum()
    x, there, p = (x - x.mean(0))[taken], there[taken], p[taken]
    there = there - weights @ there
    farther = (there**2).sum(1) - (x**2).sum(1)
    found = float(weights @ (farther * (there * p).sum(1)))
    return found if np.isfinite(found) else 0.0

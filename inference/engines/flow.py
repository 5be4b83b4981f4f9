"""The fit of a flow: Adam on the bound, without a rate or a number of steps to give.

Short pilots pick the rate; where the bound no longer grows it is halved, and after the last halving the average of the
iterates is the answer. The gradient of couplings sticks to the landing. Where the weights are heavy-tailed still, the
fit goes on from there once.

References
----------
Roeder, Wu & Duvenaud (2017), Sticking the landing, NeurIPS. Agrawal & Domke (2024), Disentangling impact of capacity,
objective, batchsize, estimators, and step-size on flow VI. Kingma & Ba (2015), Adam, ICLR.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...guides.family import Guide
from ...guides.flow import Spline
from ..evidence.pool import draw_pool
from ..thresholds import (
    FLOW_CALL,
    FLOW_DRAWS,
    FLOW_ENOUGH,
    FLOW_FAILED,
    FLOW_GAIN,
    FLOW_HALVINGS,
    FLOW_KHAT_ENOUGH,
    FLOW_LEGS,
    FLOW_PILOTS,
    FLOW_WINDOW,
    KHAT_TRUSTED,
    MOST_FLOW_STEPS,
    NUM_CHECKED,
)
from .loop import Density, Fit
from .problem import Problem


@dataclass(frozen=True, eq=False)
class Leg:
    """Steps with a rate that only falls.

    Attributes
    ----------
    inner : mapping
        The backend's state of the ascent.
    trace, recent : tuple of numpy.ndarray
        Bounds of the steps of each call, and those since the rate was last halved.
    reason : str or None
        Why it ended.
    """

    inner: Any
    rate: float
    trace: tuple[np.ndarray, ...]
    recent: tuple[np.ndarray, ...] = ()
    halved: int = 0
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class State:
    """Where the fit is.

    Attributes
    ----------
    place : Spline
        Where the leg began.
    best : tuple or None
        k̂, transport, trace and reason of the leg whose weights are best.
    """

    place: Spline
    leg: Leg | None = None
    num_legs: int = 0
    best: tuple[float, Spline, tuple[float, ...], str] | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class FlowAscent:
    """The engine: the layers of a flow, its frame held fixed.

    Parameters
    ----------
    density : callable
        See `Density`: for the weights.
    target : Target
        Whose density the compiled steps see.
    guide : Guide
        Of a `Flow`.
    rng : numpy.random.Generator
    most_steps : int
        Of each leg.
    num_legs : int
    """

    density: Density
    target: Any
    guide: Guide
    rng: np.random.Generator
    most_steps: int = MOST_FLOW_STEPS
    num_legs: int = FLOW_LEGS

    name = "flow"
    loose = True
    rounds = 1
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> FlowAscent:
        """In the frame of the problem's Gaussian."""
        return cls(problem.density, problem.target, problem.guide, problem.rng)

    def init(self, start: Any) -> State:
        """At layers that change nothing in the frame of a Gaussian, or at a flow."""
        return State(
            start if hasattr(start, "layers") and start.layers is not None else self.guide.near(start)
        )

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return state.reason

    def step(self, state: State) -> State:
        """One compiled call of many steps, or the pilots of a leg."""
        if state.leg is None:
            return self._judged(state, self._piloted(state))
        leg, place = state.leg, state.place
        inner, bounds, sound = self._go(place, leg.inner, leg.rate)
        if sound:
            leg = replace(leg, inner=inner, trace=(*leg.trace, bounds), recent=(*leg.recent, bounds))
        if not sound or (len(leg.recent) >= FLOW_WINDOW and not _grows(leg.recent[-FLOW_WINDOW:])):
            khat, enough = self._enough(self._averaged(place, leg)) if sound else (None, False)
            if enough:
                return self._judged(state, replace(leg, reason="good enough"), khat)
            leg = replace(leg, rate=0.5 * leg.rate, recent=(), halved=leg.halved + 1)
            if leg.halved > FLOW_HALVINGS:
                leg = replace(leg, reason="settled" if sound else "no rate keeps the bound finite")
        return self._judged(state, leg)

    def _judged(self, state: State, leg: Leg, khat: float | None = None) -> State:
        """Where a leg has ended: what its weights are worth, and whether another follows."""
        place, reason = state.place, leg.reason
        if reason is None and FLOW_CALL * (len(leg.trace) + len(FLOW_PILOTS)) >= self.most_steps:
            reason = "step limit"
        if reason is None:
            return replace(state, leg=leg)
        found = self._averaged(place, leg)
        khat, best = self._enough(found)[0] if khat is None else khat, state.best
        if best is None or khat < best[0]:
            best = khat, found, self._bounds(place, leg), reason
        num = state.num_legs + 1
        last = num >= self.num_legs or khat < KHAT_TRUSTED
        return replace(
            state, best=best, num_legs=num, leg=None, place=found, reason=best[3] if last else None
        )

    def _piloted(self, state: State) -> Leg:
        place = state.place
        first = place.layers.begin(dict(place.weights))
        pilots = [(self._go(place, first, rate), rate) for rate in FLOW_PILOTS]
        scores = [np.median(found[1][-FLOW_CALL // 4 :]) if found[2] else -np.inf for found, _ in pilots]
        (inner, bounds, _), rate = pilots[int(np.argmax(scores))]
        return Leg(inner, rate, (bounds,))

    def _go(self, place: Spline, inner, rate: float):
        """A compiled call: the state after it, the bounds of its steps, and whether they are sound."""
        target, put = self.target, self.target.to_device
        constants = {
            "order": put(place.layout.order),
            "mean": put(place.mean),
            "scale_tril": put(place.scale_tril),
            "data": target.data,
            "weights": target.weights,
        }
        inputs = {
            "seed": self.rng.integers(0, 2**31, FLOW_CALL),
            "rate": np.full(FLOW_CALL, rate, target.dtype),
        }
        inner, (bounds, good) = self._run(place)(inner, inputs, constants)
        target.counter.num_gradients += FLOW_CALL * FLOW_DRAWS
        target.counter.num_densities += FLOW_CALL * FLOW_DRAWS
        bounds = np.asarray(bounds, np.float64)
        return inner, bounds, bool(np.isfinite(bounds).all() and np.mean(good) > FLOW_FAILED)

    def _run(self, place: Spline):
        """Many steps in one call, compiled once per density and flow."""
        made, key = self.target.density.ascents, ("flow", place.layers)
        if key not in made:
            made[key] = place.layers.ascent(self.target.density, FLOW_DRAWS)
        return made[key]

    def _averaged(self, place: Spline, leg: Leg) -> Spline:
        weights = self.target.loops.to_host(leg.inner["average"])
        return replace(
            place, weights={name: np.asarray(value, np.float64) for name, value in weights.items()}
        )

    def _enough(self, place: Spline) -> tuple[float, bool]:
        """k̂ of a flow's weights, and whether it needs no more steps."""
        pool = draw_pool(self.density, place, NUM_CHECKED, self.rng)
        return pool.khat, pool.khat < FLOW_KHAT_ENOUGH and pool.size > FLOW_ENOUGH * NUM_CHECKED

    def _bounds(self, place: Spline, leg: Leg) -> tuple[float, ...]:
        shift = place.log_det + 0.5 * place.dim * np.log(2 * np.pi)
        return tuple(float(bounds.mean() + shift) for bounds in leg.trace)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached: the leg whose weights are best."""
        if state.best is not None:
            _, place, trace, reason = state.best
        elif state.leg is not None:
            place, trace = self._averaged(state.place, state.leg), self._bounds(state.place, state.leg)
        else:
            place, trace = state.place, ()
        words = f"flow: {reason} after {FLOW_CALL * len(trace)} steps"
        return Fit(place, None, trace[-1] if trace else np.nan, True, trace, words, reason)


def _grows(window) -> bool:
    """Whether the later half of some bounds lies above the earlier."""
    half = len(window) // 2
    before, after = np.concatenate(window[:half]), np.concatenate(window[half:])
    noise = np.sqrt((before.var() + after.var()) / len(after))
    return bool(after.mean() - before.mean() > max(noise, FLOW_GAIN))

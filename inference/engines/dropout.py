"""Stochastic ascent of the bound of variational dropout: noise in weights, and a divergence that their rates alone decide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...guides.family import Guide
from ...guides.mean_field import independent
from ...guides.thresholds import NOISE_RATE
from ...guides.transport import Affine, Gaussian
from ...guides.variational_dropout import divergence_slope, log_rate, minus_divergence
from ...ppl import math as m
from ..thresholds import DROPOUT_BLOCK, DROPOUT_PARTICLES, DROPOUT_RATE, DROPOUT_STEPS, RATE_NEAR
from .ascent import HALF_LOG, Ascent, adam
from .loop import Fit
from .problem import Problem


def step(slope, state, given, constants):
    """One step on the bound.

    Parameters
    ----------
    slope : callable
        ``slope(z, constants)``: gradients and values of the log density without the priors of weights that drop out.
    state, given, constants : mapping
        See `ascent.step`; ``constants["dropped"]`` is one for weights that drop out.
    """
    params, unit, dropped = state["params"], constants["sd"], constants["dropped"]
    mean = constants["mean"] + unit * params[0]
    log_sd = constants["log_sd"] + params[1]
    sd, eps = m.exp(log_sd), given["eps"]
    grad, value = slope(mean + sd * eps, constants)
    kept, rate = 1 - dropped, log_rate(mean, log_sd)
    own = m.sum(dropped * minus_divergence(rate)) + m.sum(kept * (log_sd + HALF_LOG + 0.5))
    held = dropped * divergence_slope(rate)
    size = grad.shape[0]
    by_mean = m.sum(grad, axis=0) / size - 2 * held * mean / (mean * mean + RATE_NEAR * sd * sd)
    by_sd = m.sum(grad * eps, axis=0) * sd / size + 2 * held + kept
    g = m.stack([by_mean * unit, by_sd])
    finite = m.isfinite(g)
    g = m.where(finite, g, 0.0)
    seen = {
        "elbo": m.mean(value) + own,
        "gradient_norm": m.sqrt(m.sum(g * g)),
        "not_finite": m.sum(m.where(finite, 0.0, 1.0)),
    }
    return adam(state, g, given["rate"]), seen


def compiled(target: Any, dropped: np.ndarray) -> Any:
    """Many steps as one function, compiled once for targets of equal shapes."""
    names = tuple(
        name for name, part in target.offsets.items() if part.stop > part.start and dropped[part].all()
    )
    key = ("variational dropout", names)
    known, density, loops = target.density.ascents, target.density, target.loops
    if key not in known:

        def value(z, constants):
            return density.total_without(z, constants["data"], constants["weights"], names)

        def slope(z, constants):
            def total(z):
                found = loops.mapped(lambda one: value(one, constants))(z)
                return found.sum(), found

            return loops.slope(total)(z)

        shape = (DROPOUT_PARTICLES, target.dim)
        known[key] = loops.loop(partial(step, slope), target.dtype, density.clock, shape)
    return known[key]


@dataclass(frozen=True)
class Descent:
    """How far an ascent has come, whose rate falls."""

    num_steps: int = 0
    trace: tuple[float, ...] = ()
    slope: float | None = None


@dataclass(frozen=True, eq=False)
class DropoutAscent:
    """The engine: steps whose rate falls to zero. Weights that are noise never settle, as nothing holds their scale.

    Its own arrays are written over step by step.

    Parameters
    ----------
    ascent : Ascent
        What is run.
    guide : Guide
    """

    ascent: Ascent
    guide: Guide

    name = "variational dropout"
    loose = False
    rounds = 1
    again = True
    centred = True
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> DropoutAscent:
        """From the problem's Gaussian."""
        start, target = independent(problem.start), problem.target
        dropped = np.asarray(problem.guide.structure, bool)
        seed = int(problem.rng.integers(2**31))
        ascent = Ascent(target, None, (start.mean, start.scale), DROPOUT_PARTICLES, seed=seed)
        more = {"dropped": dropped.astype(target.dtype)}
        return cls(ascent.along(compiled(target, dropped), more), problem.guide)

    def init(self, start: Gaussian) -> Descent:
        """At the start."""
        return Descent()

    def done(self, state: Descent) -> str | None:
        """See `Engine.done`."""
        return "the rate is spent" if state.num_steps >= DROPOUT_STEPS else None

    def step(self, state: Descent) -> Descent:
        """Some steps."""
        self.ascent.rate = DROPOUT_RATE * (1 - state.num_steps / DROPOUT_STEPS)
        seen = self.ascent.advance(DROPOUT_BLOCK)
        bound, slope = float(seen["elbo"].mean()), float(np.median(seen["gradient_norm"]))
        return Descent(state.num_steps + DROPOUT_BLOCK, (*state.trace, bound), slope)

    def fit(self, state: Descent, reason: str) -> Fit:
        """What was reached."""
        found = self.ascent.params
        place = Affine(found["mean"], np.exp(found["log_sd"]))
        law = self.guide.near(place)
        noise = float(np.mean(law.rates[law.dropped] > NOISE_RATE))
        words = f"{state.num_steps} stochastic steps: {reason}; {noise:.0%} of the weights are noise"
        elbo = state.trace[-1] if state.trace else np.nan
        return Fit(
            law,
            place,
            elbo,
            True,
            state.trace,
            words,
            reason,
            num_gradients=state.num_steps * DROPOUT_PARTICLES,
            gradient_norm=state.slope,
        )

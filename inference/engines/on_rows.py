"""Engines for batches of rows: natural gradients over posteriors of more and more rows and anchored on all of them, and
stochastic ascent.

References
----------
Chopin (2002), A sequential particle filter method for static models, Biometrika 89. Hoffman, Blei, Wang & Paisley
(2013), Stochastic variational inference, JMLR 14.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...guides.mean_field import independent
from ...guides.transport import Affine, Gaussian
from ..evidence.finding import Finding
from ..thresholds import TEMPERED_AT_REST, TEMPERED_STEPS
from .anchored import Anchored
from .ascent import Ascent
from .loop import Fit
from .natural import NaturalGradient, State
from .problem import Problem, marked
from .stochastic import Course, Settling


@dataclass(frozen=True, eq=False)
class Tempered:
    """The dense Gaussian of the posterior of some rows.

    Parameters
    ----------
    inner : NaturalGradient
    size : int
        Rows.
    """

    inner: NaturalGradient
    size: int

    name = "tempered natural gradient"
    loose = True
    rounds = 64
    again = False
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> Tempered | None:
        """With more rows every round; None once all are due."""
        sizes = problem.rows.sizes
        if problem.round >= len(sizes):
            return None
        size = sizes[problem.round]
        density = marked(problem.rows.few(problem.target, size, problem.rng))
        at_rest = (TEMPERED_AT_REST, TEMPERED_AT_REST)
        return cls(NaturalGradient(density, problem.rng, TEMPERED_STEPS, *at_rest), size)

    def init(self, start: Gaussian) -> State:
        """At a Gaussian."""
        return self.inner.init(start)

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        return self.inner.step(state)

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return self.inner.done(state)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached: a place to go on from, and no bound of all rows."""
        found = self.inner.fit(state, reason)
        words = f"a posterior of {self.size} rows"
        return Fit(
            found.transport, found.gaussian, found.elbo, words=words, gradient_norm=found.gradient_norm
        )


@dataclass(frozen=True, eq=False)
class AnchoredNatural:
    """The dense Gaussian of the posterior of all rows, with batches between the passes over them.

    Parameters
    ----------
    inner : NaturalGradient
    num_batches : int
        Between two passes.
    """

    inner: NaturalGradient
    num_batches: int

    name = "anchored natural gradient"
    loose = True
    rounds = 3
    again = True
    centred = False
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> AnchoredNatural:
        """On the problem's rows."""
        count, rows, target, rng = problem.rows.num_batches, problem.rows, problem.target, problem.rng
        advance = Anchored(lambda: rows.batch(target, rng), count)
        return cls(NaturalGradient(problem.density, rng, advance=advance), count)

    def init(self, start: Gaussian) -> State:
        """At a Gaussian."""
        return self.inner.init(start)

    def step(self, state: State) -> State:
        """See `Engine.step`."""
        return self.inner.step(state)

    def done(self, state: State) -> str | None:
        """See `Engine.done`."""
        return self.inner.done(state)

    def fit(self, state: State, reason: str) -> Fit:
        """What was reached."""
        found = self.inner.fit(state, reason)
        words = (
            f"{len(found.trace)} passes over all rows, {self.num_batches} batches between two; {found.words}"
        )
        return replace(found, words=words)


@dataclass(frozen=True, eq=False)
class StochasticAscent:
    """Independent Gaussians by stochastic steps on batches.

    Parameters
    ----------
    inner : Settling
    """

    inner: Settling

    name = "stochastic ascent"
    loose = False
    rounds = 1
    again = True
    centred = True
    improves = False
    must_rest = False

    @classmethod
    def of(cls, problem: Problem) -> StochasticAscent:
        """From the problem's Gaussian, or from where it was broken off."""
        start = independent(problem.start)
        begin = start.mean, start.scale
        seed = int(problem.rng.integers(2**31))
        ascent = Ascent(problem.target, problem.rows.batches, begin, seed=seed)
        return cls(Settling(ascent, None if problem.kept is None else problem.kept.under_way))

    @cached_property
    def passes(self) -> float:
        """Passes over the data of one step."""
        batches: Any = self.inner.ascent.batches
        return batches.size / batches.total

    def init(self, start: Gaussian) -> Course:
        """At the start."""
        return self.inner.init(start)

    def step(self, course: Course) -> Course:
        """See `Engine.step`."""
        return self.inner.step(course)

    def done(self, course: Course) -> str | None:
        """See `Engine.done`."""
        return self.inner.done(course)

    def arrays(self, course: Course) -> dict[str, np.ndarray]:
        """All that the next step needs, by name."""
        return self.inner.arrays(course)

    def fit(self, course: Course, reason: str) -> Fit:
        """What was reached."""
        found = self.inner.fit(course, reason)
        passes = self.passes * found.num_steps
        place = Affine(found.mean, np.exp(found.log_sd))
        words = f"{found.num_steps} stochastic steps, {passes:.1f} times over the data: {found.reason}"
        steps = {name: found.thinned(name) for name in ("gradient_norm", "not_finite")}
        trace = tuple(found.thinned("elbo").tolist())
        bad = "" if not found.culprit else f": {found.culprit}"
        findings: tuple[Finding, ...] = ()
        if found.num_bad:
            advice = f"The bound was not finite at {found.num_bad} of {found.num_steps} steps{bad}."
            findings = (Finding("not finite", "fit", float(found.num_bad), 0.0, "caution", advice),)
        return Fit(
            place, place, np.nan, found.reason == "settled", trace, words, found.reason, steps, findings,
            num_gradients=int(np.ceil(passes)),
            gradient_norm=float(found.gradient_norm[-1]) if len(found.gradient_norm) else None,
        )  # fmt: skip

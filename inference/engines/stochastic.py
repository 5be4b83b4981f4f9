"""Stochastic ascent without a rate or a number of steps to give.

Short pilots pick the rate; when the iterates no longer drift it is halved, and the averages before and after are
compared: once they agree within a small share of the guide's own sds, the average is the answer.

References
----------
Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging, SIAM Journal on Control and
Optimization 30. Dhaka et al. (2020), Robust, accurate stochastic optimization for variational inference, NeurIPS.
Welandawe et al. (2022), A framework for improving the reliability of black-box variational inference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..thresholds import (
    ASCENT_EVERY,
    ASCENT_FAILED,
    ASCENT_PASSES,
    ASCENT_PILOT_STEPS,
    ASCENT_PILOTS,
    ASCENT_WINDOW,
    DRIFT,
    LEAST_RATE,
    MOST_ASCENT_STEPS,
    ROLLBACKS,
    SETTLED,
    SETTLED_SHARE,
)
from .ascent import Ascent
from .loop import STOPPED, run

SEEN = ("elbo", "gradient_norm", "not_finite")


@dataclass(frozen=True)
class Ascended:
    """Where an ascent ended: mean and log sd of each coordinate, unconstrained.

    Attributes
    ----------
    trace : numpy.ndarray
        The bound's estimate at each step.
    gradient_norm, not_finite : numpy.ndarray
        Of the gradient at each step: its norm, and the coordinates where it was not finite.
    num_bad : int
        Steps at which the bound or its gradient was not finite.
    culprit : str
        The sites that were not finite there, in words; empty where all was well.
    reason : str
        Why it ended: "settled", "step limit", "stopped", "the rate is spent" or "no rate keeps the bound finite".
    """

    mean: np.ndarray
    log_sd: np.ndarray
    trace: np.ndarray
    num_steps: int
    num_bad: int
    reason: str
    gradient_norm: np.ndarray
    not_finite: np.ndarray
    culprit: str = ""

    def thinned(self, name: str, most: int = 1000) -> np.ndarray:
        """A trace at about so many steps; of what is not finite the sum up to the next of them."""
        values = self.trace if name == "elbo" else getattr(self, name)
        places = np.arange(0, len(values), max(1, len(values) // most))
        return np.add.reduceat(values, places) if name == "not_finite" and len(values) else values[places]


@dataclass(frozen=True, eq=False)
class Course:
    """What an ascent remembers between blocks of steps.

    Attributes
    ----------
    good : mapping
        The state of the ascent that it goes back to where a block is not finite.
    before : numpy.ndarray or None, shape (2, dim)
        The average of the window before.
    iterates : tuple of numpy.ndarray, shape (2, dim)
    seen : tuple of mapping
        Traces of each block.
    """

    good: Any
    before: np.ndarray | None = None
    iterates: tuple[np.ndarray, ...] = ()
    rollbacks: int = 0
    seen: tuple[Mapping[str, np.ndarray], ...] = ()
    culprit: str = ""
    reason: str | None = None

    def of(self, name: str) -> np.ndarray:
        """One of the traces over all steps so far."""
        return np.concatenate([np.zeros(0), *(block[name] for block in self.seen)])


@dataclass(frozen=True, eq=False)
class Settling:
    """The engine: an `Ascent` until it has settled. Its own arrays are written over step by step.

    Parameters
    ----------
    ascent : Ascent
        What is run.
    saved : mapping, optional
        What `arrays` of an earlier, equal ascent gave: it goes on from there, to the same result.
    """

    ascent: Ascent
    saved: Mapping[str, np.ndarray] | None = None

    name = "stochastic ascent"
    loose = False
    rounds = 1

    def init(self, start=None) -> Course:
        """With the rate whose pilot ends highest, or where it was broken off."""
        if self.saved is not None:
            return self._restored(self.saved)
        self.ascent.rate = _piloted(self.ascent)
        return Course(self.ascent.copied(self.ascent.state))

    def done(self, course: Course) -> str | None:
        """See `Engine.done`."""
        return course.reason or ("step limit" if self.ascent.num_steps >= MOST_ASCENT_STEPS else None)

    def step(self, course: Course) -> Course:
        """Some steps, and what they say."""
        ascent, every = self.ascent, spacing(self.ascent)
        seen = ascent.advance(every)
        now = np.stack([ascent.params["mean"], ascent.params["log_sd"]])
        bad, sound = ~np.isfinite(seen["elbo"]), bool(np.isfinite(now).all())
        course = replace(course, seen=(*course.seen, seen))
        if (bad.any() or not sound) and not course.culprit:
            course = replace(course, culprit=ascent.culprit(now if sound else None))
        if bad.mean() > ASCENT_FAILED or not sound:
            ascent.state, ascent.rate = ascent.copied(course.good), 0.5 * ascent.rate
            lost = course.rollbacks >= ROLLBACKS
            reason = f"no rate keeps the bound finite{f': {course.culprit}' if course.culprit else ''}"
            return replace(
                course, rollbacks=course.rollbacks + 1, iterates=(), reason=reason if lost else None
            )
        course = replace(course, iterates=(*course.iterates, now)[-ASCENT_WINDOW:])
        return course if len(course.iterates) < ASCENT_WINDOW else self._compared(course, every)

    def _compared(self, course: Course, every: int) -> Course:
        """Whether a window has come to rest, and agrees with the one before."""
        ascent, window = self.ascent, np.stack(course.iterates)
        if worst(ascent, _halves(window)) > DRIFT and ascent.num_steps // every % (4 * ASCENT_WINDOW):
            return course
        average, before = window.mean(0), course.before
        course = replace(course, good=ascent.copied(ascent.state), iterates=(), before=average)
        if before is not None:
            sd = np.exp(average[1])
            change = np.maximum(np.abs(average[0] - before[0]) / sd, np.abs(average[1] - before[1]))
            if worst(ascent, change) < SETTLED:
                return replace(course, reason="settled")
        ascent.rate *= 0.5
        return replace(course, reason="the rate is spent" if ascent.rate < LEAST_RATE else None)

    def fit(self, course: Course, reason: str) -> Ascended:
        """What was reached: the average of a window, where there is one."""
        ascent, found = self.ascent, course.before
        if course.iterates and reason in {STOPPED, "step limit", "under way"}:
            found = np.mean(course.iterates, axis=0)
        if found is None:
            found = np.stack([ascent.params["mean"], ascent.params["log_sd"]])
        bound, count = course.of("elbo"), course.of("not_finite")
        return Ascended(
            found[0],
            found[1],
            bound,
            ascent.num_steps,
            int((~np.isfinite(bound) | (count > 0)).sum()),
            reason,
            course.of("gradient_norm"),
            count,
            course.culprit,
        )

    def arrays(self, course: Course) -> dict[str, np.ndarray]:
        """All that the next step needs, by name."""
        ascent, dim = self.ascent, len(self.ascent.begin[0])
        before = [] if course.before is None else [course.before]
        good = ascent.target.loops.to_host(course.good)
        return {
            **ascent.saved(),
            **{f"good.{name}": value for name, value in good.items()},
            **{f"seen.{name}": course.of(name) for name in SEEN},
            "iterates": np.reshape(course.iterates, (-1, 2, dim)),
            "before": np.reshape(before, (-1, 2, dim)),
            "rollbacks": np.int64(course.rollbacks),
            "culprit": np.array(course.culprit),
        }

    def _restored(self, saved: Mapping[str, np.ndarray]) -> Course:
        """What `arrays` gave, with the ascent where it was."""
        ascent = self.ascent
        ascent.restore(saved)
        good = {name: ascent.target.to_device(saved[f"good.{name}"]) for name in ascent.state}
        seen = {name: np.asarray(saved[f"seen.{name}"]) for name in SEEN}
        blocks = (seen,) if len(seen["elbo"]) else ()
        before = saved["before"][0] if len(saved["before"]) else None
        iterates = tuple(saved["iterates"])
        return Course(good, before, iterates, int(saved["rollbacks"]), blocks, str(saved["culprit"]))


def ascend(
    ascent: Ascent,
    callback: Callable[[], bool] | None = None,
    saved: Mapping[str, np.ndarray] | None = None,
    save: Callable[[Callable[[], dict[str, np.ndarray]]], None] | None = None,
) -> Ascended:
    """Run an `Ascent` until it has settled.

    Parameters
    ----------
    ascent : Ascent
        What is run.
    callback : callable, optional
        Asked after every few steps whether to stop.
    saved : mapping, optional
        See `Settling`.
    save : callable, optional
        ``save(make)`` after every few steps; ``make()`` gives the named arrays to go on from.
    """
    engine = Settling(ascent, saved)
    seen = None if save is None else lambda course: save(lambda: engine.arrays(course))
    return engine.fit(*run(engine, None, callback, seen))


def worst(ascent, values: np.ndarray) -> float:
    """The largest over sites of what most parameters of the site are below: few globals count as many locals do."""
    parts = ascent.target.offsets.values()
    return max(
        float(np.quantile(values[..., part], SETTLED_SHARE)) for part in parts if part.stop > part.start
    )


def spacing(ascent) -> int:
    """Steps between iterates: a window goes over all elements."""
    batches = ascent.batches
    if batches is None or batches.target.dim == batches.full.dim:
        return ASCENT_EVERY
    return max(ASCENT_EVERY, -(-ASCENT_PASSES * batches.total // (batches.size * ASCENT_WINDOW)))


def _piloted(ascent) -> float:
    """The rate whose pilot ends with the highest bound; the ascent goes on from there."""
    start, every, best = ascent.state, spacing(ascent), None
    for rate in ASCENT_PILOTS:
        ascent.state, ascent.rate = ascent.copied(start), rate
        elbo = np.concatenate(
            [ascent.advance(every)["elbo"] for _ in range(-(-ASCENT_PILOT_STEPS // every))]
        )[-ASCENT_PILOT_STEPS // 4 :]
        score = np.median(elbo) if np.isfinite(elbo).all() else -np.inf
        if best is None or score > best[0]:
            best = score, rate, ascent.state
    assert best is not None  # there are pilots
    ascent.state = best[2]
    return best[1]


def _halves(window) -> np.ndarray:
    """R̂ of the two halves of a window of iterates, one per parameter."""
    half = len(window) // 2
    one, two = window[:half], window[half:]
    within = 0.5 * (one.var(0, ddof=1) + two.var(0, ddof=1))
    between = 0.5 * (one.mean(0) - two.mean(0)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sqrt(1 + between / within)
    return np.where(within > 0, found, 1.0)

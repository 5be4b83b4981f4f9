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
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PILOTS, PILOT_STEPS = (0.3, 0.1, 0.03), 200
EVERY, WINDOW = 25, 24  # least steps between iterates, and iterates that are compared and averaged
PASSES = 2  # over the data in a window, where elements are moved by the batches that reach them only
MOST_STEPS = 60_000
DRIFT = 1.1  # R̂ of the halves of a window below which a parameter stands still
SETTLED = 0.05  # sds, and change of a log sd, between averages that are taken to agree
SHARE = 0.95  # of the parameters of each site that must do so
ROLLBACKS = 8
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


@dataclass
class Course:
    """What an ascent remembers between blocks of steps."""

    good: Any
    before: np.ndarray | None = None
    iterates: list = field(default_factory=list)
    rollbacks: int = 0
    seen: list = field(default_factory=list)
    culprit: str = ""

    def saved(self, ascent) -> dict[str, np.ndarray]:
        """All that the next block needs, as named arrays."""
        shape = (0, 2, len(ascent.begin[0]))
        before = [] if self.before is None else [self.before]
        good = ascent.target.loops.to_host(self.good)
        return {
            **ascent.saved(),
            **{f"good.{name}": value for name, value in good.items()},
            **{f"seen.{name}": self.of(name) for name in SEEN},
            "iterates": np.reshape(self.iterates, (-1, *shape[1:])),
            "before": np.reshape(before, (-1, *shape[1:])),
            "rollbacks": np.int64(self.rollbacks),
            "culprit": np.array(self.culprit),
        }

    @classmethod
    def restored(cls, ascent, saved: Mapping[str, np.ndarray]) -> Course:
        """What `saved` gave, with the ascent where it was."""
        ascent.restore(saved)
        good = {name: ascent.target.to_device(saved[f"good.{name}"]) for name in ascent.state}
        seen = {name: np.asarray(saved[f"seen.{name}"]) for name in SEEN}
        blocks = [seen] if len(seen["elbo"]) else []
        before = saved["before"][0] if len(saved["before"]) else None
        return cls(
            good, before, list(saved["iterates"]), int(saved["rollbacks"]), blocks, str(saved["culprit"])
        )

    def of(self, name: str) -> np.ndarray:
        """One of the traces over all steps so far."""
        return np.concatenate([np.zeros(0), *(block[name] for block in self.seen)])


def ascend(
    ascent,
    callback: Callable[[], bool] | None = None,
    saved: Mapping[str, np.ndarray] | None = None,
    save: Callable[[Callable[[], dict[str, np.ndarray]]], None] | None = None,
) -> Ascended:
    """Run an `Ascent` until it has settled.

    Parameters
    ----------
    ascent : Ascent
    callback : callable, optional
        Asked after every few steps whether to stop.
    saved : mapping, optional
        What a call of an earlier, equal ascent handed to `save`: it goes on from there, to the same result.
    save : callable, optional
        ``save(make)`` after every few steps; ``make()`` gives the named arrays to go on from.
    """
    stop = callback or (lambda: False)
    if saved is None:
        ascent.rate = _piloted(ascent)
        course = Course(ascent.copied(ascent.state))
    else:
        course = Course.restored(ascent, saved)
    reason = ""
    while not reason:
        reason = _block(ascent, course)
        if save is not None:
            save(lambda: course.saved(ascent))
        if not reason and ascent.num_steps >= MOST_STEPS:
            reason = "step limit"
        if not reason and stop():
            reason = "stopped"
    if course.culprit and reason == "no rate keeps the bound finite":
        reason = f"{reason}: {course.culprit}"
    found = course.before
    if course.iterates and reason in {"stopped", "step limit"}:
        found = np.mean(course.iterates[-WINDOW:], axis=0)
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


def _block(ascent, course: Course) -> str:
    """Some steps, and what they say; the reason to end, where there is one."""
    every = spacing(ascent)
    seen = ascent.advance(every)
    course.seen.append(seen)
    now = np.stack([ascent.params["mean"], ascent.params["log_sd"]])
    bad, sound = ~np.isfinite(seen["elbo"]), bool(np.isfinite(now).all())
    if (bad.any() or not sound) and not course.culprit:
        course.culprit = ascent.culprit(now if sound else None)
    if bad.mean() > 0.5 or not sound:
        course.rollbacks += 1
        ascent.state, ascent.rate, course.iterates = ascent.copied(course.good), 0.5 * ascent.rate, []
        return "no rate keeps the bound finite" if course.rollbacks > ROLLBACKS else ""
    course.iterates.append(now)
    if len(course.iterates) < WINDOW:
        return ""
    window = np.stack(course.iterates[-WINDOW:])
    if worst(ascent, _halves(window)) > DRIFT:
        course.iterates = course.iterates[-WINDOW:]
        if ascent.num_steps // every % (4 * WINDOW):
            return ""
    average, before = window.mean(0), course.before
    course.good, course.iterates, course.before = ascent.copied(ascent.state), [], average
    if before is not None:
        sd = np.exp(average[1])
        change = np.maximum(np.abs(average[0] - before[0]) / sd, np.abs(average[1] - before[1]))
        if worst(ascent, change) < SETTLED:
            return "settled"
    ascent.rate *= 0.5
    return "the rate is spent" if ascent.rate < 1e-5 else ""


def worst(ascent, values: np.ndarray) -> float:
    """The largest over sites of what most parameters of the site are below: few globals count as many locals do."""
    parts = ascent.target.offsets.values()
    return max(float(np.quantile(values[..., part], SHARE)) for part in parts if part.stop > part.start)


def spacing(ascent) -> int:
    """Steps between iterates: a window goes over all elements."""
    batches = ascent.batches
    if batches is None or batches.target.dim == batches.full.dim:
        return EVERY
    return max(EVERY, -(-PASSES * batches.total // (batches.size * WINDOW)))


def _piloted(ascent) -> float:
    """The rate whose pilot ends with the highest bound; the ascent goes on from there."""
    start, best, every = ascent.state, None, spacing(ascent)
    for rate in PILOTS:
        ascent.state, ascent.rate = ascent.copied(start), rate
        elbo = np.concatenate([ascent.advance(every)["elbo"] for _ in range(-(-PILOT_STEPS // every))])[
            -PILOT_STEPS // 4 :
        ]
        score = np.median(elbo) if np.isfinite(elbo).all() else -np.inf
        if best is None or score > best[0]:
            best = score, rate, ascent.state
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

"""Chains drawn until it is enough, in the coordinates in which an answer costs less.

Chains begin in the coordinates that the fit offers. Where an answer there is dear, pilots in the metric of the
draws say what chains from nothing would take and what an effective draw costs; the cheapest coordinates are kept.
"""

from __future__ import annotations

import time

import numpy as np

from ..evidence.estimates import estimate
from ..evidence.law import Law
from ..evidence.quantities import quantity_values
from ..evidence.verdicts import monte_carlo, tail_shapes
from ..thresholds import (
    ACCEPT,
    DEAR,
    DIVERGENT,
    ENOUGH,
    LARGEST_METRIC,
    MOST_DRAWS,
    MOST_HELD,
    MOVED,
    PLAIN,
    RHAT,
    TAIL,
    TRIED,
)
from .metric import spread
from .nuts import Chains


class Drawing:
    """Chains under way.

    Parameters
    ----------
    chains : Chains
        Where they run; replaced where others turn out cheaper.
    law : Law
        The fit's.
    start : numpy.ndarray, shape (C, dim)
    judged : array of int
        The quantities that are to be known.
    rng : numpy.random.Generator
    watch : Watch
    num_draws : int, optional
        Of each chain; until it is enough by default.
    affordable : float, optional
        Seconds beyond which nothing is begun; what is begun ends when chains from nothing would have.
    keep : callable
        Called with nothing now and then, when there are draws.
    """

    def __init__(  # noqa: PLR0913, PLR0917  what chains under way need
        self, chains, law, start, judged, rng, watch, num_draws, affordable, keep
    ):
        self.chains, self.law, self.start, self.judged = chains, law, start, judged
        self.rng, self.watch = rng, watch
        self.num_draws, self.affordable, self.keep = num_draws, affordable, keep
        self.open = chains.gated and num_draws is None and not chains.superchains
        self.clock = chains.target.density.clock
        self.compiled, self.begin = self.clock["compile"], time.perf_counter()

    @property
    def spent(self) -> float:
        """Seconds so far, compilation left out."""
        return time.perf_counter() - self.begin - (self.clock["compile"] - self.compiled)

    @property
    def drawn(self) -> int:
        """Draws of each chain."""
        return sum(z.shape[1] for z in self.chains.z)

    def stop(self) -> bool:
        """Whether to end; called after every chunk."""
        if self.chains.z:
            self.keep()
        return self.watch.stop() or self._dear() > 0 or self._over()

    def run(self) -> str:
        """Warm up and draw; why it ended."""
        chains = self.chains
        first = chains.first if self.num_draws is None else min(self.num_draws, chains.first)
        chains.begin(self.start, self.rng)
        self._extended(first, lambda: self.stop() or self._look())
        if self._look():
            self._compare()
            self._extended(first - self.drawn, self.stop)
        if self._dear():
            return self._beyond(self._dear())
        self._tamed(first)
        while not self.stop():
            if self.num_draws is not None:
                if self.drawn >= self.num_draws:
                    self.chains.cut(self.num_draws)
                    return "as many as were asked for"
                self.chains.extended(self.num_draws - self.drawn, self.stop)
                continue
            found, likely, held = needed(self.chains.target, self.chains.law(), self.judged)
            self.watch.saw({"draws": self.drawn, "draws_wanted": self.drawn * found}, self.drawn)
            if found <= 1:
                return "enough"
            ahead = self._ahead(self.chains, likely) * self.chains.pace
            if self.open and ahead > DEAR:
                self._compare()
                self._extended(first - self.drawn, self.stop)
                continue
            seconds = min(self.spent + ahead, self.chains.pace * self.chains.plain)
            if self.affordable is not None and seconds > self.affordable:
                return self._beyond(seconds)
            if self.drawn >= MOST_DRAWS or held * 2 > MOST_HELD:
                return "the most that is kept"
            more = min(self.drawn * np.clip(1.1 * found, 1.25, 4.0), MOST_DRAWS) - self.drawn
            self.chains.extended(int(more), self.stop)
        return "as long as chains from nothing would take" if self._over() else "the time was up"

    def _extended(self, count: int, stop) -> None:
        """Adapt to the end, and draw."""
        self.chains.adapt(self.rng, stop)
        if self.chains.adapted >= self.chains.to_warm:
            self.chains.extended(count, stop)

    def _tamed(self, first: int) -> None:
        """Draw anew with smaller steps where transitions diverge, as far as time allows."""
        for accept in ACCEPT[1:]:
            if not self.chains.z or self.stop() or np.mean(self.chains.joined["diverging"]) < DIVERGENT / 2:
                return
            kept = self.chains.z, self.chains.stats
            try:
                self.chains.again(accept, self.rng, self.stop)
                self._extended(first, self.stop)
            finally:  # of an interrupt too
                if not self.chains.z:
                    self.chains.z, self.chains.stats = kept

    def _over(self) -> bool:
        return self.affordable is not None and self.chains.over

    def _look(self) -> bool:
        """Whether the first draws are dear enough for a look at other coordinates."""
        return self.open and self.spent > DEAR and not self.watch.stop()

    def _dear(self) -> float:
        """What the first draws will have cost at this pace, where that is too much."""
        chains = self.chains
        if self.affordable is None or self.open or chains.z or not chains.num_warmup:
            return 0.0
        least = self.spent * (chains.to_warm + chains.first) / chains.num_warmup
        return least if least > self.affordable else 0.0

    def _beyond(self, seconds: float) -> str:
        return (
            f"not affordable: a pilot projects {seconds:.0f} s or more, {self.affordable:.0f} s are allowed"
        )

    def _compare(self) -> None:
        """Pilot chains in the sds and in the covariance of the draws, and keep those in which an answer costs less."""
        own, self.open = self.chains, False
        z, weights = (np.concatenate(own.z, 1), None) if own.z else (self.law.z, self.law.weights)
        start, flat = z[:, -1] if own.z else self.start, z.reshape(-1, z.shape[-1])
        rivals: list[Chains] = []
        for dense in (False, True):
            place = spread(flat, weights, LARGEST_METRIC if dense else 0)
            if place is None or (rivals and place.scale.ndim == 1):
                continue
            words = f"in the {'metric' if dense else 'sds'} of the first draws"
            rival = Chains(own.target, place, True, own.kernel, chunk=own.chunk, why=words)
            rivals.append(rival)
            rival.begin(start, self.rng)
            rival.adapt(self.rng, self.watch.stop)
            rival.extended(TRIED, self.watch.stop)
            if not rival.z:
                return
        if not rivals:
            return
        plain = PLAIN * rivals[0].joined["num_steps"].sum() / TRIED
        tried = [own, *rivals]
        costs = [self._left(chains) * _ratio(chains, rivals[0]) for chains in tried]
        best = tried[int(np.argmin(costs))]
        spent = sum(chains.num_gradients * _ratio(chains, best) for chains in tried if chains is not best)
        best.plain = plain * _ratio(rivals[0], best) - spent
        seconds = [
            f"{cost * rivals[0].pace:.0f} s {chains.why}" for chains, cost in zip(tried, costs, strict=True)
        ]
        best.why += f" (pilots project {', '.join(seconds)})"
        self.chains = best

    def _left(self, chains: Chains) -> float:
        """Gradients to an answer."""
        if not chains.z:
            if not chains.iterations:
                return np.inf
            left = chains.to_warm - chains.adapted + chains.first
            return chains.num_gradients / chains.iterations * left
        return self._ahead(chains, needed(chains.target, chains.law(), self.judged)[1])

    @staticmethod
    def _ahead(chains: Chains, likely: float) -> float:
        """Gradients to an answer that takes so many times the draws."""
        return chains.joined["num_steps"].sum() * max(likely - 1, 0.0)


def _ratio(one: Chains, other: Chains) -> float:
    """Gradients of the other that cost one of the first; in like coordinates they are alike, whatever a clock says."""
    return 1.0 if one.place.layers is other.place.layers else one.pace / other.pace


def needed(target, law: Law, judged) -> tuple[float, float, int]:
    """How many times as many draws the judged quantities need, what to project from, and how many values are held.

    Where tails are so heavy that an sd will not be known, however many draws there are, nothing waits for it; few draws
    do not show all of these, so that a projection leaves out those also that may be such.
    """
    values, _ = quantity_values(target, law.z)
    held, values = values.size, values[:, judged]
    moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
    if not moving.any():
        return 0.0, 0.0, held
    values = values[:, moving]
    size = len(values) / law.inefficiency(values)
    noise = monte_carlo(estimate(values, None, len(values) / size)) / 0.95
    known = likely = 0.0
    for worst in np.argsort(-noise):
        shape = tail_shapes(values[:, [worst]])[0] if noise[worst] > 1 else -np.inf
        if shape < TAIL:
            known = max(known, noise[worst])
        if shape < TAIL / 2:
            likely = noise[worst]
            break
    apart = 2.0 if law.rhat(values).max() > RHAT else 0.0
    moved = 0.0 if law.long else MOVED * law.num_chains / size.min()
    others = max(ENOUGH / size.min(), apart, moved)
    return max(known**2, others), max(likely**2, others), held

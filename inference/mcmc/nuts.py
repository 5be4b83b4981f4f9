"""Chains: where they run, where they begin, and what a pilot says they will cost.

References
----------
Hoffman & Gelman (2014), The No-U-Turn Sampler, JMLR 15. Hoffman et al. (2019), NeuTra-lizing bad geometry in
Hamiltonian Monte Carlo using neural transport. Zhang et al. (2022), Pathfinder, JMLR 23.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...guides.flow import Spline
from ...guides.transport import Affine
from ...ppl.interrupts import deferred
from ..evidence.chains import slowest
from ..evidence.law import Law
from ..evidence.mixing import split_rhat
from ..evidence.outcome import Outcome
from ..thresholds import (
    ACCEPT,
    FIRST,
    FIRST_OF_MANY,
    FREE_METRIC,
    FREE_STEPS,
    HARDLY_MOVED,
    LARGE_LOCATION,
    LARGE_SCALE,
    LOCKSTEP_WARMUP,
    LONG_WARMUP,
    MEETING,
    NUTS_CALL,
    PILOT,
    PLAIN,
    SHORT_CALL,
    STEPS,
    TOGETHER,
    WARMUP,
)
from .hmc import Lockstep, first_step
from .metric import spread


@dataclass
class Chains:
    """Chains under way: draws ``(C, T, dim)`` of the target's coordinates and what the sampler says of each."""

    target: Any
    place: Affine | Spline
    gated: bool
    kernel: str = "nuts"
    own: bool = False  # whether the metric was theirs to find, as that of chains from nothing is
    accept: float = ACCEPT[0]
    chunk: int = NUTS_CALL
    superchains: int = 0
    state: Any = None
    z: list = field(default_factory=list)
    stats: list = field(default_factory=list)
    num_warmup: int = 0
    why: str = ""
    adapted: int = 0  # iterations of the warm-up that is under way
    late: list = field(default_factory=list)  # points of its later half, until it is looked at
    num_gradients: int = 0
    seconds: float = 0.0  # of these, compilation left out
    plain: float = np.inf  # gradients that chains from nothing would take, where a pilot found them
    iterations: int = 0

    @property
    def sampler(self):
        """The backend's, or the one in lockstep, in this metric."""
        if self.kernel == "hmc":
            return Lockstep(self.target, self.place, self.to_warm, not self.gated, self.superchains)
        if self.gated:
            return self.target.sampler(WARMUP, None, self.place.layers)
        metric = "dense" if self.target.dim <= FREE_METRIC else "diagonal"
        return self.target.sampler(LONG_WARMUP, metric)

    @property
    def to_warm(self) -> int:
        """Iterations of a warm-up."""
        if self.gated:
            return WARMUP
        return LOCKSTEP_WARMUP if self.superchains and self.kernel == "hmc" else LONG_WARMUP

    def warmed(self, start: np.ndarray, rng, stop) -> None:
        """Begin at `start`, shape ``(C, dim)``, and adapt."""
        self.begin(start, rng)
        self.adapt(rng, stop)

    def begin(self, start: np.ndarray, rng) -> None:
        """Stand at `start`, shape ``(C, dim)``, with nothing adapted."""
        place, (value, grad) = self.place, self.target.value_and_grad(start)
        x = place.inverse(start)[0]
        step = first_step(self.target.dim) if self.gated else 0.1
        value = value + place.forward(x)[1] - place.log_det  # the sampler's has no constant either
        grad = place.pullback(x, grad)
        seeds, own = rng.integers(0, 2**31, len(start)), self.target
        given = place.frame, own.data, own.weights
        self.state = self.sampler.begin(seeds, x, value, grad, step, self.accept, *given)
        self.adapted, self.late = 0, []

    def adapt(self, rng, stop) -> None:
        """Go on with the warm-up until it is over or `stop` says so."""
        while self.adapted < self.to_warm and not stop():
            found = self._chunk()
            self.num_warmup += self.chunk
            self.adapted += self.chunk
            if self.gated or not MEETING // 2 < self.adapted <= MEETING:
                continue
            self.late.append(self._points(found["x"]))
            if self.adapted == MEETING and self.take_metric(np.concatenate(self.late, 1)):
                self.begin(self.late[-1][:, -1], rng)

    @property
    def over(self) -> bool:
        """Whether chains from nothing would have ended."""
        return self.num_gradients > self.plain or (self.own and self.iterations >= PLAIN)

    @property
    def pace(self) -> float:
        """Seconds of a gradient, with what the sampler does around it."""
        return self.seconds / max(self.num_gradients, 1)

    def _points(self, x: np.ndarray) -> np.ndarray:
        return self.place.forward(x.reshape(-1, x.shape[2]))[0].reshape(x.shape)

    def _chunk(self):
        clock, counter, begin = self.target.density.clock, self.target.counter, time.perf_counter()
        compiled, counted = clock["compile"], counter.num_gradients
        self.state, found = self.sampler.run(self.state, self.chunk)
        count = int(found["num_steps"].sum())
        self.seconds += time.perf_counter() - begin - (clock["compile"] - compiled)
        self.num_gradients += count
        self.iterations += self.chunk
        if counter.num_gradients == counted:  # within the backend nothing is counted
            counter.num_gradients += count
            counter.num_densities += count
        return found

    def extended(self, count: int, stop) -> None:
        """Draw `count` more of each chain, in whole chunks, unless the time is up."""
        whole = self.chunk if self.superchains else NUTS_CALL  # the pace decides when to look, not how many
        for _ in range(-(-count // whole) * whole // self.chunk):
            if stop():
                return
            found = self._chunk()
            with deferred():  # draws and what is known of them
                self.z.append(self._points(found.pop("x")))
                self.stats.append(found)

    def cut(self, count: int) -> None:
        """Keep the first `count` draws of each chain."""
        self.stats = [{name: kept[:, :count] for name, kept in self.joined.items()}]
        self.z = [np.concatenate(self.z, 1)[:, :count]]

    def again(self, accept: float, rng, stop) -> None:
        """Forget the draws and adapt to another acceptance, in the metric of the draws where the chains have met, or else in the
        one that chains in lockstep have found."""
        z = np.concatenate(self.z, 1)
        if not (self.gated or self.take_metric(z)) and self.kernel == "hmc":
            before: Any = self.place  # independent units, until a metric is found
            found, own = self.state.place.frame.scale, before.scale
            self.place = Affine(before.mean, own * found if found.ndim == 1 else own[:, None] * found)
            self.gated = True
        self.accept, self.z, self.stats = accept, [], []
        self.warmed(z[:, -1], rng, stop)

    def take_metric(self, z: np.ndarray) -> bool:
        """Take the metric of draws ``(C, T, dim)`` of all chains together, if these have met; whether they have."""
        if split_rhat(z).max() > TOGETHER:
            return False
        place = spread(z[:, ::2].reshape(-1, z.shape[2]))
        if place is None:
            return False
        self.place, self.gated = place, True
        return True

    def law(self) -> Law:
        """What the draws are."""
        z = np.concatenate(self.z, 1)
        stats = self.joined
        flat = z.reshape(-1, z.shape[2])
        diverging = stats["diverging"].ravel().astype(bool)
        sd = flat.std(0)
        moved = slowest((z - flat.mean(0)) / np.where(sd > 0, sd, 1.0))
        return Law(
            "mcmc",
            flat,
            None,
            len(z),
            float(diverging.mean()),
            flat[diverging],
            moved,
            stats,
            self.superchains,
        )

    @property
    def first(self) -> int:
        """Draws of each chain before they are first judged."""
        return FIRST_OF_MANY if self.superchains else FIRST

    @property
    def joined(self) -> dict[str, np.ndarray]:
        """The sampler's statistics, ``(C, T)`` each."""
        return {name: np.concatenate([s[name] for s in self.stats], 1) for name in self.stats[0]}


def begun(target, outcome: Outcome, kernel: str = "nuts") -> Chains:
    """Chains in the frame that the evidence allows."""
    law, fitted = outcome.law, outcome.fitted
    why = _unsettled(outcome)
    if why is None and getattr(fitted, "layers", None) is not None and outcome.usable:
        return Chains(target, fitted, True, kernel, why="in the flow's base coordinates")
    affine = spread(law.z, law.weights) if why is None else None
    if affine is None:
        why = why or "a metric of their own, as the fit has no spread"
        return Chains(target, Affine(*target.units), False, kernel, own=True, why=why)
    return Chains(
        target, affine, True, kernel, why=f"in the fit's {'sds' if affine.scale.ndim == 1 else 'metric'}"
    )


def _unsettled(outcome: Outcome) -> str | None:
    """Why the fit's metric is not kept; None where the evidence speaks for it."""
    law, stein = outcome.law, outcome.stein
    if law.kind == "mcmc":
        hardly = law.slowest < HARDLY_MOVED
        return "a metric of their own, as the short chains had hardly moved" if hardly else None
    if outcome.without:
        return "from dispersed points"
    if not outcome.usable:
        return "a metric of their own, as the fit's weights are heavy-tailed"
    if stein is not None and hasattr(stein, "worst"):
        location, scale = stein.worst
        if location > LARGE_LOCATION or scale > LARGE_SCALE:
            return "a metric of their own, as the fit's residuals are large"
    return None


def starts(target, outcome, num_chains, rng) -> np.ndarray | None:
    """Draws of the law at which the density and its gradient are finite; None where there are none."""
    law = outcome.law
    points = law.z[law.resample(16 * num_chains, rng)]
    with np.errstate(all="ignore"):
        value, grad = target.value_and_grad(points)
    good = np.isfinite(value) & np.isfinite(grad).all(1)
    if not good.any():
        return None
    return points[good][np.arange(num_chains) % good.sum()]


def least_seconds(chains: Chains, start) -> float:
    """What warm-up and the first draws will take at the least, from the time of a gradient; sets the chunks."""
    rows = np.arange(max(len(start), chains.target.batch)) % len(start)  # as rows are padded to
    points = start[rows]
    chains.target.value_and_grad(points[: len(start)])  # compiled
    begin = time.perf_counter()
    chains.target.value_and_grad(points)
    share = len(start) / len(points)
    each = share * (time.perf_counter() - begin) * (STEPS if chains.gated else FREE_STEPS)
    if chains.superchains or each * NUTS_CALL > PILOT:
        chains.chunk = SHORT_CALL if each * SHORT_CALL < PILOT else 1
    return each * (chains.to_warm + chains.first)

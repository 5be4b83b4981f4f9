"""Short parallel chains from the guide, where its weighted draws leave something to establish."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...guides.transport import Affine, Gaussian
from ..evidence.chains import Chains, short_chains, slowest
from ..evidence.estimates import estimate
from ..evidence.finding import Finding
from ..evidence.law import Law
from ..evidence.quantities import quantity_values
from ..evidence.verdicts import monte_carlo
from ..thresholds import (
    CACHED,
    CAREFUL_ACCEPT,
    CHAIN_NUMBERS,
    DEAR_NUMBERS,
    DIVERGENT,
    ENOUGH_NOISE,
    LARGEST_BLOCK,
    LARGEST_SEARCH,
    LEAST_ACCEPTANCE,
    LEAST_CHAIN_GRADIENTS,
    LEAST_CHAINS,
    LEAST_SHORT_DRAWS,
    LONGER_DRAWS,
    MOST_CHAIN_GRADIENTS,
    MOST_SHORT_DRAWS,
    MOVED,
    NUM_CHAINS,
    SHORT_ACCEPT,
    SHORT_DRAWS,
    SHORT_WARMUP,
    STEPS,
    WIDE_NUMBERS,
    WORTHWHILE_DRAWS,
)
from .climb import Line
from .run import Run
from .state import State
from .weigh import short


@dataclass(frozen=True)
class ShortChains:
    """Chains whose drift bounds the guide's error from below, and which establish what they have moved through."""

    name = "short chains"
    words = "short chains from the guide"
    always = False
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        open_ = state.extensible and state.pool is not None and short(state)
        return "the weights leave something to establish" if open_ else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return "hmc"

    def price(self, state: State) -> float:
        """See `Stage.price`: what the first round takes."""
        return float(chains_of(state)[0] * (SHORT_WARMUP + SHORT_DRAWS) * STEPS)

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line | None]:
        """See `Stage.run`."""
        count, budget = chains_of(state)
        if count < LEAST_CHAINS:
            return state, None
        found = _drawn(state, run, count, budget)
        if found is None:
            return state, None
        law, chains = found
        if chains.accept < LEAST_ACCEPTANCE:
            law = replace(law, slowest=0.0)
        state = replace(state, law=law).found(*_findings(chains))
        words = f"{count} chains × {chains.z.shape[1]} draws, acceptance {chains.accept:.2f}"
        return state, Line("hmc", words)


def chains_of(state: State) -> tuple[int, int]:
    """How many chains, and how many gradients they may take: seconds on any machine, and the same gradients on all."""
    target, wide = state.target, state.wide and not state.nonlinear
    count = NUM_CHAINS
    budget = int(np.clip(CHAIN_NUMBERS / target.work, LEAST_CHAIN_GRADIENTS, MOST_CHAIN_GRADIENTS))
    if wide or target.work > LARGEST_SEARCH:
        budget = int(min((WIDE_NUMBERS if wide else DEAR_NUMBERS) / target.work, LEAST_CHAIN_GRADIENTS))
        count = min(count, 4 * LARGEST_BLOCK // (SHORT_DRAWS * target.dim), budget // 800)
    return count, budget


def chains_price(state: State) -> float:
    """Gradients in which short chains come to an answer where they soon do: those of two rounds."""
    each = 2 * SHORT_WARMUP + SHORT_DRAWS + LONGER_DRAWS
    return float(chains_of(state)[0] * each * STEPS)


def _starts(state: State, count: int, rng) -> np.ndarray:
    """Draws of the pool by their weights; where these fail, they say little of where the mass is, and the guide's count."""
    pool = state.pool
    chance = np.minimum(pool.weights, 4.0 / count) if pool.usable else 1.0 * pool.from_guide
    return pool.z[rng.choice(len(pool.z), count, p=chance / chance.sum())]


@dataclass(frozen=True, eq=False)
class Round:
    """A round of draws: where it begins, in which frame, how many, and with which steps."""

    start: np.ndarray
    frame: Gaussian
    length: int = SHORT_DRAWS
    accept: float = SHORT_ACCEPT
    on: bool = False  # whether it goes on from the one before, without a warm-up


def _drawn(state: State, run: Run, count: int, budget: int) -> tuple[Law, Chains] | None:
    """Rounds of draws, until all is settled or too dear."""
    rng, target = run.stream(2), state.target
    density = run.density(state, NUM_CHAINS if NUM_CHAINS * target.work < CACHED else None)
    before = target.counter.num_gradients
    this = Round(_starts(state, count, rng), state.frame)
    chains: Chains | None = None
    result: tuple[Law, Chains] | None = None
    while True:
        with np.errstate(all="ignore"):
            more = short_chains(
                density, this.start, this.frame, rng,
                num_warmup=0 if this.on else SHORT_WARMUP, num_draws=this.length, callback=run.stop,
                target=this.accept, step_size=chains.step_size if this.on and chains is not None else None,
                renew=chains is None and not state.wide,
            )  # fmt: skip
        if not this.on and more.z.shape[1] < LEAST_SHORT_DRAWS:
            return result
        chains = chains.joined(more) if this.on and chains is not None else more
        law = _law(this.frame, chains)
        first, result = result is None, (law, chains)
        values, _ = quantity_values(target, law.z)
        spent = target.counter.num_gradients - before
        ahead = spent + more.num_gradients * chains.z.shape[1] / more.z.shape[1]
        full = 2 * values.size > 4 * LARGEST_BLOCK or chains.z.shape[1] >= MOST_SHORT_DRAWS
        if run.stop() or ahead > budget or full or not _promising(law, chains, values, spent, budget):
            return result
        this = _next(this, law, chains, first, state.wide)


def _law(frame: Gaussian, chains: Chains) -> Law:
    """What the chains' draws are."""
    count, _, dim = chains.z.shape
    flat = chains.z.reshape(-1, dim)
    moved = slowest(frame.inverse(flat)[0].reshape(count, -1, dim))
    return Law("mcmc", flat, None, count, chains.divergent, chains.divergent_z, moved)


def _promising(law: Law, chains: Chains, values: np.ndarray, spent: int, budget: int) -> bool:
    """Whether something is open still that more draws would settle within the budget."""
    drawn, inefficiency = chains.z.shape[1], law.inefficiency(values)
    moving = values.std(0) > 1e-12 * np.abs(values.mean(0))
    noise = monte_carlo(estimate(values, None, inefficiency))[moving].max(initial=0.0)
    moved = (drawn / np.broadcast_to(inefficiency, moving.shape))[moving].min(initial=np.inf)
    growth = max((noise / ENOUGH_NOISE) ** 2, (MOVED + 1) / moved)  # of the chains until all is settled
    settled = growth < 1 and not _diverging(chains)
    worthwhile = drawn < WORTHWHILE_DRAWS or growth * spent < budget / 2 or 1.5 < moved < 3
    return worthwhile and not settled


def _diverging(chains: Chains) -> bool:
    return chains.divergent > DIVERGENT / 2


def _next(this: Round, law: Law, chains: Chains, first: bool, wide: bool) -> Round:
    """The round that follows: twice as many draws, or again from where they are with other steps or another frame."""
    diverging = _diverging(chains)
    on = not first and not (diverging and this.accept == SHORT_ACCEPT)
    accept = CAREFUL_ACCEPT if diverging else this.accept
    frame: Gaussian = this.frame
    if not on and not wide:
        flat = law.z
        frame = Affine(flat.mean(0), np.linalg.cholesky(np.cov(flat.T) + np.diag(1e-12 * flat.var(0))))
    return Round(chains.z[:, -1], frame, chains.z.shape[1] if on else LONGER_DRAWS, accept, on)


def _findings(chains: Chains):
    """What the chains' steps say of the posterior."""
    if chains.accept < LEAST_ACCEPTANCE:
        yield Finding(
            "short chains",
            "fit",
            chains.accept,
            LEAST_ACCEPTANCE,
            "untrusted",
            f"The chains accept {chains.accept:.0%} of their steps: no step size suits the whole of this "
            "posterior. Its tails may be very heavy, or its scales far apart.",
        )
    if chains.divergent > DIVERGENT:
        yield Finding(
            "divergences",
            "fit",
            chains.divergent,
            DIVERGENT,
            "caution",
            f"{chains.divergent:.1%} of the chains' transitions diverged: a region of high curvature is "
            "not explored. A non-centred parametrisation often mends it.",
        )

"""Gaussians at all the modes that were found, weighed together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...guides.mixture import Mixture
from ...guides.transport import packed
from ..evidence.chains import parted
from ..evidence.estimates import estimate
from ..evidence.finding import Finding
from ..evidence.law import Law
from ..evidence.mixture import Mixed, Part, gather, missed, weigh
from ..evidence.quantities import quantity_values
from ..evidence.verdicts import largest_noise
from ..thresholds import (
    CHAIN_DRIFT,
    DRAWS_PER_KEPT,
    ENOUGH_NOISE,
    FEW_DIMENSIONS,
    FIRST_POOL,
    GATHERED,
    HARDLY_MOVED,
    KHAT_TRUSTED,
    LARGEST_BLOCK,
    LARGEST_MIXTURE,
    LARGEST_POOL,
    MODES_APART,
    MOST_SEARCHED,
    MOVED,
)
from .climb import Line
from .flow import ELSEWHERE
from .other_modes import scouts, symmetries_at
from .run import Run
from .short_chains import chains_of
from .state import State


@dataclass(frozen=True)
class Modes:
    """A mixture, where starts ended elsewhere or chains leave open what several modes would explain."""

    name = "modes"
    words = "fitting the other modes"
    always = True  # what was found elsewhere condemns until it is weighed
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        if state.objection is not None or state.pool is None:
            return None
        if state.elsewhere:
            return "starts ended elsewhere"
        return (
            "chains leave open what several modes would explain" if stuck(state) and _likely(state) else None
        )

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return Mixture.name

    def price(self, state: State) -> float:
        """See `Stage.price`: what is looked at around every mode, and a pool."""
        return float(
            max(len(state.elsewhere), 1) * (scouts(state) + GATHERED * state.target.dim) + FIRST_POOL
        )

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        objection = ELSEWHERE if state.elsewhere else None
        return replace(state, objection=objection, unweighed="the fit of the modes failed")

    def run(self, state: State, run: Run) -> tuple[State, Line | None]:
        """See `Stage.run`."""
        run.keep(self.failed(state))  # until all of them are weighed
        if state.named or state.simple or state.wide or state.target.dim > LARGEST_MIXTURE:
            words = "no mixture is fitted beside a guide named by the user, in many dimensions, or for outcomes that "
            return self._refused(state, f"{words}tell too little", ()), None
        density, rng, law = run.density(state), run.rng(10), state.law
        counter = state.target.counter
        most = counter.num_gradients + (
            MOST_SEARCHED * self.price(state) if state.elsewhere else chains_of(state)[1]
        )
        leads = law.z[law.resample(16, rng)]
        if state.elsewhere:
            leads = np.stack([f.z for f in state.elsewhere])

        def stop() -> bool:
            return run.stop() or counter.num_gradients > most

        parts = gather(density, packed(state.frame), leads, rng, state.symmetries, scouts(state), stop)
        if isinstance(parts, str) and stop() and not run.stop():
            parts = "the search took more than it may"
        if isinstance(parts, str):
            return self._refused(state, parts, ()), Line(Mixture.name, parts)
        if len(parts) == 1:
            words = "fits from there did not end at another mode"
            return self._refused(state, words, _away(state, parts)), Line(Mixture.name, words)
        mixed = _grown(state, run, weigh(density, parts, FIRST_POOL, rng), rng)
        masses = ", ".join(f"{mass:.2g}" for mass in mixed.masses)
        words = f"{len(mixed.masses)} Gaussians with masses {masses}"
        seen = {"elbo": mixed.pool.elbo[0], "elbo_se": mixed.pool.elbo[1], "khat": mixed.khat}
        sound = mixed.pool.usable if state.elsewhere else mixed.khat < KHAT_TRUSTED
        if not sound:
            words = f"the weights of {words} are heavy-tailed (k̂ {mixed.khat:.2f})"
            return self._refused(state, words, _away(state, parts)), Line(Mixture.name, words, seen)
        return self._taken(state, run, mixed), Line(Mixture.name, words, seen)

    def _refused(self, state: State, why: str, away) -> State:
        """What no mixture weighs condemns, where there is anything elsewhere."""
        found = (*state.elsewhere, *away)
        return replace(state, elsewhere=found, unweighed=why, objection=ELSEWHERE if found else None)

    def _taken(self, state: State, run: Run, mixed: Mixed) -> State:
        """The mixture in place of the guide."""
        family = Mixture()
        symmetries = symmetries_at(state, run, mixed.scattered(run.rng(5)))
        state = replace(
            state,
            family=family,
            guide=family.bind(state.target),
            fitted=mixed.law,
            pool=mixed.pool,
            law=Law("psis", mixed.pool.z, mixed.pool.weights),
            stein=mixed.stein,
            best=mixed.frame,
            frame=mixed.frame,
            symmetries=symmetries,
            objection=None,
        )
        return state.found(_apart(mixed)) if mixed.apart > MODES_APART else state


def stuck(state: State) -> bool:
    """Whether chains leave something open that several modes would explain."""
    law = state.law
    if law.kind != "mcmc":
        return False
    values, _ = quantity_values(state.target, law.z)
    live = values.std(0) > 1e-12 * np.abs(values.mean(0))
    if not live.any():
        return False
    inefficiency = law.inefficiency(values)
    moved = len(law.z) / law.num_chains / np.broadcast_to(inefficiency, live.shape)
    drifting = law.drift(values, inefficiency)[live].max() > CHAIN_DRIFT
    return bool(law.slowest < HARDLY_MOVED or moved[live].min() < MOVED or drifting)


def _likely(state: State) -> bool:
    """Whether chains that are stuck may be so in several modes: in few dimensions a search is cheap."""
    target, law = state.target, state.law
    if target.dim <= FEW_DIMENSIONS:
        return True
    x = state.frame.inverse(law.z)[0].reshape(law.num_chains, -1, target.dim)
    return target.dim <= LARGEST_MIXTURE and parted(x)


def _away(state: State, parts) -> list:
    """Modes that chains have hardly been to: none where the fit's own is the only one, which is where they began."""
    alone = len(parts) == 1 and parts[0].same(Part(packed(state.frame), parts[0].elbo))
    return missed(parts, state.law.z) if state.law.kind == "mcmc" and not alone else []


def _grown(state: State, run: Run, mixed: Mixed, rng) -> Mixed:
    """With as many draws as the Monte Carlo errors ask for."""
    density, least = run.density(state), min(DRAWS_PER_KEPT * state.num_draws, LARGEST_POOL)
    while mixed.pool.usable and len(mixed.pool.z) < LARGEST_POOL and not run.stop():
        values, _ = quantity_values(state.target, mixed.pool.z)
        noise = largest_noise(values, estimate(values, mixed.pool.weights))
        enough = len(mixed.pool.z) >= least and noise < ENOUGH_NOISE
        if enough or values.size > LARGEST_BLOCK:
            break
        mixed = mixed.enlarged(density, rng)
    return mixed


def _apart(mixed: Mixed) -> Finding:
    masses = ", ".join(f"{mass:.2g}" for mass in mixed.masses)
    return Finding(
        "several modes",
        "fit",
        float(len(mixed.masses)),
        None,
        "ok",
        f"The posterior has {len(mixed.masses)} modes, with masses {masses}; the nearest lie "
        f"{mixed.apart:.0f} sds apart. They are fitted and weighed together. Means and sds describe "
        "no single mode: look at the draws. A much narrower mode, in many dimensions above all, may be "
        "met by no start.",
    )

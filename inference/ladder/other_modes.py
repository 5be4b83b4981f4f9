"""Equal modes by the posterior's symmetries, and other ones where starts end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...guides.mean_field import MeanField
from ..evidence.modes import Elsewhere, Search, at_home
from ..evidence.symmetry import Symmetry, find
from ..thresholds import (
    FEW_DIMENSIONS,
    FEWEST_SCOUTS,
    FEWEST_STARTS,
    LARGEST_SEARCH,
    MOST_SCOUTS,
    MOST_STARTS,
    SCOUTS,
    WITHIN,
)
from .centring import carry
from .climb import Line
from .run import Run
from .state import State


@dataclass(frozen=True)
class Symmetries:
    """Exchanges and flips of signs that leave the density as it is at a few draws."""

    name = "symmetries"
    words = ""
    always = True  # a posterior of equal modes must not be taken for one of them
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return "draws may show one of several equal modes" if state.pool is not None else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return ""

    def price(self, state: State) -> float:
        """See `Stage.price`."""
        return 0.0

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return replace(state, objection=state.objection or "the search for symmetries failed")

    def run(self, state: State, run: Run) -> tuple[State, None]:
        """See `Stage.run`."""
        rows = state.law.resample(3, run.rng(5))
        return replace(state, symmetries=symmetries_at(state, run, state.law.z[rows])), None


def symmetries_at(state: State, run: Run, z: np.ndarray) -> tuple[Symmetry, ...]:
    """Symmetries at some points; they are looked for where every site is centred."""
    own = state.target
    plain = own.centred(dict.fromkeys(own.centring, 1.0))
    found = find(plain, run.density(replace(state, target=plain)), carry(own, plain, z))
    if not own.centring:
        return tuple(found)

    def across(apply):
        return lambda z: (carry(plain, own, apply(carry(own, plain, z))[0]), np.zeros(len(z)))

    return tuple(Symmetry(symmetry.words, across(symmetry.apply)) for symmetry in found)


@dataclass(frozen=True)
class OtherModes:
    """Loose fits and ascents from far outside of the draws."""

    name = "other modes"
    words = "looking for other modes"
    always = False
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return "no local evidence sees another mode" if state.pool is not None else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return MeanField.name

    def price(self, state: State) -> float:
        """See `Stage.price`: loose fits of some sixty steps on four draws, and what the scouts look at."""
        return float(2 * _pairs(state) * 60 * 4 + _few(state))

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return replace(state, objection=state.objection or "the search for other modes failed")

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        found = () if state.objection is not None else elsewhere(state, run)
        words = f"{len(found)} starts ended elsewhere" if found else "nothing elsewhere"
        if state.symmetries:
            words += f"; symmetric under {state.symmetries[0].words}"
        return replace(state, elsewhere=tuple(found)), Line(MeanField.name, words)


def scouts(state: State) -> int:
    """Random places around a mode from which narrow ones are looked for."""
    return int(np.clip(SCOUTS // state.target.work, FEWEST_SCOUTS, MOST_SCOUTS))


def _few(state: State) -> int:
    """As `scouts`, around the draws; none in many dimensions, where they meet none."""
    return scouts(state) if state.target.dim <= FEW_DIMENSIONS else 0


def _pairs(state: State) -> int:
    work = state.target.work
    return 1 if work > LARGEST_SEARCH else int(np.clip(LARGEST_SEARCH // work, FEWEST_STARTS, MOST_STARTS))


def elsewhere(state: State, run: Run) -> list[Elsewhere]:
    """Places away from the draws, or narrow ones among them, that hold comparable mass."""
    if run.stop():
        return []
    law, frame, pool = state.law, state.frame, state.pool
    x = frame.inverse(law.z)[0]

    def within(size):
        if law.weights is None:
            return float(np.quantile(size, WITHIN))
        order = np.argsort(size)
        mass = np.cumsum(law.weights[order])
        return float(size[order][np.searchsorted(mass, WITHIN * mass[-1])])

    def mass(inside):
        return inside(x).mean() if law.weights is None else law.weights[inside(x)].sum()

    radius, widest = within(np.linalg.norm(x, axis=1)), within(np.abs(x).max(1))
    outside = np.linalg.norm(frame.inverse(pool.z)[0], axis=1) > radius + 1
    leads = pool.z[outside][np.argsort(-pool.log_weights[outside])[:4]]
    leads = np.concatenate([leads, state.ends])
    if state.target.work > LARGEST_SEARCH:
        leads = state.ends[:1]
    few, volume = _few(state), float(frame.forward(np.zeros((1, frame.dim)))[1][0])  # the same everywhere
    evidence = pool.log_evidence - volume if state.nonlinear and pool.usable else None
    bound, error = pool.elbo
    search = Search(
        run.density(state),
        frame,
        radius,
        widest,
        mass if few else None,
        evidence,
        (bound - volume, error),
        run.stop,
    )
    found = search.run(run.stream(2), leads, 2 * _pairs(state), few)
    away = [f for f in found if f.among or not at_home(f.z, frame, radius, widest, state.symmetries)]
    return [f for f in away if f.among or state.covers is None or not state.covers(f.z)]

"""A flow, where the posterior is bent: in place of chains that leave it open, or of modes that no mixture weighs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...guides.flow import Flow
from ...ppl.errors import GuideError
from ..engines import fit
from ..engines.flow import FlowAscent
from ..evidence.coverage import covers, reaches
from ..evidence.finding import Finding
from ..evidence.pool import draw_pool
from ..thresholds import (
    DIVERGENT,
    FEW_DIMENSIONS,
    FIRST_POOL,
    FLOW_DRAWS,
    FLOW_PRODUCTS,
    LEAST_FLOW_STEPS,
    MANY_DIVERGENCES_WIDE,
    MEAN,
    MOST_FLOW_DIMENSIONS,
    MOST_FLOW_NUMBERS,
    MOST_FLOW_STEPS,
    NEGLIGIBLE,
    NUM_TWINS,
    SD,
)
from .climb import Line
from .other_modes import elsewhere
from .run import Run
from .state import State
from .weigh import enlarged, measured, weighed

ELSEWHERE = "another mode was reached by a dispersed start"
OF_CHAINS = {"short chains", "divergences"}


def affordable(target, family) -> int:
    """Steps that a flow may take by itself; 0 where that is too few to fit one, or no flow can be."""
    try:
        count = len(family.bends(target))
    except GuideError:
        return 0
    if count > MOST_FLOW_DIMENSIONS:
        return 0
    numbers = target.work + target.dim**2 / FLOW_PRODUCTS
    steps = int(min(MOST_FLOW_STEPS, MOST_FLOW_NUMBERS / numbers / FLOW_DRAWS))
    return steps if steps >= LEAST_FLOW_STEPS else 0


def _price(state: State) -> float:
    """Gradients that a flow takes at the most."""
    return float(affordable(state.target, Flow()) * FLOW_DRAWS)


def flow_allowed(state: State) -> bool:
    """Whether a flow may be fitted beside the guide."""
    free = not state.named and not state.lean and not state.simple and not state.wide
    return free and state.pool is not None and affordable(state.target, Flow()) > 0


def inconclusive(state: State) -> bool:
    """Whether chains leave open what longer ones would not settle either."""
    law = state.law
    most = DIVERGENT if state.target.dim <= FEW_DIMENSIONS else MANY_DIVERGENCES_WIDE * DIVERGENT
    return law.kind == "guide" or law.slowest <= 0 or law.divergent > most


@dataclass(frozen=True)
class FlowForChains:
    """A flow whose weighted draws stand for the posterior in place of chains that diverge or hardly move."""

    name = "flow"
    words = "fitting a flow"
    always = False
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        due = state.objection is None and not state.elsewhere and flow_allowed(state) and inconclusive(state)
        return "longer chains would leave it open" if due else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return Flow.name

    def price(self, state: State) -> float:
        """See `Stage.price`."""
        return _price(state)

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        found, line, sound = flow_fitted(state, run)
        return (found if sound else state), line


@dataclass(frozen=True)
class FlowForModes:
    """A flow over all the modes that no mixture could weigh; else a finding on what is known of them."""

    name = "flow"
    words = "fitting a flow"
    always = True  # what was found elsewhere becomes a finding, whatever the time
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return "modes with unknown masses" if state.objection == ELSEWHERE and state.elsewhere else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return Flow.name

    def price(self, state: State) -> float:
        """See `Stage.price`."""
        return _price(state) if flow_allowed(state) else 0.0

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state.found(_unweighed(state))

    def run(self, state: State, run: Run) -> tuple[State, Line | None]:
        """See `Stage.run`."""
        if not flow_allowed(state) or run.stop():
            return state.found(_unweighed(state)), None
        found, line, sound = flow_fitted(state, run)
        return (found if sound else state.found(_unweighed(state))), line


def _unweighed(state: State) -> Finding:
    best = max(state.elsewhere, key=lambda f: f.elbo_gap)
    return Finding(
        "several modes",
        "fit",
        best.elbo_gap,
        -NEGLIGIBLE,
        "untrusted",
        f"A start ended {best.distance:.0f} sds away with an ELBO {best.elbo_gap:+.1f} nats from "
        f"the fit's: the posterior seems to have another mode, and its mass is not known: {state.unweighed}. "
        "Check for symmetries (labels, signs) and order or anchor the parameters.",
    )


def flow_fitted(state: State, run: Run) -> tuple[State, Line, bool]:
    """A state whose law is a flow's, its line, and whether it stands for the posterior.

    It has to cover the draws of the chains and the places found elsewhere, and no other may be found. One that is too dear is
    not begun.
    """
    dear = run.dear(_price(state))
    if dear:
        return state, Line(Flow.name, dear), False
    density, rng, law = run.density(state), run.stream(2), state.law
    family = Flow()
    guide = family.bind(state.target)
    engine = FlowAscent(density, state.target, guide, rng, affordable(state.target, family))
    found = fit(engine, state.frame, run.stop)
    pool = draw_pool(density, found.transport, FIRST_POOL, rng)
    frame, words = pool.around(), found.words
    quiet = tuple(f for f in state.findings if f.name not in OF_CHAINS)
    flown = replace(
        state, family=family, guide=guide, fitted=found.transport, frame=frame, best=frame, findings=quiet
    )
    flown = weighed(flown, pool)
    if pool.usable:
        flown = enlarged(flown, run, rng)
    pool = flown.pool
    location, scale = flown.stein.worst
    sound = bool(pool.usable and location < MEAN and scale < 2 * SD)
    z = law.z[law.resample(NUM_TWINS, rng)]
    if sound and not covers(flown.fitted, pool, z, density(z)[0]):
        sound, words = False, f"{words}; chains were where it has no mass"
    elif sound and state.elsewhere:
        away = [f for f in state.elsewhere if not reaches(flown.fitted, pool, f.z)]
        away += elsewhere(replace(flown, objection=None), run)
        if away:
            sound, words = False, f"{words}; {len(away)} starts ended outside of it"
    return replace(flown, objection=None), Line(f"{Flow.name} + psis", words, measured(pool)), sound

"""The fit of the guide: the engines that its family names, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...guides.family import bound
from ...guides.mean_field import MeanField, independent
from ...guides.structure import UnreadLinks
from ...guides.transport import Affine
from ...ppl.interrupts import deferred
from ..engines import Fit, Problem, engines_of
from ..engines import run as run_engine
from ..evidence.data import unread_links
from ..thresholds import FEWEST_DRAWS, TYPICAL_STEPS, WORSE
from .centring import carry
from .climb import Line
from .recentring import recentred
from .run import Run
from .state import State, dense


@dataclass(frozen=True)
class GuideFit:
    """The guide of the plan, which the links of the posterior refine."""

    name = "fit"
    words = "fitting the guide"
    always = False
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return "a guide is due"

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return (state.family or state.plan.family).name

    def price(self, state: State) -> float:
        """See `Stage.price`: some steps of a natural gradient."""
        return float(TYPICAL_STEPS * max(FEWEST_DRAWS, 0 if state.wide else 2 * state.target.dim))

    def failed(self, state: State) -> State:
        """See `Stage.failed`: nothing was fitted, and the best Gaussian is not at rest."""
        return replace(state, settled=False)

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        plan = state.plan.refined(state.target, state.best)
        state = replace(state.unfitted(plan.family), plan=plan, guide=plan.guide)
        if plan.unread:
            state = state.found(unread_links(plan.unread))
        run.keep(replace(state, settled=False))
        state, words = fitted(state, run)
        return state, Line(plan.family.name, f"{plan.reason}. {words}")


@dataclass(frozen=True)
class PoorerFit:
    """The next family of the plan, where the first found no rest; for everything, that is independent Gaussians."""

    name = "fit"
    words = "fitting the guide"
    always = False
    guarded = False
    kept = "fit"

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        if state.settled or state.family is None:
            return None
        poorer = _poorer(state)
        starts = next((rung.elbo for rung in reversed(state.rungs) if rung.name == "starts"), np.nan)
        better = poorer == MeanField() and state.elbo_trace and state.elbo_trace[-1] > starts
        if state.fitted is not None and (state.plan.next is None or better):
            return None  # not at rest, but better than what comes next
        return "the fit before it found no rest"

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return _poorer(state).name

    def price(self, state: State) -> float:
        """See `Stage.price`: some steps of a natural gradient."""
        return float(TYPICAL_STEPS * max(FEWEST_DRAWS, 0 if state.wide else 2 * state.target.dim))

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        family = _poorer(state)
        state = run.keep(state.unfitted(family))
        state, words = fitted(state, run)
        return replace(state, settled=True), Line(family.name, f"the fit before it found no rest. {words}")


def _poorer(state: State) -> Any:
    return MeanField() if state.plan.next is None else state.plan.next


def fitted(state: State, run: Run) -> tuple[State, str]:
    """Run the engines of a family; the state then, and what was done in words."""
    rng = run.rng(1)
    before: Fit | None = None
    words: list[str] = []
    engines = engines_of(state.family, state.rows)
    for engine in engines:
        if engine.centred:
            state = _centred(state)
        state, before, more = _rounds(engine, state, run, rng, before, engine is engines[-1])
        words += more
    at_rest = not engines[-1].must_rest or run.stop() or (before is not None and before.converged)
    return replace(state, settled=at_rest), "; ".join(words)


def _rounds(engine, state: State, run: Run, rng, before: Fit | None, last: bool):
    """Run an engine, and again where other coordinates of hierarchical sites suit what it found; or round after round."""
    words: list[str] = []
    for number in range(engine.rounds):
        if state.guide is None:
            state = _bound(state, run)
        made = engine.of(_problem(state, run, rng, before, number))
        if made is None:
            break
        found = _fit(made, state, run, last)
        if engine.improves and before is not None and not found.elbo > before.elbo - WORSE:
            break
        state, before = run.keep(_taken(state, found, last)), found
        words = [found.words] if engine.again else [*words, found.words]
        over = engine.again and number + 1 == engine.rounds
        if over or run.stop() or found.elbo == -np.inf:
            break
        with deferred():  # coordinates and the Gaussian in them change together
            moved = recentred(state, run)
            state = run.keep(moved or state)
        if moved is None and engine.again:
            break
    return state, before, [one for one in words if one]


def _problem(state: State, run: Run, rng, before: Fit | None, number: int) -> Problem:
    return Problem(
        density=run.density(state),
        target=state.target,
        guide=state.guide,
        start=state.best,
        rng=rng,
        stop=run.stop,
        rows=state.rows,
        before=before,
        round=number,
        kept=run.checkpoint,
    )


def _fit(engine, state: State, run: Run, last: bool) -> Fit:
    """Run an engine; what it has reached is kept all the while, on disk too where it gives its arrays."""
    arrays = getattr(engine, "arrays", None)

    def seen(inner) -> None:
        if not engine.improves:
            found = engine.fit(inner, "under way")
            if found.elbo != -np.inf:
                run.keep(_reached(state, found, last))
                run.watch.saw(_seen(found))
        if arrays is not None:
            run.checkpoint.keep(lambda: arrays(inner))

    fit = engine.fit(*run_engine(engine, state.best, run.stop, seen))
    for value in fit.trace if engine.improves else ():
        run.watch.saw({"bound": value})
    return fit


def _seen(found: Fit) -> dict[str, float]:
    """What an engine knows after a step."""
    bound = found.trace[-1] if found.trace else None if np.isnan(found.elbo) else found.elbo
    known = {"bound": bound, "gradient_norm": found.gradient_norm}
    return {name: value for name, value in known.items() if value is not None}


def _reached(state: State, found: Fit, last: bool) -> State:
    """With what an engine has reached."""
    best = state.best if found.gaussian is None else dense(found.gaussian)
    return replace(state, best=best, fitted=found.transport if last else state.fitted)


def _taken(state: State, found: Fit, last: bool) -> State:
    """With what an engine has come to, and what it saw on the way."""
    state.target.counter.num_gradients += found.num_gradients
    state = state.followed(found.trace).found(*found.findings)
    if found.steps is not None:
        state = replace(state, steps=found.steps)
    return state if found.elbo == -np.inf else _reached(state, found, last)


def _bound(state: State, run: Run) -> State:
    """With the guide of the family; what is wrong with the analysis of the model is a finding."""
    try:
        return run.keep(replace(state, guide=bound(state.family, state.target, state.best)))
    except UnreadLinks as error:
        run.keep(state.found(unread_links(str(error))))
        raise


def _centred(state: State) -> State:
    """Where every site is centred: batches order the elements in their own way, and one centring suits them all."""
    own = state.target
    if not own.centring:
        return state
    plain, start = own.centred(dict.fromkeys(own.centring, 1.0)), independent(state.best)
    mean, end = carry(own, plain, np.stack([start.mean, start.mean + start.scale]))
    best = Affine(mean, np.clip(np.abs(end - mean), 1e-8, 1e3))
    return replace(state.entered(plain), best=best)

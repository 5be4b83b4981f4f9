"""Fresh draws of the fitted law, with importance weights and residuals: the first evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...guides.family import draw
from ...guides.mean_field import MeanField
from ...guides.transport import Gaussian, packed
from ...ppl.interrupts import interruptible
from ..evidence.coordinates import few_of
from ..evidence.estimates import estimate
from ..evidence.finding import Finding
from ..evidence.law import Law
from ..evidence.pool import Pool, draw_pool
from ..evidence.quantities import quantity_values
from ..evidence.stein import MarginalStein, SharedStein, marginal_stein, stein
from ..evidence.verdicts import POINT_ESTIMATE, largest_noise
from ..marginal.groups import Groups
from ..thresholds import (
    DEAR_POOL,
    DEAREST,
    DRAWS_PER_KEPT,
    ENOUGH_NOISE,
    FAR,
    FIRST_POOL,
    FLAT_DIRECTION,
    KHAT_EASY,
    KHAT_SHARED,
    KHAT_TRUSTED,
    LARGEST_BLOCK,
    LARGEST_POOL,
    LEAN_POOL,
    LEAST_EFFICIENCY,
    LEAST_POOL,
    LOCATION,
    SCALE,
    STOPPED_POOL,
    TRIED_BLOCK,
)
from .climb import FAILURES, Line
from .run import Run
from .state import State


@dataclass(frozen=True)
class PointEstimate:
    """A law without a spread, or of no posterior: there is nothing to weigh."""

    name = "evidence"
    words = ""
    always = True
    guarded = True
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        law = with_law(state).fitted
        if not getattr(law, "spread", True):
            return "a point has no spread"
        return getattr(law, "objection", None)

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return state.plan.family.name

    def price(self, state: State) -> float:
        """See `Stage.price`."""
        return 0.0

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, None]:
        """See `Stage.run`."""
        state = with_law(state)
        why = getattr(state.fitted, "objection", None)
        z = state.fitted.sample(2) if why is None else draw(state.fitted, state.num_draws, run.stream(2))
        return replace(state, law=Law("guide", z), objection=why or POINT_ESTIMATE), None


@dataclass(frozen=True)
class Weigh:
    """A pool of draws; more of them while that is all that is missing."""

    name = "evidence"
    words = "measuring how wrong it may be"
    always = True
    guarded = True
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        return "every fit is weighed" if state.law is None else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return f"{(state.family or MeanField()).name} + psis"

    def price(self, state: State) -> float:
        """See `Stage.price`."""
        return float(pool_size(state, False))

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        state, rng, density = with_law(state), run.stream(2), run.density(state)
        stopped, pool = run.stop(), None
        size = pool_size(state, stopped)
        tried = int(np.clip(TRIED_BLOCK // state.target.dim, LEAST_POOL, STOPPED_POOL))
        trial = not stopped and size > tried and _grouped(state)
        size = tried if trial else size
        try:
            with interruptible():
                pool = draw_pool(density, state.fitted, size, rng)
        except KeyboardInterrupt:
            run.watch.interrupted = True
        except FAILURES:
            pass  # fewer draws take less
        if pool is None:
            pool = draw_pool(density, state.fitted, min(size, DEAR_POOL), rng)
        best: Gaussian = pool.around() if state.nonlinear else state.best
        state = run.keep(weighed(replace(state, best=best, frame=best, trial=trial), pool))
        if trial and not short(state):
            state = completed(state, run, rng)
        # no chains follow a flow: its draws alone speak for it
        if state.objection is None and not state.lean and pool.usable and (_flow(state) or not short(state)):
            with interruptible():
                state = enlarged(state, run, rng)
        return state, Line(self.guide(state), _words(state.pool), measured(state.pool))


@dataclass(frozen=True)
class WeighOn:
    """The rest of a pool that was left small for groups that were to be summed out, where they were not."""

    name = "evidence"
    words = "measuring how wrong it may be"
    always = False
    guarded = False
    kept = ""

    def wants(self, state: State) -> str | None:
        """See `Stage.wants`."""
        left = state.trial and not isinstance(state.stein, SharedStein)
        return "no groups are summed out" if left else None

    def guide(self, state: State) -> str:
        """See `Stage.guide`."""
        return Weigh().guide(state)

    def price(self, state: State) -> float:
        """See `Stage.price`."""
        return float(pool_size(state, False))

    def failed(self, state: State) -> State:
        """See `Stage.failed`."""
        return state

    def run(self, state: State, run: Run) -> tuple[State, Line]:
        """See `Stage.run`."""
        rng = run.stream(2)
        state = run.keep(completed(state, run, rng))
        if not short(state):
            state = enlarged(state, run, rng)
        return state, Line(self.guide(state), _words(state.pool), measured(state.pool))


def completed(state: State, run: Run, rng: np.random.Generator) -> State:
    """With a pool of the usual size."""
    count = pool_size(state, False) - len(state.pool.z)
    pool = state.pool.joined(draw_pool(run.density(state), state.fitted, count, rng))
    return weighed(replace(state, trial=False), pool)


def _grouped(state: State) -> bool:
    """Whether groups may be summed out, which asks nothing of the joint weights."""
    links = getattr(getattr(state.guide, "structure", None), "links", None)
    if links is None or not (state.extensible and state.rows.at_once):
        return False
    return bool(Groups.splits(state.target, links.pattern))


def _words(pool: Pool) -> str:
    return f"{len(pool.z)} fresh draws, effective {pool.size:.0f}"


def _flow(state: State) -> bool:
    return getattr(state.fitted, "layers", None) is not None


def measured(pool: Pool) -> dict[str, float]:
    """What a line of the trail has of a pool."""
    return {"elbo": pool.elbo[0], "elbo_se": pool.elbo[1], "khat": pool.khat}


def with_law(state: State) -> State:
    """With a guide and a member of it, whatever the fit had reached when it ended."""
    if state.fitted is not None:
        return state
    family = state.family if state.guide is not None else MeanField()
    guide = state.guide or family.bind(state.target)
    return replace(state, family=family, guide=guide, fitted=guide.near(state.best))


def pool_size(state: State, stopped: bool) -> int:
    """Draws of a first pool: within the memory, and within seconds."""
    size = LEAN_POOL if state.lean else STOPPED_POOL if stopped else FIRST_POOL
    size = int(np.clip(2 * (LARGEST_BLOCK // (2 * state.target.dim)), LEAST_POOL, size))
    return int(np.clip(2 * (DEAREST // (2 * state.target.work)), min(size, DEAR_POOL), size))


def weighed(state: State, pool: Pool) -> State:
    """The law of a pool's draws, and their residuals.

    Residuals of a wide Gaussian are taken coordinate by coordinate; of a law that is bent in its base coordinates.
    """
    frame = state.frame
    if state.wide and not state.nonlinear:
        own = pool.z if pool.usable else pool.z[pool.from_guide]
        law = Law("psis", own, pool.weights) if pool.usable else Law("guide", own)
        return replace(state, pool=pool, law=law, stein=marginal_stein(frame, pool, pool.usable))
    x = pool.eps if state.nonlinear else frame.inverse(pool.z)[0]
    grad = (state.fitted if state.nonlinear else frame).pullback(x, pool.grad)
    residual = stein(x, grad, pool.weights)
    state = _held(state, residual)
    psis = pool.usable or (not state.named and pool.khat < KHAT_SHARED)
    if psis:
        far = (pool.weights == 0)[:, None]  # where quantities may have no finite value
        law = Law("psis", np.where(far, pool.z[pool.weights.argmax()], pool.z), pool.weights)
    else:
        law = Law("guide", pool.z[pool.from_guide])
    if state.nonlinear:
        residual = replace(residual, x=x if psis else x[pool.from_guide])
    return replace(state, pool=pool, law=law, stein=residual)


def _held(state: State, residual) -> State:
    """With an objection where nothing in model or data holds a direction."""
    eig, vec = residual.curvature
    frame, reach = state.frame, FAR * state.reach()
    if not (eig[0] < FLAT_DIRECTION and np.abs(packed(frame).deviations).max() > reach.max()):
        return state
    worst = frame.linear(vec[:, :1].T)[0]
    names = [state.target.labels[i] for i in np.argsort(-np.abs(worst))[:3]]
    finding = Finding(
        "flat direction",
        names[0],
        float(eig[0]),
        FLAT_DIRECTION,
        "untrusted",
        f"The posterior may be improper: {', '.join(names)} can grow without bound. "
        "Give these sites proper priors or remove redundant terms.",
    )
    words = f"flat direction: nothing in model or data holds {', '.join(names)}"
    return replace(state.found(finding), objection=words)


def short(state: State) -> bool:
    """Whether the weighted draws leave something to establish that chains could."""
    pool, residual = state.pool, state.stein
    marginal = isinstance(residual, MarginalStein)
    if isinstance(residual, SharedStein):
        location, scale = residual.worst
        return bool(pool.khat >= KHAT_TRUSTED or location > LOCATION or scale > SCALE)
    if state.law.kind != "psis" or pool.khat >= KHAT_EASY:
        return True
    if pool.size < LEAST_EFFICIENCY * len(pool.z) and not marginal:
        return True
    location, scale = residual.typical(few_of(state.target)) if marginal else residual.worst
    return bool(location > LOCATION or scale > SCALE)


def enlarged(state: State, run: Run, rng: np.random.Generator) -> State:
    """With as many draws as the Monte Carlo errors ask for."""
    density, target = run.density(state), state.target
    least = min(DRAWS_PER_KEPT * state.num_draws, LARGEST_POOL, DEAREST // target.work)
    while len(state.pool.z) < LARGEST_POOL and not run.stop():
        values, _ = quantity_values(target, state.law.z)
        quiet = largest_noise(values, estimate(values, state.law.weights)) < ENOUGH_NOISE
        count = len(state.pool.z)
        if (count >= least and quiet) or values.shape[1] * count > LARGEST_BLOCK:
            break
        pool = state.pool.joined(draw_pool(density, state.fitted, count, rng))
        state = weighed(state, pool)
        if state.law.kind != "psis":
            break
    return state

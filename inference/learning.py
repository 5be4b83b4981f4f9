"""Learned arrays of a model without an encoder: the largest marginal likelihood, by the weights of a guide that follows.

A guide is fitted at the arrays as they stand; the log marginal likelihood at others is, up to a constant, the log of the weighted
mean of ratios of joint densities at the guide's draws. It is maximised while these ratios leave draws enough, and the guide is
fitted anew. Where the guide's weights do not hold, the mean of the log joint density takes its place: variational EM.

References
----------
Geyer & Thompson (1992), Constrained Monte Carlo maximum likelihood for dependent data, JRSS B 54. Neal & Hinton (1998), A view of
the EM algorithm that justifies incremental, sparse, and other variants. Louis (1982), Finding the observed information matrix when
using the EM algorithm, JRSS B 44.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from .evidence.finding import UNSETTLED, Finding
from .evidence.pool import draw_pool
from .evidence.psis import effective_size
from .ladder import Run, State, climb
from .ladder.fitting import GuideFit, PoorerFit
from .ladder.starts import DispersedStarts
from .ladder.weigh import with_law
from .run.checkpoint import Checkpoint
from .run.trail import Rung
from .run.watch import Watch
from .thresholds import (
    INFORMED,
    LEARNED_COST,
    LEARNED_GAIN,
    LEARNED_KEPT,
    LEARNED_REACH,
    LEARNED_REST,
    LEARNED_STEP,
    LEARNING_DRAWS,
    LEARNING_ROUNDS,
    LEARNING_STEPS,
    MOST_INFORMED,
)

STAGES: tuple[Any, ...] = (DispersedStarts(), GuideFit(), PoorerFit())


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned.

    Attributes
    ----------
    weights : mapping of numpy.ndarray
        The arrays, by name.
    se : mapping of numpy.ndarray
        Their standard errors, from the curvature of the log marginal likelihood; NaN where it has none, or they are too many.
    rung : Rung
        The line of the trail.
    findings : tuple of Finding
    at : numpy.ndarray, shape (S, dim)
        Some draws of the guide, given them.
    """

    weights: Mapping[str, np.ndarray]
    se: Mapping[str, np.ndarray]
    rung: Rung
    findings: tuple[Finding, ...]
    at: np.ndarray


class Joint:
    """Log joint densities of draws, and a gradient in the learned arrays, flattened; compiled once."""

    def __init__(self, target: Any):
        self._target = target
        loops, density = target.loops, target.density
        self.names = list(target.trace.weights)
        self._shapes = [np.shape(target.trace.weights[name]) for name in self.names]

        def values(weights, z, constants):
            whole = {**constants["rest"], **weights}
            return loops.mapped(lambda one: density.scaled_total(one, constants["data"], whole, {}))(z)

        def value(state, given, constants):
            return state, {"value": values(constants["weights"], given["z"], constants)}

        def slope(state, given, constants):
            def total(weights):
                found = values(weights, given["z"], constants)
                return (given["share"] * found).sum(), found

            grads, found = loops.slope(total)(constants["weights"])
            return state, {"value": found, **{f"g/{name}": g for name, g in grads.items()}}

        made = density.ascents
        if "learning" not in made:
            one = (1,)
            made["learning"] = tuple(loops.loop(f, target.dtype, density.clock, one) for f in (value, slope))
        self._value, self._slope = made["learning"]

    def split(self, w: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays by name."""
        ends = np.cumsum([int(np.prod(shape, dtype=int)) for shape in self._shapes])[:-1]
        parts = np.split(w, ends)
        return {n: p.reshape(s) for n, p, s in zip(self.names, parts, self._shapes, strict=True)}

    def _constants(self, w: np.ndarray) -> dict[str, Any]:
        target = self._target
        rest = {k: v for k, v in target.weights.items() if k not in self.names}
        own = {k: target.to_device(v) for k, v in self.split(w).items()}
        return {"weights": own, "rest": rest, "data": target.data}

    def _blocks(self, z: np.ndarray) -> np.ndarray:
        size = self._target.batch
        return np.resize(z, (-(-len(z) // size) * size, z.shape[1])).reshape(-1, size, z.shape[1])

    def values(self, w: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Log joint densities, shape ``(S,)``."""
        blocks = self._blocks(z).astype(self._target.dtype)
        given = {"z": blocks, "seed": np.zeros(len(blocks), np.int64)}
        _, found = self._value({}, given, self._constants(w))
        self._target.counter.num_densities += len(z)
        return np.asarray(found["value"], np.float64).ravel()[: len(z)]

    def slope(self, w: np.ndarray, z: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Gradient of the sum of the log joint densities times their shares, flattened."""
        blocks = self._blocks(z).astype(self._target.dtype)
        shares = np.zeros(blocks.shape[0] * blocks.shape[1])
        shares[: len(z)] = share
        given = {"z": blocks, "share": shares.reshape(blocks.shape[:2]).astype(self._target.dtype)}
        _, found = self._slope({}, {**given, "seed": np.zeros(len(blocks), np.int64)}, self._constants(w))
        self._target.counter.num_gradients += len(z)
        return np.concatenate(
            [np.asarray(found[f"g/{name}"], np.float64).sum(0).ravel() for name in self.names]
        )


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Log marginal likelihood near the arrays at which draws were made, less that there.

    Attributes
    ----------
    joint : Joint
    z : numpy.ndarray, shape (S, dim)
    weights : numpy.ndarray, shape (S,)
    before : numpy.ndarray, shape (S,)
        Log joint densities at the arrays of the draws.
    exact : bool
        Whether the weights hold; else it is a bound, by the guide's own draws.
    """

    joint: Joint
    z: np.ndarray
    weights: np.ndarray
    before: np.ndarray
    exact: bool

    def __call__(self, w: np.ndarray, held: bool = False) -> tuple[float, np.ndarray, float]:
        """Value, gradient, and the share of effective draws that are left.

        Where it is `held`, it costs to lose more of them than may be: far away one draw outweighs all, and the likelihood is its.
        """
        after = self.joint.values(w, self.z)
        ratio = np.where(np.isfinite(after), after - self.before, -np.inf)
        if not self.exact:
            known = np.isfinite(ratio)
            share = np.where(known, self.weights, 0.0)
            value = float((share[known] * ratio[known]).sum()) if known.all() else -np.inf
            return value, self.joint.slope(w, self.z, share), 1.0
        with np.errstate(divide="ignore"):
            level = np.log(self.weights) + ratio
        value = float(logsumexp(level))
        if not np.isfinite(value):
            return -np.inf, np.zeros(len(w)), 0.0
        share = np.exp(level - value)
        left = effective_size(share) / effective_size(self.weights)
        lost = max(np.log(LEARNED_KEPT / left), 0.0) if held else 0.0
        if lost:
            value -= LEARNED_COST * lost**2
            share = share + 4 * LEARNED_COST * lost * (share - share**2 / (share**2).sum())
        return value, self.joint.slope(w, self.z, share), left

    def climbed(self, w: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Where it is largest, as far as the draws reach, what is gained, and whether nothing more was in sight."""
        from scipy.optimize import minimize  # slow to import

        def loss(x):
            value, slope, _ = self(x, held=True)
            return (-value, -slope) if np.isfinite(value) else (1e300, np.zeros(len(x)))

        found = minimize(loss, w, jac=True, method="L-BFGS-B", options={"maxiter": LEARNING_STEPS})
        rest, share = -found.fun < LEARNED_GAIN, 1.0
        while share > 1e-4:
            at = w + share * (found.x - w)
            value, _, left = self(at)
            if left >= INFORMED and value > 0:
                return at, value, rest
            share *= 0.5
        return w, 0.0, rest

    def information(self, w: np.ndarray) -> np.ndarray:
        """Minus the Hessian at the arrays of the draws, by differences of gradients."""
        out = np.empty((len(w), len(w)))
        for j in range(len(w)):
            step = LEARNED_STEP * max(abs(w[j]), 1.0)
            ends = [self(w + sign * step * (np.arange(len(w)) == j))[1] for sign in (1.0, -1.0)]
            out[j] = (ends[1] - ends[0]) / (2 * step)
        return 0.5 * (out + out.T)


def learn(state: State, watch: Watch, seed: int) -> Learned | None:
    """Learn the arrays of a model.

    Parameters
    ----------
    state : State
        Where a climb begins.
    watch : Watch
        When to end.
    seed : int
        Of the draws.

    Returns
    -------
    Learned or None
        None where the guide has no spread.
    """
    run = Run(watch, Checkpoint(None, {}), seed)
    target, rng = state.target, np.random.default_rng([seed, 82])
    counter = target.counter.num_gradients
    w = np.concatenate([np.ravel(v).astype(float) for v in target.trace.weights.values()])
    gained, rounds, stages, begin = 0.0, 0, STAGES, watch.elapsed
    near, settled = None, False
    while rounds < LEARNING_ROUNDS and not (rounds and watch.stop()):
        state = with_law(climb(stages, replace(state, lean=True), run))
        if not getattr(state.fitted, "spread", True):
            return None
        joint = Joint(state.target)
        same = np.random.default_rng([seed, 80])  # so that there is a place of rest
        near = _near(state, run, joint, w, same)
        w, gain, settled = _further(near, w)
        gained, rounds, stages = gained + gain, rounds + 1, STAGES[1:]
        state = replace(
            state.unfitted(None), target=state.target.at(joint.split(w)), settled=True, rungs=(), findings=()
        )
        if settled:
            break
    assert near is not None
    over = settled  # with no more in sight, whatever other draws say
    se = np.full(len(w), np.nan)
    if len(w) <= MOST_INFORMED and not watch.stop():
        state = with_law(climb(STAGES[1:], replace(state, lean=True), run))
        near = _near(state, run, joint, w, rng, 2 * LEARNING_DRAWS)
        information = near.information(w)
        se = _errors(information)
        settled = settled and _ahead(near(w)[1], information) < LEARNED_REST
        if near.exact and np.isfinite(se).all() and not watch.stop():
            se = _errors(_followed(state, run, w, se, seed))
    kind = "marginal likelihood" if near.exact else "bound (the guide's weights do not hold)"
    words = f"{len(w)} numbers in {len(joint.names)} arrays, {rounds} rounds: log {kind} gained {gained:.2f} or more"
    rung = Rung("learning", state.plan.family.name, num_gradients=target.counter.num_gradients - counter,
                seconds=watch.elapsed - begin, reason=words if settled else f"{words}; not at rest")  # fmt: skip
    return Learned(
        joint.split(w), joint.split(se), rung, tuple(_findings(joint, near, se, settled, over)), near.z[:4]
    )


def _further(near: Likelihood, w: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """See `Likelihood.climbed`; where the draws do not reach far, by a step of expectation maximisation if that gains more."""
    found = near.climbed(w)
    if found[2] or not near.exact:
        return found
    at, gain, _ = replace(near, exact=False).climbed(w)  # the likelihood gains no less than this
    return (at, gain, False) if gain > found[1] else found


def _near(
    state: State, run: Run, joint: Joint, w: np.ndarray, rng, num_draws: int = LEARNING_DRAWS
) -> Likelihood:
    """The likelihood near the arrays at which a guide was fitted."""
    pool = draw_pool(run.density(state), state.fitted, num_draws, rng)
    exact = bool(pool.usable and pool.size > INFORMED * len(pool.z))
    rows = np.flatnonzero(pool.weights > 0) if exact else np.flatnonzero(pool.from_guide)
    weights = pool.weights[rows] if exact else np.full(len(rows), 1 / len(rows))
    z = pool.z[rows]
    return Likelihood(joint, z, weights / weights.sum(), joint.values(w, z), exact)


def _followed(state: State, run: Run, w: np.ndarray, se: np.ndarray, seed: int) -> np.ndarray:
    """Minus the Hessian of the log marginal likelihood, by differences of its gradients at guides that follow.

    At the draws of one guide (Louis 1982) it is a difference of what is known with them and of what they hide: nearly all of it,
    where most is hidden. Draws are by the same base draws at all places.
    """

    def slope(at: np.ndarray) -> np.ndarray:
        own = replace(state.unfitted(None), target=state.target.at(joint.split(at)), settled=True, rungs=())
        own = with_law(climb(STAGES[1:], replace(own, lean=True), run))
        pool = draw_pool(run.density(own), own.fitted, 2 * LEARNING_DRAWS, np.random.default_rng([seed, 81]))
        rows = np.flatnonzero(pool.weights > 0)
        return Joint(own.target).slope(at, pool.z[rows], pool.weights[rows])

    joint, out = Joint(state.target), np.empty((len(w), len(w)))
    for j in range(len(w)):
        step = LEARNED_REACH * se[j] * (np.arange(len(w)) == j)
        out[j] = (slope(w - step) - slope(w + step)) / (2 * LEARNED_REACH * se[j])
    return 0.5 * (out + out.T)


def _ahead(slope: np.ndarray, information: np.ndarray) -> float:
    """Nats by which the largest marginal likelihood is higher, by its slope and curvature; none where they do not tell."""
    try:
        return 0.5 * float(slope @ np.linalg.solve(information, slope))
    except np.linalg.LinAlgError:
        return 0.0


def _errors(information: np.ndarray) -> np.ndarray:
    """Standard errors by an information matrix; NaN where it has no inverse."""
    try:
        values = np.linalg.eigvalsh(information)
        if values.min() <= 1e-8 * values.max():
            return np.full(len(information), np.nan)
        return np.sqrt(np.diag(np.linalg.inv(information)))
    except np.linalg.LinAlgError:
        return np.full(len(information), np.nan)


def _findings(joint: Joint, near: Likelihood, se: np.ndarray, settled: bool, over: bool):
    """What was seen while arrays were learned."""
    names = ", ".join(joint.names)[:200]
    if not settled:
        words = "The learned arrays were not at rest when patience ended: give the fit more time, or start them nearer."
        yield Finding(UNSETTLED, names, None, None, "caution" if over else "untrusted", words)
    if not near.exact:
        words = (
            "The guide's importance weights do not hold, so the arrays maximise its bound and not the marginal likelihood: "
            "scales among them may be too small."
        )
        yield Finding("learning by a bound", names, None, None, "caution", words)
    elif len(se) <= MOST_INFORMED and np.isnan(se).any():
        words = "The marginal likelihood is flat along some direction of the learned arrays: they have no standard errors."
        yield Finding("flat likelihood", names, None, None, "caution", words)

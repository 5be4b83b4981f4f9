"""The fit of a flow: Adam on the bound, without a rate or a number of steps to give.

Short pilots pick the rate; where the bound no longer grows it is halved, and after the last halving the average of the
iterates is the answer. The gradient of couplings sticks to the landing.

References
----------
Roeder, Wu & Duvenaud (2017), Sticking the landing, NeurIPS. Agrawal & Domke (2024), Disentangling impact of capacity,
objective, batchsize, estimators, and step-size on flow VI. Kingma & Ba (2015), Adam, ICLR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from ..guides import log_prob
from ..guides.flow import FRAME
from ..ppl.errors import GuideError
from .evidence.modes import reach
from .evidence.pool import draw_pool
from .evidence.verdicts import KHAT_TRUSTED
from .frame import Dense

PILOTS = (1e-2, 3e-3, 1e-3)
EVERY = 100  # steps of a compiled call, and of a pilot
WINDOW = 6  # calls whose bounds are compared: the later half against the earlier
HALVINGS, MOST_STEPS = 4, 6000
GAIN = 0.005  # nats
NUM_DRAWS = 128
MOST_DIMENSIONS, LEAST_STEPS = 100, 1500  # of a climb
PRODUCTS = 30  # of a matrix with draws, in the time that a model takes for one number
MOST_NUMBERS = 4e10  # that the gradients of a climb's flow read
HEAVY, MISSED = (
    np.log(20.0),
    0.01,
)  # weight of a draw, and share of such draws, that speak of mass not covered
LEGS, NUM_CHECKED = 2, 8_000
KHAT_ENOUGH, ENOUGH = 0.3, 0.5  # k̂, and effective share of the draws, of a flow that needs no more steps
FAILED = 0.5  # share of the draws with no finite density from which on a call is undone


@dataclass(frozen=True)
class Flown:
    """A fitted flow: the guide's parameters, the bounds of its steps, and why they ended."""

    params: dict
    trace: list
    reason: str

    @property
    def words(self) -> str:
        """What was done, for the trail."""
        return f"flow: {self.reason} after {EVERY * len(self.trace)} steps"


def ascend(target, guide, params, rng, most_steps: int = MOST_STEPS, callback=None, enough=None) -> Flown:
    """Fit the layers of a flow, its frame held fixed.

    Parameters
    ----------
    target : Target
    guide : FlowGuide
    params : mapping
        Where it starts.
    rng : numpy.random.Generator
    most_steps : int
    callback : callable, optional
        Asked after every few steps whether to stop.
    enough : callable, optional
        ``enough(params)``, asked wherever the bound no longer grows: whether the averaged flow will do.
    """
    run = _compiled(target, guide)
    place = target.to_device
    constants = {
        "order": place(guide.order),
        "mean": place(params["mean"]),
        "scale_tril": place(params["scale_tril"]),
        "data": target.data,
        "weights": target.weights,
    }

    def go(state, rate):
        inputs = {
            "seed": rng.integers(0, 2**31, EVERY),
            "rate": np.full(EVERY, rate, target.dtype),
        }
        state, (bounds, good) = run(state, inputs, constants)
        target.counter.num_gradients += EVERY * NUM_DRAWS
        target.counter.num_densities += EVERY * NUM_DRAWS
        bounds = np.asarray(bounds, np.float64)
        return state, bounds, np.isfinite(bounds).all() and np.mean(good) > FAILED

    def averaged(state):
        weights = target.loops.to_host(state["average"])
        frame = {name: params[name] for name in FRAME}
        return frame | {name: np.asarray(value, np.float64) for name, value in weights.items()}

    first = guide.flow.begin(guide.weights(params))
    pilots = [(go(first, rate), rate) for rate in PILOTS]
    scores = [np.median(found[1][-EVERY // 4 :]) if found[2] else -np.inf for found, _ in pilots]
    (state, bounds, _), rate = pilots[int(np.argmax(scores))]
    trace, recent, halved, reason = [bounds], [], 0, "step limit"
    while EVERY * (len(trace) + len(PILOTS)) < most_steps:
        after, bounds, sound = go(state, rate)
        if sound:
            state = after
            trace.append(bounds)
            recent.append(bounds)
        if callback is not None and callback():
            reason = "stopped"
            break
        if sound and (len(recent) < WINDOW or _grows(recent[-WINDOW:])):
            continue
        if sound and enough is not None and enough(averaged(state)):
            reason = "good enough"
            break
        rate, recent, halved = 0.5 * rate, [], halved + 1
        if halved > HALVINGS:
            reason = "settled" if sound else "no rate keeps the bound finite"
            break
    shift = guide.log_scale(params) + 0.5 * target.dim * np.log(2 * np.pi)
    steps = [float(bound.mean() + shift) for bound in trace]
    return Flown(averaged(state), steps, reason)


def fit_flow(density, target, guide, params, rng, most_steps: int = MOST_STEPS, callback=None) -> Flown:
    """Fit the layers of a flow, and go on from there once where its weights are heavy-tailed still.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density, gradient)``, for the weights; for the others see `ascend`.
    """
    pools = []

    def enough(params):
        pools.append(draw_pool(density, guide, params, NUM_CHECKED, rng))
        return pools[-1].khat < KHAT_ENOUGH and pools[-1].size > ENOUGH * NUM_CHECKED

    best = None
    for _ in range(LEGS):
        found = ascend(target, guide, params, rng, most_steps, callback, enough)
        if found.reason != "good enough":
            enough(found.params)
        khat = pools[-1].khat
        if best is None or khat < best[0]:
            best = khat, found
        if khat < KHAT_TRUSTED or (callback is not None and callback()):
            break
        params = found.params
    return best[1]


def _compiled(target, guide):
    """Many steps in one call, compiled once per density and flow."""
    made, key = target.density.ascents, ("flow", guide.flow)
    if key not in made:
        made[key] = guide.flow.ascent(target.density, NUM_DRAWS)
    return made[key]


def _grows(window) -> bool:
    half = len(window) // 2
    before, after = np.concatenate(window[:half]), np.concatenate(window[half:])
    noise = np.sqrt((before.var() + after.var()) / len(after))
    return bool(after.mean() - before.mean() > max(noise, GAIN))


def around(pool) -> Dense:
    """The frame in which the pool has mean zero and unit covariance: weighted where its weights hold."""
    weights = pool.weights if pool.khat < 0.7 else pool.from_guide / pool.from_guide.sum()
    mean = weights @ pool.z
    centred = pool.z - mean
    covariance = (weights[:, None] * centred).T @ centred
    unit = np.sqrt(np.diag(covariance))
    floor = 1e-10 * np.eye(len(mean))
    return Dense(mean, unit[:, None] * np.linalg.cholesky(covariance / unit[:, None] / unit + floor))


def affordable(target, family) -> int:
    """Steps that a climb may spend; 0 where that is too few to fit a flow, or no flow can be."""
    try:
        count = len(family.bends(target))
    except GuideError:
        return 0
    if count > MOST_DIMENSIONS:
        return 0
    steps = int(min(MOST_STEPS, MOST_NUMBERS / (target.work + target.dim**2 / PRODUCTS) / NUM_DRAWS))
    return steps if steps >= LEAST_STEPS else 0


def covers(guide, params, pool, z, value) -> bool:
    """Whether a guide has mass where draws of the posterior have it.

    Weights that are even say nothing of a place that no draw of the guide sees. There draws from elsewhere, such as
    those of chains, have large ones, and more often than the weights of the pool foretell.

    Parameters
    ----------
    pool : Pool
        Of the guide.
    z, value : numpy.ndarray, shapes (B, dim) and (B,)
        Such draws and their log density.
    """
    heavy = log_evidence(pool) + HEAVY
    foretold = pool.weights[pool.log_ratio > heavy].sum()
    return bool(np.mean(value - log_prob(guide, params, z) > heavy) < foretold + MISSED)


def reaches(guide, params, pool, z) -> bool:
    """Whether a place lies where a flow's weighted draws do, by its distance in the base coordinates."""
    size = np.linalg.norm(pool.eps, axis=1)
    order = np.argsort(size)
    radius = size[order][np.searchsorted(np.cumsum(pool.weights[order]), 0.999)]
    return bool(np.linalg.norm(guide.inverse(params, z[None])[0]) < reach(float(radius)))


def log_evidence(pool) -> float:
    """Log integral of the density, from the weights of a pool."""
    return float(logsumexp(pool.log_weights) - np.log(len(pool.log_weights)))

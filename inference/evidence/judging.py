"""From what a fit has found to estimates and verdicts of quantities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..thresholds import (
    BFMI,
    DIVERGENT,
    HARDLY,
    HARDLY_MOVED,
    KHAT_TRUSTED,
    MANY_DIVERGENT,
    SEARCHED,
)
from .estimates import Estimates, estimate
from .law import Law
from .mixing import energy_information
from .mixture import LocalStein
from .outcome import Outcome
from .stein import MarginalStein, SharedStein, directions
from .verdicts import POINT_ESTIMATE, Evidence, Verdicts, judge, tail_shapes, weighted_squares

SLOW_ENERGY = "the chains move slowly between levels of energy (E-BFMI)"
ONE_CHAIN = "one chain cannot show whether others would agree"
OTHERS_MISSED = "several modes were found, and others may have been missed"
UNWEIGHED = "only its gradient speaks for it: too many dimensions to weigh"


@dataclass(frozen=True, eq=False)
class Residuals:
    """What residuals of Stein's identity say of quantities.

    Attributes
    ----------
    location, scale : numpy.ndarray, shape (Q,)
    obstacle : str
        What stands in the way of trust and no number measures; empty where nothing does.
    weighed : bool
        Whether k̂ speaks of them.
    found : Estimates
        With exact moments in place of estimates where the guide knows them.
    """

    location: np.ndarray
    scale: np.ndarray
    found: Estimates
    obstacle: str = ""
    weighed: bool = True


def verdicts_of(
    outcome: Outcome,
    values: np.ndarray,
    rng: np.random.Generator,
    at_divergences: np.ndarray | None = None,
    at_pool: np.ndarray | None = None,
    mirrored: np.ndarray | None = None,
    known=None,
    behind: np.ndarray | None = None,
) -> tuple[Estimates, Verdicts]:
    """Estimates and verdicts of quantities given their values at the law's draws.

    Parameters
    ----------
    outcome : Outcome
        What was found.
    values : numpy.ndarray, shape (S, Q)
        Values of Q quantities at the draws of its law.
    rng : numpy.random.Generator
        For resampling by weights.
    at_divergences : numpy.ndarray, shape (K, Q), optional
        Their values where transitions diverged: a quantity that is extreme there is not established.
    at_pool : numpy.ndarray, shape (S', Q), optional
        Their values at the importance pool: where its weights are usable, chains must agree with them.
    mirrored : numpy.ndarray, shape (symmetries, Q), optional
        How far their laws move under the posterior's symmetries, see `Outcome.mirrored`.
    known : Coordinates, optional
        Which quantities are coordinates of the guide; what a guide of many dimensions is judged by.
    behind : numpy.ndarray of int, shape (Q,), optional
        The coordinate that each quantity is a function of, see `index_of`.
    """
    law, count = outcome.law, values.shape[1]
    inefficiencies = law.inefficiencies(values, behind)
    inefficiency, found = inefficiencies.max(0), estimate(values, law.weights, inefficiencies)
    zero, drift = np.zeros(count), law.drift(values, inefficiency)
    location, scale, missed, moved = zero, zero, zero, np.full(count, np.inf)
    khat, obstacle = outcome.khat if law.kind != "mcmc" else None, ""
    if law.num_chains:
        moved, obstacle = _moved(law, found, inefficiency)
        missed = _missed(law, found, at_divergences)
        if at_pool is not None and outcome.pool is not None and outcome.khat < KHAT_TRUSTED:
            drift = np.maximum(drift, _disagreement(found, estimate(at_pool, outcome.pool.weights)))
    else:
        seen = _residuals(outcome, values, found, known)
        location, scale, found, obstacle = seen.location, seen.scale, seen.found, seen.obstacle
        khat = khat if seen.weighed else None
    with np.errstate(all="ignore"):
        shape = tail_shapes(values, law.weights, rng)
        squares = zero if law.weights is None or not count else weighted_squares(values, law.weights)
    unequal, words = zero, [""] * count
    if mirrored is not None and len(mirrored):
        unequal = mirrored.max(0)
        words = [outcome.symmetries[k].words for k in mirrored.argmax(0)]
    spread = getattr(outcome.fitted, "spread", True) or law.kind != "guide"
    evidence = Evidence(
        khat=khat,
        location=location,
        scale=scale,
        drift=drift,
        moved=moved,
        missed=missed,
        obstructed=np.full(count, float(bool(obstacle))),
        shape=shape,
        squares=squares,
        objection=outcome.objection if spread else POINT_ESTIMATE,
        unequal=unequal,
        symmetry=words,
        rhat=law.rhat(values) - 1,
        words=obstacle,
    )
    return found, judge(found, evidence)


def _moved(law: Law, found: Estimates, inefficiency) -> tuple[np.ndarray, str]:
    """Autocorrelation times that each chain has moved, and what no number measures."""
    count = len(found.mean)
    moved = len(law.z) / law.num_chains / np.broadcast_to(inefficiency, (count,))
    live = found.sd > 1e-12 * np.abs(found.mean)
    # one direction that hardly moves may hold the others
    if law.slowest < HARDLY_MOVED or (live.any() and moved[live].min() < HARDLY_MOVED):
        moved = np.minimum(moved, HARDLY)
    if law.slowest <= 0:
        moved = np.zeros(count)
    if law.stats is not None and "energy" in law.stats and energy_information(law.stats["energy"]) < BFMI:
        return moved, SLOW_ENERGY
    return moved, ONE_CHAIN if law.num_chains == 1 else ""


def _missed(law: Law, found: Estimates, at_divergences) -> np.ndarray:
    """How extreme quantities are where transitions diverged, in sds."""
    if law.divergent <= DIVERGENT:
        return np.zeros(len(found.mean))
    if at_divergences is None or law.divergent >= MANY_DIVERGENT * DIVERGENT:
        return np.ones(len(found.mean))
    return np.abs(at_divergences.mean(0) - found.mean) / np.where(found.sd > 0, found.sd, 1.0)


def _disagreement(found: Estimates, weighed: Estimates) -> np.ndarray:
    """How far chains are from what importance weights say, beyond the noise of both and in sds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error, noise = np.hypot(weighed.mean_se, found.mean_se), np.hypot(weighed.sd_se, found.sd_se)
        gap = (np.abs(weighed.mean - found.mean) - 4 * error) / found.sd
        spread = 0.5 * (np.abs(weighed.sd - found.sd) - 4 * noise) / found.sd
        return np.nan_to_num(np.maximum(gap, spread), nan=0.0)


def _residuals(outcome: Outcome, values: np.ndarray, found: Estimates, known) -> Residuals:
    """Residuals of independent draws along each quantity."""
    law, count = outcome.law, values.shape[1]
    if outcome.stein is None or outcome.frame is None:
        return Residuals(np.zeros(count), np.zeros(count), found)
    if isinstance(outcome.stein, LocalStein):
        few = outcome.guide.dim <= SEARCHED
        return Residuals(*outcome.stein.of(values), found, "" if few else OTHERS_MISSED)
    if isinstance(outcome.stein, SharedStein):
        return Residuals(*outcome.stein.of(values), found)
    if isinstance(outcome.stein, MarginalStein):
        location, scale = outcome.stein.of(known, count)
        if law.weights is not None:
            return Residuals(location, scale, found)
        exact = found if known is None else known.exactly(found)
        return Residuals(location, scale, exact, UNWEIGHED, False)
    bent = outcome.stein.x is not None
    x = outcome.stein.x if bent else outcome.frame.inverse(law.z)[0]
    weights = law.weights if law.weights is not None else np.full(len(x), 1 / len(x))
    location, scale = outcome.stein.along(directions(x, values, weights))
    if bent:  # no quantity is linear in the coordinates: each may vary with all of them
        location, scale = map(np.maximum, (location, scale), outcome.stein.worst)
    return Residuals(location, scale, found)

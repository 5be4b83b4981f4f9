"""Stochastic ascent without a rate or a number of steps to give.

Short pilots pick the rate; when the iterates no longer drift it is halved, and the averages before and after are
compared: once they agree within a small share of the guide's own sds, the average is the answer.

References
----------
Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging, SIAM Journal on Control and
Optimization 30. Dhaka et al. (2020), Robust, accurate stochastic optimization for variational inference, NeurIPS.
Welandawe et al. (2022), A framework for improving the reliability of black-box variational inference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PILOTS, PILOT_STEPS = (0.3, 0.1, 0.03), 200
EVERY, WINDOW = 25, 24  # steps between iterates, and iterates that are compared and averaged
MOST_STEPS = 60_000
DRIFT = 1.1  # R̂ of the halves of a window below which a parameter stands still
SETTLED = 0.05  # sds, and change of a log sd, between averages that are taken to agree
SHARE = 0.95  # of the parameters that must do so
ROLLBACKS = 8


@dataclass(frozen=True)
class Ascended:
    """Where an ascent ended: mean and log sd of each coordinate, unconstrained."""

    mean: np.ndarray
    log_sd: np.ndarray
    trace: np.ndarray
    num_steps: int
    num_bad: int
    reason: str


def ascend(ascent, callback=None) -> Ascended:
    """Run an `Ascent` until it has settled.

    Parameters
    ----------
    ascent : Ascent
    callback : callable, optional
        Asked after every few steps whether to stop.
    """
    stop = callback or (lambda: False)
    ascent.rate, trace, num_bad = _piloted(ascent), [], 0
    before, iterates, reason = None, [], "step limit"
    good, rollbacks = ascent.copied(ascent.state), 0
    while ascent.num_steps < MOST_STEPS:
        elbo = ascent.run(EVERY)
        trace.append(elbo)
        bad = ~np.isfinite(elbo)
        num_bad += int(bad.sum())
        now = np.stack([ascent.params["mean"], ascent.params["log_sd"]])
        if bad.all() or not np.isfinite(now).all():
            rollbacks += 1
            if rollbacks > ROLLBACKS:
                reason = "no rate keeps the bound finite"
                break
            ascent.state, ascent.rate, iterates = ascent.copied(good), 0.5 * ascent.rate, []
            continue
        iterates.append(now)
        if stop():
            reason = "stopped"
            break
        if len(iterates) < WINDOW:
            continue
        window = np.stack(iterates[-WINDOW:])
        if np.quantile(_halves(window), SHARE) > DRIFT:
            iterates = iterates[-WINDOW:]
            if len(trace) % (4 * WINDOW):
                continue
        average = window.mean(0)
        good, iterates = ascent.copied(ascent.state), []
        if before is not None:
            sd = np.exp(average[1])
            change = np.maximum(np.abs(average[0] - before[0]) / sd, np.abs(average[1] - before[1]))
            if np.quantile(change, SHARE) < SETTLED:
                before, reason = average, "settled"
                break
        before, ascent.rate = average, 0.5 * ascent.rate
        if ascent.rate < 1e-5:
            reason = "the rate is spent"
            break
    if iterates and reason in {"stopped", "step limit"}:
        before = np.mean(iterates[-WINDOW:], axis=0)
    if before is None:
        before = np.stack([ascent.params["mean"], ascent.params["log_sd"]])
    return Ascended(before[0], before[1], np.concatenate(trace), ascent.num_steps, num_bad, reason)


def _piloted(ascent) -> float:
    """The rate whose pilot ends with the highest bound; the ascent goes on from there."""
    start, best = ascent.state, None
    for rate in PILOTS:
        ascent.state, ascent.rate = ascent.copied(start), rate
        elbo = ascent.run(PILOT_STEPS)[-PILOT_STEPS // 4 :]
        score = np.median(elbo) if np.isfinite(elbo).all() else -np.inf
        if best is None or score > best[0]:
            best = score, rate, ascent.state
    ascent.state = best[2]
    return best[1]


def _halves(window) -> np.ndarray:
    """R̂ of the two halves of a window of iterates, one per parameter."""
    half = len(window) // 2
    one, two = window[:half], window[half:]
    within = 0.5 * (one.var(0, ddof=1) + two.var(0, ddof=1))
    between = 0.5 * (one.mean(0) - two.mean(0)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sqrt(1 + between / within)
    return np.where(within > 0, found, 1.0)

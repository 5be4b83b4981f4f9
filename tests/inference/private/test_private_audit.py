"""Audits by canaries: who was in the data is guessed from what is released, no better than the budget allows; without noise it is
guessed, so that the audit would see it.

References
----------
Steinke, Nasr & Jagielski (2023), Privacy auditing with one (1) training run, NeurIPS. Nasr et al. (2021), Adversary instantiation, IEEE
S&P.
"""

import numpy as np
import pytest
from elboroom.inference.private.accounting import epsilon_of
from scipy.stats import binom, norm

import elboroom as er

CANARIES, OTHERS = 150, 300


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(er.math.sum(x * b, axis=-1), 1), y)


def guessed(silenced: bool, seed: int = 5) -> tuple[float, float]:
    """Share of canaries whose presence is guessed rightly from all gradients of an ascent; and the epsilon that it has spent."""
    rng = np.random.default_rng(seed)
    there = rng.random(CANARIES) < 0.5
    x = np.concatenate([10 * np.eye(CANARIES)[there], np.zeros((OTHERS, CANARIES))])
    y = np.concatenate([np.full(there.sum(), 1e4), rng.standard_normal(OTHERS)])
    private = er.Private(epsilon=1.0, delta=1e-4, clip=1.0, steps=60, seed=seed)
    svi = er.SVI(line(x, y), er.Minibatch("row", len(y) // 2), sd=1.0, private=private)
    if silenced:
        svi._constants["noise"] = svi.target.to_device(np.zeros(()))
    svi.run(60)
    score = np.asarray(svi.state["total"], float)[0]
    return float(((score > np.median(score)) == there).mean()), svi.privacy.epsilon


def allowed(epsilon: float) -> float:
    """Share of right guesses that a fit of this epsilon stays below in all but one of a thousand audits."""
    return float(binom.isf(1e-3, CANARIES, np.exp(epsilon) / (1 + np.exp(epsilon)))) / CANARIES


def test_canaries_of_one_run_are_guessed_no_better_than_its_budget_allows():
    share, epsilon = guessed(silenced=False)
    assert 0.5 < share <= allowed(epsilon)


def test_the_audit_sees_that_there_is_no_noise():
    share, epsilon = guessed(silenced=True)
    assert share > allowed(epsilon)


@pytest.mark.parametrize("silenced", [False, True])
def test_one_canary_is_told_by_a_step_as_well_as_its_noise_allows_and_no_better(silenced):
    """TPR less FPR is (e^ε - 1 + 2δ)/(e^ε + 1) at the most, whatever ε: least where ε is nought, the distance of two normals there."""
    rng, steps = np.random.default_rng(0), 1500
    x, y = 0.1 * rng.standard_normal((60, 2)), rng.standard_normal(60)
    seen = []
    for canary in (False, True):
        far, high = x.copy(), y.copy()
        if canary:
            far[0], high[0] = [1e3, 0.0], 1e6
        else:
            far[0] = 0.0  # whose gradient is nought: it is as if it were not there
        private = er.Private(epsilon=30.0, delta=1e-3, clip=1.0, steps=steps, seed=8 + canary)
        svi = er.SVI(line(far, high), er.Minibatch("row", 60), rate=1e-12, sd=1e-6, private=private)
        noise = svi.privacy.noise_multiplier
        if silenced:
            svi._constants["noise"] = svi.target.to_device(np.zeros(()))
        totals = [np.zeros(2)]
        for _ in range(steps // 3):
            svi.run(1)
            totals.append(np.asarray(svi.state["total"], float)[0] / 1e-6)
        seen.append(np.diff(totals, axis=0)[:, 0])
    # draws of the guide are the same in both, step by step: what is common goes
    common = 0.5 * (seen[0] + seen[1]) if silenced else 0.0
    without, present = (one - common for one in seen)
    cut = 0.5 * (np.median(without) + np.median(present))
    advantage = (present > cut).mean() - (without > cut).mean()
    bound = 2 * norm.cdf(0.5 / noise) - 1
    assert abs(epsilon_of(noise, bound * 1.001, 1, 1.0)) < 2e-2
    error = 4 * np.sqrt(0.5 / (steps // 3))
    assert (advantage > bound + error) == silenced and advantage > bound - error

"""Draws of chains keep their chains: many short ones as superchains, over which R̂ and rank plots work."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from elboroom.inference.evidence.outcome import Law

import elboroom as er


@er.model
def shares(y):
    k, share = er.sample("k", er.Gamma(2.0, 0.1)), er.sample("share", er.Beta(1, 1))
    with er.plate("unit", len(y)):
        p = er.sample("p", er.Beta(1 + k * share, 1 + k * (1 - share)))
        er.observe("y", er.Binomial(20, p), y)
    er.factor("together", -0.5 * (er.math.sum(p) - 4.0) ** 2)  # the units cannot be summed out one by one


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    posterior = er.fit(
        shares(rng.binomial(20, rng.beta(3, 6, 12))), refine=False, progress=False, num_draws=1600
    )
    assert posterior.law == "mcmc"
    return posterior


def test_short_chains_are_shown_as_superchains(fitted, tmp_path):
    import arviz_stats

    draws = fitted.draws
    assert dict(draws["posterior"].sizes) == {"chain": 16, "draw": 100, "unit": 12}
    assert draws["posterior_predictive"].sizes["chain"] == draws["log_likelihood"].sizes["chain"] == 16
    rhat = arviz_stats.rhat(draws)
    assert all(np.isfinite(value).all() and (value < 1.06).all() for value in rhat.data_vars.values())
    nested = draws["fit"]["rhat"].values
    assert nested.shape == (14,) and (nested < 1.03).all()
    assert "short chains" in repr(fitted)
    np.testing.assert_array_equal(draws["posterior"]["k"].values.ravel(), fitted.values["k"])
    again = er.load(fitted.save(tmp_path / "kept"))
    assert again.draws["posterior"].sizes["chain"] == 16 and "short chains" in repr(again)
    np.testing.assert_array_equal(again.draws["fit"]["rhat"], nested)


def test_rank_plots_take_superchains(fitted):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    import arviz_plots
    import matplotlib.pyplot as plt

    arviz_plots.plot_rank(fitted.draws, var_names=["k", "share"])
    arviz_plots.plot_trace(fitted.draws, var_names=["k"])
    plt.close("all")


def chains(stuck, num_chains=128, length=60, seed=0):
    """Chains whose draws are independent, or that stay where they began."""
    rng = np.random.default_rng(seed)
    begin = rng.normal(size=(num_chains, 1, 40))
    z = (
        begin + 0.1 * rng.normal(size=(num_chains, length, 40))
        if stuck
        else rng.normal(size=(num_chains, length, 40))
    )
    return Law("mcmc", z.reshape(-1, 40), None, num_chains)


def test_nested_rhat_tells_chains_that_stay_where_they_began():
    moving, stuck = chains(False), chains(True)
    assert (moving.rhat_shown(moving.z) < 1.005).all()
    # of eight chains to a superchain, the mean of each has an eighth of the variance
    found = stuck.rhat_shown(stuck.z)
    assert (found > 1.01).all() and 1.04 < found.mean() < 1.13


@pytest.mark.parametrize(
    ("num_draws", "num_chains", "expected"), [(4000, 128, 16), (1000, 128, 8), (999, 128, 16), (300, 37, 1)]
)
def test_superchains_are_of_one_length(num_draws, num_chains, expected):
    law = chains(False, num_chains)
    rows, shown = law.shown(num_draws, np.random.default_rng(0))
    assert shown == expected and len(rows) % shown == 0 and 0 <= len(rows) - num_draws < shown
    own = rows.reshape(shown, -1) // 60  # which chain each draw is of
    for first, second in itertools.pairwise(own):
        assert first.max() < second.min()


def test_long_chains_and_independent_draws_are_shown_as_they_are():
    law = Law("mcmc", np.zeros((400, 2)), None, 4)
    assert law.shown(400, None)[1] == 4
    assert Law("guide", np.zeros((400, 2))).shown(100, np.random.default_rng(0))[1] == 1
    assert Law("guide", np.zeros((400, 2))).rhat_shown(np.zeros((400, 2))) is None

"""Leave-one-out by row, and priors against data, on fitted models."""

import numpy as np
import pytest
from elboroom.diagnostics.checks import loo, priors

import elboroom as er

RNG = np.random.default_rng(5)
Y = RNG.normal(3.0, 1.0, 60)


@er.model
def normal(y, centre, width):
    mu = er.sample("mu", er.Normal(centre, width))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1.0), y)


def fitted(y=Y, centre=0.0, width=10.0):
    return er.fit(normal(y, centre, width), progress=False)


@pytest.fixture(scope="module")
def plain():
    return fitted()


def test_leave_one_out_is_that_of_the_conjugate_model(plain):
    found = loo.leave_one_out(plain)["y"]
    n = len(Y)
    exact = []
    for i in range(n):
        rest = np.delete(Y, i)
        precision = (n - 1) + 0.01
        mean, variance = rest.sum() / precision, 1 + 1 / precision
        exact.append(-0.5 * np.log(2 * np.pi * variance) - 0.5 * (Y[i] - mean) ** 2 / variance)
    assert np.abs(found.elpd - exact).max() < 0.02 and found.khat.max() < 0.5
    assert {f.name: f.verdict for f in loo.check(plain)} == {"influential rows": "ok", "LOO-PIT": "ok"}


def test_leave_one_out_is_that_of_arviz_stats(plain):
    import arviz_stats

    found = loo.leave_one_out(plain)["y"]
    theirs = arviz_stats.loo(plain.draws, pointwise=True, var_name="y")
    np.testing.assert_allclose(
        found.elpd, theirs.elpd_i.values, atol=1e-4
    )  # their tail has a few draws more or less
    np.testing.assert_allclose(found.khat, theirs.pareto_k.values, atol=0.05)
    np.testing.assert_allclose([found.estimate.se, found.estimate.p], [theirs.se, theirs.p], rtol=1e-3)
    plain.draws["posterior_predictive"]
    places = arviz_stats.loo_pit(plain.draws, var_names="y")["y"].values
    np.testing.assert_allclose(found.places, places, atol=1e-3)


def test_rows_left_out_show_a_likelihood_that_is_too_wide():
    noise = np.random.default_rng(1).normal(size=60)
    for width, verdict in ((1.0, "ok"), (0.6, "caution"), (0.3, "misfit")):
        assert {f.name: f.verdict for f in loo.check(fitted(3 + width * noise))}["LOO-PIT"] == verdict


def test_a_row_that_the_answer_hangs_on_is_named():
    y = np.append(Y[:8], 60.0)
    finding = next(f for f in loo.check(fitted(y)) if f.name == "influential rows")
    assert finding.verdict == "caution" and "y[8]" in finding.advice


def test_a_prior_against_the_data_is_named(plain):
    found = {f.name: f for f in priors.check(plain)}
    assert found["prior and data"].verdict == "ok" and found["prior predictions"].verdict == "ok"
    found = {f.name: f for f in priors.check(fitted(centre=-4.0, width=0.3))}
    assert found["prior and data"].verdict == "caution" and found["prior and data"].quantity == "mu"
    assert found["prior predictions"].verdict == "caution"


def test_priors_that_are_far_too_wide_are_told_of():
    found = {f.name: f for f in priors.check(fitted(width=1e5))}
    assert found["prior predictions"].verdict == "ok" and "far wider" in found["prior predictions"].advice

"""Each check sees the misfit that it is for and is quiet on a right model."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from elboroom.diagnostics import check, fits_data
from elboroom.diagnostics.checks import dispersion, pit

import elboroom as er


def posterior(observed, replicated, discrete, distribution, seed=0, **data):
    """The part of a Posterior that the checks use."""
    site = SimpleNamespace(is_discrete=discrete, distribution=distribution)
    draws = {
        "observed_data": xr.Dataset({"y": ("row", observed)}),
        "posterior_predictive": xr.Dataset({"y": (("chain", "draw", "row"), replicated[None])}),
    }
    return SimpleNamespace(observed={"y": site}, draws=draws, seed=seed, _groups={}, constant_data=data)


def normal(rng, y):
    """Posterior predictive draws of a normal with unknown mean and sd, flat prior."""
    n, s = len(y), 1000
    sd = np.sqrt((n - 1) * y.var(ddof=1) / rng.chisquare(n - 1, s))
    mean = y.mean() + sd / np.sqrt(n) * rng.normal(size=s)
    return mean[:, None] + sd[:, None] * rng.normal(size=(s, n))


def poisson(rng, y):
    rate = rng.gamma(y.sum() + 1, 1 / len(y), 1000)
    return rng.poisson(rate[:, None], (1000, len(y))).astype(float)


def logistic(rng, x, y):
    """Predictive draws of a linear logistic regression by its Laplace approximation."""
    design, beta = np.column_stack([np.ones_like(x), x]), np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        beta = beta + np.linalg.solve(hessian, design.T @ (y - p))
    draws = rng.multivariate_normal(beta, np.linalg.inv(hessian), 1000)
    p = 1 / (1 + np.exp(-draws @ design.T))
    return (rng.uniform(size=p.shape) < p).astype(float)


def right(kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "continuous":
        y = rng.normal(3, 2, 200)
        return posterior(y, normal(rng, y), False, "Normal")
    if kind == "count":
        y = rng.poisson(4, 200).astype(float)
        return posterior(y, poisson(rng, y), True, "Poisson")
    x = rng.normal(size=400)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(-x))).astype(float)
    return posterior(y, logistic(rng, x, y), True, "BernoulliLogits", x=x)


def wrong(kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "continuous":
        y = rng.standard_t(2, 200)
        return posterior(y, normal(rng, y), False, "Normal")
    if kind == "count":
        y = rng.negative_binomial(1, 0.2, 200).astype(float)
        return posterior(y, poisson(rng, y), True, "Poisson")
    x = rng.normal(size=400)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(-2 * (x**2 - 1) - 0.5 * x))).astype(float)
    return posterior(y, logistic(rng, x, y), True, "BernoulliLogits", x=x)


@pytest.mark.parametrize("kind", ["continuous", "count", "binary"])
def test_right_models_fit(kind):
    flagged = sum(fits_data(right(kind, seed)) is False for seed in range(30))
    assert flagged <= 2  # about 2% each: three or more of 30 has probability 2%


@pytest.mark.parametrize("kind", ["continuous", "count", "binary"])
def test_wrong_models_do_not(kind):
    assert all(fits_data(wrong(kind, seed)) is False for seed in range(5))


def test_nothing_to_assess():
    few = posterior(np.zeros(3), np.zeros((10, 3)), False, "Normal")
    assert fits_data(few) is None


def test_an_outcome_that_no_check_could_use_is_named():
    one = right("continuous", 0)
    one.observed["grade"] = SimpleNamespace(is_discrete=True, distribution="Categorical")
    one.draws["observed_data"]["grade"] = ("row", np.zeros(one.draws["observed_data"].sizes["row"]))
    one.draws["posterior_predictive"]["grade"] = one.draws["posterior_predictive"]["y"] * 0
    assert [f.verdict for f in check(one) if f.quantity == "grade"] == ["not assessable"]
    assert fits_data(one) is True


@pytest.mark.parametrize("num_rows", [6, 100, 5000])
def test_the_band_has_its_level(num_rows):
    x = np.sort(np.random.default_rng(1).uniform(size=(4000, num_rows)), axis=1)[:, pit.ranks(num_rows) - 1]
    low, high = pit.band(num_rows)
    outside = ((x < low) | (x > high)).any(1).mean()
    assert abs(outside - 0.01) < 0.007  # 3 standard errors of both simulations


def test_many_rows_and_few_draws_raise_no_alarm():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        n, s = 20_000, 200
        p = rng.beta(8000, 12_000, s)
        replicated = (rng.uniform(size=(s, n)) < p[:, None]).astype(float)
        y = (rng.uniform(size=n) < p[0]).astype(float)
        assert fits_data(posterior(y, replicated[1:], True, "Bernoulli")) is True
    rng = np.random.default_rng(0)
    y, replicated = rng.normal(size=100_000), rng.normal(size=(150, 100_000))
    assert fits_data(posterior(y, replicated, False, "Normal")) is True


def test_counts_that_are_zero_and_one_are_counts():
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=200) < 0.5).astype(float)  # less dispersed than any Poisson
    assert fits_data(posterior(y, poisson(rng, y), True, "Poisson")) is False


def test_many_covariates_do_not_hide_a_misfit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(-2 * (x**2 - 1)))).astype(float)
    data = {f"noise{i}": rng.normal(size=400) for i in range(22)}
    assert fits_data(posterior(y, logistic(rng, x, y), True, "BernoulliLogits", x=x, **data)) is False


def test_dispersion_is_seen_with_few_draws():
    rng = np.random.default_rng(0)
    y, replicated = 1.1 * rng.normal(size=5000), rng.normal(size=(150, 5000))
    found = {f.name: f.verdict for f in dispersion.check(posterior(y, replicated, False, "Normal"))}
    assert found == {"dispersion": "misfit", "tail weight": "ok"}


def test_outcomes_that_the_model_computes_are_not_assessable():
    @er.model
    def lagged(y):
        a = er.sample("a", er.Normal(0, 1))
        with er.plate("row", len(y) - 1):
            er.observe("next", er.Normal(a * y[:-1], 1), y[1:])

    fitted = er.fit(lagged(np.random.default_rng(0).normal(size=20)), progress=False)
    assert [f.verdict for f in fitted.check()] == ["not assessable"]
    assert fits_data(fitted) is None

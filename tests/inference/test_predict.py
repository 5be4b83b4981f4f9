"""Prediction for new rows and new groups, against exact answers."""

from __future__ import annotations

import numpy as np
import pytest

import elboroom as er

NUM = 4000
X = np.linspace(-1.5, 2.0, 25)
NOISE = 0.7


@er.model
def regression(x, y=None):
    a = er.sample("a", er.Normal(0, 2))
    b = er.sample("b", er.Normal(0, 2))
    with er.plate("row", len(x)):
        mu = er.deterministic("mu", a + b * x)
        er.observe("y", er.Normal(mu, NOISE), y)


@er.model
def groups(group, tau, y=None):
    mu = er.sample("mu", er.Normal(0, 5))
    with er.plate("group", er.levels(group)):
        theta = er.sample("theta", er.Normal(mu, tau))
    with er.plate("row", len(group)):
        er.observe("y", er.Normal(theta[group], 1.0), y)


NAMES = np.repeat(list("abcdef"), 4)
CODES = np.repeat(np.arange(6), 4)
TAU = 1.5


def _close(draws, mean, sd):
    """Mean and sd within four Monte Carlo standard errors."""
    draws = np.asarray(draws)
    assert np.all(np.abs(draws.mean(0) - mean) < 4 * sd / np.sqrt(len(draws)))
    assert np.all(np.abs(draws.std(0) / sd - 1) < 4 / np.sqrt(2 * len(draws)))


@pytest.fixture(scope="module")
def line():
    y = 1 + 2 * X + NOISE * np.random.default_rng(0).normal(size=len(X))
    return er.fit(regression(X, y), num_draws=NUM, progress=False), y


@pytest.fixture(scope="module")
def grouped():
    rng = np.random.default_rng(1)
    y = (3 + TAU * rng.normal(size=6))[CODES] + rng.normal(size=len(CODES))
    named = er.fit(groups(NAMES, TAU, y), num_draws=NUM, progress=False)
    coded = er.fit(groups(CODES, TAU, y), num_draws=NUM, progress=False)
    return named, coded, y


def _exact_groups(y):
    """Mean and covariance of (mu, theta) given y, by linear algebra."""
    prior = np.zeros((7, 7))
    prior[0, 0] = 1 / 25 + 6 / TAU**2
    prior[0, 1:] = prior[1:, 0] = -1 / TAU**2
    prior[1:, 1:] = np.eye(6) / TAU**2
    design = np.zeros((len(y), 7))
    design[np.arange(len(y)), 1 + CODES] = 1
    covariance = np.linalg.inv(prior + design.T @ design)
    return covariance @ design.T @ y, covariance


def test_new_rows_of_a_conjugate_regression(line):
    posterior, y = line
    design = np.column_stack([np.ones_like(X), X])
    covariance = np.linalg.inv(design.T @ design / NOISE**2 + np.eye(2) / 4)
    mean = covariance @ design.T @ y / NOISE**2
    new = np.array([-4.0, 0.3, 6.0])
    rows = np.column_stack([np.ones(3), new])
    group = posterior.predict(x=new, seed=5)["posterior_predictive"]
    spread = np.einsum("ri,ij,rj->r", rows, covariance, rows)
    assert set(group.data_vars) == {"mu", "y"} and group["y"].shape == (1, NUM, 3)
    _close(group["mu"].values[0], rows @ mean, np.sqrt(spread))
    _close(group["y"].values[0], rows @ mean, np.sqrt(spread + NOISE**2))


def test_prediction_never_hands_the_data_back(line):
    posterior, y = line
    again = posterior.predict()["posterior_predictive"]["y"].values[0]
    given = posterior.predict(y=y)["posterior_predictive"]["y"].values[0]
    for draws in (again, given):
        assert np.all(draws.std(0) > 0.5 * NOISE) and not np.any(draws == y)


def test_a_new_label_is_a_new_group(grouped):
    posterior, _, y = grouped
    mean, covariance = _exact_groups(y)
    with pytest.raises(er.DataError, match=r"'group'.*\['new'\] in rows \[1\].*new_groups='group'"):
        posterior.predict(group=["c", "new", "a"])
    given = {"group": ["c", "new", "a"], "new_groups": "group"}
    group = posterior.predict(**given, var_names=["y", "theta"])["posterior_predictive"]
    assert group["group"].values.tolist() == [*"abcdef", "new"]
    expected = [mean[3], mean[0], mean[1]]
    spread = [covariance[3, 3] + 1, covariance[0, 0] + TAU**2 + 1, covariance[1, 1] + 1]
    _close(group["y"].values[0], np.array(expected), np.sqrt(spread))
    np.testing.assert_array_equal(group["theta"].values[0][:, :6], posterior.values["theta"])
    new = group["theta"].values[0][:, 6]
    # the new group's mean moves with mu of the same draw
    exact = np.sqrt(covariance[0, 0] / (covariance[0, 0] + TAU**2))
    assert abs(np.corrcoef(new, posterior.values["mu"])[0, 1] - exact) < 4 / np.sqrt(NUM)


def test_codes_beyond_the_fitted_groups(grouped):
    _, posterior, y = grouped
    mean, covariance = _exact_groups(y)
    with pytest.raises(er.DataError, match=r"'group'.*\[6\] in rows \[1\].*one-based"):
        posterior.predict(group=np.array([1, 6]))
    with pytest.raises(er.DataError, match=r"\[9\] in rows \[0\].*new_groups"):
        posterior.predict(group=np.array([9, 0]))
    with pytest.raises(er.DataError, match="-1"):
        posterior.predict(group=np.array([-1, 0]))
    draws = posterior.predict(group=np.array([2, 6]), new_groups="group")["posterior_predictive"]["y"].values[
        0
    ]
    spread = np.sqrt([covariance[3, 3] + 1, covariance[0, 0] + TAU**2 + 1])
    _close(draws, np.array([mean[3], mean[0]]), spread)


def test_fewer_codes_are_the_first_groups(grouped):
    _, posterior, y = grouped
    mean, covariance = _exact_groups(y)
    draws = posterior.predict(group=np.array([1, 0]))["posterior_predictive"]["y"].values[0]
    _close(draws, mean[[2, 1]], np.sqrt(1 + np.diag(covariance)[[2, 1]]))


@er.model
def schools(sigma, y=None):
    mu = er.sample("mu", er.Normal(0, 5))
    with er.plate("school", len(sigma)):
        theta = er.sample("theta", er.Normal(mu, 2.0))
        er.observe("y", er.Normal(theta, sigma), y)


def test_sizes_without_labels():
    sigma = np.array([1.0, 2.0, 1.5, 1.0])
    posterior = er.fit(schools(sigma, np.array([1.0, -2, 3, 4])), num_draws=NUM, progress=False)
    with pytest.raises(er.ShapeError, match=r"axis 'school'.*4 elements.*got 2.*new_groups='school'"):
        posterior.predict(sigma=np.ones(2))
    same = posterior.predict(sigma=2 * sigma, var_names="theta")["posterior_predictive"]["theta"].values[0]
    np.testing.assert_array_equal(same, posterior.values["theta"])
    variance = posterior.values["mu"].var()
    for choice in ("school", True, ["theta"]):
        new = posterior.predict(sigma=np.full(2, 3.0), new_groups=choice)["posterior_predictive"]
        _close(new["y"].values[0], posterior.values["mu"].mean(), np.sqrt(variance + 4 + 9))
    with pytest.raises(er.InferenceError, match="new_groups"):
        posterior.predict(sigma=np.ones(2), new_groups="pupil")


def test_interventions_and_choices(line):
    posterior, _ = line
    group = posterior.predict(do={"b": 0.0}, x=np.array([100.0]), num_draws=500)["posterior_predictive"]
    assert group["y"].shape == (1, 500, 1)
    assert abs(group["mu"].values.mean() - posterior.values["a"].mean()) < 0.1
    assert set(posterior.predict(var_names="mu")["posterior_predictive"].data_vars) == {"mu"}
    first = posterior.predict(seed=1, num_draws=20)["posterior_predictive"]["y"].values
    np.testing.assert_array_equal(first, posterior.predict(seed=1, num_draws=20)["posterior_predictive"]["y"])
    assert not np.array_equal(first, posterior.predict(seed=2, num_draws=20)["posterior_predictive"]["y"])
    with pytest.raises(er.InferenceError, match="var_names"):
        posterior.predict(var_names=["nothing"])
    with pytest.raises(er.InferenceError, match="num_draws"):
        posterior.predict(num_draws=0)
    with pytest.raises(er.DataError, match="'z'"):
        posterior.predict(z=np.ones(3))


def test_what_cannot_be_extended_refuses():
    @er.model
    def smooth(times, y=None):
        n = len(times)
        cov = np.exp(-0.5 * (np.arange(n)[:, None] - np.arange(n)) ** 2) + 0.1 * np.eye(n)
        f = er.sample("f", er.MultivariateNormal(np.zeros(n), covariance_matrix=cov))
        with er.plate("time", n):
            er.observe("y", er.Normal(f, 1.0), y)

    posterior = er.fit(smooth(np.arange(4.0), np.zeros(4)), num_draws=100, progress=False)
    with pytest.raises(er.InferenceError, match="'f'.*cannot be extended"):
        posterior.predict(times=np.arange(6.0), new_groups=True)

    @er.model
    def tied(sigma, y=None):
        with er.plate("area", len(sigma)):
            phi = er.sample("phi", er.Normal(0, 2.0))
            er.observe("y", er.Normal(phi, sigma), y)
        er.factor("smooth", -0.5 * er.math.sum((phi[1:] - phi[:-1]) ** 2))

    posterior = er.fit(tied(np.ones(4), np.zeros(4)), num_draws=100, progress=False)
    with pytest.raises(er.InferenceError, match="smooth"):
        posterior.predict(sigma=np.ones(6), new_groups=True)


def test_numpyro_models_with_required_outcomes():
    import numpyro
    import numpyro.distributions as dist

    def counts(x, y):
        rate = numpyro.sample("rate", dist.Normal(0.0, 1.0))
        with numpyro.plate("row", len(y)):
            numpyro.sample("y", dist.Poisson(np.e ** (rate + x)), obs=y)

    x = np.linspace(0, 1, 12)
    posterior = er.fit(er.from_numpyro(counts)(x, np.arange(12) % 4), num_draws=1000, progress=False)
    draws = posterior.predict(x=np.array([0.0, 1.0]))["posterior_predictive"]["y"].values[0]
    assert draws.shape == (1000, 2) and draws.dtype.kind in "iu"
    mean = np.exp(posterior.values["rate"][:, None] + np.array([0.0, 1.0])).mean(0)
    assert np.all(np.abs(draws.mean(0) - mean) < 4 * draws.std(0) / np.sqrt(1000))

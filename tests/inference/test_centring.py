"""Coordinates between centred and non-centred: the same density, and a funnel explored to its neck."""

import numpy as np
import pytest
from elboroom.inference.posterior.posterior import record_of
from scipy.stats import multivariate_normal

import elboroom as er

SIGMA = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SHARES = np.linspace(0, 1, 8)


@er.model
def schools(sigma, y):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfNormal(5))
    with er.plate("school", len(sigma)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Normal(theta, sigma), y)


@er.model
def all_kinds(y):
    tau = er.sample("tau", er.HalfCauchy(1))
    known = er.sample("known", er.Normal(0, 2))
    with er.plate("row", len(y)):
        a = er.sample("a", er.StudentT(5, known, tau))
        b = er.sample("b", er.Cauchy(a, tau))
        c = er.sample("c", er.Laplace(b, 0.5))
        er.sample("d", er.Gamma(2, tau))
        er.observe("y", er.Normal(c, 1), y)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_coordinates_are_those_of_the_formula(backend):
    target = schools(SIGMA, Y).target(backend)
    moved = target.centred({"theta": SHARES})
    z = np.random.default_rng(0).normal(size=(5, target.dim))
    values = moved.constrain(z)
    mu, tau, u = values["mu"][:, None], values["tau"][:, None], z[:, 2:]
    expected = mu + tau ** (1 - SHARES) * (u - SHARES * mu)
    np.testing.assert_allclose(values["theta"], expected, rtol=1e-12)
    np.testing.assert_allclose(moved.unconstrain(values), z, rtol=1e-10, atol=1e-10)
    parts, plain = moved.log_density(z), target.log_density(target.unconstrain(values))
    for name in ("log_prior", "log_likelihood"):
        np.testing.assert_allclose(parts[name], plain[name], rtol=1e-12)
    stretch = ((1 - SHARES) * np.log(tau)).sum(1)
    np.testing.assert_allclose(parts["log_jacobian"], plain["log_jacobian"] + stretch, rtol=1e-12)
    step = 1e-6 * np.eye(target.dim)
    _, grad = moved.value_and_grad(z[:1])
    numeric = (moved.value_and_grad(z[:1] + step)[0] - moved.value_and_grad(z[:1] - step)[0]) / 2e-6
    np.testing.assert_allclose(grad[0], numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_which_sites_have_them(backend):
    target = all_kinds(np.arange(3.0)).target(backend)
    assert [site.name for site in target.sites if site.location_scale] == ["a", "b"]
    moved = target.centred({"a": 0.3, "b": 0.0})
    z = np.random.default_rng(1).normal(size=(4, target.dim))
    np.testing.assert_allclose(moved.unconstrain(moved.constrain(z)), z, rtol=1e-9, atol=1e-9)


def exact():
    """Mean, sd, 5% and 95% quantile of tau, by quadrature of the marginal density."""
    grid = np.linspace(1e-4, 30, 6000)
    log_p = [
        multivariate_normal.logpdf(Y, np.zeros(8), np.diag(SIGMA**2 + t**2) + 25.0) - t**2 / 50 for t in grid
    ]
    p = np.exp(log_p - np.max(log_p))
    p /= p.sum()
    mean = p @ grid
    return mean, np.sqrt(p @ (grid - mean) ** 2), *np.interp([0.05, 0.95], np.cumsum(p), grid)


@pytest.mark.slow
def test_a_funnel_is_explored_to_its_neck():
    mean, sd, low, high = exact()
    for seed in range(3):
        posterior = er.fit(schools(SIGMA, Y), seed=seed, progress=False)
        assert posterior.centring["theta"].max() < 0.6  # weak data: near the non-centred end
        row = posterior.summary("tau").iloc[0]
        assert row["verdict"] == "trusted"
        assert abs(row["mean"] - mean) < 0.06 * sd
        assert abs(row["sd"] / sd - 1) < 0.06
        assert abs(row["q5"] - low) < 0.06 * sd and abs(row["q95"] - high) < 0.12 * sd


def test_strong_data_stay_centred():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 200)
    y = rng.normal(rng.normal(0, 2, 12)[group], 1.0)

    @er.model
    def strong(group, y):
        tau = er.sample("tau", er.HalfNormal(5))
        with er.plate("group", er.levels(group)):
            a = er.sample("a", er.Normal(0, tau))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[group], 1), y)

    posterior = er.fit(strong(group, y), progress=False)
    assert posterior.centring["a"].min() > 0.9
    assert posterior.verdict == "trusted"


def test_labels_are_still_recognised():
    rng = np.random.default_rng(9)
    data = np.concatenate([rng.normal(-4, 1, 60), rng.normal(4, 1, 60)])

    @er.model
    def mixture(y):
        spread = er.sample("spread", er.HalfNormal(5))
        mu = er.sample("mu", er.Normal(0, spread).expand([2]).to_event(1))
        with er.plate("row", len(y)):
            parts = er.Categorical(probs=np.array([0.5, 0.5]))
            er.observe("y", er.MixtureSameFamily(parts, er.Normal(mu, 1)), y)

    posterior = er.fit(mixture(data), progress=False)
    assert set(posterior.centring) == {"mu"}
    table = posterior.summary()
    assert table.loc[["mu[0]", "mu[1]"], "verdict"].tolist() == ["untrusted"] * 2
    assert table.loc["spread", "verdict"] == "trusted"


def test_saved_and_loaded(tmp_path):
    program = schools(SIGMA, Y)
    posterior = er.fit(program, progress=False)
    values = {k: v[:4] for k, v in posterior.values.items()}
    before = posterior.log_prob(values)
    posterior.save(tmp_path / "kept")
    again = er.load(tmp_path / "kept", program=schools(SIGMA, Y))
    np.testing.assert_allclose(again.log_prob(values), before, rtol=1e-10)
    np.testing.assert_array_equal(
        record_of(again).target.constrain(again.z)["theta"], posterior.values["theta"]
    )
    with pytest.raises(er.InferenceError, match="program"):
        er.load(tmp_path / "kept").log_prob(values)


@pytest.mark.slow
def test_a_structured_guide_is_saved_with_its_layout(tmp_path):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 5)
    y = rng.normal(rng.normal(0, 1, 40)[group], 1.0)

    @er.model
    def groups(group, y):
        tau = er.sample("tau", er.HalfNormal(2))
        with er.plate("group", er.levels(group)):
            a = er.sample("a", er.Normal(0, tau))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[group], 1), y)

    posterior = er.fit(groups(group, y), progress=False)
    assert posterior.guide.family.name == "structured"
    assert posterior.guide.num_parameters < 150
    posterior.save(tmp_path / "kept")
    again = er.load(tmp_path / "kept", program=groups(group, y))
    values = {k: v[:3] for k, v in posterior.values.items()}
    np.testing.assert_allclose(again.log_prob(values), posterior.log_prob(values), rtol=1e-12)
    mean, sd = again.guide.marginals(again.params)
    dense_mean, covariance = posterior.guide.moments(posterior.params)
    np.testing.assert_allclose(mean, dense_mean)
    np.testing.assert_allclose(sd, np.sqrt(np.diag(covariance)), rtol=1e-9)

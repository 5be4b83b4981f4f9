"""The declared language against plain NumPyro models of the same posteriors."""

import numpy as np
import pytest

import elboroom as er


@er.model
def schools(sigma, y=None):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfCauchy(5))
    with er.plate("school", len(sigma)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Normal(theta, sigma), y)


def numpyro_schools(sigma, y):
    import numpyro
    import numpyro.distributions as dist

    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
    numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


@er.model
def radon(county, floor, uranium, y=None):
    spread = er.sample("sigma_alpha", er.HalfNormal(1))
    noise = er.sample("sigma_y", er.HalfNormal(1))
    mean = er.sample("mu_alpha", er.Normal(0, 10))
    beta = er.sample("beta", er.Normal(0, 10).expand([2]))
    with er.plate("county", er.levels(county)):
        alpha = er.sample("alpha", er.Normal(mean, spread))
    with er.plate("home", len(floor)):
        er.observe("y", er.Normal(alpha[county] + uranium * beta[0] + floor * beta[1], noise), y)


def numpyro_radon(county, floor, uranium, y, J):
    import numpyro
    import numpyro.distributions as dist

    spread = numpyro.sample("sigma_alpha", dist.HalfNormal(1.0))
    noise = numpyro.sample("sigma_y", dist.HalfNormal(1.0))
    mean = numpyro.sample("mu_alpha", dist.Normal(0.0, 10.0))
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    alpha = numpyro.sample("alpha", dist.Normal(mean, spread).expand([J]).to_event(1))
    numpyro.sample("y", dist.Normal(alpha[county] + uranium * beta[0] + floor * beta[1], noise), obs=y)


def schools_data():
    sigma = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    return dict(sigma=sigma, y=np.array([28, 8, -3, 7, -1, 1, 18, 12.0]))


def radon_data():
    rng = np.random.default_rng(0)
    county = np.r_[np.arange(20), rng.integers(0, 20, 180)]
    floor, uranium = rng.integers(0, 2, 200).astype(float), rng.normal(size=20)[county]
    return dict(county=county, floor=floor, uranium=uranium, y=rng.normal(1, 1, 200))


@pytest.mark.parametrize(
    ("ours", "port", "data", "more"),
    [(schools, numpyro_schools, schools_data(), {}), (radon, numpyro_radon, radon_data(), {"J": 20})],
)
def test_same_density_as_numpyro(ours, port, data, more):
    import jax
    from numpyro.infer.util import log_density

    first = ours(**data).target()
    second = er.from_numpyro(port)(**data, **more).target()
    assert [s.name for s in first.sites] == [s.name for s in second.sites]
    z = np.random.default_rng(1).normal(size=(20, first.dim))
    ours_value, ours_grad = first.value_and_grad(z)
    port_value, port_grad = second.value_and_grad(z)
    np.testing.assert_allclose(ours_value, port_value, rtol=1e-9)
    np.testing.assert_allclose(ours_grad, port_grad, rtol=1e-9, atol=1e-9)
    values = {k: v[0] for k, v in first.constrain(z[:1]).items()}
    with jax.enable_x64(True):
        exact = float(log_density(port, (), {**data, **more}, values)[0])
    assert abs(ours(**data).log_density(values) - exact) < 1e-9 * abs(exact)


def test_unconstrain_inverts_constrain():
    target = radon(**radon_data()).target()
    z = np.random.default_rng(2).normal(size=(5, target.dim))
    np.testing.assert_allclose(target.unconstrain(target.constrain(z)), z, atol=1e-10)


def test_the_gradient_is_that_of_the_density():
    target = schools(**schools_data()).target()
    z = np.random.default_rng(3).normal(size=(1, target.dim))
    _, grad = target.value_and_grad(z)
    step = 1e-5 * np.eye(target.dim)
    up, down = target.value_and_grad(z + step)[0], target.value_and_grad(z - step)[0]
    np.testing.assert_allclose(grad[0], (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


def test_condition_and_do():
    data = schools_data()
    program = schools(**data)
    values = {"mu": 1.0, "tau": 2.0, "theta": np.zeros(8)}
    conditioned, intervened = program.condition(tau=2.0), program.do(tau=2.0)
    rest = {"mu": 1.0, "theta": np.zeros(8)}
    prior = np.log(2 / (np.pi * 5 * (1 + (2 / 5) ** 2)))
    assert conditioned.log_density(rest) == pytest.approx(program.log_density(values), rel=1e-12)
    assert intervened.log_density(rest) == pytest.approx(program.log_density(values) - prior, rel=1e-12)

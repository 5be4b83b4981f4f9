"""Continuous sites whose laws depend on a discrete one that is summed out: against sums over every combination."""

import itertools

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import expit, logsumexp

import elboroom as er

X = np.random.default_rng(0).normal(size=(12, 3))
Y = X @ [1.2, 0.0, -0.1] + np.random.default_rng(1).normal(size=12)
BACKENDS = ("jax", "torch")
P, B = 0.3, np.array([0.9, -0.04, 0.2])
SPIKE, SLAB = 0.05, 3.0


@er.model
def spike_and_slab(x, y):
    p = er.sample("p", er.Beta(1, 1))
    with er.plate("column", 3):
        z = er.sample("z", er.Bernoulli(probs=p))
        b = er.sample("b", er.Normal(0, er.math.where(z == 1, SLAB, SPIKE)))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


def _slab(b=B, p=P):
    """Log joint density of each value of z with b, shape (2, 3)."""
    return np.log([[1 - p], [p]]) + stats.norm.logpdf(b, 0, np.array([[SPIKE], [SLAB]]))


def _target(program, backend):
    return program.target(backend, np.float64, "cpu")


@pytest.mark.parametrize("backend", BACKENDS)
def test_spike_and_slab(backend):
    program = spike_and_slab(X, Y)
    target = _target(program, backend)
    z = target.unconstrain({"p": np.array([P]), "b": B[None]})
    expected = logsumexp(_slab(), axis=0).sum() + stats.norm.logpdf(Y, X @ B, 1.0).sum()
    assert target.log_density(z)["log_density"][0] == pytest.approx(expected + np.log(P * (1 - P)), abs=1e-9)
    share = np.exp(_slab() - logsumexp(_slab(), axis=0))
    assert np.allclose(target.responsibilities(z)["z"][0], share, atol=1e-9)
    assert np.allclose(target.per_row(z)["y"][0], stats.norm.logpdf(Y, X @ B, 1.0), atol=1e-9)
    step = 1e-6 * np.eye(4)
    slopes = [(target.value_and_grad(z + d)[0] - target.value_and_grad(z - d)[0])[0] / 2e-6 for d in step]
    assert np.allclose(target.value_and_grad(z)[1][0], slopes, rtol=1e-5, atol=1e-4)


@er.model
def classes(y):
    """Latent classes with effects of their own, two outcomes a row."""
    scale = er.sample("scale", er.HalfNormal(1.0))
    with er.plate("row", len(y)):
        z = er.sample("z", er.Bernoulli(probs=0.4))
        b = er.sample("b", er.Normal(2.0 * z, er.math.where(z == 1, 0.5, scale)))
        u = er.sample("u", er.Exponential(1.0 + z))
        er.observe("y", er.Normal(b + u - z, 0.7), y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_latent_classes_with_their_own_effects(backend):
    y, b, u, scale = Y[:4], np.array([0.1, 1.9, -0.5, 1.0]), np.array([0.2, 1.0, 0.4, 2.0]), 0.8
    code = np.array([[0.0], [1.0]])
    before = (
        np.log([[0.6], [0.4]])
        + stats.norm.logpdf(b, 2 * code, np.where(code == 1, 0.5, scale))
        + stats.expon.logpdf(u, scale=1 / (1 + code))
    )
    seen = stats.norm.logpdf(y, b + u - code, 0.7)
    target = _target(classes(y), backend)
    z = target.unconstrain({"scale": np.array([scale]), "b": b[None], "u": u[None]})
    rows = logsumexp(before + seen, axis=0)
    jacobian = np.log(scale) + np.log(u).sum()
    expected = stats.halfnorm.logpdf(scale) + rows.sum() + jacobian
    assert target.log_density(z)["log_density"][0] == pytest.approx(expected, abs=1e-9)
    assert np.allclose(target.per_row(z)["y"][0], rows - logsumexp(before, axis=0), atol=1e-9)
    share = np.exp(before + seen - rows)
    assert np.allclose(target.responsibilities(z)["z"][0], share, atol=1e-9)
    drawn = target.density.predict(np.repeat(z, 4000, 0), np.arange(4000), target.data, target.weights)["y"]
    drawn = np.asarray(drawn)
    one = np.exp(before - logsumexp(before, axis=0))[1]  # codes that agree with b and u, not with their prior
    assert np.allclose(drawn.mean(0), b + u - one, atol=4 * np.sqrt((0.49 + 0.25) / 4000))


@pytest.mark.parametrize("backend", BACKENDS)
def test_events_and_a_chain_above_a_continuous_site(backend):
    start, move = np.array([0.6, 0.4]), np.array([[0.8, 0.2], [0.3, 0.7]])
    at, b = np.array([[0.0, 1.0], [2.0, -1.0]]), np.random.default_rng(2).normal(size=(4, 2))

    @er.model
    def switching(y):
        m = er.sample("m", er.Normal(0, 1))
        state = er.sample("state", er.MarkovChain(start, move, 4))
        with er.plate("time", 4):
            b = er.sample("b", er.Normal(er.math.take(at, state, axis=0), 0.5).to_event(1))
            er.observe("y", er.Normal(m + b.sum(-1), 1.0), y)

    paths = np.array(list(itertools.product(range(2), repeat=4)))
    terms = np.log(start[paths[:, 0]]) + np.log(move[paths[:, :-1], paths[:, 1:]]).sum(1)
    terms = terms + stats.norm.logpdf(b, at[paths], 0.5).sum((1, 2))
    target = _target(switching(Y[:4]), backend)
    z = target.unconstrain({"m": np.array([0.3]), "b": b[None]})
    rest = stats.norm.logpdf(0.3) + stats.norm.logpdf(Y[:4], 0.3 + b.sum(-1), 1.0).sum()
    assert target.log_density(z)["log_density"][0] == pytest.approx(rest + logsumexp(terms), abs=1e-9)
    share = np.exp(terms - logsumexp(terms))
    smooth = [[share[paths[:, t] == k].sum() for t in range(4)] for k in range(2)]
    assert np.allclose(target.responsibilities(z)["state"][0], smooth, atol=1e-9)
    made = target.density.predict(np.repeat(z, 2, 0), np.arange(2), target.data, target.weights)
    assert made["y"].shape == (2, 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_missing_outcomes_below_a_discrete_site(backend):
    @er.model
    def mixture(y):
        mu = er.sample("mu", er.Normal(0, 3).expand([2]).to_event(1))
        with er.plate("row", len(y)):
            z = er.sample("z", er.Bernoulli(probs=0.4))
            er.observe("y", er.Normal(mu[z], 1.0), y)

    y, mu = np.where(np.arange(6) == 2, np.nan, Y[:6]), np.array([-1.0, 1.0])
    rows = logsumexp(np.log([0.6, 0.4]) + stats.norm.logpdf(y[:, None], mu, 1.0), axis=1)
    target = _target(mixture(y), backend)
    assert np.allclose(target.per_row(mu[None])["y"][0], np.where(np.isnan(y), 0.0, rows), atol=1e-9)
    value = target.log_density(mu[None])
    assert value["log_density"][0] == pytest.approx(
        np.nansum(rows) + stats.norm.logpdf(mu, 0, 3).sum(), abs=1e-9
    )


def test_a_numpyro_model():
    def model(x, y):
        with numpyro.plate("column", 3):
            z = numpyro.sample("z", dist.Bernoulli(P), infer={"enumerate": "parallel"})
            b = numpyro.sample("b", dist.Normal(0, jnp.array([SPIKE, SLAB])[z]))
        with numpyro.plate("row", len(y)):
            numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

    expected = logsumexp(_slab(), axis=0).sum() + stats.norm.logpdf(Y, X @ B, 1.0).sum()
    assert er.from_numpyro(model)(X, Y).log_density({"b": B}) == pytest.approx(expected, abs=1e-9)


def test_a_pyro_model():
    import pyro
    import pyro.distributions as pdist
    import torch

    def model(x, y):
        with pyro.plate("column", 3):
            z = pyro.sample("z", pdist.Bernoulli(torch.tensor(P, dtype=torch.float64)))
            b = pyro.sample("b", pdist.Normal(0.0, torch.where(z == 1, SLAB, SPIKE)))
        with pyro.plate("row", len(y)):
            pyro.sample("y", pdist.Normal(x @ b, 1.0), obs=y)

    expected = logsumexp(_slab(), axis=0).sum() + stats.norm.logpdf(Y, X @ B, 1.0).sum()
    program = er.from_pyro(model)(torch.tensor(X), torch.tensor(Y))
    assert program.target("torch", np.float64).log_joint({"b": B}) == pytest.approx(expected, abs=1e-9)


def test_a_support_that_depends_on_a_discrete_site_is_refused():
    @er.model
    def bounded(y):
        z = er.sample("z", er.Bernoulli(probs=0.5))
        u = er.sample("u", er.Uniform(0.0, 1.0 + z))
        er.observe("y", er.Normal(u, 1.0), y)

    with pytest.raises(er.UnsupportedError, match=r"'u'.*support that does not depend"):
        bounded(0.3).target().log_density(np.zeros((1, 1)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fit_of_one_spike_and_slab_is_exact(backend):
    """Known scale and share: mean and class probability of each coefficient in closed form."""
    y = np.array([0.15, 2.5, -0.3, 0.9])

    @er.model
    def means(y):
        with er.plate("row", len(y)):
            z = er.sample("z", er.Bernoulli(probs=0.5))
            b = er.sample("b", er.Normal(0, er.math.where(z == 1, 2.0, 0.3)))
            er.observe("y", er.Normal(b, 0.5), y)

    variances = np.array([[0.3], [2.0]]) ** 2
    marginal = stats.norm.logpdf(y, 0, np.sqrt(variances + 0.25))
    share = expit(marginal[1] - marginal[0])
    each = y * variances / (variances + 0.25)
    mean = (1 - share) * each[0] + share * each[1]
    within = variances * 0.25 / (variances + 0.25)
    sd = np.sqrt((1 - share) * (within[0] + each[0] ** 2) + share * (within[1] + each[1] ** 2) - mean**2)
    posterior = er.fit(means(y), backend=backend, progress=False)
    b = posterior.values["b"]
    assert np.all(np.abs(b.mean(0) - mean) < 0.06 * sd)  # two modes each: 0.06 is 4 errors of 4000 draws
    assert np.all(np.abs(b.std(0) / sd - 1) < 0.06)
    found = posterior.discrete()["z"].values[..., 1]
    assert np.allclose(found, share, atol=0.03)
    assert posterior.draws["log_likelihood"]["y"].shape[-1] == 4
    assert posterior.predict(num_draws=50)["posterior_predictive"]["y"].shape == (1, 50, 4)

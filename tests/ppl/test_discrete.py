"""Discrete sites are summed out: against sums over every combination of their values."""

import itertools

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import logsumexp

import elboroom as er

Y = np.array([-2.1, -1.4, 0.3, 1.8, 2.2, -0.6])
MU, SD, W = np.array([-1.0, 1.5]), 0.9, np.array([0.4, 0.6])


@er.model
def mixture(y):
    w = er.sample("w", er.Dirichlet([1.0, 1.0]))
    mu = er.sample("mu", er.Normal(0, 3).expand([2]).to_event(1))
    with er.plate("row", len(y)):
        z = er.sample("z", er.Categorical(probs=w))
        er.observe("y", er.Normal(mu[z], SD), y)


VALUES = {"w": W, "mu": MU}
ROWS = logsumexp(np.log(W) + stats.norm.logpdf(Y[:, None], MU, SD), axis=1)
PRIOR = stats.norm.logpdf(MU, 0, 3).sum()  # the Dirichlet is flat with density one


def test_a_mixture_in_a_plate():
    program = mixture(Y)
    assert program.trace()["z"].role == "discrete" and program.trace().dim == 3
    assert program.log_density(VALUES) == pytest.approx(PRIOR + ROWS.sum(), abs=1e-9)
    target = program.target()
    z = target.unconstrain({k: v[None] for k, v in VALUES.items()})
    assert np.allclose(target.per_row(z)["y"][0], ROWS, atol=1e-9)
    weights = np.exp(np.log(W) + stats.norm.logpdf(Y[:, None], MU, SD) - ROWS[:, None])
    assert np.allclose(target.responsibilities(z)["z"][0], weights.T, atol=1e-9)


def test_a_numpyro_model_with_a_discrete_site():
    def model(y):
        w = numpyro.sample("w", dist.Dirichlet(np.ones(2)))
        mu = numpyro.sample("mu", dist.Normal(0, 3).expand([2]).to_event(1))
        with numpyro.plate("row", len(y)):
            z = numpyro.sample("z", dist.Categorical(w), infer={"enumerate": "parallel"})
            numpyro.sample("y", dist.Normal(mu[z], SD), obs=y)

    assert er.from_numpyro(model)(Y).log_density(VALUES) == pytest.approx(PRIOR + ROWS.sum(), abs=1e-9)


def test_a_shared_site_above_local_ones():
    shift = np.array([0.0, 2.0])
    switch = np.array([[0.9, 0.1], [0.3, 0.7]])

    @er.model
    def nested(y):
        mu = er.sample("mu", er.Normal(0, 3).expand([2]).to_event(1))
        g = er.sample("g", er.Bernoulli(probs=0.3))
        with er.plate("row", len(y)):
            z = er.sample("z", er.Categorical(probs=er.math.take(switch, g, axis=0)))
            er.observe("y", er.Normal(mu[z] + er.math.take(shift, g), SD), y)

    def given(g):
        terms = np.log(switch[g]) + stats.norm.logpdf(Y[:, None], MU + shift[g], SD)
        return logsumexp(terms, axis=1).sum()

    expected = logsumexp([np.log(0.7) + given(0), np.log(0.3) + given(1)])
    assert nested(Y).log_density({"mu": MU}) == pytest.approx(PRIOR + expected, abs=1e-9)
    assert nested(Y).target().per_row(MU[None]) == {}  # the rows share a site: none has a density of its own


def test_a_markov_chain_and_its_smoothing():
    start, move = np.array([0.5, 0.3, 0.2]), np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]])

    @er.model
    def hidden(y):
        mu = er.sample("mu", er.Normal(0, 3).expand([3]).to_event(1))
        state = er.sample("state", er.MarkovChain(start, move, len(y)))
        with er.plate("time", len(y)):
            er.observe("y", er.Normal(mu[state], 1.0), y)

    mu = np.array([-2.0, 0.0, 1.5])
    paths = np.array(list(itertools.product(range(3), repeat=len(Y))))
    terms = (
        np.log(start[paths[:, 0]])
        + np.log(move[paths[:, :-1], paths[:, 1:]]).sum(1)
        + stats.norm.logpdf(Y, mu[paths], 1.0).sum(1)
    )
    program = hidden(Y)
    prior = stats.norm.logpdf(mu, 0, 3).sum()
    assert program.log_density({"mu": mu}) == pytest.approx(prior + logsumexp(terms), abs=1e-9)
    assert program.target().per_row(mu[None]) == {}
    found = program.target().responsibilities(mu[None])["state"][0]
    weights = np.exp(terms - logsumexp(terms))
    assert np.allclose(found, [[weights[paths[:, t] == k].sum() for t in range(len(Y))] for k in range(3)])
    drawn = program.prior_predictive(4000)["prior_predictive"]["y"].values[0]
    assert drawn.shape == (4000, len(Y))


def test_a_chain_draws_its_own_law():
    start, move = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.4, 0.6]])

    @er.model
    def switching(y):
        b = er.sample("b", er.Normal(0, 1))
        state = er.sample("state", er.MarkovChain(start, move, 40))
        with er.plate("time", 40):
            er.observe("y", er.Normal(100.0 * state + 0.01 * b, 0.1), y)

    y = switching(np.zeros(40)).prior_predictive(2000)["prior_predictive"]["y"].values[0] > 50
    assert y[:, 0].mean() == pytest.approx(0.5, abs=0.045)
    assert y[:, 1:][~y[:, :-1]].mean() == pytest.approx(0.1, abs=0.006)
    assert y[:, 1:][y[:, :-1]].mean() == pytest.approx(0.6, abs=0.02)


def test_zero_inflation_by_hand_and_in_a_factor():
    y = np.array([0, 0, 3, 1, 0])

    def check(model):
        values = {"p": 0.3, "rate": 1.7}
        zero = np.where(y == 0, np.log(0.3), -np.inf)
        expected = np.logaddexp(zero, np.log(0.7) + stats.poisson.logpmf(y, 1.7)).sum()
        expected += stats.gamma.logpdf(1.7, 2)
        assert model(y).log_density(values) == pytest.approx(expected, abs=1e-9)

    @er.model
    def observed(y):
        p, rate = er.sample("p", er.Uniform(0, 1)), er.sample("rate", er.Gamma(2, 1))
        with er.plate("row", len(y)):
            absent = er.sample("absent", er.Bernoulli(probs=p))
            er.observe("y", er.Poisson(er.math.where(absent == 1, 1e-300, rate)), y)

    @er.model
    def factored(y):
        p, rate = er.sample("p", er.Uniform(0, 1)), er.sample("rate", er.Gamma(2, 1))
        with er.plate("row", len(y)):
            absent = er.sample("absent", er.Bernoulli(probs=p))
            count = y * er.math.log(rate) - rate - er.math.gammaln(y + 1.0)
            er.factor("y", er.math.where(absent == 1, er.math.where(y == 0, 0.0, -np.inf), count))

    check(observed)
    check(factored)


@pytest.mark.slow
def test_a_fit_recovers_the_groups():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], [60, 40])
    y = rng.normal(np.array([-3.0, 3.0])[truth], 0.9)

    @er.model
    def groups(y):
        w = er.sample("w", er.Dirichlet([1.0, 1.0]))
        mu = er.sample("mu", er.Ordered(er.Normal(0, 5).expand([2])))
        with er.plate("row", len(y)):
            z = er.sample("z", er.Categorical(probs=w))
            er.observe("y", er.Normal(mu[z], SD), y)

    posterior = er.fit(groups(y), progress=False)
    assert posterior.verdict == "trusted"
    found = posterior.discrete()["z"]
    assert found.dims == ("row", "z_value")
    assert np.allclose(found.sum("z_value"), 1) and (found.argmax("z_value").values == truth).mean() > 0.99
    assert posterior.draws["log_likelihood"]["y"].shape == (1, 4000, 100)


def test_what_cannot_be_summed_out_is_refused():
    @er.model
    def endless(y):
        n = er.sample("n", er.Poisson(3.0))
        er.observe("y", er.Normal(n, er.sample("s", er.HalfNormal(1))), y)

    @er.model
    def late(y):
        s = er.sample("s", er.HalfNormal(1))
        with er.plate("row", len(y)):
            z = er.sample("z", er.Bernoulli(probs=0.5))
        g = er.sample("g", er.Bernoulli(probs=0.5))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(1.0 * z + g, s), y)

    with pytest.raises(er.ModelError, match=r"'n'.*cannot be summed out"):
        endless(Y).trace()
    with pytest.raises(er.UnsupportedError, match=r"'g'.*before 'z'"):
        late(Y).log_density({"s": 1.0})

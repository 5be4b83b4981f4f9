"""Discrete sites in panels: a chain for each individual, exactly; and what cannot be summed out element by element."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import elboroom as er

BACKENDS = ["jax", "torch"]
N, T, K = 3, 5, 2
MU, STAY = np.array([0.0, 1.0]), 0.3
Y = np.random.default_rng(0).normal(size=(N, T))
VALUES = {"stay": np.array(STAY), "mu": MU}


def moves(stay):
    row = er.math.stack([stay, 1 - stay], axis=-1)
    return er.math.stack([row, row[..., ::-1] if hasattr(row, "at") else er.math.flip(row, -1)], axis=-2)


def globals_():
    stay = er.sample("stay", er.Beta(2, 2))
    return stay, er.sample("mu", er.Normal(np.zeros(K), 2.0).to_event(1))


@er.model
def panel(y=None):
    """A hidden Markov model for each individual."""
    stay, mu = globals_()
    with er.plate("animal", N):
        z = er.sample("z", er.MarkovChain(np.array([0.5, 0.5]), moves(stay), T))
    with er.plate("time", T), er.plate("animal", N):
        er.observe("y", er.Normal(mu[z], 1.0), y)


@er.model
def in_one_event(y=None):
    stay, mu = globals_()
    with er.plate("animal", N):
        z = er.sample("z", er.MarkovChain(np.array([0.5, 0.5]), moves(stay), T))
        er.observe("y", er.Normal(mu[z], 1.0).to_event(1), y)


def _forward(row):
    """Log density of one individual's outcomes, by the forward algorithm."""
    move = np.log([[STAY, 1 - STAY], [1 - STAY, STAY]])
    alpha = np.log([0.5, 0.5]) + stats.norm(MU, 1).logpdf(row[0])
    for value in row[1:]:
        alpha = logsumexp(alpha[:, None] + move, axis=0) + stats.norm(MU, 1).logpdf(value)
    return logsumexp(alpha)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_chain_for_each_individual(backend):
    exact = stats.beta(2, 2).logpdf(STAY) + stats.norm(0, 2).logpdf(MU).sum() + sum(map(_forward, Y))
    assert panel(Y).target(backend).log_joint(VALUES) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_chain_along_one_event_is_refused(backend):
    with pytest.raises(er.UnsupportedError, match="'y'.*'z'.*summed together inside one event.*plate"):
        in_one_event(Y).trace(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_elements_that_a_density_takes_together_are_refused(backend):
    @er.model
    def total(y=None):
        b = er.sample("b", er.Normal(0, 1))
        with er.plate("group", 3):
            z = er.sample("z", er.Bernoulli(0.3))
        er.observe("y", er.Normal(b + z.sum(), 1.0), y)

    @er.model
    def gathered(group, y=None):
        mu = er.sample("mu", er.Normal(np.zeros(2), 2.0).to_event(1))
        with er.plate("group", 3):
            z = er.sample("z", er.Categorical(np.array([0.3, 0.7])))
        with er.plate("row", 6):
            er.observe("y", er.Normal(mu[z[group]], 1.0), y)

    with pytest.raises(er.UnsupportedError, match="'y'.*'z'.*together"):
        total(2.0).trace(backend)
    with pytest.raises(er.UnsupportedError, match="'y'.*'z'.*gathered together.*plate"):
        gathered(np.array([0, 0, 1, 1, 1, 2]), np.ones(6)).trace(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sum_that_swallows_the_axis_of_values_is_refused(backend):
    """Three values and three terms: the shapes agree by chance."""

    def model(axis):
        @er.model
        def weighed(x, y=None):
            b = er.sample("b", er.Normal(np.zeros(3), 1.0).to_event(1))
            z = er.sample("z", er.Categorical(np.array([0.2, 0.3, 0.5])))
            level = b[z][..., None] * x if axis is not None else b[z] * x
            er.observe("y", er.Normal(er.math.sum(level, axis=axis), 1.0), y)

        return weighed(np.arange(3.0), 2.0)

    b = np.array([0.1, 0.5, -0.4])
    exact = logsumexp(np.log([0.2, 0.3, 0.5]) + stats.norm(3 * b, 1).logpdf(2.0)) + stats.norm.logpdf(b).sum()
    assert model(-1).target(backend).log_joint({"b": b}) == pytest.approx(exact, abs=1e-9)
    with pytest.raises(er.UnsupportedError, match="'y'.*'z'.*axis=-1"):
        model(None).target(backend).log_joint({"b": b})

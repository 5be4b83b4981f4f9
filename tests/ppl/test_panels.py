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
    with pytest.raises(er.UnsupportedError, match=r"'y'.*'z'.*summed together inside one event.*plate"):
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

    with pytest.raises(er.UnsupportedError, match=r"'y'.*'z'.*together"):
        total(2.0).trace(backend)
    with pytest.raises(er.UnsupportedError, match=r"'y'.*'z'.*gathered together.*plate"):
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
    with pytest.raises(er.UnsupportedError, match=r"'y'.*'z'.*axis=-1"):
        model(None).target(backend).log_joint({"b": b})


# Dippers on a river in the Vosges, 1981 to 1987: birds released each year, and the year in which they were next seen
# (Lebreton, Burnham, Clobert & Anderson 1992, Modeling survival and testing biological hypotheses using marked
# animals, Ecological Monographs 62).
RELEASED = np.array([22, 60, 78, 80, 88, 98])
SEEN = np.array(
    [
        [11, 2, 0, 0, 0, 0],
        [0, 24, 1, 0, 0, 0],
        [0, 0, 34, 2, 0, 0],
        [0, 0, 0, 45, 1, 2],
        [0, 0, 0, 0, 51, 0],
        [0] * 5 + [52],
    ]
)


def _dippers():
    """First year, a fact of the design and a tuple, and what was seen afterwards, until the bird is seen again."""
    first, seen = [], []
    for year, row in enumerate(SEEN):
        for later, count in enumerate([*row, RELEASED[year] - row.sum()]):
            history = np.full(7, np.nan)
            history[year + 1 : later + 2] = 0.0
            if later < 6:
                history[later + 1] = 1.0
            first += [year] * count
            seen += [history] * count
    return tuple(first), np.array(seen)


@er.model
def survival(first, seen=None):
    """Cormack–Jolly–Seber: not yet marked, alive, dead; every bird enters in a year of its own."""
    phi = er.sample("phi", er.Beta(1, 1))
    p = er.sample("p", er.Beta(1, 1))
    year, entered = np.arange(1, 7), np.asarray(first)[:, None]
    enters, waits = (year == entered).astype(float), (year < entered).astype(float)
    outside = np.stack([waits, enters, 1 - waits - enters], axis=-1)  # (N, 6, 3)
    alive = er.math.stack([0 * phi, phi, 1 - phi]) + er.math.asarray(np.zeros((len(first), 6, 1)))
    dead = np.tile([0.0, 0.0, 1.0], (len(first), 6, 1))
    moves = er.math.stack([er.math.asarray(outside), alive, er.math.asarray(dead)], axis=-2)
    start = np.stack([entered[:, 0] > 0, entered[:, 0] == 0, np.zeros(len(first))], axis=-1).astype(float)
    with er.plate("bird", len(first)):
        z = er.sample("z", er.MarkovChain(start, moves, 7))
    with er.plate("year", 7), er.plate("bird", len(first)):
        er.observe("seen", er.Bernoulli(probs=p * (z == 1)), seen)


def _multinomial(phi, p):
    """Log density of the releases: survived and missed, then survived and seen; or never again."""
    total = 0.0
    for year, row in enumerate(SEEN):
        chance = np.array([0.0] * year + [phi * p * (phi * (1 - p)) ** k for k in range(6 - year)])
        total += (row[year:] * np.log(chance[year:])).sum()
        total += (RELEASED[year] - row.sum()) * np.log(1 - chance.sum())
    return total


@pytest.mark.parametrize("backend", BACKENDS)
def test_survival_of_individuals_that_enter_at_their_own_time(backend):
    first, seen = _dippers()
    target = survival(first, seen).target(backend)
    values = [{"phi": np.array(a), "p": np.array(b)} for a, b in ((0.56, 0.9), (0.4, 0.7))]
    for value in values:
        assert target.log_joint(value) == pytest.approx(_multinomial(value["phi"], value["p"]), abs=1e-8)


@pytest.mark.slow
def test_the_dippers_survive_as_is_published():
    first, seen = _dippers()
    posterior = er.fit(survival(first, seen), progress=False, num_draws=1000)
    phi, p = np.meshgrid(np.linspace(0.4, 0.72, 65), np.linspace(0.7, 0.999, 75), indexing="ij")
    weights = np.exp(np.vectorize(_multinomial)(phi, p) - _multinomial(0.56, 0.9025))
    weights /= weights.sum()
    table = posterior.summary()
    for name, values in (("phi", phi), ("p", p)):
        mean = (weights * values).sum()
        sd = np.sqrt((weights * (values - mean) ** 2).sum())
        assert table.loc[name, "verdict"] == "trusted"
        assert abs(table.loc[name, "mean"] - mean) < 0.1 * sd and abs(table.loc[name, "sd"] / sd - 1) < 0.1
    assert abs(table.loc["phi", "mean"] - 0.56) < 0.01 and abs(table.loc["p", "mean"] - 0.90) < 0.01

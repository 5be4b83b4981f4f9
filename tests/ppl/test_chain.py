"""Markov chains whose moves change over time or never happen: against every path, on both backends."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logsumexp, softmax

import elboroom as er

RNG = np.random.default_rng(0)
BACKENDS = pytest.mark.parametrize("backend", ["jax", "torch"])
Y = np.array([-2.1, -1.4, 0.3, 1.8, 2.2])
START, MU = np.array([0.5, 0.3, 0.2]), np.array([-2.0, 0.0, 1.5])
MOVES = RNG.dirichlet(np.ones(3), size=(4, 3))
PATHS = np.array(list(itertools.product(range(3), repeat=5)))


def log_paths(start, moves, paths=PATHS):
    """Log probability of each path, with one matrix for each move."""
    steps = np.arange(paths.shape[1] - 1)
    with np.errstate(divide="ignore"):
        return np.log(start)[paths[:, 0]] + np.log(moves)[steps, paths[:, :-1], paths[:, 1:]].sum(1)


def smoothed(terms):
    """Probability of each state at each step, shape (states, steps)."""
    weights = softmax(terms)
    return np.array([[weights[PATHS[:, t] == k].sum() for t in range(5)] for k in range(3)])


@er.model
def driven(x, y):
    """Switching that a covariate drives."""
    mu = er.sample("mu", er.Normal(0, 3).expand([3]).to_event(1))
    slope = er.sample("slope", er.Normal(0, 1).expand([3, 3]).to_event(2))
    logits = er.math.expand_dims(er.math.expand_dims(x[1:], -1), -1) * slope
    state = er.sample("state", er.MarkovChain(START, er.math.softmax(logits, axis=-1), len(y)))
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(mu[state], 1.0), y)


@BACKENDS
def test_moves_that_a_covariate_drives_are_summed_out(backend):
    x, slope = RNG.normal(size=5), RNG.normal(size=(3, 3))

    def expected(z):
        mu, slope = z[:3], z[3:].reshape(3, 3)
        terms = log_paths(START, softmax(x[1:, None, None] * slope, axis=-1))
        terms = terms + stats.norm.logpdf(Y, mu[PATHS], 1.0).sum(1)
        prior = stats.norm.logpdf(mu, 0, 3).sum() + stats.norm.logpdf(slope).sum()
        return prior + logsumexp(terms), smoothed(terms)

    target = driven(x, Y).target(backend)
    z = np.concatenate([MU, slope.ravel()])
    value, gradient = target.value_and_grad(z[None])
    density, states = expected(z)
    assert value[0] == pytest.approx(density, abs=1e-9)
    steps = 1e-5 * np.eye(len(z))
    numeric = [(expected(z + s)[0] - expected(z - s)[0]) / 2e-5 for s in steps]
    np.testing.assert_allclose(gradient[0], numeric, atol=1e-7)
    np.testing.assert_allclose(target.responsibilities(z[None])["state"][0], states, atol=1e-9)
    assert target.per_row(z[None]) == {}


@BACKENDS
def test_moves_of_its_own_for_every_step(backend):
    """Of a chain below a shared site: axes of both."""
    shift = np.array([0.0, 1.0])

    @er.model
    def shared(y):
        mu = er.sample("mu", er.Normal(0, 3).expand([3]).to_event(1))
        g = er.sample("g", er.Bernoulli(probs=0.3))
        state = er.sample("state", er.MarkovChain(START, MOVES, len(y)))
        with er.plate("time", len(y)):
            er.observe("y", er.Normal(mu[state] + er.math.take(shift, g), 1.0), y)

    terms = np.stack(
        [log_paths(START, MOVES) + stats.norm.logpdf(Y, MU[PATHS] + s, 1.0).sum(1) for s in shift]
    )
    terms = terms + np.log([0.7, 0.3])[:, None]
    target = shared(Y).target(backend)
    expected = stats.norm.logpdf(MU, 0, 3).sum() + logsumexp(terms)
    assert target.value_and_grad(MU[None])[0][0] == pytest.approx(expected, abs=1e-9)
    found = target.responsibilities(MU[None])
    np.testing.assert_allclose(found["state"][0], smoothed(logsumexp(terms, axis=0)), atol=1e-9)
    np.testing.assert_allclose(np.ravel(found["g"]), softmax(logsumexp(terms, axis=1)), atol=1e-9)


@BACKENDS
def test_moves_that_never_happen(backend):
    """A chain that only advances: exact zeros, and gradients that are numbers."""

    @er.model
    def advancing(y):
        p = er.sample("p", er.Beta(1, 1))
        mu = er.sample("mu", er.Normal(0, 3).expand([3]).to_event(1))
        stay, none = p * er.math.asarray(np.diag([1.0, 1.0, 0.0])), er.math.asarray(np.diag([0.0, 0.0, 1.0]))
        move = stay + none + (1 - p) * er.math.asarray(np.eye(3, k=1))
        state = er.sample("state", er.MarkovChain([1.0, 0.0, 0.0], move, len(y)))
        with er.plate("time", len(y)):
            er.observe("y", er.Normal(mu[state], 1.0), y)

    def terms(z):
        p = expit(z[0])
        move = np.array([[p, 1 - p, 0], [0, p, 1 - p], [0, 0, 1]])
        return log_paths([1.0, 0, 0], np.stack([move] * 4)) + stats.norm.logpdf(Y, z[1:][PATHS], 1.0).sum(1)

    def expected(z):
        return stats.norm.logpdf(z[1:], 0, 3).sum() + np.log(expit(z[0]) * expit(-z[0])) + logsumexp(terms(z))

    target = advancing(Y).target(backend)
    assert [s.name for s in target.trace.latents] == ["p", "mu"]
    z = np.array([0.4, *MU])
    value, gradient = target.value_and_grad(z[None])
    assert value[0] == pytest.approx(expected(z), abs=1e-9)
    numeric = [(expected(z + s) - expected(z - s)) / 2e-5 for s in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(gradient[0], numeric, atol=1e-7)
    np.testing.assert_allclose(target.responsibilities(z[None])["state"][0], smoothed(terms(z)), atol=1e-9)


@BACKENDS
@pytest.mark.parametrize("moves", [MOVES, MOVES[0]], ids=["changing", "constant"])
def test_draws_are_those_of_the_paths(backend, moves):
    from elboroom.ppl.simulate import prior_values

    @er.model
    def seen(y):
        er.sample("scale", er.HalfNormal(1))
        er.observe("y", er.MarkovChain(START, moves, 5), y)

    num_draws = 20_000
    drawn = prior_values(seen(None), num_draws, backend=backend)["y"].astype(int)
    counts = np.bincount(drawn @ 3 ** np.arange(4, -1, -1), minlength=3**5)
    expected = num_draws * np.exp(log_paths(START, np.broadcast_to(moves, (4, 3, 3))))
    rare = expected < 5
    pairs = np.append(counts[~rare], counts[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    assert stats.chisquare(*pairs).pvalue > 1e-4


@BACKENDS
def test_a_path_that_is_seen_has_its_density(backend):
    @er.model
    def seen(y):
        p = er.sample("p", er.Dirichlet(np.ones(3)))
        er.observe("y", er.MarkovChain(p, MOVES, 5), y)

    p = np.array([0.2, 0.3, 0.5])
    for path in PATHS[[0, 17, 200]]:
        expected = np.log(2) + log_paths(p, MOVES, path[None])[0]
        program = seen(path)
        z = program.target(backend).unconstrain({"p": p[None]})
        found = program.target(backend).log_density(z)
        assert found["log_prior"][0] + found["log_likelihood"][0] == pytest.approx(expected, abs=1e-9)


def scaled(start, moves):
    @er.model
    def outcomes(y):
        mu = er.sample("mu", er.Normal(0, 1))
        state = er.sample("state", er.MarkovChain(start, moves, len(y)))
        with er.plate("time", len(y)):
            er.observe("y", er.Normal(mu * state, 1.0), y)

    return outcomes


@BACKENDS
@pytest.mark.parametrize(
    "moves", [MOVES[0], MOVES[:0]], ids=["one matrix", "one for each move, of which there are none"]
)
def test_a_path_of_one_step(backend, moves):
    exact = np.log(np.asarray(START) @ stats.norm(0.4 * np.arange(3), 1).pdf(0.3)) + stats.norm.logpdf(0.4)
    found = scaled(START, moves)(np.array([0.3])).target(backend).log_joint({"mu": np.array(0.4)})
    assert found == pytest.approx(exact, abs=1e-9)


@BACKENDS
@pytest.mark.parametrize(
    "start, moves, words",
    [
        (START, MOVES[:3], r"'transition_probs'.*\(3, 3\) or \(4, 3, 3\), .*got shape \(3, 3, 3\)"),
        (START, np.full((2, 2), 0.5), r"'transition_probs'.*got shape \(2, 2\)"),
        (START, MOVES[None, :3], r"got shape \(1, 3, 3, 3\)"),
        (START, START, r"'transition_probs'.*got shape \(3,\)"),
        (1.0, MOVES, r"'initial_probs'.*got shape \(\)"),
    ],
)
def test_other_shapes_are_refused(backend, start, moves, words):
    with pytest.raises(er.ShapeError, match=f"site 'state'.*{words}"):
        scaled(start, moves)(Y).trace(backend)


@BACKENDS
@pytest.mark.parametrize(
    "start, moves",
    [(np.stack([START] * 4), MOVES), (START, MOVES[None])],
    ids=["four starts", "a batch of one"],
)
def test_chains_that_no_plate_declares_are_refused(backend, start, moves):
    with pytest.raises(er.ShapeError, match="plate"):
        scaled(start, moves)(Y).trace(backend)


@BACKENDS
def test_draws_of_several_chains_are_those_of_their_own_paths(backend):
    from elboroom.ppl.simulate import prior_values

    starts, moves = np.stack([START, START[::-1]]), np.stack([MOVES, MOVES[::-1]])

    @er.model
    def seen(y):
        er.sample("scale", er.HalfNormal(1))
        with er.plate("individual", 2):
            er.observe("y", er.MarkovChain(starts, moves, 5), y)

    num_draws = 20_000
    drawn = prior_values(seen(None), num_draws, backend=backend)["y"].astype(int)
    for i in range(2):
        counts = np.bincount(drawn[:, i] @ 3 ** np.arange(4, -1, -1), minlength=3**5)
        expected = num_draws * np.exp(log_paths(starts[i], moves[i]))
        rare = expected < 5
        pairs = np.append(counts[~rare], counts[rare].sum()), np.append(expected[~rare], expected[rare].sum())
        assert stats.chisquare(*pairs).pvalue > 1e-4
    paths = PATHS[[17, 200]]
    exact = sum(log_paths(starts[i], moves[i], paths[i : i + 1])[0] for i in range(2))
    found = seen(paths).target(backend).log_density(np.zeros((1, 1)))["log_likelihood"][0]
    assert found == pytest.approx(exact, abs=1e-9)


@BACKENDS
def test_moves_that_another_discrete_site_chooses_are_refused(backend):
    @er.model
    def chosen(y):
        mu = er.sample("mu", er.Normal(0, 3).expand([3]).to_event(1))
        g = er.sample("g", er.Bernoulli(probs=0.3))
        state = er.sample("state", er.MarkovChain(START, er.math.take(MOVES[:2], g, axis=0), len(y)))
        with er.plate("time", len(y)):
            er.observe("y", er.Normal(mu[state], 1.0), y)

    with pytest.raises(er.ShapeError, match=r"site 'state'.*depend on no other discrete site"):
        chosen(Y).target(backend).value_and_grad(MU[None])

"""`er.SVI(private=)`: what is seen of rows, how far one moves what is released, and what is reached."""

from itertools import pairwise

import numpy as np
import pytest
from elboroom.inference.private.ascent import drawn_for
from scipy.stats import binom

import elboroom as er

N = 2000
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 2))
Y = X @ [1.0, -0.5] + RNG.standard_normal(N)


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, 2).expand([2]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(er.math.sum(x * b, axis=-1), 1), y)


def private(**given):
    return er.Private(**{"epsilon": 8.0, "delta": 1e-5, "clip": 4.0, "steps": 400, "seed": 1, **given})


def first_gradient(x, y, size=N, sd=1.0, **given):
    """Of the log likelihood in the means, with its noise, seen in Adam's first moment after one step."""
    svi = er.SVI(line(x, y), minibatch=er.Minibatch("row", size), sd=sd, private=private(steps=1, **given))
    svi.run(1)
    return 10 * np.asarray(svi.state["first"], float)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_mean_is_that_of_the_posterior_within_its_noise(backend):
    svi = er.SVI(line(X, Y), er.Minibatch("row", 200), rate=0.1, backend=backend, private=private())
    assert np.isnan(svi.run(300)).all()
    svi.rate = 0.02
    ends = [svi.params["mean"] for _ in range(10) if svi.run(10) is not None]
    precision = X.T @ X + np.eye(2) / 4
    exact = np.linalg.solve(precision, X.T @ Y)
    noise = svi.privacy.noise_multiplier * 4.0 / svi.privacy.sampling_rate / np.diag(precision)
    # what is averaged are places a step apart: the noise of each reaches the mean by a rate of a few hundredths
    assert (np.abs(np.mean(ends, 0) - exact) < 4 * noise * np.sqrt(0.02)).all()
    assert (np.abs(np.mean(ends, 0) - exact) < 0.05).all()
    sd = np.exp(svi.params["log_sd"])
    assert (np.abs(np.log(sd * np.sqrt(np.diag(precision)))) < 0.6).all()


def test_one_row_moves_a_step_by_twice_its_clip_at_the_most_whatever_it_is():
    base = first_gradient(X, Y)
    other, far = Y.copy(), X.copy()
    other[3], far[3] = 1e9, 1e4
    moved = np.linalg.norm(first_gradient(far, other) - base)
    assert 2.0 < moved <= 8.0  # one clipped gradient taken out, another put in
    other[4], far[4] = 1e9, 1e4
    assert np.linalg.norm(first_gradient(far, other) - base) > 4.5


def test_rows_of_one_label_move_a_step_as_one_does():
    by = np.arange(N) // 2
    other, far = Y.copy(), X.copy()
    other[[4, 5]], far[[4, 5]] = 1e9, 1e4
    size = N // 2
    moved = first_gradient(far, other, size, by=by) - first_gradient(X, Y, size, by=by)
    assert 2.0 < np.linalg.norm(moved) <= 8.0


def test_a_row_that_is_not_finite_poisons_nothing():
    other = Y.copy()
    other[3] = 1e200  # whose log likelihood is -inf
    assert np.isfinite(first_gradient(X, other)).all()
    assert np.linalg.norm(first_gradient(X, other) - first_gradient(X, Y)) <= 4.0


def test_noise_is_as_much_as_is_accounted_for():
    seen = []
    for seed in (1, 2):
        given = private(delta=1e-4, steps=100, seed=seed)
        svi = er.SVI(line(X[:300], Y[:300]), er.Minibatch("row", 300), rate=1e-9, sd=1.0, private=given)
        firsts = [np.zeros((2, 2))]
        for _ in range(100):
            svi.run(1)
            firsts.append(np.asarray(svi.state["first"], float))
        seen.append(np.stack([10 * new - 9 * old for old, new in pairwise(firsts)]))
    # all rows are in each batch, draws are the same, and where it stands hardly moves: what differs is the noise
    sd = svi.privacy.noise_multiplier * svi.privacy.clip
    assert abs((seen[1] - seen[0]).std() / (np.sqrt(2) * sd) - 1) < 4 / np.sqrt(2 * 400)


def test_batches_have_each_row_by_chance():
    drawn = drawn_for(private(steps=2000), line(X, Y).target("jax"), er.Minibatch("row", 100))
    sizes, first = [], []
    for _ in range(400):
        units, present = drawn.sample()
        chosen = units[present > 0]
        assert len(np.unique(chosen)) == len(chosen)
        sizes.append(len(chosen))
        first.append(np.isin([0, N - 1], chosen))
    assert abs(np.mean(sizes) - 100) < 4 * np.sqrt(95 / 400)
    assert abs(np.var(sizes) / 95 - 1) < 4 * np.sqrt(2 / 400)
    low, high = binom.ppf([1e-4, 1 - 1e-4], 800, 0.05)
    assert low <= np.sum(first) <= high


def test_randomness_is_nobodys_unless_asked_for():
    ends = [er.SVI(line(X, Y), private=private(seed=s)) for s in (None, None, 3, 3)]
    for one in ends:
        one.run(3)
    means = [one.params["mean"][0] for one in ends]
    assert means[0] != means[1] and means[2] == means[3]
    assert not ends[0].privacy.seeded and ends[2].privacy.seeded


def test_no_step_is_taken_beyond_the_budget():
    svi = er.SVI(line(X, Y), private=private(steps=20))
    svi.run(15)
    with pytest.raises(er.InferenceError, match="up to 5 more of the 20"):
        svi.run(6)
    svi.run(5)
    with pytest.raises(er.InferenceError, match="up to 0 more"):
        svi.advance(1)


def test_nothing_that_sees_rows_is_shown():
    class Heard:
        def begun(self, kind, name, settings):
            told.append(settings)
            return self

        def step(self, stage, step, values):
            told.append(values)

        def rested(self):
            return ()

    told: list = []
    svi = er.SVI(line(X, Y), private=private(steps=5), track=Heard())
    svi.run(5)
    assert told[0]["data_fingerprint"] == "" and set(told[1]) == {"gradient_norm"}
    for call in (svi.elbo, svi.importance_bound, svi.culprit, lambda: svi.restore(svi.saved())):
        with pytest.raises(er.InferenceError, match="not private"):
            call()


@er.model
def centred(x, y):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b * (x - er.math.mean(x)), 1), y)


@er.model
def counted(y):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b, len(y) ** 0.5), y)


@er.model
def scaled_prior(y):
    b = er.sample("b", er.Normal(0, er.math.max(y)))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b, 1), y)


@er.model
def local(y):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(y)):
        u = er.sample("u", er.Normal(b, 1))
        er.observe("y", er.Normal(u, 1), y)


@er.model
def loose(y, w):
    b = er.sample("b", er.Normal(0, 1))
    er.observe("w", er.Normal(b, 1), w)
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b, 1), y)


@er.model
def scaled_by_others(y, v):
    b = er.sample("b", er.Normal(0, er.math.sum(v * v)))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b, 1), y)


@pytest.mark.parametrize(
    "program, words",
    [
        (lambda: centred(X[:, 0], Y), "row by row"),
        (lambda: counted(Y), "how many there are"),
        (lambda: scaled_prior(np.abs(Y)), "site 'b', which sees"),
        (lambda: scaled_by_others(Y, X[:, 0]), "'v' of shape"),
        (lambda: local(Y), "'u' of each row, which would be released"),
        (lambda: loose(Y, 1.0), "'w', an outcome of none"),
        (lambda: line(X, np.where(np.arange(N) == 3, np.nan, Y)), "rows without missing values"),
    ],
)
def test_models_that_are_no_sum_over_rows_are_refused(program, words):
    with pytest.raises(er.InferenceError, match=words):
        er.SVI(program(), private=private())


@pytest.mark.parametrize(
    "given, words",
    [
        ({"epsilon": 0}, "epsilon of er.Private"),
        ({"epsilon": np.inf}, "epsilon of er.Private"),
        ({"delta": 0.0}, "delta of er.Private"),
        ({"delta": 1 / N}, "released as it is"),
        ({"clip": -1.0}, "clip of er.Private"),
        ({"steps": 0}, "steps of er.Private"),
        ({"steps": True}, "steps of er.Private"),
        ({"seed": -1}, "seed of er.Private"),
    ],
)
def test_budgets_that_cannot_be_meant_are_refused(given, words):
    with pytest.raises(er.InferenceError, match=words):
        er.SVI(line(X, Y), private=private(**given))


def test_what_a_private_ascent_has_no_use_for_is_refused():
    for given in ({"objective": "importance", "num_particles": 4}, {"optimiser": object()}):
        with pytest.raises(er.InferenceError, match="not private"):
            er.SVI(line(X, Y), private=private(), **given)
    with pytest.raises(er.InferenceError, match=r"an er\.Private"):
        er.SVI(line(X, Y), private=3.0)

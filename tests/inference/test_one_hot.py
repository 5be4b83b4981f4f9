"""Rows of one-hot vectors: gradients and bounds against enumeration, posteriors by all states, and what more of them may say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.discrete import Discrete
from elboroom.inference.deep.setup import set_up
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import norm

import elboroom as er

NOISE = 0.7


@er.model
def sums(x, places=2, classes=3):
    start = 0.6 * np.random.default_rng(1).normal(size=(places * classes, x.shape[1]))
    weight, odds = er.param("weight", start), er.param("odds", np.zeros((places, classes)))
    sd = er.math.exp(er.param("log_sd", 0.0))
    with er.plate("row", len(x)):
        kinds = er.sample("kinds", er.OneHotCategorical(logits=odds).to_event(1))
        er.observe("x", er.Normal(er.math.reshape(kinds, (-1, places * classes)) @ weight, sd).to_event(1), x)


def rows(num, places, classes, columns, seed=0):
    rng = np.random.default_rng(seed)
    weight = 1.5 * rng.normal(size=(places, classes, columns))
    kinds = rng.integers(0, classes, (num, places))
    x = weight[np.arange(places), kinds].sum(1) + NOISE * rng.normal(size=(num, columns))
    return x


def states(places, classes):
    return np.array([np.eye(classes)[list(code)].ravel() for code in product(range(classes), repeat=places)])


def joint(x, learned, places, classes):
    """Log joint density of rows at all states, shape ``(rows, states)``."""
    weight, odds, sd = learned["weight"], learned["odds"], np.exp(learned["log_sd"])
    every = states(places, classes)
    prior = every @ log_softmax(odds, -1).ravel()
    return prior + norm.logpdf(x[:, None], (every @ weight)[None], sd).sum(2)


def course(objective, num):
    """Gradients of so many steps at the same arrays, by array, bounds that were shown, and the setup."""
    x = rows(4, 2, 3, 3)
    target = sums(x).target("jax", np.float64)
    made = set_up(er.Amortized(), "row", target, 4, 0)
    compiled = Compiled(made.rows, made.encoder, {"x": target.to_device(x)})
    train, device = compiled.trained(objective), target.to_device
    given = {**objective.at(0), "stuck": 0.0, "rate": 0.0, "decay": 0.0}
    found, bounds = {}, []

    def arrays(like):
        return {"weights": {k: device(like(v)) for k, v in made.begin.items()}, "guide": {}}

    for seed in np.random.default_rng(0).integers(0, 2**31, num):
        norms = {"usual": device(np.asarray(1e9)), "count": device(np.zeros(()))}
        state = {"first": arrays(np.zeros_like), "second": arrays(np.zeros_like), "norm": norms}
        state |= {"params": arrays(np.asarray), "mean": arrays(np.asarray)}
        inputs = {k: np.full(1, v) for k, v in given.items()}
        state, out = train(
            state, {**inputs, "seed": seed[None], "rows": np.arange(4)[None]}, compiled.constants
        )
        bounds.append(float(np.asarray(out["bound"])[0]))
        for key, value in state["first"]["weights"].items():
            found.setdefault(key, []).append(
                -np.asarray(value).ravel() / 0.1
            )  # of the loss, by Adam's first moment
    return {k: np.array(v) for k, v in found.items()}, np.array(bounds), made, x


def exact(made, x, weights, num):
    """The bound by so many draws, enumerated over all of their states."""
    law = made.encoder.law(weights, {"x": x})
    every = states(2, 3)
    log_q = np.log(law.mean) @ every.T
    ratio = joint(x, {k: np.asarray(v) for k, v in weights.items()}, 2, 3) - log_q
    total = 0.0
    for chosen in product(range(len(every)), repeat=num):
        some = list(chosen)
        total += (np.exp(log_q[:, some].sum(1)) * (logsumexp(ratio[:, some], axis=1) - np.log(num))).mean()
    return total


OBJECTIVES = {
    "score": (Discrete("score", 3), 1),
    "vimco": (Discrete("vimco", 2), 2),
    "straight-through": (Discrete("straight-through", 1), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_bounds_are_of_hard_draws_and_gradients_of_the_enumerated_bound(name):
    objective, num = OBJECTIVES[name]
    found, bounds, made, x = course(objective, 250)
    begin = {k: np.asarray(v, float) for k, v in made.begin.items()}
    assert abs(bounds.mean() - exact(made, x, begin, num)) < 4 * bounds.std() / np.sqrt(len(bounds))
    rng = np.random.default_rng(2)
    for part in (lambda key: made.encoder.owns(key), lambda key: not made.encoder.owns(key)):
        way = {k: rng.normal(size=v.shape) * part(k) for k, v in begin.items()}
        ends = [exact(made, x, {k: v + s * 1e-5 * way[k] for k, v in begin.items()}, num) for s in (1, -1)]
        wanted = (ends[0] - ends[1]) / 2e-5
        each = sum(found[k] @ way[k].ravel() for k in begin)
        off = abs(each.mean() - wanted) / (each.std() / np.sqrt(len(each)))
        assert abs(wanted) > 0.05
        if name in ("score", "vimco"):
            assert off < 4
        else:  # relaxed draws lean to one side
            assert np.sign(each.mean()) == np.sign(wanted) and abs(each.mean() / wanted - 1) < 0.5


@pytest.fixture(scope="module")
def fitted():
    x = rows(120, 3, 4, 10)
    return x, er.fit(sums(x, 3, 4), progress=False, seed=0, num_draws=200)


@pytest.mark.slow
def test_few_states_are_summed_over_exactly(fitted):
    x, posterior = fitted
    assert posterior.verdict == "trusted"
    learned = {k: np.asarray(v, float) for k, v in posterior.learned.items()}
    log_joint = joint(x, learned, 3, 4)
    evidence = logsumexp(log_joint, axis=1)
    mean = np.exp(log_joint - evidence[:, None]) @ states(3, 4)
    frame = posterior.summary()
    np.testing.assert_allclose(frame["mean"].to_numpy().reshape(mean.shape), mean, atol=1e-5)
    record = posterior.draws["fit"].to_dataset()
    np.testing.assert_allclose(record["row_evidence"], evidence, atol=1e-4)
    assert (
        evidence.mean() > norm.logpdf(x, x.mean(0), x.std(0)).sum(1).mean() + 1.0
    )  # of rows without classes


def test_draws_are_one_hot_and_simulated_rows_have_their_shares(fitted):
    _, posterior = fitted
    drawn = posterior.latent.simulate(3000, seed=1)["kinds"].to_numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0} and (drawn.sum(-1) == 1).all()
    share = softmax(np.asarray(posterior.learned["odds"], float), -1)
    assert np.all(np.abs(drawn.mean(0) - share) < 4.5 * np.sqrt(share * (1 - share) / 3000))


@pytest.mark.slow
def test_more_states_than_can_be_summed_over_are_never_trusted():
    x = rows(12, 4, 9, 6)

    @er.model
    def many(x):
        weight = er.param("weight", 0.5 * np.random.default_rng(1).normal(size=(36, 6)))
        with er.plate("row", len(x)):
            kinds = er.sample("kinds", er.OneHotCategorical(probs=np.ones(9) / 9).expand([4]).to_event(1))
            er.observe("x", er.Normal(er.math.reshape(kinds, (-1, 36)) @ weight, 0.7).to_event(1), x)

    objective = er.objectives.Elbo(estimator="concrete")
    posterior = er.fit(
        many(x), backend="torch", objective=objective, progress=False, seed=0, num_draws=100, max_seconds=2
    )
    assert set(posterior.summary()["verdict"]) <= {"caution", "untrusted"}
    assert posterior.latent.best == "caution"  # 6,561 states, however good the weights
    weight, every = np.asarray(posterior.learned["weight"], float), states(4, 9)
    density = norm.logpdf(x[:, None], (every @ weight)[None], 0.7).sum(2)
    evidence = logsumexp(density, axis=1) - np.log(len(every))
    record = posterior.draws["fit"].to_dataset()
    fine = record["row_khat"].to_numpy() < 0.5
    off = np.abs(record["row_evidence"].to_numpy() - evidence)
    assert fine.mean() > 0.5 and off[fine].max() < 5 / np.sqrt(record["row_size"].to_numpy()[fine].min())
    assert np.all(record["row_bound"].to_numpy() < evidence + 0.05)
    drawn = posterior.draws["posterior"].to_dataset()["kinds"].to_numpy()
    assert (drawn.sum(-1) == 1).all()


def test_what_one_hot_vectors_cannot_be_is_refused():
    with pytest.raises(er.ModelError, match="OneHotCategorical"):
        er.OneHotCategorical()

    @er.model
    def both(x):
        with er.plate("row", len(x)):
            kinds = er.sample("kinds", er.OneHotCategorical(logits=np.zeros(3)))
            bits = er.sample("bits", er.Bernoulli(0.5).expand([3]).to_event(1))
            er.observe("x", er.Normal((kinds + bits).sum(-1), 1.0), x)

    with pytest.raises(er.GuideError, match="one number of classes"):
        er.fit(both(np.zeros(20)), guide=er.Amortized(), progress=False)

"""Rows of bits: gradients against enumeration, posteriors by all states, and what is refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.discrete import Discrete
from elboroom.inference.deep.setup import set_up
from scipy.special import expit, logsumexp
from scipy.stats import norm

import elboroom as er

NOISE = 0.7


@er.model
def sums(x, units=6):
    start = 0.3 * np.random.default_rng(1).normal(size=(units, x.shape[1]))
    weight, odds = er.param("weight", start), er.param("odds", np.zeros(units))
    sd = er.math.exp(er.param("log_sd", 0.0))
    with er.plate("row", len(x)):
        bits = er.sample("bits", er.Bernoulli(logits=odds).to_event(1))
        er.observe("x", er.Normal(bits @ weight, sd).to_event(1), x)


def rows(num, units, columns, seed=0):
    rng = np.random.default_rng(seed)
    weight = 1.5 * rng.normal(size=(units, columns))
    bits = (rng.uniform(size=(num, units)) < 0.4).astype(float)
    return bits @ weight + NOISE * rng.normal(size=(num, columns))


def states(units):
    return np.array(list(product([0.0, 1.0], repeat=units)))


def joint(x, learned, units):
    """Log joint density of rows at all states, shape ``(rows, states)``."""
    weight, odds, sd = learned["weight"], learned["odds"], np.exp(learned["log_sd"])
    every = states(units)
    prior = (every * odds - np.logaddexp(odds, 0)).sum(1)
    return prior + norm.logpdf(x[:, None], (every @ weight)[None], sd).sum(2)


def course(objective, num):
    """Gradients of so many steps at the same arrays, by array, and the setup."""
    x = rows(4, 2, 3)
    target = sums(x, 2).target("jax", np.float64)
    made = set_up(er.Amortized(), "row", target, 4, 0)
    compiled = Compiled(made.rows, made.encoder, {"x": target.to_device(x)})
    train, device = compiled.trained(objective), target.to_device
    params = {"weights": {k: device(v) for k, v in made.begin.items()}, "guide": {}}
    given = {**objective.at(0), "stuck": 0.0, "rate": 0.0, "decay": 0.0}
    seeds, found, bounds = np.random.default_rng(0).integers(0, 2**31, num), {}, []
    for seed in seeds:
        zeros = [
            {"weights": {k: device(np.zeros(np.shape(v))) for k, v in made.begin.items()}, "guide": {}}
            for _ in range(2)
        ]
        norms = {"usual": device(np.asarray(1e9)), "count": device(np.zeros(()))}
        copy = target.loops.copy
        state = {
            "params": copy(params),
            "first": zeros[0],
            "second": zeros[1],
            "mean": copy(params),
            "norm": norms,
        }
        inputs = {k: np.full(1, v) for k, v in given.items()} | {
            "seed": seed[None],
            "rows": np.arange(4)[None],
        }
        state, out = train(state, inputs, compiled.constants)
        bounds.append(float(np.asarray(out["bound"])[0]))
        for key, value in state["first"]["weights"].items():
            found.setdefault(key, []).append(-np.asarray(value).ravel() / 0.1)  # of the loss
    return {k: np.array(v) for k, v in found.items()}, np.array(bounds), made, x


def exact(made, x, weights, num):
    """The bound by so many draws, enumerated over all of their states."""
    law = made.encoder.law(weights, {"x": x})
    every = states(2)
    p = np.clip(law.mean, 1e-12, 1 - 1e-12)[:, None]
    log_q = (every * np.log(p) + (1 - every) * np.log1p(-p)).sum(2)
    ratio = joint(x, {k: np.asarray(v) for k, v in weights.items()}, 2) - log_q
    total = 0.0
    for chosen in product(range(4), repeat=num):
        some = list(chosen)
        mass = np.exp(log_q[:, some].sum(1))
        total += (mass * (logsumexp(ratio[:, some], axis=1) - np.log(num))).mean()
    return total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "num"), [(Discrete("score", 3), 1), (Discrete("vimco", 3), 3)], ids=["score", "vimco"]
)
def test_gradients_are_those_of_the_enumerated_bound(objective, num):
    found, bounds, made, x = course(objective, 250)
    begin = {k: np.asarray(v, float) for k, v in made.begin.items()}
    assert abs(bounds.mean() - exact(made, x, begin, num)) < 4 * bounds.std() / np.sqrt(len(bounds))
    rng = np.random.default_rng(2)
    for part in (lambda key: made.encoder.owns(key), lambda key: not made.encoder.owns(key)):
        way = {k: rng.normal(size=v.shape) * part(k) for k, v in begin.items()}
        ends = [exact(made, x, {k: v + s * 1e-5 * way[k] for k, v in begin.items()}, num) for s in (1, -1)]
        wanted = (ends[0] - ends[1]) / 2e-5
        each = sum(found[k] @ way[k].ravel() for k in begin)
        assert abs(wanted) > 0.05
        assert abs(each.mean() - wanted) < 4 * each.std() / np.sqrt(len(each))


@pytest.mark.slow
def test_the_bound_of_relaxed_bits_is_that_of_hard_ones():
    _, bounds, made, x = course(Discrete("concrete", 1), 150)
    wanted = exact(made, x, {k: np.asarray(v, float) for k, v in made.begin.items()}, 1)
    assert abs(bounds.mean() - wanted) < 4 * bounds.std() / np.sqrt(len(bounds))


@pytest.fixture(scope="module")
def fitted():
    x = rows(250, 6, 12)
    return x, er.fit(sums(x), progress=False, seed=0, num_draws=500)


@pytest.mark.slow
def test_few_bits_are_summed_over_exactly(fitted):
    x, posterior = fitted
    assert posterior.verdict == "trusted"
    learned = {k: np.asarray(v, float) for k, v in posterior.learned.items()}
    log_joint = joint(x, learned, 6)
    evidence = logsumexp(log_joint, axis=1)
    mean = np.exp(log_joint - evidence[:, None]) @ states(6)
    frame = posterior.summary()
    np.testing.assert_allclose(frame["mean"].to_numpy().reshape(mean.shape), mean, atol=1e-5)
    found = posterior.latent.score(x)
    np.testing.assert_allclose(found["log_prob"], evidence, atol=1e-4)
    assert np.all(found["bound"] < found["log_prob"] + 1e-9)
    assert set(found["verdict"].to_numpy()) == {"trusted"}


@pytest.mark.slow
def test_draws_are_bits_and_simulated_rows_have_their_shares(fitted):
    x, posterior = fitted
    drawn = posterior.latent.simulate(4000, seed=1)["bits"].to_numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    share = expit(np.asarray(posterior.learned["odds"], float))
    assert np.all(np.abs(drawn.mean(0) - share) < 4 * np.sqrt(share * (1 - share) / 4000))
    assert set(np.unique(posterior.latent.encode(x[:5], num_draws=7)["draws"])) <= {0.0, 1.0}
    assert posterior.latent.traverse(0).sizes["row"] == 2


@pytest.mark.slow
def test_more_bits_than_can_be_summed_over_are_never_trusted():
    x = rows(60, 14, 6)
    posterior = er.fit(sums(x, 14), progress=False, seed=0, num_draws=200, max_seconds=4)
    assert set(posterior.summary()["verdict"]) <= {"caution", "untrusted"}
    assert set(posterior.latent.encode(x[:5])["verdict"].to_numpy()) <= {"caution", "untrusted"}
    assert posterior.latent.best == "caution"  # however good the weights


@pytest.mark.slow
def test_what_bits_cannot_have_is_refused(fitted):
    with pytest.raises(er.InferenceError, match="latent quantities that have densities"):
        fitted[1].refine(num_chains=2, num_draws=10)
    x = rows(40, 3, 4)

    @er.model
    def alone(x):
        with er.plate("row", len(x)):
            bits = er.sample("bits", er.Bernoulli(0.5).expand([3]).to_event(1))
            er.observe("x", er.Normal(bits.sum(-1), 1.0), x)

    with pytest.raises(er.InferenceError, match="latent quantities that have densities"):
        er.SVI(alone(x[:, 0]))
    for guide in ("mean-field", "structured", None):
        with pytest.raises(er.GuideError, match=r"er\.Amortized for \['bits'\]"):
            er.fit(sums(x, 3), guide=guide, progress=False)
    for guide in (er.Amortized(within="full-rank"), er.Amortized(iterations=10)):
        with pytest.raises(er.GuideError, match="er.Amortized for bits"):
            er.fit(sums(x, 3), guide=guide, progress=False)
    for objective in (er.objectives.ImportanceWeighted(5), er.objectives.Elbo(beta=2.0)):
        with pytest.raises(er.InferenceError, match="objective of rows of bits"):
            er.fit(sums(x, 3), objective=objective, progress=False)

    @er.model
    def both(x):
        with er.plate("row", len(x)):
            bits = er.sample("bits", er.Bernoulli(0.5).expand([3]).to_event(1))
            z = er.sample("z", er.Normal(0, 1))
            er.observe("x", er.Normal(bits.sum(-1) + z, 1.0), x)

    with pytest.raises(er.GuideError, match="not both"):
        er.fit(both(x[:, 0]), guide=er.Amortized(), progress=False)

    @er.model
    def smooth(x):
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1))
            er.observe("x", er.Normal(z, 1.0), x)

    with pytest.raises(er.InferenceError, match="rows of bits"):
        er.fit(
            smooth(x[:, 0]),
            guide=er.Amortized(),
            objective=er.objectives.Elbo(estimator="score"),
            progress=False,
        )

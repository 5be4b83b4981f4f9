"""Encoded rows of models whose answers are known without an encoder: closed forms, expectation maximisation, a smoother."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partialmethod

import numpy as np
import pytest
from elboroom.inference.deep import judged, latent
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.latent import Latent
from elboroom.inference.deep.setup import set_up
from scipy.stats import multivariate_normal, norm

import elboroom as er

pytestmark = pytest.mark.slow  # each trains encoders

BACKENDS = ("jax", "torch")


@dataclass(frozen=True)
class Still:
    """A network that gives every row the same numbers, and cannot learn others."""

    numbers: tuple[float, ...]

    def arrays(self, rng):
        return {"nothing": np.zeros(1)}

    def apply(self, arrays, x):
        zero = 0.0 * x[:, :1] + 0.0 * arrays["nothing"]
        return er.math.concat([zero + number for number in self.numbers], axis=-1)


def gap(posterior):
    """Nats between the bound and the evidence of a row on average, as reported."""
    return next(f.value for f in posterior.findings if f.name == "gap of the encoder")


def divergence(mean, sd, other_mean, other_sd):
    """From one normal law to another."""
    return np.log(other_sd / sd) + (sd**2 + (mean - other_mean) ** 2) / (2 * other_sd**2) - 0.5


# -- factor analysis ----------------------------------------------------------------------------------------


@er.model
def factors(x):
    """Two factors, and noise of its own for each column."""
    weight = er.param("weight", 0.1 * np.random.default_rng(0).normal(size=(2, x.shape[1])))
    shift = er.param("shift", np.zeros(x.shape[1]))
    sd = er.math.exp(er.param("log_sd", np.zeros(x.shape[1])))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ weight + shift, sd).to_event(1), x)


def columns(num, seed):
    rng, made = np.random.default_rng(seed), np.random.default_rng(7)
    weight, sd = 1.2 * made.normal(size=(2, 8)), np.linspace(0.4, 1.3, 8)
    return rng.normal(size=(num, 2)) @ weight + sd * rng.normal(size=(num, 8)) + 1.0


def expectation_maximisation(x, num_factors=2, num_steps=3000):
    """Loadings and noise variances of greatest likelihood (Rubin and Thayer 1982)."""
    s = np.cov(x.T, bias=True)
    noise, weight = np.diag(s).copy(), 0.5 * np.random.default_rng(1).normal(size=(num_factors, len(s)))
    for _ in range(num_steps):
        inner = np.linalg.inv(np.eye(num_factors) + (weight / noise) @ weight.T)
        beta = inner @ weight / noise  # means of the factors of a row
        weight = np.linalg.solve(inner + beta @ s @ beta.T, beta @ s)
        noise = np.diag(s - weight.T @ beta @ s).copy()
    return weight, noise


@pytest.mark.parametrize("backend", BACKENDS)
def test_factor_analysis_is_that_of_expectation_maximisation(backend):
    x, new = columns(400, 0), columns(1000, 1)
    posterior = er.fit(factors(x), guide=er.Amortized(), backend=backend, validation=0, progress=False)
    weight, shift, log_sd = (np.asarray(posterior.learned[k], float) for k in ("weight", "shift", "log_sd"))
    best, noise = expectation_maximisation(x)
    ours = multivariate_normal(shift, weight.T @ weight + np.diag(np.exp(2 * log_sd)))
    known = multivariate_normal(x.mean(0), best.T @ best + np.diag(noise))
    assert known.logpdf(x).mean() - 0.01 < ours.logpdf(x).mean() < known.logpdf(x).mean() + 1e-5
    assert ours.logpdf(new).mean() == pytest.approx(known.logpdf(new).mean(), abs=0.01)
    np.testing.assert_allclose(np.exp(2 * log_sd), noise, rtol=0.1)  # three halves of a standard error
    own, span = (np.linalg.qr(w.T)[0] for w in (weight, best))
    assert np.arccos(np.linalg.svd(own.T @ span)[1].min()) < 0.03
    score = posterior.latent.score(new[:100])
    off = np.abs(score["log_prob"].to_numpy() - ours.logpdf(new[:100]))
    assert (off < 5 * score["se"].to_numpy() + 1e-3).all() and (score["verdict"] == "trusted").all()


# -- bounds -------------------------------------------------------------------------------------------------


@er.model
def halves(x):
    """Every row's law is ``Normal(x / 2, sqrt(1 / 2))``."""
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(z[:, 0], 1.0), x)


SD = np.sqrt(0.5)
OFF, WIDE = 0.5, 1.2
"""By how many sds the encoder below is off, and how much too wide it is."""


def off_by(backend, num=200, size=200):
    """An encoder whose law is ``Normal(OFF, WIDE)`` where the row's is standard normal, at float64, and data."""
    x = np.random.default_rng(4).normal(0, np.sqrt(2), size=num)
    target = halves(x).target(backend, np.float64)
    made = set_up(er.Amortized(er.nn.MLP(1, [], 2)), "row", target, size, 0)
    begin = {
        "layers.0.weight": np.array([[0.5], [0.0]]),
        "layers.0.bias": np.array([OFF * SD, np.log(WIDE * SD)]),
    }
    params = {"weights": {f"encoder.{k}": target.to_device(v) for k, v in begin.items()}, "guide": {}}
    return x, target, made, Compiled(made.rows, made.encoder, {"x": target.to_device(x)}), params


@cache
def shortfall(num_draws):
    """What the bound by so many weights falls short of the evidence, simulated, and its error."""
    z = np.random.default_rng(9).normal(OFF, WIDE, size=(2_000_000 // num_draws, num_draws))
    ratio = np.log(WIDE) + 0.5 * ((z - OFF) / WIDE) ** 2 - 0.5 * z**2
    missing = -np.log(np.exp(ratio).mean(1))
    return missing.mean(), missing.std() / np.sqrt(len(missing))


def bounds(backend, num_draws, num_steps):
    """Bound by so many weights less the exact evidence, at each of many steps that change nothing."""
    x, target, made, compiled, params = off_by(backend)
    device, copy = target.to_device, target.loops.copy
    zeros = {g: {k: device(np.zeros(np.shape(v))) for k, v in part.items()} for g, part in params.items()}
    norms = {"usual": device(np.asarray(1e9)), "count": device(np.zeros(()))}
    state = {
        "params": copy(params),
        "first": zeros,
        "second": copy(zeros),
        "mean": copy(params),
        "norm": norms,
    }
    chosen = np.random.default_rng(1).integers(0, len(x), (num_steps, made.rows.size))
    given = {"beta": 1.0, "capacity": 0.0, "stuck": 0.0, "decay": 0.0, "rate": 0.0}
    inputs = {k: np.full(num_steps, v) for k, v in given.items()}
    inputs |= {"seed": np.random.default_rng(2).integers(0, 2**31, num_steps), "rows": chosen}
    _, seen = compiled.trained(er.objectives.ImportanceWeighted(num_draws))(state, inputs, compiled.constants)
    return np.asarray(seen["bound"], float) - norm.logpdf(x[chosen], 0, np.sqrt(2)).mean(1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bounds_by_more_weights_rise_to_the_evidence_as_they_must(backend):
    missing = {}
    for num_draws, num_steps in ((1, 250), (10, 125), (100, 375)):
        found, (known, known_se) = bounds(backend, num_draws, num_steps), shortfall(num_draws)
        missing[num_draws], se = -found.mean(), found.std() / np.sqrt(num_steps)
        assert missing[num_draws] == pytest.approx(known, abs=4.5 * np.hypot(se, known_se))
        assert se < 0.2 * missing[num_draws]
    assert missing[1] == pytest.approx(divergence(OFF, WIDE, 0, 1), rel=0.05)  # 0.1627
    assert missing[1] > 5 * missing[10] > 25 * missing[100] > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_bounds_from_both_sides_are_as_far_apart_as_they_must(backend, monkeypatch):
    """At 64 weights, half of the encoder's law and half of one 2.5 times as wide, as a simulation of both bounds has it."""
    num_draws, num_rows, wide = 64, 4000, 2.5
    x, _, made, compiled, params = off_by(backend)
    own = Latent(made, compiled, params, np.arange(0), 0)
    every = own.score(x[:50])
    exact = norm.logpdf(x[:50], 0, np.sqrt(2))
    assert (np.abs(every["log_prob"].to_numpy() - exact) < 5 * every["se"].to_numpy()).all()
    short = every["bound"].to_numpy() - exact
    assert -short.mean() == pytest.approx(divergence(OFF, WIDE, 0, 1), abs=0.01)
    monkeypatch.setattr(latent, "SANDWICHED", num_rows)
    monkeypatch.setattr(latent, "KHAT_TRUSTED", np.inf)  # so few draws have no tail to speak of
    monkeypatch.setattr(Latent, "weighed", partialmethod(Latent.weighed, num_draws=num_draws))
    found = Latent(made, compiled, params, np.arange(0), 0).sandwich

    rng = np.random.default_rng(5)
    scale = np.repeat([WIDE, wide * WIDE], num_draws // 2)

    def ratio(z):
        each = [norm.logpdf(z, OFF, s) for s in (WIDE, wide * WIDE)]
        return norm.logpdf(z) - np.logaddexp(*each) + np.log(2)

    weights = np.exp(ratio(OFF + scale * rng.normal(size=(20_000, num_draws))))
    low, inside = weights.mean(1), np.exp(ratio(rng.normal(size=20_000)))
    replaced = weights[np.arange(20_000), rng.integers(0, num_draws, 20_000)]
    apart = np.log(low + (inside - replaced) / num_draws) - np.log(low)
    assert np.log(low).mean() < 0 < (np.log(low) + apart).mean()
    se = apart.std() * np.sqrt(1 / num_rows + 1 / len(apart))
    assert se < 0.15 * found
    assert found == pytest.approx(apart.mean(), abs=4.5 * se)


# -- encoders that cannot do better -------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_encoder_that_cannot_learn_is_untrusted_and_its_gap_is_its_divergence(backend, monkeypatch):
    monkeypatch.setattr(judged, "ROW_WORK", 0)  # some rows are audited, and the others have the encoder alone
    mean, sd = 0.8, 0.6
    x = np.random.default_rng(6).normal(0, np.sqrt(2), size=400)
    guide = er.Amortized(Still((mean, np.log(sd))))
    posterior = er.fit(halves(x), guide=guide, backend=backend, validation=0, progress=False)
    weighed = np.isfinite(np.asarray(posterior.draws["fit"]["row_khat"]))
    each = divergence(mean, sd, x / 2, SD)
    assert weighed.sum() == 300
    assert gap(posterior) == pytest.approx(each[weighed].mean(), abs=0.01)
    table = posterior.summary()
    assert posterior.verdict == "untrusted" and (table["verdict"][~weighed] == "untrusted").all()
    # what the weights of a row mend is right
    fine = (table["verdict"] == "trusted").to_numpy()
    assert fine[weighed].mean() > 0.9
    assert (np.abs(table["mean"] - x / 2)[fine] < 0.15 * SD).all()
    assert (np.abs(table["sd"] / SD - 1)[fine] < 0.15).all()


def test_the_gap_of_an_encoder_that_sees_a_part_is_that_of_the_best_one():
    @er.model
    def seen_twice(one, other):
        with er.plate("row", len(one)):
            z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
            er.observe("one", er.Normal(z[:, 0], 1.0), one)
            er.observe("other", er.Normal(z[:, 0], 0.5), other)

    rng = np.random.default_rng(8)
    z = rng.normal(size=800)
    one, other = z + rng.normal(size=800), z + 0.5 * rng.normal(size=800)
    guide = er.Amortized(sees=["one"])
    posterior = er.fit(seen_twice(one, other), guide=guide, validation=0, progress=False)
    sd = np.sqrt(1 / 6)
    mean = (
        one + 4 * other
    ) / 6  # given both; the best law given one has its mean there on average, and the same sd
    left = mean - np.polyval(np.polyfit(one, mean, 1), one)
    assert gap(posterior) == pytest.approx((left**2).mean() / (2 * sd**2), rel=0.03)  # 1.03 nats
    own = posterior.latent.encode(weigh=False)["sd"].to_numpy()
    assert own.mean() == pytest.approx(sd, rel=0.03)
    table = posterior.summary()
    fine = (table["verdict"] == "trusted").to_numpy()
    assert fine.mean() > 0.99
    assert (np.abs(table["mean"] - mean)[fine] < 0.15 * sd).all()
    assert (np.abs(table["sd"] / sd - 1)[fine] < 0.15).all()


# -- series -------------------------------------------------------------------------------------------------


STEP, NOISE, LENGTH = 0.7, 0.6, 5


@er.model
def paths(x):
    """Short series, each around a walk of its own."""
    with er.plate("series", len(x)):
        z = er.sample("z", er.GaussianRandomWalk(STEP, num_steps=LENGTH))
        er.observe("x", er.Normal(z, NOISE).to_event(1), x)


def walks(num=200):
    rng = np.random.default_rng(11)
    return np.cumsum(STEP * rng.normal(size=(num, LENGTH)), 1) + NOISE * rng.normal(size=(num, LENGTH))


def smoothed(x):
    """Means and sds of the states of each series, and its log evidence (Kalman; Rauch, Tung and Striebel 1965)."""
    mean, var, evidence, kept = np.zeros(len(x)), 0.0, np.zeros(len(x)), []
    for y in x.T:
        ahead = var + STEP**2
        evidence += norm.logpdf(y, mean, np.sqrt(ahead + NOISE**2))
        gain = ahead / (ahead + NOISE**2)
        mean, var = mean + gain * (y - mean), (1 - gain) * ahead
        kept.append((mean, var, ahead))
    means, variances = [mean], [var]
    for (before, own, _), (_, _, ahead) in zip(kept[-2::-1], kept[:0:-1], strict=True):
        back = own / ahead
        means.append(before + back * (means[-1] - before))
        variances.append(own + back**2 * (variances[-1] - ahead))
    return np.stack(means[::-1], 1), np.sqrt(variances[::-1]), evidence


def test_series_with_a_dense_law_are_those_of_the_kalman_smoother():
    x = walks()
    posterior = er.fit(paths(x), guide=er.Amortized(within="full-rank"), validation=0, progress=False)
    mean, sd, evidence = smoothed(x)
    own = posterior.latent.encode(weigh=False)
    assert (
        np.sqrt((((own["mean"] - mean) / sd) ** 2).mean()) < 0.05 and np.abs(own["sd"] / sd - 1).max() < 0.1
    )
    assert -0.002 < gap(posterior) < 0.01 and posterior.verdict == "trusted"
    table = posterior.summary()
    assert (table["verdict"] == "trusted").mean() > 0.99
    assert (np.abs(table["mean"].to_numpy().reshape(mean.shape) - mean) / sd).max() < 0.12  # of 4,000 draws
    assert np.abs(table["sd"].to_numpy().reshape(mean.shape) / sd - 1).max() < 0.1
    weighed = np.asarray(posterior.draws["fit"]["row_evidence"])
    np.testing.assert_allclose(weighed, evidence, atol=0.06)  # five standard errors
    assert abs((weighed - evidence).mean()) < 0.005


def test_the_gap_of_a_law_without_correlation_is_its_closed_form():
    x = walks()
    posterior = er.fit(paths(x), guide=er.Amortized(), backend="torch", validation=0, progress=False)
    first = np.eye(LENGTH) - np.eye(LENGTH, k=-1)
    precision = first.T @ first / STEP**2 + np.eye(LENGTH) / NOISE**2
    known = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert known - 0.01 < gap(posterior) < known + 0.04
    own = posterior.latent.encode(weigh=False)["sd"].to_numpy()
    np.testing.assert_allclose(own.mean(0) * np.sqrt(np.diag(precision)), 1, atol=0.06)
    # what weights make of such draws is right wherever it is trusted
    mean, sd, _ = smoothed(x)
    table = posterior.summary()
    fine = (table["verdict"] == "trusted").to_numpy().reshape(mean.shape)
    assert fine.mean() > 0.99
    assert (np.abs(table["mean"].to_numpy().reshape(mean.shape) - mean) / sd)[fine].max() < 0.15
    assert np.abs(table["sd"].to_numpy().reshape(mean.shape) / sd - 1)[fine].max() < 0.15


# -- rows whose laws have two places ------------------------------------------------------------------------


@er.model
def squares(x):
    """Each row's law is symmetric about zero, and far from it."""
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z[:, 0] ** 2, 0.2), x)


@pytest.mark.parametrize("within", ["mean-field", "flow"])
def test_an_encoder_that_sees_one_of_two_places_is_not_believed(within, monkeypatch):
    monkeypatch.setattr(judged, "ROW_WORK", 0)
    monkeypatch.setattr(judged, "AUDITED", 60)
    rng = np.random.default_rng(3)
    x = rng.normal(size=150) ** 2 + 0.2 * rng.normal(size=150)
    posterior = er.fit(squares(x), guide=er.Amortized(within=within), progress=False, num_draws=200)
    found = posterior.latent.encode(x[:60])
    alone = posterior.latent.encode(x[:60], weigh=False)
    one_sided = (np.abs(alone["mean"]) > 2 * alone["sd"]).any("unit").to_numpy()
    if within == "flow":
        assert one_sided.mean() > 0.3  # of them the encoder sees one place
    fine = (found["verdict"] == "trusted").to_numpy()
    off = np.abs(found["mean"][:, 0] / found["sd"][:, 0]).to_numpy()  # the mean is zero
    assert (off[fine] < 0.15).all()

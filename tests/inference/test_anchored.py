"""Fits anchored on all rows: every batch enumerated, and posteriors that are known."""

import itertools

import numpy as np
import pytest
from elboroom.guides import Affine
from elboroom.inference.batches import blocks
from elboroom.inference.batches.blocks import Blocks
from elboroom.inference.batches.minibatch import Batches, Minibatch
from elboroom.inference.engines.anchored import Anchored, corrected, stages
from elboroom.inference.engines.designs import whitened
from elboroom.inference.engines.loop import fit
from elboroom.inference.engines.natural import NaturalGradient, Quadratic, newton, whitened_moments

import elboroom as er

BACKENDS = ["jax", "torch"]


@er.model
def counts(y, x, group):
    mu = er.sample("mu", er.Normal(0, 1))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Poisson(er.math.exp(0.3 * a[group] + x)), y)


@er.model
def crossed(y, one, two):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("one", er.levels(one)):
        a = er.sample("a", er.Normal(0, 2.0))
    with er.plate("two", er.levels(two)):
        b = er.sample("b", er.Normal(0, 1.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu + a[one] + b[two], 3.0), y)


def few_counts(backend, num_rows=7):
    rng = np.random.default_rng(0)
    group = np.resize([0, 0, 1, 2, 2, 2, 0], num_rows)
    program = counts(rng.poisson(2.0, num_rows), 0.3 * rng.normal(size=num_rows), group)
    return program.target(backend)


def crossed_data(num_rows, seed=1):
    rng = np.random.default_rng(seed)
    one = rng.choice(12, num_rows, p=np.arange(1, 13) / 78)
    two = rng.choice(20, num_rows, p=np.arange(1, 21) / 210)
    y = 5 + 2 * rng.normal(size=12)[one] + rng.normal(size=20)[two] + 3 * rng.normal(size=num_rows)
    return y, one, two


def exact(y, one, two):
    """Mean and covariance of (mu, a, b): a linear model with known variances."""
    count_one, count_two = one.max() + 1, two.max() + 1
    x = np.zeros((len(y), 1 + count_one + count_two))
    rows = np.arange(len(y))
    x[:, 0] = x[rows, 1 + one] = x[rows, 1 + count_one + two] = 1.0
    prior = np.concatenate([[1 / 100], np.full(count_one, 1 / 4), np.full(count_two, 1.0)])
    covariance = np.linalg.inv(x.T @ x / 9 + np.diag(prior))
    return covariance @ (x.T @ y / 9), covariance


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_correct_an_anchor_without_bias(backend):
    target = few_counts(backend)
    batches, rng = Batches.of(target, Minibatch("row", 3)), np.random.default_rng(2)
    dim = target.dim
    eps = rng.standard_normal((2 * dim + 2, dim))
    mean, scale = 0.3 * rng.normal(size=dim), 0.4 * np.eye(dim)
    grad = target.value_and_grad(mean + eps @ scale.T)[1]
    anchor = Quadratic(Affine(mean, scale), *whitened_moments(grad @ scale, eps), eps, grad)
    there, narrower = (
        mean + rng.normal(size=dim),
        0.2 * np.tril(rng.normal(size=(dim, dim))) + 0.3 * np.eye(dim),
    )
    every = [
        corrected(anchor, Affine(there, narrower), Blocks(batches, np.array(rows), 7 / 3)).grad
        for rows in itertools.combinations(range(7), 3)
    ]
    expected = target.value_and_grad(there + eps @ narrower.T)[1]
    assert np.std(every, axis=0).max() > 0.1
    np.testing.assert_allclose(np.mean(every, axis=0), expected, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_of_a_gaussian_add_no_noise(backend):
    y, one, two = crossed_data(400)
    target = crossed(y, one, two).target(backend)
    batches, rng = Batches.of(target, Minibatch("row", 40)), np.random.default_rng(3)
    eps, batch = whitened(rng, 100, target.dim), Blocks(batches, batches.sample(rng), 10.0)
    mean, scale = rng.normal(size=target.dim), 0.3 * np.eye(target.dim)
    grad = target.value_and_grad(mean + eps @ scale.T)[1]
    anchor = Quadratic(Affine(mean, scale), *whitened_moments(grad @ scale, eps), eps, grad)
    there, wider = mean + rng.normal(size=target.dim), 0.5 * np.eye(target.dim)
    moved = there + eps @ wider.T
    found, expected = corrected(anchor, Affine(there, wider), batch).grad, target.value_and_grad(moved)[1]
    assert np.abs(batch(moved)[1] - expected).max() > 10.0
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 5, 23])
def test_blocks_are_the_density(backend, size):
    target = few_counts(backend, 23)
    batches, z = (
        Batches.of(target, Minibatch("row", max(size, 3))),
        np.random.default_rng(4).normal(size=(5, 4)),
    )
    value, grad = Blocks(batches)(z)
    expected = target.value_and_grad(z)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-9, atol=1e-9)
    rows, parts = np.array([20, 3, 4, 11]), target.log_density(z)
    some = target.per_row(z)["y"][:, rows].sum(1)
    value, _ = Blocks(batches, rows, 2.5)(z)
    np.testing.assert_allclose(value, parts["log_prior"] + parts["log_jacobian"] + 2.5 * some, rtol=1e-12)


def test_stages_lead_to_all_rows():
    assert stages(4096 * 64, 4096) == [4096, 8 * 4096]
    assert stages(10_000, 4096) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_crossed_effects_are_found_on_batches(backend, monkeypatch):
    monkeypatch.setattr(blocks, "DATA_BLOCK", 2**12)  # several of them
    y, one, two = crossed_data(3_000)
    program = crossed(y, one, two)
    posterior = er.fit(program, minibatch=er.Minibatch("row", 45), backend=backend, progress=False)
    mean, covariance = exact(y, one, two)
    sd = np.sqrt(np.diag(covariance))
    found, scale = posterior.params["mean"], posterior.params["scale_tril"]
    assert np.abs((found - mean) / sd).max() < 0.02
    assert np.abs(np.sqrt((scale**2).sum(1)) / sd - 1).max() < 0.02
    assert np.abs((scale @ scale.T - covariance)[0, 1:13] / covariance[0, 1:13]).max() < 0.05
    table = posterior.summary()
    assert (table["verdict"] == "trusted").all()
    assert np.abs((table["mean"].to_numpy() - mean) / sd).max() < 0.15
    assert "passes over all rows" in posterior.trail[1].reason and posterior.guide.family.name == "full-rank"


@pytest.mark.slow
def test_batches_without_an_anchor_would_not_do():
    y, one, two = crossed_data(30_000)
    target = crossed(y, one, two).target()
    mean, covariance = exact(y, one, two)
    batches, rng = Batches.of(target, Minibatch("row", 400)), np.random.default_rng(5)

    def error(found):
        return np.abs((found.mean - mean) / np.sqrt(np.diag(covariance))).max()

    def draw():
        return Blocks(batches, batches.sample(rng), 75.0)

    away = rng.normal(size=target.dim) * np.sqrt(np.diag(covariance))
    start = Affine(mean + away, np.linalg.cholesky(covariance))
    found = fit(NaturalGradient(target.value_and_grad, rng, advance=Anchored(draw, 4)), start)
    assert found.converged and len(found.trace) <= 3
    assert error(found.transport) < 0.02
    plain, eps = start, whitened(rng, 80, target.dim)
    for k in range(4 * 75):  # four times over the data, a batch at a time
        grad = draw()(plain.forward(eps)[0])[1]
        here = Quadratic(plain, *whitened_moments(plain.whiten(grad), eps), eps, grad)
        plain = newton(here, 1 / (k + 1))
    assert error(plain) > 0.3


@pytest.mark.slow
def test_a_mean_field_would_not_do():
    y, one, two = crossed_data(1_000)
    minibatch = er.Minibatch("row", 100)
    narrow = er.fit(crossed(y, one, two), guide="mean-field", minibatch=minibatch, progress=False)
    assert narrow.verdict == "untrusted" and "stochastic steps" in narrow.trail[1].reason


@pytest.mark.parametrize("guide", ["full-rank", er.FullRank()])
def test_a_full_rank_guide_can_be_named(guide):
    y, one, two = crossed_data(500)
    posterior = er.fit(
        crossed(y, one, two), guide=guide, minibatch=er.Minibatch("row", 100), progress=False, refine=False
    )
    assert posterior.guide.family.name == "full-rank" and posterior.verdict == "trusted"

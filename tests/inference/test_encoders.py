"""Encoders for the rows of a plate: against probabilistic PCA, whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from elboroom.guides.amortized import Amortized
from elboroom.guides.laws import Law, log_prob, placed
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.evidence import most_wrong, weighed
from elboroom.inference.deep.fit import Deep
from elboroom.inference.deep.setup import set_up
from elboroom.inference.deep.training import Training
from elboroom.inference.run.watch import Watch
from scipy.stats import multivariate_normal

import elboroom as er

BACKENDS = ("jax", "torch")


@er.model
def plane(x, num_units=2):
    """A plane in the space of the rows, with noise around it."""
    weight = er.param("weight", 0.1 * np.random.default_rng(0).normal(size=(num_units, x.shape[1])))
    shift = er.param("shift", np.zeros(x.shape[1]))
    sd = er.math.exp(er.param("log_sd", -1.0))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([num_units]).to_event(1))
        er.observe("x", er.Normal(z @ weight + shift, sd).to_event(1), x)


def rows(num=400, dim=8, seed=0, sd=0.4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, 2)) @ (rng.normal(size=(2, dim)) * 1.5) + sd * rng.normal(size=(num, dim))


def pca(x, num_units=2):
    """Greatest mean log likelihood, noise variance, loadings' span and divergence of all rows of probabilistic PCA (Tipping and
    Bishop 1999)."""
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[num_units:].mean()
    span = vectors[:, :num_units]
    covariance = span @ np.diag(values[:num_units] - noise) @ span.T + noise * np.eye(x.shape[1])
    best = multivariate_normal(x.mean(0), covariance).logpdf(x).mean()
    return best, noise, span, 0.5 * np.log(values[:num_units] / noise).sum()


def exact(weights, x):
    """Posterior means and covariance of all rows at fitted arrays, and their log evidence."""
    w, shift, noise = (np.asarray(weights[k], float) for k in ("weight", "shift", "log_sd"))
    noise = np.exp(2 * noise)
    precision = w @ w.T + noise * np.eye(len(w))
    covariance = noise * np.linalg.inv(precision)
    whole = w.T @ w + noise * np.eye(x.shape[1])
    return (
        (x - shift) @ w.T @ np.linalg.inv(precision),
        covariance,
        multivariate_normal(shift, whole).logpdf(x),
    )


@cache
def fitted(backend="jax", within="mean-field", seed=0):
    return er.fit(
        plane(rows()),
        guide=Amortized(within=within),
        backend=backend,
        seed=seed,
        validation=0,
        progress=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_linear_model_is_probabilistic_pca(backend):
    posterior, x = fitted(backend), rows()
    best, noise, span, _ = pca(x)
    _, _, evidence = exact(posterior.weights, x)
    assert best - 0.05 < evidence.mean() <= best + 1e-3
    assert np.exp(2 * posterior.weights["log_sd"]) == pytest.approx(noise, rel=0.03)
    own = np.linalg.qr(np.asarray(posterior.weights["weight"], float).T)[0]
    assert np.arccos(np.clip(np.linalg.svd(own.T @ span)[1].min(), -1, 1)) < 0.05
    bounds = np.asarray(posterior.draws["fit"].to_dataset()["elbo"])
    assert bounds[-50:].mean() / len(x) == pytest.approx(best, abs=0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_posterior_of_each_row_is_the_exact_one_at_the_fitted_arrays(backend):
    posterior, x = fitted(backend), rows()
    mean, covariance, _ = exact(posterior.weights, x)
    table, sd = posterior.summary(), np.sqrt(np.diag(covariance))
    found = table["mean"].to_numpy().reshape(mean.shape)
    assert posterior.verdict == "trusted"
    assert (table["verdict"] == "trusted").mean() > 0.99
    assert np.abs((found - mean) / sd).max() < 0.12  # five standard errors of 2,000 effective draws
    assert np.abs(table["sd"].to_numpy().reshape(mean.shape) / sd - 1).max() < 0.08
    low = table["q5"].to_numpy().reshape(mean.shape)
    assert np.abs((low - mean) / sd + 1.6449).max() < 0.2
    assert "given the fitted arrays" in table["reason"].iloc[0]


@pytest.mark.slow
def test_draws_have_the_law_of_the_rows():
    posterior, x = fitted(), rows()
    mean, covariance, _ = exact(posterior.weights, x)
    z = posterior.draws["posterior"].to_dataset()["z"].to_numpy()[0]
    whitened = (z - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    assert abs(whitened.mean()) < 0.01
    second = np.einsum("sni,snj->ij", whitened, whitened) / (whitened.shape[0] * whitened.shape[1])
    np.testing.assert_allclose(second, np.eye(2), atol=0.02)


@pytest.mark.slow
def test_a_dense_law_of_rows_has_no_gap():
    posterior, x = fitted(within="full-rank"), rows()
    record = posterior.draws["fit"].to_dataset()
    _, _, evidence = exact(posterior.weights, x)
    found = next(f for f in posterior.findings if f.name == "gap of the encoder")
    assert found.value < 0.02
    assert record is not None and evidence.mean() > pca(x)[0] - 0.05


@cache
def untrained(backend="jax", within="mean-field", dtype=np.float64, size=50):
    target = plane(rows()).target(backend, dtype)
    setup = set_up(Amortized(within=within), "row", target, size, 0)
    held = {k: target.to_device(target.program.leaves[k].value) for k in setup.rows.along}
    return target, setup, Compiled(setup.rows, setup.encoder, held)


def on_device(target, arrays):
    return {"weights": {k: target.to_device(v) for k, v in arrays.items()}, "guide": {}}


@pytest.mark.parametrize("within", ["mean-field", "full-rank"])
def test_weights_and_bounds_are_those_of_the_closed_form(within):
    target, setup, compiled = untrained(within=within)
    found = list(weighed(compiled, on_device(target, setup.begin), np.arange(60), 1))
    x = rows()[:60]
    _, _, evidence = exact(setup.begin, x)
    own, error = (np.concatenate([part.evidence[i] for part in found]) for i in (0, 1))
    known = np.concatenate([part.khat for part in found]) < 0.5
    assert known.sum() > 20
    assert (np.abs(own - evidence)[known] < 5 * error[known] + 1e-3).all()
    assert (np.concatenate([part.bound for part in found]) < own + 5 * error).all()


def test_both_backends_have_the_same_law_and_the_same_terms():
    found = []
    for backend in BACKENDS:
        target, setup, compiled = untrained(backend)
        params = on_device(target, setup.begin)
        from elboroom.inference.deep.evidence import encoded

        law = encoded(compiled, params, np.arange(400))
        mean, log_sd = law.mean, law.log_sd
        z = np.concatenate([mean.ravel()])[None]
        value = target.at(setup.begin).value_and_grad(z)[0]
        found.append((mean, log_sd, value))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_rows_of_a_plate_add_up_to_the_density(backend):
    @er.model
    def mixed(x, c):
        scale = er.sample("scale", er.HalfNormal(1.0))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, scale).expand([2]).to_event(1))
            rate = er.sample("rate", er.Gamma(2.0, 1.0))
            er.factor("lean", -(z[:, 0] ** 2) * c)
            er.observe("x", er.Normal(z.sum(-1) * rate, 1.0), x)

    rng = np.random.default_rng(0)
    target = mixed(rng.normal(size=7), rng.uniform(size=7)).target(backend, np.float32)
    density, z = target.density, rng.normal(size=(1, target.dim))
    one = target.to_device(z[0])
    found = density.by_row(one, target.data, target.weights, "row")
    parts = [found["likelihood"], found["other"], *(v.sum(-1) for v in found["prior"].values())]
    total = float(sum(float(part.sum()) for part in parts) + float(found["outside"]))
    assert total == pytest.approx(float(target.value_and_grad(z)[0][0]), rel=1e-5)
    assert {k: tuple(v.shape) for k, v in found["prior"].items()} == {"z": (7, 2), "rate": (7, 1)}


def test_a_law_of_rows_is_the_inverse_of_its_density():
    rng = np.random.default_rng(0)
    lower = np.tril(rng.normal(size=(3, 4, 4)), -1) + np.eye(4)
    law = Law(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), lower)
    z = placed(law, rng.normal(size=(5, 3, 4)))
    for i in range(3):
        root = np.exp(law[1][i])[:, None] * lower[i]
        own = multivariate_normal(law[0][i], root @ root.T).logpdf(z[:, i])
        np.testing.assert_allclose(log_prob(law, z)[:, i], own)
    for unit in range(4):
        covariance = [
            np.diag(np.exp(one)) @ root @ root.T @ np.diag(np.exp(one))
            for one, root in zip(law.log_sd, lower, strict=True)
        ]
        wide = np.sqrt([one[unit, unit] for one in covariance])
        np.testing.assert_allclose(np.exp(law.marginals.log_sd[:, unit]), wide)


@pytest.mark.parametrize(
    "objective", [er.objectives.Elbo(), er.objectives.ImportanceWeighted(5, estimator="dreg")]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rounding_is_no_evidence(backend, objective):
    """In single precision draws of a dense law with great entries cannot be told from where they lie: once worth 1e20 nats a row, and
    gradients a hundred times as long."""
    x, units = rows(), 8
    below, log_sd = (
        np.full(units * (units - 1) // 2, 30.0),
        np.full(units, -4.0),
    )  # the inverse has entries of 1e10
    sums = {}
    for dtype in (np.float32, np.float64):
        target = plane(x, units).target(backend, dtype)
        setup = set_up(Amortized(within="full-rank"), "row", target, 50, 0)
        compiled = Compiled(setup.rows, setup.encoder, {})
        last = max(k for k in setup.begin if setup.encoder.owns(k) and k.endswith("weight"))
        made = {
            last: 0 * setup.begin[last],
            last.replace("weight", "bias"): np.concatenate([0 * log_sd, log_sd, below]),
        }
        setup = replace(setup, begin={**setup.begin, **made})
        training = Training(setup, compiled, objective, 0.0, 0, Watch(None, False))
        state = training.begun()
        kept = training.bounds(state["params"], np.tile(np.arange(400), 5))[1]
        seen = training.advance(state, 0, np.zeros(40))[1]
        sums[dtype] = [
            (one.mean(), one.std() / np.sqrt(len(one))) for one in (kept, seen["kl"], seen["norm"])
        ]
    for (found, error), (exact, other) in zip(*sums.values(), strict=True):
        assert abs(found - exact) < 4 * np.hypot(error, other)


@pytest.mark.slow
def test_an_encoder_that_was_not_trained_is_not_trusted():
    class Lazy(Watch):
        def stop(self):
            return True

    _, setup, compiled = untrained(dtype=np.float32)
    trained = Training(setup, compiled, er.objectives.Elbo(), 0.1, 0, Lazy(None, False)).run()
    assert trained.reason == "stopped"
    posterior = er.fit(
        plane(rows()), guide=Amortized(), validation=0, progress=False, max_seconds=1e-3, seed=0,
        objective=er.objectives.Elbo(beta=er.objectives.Linear(epochs=1000)),
    )  # fmt: skip
    assert posterior.verdict != "trusted"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_one_another():
    first = fitted()
    again = er.fit(plane(rows()), guide=Amortized(), validation=0, progress=False)
    other = fitted(seed=1)
    for name in first.weights:
        np.testing.assert_array_equal(first.weights[name], again.weights[name])
    assert not np.array_equal(first.weights["weight"], other.weights["weight"])


def test_it_is_saved_and_loaded_with_what_was_fitted(tmp_path):
    posterior = fitted()
    posterior.save(tmp_path / "it")
    loaded = er.load(tmp_path / "it", program=plane(rows()))
    assert loaded.verdict == posterior.verdict
    np.testing.assert_array_equal(loaded.weights["weight"], posterior.weights["weight"])
    np.testing.assert_allclose(loaded.summary()["mean"], posterior.summary()["mean"])


@pytest.mark.slow
def test_missing_entries_are_left_out_and_the_rest_of_their_row_speaks():
    x = rows()
    lost = np.random.default_rng(1).uniform(size=x.shape) < 0.2
    gaps = np.where(lost, np.nan, x)
    posterior = er.fit(plane(gaps), guide=Amortized(), validation=0, progress=False)
    w, shift = (np.asarray(posterior.weights[k], float) for k in ("weight", "shift"))
    noise = np.exp(2 * float(posterior.weights["log_sd"]))
    found = posterior.summary()
    mean, sd = (found[k].to_numpy().reshape(len(x), 2) for k in ("mean", "sd"))
    for i in range(0, len(x), 20):
        own = w[:, ~lost[i]]
        covariance = np.linalg.inv(np.eye(2) + own @ own.T / noise)
        right = covariance @ own @ (gaps[i] - shift)[~lost[i]] / noise
        wide = np.sqrt(np.diag(covariance))
        if found["verdict"].iloc[2 * i] == "trusted":
            assert (np.abs(mean[i] - right) / wide < 0.15).all()
            assert (np.abs(sd[i] / wide - 1) < 0.15).all()
    assert (found["verdict"] == "trusted").mean() > 0.9


@pytest.mark.slow
def test_a_fit_that_was_broken_off_goes_on_to_the_same_result(tmp_path, monkeypatch):
    from elboroom.inference.run import checkpoint

    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    program, options = plane(rows()), {"guide": Amortized(), "validation": 0, "progress": False}
    looks = []
    kept = Training.__post_init__

    def broken(self):
        kept(self)
        keep = self.keep

        def once(make):
            keep(make)
            looks.append(1)
            if len(looks) == 5:
                raise KeyboardInterrupt

        self.keep = once

    monkeypatch.setattr(Training, "__post_init__", broken)
    with pytest.raises(KeyboardInterrupt):
        er.fit(program, checkpoint=tmp_path / "c", **options)
    again = er.fit(program, checkpoint=tmp_path / "c", **options)
    for name, value in fitted().weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
    third = er.fit(program, checkpoint=tmp_path / "c", **options)
    np.testing.assert_array_equal(third.weights["weight"], again.weights["weight"])


def test_upper_limits_of_shares():
    assert most_wrong(0, 300) < 0.01 < most_wrong(1, 300)
    assert most_wrong(300, 300) == 1.0


@er.model
def two(x, y):
    with er.plate("one", len(x)):
        a = er.sample("a", er.Normal(0, 1))
        er.observe("x", er.Normal(a, 1), x)
    with er.plate("other", len(y)):
        b = er.sample("b", er.Normal(0, 1))
        er.observe("y", er.Normal(b, 1), y)


@pytest.mark.parametrize(
    "program, guide, options, words",
    [
        (plane(rows()), Amortized("encode"), {}, "a module of the model among"),
        (plane(rows()), Amortized(sees=["y"]), {}, "arguments that run along 'row'"),
        (plane(rows()), Amortized(er.nn.MLP(8, [4], 3)), {}, "4 numbers for each row"),
        (plane(rows()), Amortized(er.nn.MLP(5, [4], 4)), {}, "last axis has 5 numbers"),
        (plane(rows()), {"w": Amortized()}, {}, "latent sites among"),
        (plane(rows()), Amortized(), {"minibatch": er.Minibatch("col", 8)}, "rows of 'row'"),
        (plane(rows()), Amortized(), {"minibatch": er.Minibatch("row", 4000)}, "those that are trained on"),
        (plane(rows()), Amortized(), {"validation": 1.5}, "a share of rows"),
        (plane(rows()), Amortized(), {"objective": "elbo"}, "er.objectives"),
        (plane(rows()), Amortized(), {"refine": "always"}, "a fit without an encoder"),
        (plane(rows()), "mean-field", {"validation": 0.1}, "a fit with an encoder"),
        (two([1.0, 2.0], [1.0]), Amortized(), {}, "latent sites in one plate"),
        (two([1.0, 2.0], [1.0]), {"a": Amortized()}, {}, "latent quantities of one plate"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(program, guide, options, words):
    with pytest.raises(er.ElboroomError, match=words) as caught:
        er.fit(program, guide=guide, progress=False, **options)
    assert "expected" in str(caught.value) and "got" in str(caught.value)


def test_batches_follow_the_rows():
    deep = Deep(None, None, None, "row", 0, 100, None, None, None)
    assert deep.size(5000) == 256 and deep.size(3) <= 3 and deep.size(400) == 32


@er.model
def scaled(x):
    """A line whose noise is a quantity of its own."""
    noise = er.sample("noise", er.HalfNormal(1.0))
    slope = er.module("slope", er.nn.MLP(1, [], 5))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(slope(z), noise).to_event(1), x)


@pytest.mark.slow
def test_what_rows_share_is_no_better_than_caution_by_an_encoder_and_the_ladder_goes_on():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1)) * [1.0, -1, 2, 0.5, 1] + 0.4 * rng.normal(size=(60, 5))
    named = er.fit(scaled(x), guide=Amortized(), validation=0, progress=False)
    assert named.verdict == "untrusted" and "trusted" not in set(named.summary()["verdict"].iloc[1:])
    chosen = er.fit(scaled(x), validation=0, progress=False)
    assert chosen.verdict == "trusted"
    weight, shift = (np.asarray(chosen.learned[f"slope.layers.0.{k}"], float) for k in ("weight", "bias"))
    grid = np.linspace(0.2, 0.8, 400)
    level = [
        multivariate_normal(shift, weight @ weight.T + s**2 * np.eye(5)).logpdf(x).sum() - 0.5 * s**2
        for s in grid
    ]
    density = np.exp(np.array(level) - max(level))
    mean = (grid * density).sum() / density.sum()
    sd = np.sqrt(((grid - mean) ** 2 * density).sum() / density.sum())
    row = chosen.summary().loc["noise"]
    assert abs(row["mean"] - mean) < 0.15 * sd and abs(row["sd"] / sd - 1) < 0.15
    assert chosen.latent.encode(x[:3])["mean"].shape == (3, 1)
    assert [rung.name for rung in chosen.trail][:2] == ["training", "evidence by row"]

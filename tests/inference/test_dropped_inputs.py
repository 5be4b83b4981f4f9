"""Inputs of an encoder that training takes away now and then: without one the law of a row is the posterior without it."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.setup import set_up
from scipy.stats import norm

import elboroom as er

LOADINGS, OTHERS = np.array([[1.0, -0.5, 2.0], [0.5, 1.5, 0.3]]), np.array([[0.7, 3.0], [-3.0, 0.4]])
NOISE, OTHER_NOISE = 1.2, 0.5


@er.model
def seen_twice(x, c):
    """Two units behind two outcomes of a row."""
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ er.math.asarray(LOADINGS), NOISE).to_event(1), x)
        er.observe("c", er.Normal(z @ er.math.asarray(OTHERS), OTHER_NOISE).to_event(1), c)


@er.model
def given(x, c):
    """Two units behind an outcome that a covariate moves."""
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ er.math.asarray(LOADINGS) + c[:, None], NOISE).to_event(1), x)


def rows(num=400, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num, 2))
    return {
        "x": z @ LOADINGS + NOISE * rng.normal(size=(num, 3)),
        "c": z @ OTHERS + OTHER_NOISE * rng.normal(size=(num, 2)),
    }


def exact(x, c=None):
    """Posterior means of rows and their covariance, of both outcomes or the first alone."""
    precision, moved = np.eye(2) + LOADINGS @ LOADINGS.T / NOISE**2, x @ LOADINGS.T / NOISE**2
    if c is not None:
        precision, moved = (
            precision + OTHERS @ OTHERS.T / OTHER_NOISE**2,
            moved + c @ OTHERS.T / OTHER_NOISE**2,
        )
    covariance = np.linalg.inv(precision)
    return moved @ covariance, covariance


@pytest.mark.slow
def test_without_an_outcome_the_law_is_the_posterior_without_it(tmp_path):
    guide = er.Amortized(within="full-rank", dropout={"c": 0.3})
    posterior = er.fit(seen_twice(**rows()), guide=guide, progress=False, num_draws=100)
    new = rows(60, seed=1)
    for data, (mean, covariance) in (
        (new, exact(**new)),
        ({**new, "c": np.full_like(new["c"], np.nan)}, exact(new["x"])),
    ):
        sd = np.sqrt(np.diag(covariance))
        alone = posterior.latent.encode(data, weigh=False)
        assert (
            np.sqrt((((alone["mean"] - mean) / sd) ** 2).mean()) < 0.25
        )  # 1.4 without c and without dropout
        np.testing.assert_allclose(np.median(alone["sd"], 0), sd, rtol=0.15)  # a third of it
        found = posterior.latent.encode(data)
        assert (found["verdict"] == "trusted").mean() > 0.95
        assert (np.abs(found["mean"] - mean) < 0.12 * sd).all()  # by 4,000 weights
    posterior.save(tmp_path / "kept")
    again = er.load(tmp_path / "kept", program=seen_twice(**rows()))
    np.testing.assert_allclose(again.latent.embed(data), posterior.latent.embed(data), atol=1e-5)
    np.testing.assert_allclose(again.latent.encode(data)["mean"], found["mean"], atol=0.1)


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("model", [seen_twice, given])
def test_an_outcome_is_taken_out_of_the_density_and_a_covariate_is_not(model, backend):
    data = rows(40)
    data = data if model is seen_twice else {"x": data["x"], "c": data["c"][:, 0]}
    target = model(**data).target(backend, np.float64)
    guide = er.Amortized(er.nn.MLP(7 if model is seen_twice else 5, [], 4), dropout={"c": 0.5})
    made = set_up(guide, "row", target, 40, 0)
    compiled = Compiled(made.rows, made.encoder, {}, guide.dropout)
    z, gone = np.random.default_rng(1).normal(size=(1, 40, 2)), compiled.dropped(0, 0, 1)
    away = gone["dropped"]["c"][0] > 0
    assert 8 < away.sum() < 32
    params = {"weights": {k: target.to_device(v) for k, v in made.begin.items()}, "guide": {}}
    given_ = {"seed": np.zeros(1, np.int64), "z": z[None], **compiled.batches(np.arange(40)[None]), **gone}
    found = np.asarray(compiled.at({}, given_, {**compiled.constants, "params": params})[1]["joint"])[0, 0]
    centre = z[0] @ LOADINGS + (0.0 if model is seen_twice else data["c"][:, None])
    joint = norm.logpdf(z[0]).sum(1) + norm.logpdf(data["x"], centre, NOISE).sum(1)
    if model is seen_twice:
        joint += np.where(away, 0.0, norm.logpdf(data["c"], z[0] @ OTHERS, OTHER_NOISE).sum(1))
    np.testing.assert_allclose(found, joint, rtol=1e-5)


@pytest.mark.slow
def test_without_a_covariate_the_encoder_answers_alone():
    data = rows(60)
    data["c"] = data["c"][:, 0]
    guide = er.Amortized(dropout={"c": 0.2})
    latent = er.fit(given(**data), guide=guide, progress=False, num_draws=100, max_seconds=1e-9).latent
    gone = {**data, "c": np.full(60, np.nan)}
    assert np.isfinite(latent.encode(gone, weigh=False)["mean"]).all()
    for ask in (latent.encode, latent.score, latent.reconstruct):
        with pytest.raises(er.DataError, match="weigh=False"):
            ask(gone)


@pytest.mark.parametrize(
    ("dropout", "words"),
    [({"c": 1.0}, "below 1"), ({"c": "much"}, "below 1"), ("c", "a mapping"), ({"w": 0.1}, "'w'")],
)
def test_shares_that_are_none_are_refused(dropout, words):
    with pytest.raises(er.GuideError, match=r"dropout of er\.Amortized") as caught:
        er.fit(seen_twice(**rows(20)), guide=er.Amortized(dropout=dropout), progress=False)
    assert words in str(caught.value)

"""Rows of which several views are seen: the law of each is the product of what its views say."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.evidence import encoded
from elboroom.inference.deep.setup import family_of, set_up

import elboroom as er

LOADINGS = np.array([[1.0, -0.5, 2.0], [0.5, 1.5, 0.3]])
OTHERS = np.array([[0.7, 1.0], [-1.2, 0.4]])
NOISE, OTHER_NOISE, WIDE = 0.6, 0.8, 1.7


@er.model
def seen_twice(x, y):
    """Two units behind two views of a row, both linear."""
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, WIDE).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ er.math.asarray(LOADINGS), NOISE).to_event(1), x)
        er.observe("y", er.Normal(z @ er.math.asarray(OTHERS), OTHER_NOISE).to_event(1), y)


def rows(num=300, seed=0):
    """Rows, some of which lack one view, and some both."""
    rng = np.random.default_rng(seed)
    z = WIDE * rng.normal(size=(num, 2))
    x = z @ LOADINGS + NOISE * rng.normal(size=(num, 3))
    y = z @ OTHERS + OTHER_NOISE * rng.normal(size=(num, 2))
    x[::5], y[::3] = np.nan, np.nan
    return x, y


def exact(x, y):
    """Mean and covariance of each row."""
    means, covariances = [], []
    for one, other in zip(x, y, strict=True):
        precision, moved = np.eye(2) / WIDE**2, np.zeros(2)
        for value, loading, noise in ((one, LOADINGS, NOISE), (other, OTHERS, OTHER_NOISE)):
            known = ~np.isnan(value)
            precision = precision + loading[:, known] @ loading[:, known].T / noise**2
            moved = moved + loading[:, known] @ value[known] / noise**2
        covariances.append(np.linalg.inv(precision))
        means.append(covariances[-1] @ moved)
    return np.array(means), np.array(covariances)


def right(loading, noise):
    """Weights of a linear network that says of a row what its view does."""
    root = np.linalg.cholesky(loading @ loading.T / noise**2)
    weight = np.zeros((5, loading.shape[1]))
    weight[:2] = np.linalg.solve(root, loading / noise**2)
    bias = np.r_[0.0, 0.0, -np.log(np.diag(root)), root[1, 0] / root[1, 1]]
    return {"layers.0.weight": weight, "layers.0.bias": bias}


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_product_of_what_views_say_is_the_law_of_a_row(backend):
    x, y = rows()
    target = seen_twice(x, y).target(backend, np.float64)
    views = {"x": er.nn.MLP(3, [], 5), "y": er.nn.MLP(2, [], 5)}
    setup = set_up(er.Amortized(views, within="full-rank"), "row", target, 50, 0)
    nets = {"encoder.x": right(LOADINGS, NOISE), "encoder.y": right(OTHERS, OTHER_NOISE)}
    made = {f"{net}.{key}": value for net, own in nets.items() for key, value in own.items()}
    made |= {"encoder:prior.mean": np.zeros(2), "encoder:prior.log_sd": np.full(2, np.log(WIDE))}
    assert set(made) == set(setup.begin)
    params = {"weights": {k: target.to_device(v) for k, v in made.items()}, "guide": {}}
    law = encoded(Compiled(setup.rows, setup.encoder, {}), params, np.arange(len(x)))
    root = np.exp(law.log_sd)[:, :, None] * law.lower
    mean, covariance = exact(x, y)
    np.testing.assert_allclose(law.mean, mean, atol=1e-10)
    np.testing.assert_allclose(root @ root.transpose(0, 2, 1), covariance, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "within"), [("jax", "full-rank"), ("torch", "mean-field")])
def test_views_are_learned_and_judged(backend, within, tmp_path):
    x, y = rows(600 if within == "full-rank" else 250)
    guide = er.Amortized({"x": None, "y": None}, within=within)
    posterior = er.fit(seen_twice(x, y), guide=guide, backend=backend, progress=False, num_draws=200)
    new = rows(60, seed=1)
    mean, covariance = exact(*new)
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    found = posterior.latent.encode({"x": new[0], "y": new[1]})
    assert (np.abs(found["mean"] - mean) < 0.12 * sd).all()  # by 4,000 weights: four standard errors
    np.testing.assert_allclose(found["sd"], sd, rtol=0.12)
    assert (found["verdict"] == "trusted").mean() > 0.9
    if within == "full-rank":  # the encoders alone
        alone = posterior.latent.encode({"x": new[0], "y": new[1]}, weigh=False)
        assert (np.abs(alone["mean"] - mean) < 0.2 * sd).mean() > 0.85
        seen = ~np.isnan(np.hstack(new)).all(
            1
        )  # one row in fifteen is not, in training too, which learns of these slowly
        np.testing.assert_allclose(alone["sd"][seen], sd[seen], rtol=0.15)
    posterior.save(tmp_path / "kept")
    again = er.load(tmp_path / "kept", program=seen_twice(x, y))
    np.testing.assert_allclose(again.latent.embed({"x": new[0], "y": new[1]}),
                               posterior.latent.embed({"x": new[0], "y": new[1]}), rtol=1e-5, atol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: er.Amortized({}), "module of er.Amortized"),
        (lambda: er.Amortized({("x", "y"): None, "x": None}), "each argument in one of them"),
        (lambda: er.Amortized({"x": None}, sees=["x"]), "none beside views"),
        (lambda: er.Amortized({"x": None}, within="flow"), "whose laws are multiplied"),
        (lambda: er.fit(seen_twice(*rows(20)), guide=er.Amortized({"w": None}), progress=False), "['w']"),
    ],
)
def test_views_that_are_none_are_refused(made, words):
    with pytest.raises(er.GuideError, match="er.Amortized") as caught:
        made()
    assert words in str(caught.value)


def test_views_may_be_named_for_a_site():
    x, y = rows(60)
    family = er.Amortized({"x": None, "y": None})
    found, plate = family_of({"z": family}, seen_twice(x, y).target("jax", np.float64))
    assert found is family and plate == "row"

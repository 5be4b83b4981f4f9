"""``latent.denoise`` against closed forms: a plane with normal noise, and flipped bits over a grid of coordinates."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.special import expit

import elboroom as er


@er.model
def plane(x, y):
    """Two outcomes of one plane, one of them away from the noise."""
    weight = er.param("weight", np.random.default_rng(0).normal(size=(2, 4)))
    other = er.param("other", np.ones(2))
    sd = er.math.exp(er.param("log_sd", -1.0))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ weight, sd).to_event(1), x)
        er.observe("y", er.Normal(z @ other, 0.8), y)


@er.model
def bits(x):
    weight = er.param("weight", np.random.default_rng(1).normal(size=(2, 12)))
    level = er.param("level", np.zeros(12))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Bernoulli(logits=z @ weight + level).to_event(1), x)


def made(num, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num, 2))
    x = z @ np.array([[1.5, -1.0, 0.5, 1.0], [0.3, 1.2, -1.4, 0.8]]) + 0.5 * rng.normal(size=(num, 4))
    return {"x": x, "y": z @ [0.7, -0.7] + 0.8 * rng.normal(size=num)}


def drawn_bits(num, seed):
    rng = np.random.default_rng(seed)
    weight = np.random.default_rng(9).normal(scale=2.0, size=(2, 12))
    return (rng.uniform(size=(num, 12)) < expit(rng.normal(size=(num, 2)) @ weight)).astype(int)


@cache
def fitted(backend="jax"):
    return er.fit(plane(**made(500, 0)), guide=er.Amortized(), backend=backend, progress=False)


@cache
def fitted_bits():
    return er.fit(bits(drawn_bits(500, 0)), guide=er.Amortized(), progress=False)


def clean_given(posterior, data, sd):
    """Mean and covariance of the clean entries of x, with noise of sds `sd` by entry."""
    learned = posterior.learned
    weight, other = (np.asarray(learned[k], float) for k in ("weight", "other"))
    noise = np.exp(2 * float(learned["log_sd"]))
    loading = np.column_stack([weight, other])
    whole = loading.T @ loading + np.diag([noise] * 4 + [0.64])
    seen = whole + np.diag([*np.broadcast_to(sd, 4) ** 2, 0.0])
    gain = whole[:4] @ np.linalg.inv(seen)
    mean = np.column_stack([data["x"], data["y"]]) @ gain.T
    return mean, np.sqrt(np.diag(whole[:4, :4] - gain @ whole[:, :4]))


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.3, 1.5, np.array([0.2, 3.0, 0.5, 1.0])])
def test_normal_noise_is_taken_out_as_the_gaussian_says(sd):
    new, rng = made(60, 1), np.random.default_rng(2)
    noisy = {**new, "x": new["x"] + sd * rng.normal(size=new["x"].shape)}
    mean, right = clean_given(fitted(), noisy, sd)
    found = fitted().latent.denoise(noisy, sd={"x": sd}, num_draws=1000)
    verdict = found["verdict"].to_numpy()
    assert (verdict == "trusted").mean() > 0.95 and "untrusted" not in verdict
    # 1,000 draws: means to 3% of an sd, sds to 2% and quantiles to 7%
    assert (np.abs(found["x"].to_numpy() - mean) / right).max() < 0.15
    np.testing.assert_allclose(found["x_sd"].to_numpy(), np.broadcast_to(right, mean.shape), rtol=0.1)
    assert (np.abs(found["x_q95"].to_numpy() - mean - 1.645 * right) / right).max() < 0.35
    error = lambda x: np.mean((x - new["x"]) ** 2)  # noqa: E731
    assert error(found["x"].to_numpy()) < error(noisy["x"])


@pytest.mark.slow
def test_it_is_the_same_on_torch():
    pytest.importorskip("torch")
    new, rng = made(20, 1), np.random.default_rng(2)
    noisy = {**new, "x": new["x"] + rng.normal(size=new["x"].shape)}
    mean, right = clean_given(fitted("torch"), noisy, 1.0)
    found = fitted("torch").latent.denoise(noisy, sd={"x": 1.0})
    assert (np.abs(found["x"].to_numpy() - mean) / right).max() < 0.25


@pytest.mark.slow
def test_lost_entries_are_those_of_infinite_noise():
    new = made(40, 3)
    noisy = {**new, "x": new["x"].copy()}
    noisy["x"][:, 2] = np.nan
    mean, right = clean_given(
        fitted(), {**new, "x": np.nan_to_num(noisy["x"])}, np.array([0.4, 0.4, 1e4, 0.4])
    )
    found = fitted().latent.denoise(noisy, sd={"x": 0.4}, num_draws=1000)
    fine = found["verdict"].to_numpy() == "trusted"
    assert fine.mean() > 0.9
    assert (np.abs(found["x"].to_numpy() - mean) / right)[fine].max() < 0.2


@pytest.mark.slow
def test_flipped_bits_are_set_right_as_a_grid_says():
    learned = fitted_bits().learned
    weight, level = (np.asarray(learned[k], float) for k in ("weight", "level"))
    new, rng = drawn_bits(50, 1), np.random.default_rng(4)
    flipped = rng.uniform(size=new.shape) < 0.2
    noisy = np.where(flipped, 1 - new, new)
    node, mass = np.polynomial.hermite_e.hermegauss(64)
    z = np.stack(np.meshgrid(node, node, indexing="ij"), -1).reshape(-1, 2)
    p = expit(z @ weight + level)
    shown = 0.2 + 0.6 * p
    log_w = np.log(np.outer(mass, mass).ravel()) + noisy @ np.log(shown).T + (1 - noisy) @ np.log(1 - shown).T
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    w /= w.sum(1, keepdims=True)
    right = np.where(noisy == 1, w @ (0.8 * p / shown), w @ (0.2 * p / (1 - shown)))
    found = fitted_bits().latent.denoise(noisy, flipped=0.2, num_draws=1000)
    verdict = found["verdict"].to_numpy()
    assert (verdict == "trusted").mean() > 0.5 and "untrusted" not in verdict
    assert np.abs(found["x"].to_numpy() - right).max() < 0.06  # four errors of 1,000 draws with sd 0.4
    np.testing.assert_allclose(found["x_sd"], np.sqrt(found["x"] * (1 - found["x"])), atol=1e-6)
    assert "x_q5" not in found
    assert ((found["x"].to_numpy() > 0.5) != new).mean() < (noisy != new).mean()


def test_rows_whose_weights_fail_are_not_trusted():
    new, noise = made(12, 5), 1e3 * np.random.default_rng(0).normal(size=(12, 4))
    far = {**new, "x": new["x"] + noise}
    for sd, trusted in (
        (0.01, 0.0),
        (1e3, 0.9),
    ):  # not the noise that it was; and the right one, which leaves the prior and y
        mean, right = clean_given(fitted(), far, sd)
        found = fitted().latent.denoise(far, sd={"x": sd})
        off = (np.abs(found["x"].to_numpy() - mean) / right).max(1)
        fine = found["verdict"].to_numpy() == "trusted"
        assert (off[fine] < 0.3).all() and fine.mean() >= trusted
    found = fitted().latent.encode(far)
    mean, _ = of_coordinates(far)
    off = (np.abs(found["mean"].to_numpy() - mean)).max(1)
    assert (off[found["verdict"].to_numpy() == "trusted"] < 0.1).all() and np.isneginf(
        found["khat"]
    ).sum() == 0


def of_coordinates(data):
    """Mean and covariance of the coordinates of rows."""
    learned = fitted().learned
    loading = np.column_stack([np.asarray(learned[k], float) for k in ("weight", "other")])
    pull = loading / np.array([np.exp(2 * float(learned["log_sd"]))] * 4 + [0.64])
    covariance = np.linalg.inv(np.eye(2) + pull @ loading.T)
    return np.column_stack([data["x"], data["y"]]) @ pull.T @ covariance, covariance


@er.model
def causal(x):
    """An outcome whose entries see those before them."""
    own = er.param("own", np.ones(4))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        before = er.math.concat([0.0 * x[:, :1], x[:, :-1]], axis=1)
        er.observe("x", er.Normal(z * own + 0.5 * before, 0.5).to_event(1), x)


@pytest.mark.slow
def test_entries_that_see_each_other_are_refused():
    x = made(200, 0)["x"]
    posterior = er.fit(causal(x), guide=er.Amortized(), progress=False)
    with pytest.raises(er.UnsupportedError, match="independent given a row's coordinates"):
        posterior.latent.denoise(x[:5], sd=0.3)


@pytest.mark.parametrize(
    "noise, words",
    [
        ({}, "got neither"),
        ({"sd": 1.0, "flipped": 0.1}, "got both"),
        ({"sd": 0.3}, "a mapping from outcome to value"),
        ({"sd": {"w": 0.3}}, "outcomes among"),
        ({"sd": {"x": 0.0}}, "positive, finite standard deviations"),
        ({"sd": {"x": -1.0}}, "positive, finite standard deviations"),
        ({"sd": {"x": np.nan}}, "positive, finite standard deviations"),
        ({"sd": {"x": np.ones(3)}}, "broadcasts against"),
        ({"sd": {"x": "much"}}, "a number, or an array"),
        ({"flipped": {"x": 0.1}}, "a binary outcome"),
    ],
)
def test_other_noise_is_refused_by_name(noise, words):
    with pytest.raises(er.ElboroomError, match=words):
        fitted().latent.denoise(made(3, 0), **noise)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5, 0.7, np.inf])
def test_a_probability_of_a_flip_is_one_below_a_half(share):
    with pytest.raises(er.DataError, match="below 1/2"):
        fitted_bits().latent.denoise(drawn_bits(3, 0), flipped=share)

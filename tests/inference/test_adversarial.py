"""Adversarial autoencoders: what each of the two is trained on, and rows that lie together where the prior is."""

import numpy as np
import pytest
from elboroom.inference.deep.adversarial import CRITIC, Adversary, prior_draws
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.setup import set_up
from scipy import stats

import elboroom as er


@er.model
def plain(x):
    """Three numbers of two."""
    decode = er.module("decode", er.nn.MLP(2, [16], 3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(decode(z), 0.3).to_event(1), x)


def clumps(count, rng):
    centre = np.array([[2.0, 0.0, 1.0], [-1.0, 2.0, 0.0], [-1.0, -2.0, -1.0]])
    return centre[rng.integers(0, 3, count)] + 0.3 * rng.normal(size=(count, 3))


def expit(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_each_of_the_two_has_gradients_of_its_own(backend):
    x = clumps(40, np.random.default_rng(0))
    target = plain(x).target(backend)
    setup = set_up(er.Adversarial(), "row", target, 8, 0)
    compiled = Compiled(setup.rows, setup.encoder, {})
    bank = prior_draws(setup, 0)
    assert stats.kstest(bank.ravel(), "norm").pvalue > 0.01 and bank.shape[1:] == (8, 2)
    linear = er.nn.MLP(2, [], 1)
    slope, height = np.array([[0.7, -0.4]]), np.array([0.2])
    keys = sorted(linear.arrays(np.random.default_rng(0)), key=lambda key: "bias" in key)
    own = dict(zip((f"{CRITIC}.{key}" for key in keys), (slope, height), strict=True))
    critic = Adversary(linear, {}, bank)
    object.__setattr__(critic, "begin", own)
    small = setup.rows.small
    params = {"weights": {k: small.to_device(v) for k, v in {**setup.begin, **own}.items()}, "guide": {}}
    batch = compiled.batches(np.arange(8)[None], {"x": x})["data"]["x"][0]
    with small.room():
        data, seen = {**small.data, "x": small.to_device(batch)}, {"x": small.to_device(batch)}
        given = {"seed": small.to_device(np.array(3)), "eps": small.to_device(np.zeros((1, 16)))}

        def value(live, frozen):
            return critic.value(compiled, live, frozen, data, seen, given, compiled.constants)[0]

        grads, _ = small.loops.slope(lambda live: (value(live, params), {}))(params)
        grads = small.loops.to_host(grads)["weights"]
        z = np.asarray(
            small.loops.to_host({"z": compiled.law(params, seen, compiled.constants).mean})["z"], float
        )
    drawn, (weight, bias) = bank[3 % len(bank)], own
    truth, made = 1 - expit(drawn @ slope[0] + 0.2), expit(z @ slope[0] + 0.2)
    np.testing.assert_allclose(grads[weight][0], (truth @ drawn - made @ z) / 8, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(grads[bias][0], (truth - made).mean(), rtol=1e-4, atol=1e-6)
    # the encoder's: finite differences of what is told of the rows and how far the critic is deceived, the critic as it stands
    last = next(key for key in setup.begin if key.startswith("encoder.linear"))
    decode = {k.removeprefix("decode."): v for k, v in setup.begin.items() if k.startswith("decode.")}

    def worth(z):
        mean = er.nn.MLP(2, [16], 3).apply(decode, z)
        return (
            stats.norm.logpdf(batch, mean, 0.3).sum(1).mean() - np.log1p(np.exp(-(z @ slope[0] + 0.2))).mean()
        )

    centre, scale, _ = setup.encoder.inputs["x"]
    inputs, step = (batch - centre) / scale, 1e-4
    moves = np.zeros((2, 2, 3))
    moves[0, 0, 1], moves[1, 1, 2] = 1, 1
    for move, found in zip(moves, (grads[last][0, 1], grads[last][1, 2]), strict=True):
        exact = (worth(z + step * inputs @ move.T) - worth(z - step * inputs @ move.T)) / (2 * step)
        assert abs(found - exact) < 1e-3 * (1 + abs(exact))


@pytest.fixture(scope="module")
def fitted():
    x = clumps(600, np.random.default_rng(1))
    return er.fit(plain(x), guide=er.Adversarial(), progress=False, num_draws=200)


@pytest.mark.slow
def test_rows_lie_together_where_the_prior_is(fitted):
    new = clumps(400, np.random.default_rng(2))
    z = fitted.latent.embed(new)
    assert np.abs(z.mean(0)).max() < 0.35 and np.abs(z.std(0) - 1).max() < 0.35
    assert np.sqrt(((fitted.latent.reconstruct(new)["x"].values - new) ** 2).mean()) < 0.4  # noise has 0.3
    made = fitted.latent.simulate(2000)["x"].values
    assert np.abs(made.mean(0) - new.mean(0)).max() < 0.35
    assert np.abs(np.cov(made.T) - np.cov(new.T)).max() < 0.8


@pytest.mark.slow
def test_nothing_of_it_is_trusted_nor_has_a_density(fitted, tmp_path):
    assert fitted.verdict == "untrusted"
    assert fitted.summary()["reason"].str.contains("no posterior is approximated").all()
    assert (fitted.latent.encode(clumps(5, np.random.default_rng(3)))["verdict"].values == "untrusted").all()
    for word in ("score", "anomalies"):
        with pytest.raises(er.InferenceError, match=f"latent.{word}.*one place"):
            getattr(fitted.latent, word)(clumps(5, np.random.default_rng(3)))
    fitted.save(tmp_path / "kept")
    again = er.load(tmp_path / "kept", plain(clumps(600, np.random.default_rng(1))))
    new = clumps(5, np.random.default_rng(3))
    np.testing.assert_allclose(again.latent.embed(new), fitted.latent.embed(new), atol=1e-5)


@pytest.mark.slow
def test_what_cannot_be_is_refused():
    @er.model
    def learned(x):
        loc = er.param("loc", np.zeros(1))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(loc, 1).to_event(1))
            er.observe("x", er.Normal(z, 0.3).to_event(1), x)

    x = np.random.default_rng(0).normal(size=(60, 1))
    with pytest.raises(er.GuideError, match="prior depends on nothing that is learned"):
        er.fit(learned(x), guide=er.Adversarial(), progress=False)
    with pytest.raises(er.GuideError, match="critic"):
        er.Adversarial(critic=3)
    with pytest.raises(er.GuideError, match="no steps"):
        er.Adversarial(iterations=5)
    with pytest.raises(er.InferenceError, match=r"none beside er\.Adversarial"):
        er.fit(
            plain(clumps(60, np.random.default_rng(0))),
            guide=er.Adversarial(),
            objective=er.objectives.Elbo(),
        )
    with pytest.raises(er.ShapeError, match="critic"):
        er.fit(plain(clumps(60, np.random.default_rng(0))), guide=er.Adversarial(critic=er.nn.MLP(2, [4], 3)))

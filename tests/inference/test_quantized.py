"""Codebooks: steps of Lloyd's algorithm, a prior of sequences that is found again, and what is said of what is no posterior."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.deep.quantized import Quantizing, perplexity
from elboroom.ppl.codebook import Codes, even

import elboroom as er

CORNERS = np.array([[3.0, 3.0], [3.0, -3.0], [-3.0, 3.0], [-3.0, -3.0]])
NOISE = 0.3


@er.model
def quantized(x, num_codes=4, num_places=1):
    decode = er.module("decode", er.nn.MLP(2, [], 2))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Codebook("codes", num_codes, 2, num_places))
        mean = decode(z)
        er.observe("x", er.Normal(mean, NOISE).to_event(1 if num_places == 1 else 2), x)


def test_without_a_memory_a_step_is_one_of_lloyd_s():
    rng = np.random.default_rng(0)
    places, vectors = rng.normal(size=(50, 2)), rng.normal(size=(3, 2))
    objective = Quantizing("codes", 0.0, 0.25)
    weights = {"codes:vectors": vectors}
    state = {"params": {"weights": weights}, "norm": {"count": 0.0}, **objective.begun(weights)}
    moved, _ = objective.moved(state, {"made": places}, {"stuck": 1.0})
    near = ((places[:, None] - vectors) ** 2).sum(2).argmin(1)
    wanted = np.stack([places[near == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(moved["weights", "codes:vectors"], wanted, rtol=1e-12)


def test_codes_to_which_nothing_comes_begin_anew_where_rows_are():
    places = np.random.default_rng(0).normal(size=(50, 2))
    vectors = np.array([[0.0, 0.0], [90.0, 90.0], [80.0, 80.0]])
    objective = Quantizing("codes", 0.99, 0.25)
    weights = {"codes:vectors": vectors}
    state = {"params": {"weights": weights}, "norm": {"count": 0.0}, **objective.begun(weights)}
    moved, _ = objective.moved(state, {"made": places}, {"stuck": 0.0})
    np.testing.assert_allclose(moved["weights", "codes:vectors"], [places.mean(0), places[0], places[1]])
    still, _ = objective.moved(state, {"made": places}, {"stuck": 1.0})  # while the rate falls
    np.testing.assert_allclose(still["weights", "codes:vectors"][1:], vectors[1:])


def test_perplexity_is_of_all_rows_and_of_even_use_the_number_of_codes():
    assert perplexity(np.tile(np.arange(8), 5)[:, None]) == 8.0
    assert perplexity(np.array([[0, 0], [0, 0]])) == 1.0
    uneven = np.repeat([0, 1], [90, 10])[:, None]
    assert perplexity(uneven) == pytest.approx(np.exp(-0.9 * np.log(0.9) - 0.1 * np.log(0.1)))


def test_a_prior_of_sequences_has_mass_one_and_draws_of_it():
    rng = np.random.default_rng(0)
    vectors = np.eye(3)
    law = Codes(vectors, even(3, 3, 2, rng) + 0.3 * rng.normal(size=even(3, 3, 2, rng).shape), 2)
    pairs = np.stack([np.stack([vectors[i], vectors[j]]) for i in range(3) for j in range(3)])
    mass = np.exp(law.log_density(pairs))
    assert mass.sum() == pytest.approx(1.0)
    assert np.ptp(mass) > 0.05

    @er.model
    def alone():
        er.sample("z", law)

    for backend in ("jax", "torch"):
        target = alone().target(backend, np.float64)
        z = np.asarray(target.density.prior(np.arange(4000), target.data, target.weights)["z"])
        count = (np.abs(z[:, None] - pairs).sum((2, 3)) < 1e-6).sum(0)
        assert np.all(np.abs(count - 4000 * mass) < 4 * np.sqrt(4000 * mass))


@pytest.fixture(scope="module")
def pairs():
    """Rows of two places, each in one of four corners; the second is in that of the first three times of four."""
    rng = np.random.default_rng(1)
    first = rng.integers(0, 4, 600)
    second = np.where(rng.uniform(size=600) < 0.75, first, rng.integers(0, 4, 600))
    x = CORNERS[np.stack([first, second], 1)] + NOISE * rng.normal(size=(600, 2, 2))
    return x, np.stack([first, second], 1)


@pytest.fixture(scope="module")
def fitted(pairs):
    return er.fit(
        quantized(pairs[0], 4, 2), guide=er.Quantized(decay=0.9), progress=False, num_draws=200, seed=0
    )


def test_corners_are_found_and_how_they_follow_each_other(pairs, fitted):
    x, corner = pairs
    codes = fitted.latent.codes()
    table = np.zeros((4, 4))
    np.add.at(table, (corner.ravel(), codes.ravel()), 1)
    assert (table > 0).sum() == 4, table  # a code for each corner
    assert fitted.latent.perplexity() == pytest.approx(4.0, abs=0.02)
    drawn = fitted.latent.simulate(2000, seed=1)["z"].to_numpy()
    same = (np.abs(drawn[:, 0] - drawn[:, 1]).sum(1) < 1e-6).mean()
    seen = (corner[:, 0] == corner[:, 1]).mean()  # 0.81; by chance alone 0.25
    assert abs(same - seen) < 4 * np.sqrt(seen * (1 - seen) * (1 / 2000 + 1 / 600))
    bound = fitted.latent.score(x[:100])["log_prob"].to_numpy()
    assert bound.mean() == pytest.approx(
        -4 * (0.5 * np.log(2 * np.pi * NOISE**2) + 0.5) - 1.386 - 0.83, abs=0.25
    )


def test_no_posterior_is_claimed(pairs, fitted):
    assert fitted.verdict == "untrusted"
    frame = fitted.summary()
    assert set(frame["verdict"]) == {"untrusted"}
    assert frame["reason"].str.contains("no posterior is approximated").all()
    assert set(fitted.latent.encode(pairs[0][:5])["verdict"].to_numpy()) == {"untrusted"}
    assert set(fitted.latent.score(pairs[0][:5])["verdict"].to_numpy()) == {"untrusted"}
    with pytest.raises(er.InferenceError, match="rows with densities"):
        fitted.latent.gap()


def test_a_file_gives_the_same_codes_and_draws(pairs, fitted, tmp_path):
    fitted.save(tmp_path / "fit")
    again = er.load(tmp_path / "fit", program=quantized(pairs[0], 4, 2))
    np.testing.assert_array_equal(again.latent.codes(pairs[0][:20]), fitted.latent.codes(pairs[0][:20]))
    np.testing.assert_array_equal(again.latent.simulate(20)["x"], fitted.latent.simulate(20)["x"])


def test_other_guides_and_settings_are_refused(pairs):
    for guide in ("mean-field", er.Amortized(), er.Amortized(within="full-rank")):
        with pytest.raises(er.GuideError, match=r"er\.Quantized for the codebook 'codes'"):
            er.fit(quantized(pairs[0], 4, 2), guide=guide, progress=False)
    with pytest.raises(er.InferenceError, match="none beside er.Quantized"):
        er.fit(quantized(pairs[0], 4, 2), objective=er.objectives.Elbo(beta=2.0), progress=False)
    for settings in ({"decay": 1.0}, {"commitment": -1.0}, {"within": "flow"}, {"iterations": 3}):
        with pytest.raises(er.GuideError):
            er.Quantized(**settings)

    @er.model
    def plain(x):
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1))
            er.observe("x", er.Normal(z, 1.0), x)

    with pytest.raises(er.GuideError, match=r"entries of an er\.Codebook"):
        er.fit(plain(np.zeros(50)), guide=er.Quantized(), progress=False)

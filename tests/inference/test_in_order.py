"""Outcomes that their own network is given: drawn one element after the other, and trained with dropout, where the answer is known."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from elboroom.ppl.nn.noise import noisy
from elboroom.ppl.simulate import prior_values
from scipy.special import ndtri

import elboroom as er

BACKENDS = ("jax", "torch")
PLACES = 8
EVERY = np.array(list(product([0, 1], repeat=PLACES)))


def chained(net):
    """Binary rows whose elements are a network's of the row itself and one coordinate."""

    @er.model
    def rows(x):
        decode = er.module("decode", net)
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
            er.observe("x", er.Bernoulli(logits=6 * decode(x, z)).to_event(1), x)

    return rows


@cache
def masked(dropout=0.0):
    return er.nn.Masked(PLACES, [24], num_context=1, dropout=dropout)


def probabilities(net, weights):
    """Of every row, the coordinate integrated out."""
    places, shares = np.polynomial.hermite_e.hermegauss(60)
    logits = np.stack([6 * net.apply(weights, EVERY, np.full((len(EVERY), 1), z)) for z in places])
    log_p = -np.logaddexp(0, np.where(EVERY == 1, -logits, logits)).sum(2)
    return shares @ np.exp(log_p) / shares.sum()


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_drawn_as_often_as_they_are_likely(backend):
    """All binary rows together have the probability one, and simulated ones come with theirs, whatever rows the model was given."""
    program = chained(masked())(np.ones((3000, PLACES), int))
    weights = {k.removeprefix("decode."): v for k, v in program.trace(backend).weights.items()}
    exact = probabilities(masked(), {k: np.asarray(v) for k, v in weights.items()})
    assert exact.sum() == pytest.approx(1, abs=1e-12)
    made = prior_values(program, 2, seed=0, backend=backend)["x"].reshape(-1, PLACES)
    seen = np.bincount(made.astype(int) @ 2 ** np.arange(PLACES)[::-1], minlength=len(exact))
    expected = len(made) * exact
    statistic = ((seen - expected) ** 2 / expected)[expected > 1].sum()
    degrees = (expected > 1).sum() - 1
    assert abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)
    assert expected.max() > 5 * np.median(expected)  # rows are far from all alike


def test_a_network_that_shows_an_element_itself_is_refused():
    class Bare(er.nn.MLP):
        """Nothing is masked."""

        def apply(self, arrays, x, z):
            return super().apply(arrays, er.math.concat([er.math.like(x, z), z], axis=-1))

    program = chained(Bare(PLACES + 1, [4], PLACES))(EVERY)
    for run in (program.simulate, lambda: er.fit(program, guide=er.Amortized(), progress=False)):
        with pytest.raises(
            er.ModelError, match="site 'x': expected a network that shows each element those before"
        ):
            run()


@pytest.mark.parametrize("share", [-0.1, 1.0, "a", True])
def test_a_dropout_that_is_no_share_is_refused(share):
    for make in (lambda: er.nn.Masked(3, [4], dropout=share), lambda: er.nn.Causal(1, 2, 1, dropout=share)):
        with pytest.raises(er.ModelError, match="dropout of er.nn"):
            make()


@cache
def fitted():
    rng = np.random.default_rng(0)
    x = (rng.random((120, PLACES)) < 1 / (1 + np.exp(-3 * rng.normal(size=(120, 1))))).astype(int)
    guide = er.Amortized(er.nn.MLP(PLACES, [8], 2))
    return er.fit(
        chained(masked(1 - 1e-9))(x), guide=guide, validation=0.2, progress=False, refine=False, num_draws=200
    )


def test_noise_is_of_training_alone():
    """What is nearly always dropped teaches nothing; log p(x) is that of the network without dropout."""
    posterior = fitted()
    weights = {k.removeprefix("decode."): np.asarray(v) for k, v in posterior.learned.items()}
    assert (
        np.abs(weights["beside.weight"][:, :PLACES]).max()
        < 1e-3
        < np.abs(weights["beside.weight"][:, PLACES:]).max()
    )
    exact = np.log(probabilities(masked(), weights))
    score = posterior.latent.score(EVERY[::5])
    off = score["log_prob"].to_numpy() - exact[::5]
    assert np.abs(off / np.hypot(score["se"].to_numpy(), 0.01)).max() < 5
    np.testing.assert_array_equal(score["log_prob"], posterior.latent.score(EVERY[::5])["log_prob"])


def test_means_of_rows_are_those_of_what_is_drawn():
    latent, learned = fitted().latent, fitted().learned
    weights = {k.removeprefix("decode."): np.asarray(v) for k, v in learned.items()}
    logits = 6 * masked().apply(weights, EVERY, np.full((len(EVERY), 1), 1.5))
    exact = np.exp(-np.logaddexp(0, np.where(EVERY == 1, -logits, logits)).sum(1)) @ EVERY
    found = latent.decode(np.full((40, 1), 1.5))["x"].to_numpy().mean(0)
    assert np.abs(found - exact).max() < 4 * 0.5 / np.sqrt(40 * 256)
    assert latent.table()["jump"].isna().all()
    for call in (
        lambda: latent.denoise(EVERY[:2], flipped=0.1),
        lambda: latent.encode(np.where(EVERY[:2] == 1, np.nan, 0)),
    ):
        with pytest.raises(er.UnsupportedError, match="latent"):
            call()


def test_noise_drops_its_share():
    rng, net = np.random.default_rng(0), er.nn.Causal(2, 3, 1, dropout=0.15)
    weights, x = net.arrays(rng), rng.normal(size=(400, 6, 2)) + 3
    seen = []
    with noisy(lambda shape: seen.append(rng.standard_normal(shape)) or seen[-1]):
        found = net.apply(weights, x)
    assert seen[0].shape == (400, 6, 1)  # a time as a whole
    lost = seen[0] < ndtri(0.15)
    assert abs(lost.mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / lost.size)
    np.testing.assert_array_equal(found, net.apply(weights, np.where(lost, 0.0, x)))

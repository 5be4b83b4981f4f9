"""``er.priors``: densities against quadrature and by hand, and a law of known shape found again."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.ppl.priors import Coupled, packed
from scipy.special import logsumexp
from scipy.stats import norm

import elboroom as er

RADIUS, WIDTH, NOISE = 2.0, 0.2, 0.3


def moved():
    """Couplings that move."""
    rng = np.random.default_rng(1)
    start = packed(2, rng)
    return start + 0.07 * rng.normal(size=start.shape)


def test_couplings_have_a_density_of_mass_one_and_draws_of_it():
    law = Coupled(moved(), 2)
    side = np.linspace(-9, 9, 181)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), -1)
    mass = np.exp(law.log_density(grid)) * (side[1] - side[0]) ** 2
    assert mass.sum() == pytest.approx(1.0, abs=1e-3)

    @er.model
    def alone():
        er.sample("z", Coupled(moved(), 2))

    def functions(x, y):
        return np.stack([x, y, x * y, np.cos(y), x**2])

    wanted = (mass * functions(grid[..., 0], grid[..., 1])).sum((1, 2))
    for backend in ("jax", "torch"):
        target = alone().target(backend, np.float64)
        z = np.asarray(target.density.prior(np.arange(20_000), target.data, target.weights)["z"])
        found = functions(*z.T)
        assert np.all(np.abs(found.mean(1) - wanted) < 4 * found.std(1) / np.sqrt(len(z)))
        assert np.abs(wanted[0]) > 0.05  # it has moved


def test_a_prior_of_pseudo_inputs_is_the_mixture_of_the_encoder_s_laws():
    network = er.nn.MLP(3, [8], 4)

    @er.model
    def vae(x):
        er.module("encode", network)
        with er.plate("row", len(x)):
            z = er.sample("z", er.priors.VampPrior("encode", 5))
            er.observe("x", er.Normal(er.math.concat([z, z[:, :1]], -1), 0.5).to_event(1), x)

    x = np.random.default_rng(0).normal(size=(4, 3))
    z = np.random.default_rng(1).normal(size=(1, 8))
    for backend in ("jax", "torch"):
        target = vae(x).target(backend, np.float64)
        weights = {k: np.asarray(v) for k, v in target.trace.weights.items()}
        own = {k.removeprefix("encode."): v for k, v in weights.items() if k.startswith("encode.")}
        laws = network.apply(own, weights["encode:pseudo"])
        rows = z.reshape(4, 1, 2)
        parts = norm.logpdf(rows, laws[:, :2], np.exp(laws[:, 2:])).sum(2)
        means = np.concatenate([z.reshape(4, 2), z.reshape(4, 2)[:, :1]], 1)
        wanted = (logsumexp(parts, axis=1) - np.log(5)).sum() + norm.logpdf(x, means, 0.5).sum()
        assert target.value_and_grad(z)[0][0] == pytest.approx(wanted, rel=1e-9)


def test_what_is_no_prior_is_refused():
    def fitted(make):
        @er.model
        def vae(x):
            er.module("odd", er.nn.MLP(3, [8], 5))
            with er.plate("row", len(x)):
                er.sample("z", make())

        vae(np.zeros((4, 3))).trace()

    for make, words in (
        (lambda: er.priors.VampPrior("encode"), "the name of a module of the model"),
        (lambda: er.priors.VampPrior("odd", 3), "an even number"),
        (lambda: er.priors.VampPrior("odd", 0), "a positive whole number"),
        (lambda: er.priors.Flow("cubic", 2), "affine"),
        (lambda: er.priors.Flow("affine", 1), "at least 2"),
    ):
        with pytest.raises(er.ModelError, match=words):
            fitted(make)


def ring(num, rng):
    """Rows around a ring, and the log density that they are of, by draws."""
    angle = rng.uniform(0, 2 * np.pi, num)
    radius = RADIUS + WIDTH * rng.normal(size=num)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


@pytest.mark.parametrize(
    "make",
    [lambda: er.priors.VampPrior("encode", 30), lambda: er.priors.Flow("affine", 2)],
    ids=["pseudo-inputs", "flow"],
)
def test_a_ring_is_learned_as_a_prior(make):
    rng = np.random.default_rng(0)
    x = ring(250, rng) + NOISE * rng.normal(size=(250, 2))

    @er.model
    def around(x):
        er.module("encode", er.nn.MLP(2, [32], 4))
        with er.plate("row", len(x)):
            z = er.sample("z", make())
            er.observe("x", er.Normal(z, NOISE).to_event(1), x)

    posterior = er.fit(around(x), guide=er.Amortized("encode"), progress=False, num_draws=500, seed=0)
    new = ring(200, rng) + NOISE * rng.normal(size=(200, 2))
    z = ring(20_000, rng)
    exact = logsumexp(norm.logpdf(new[:, None], z[None], NOISE).sum(2), axis=1) - np.log(len(z))
    lost = exact - posterior.latent.score(new)["log_prob"].to_numpy()
    normal = exact - norm.logpdf(new, 0, new.std()).sum(1)
    assert normal.mean() > 0.4  # what the best Gaussian loses
    assert lost.mean() < 0.1 + 4 * lost.std() / np.sqrt(len(new))
    drawn = posterior.latent.simulate(400, seed=1)["z"].to_numpy()
    assert np.hypot(*drawn.T).std() < 0.6  # 0.2 of the ring itself, 1.0 of a Gaussian of its sds

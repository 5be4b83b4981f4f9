"""HMC in lockstep against known answers: its steps, its choice, what it adapts, and the posteriors that it gives."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from elboroom.guides import Affine
from elboroom.inference.evidence.chains import Place, trajectory
from elboroom.inference.evidence.mixing import effective_sizes, nested_rhat
from elboroom.inference.mcmc import refine as room
from elboroom.inference.mcmc.hmc import Length, Lockstep, halton, slope
from elboroom.inference.posterior.posterior import record_of
from elboroom.inference.thresholds import LENGTH, LENGTHS

import elboroom as er


@dataclass
class Normal:
    """A target whose log density is that of a Gaussian, up to a constant."""

    mean: np.ndarray
    precision: np.ndarray
    work = 1

    def value_and_grad(self, z, batch=None):
        moved = z - self.mean
        grad = -moved @ self.precision
        return 0.5 * (moved * grad).sum(1), grad


def begun(target, z, accept=0.8, step=0.5, superchains=0, num_warmup=200, metric=True):
    dim = z.shape[1]
    sampler = Lockstep(target, Affine(np.zeros(dim), np.ones(dim)), num_warmup, metric, superchains)
    state = sampler.begin([0], z, *sampler.density(z), step, accept, None, None, None)
    return sampler, state


def unit(dim=2):
    return Normal(np.zeros(dim), np.eye(dim))


def test_leapfrog_steps_are_reversible_and_conserve_volume():
    rng, cov = np.random.default_rng(0), np.array([[2.0, 0.9], [0.9, 0.5]])
    target, frame = Normal(np.ones(2), np.linalg.inv(cov)), Affine(np.zeros(2), np.array([1.5, 0.4]))
    x, p = rng.standard_normal((2, 5, 2))
    place = Place.at(target.value_and_grad, frame, x)
    there, end = trajectory(target.value_and_grad, place, p, 0.3, 7)
    back, begin = trajectory(target.value_and_grad, there, -end, 0.3, 7)
    np.testing.assert_allclose(back.x, x, atol=1e-12)
    np.testing.assert_allclose(begin, -p, atol=1e-12)

    def moved(both):
        there, end = trajectory(
            target.value_and_grad, Place.at(target.value_and_grad, frame, both[:, :2]), both[:, 2:], 0.3, 7
        )
        return np.concatenate([there.x, end], 1)

    both = np.concatenate([x, p], 1)
    columns = [(moved(both + 1e-5 * e) - moved(both - 1e-5 * e)) / 2e-5 for e in np.eye(4)]
    assert np.allclose(np.linalg.det(np.stack(columns, 2)), 1.0, atol=1e-6)


def test_a_proposal_is_taken_with_metropolis_probability():
    z = np.random.default_rng(1).standard_normal((2000, 1))
    sampler, state = begun(unit(1), z, step=1.2, num_warmup=0)
    _, found = sampler.run(state, 60)
    x, p = z.copy(), np.random.default_rng([0]).standard_normal((2000, 1))
    energy = 0.5 * (x**2 + p**2)
    for _ in range(found["num_steps"][0, 0]):
        p -= 0.6 * x
        x += 1.2 * p
        p -= 0.6 * x
    chance = np.exp(np.minimum(energy - 0.5 * (x**2 + p**2), 0.0))[:, 0]
    np.testing.assert_allclose(found["accept_prob"][:, 0], chance, rtol=1e-10)
    # a step of 1.2 that is always taken has a variance of 1 / (1 - 1.2² / 4) = 1.56
    assert found["accept_prob"].mean() < 0.95
    size = 2000 * 60 / 10
    assert abs(found["x"].var() - 1.0) < 4 * np.sqrt(2 / size)
    stay = found["x"][:, 1:] == found["x"][:, :-1]
    share = stay.mean() - (1 - found["accept_prob"][:, 1:]).mean()
    assert abs(share) < 4 * 0.5 / np.sqrt(stay.size)


def test_the_energy_lost_decides_and_too_much_is_a_divergence():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4, 1))
    target = Normal(np.zeros(1), np.array([[1e4]]))
    sampler, state = begun(target, z, step=0.5, num_warmup=0)
    _, found = sampler.run(state, 1)
    assert (
        found["diverging"].all() and (found["accept_prob"] < 1e-100).all() and (found["x"][:, 0] == z).all()
    )
    p = np.random.default_rng([0]).standard_normal((4, 1))
    np.testing.assert_allclose(found["energy"][:, 0], 0.5 * p[:, 0] ** 2 + 0.5e4 * z[:, 0] ** 2)


def test_halton():
    assert [halton(n) for n in range(1, 6)] == [0.5, 0.25, 0.75, 0.125, 0.625]


@pytest.mark.parametrize("time", [0.3, 1.0, 2.0])
def test_the_slope_is_that_of_the_change_of_squared_distances(time):
    x, p = np.random.default_rng(0).standard_normal((2, 5000, 3))
    x, p = np.concatenate([x, -x]), np.concatenate([p, -p])  # whose mean stays where it is

    def ends(t):  # exact, of a standard normal
        return x * np.cos(t) + p * np.sin(t), p * np.cos(t) - x * np.sin(t)

    def criterion(t):
        return 0.25 * np.mean(((ends(t)[0] ** 2).sum(1) - (x**2).sum(1)) ** 2)

    numeric = (criterion(time + 1e-5) - criterion(time - 1e-5)) / 2e-5
    assert slope(x, *ends(time), np.ones(len(x))) == pytest.approx(numeric, rel=1e-5)
    there, end = ends(time)
    there[0], end[1] = np.nan, np.inf
    accept = np.where(np.arange(len(x)) < 2, 0.0, 1.0)
    assert slope(x, there, end, accept) == pytest.approx(numeric, rel=0.1)
    assert slope(x, there, end, np.ones(len(x))) == 0.0
    assert slope(x, there, end, np.zeros(len(x))) == 0.0


def test_trajectories_grow_where_a_direction_is_long():
    found = []
    for sd in (1.0, 6.0):
        target = Normal(np.zeros(3), np.diag([sd**-2.0, 1.0, 1.0]))
        z = np.random.default_rng(0).standard_normal((64, 3)) * [sd, 1, 1]
        sampler, state = begun(target, z, num_warmup=150, metric=False)
        state, _ = sampler.run(state, 150)
        found.append(np.exp(state.length.average))
    assert 1.2 < found[0] < 4.0 < found[1] < LENGTHS[1]


def test_a_length_stays_within_its_bounds():
    up = down = Length()
    for _ in range(200):
        up, down = up.after(1.0), down.after(-1e9)
    assert np.allclose(np.exp([down.log, up.log]), LENGTHS)
    assert Length().after(0.0).log == np.log(LENGTH)


def test_a_gaussian_in_a_metric_of_its_own():
    cov = np.array([[4e4, 0.99 * 200, 0.0], [0.99 * 200, 1.0, 0.0], [0.0, 0.0, 1e-4]])
    target, mean = Normal(np.array([100.0, -1.0, 5.0]), np.linalg.inv(cov)), np.array([100.0, -1.0, 5.0])
    z = mean + np.repeat(np.random.default_rng(1).standard_normal((16, 3)) * 0.01, 4, axis=0)
    sampler, state = begun(target, z, step=0.001, superchains=16)
    state, _ = sampler.run(state, 200)
    state, found = sampler.run(state, 100)
    assert found["num_steps"].mean() < 8
    metric = state.place.frame.scale @ state.place.frame.scale.T
    assert np.abs(np.linalg.eigvals(np.linalg.solve(cov, metric)) - 1).max() < 0.3
    x = found["x"]
    assert nested_rhat(x, 16).max() < 1.01
    size, sd = np.minimum(*effective_sizes(x)), np.sqrt(np.diag(cov))
    flat = x.reshape(-1, 3)
    assert np.all(np.abs(flat.mean(0) - mean) < 4 * sd / np.sqrt(size))
    assert np.all(np.abs(flat.std(0) / sd - 1) < 4 / np.sqrt(2 * size))
    assert abs(np.corrcoef(flat.T)[0, 1] - 0.99) < 4 * (1 - 0.99**2) / np.sqrt(size.min())


def test_a_metric_is_of_the_spread_within_groups_that_have_not_met():
    class Far(Normal):
        def value_and_grad(self, z, batch=None):
            centre = np.where(z[:, :1] > 0, 50.0, -50.0) * np.array([1.0, 0.0])
            return -0.5 * ((z - centre) ** 2).sum(1), centre - z

    z = np.repeat(np.where(np.arange(16)[:, None] % 2, 50.0, -50.0) * np.array([[1.0, 0.0]]), 4, axis=0)
    sampler, state = begun(Far(np.zeros(2), np.eye(2)), z, superchains=16)
    state, _ = sampler.run(state, 200)
    metric = state.place.frame.scale @ state.place.frame.scale.T
    assert np.allclose(metric, np.eye(2), atol=0.3)
    _, found = sampler.run(state, 40)
    assert nested_rhat(found["x"], 16)[0] > 2.0


@er.model
def neck():
    """Neal's funnel, non-centred, and what is far out in its neck."""
    v = er.sample("v", er.Normal(0.0, 3.0))
    with er.plate("row", 5):
        raw = er.sample("raw", er.Normal(0.0, 1.0))
        er.deterministic("x", er.math.exp(v / 2) * raw)
    er.factor("data", 0.0 * v)


@er.model
def schools(sigma, y):
    tau, mu = er.sample("tau", er.HalfCauchy(5.0)), er.sample("mu", er.Normal(0, 5))
    with er.plate("school", len(sigma)):
        raw = er.sample("raw", er.Normal(0, 1))
        er.observe("y", er.Normal(mu + tau * raw, sigma), y)


def eight():
    return schools(np.array([15, 10, 16, 11, 9, 11, 10, 18.0]), np.array([28, 8, -3, 7, -1, 1, 18, 12.0]))


@pytest.mark.parametrize(("backend", "dtype"), [("torch", None), ("torch", "float32"), ("jax", None)])
def test_a_funnel_in_coordinates_that_suit_it(backend, dtype):
    posterior = er.fit(neck(), backend=backend, dtype=dtype, refine=False, progress=False)
    refined = posterior.refine(kernel="hmc", progress=False)
    law = record_of(refined).outcome.law
    assert (law.num_chains, law.superchains, refined.trail[-1].guide) == (64, 16, "hmc")
    v = refined.draws["posterior"]["v"].values
    size = min(float(s[0]) for s in effective_sizes(v[..., None]))
    assert abs(v.mean()) < 4 * 3 / np.sqrt(size) and abs(v.std() / 3 - 1) < 4 / np.sqrt(2 * size)
    assert refined.summary().loc["v", "verdict"] == "trusted"


def test_both_backends_and_both_kernels_agree():
    found = []
    for backend, kernel in (("jax", "nuts"), ("torch", "auto"), ("jax", "auto")):
        refined = er.fit(eight(), backend=backend, seed=1, refine=False, progress=False).refine(
            kernel=kernel, progress=False
        )
        assert refined.verdict == "trusted"
        law, judged = record_of(refined).outcome.law, ["mu", "tau"]
        draws = np.stack([refined.draws["posterior"][name].values for name in judged], 2)
        size = np.minimum(*effective_sizes(draws))
        assert law.num_chains == draws.shape[0] == (4 if kernel == "nuts" else 64)
        found.append((draws.mean((0, 1)), draws.std((0, 1)), size))
    (mean, sd, size), *others = found
    for other_mean, other_sd, other_size in others:
        noise = np.sqrt(1 / size + 1 / other_size)
        assert np.all(np.abs(mean - other_mean) < 4 * sd * noise)
        assert np.all(np.abs(sd / other_sd - 1) < 4 * noise)  # a skewed tau's sd is noisier than a Gaussian's


def test_the_same_seed_gives_the_same_draws_and_another_gives_others():
    posterior = er.fit(eight(), backend="torch", refine=False, progress=False)
    one, same, other = (posterior.refine(num_draws=20, seed=seed, progress=False).z for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize("num_chains", [1, 4])
def test_few_long_chains_of_it(num_chains):
    posterior = er.fit(eight(), backend="torch", refine=False, progress=False)
    refined = posterior.refine(num_chains, num_draws=400, progress=False)
    assert refined.draws["posterior"].sizes["chain"] == num_chains
    assert refined.trail[-1].guide == "hmc" and refined.draws["sample_stats"]["num_steps"].values.mean() < 20
    free = replace(record_of(posterior).outcome, khat=0.8)
    again = room.refine(record_of(posterior), num_chains, 400, progress=False, outcome=free)
    assert "metric of their own" in again.trail[-1].reason


def test_nuts_by_its_name():
    posterior = er.fit(neck(), backend="torch", refine=False, progress=False)
    refined = posterior.refine(2, num_draws=20, kernel="nuts", progress=False)
    assert refined.trail[-1].guide == "nuts" and refined.draws["posterior"].sizes["chain"] == 2
    with pytest.raises(er.UnsupportedError, match="kernel='hmc'"):
        posterior.refine(64, kernel="nuts")
    with pytest.raises(er.UnsupportedError, match="one of"):
        posterior.refine(kernel="gibbs")


def test_its_gradients_are_counted_once():
    posterior = er.fit(neck(), backend="torch", refine=False, progress=False)
    refined = posterior.refine(num_draws=20, progress=False)
    drawn = refined.draws["sample_stats"]["num_steps"].values.sum()
    spent = refined.trail[-1].num_gradients
    assert drawn < spent < 8 * drawn and refined.cost.num_gradients == posterior.cost.num_gradients + spent

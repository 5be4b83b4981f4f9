"""The instruments by themselves: known tails, known residuals, known autocorrelation."""

from dataclasses import replace

import numpy as np
import pytest
from elboroom.guides import Affine
from elboroom.inference.engines.designs import antithetic, whitened
from elboroom.inference.engines.lbfgs import minimise
from elboroom.inference.engines.loop import fit
from elboroom.inference.engines.natural import NaturalGradient
from elboroom.inference.engines.polish import Polish
from elboroom.inference.evidence.chains import inefficiency, parted, short_chains, slowest
from elboroom.inference.evidence.estimates import estimate
from elboroom.inference.evidence.modes import Search
from elboroom.inference.evidence.pool import draw_pool
from elboroom.inference.evidence.psis import khat_threshold, smooth, unseen
from elboroom.inference.evidence.stein import stein


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_khat_of_pareto_weights(shape):
    rng = np.random.default_rng(0)
    found = [smooth(shape * rng.exponential(size=20_000))[1] for _ in range(5)]
    assert abs(np.mean(found) - shape) < 0.1  # about 3 standard errors with 424 tail draws each


def test_khat_has_the_right_sign():
    light = smooth(-np.random.default_rng(0).exponential(size=20_000))[1]
    assert light < 0.2


def test_khat_of_constant_weights():
    weights, khat = smooth(np.zeros(100))
    assert khat == -np.inf and np.allclose(weights, 0.01)
    assert smooth(np.full(100, np.nan))[1] == np.inf


def pareto(count, shape, scale):
    """Up to one, and beyond nine of ten draws a generalised Pareto tail: at its quantiles, and what it holds beyond the largest."""
    tail = count // 10
    levels = (np.arange(tail) + 0.5) / tail
    weights = np.linspace(1.0, 0.6, count)
    weights[:tail] = 1 + scale * ((1 - levels) ** -shape - 1) / shape
    largest = weights.max()
    beyond = largest + (scale + shape * (largest - 1)) / (1 - shape)
    return weights, beyond / weights.sum()


@pytest.mark.parametrize(("shape", "scale"), [(0.55, 0.5), (0.65, 2.0), (0.2, 1.0)])
def test_what_is_beyond_the_largest_weight_is_known(shape, scale):
    weights, beyond = pareto(20_000, shape, scale)
    assert unseen(weights / weights.sum(), shape) == pytest.approx(beyond, rel=0.25)


@pytest.mark.parametrize(
    ("count", "scale", "matters"), [(20_000, 0.05, False), (20_000, 1.0, True), (1_000, 0.05, True)]
)
def test_a_tail_that_holds_next_to_nothing_is_no_reason(count, scale, matters):
    weights, beyond = pareto(count, 0.6, scale)
    assert (beyond > 0.002) == matters
    khat = smooth(np.log(weights))[1]
    assert khat == pytest.approx(0.6 if matters else 0.5, abs=0.05) and (khat >= 0.5) == matters


def test_threshold():
    assert khat_threshold(100) == 0.5 and khat_threshold(10**6) == 0.7


def test_designs():
    rng = np.random.default_rng(0)
    z = whitened(rng, 40, 7)
    np.testing.assert_allclose(z.T @ z / 40, np.eye(7), atol=1e-12)
    assert np.allclose(z.mean(0), 0) and np.allclose(antithetic(rng, 10, 3).mean(0), 0)


def gaussian(dim, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dim, dim)) * np.logspace(-2, 2, dim)[:, None]
    covariance = root @ root.T
    precision, mean = np.linalg.inv(covariance), 10 * rng.normal(size=dim)

    def density(z):
        d = z - mean
        return -0.5 * np.einsum("bi,ij,bj->b", d, precision, d), -d @ precision

    return density, mean, covariance


def test_natural_gradient_is_exact_on_a_gaussian():
    density, mean, covariance = gaussian(5)
    found = fit(NaturalGradient(density, np.random.default_rng(0)), Affine(np.zeros(5), np.eye(5)))
    assert found.converged
    sd = np.sqrt(np.diag(covariance))
    place = found.transport
    assert np.all(np.abs(place.mean - mean) < 1e-6 * sd)
    np.testing.assert_allclose(place.scale @ place.scale.T, covariance, rtol=1e-5, atol=1e-8)


def test_polish_raises_the_bound_of_a_poor_gaussian():
    density, mean, covariance = gaussian(4)
    root = np.linalg.cholesky(covariance)
    start = Affine(mean + 0.5 * root @ np.ones(4), 1.5 * root)
    scale = fit(Polish(density, np.random.default_rng(0)), start).transport.scale
    np.testing.assert_allclose(scale @ scale.T, covariance, rtol=0.05, atol=0.05)


def test_lbfgs_solves_several_problems_at_once():
    scales = np.array([[1.0, 100.0], [10.0, 0.1], [1.0, 1.0]])

    def fn(x, which):
        d = (x - which[:, None]) * scales[which]
        return 0.5 * (d**2).sum(1), d * scales[which]

    found = minimise(fn, np.full((3, 2), 7.0), tolerance=1e-12)
    np.testing.assert_allclose(found.x, np.arange(3)[:, None] * np.ones(2), atol=1e-4)


def test_a_narrow_guide_far_away_is_seen_though_its_weights_are_nearly_constant():
    guide = Affine(np.array([30.0, 0.0]), 1e-4 * np.eye(2))
    pool = draw_pool(lambda z: (-0.5 * (z**2).sum(1), -z), guide, 4000, np.random.default_rng(0))
    residual = stein((pool.z - guide.mean) / 1e-4, pool.grad * 1e-4, pool.weights)
    assert np.abs(np.diag(residual.scale)).max() > 0.9


def test_stein_residuals_vanish_at_the_truth_and_see_a_shift():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3))
    weights = np.full(len(x), 1 / len(x))
    right = stein(x, -x, weights)
    assert np.all(np.abs(right.location) < 4 * right.location_se)
    off = stein(x, -(x + [0.3, 0, 0]), weights)
    assert off.along(np.eye(3))[0][0] > 0.28


def test_estimates_and_their_errors_cover():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        x = 1.5 * rng.normal(size=(2000, 1))
        log_weights = -0.5 * x[:, 0] ** 2 * (1 - 1 / 1.5**2)
        w = np.exp(log_weights)
        found = estimate(x, w / w.sum())
        hits.append(
            [
                abs(found.mean[0]) < 1.96 * found.mean_se[0],
                abs(found.sd[0] - 1) < 1.96 * found.sd_se[0],
                abs(found.quantiles[2, 0] - 1.645) < 1.96 * found.quantile_se[2, 0],
            ]
        )
    share = np.mean(hits, 0)
    assert np.all(share > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 200))


def test_chains_find_a_gaussian_from_a_wrong_start():
    density, mean, covariance = gaussian(4)
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(covariance)
    start = mean + (0.3 * rng.normal(size=(128, 4)) + 1.0) @ root.T
    chains = short_chains(density, start, Affine(mean, root), rng)
    draws = chains.z.reshape(-1, 4)
    size = len(draws) / inefficiency(chains.z)
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * sd / np.sqrt(size))
    assert np.all(np.abs(draws.std(0) / sd - 1) < 5 / np.sqrt(2 * size))
    assert 0.6 < chains.accept < 0.95


def test_inefficiency_of_an_autoregression():
    rng = np.random.default_rng(0)
    rho, x = 0.8, np.empty((500, 400, 1))
    x[:, 0] = rng.normal(size=(500, 1))
    for t in range(1, 400):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=(500, 1))
    assert abs(inefficiency(x)[0] - (1 + rho) / (1 - rho)) < 2.5


def test_chains_that_sit_in_two_places_are_seen_along_no_single_coordinate():
    rng = np.random.default_rng(3)
    chains, steps, dim = 128, 100, 12
    free = rng.normal(size=(chains, steps, dim))
    assert slowest(free) > 40  # even independent chains differ most along some direction
    direction = np.ones(dim) / np.sqrt(dim)
    stuck = free + 6.0 * (rng.uniform(size=chains) < 0.02)[:, None, None] * direction
    assert inefficiency(stuck).max() < 30  # each coordinate moves
    assert slowest(stuck) < 3


def test_heavy_tails_in_many_dimensions_do_not_hide_a_common_scale():
    dim, df = 50, 6.0
    rng = np.random.default_rng(0)

    def density(z):
        square = (z**2).sum(1)
        return -0.5 * (df + dim) * np.log1p(square / df), -(df + dim) * z / (df + square)[:, None]

    found = fit(NaturalGradient(density, rng), Affine(rng.normal(size=dim), 3.0 * np.eye(dim)))
    # every curvature is within a tenth of one from scale 1 to infinity; the optimum is near 1
    scale = np.exp(np.log(np.diag(found.transport.scale)).mean())
    assert 0.9 < scale < 1.2


def slow(means, rng):
    """Chains that hardly move: random walks within a tenth of an sd around their means."""
    return means[:, None] + np.cumsum(0.01 * rng.normal(size=(len(means), 100, means.shape[1])), 1)


def test_chains_in_modes_of_their_own_have_a_valley_between_them_and_slow_ones_none(rng):
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    one = rng.normal(size=(128, 30))
    skewed = one.copy()
    skewed[:, 0] = rng.gamma(1.5, size=128)
    several = one.copy()
    several[:20, 3] += 7.0
    assert not parted(slow(one @ turn, rng))
    assert not parted(slow(skewed @ turn, rng))
    assert not parted(rng.normal(size=(128, 100, 30)))
    assert parted(slow(several @ turn, rng))


def test_other_places_are_held_against_the_bound_of_the_guide_where_loose_fits_do_not_hold_it():
    """Beside a loose fit that is far below the guide's own bound any place has a better one."""
    dim = 6
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(dim, dim)))[0]
    root = turn * np.array([1.0, 1.0, 1.0, 1.0, 1e-3, 1e-3])

    def density(z):  # a narrow ridge at home, and a round place 20 nats below
        home = -0.5 * ((z @ np.linalg.inv(root).T) ** 2).sum(1)
        away = -0.5 * ((z - 40.0) ** 2).sum(1) - 20.0 + 2 * np.log(1e-3)
        value = np.logaddexp(home, away)
        share = np.exp(home - value)[:, None]
        back = -z @ np.linalg.inv(root @ root.T)
        return value, share * back + (1 - share) * (40.0 - z)

    leads = np.full((1, dim), 41.0)
    search = Search(density, Affine(np.zeros(dim), np.ones(dim)), radius=3.0, widest=3.0)
    exact = 0.5 * dim * np.log(2 * np.pi) + 2 * np.log(1e-3)
    without, known = (
        [f for f in one.run(np.random.default_rng(1), leads, 2) if f.z[0] > 30]
        for one in (search, replace(search, bound=(exact - 1.0, 0.1)))
    )
    assert without[0].elbo_gap > -7
    assert not known

"""Covariances of wide posteriors: linear response and the low-rank fit, against dense algebra and a dense guide."""

import numpy as np
import pytest
from elboroom.guides import Affine
from elboroom.inference.engines.loop import fit, run
from elboroom.inference.engines.low_rank import LowRankSearch
from elboroom.inference.engines.natural import NaturalGradient
from elboroom.inference.engines.response import Curvature, linear_response


def gaussian(precision, mean):
    def density(z):
        grad = -(z - mean) @ precision
        return 0.5 * ((z - mean) * grad).sum(1), grad

    return density


def mean_field(precision):
    """What independent Gaussians come to on a Gaussian."""
    return 1 / np.sqrt(np.diag(precision))


def log_evidence(precision):
    return 0.5 * len(precision) * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(precision)[1]


@pytest.fixture
def correlated(rng):
    """Mean and precision in 60 dimensions, with a few wide directions and scales far apart."""
    loads = rng.normal(size=(60, 3)) * [4.0, 2.0, 1.0]
    scale = np.exp(2 * rng.normal(size=60))
    covariance = scale[:, None] * (loads @ loads.T + np.eye(60)) * scale
    return rng.normal(size=60), np.linalg.inv(covariance)


def test_response_is_exact_on_a_gaussian(correlated, rng):
    mean, precision = correlated
    covariance, sd = np.linalg.inv(precision), mean_field(precision)
    chosen = np.array([3, 20, 41])
    density, guide = gaussian(precision, mean), Affine(mean, sd)
    found = linear_response(density, guide, chosen, rng, tolerance=1e-8)
    exact = covariance[np.ix_(chosen, chosen)]
    assert found.converged.all()
    np.testing.assert_allclose(found.covariance, exact, rtol=1e-6)
    assert np.all(sd[chosen] < 0.7 * found.sd)  # what the guide itself says is far off
    differences = np.zeros((2, 60))
    differences[:, [3, 20]] = [[1, -1], [1, 1]]
    both = linear_response(density, guide, differences, rng, tolerance=1e-8)
    np.testing.assert_allclose(both.covariance, differences @ covariance @ differences.T, rtol=1e-6)


@pytest.mark.parametrize("num_iterations", [1, 2, 4, 8, 16])
def test_response_knows_how_far_it_is(correlated, rng, num_iterations):
    mean, precision = correlated
    chosen = np.arange(0, 60, 6)
    exact = np.sqrt(np.diag(np.linalg.inv(precision)))[chosen]
    guide = Affine(mean, mean_field(precision))
    limit = 8 + num_iterations * 16 * (len(chosen) + 1)
    found = linear_response(gaussian(precision, mean), guide, chosen, rng, 8, limit, tolerance=1e-3)
    missing = 1 - found.sd / exact
    lacking = np.linalg.inv(precision)[np.ix_(chosen, chosen)] - found.covariance
    lacking /= np.outer(exact, exact)
    assert np.linalg.eigvalsh(lacking)[0] > -1e-6  # no linear function is given too large a variance either
    assert np.all(missing > -1e-6) and found.num_gradients <= limit
    assert np.all(missing[found.converged] < 2e-3)
    if num_iterations <= 2:
        assert missing.max() > 0.01 and not found.converged[missing > 0.01].any()


def test_response_flags_negative_curvature(rng):
    precision = np.diag([1.0, 2.0, -0.5])
    found = linear_response(
        gaussian(precision, np.zeros(3)), Affine(np.zeros(3), np.ones(3)), np.arange(3), rng
    )
    assert not found.converged[2] and found.error[2] == np.inf


def test_curvature_leaves_out_draws_where_the_density_is_not_finite(rng):
    def density(z):
        bad = z[:, 0] < -1.0
        return np.where(bad, np.nan, -(z**2).sum(1)), np.where(bad[:, None], np.nan, -2.0 * z)

    product = Curvature.of(density, Affine(np.zeros(3), np.ones(3)), rng, 64)
    assert 0 < len(product.points) < 64 and (product.points[:, 0] >= -1.0).all()
    np.testing.assert_allclose(product(np.eye(3)), 2 * np.eye(3), atol=1e-10)
    np.testing.assert_allclose(product(np.eye(3), single=True), 2 * np.eye(3), atol=1e-10)


def shapes(dim, rng):
    loads = rng.normal(size=(dim, 4)) * [3.0, 2.0, 1.0, 0.5]
    inner = loads @ loads.T + np.diag(np.exp(rng.normal(size=dim)))
    yield "wide", np.linalg.inv(inner)
    yield "narrow", inner
    yield "one common", 0.1 * np.eye(dim) + 0.9


@pytest.mark.parametrize("which", [0, 1, 2])
def test_low_rank_finds_wide_and_narrow_directions(rng, which):
    dim = 300
    name, precision = list(shapes(dim, rng))[which]
    mean, sd = rng.normal(size=dim), mean_field(precision)
    start = sd * np.exp(0.3 * rng.normal(size=dim))  # as mean-field on few draws leaves it
    engine = LowRankSearch(gaussian(precision, mean), rng)
    found, _ = run(engine, Affine(mean + 0.1 * sd, start))
    exact = np.sqrt(np.diag(np.linalg.inv(precision)))
    assert found.complete, name
    assert abs(found.elbo - log_evidence(precision)) < 0.5
    ratio = np.sqrt(found.factor.variances()) / exact
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.05 and np.abs(ratio - 1).max() < 0.25
    np.testing.assert_allclose(found.mean, mean, atol=1e-3 * exact.max())
    assert log_evidence(precision) - (np.log(sd).sum() + 0.5 * dim * np.log(2 * np.pi)) > 3.0


def test_low_rank_says_what_it_lacks(rng):
    steps = np.arange(1, 201)
    precision = np.linalg.inv(np.minimum(steps[:, None], steps).astype(float))
    kept = []
    engine = LowRankSearch(gaussian(precision, np.zeros(200)), rng, rank=4)
    found, _ = run(engine, Affine(np.zeros(200), mean_field(precision)), seen=kept.append)
    assert len(found.factor.width) <= 4 and not found.complete and found.dropped > 1.0
    assert kept and kept[-1].factor is found.factor
    assert log_evidence(precision) - found.elbo > 5.0


def test_low_rank_stops_when_told(rng):
    engine = LowRankSearch(gaussian(np.eye(50), np.zeros(50)), rng)
    found, reason = run(engine, Affine(np.zeros(50), np.ones(50)), stop=lambda: True)
    assert reason == "stopped" and not found.complete and len(found.factor.width) == 0


def test_a_logistic_regression_with_correlated_columns(rng):
    dim, count = 60, 240
    common = rng.normal(size=(count, 3)) @ rng.normal(size=(3, dim))
    x = (common + rng.normal(size=(count, dim))) / 2
    y = rng.uniform(size=count) < 1 / (1 + np.exp(-x @ rng.normal(size=dim) / 4))

    def density(z):
        eta = z @ x.T
        value = (y * eta - np.logaddexp(0, eta)).sum(1) - 0.5 * (z**2).sum(1)
        return value, (y - 1 / (1 + np.exp(-eta))) @ x - z

    start = Affine(np.zeros(dim), 0.3 * np.eye(dim))
    dense = fit(NaturalGradient(density, rng, gradient_tol=0.05), start).transport
    covariance = dense.scale @ dense.scale.T
    exact = np.sqrt(np.diag(covariance))
    sd = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    found = fit(LowRankSearch(density, rng), Affine(dense.mean, sd)).transport
    chosen = np.arange(0, dim, 4)
    response = linear_response(density, found, chosen, rng)
    plain = linear_response(density, Affine(dense.mean, sd), chosen, rng)
    assert response.converged.all() and plain.converged.all()
    assert np.abs(np.log(sd / exact)).mean() > 0.15
    # 16 draws hold the mean Hessian to a few hundredths
    assert np.abs(response.sd / exact[chosen] - 1).max() < 0.08
    assert np.abs(plain.sd / exact[chosen] - 1).max() < 0.15
    scaled = (response.covariance - covariance[np.ix_(chosen, chosen)]) / np.outer(exact, exact)[
        np.ix_(chosen, chosen)
    ]
    assert np.abs(scaled).max() < 0.15

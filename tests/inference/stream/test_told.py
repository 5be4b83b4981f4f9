"""What is carried on of a log likelihood: exactly where it has the form, and else without moving what it may not move."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.stream.coordinates import COORDINATES, coordinates, natural
from elboroom.inference.stream.told import Carried, Told, said
from elboroom.ppl import constraints
from scipy import stats

import elboroom as er

DRAWS = 400


def draws_of(constraint, rng, size=3):
    """Values in a support, none of them special."""
    z = 0.4 * rng.standard_normal((DRAWS, size))
    name = constraint.name
    if name == "simplex":
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)
    if name == "corr_cholesky":
        whole = np.eye(size) + 0.2 * np.tanh(z)[:, :, None] * np.tanh(z)[:, None, :]
        unit = np.sqrt(np.einsum("bii->bi", whole))
        return np.linalg.cholesky(whole / unit[:, :, None] / unit[:, None, :])
    if name in ("ordered_vector", "positive_ordered_vector"):
        return np.cumsum(np.exp(z), 1)
    if name in ("unit_interval", "interval"):
        return 1 / (1 + np.exp(-z))
    return np.exp(z) if name in ("positive", "nonnegative", "greater_than") else -np.exp(z)


SUPPORTS = (
    constraints.real,
    constraints.positive,
    constraints.greater_than(0.0),
    constraints.less_than(0.5),
    constraints.unit_interval,
    constraints.interval(0.0, 1.0),
    constraints.simplex,
    constraints.ordered_vector,
    constraints.positive_ordered_vector,
    constraints.corr_cholesky,
    constraints.circular,
)


@pytest.mark.parametrize("constraint", SUPPORTS, ids=lambda c: c.name)
def test_coordinates_are_finite_tell_values_apart_and_are_the_same_one_by_one(constraint, rng):
    assert constraint.name in COORDINATES
    value = draws_of(constraint, rng)
    found = coordinates(constraint, value).reshape(DRAWS, -1)
    assert np.isfinite(found).all()
    assert len(np.unique(found.round(12), axis=0)) == DRAWS
    np.testing.assert_array_equal(np.ravel(coordinates(constraint, value[3])), found[3])
    assert all(np.isfinite(f).all() for f in natural(constraint, value))


EXACT = {
    "Bernoulli": (constraints.unit_interval, lambda v, y: stats.bernoulli.logpmf(y, v), [1, 0, 0, 1, 0]),
    "Poisson": (constraints.positive, lambda v, y: stats.poisson.logpmf(y, v), [3, 0, 2, 7]),
    "exponential scale": (constraints.positive, lambda v, y: stats.expon.logpdf(y, scale=v), [0.3, 2.0]),
    "standard deviation": (constraints.positive, lambda v, y: stats.norm.logpdf(y, 0, v), [0.3, -2.0, 1.0]),
    "mean": (constraints.real, lambda v, y: stats.norm.logpdf(y, v, 0.7), [0.3, -2.0, 1.0]),
}


@pytest.mark.parametrize("kind", EXACT)
def test_families_of_one_parameter_are_carried_exactly_in_ten_batches_as_in_one(kind, rng):
    constraint, density, data = EXACT[kind]
    site = Carried("v", constraint)
    value = np.exp(0.3 * rng.standard_normal(DRAWS)) * 0.3
    log_likelihood = sum(density(value, y) for y in data)
    told = Told.nothing([site], {"v": value})
    whole, left = told.heard({"v": value}, 10 * log_likelihood)
    assert not left.any()
    for _ in range(10):
        told, left = told.heard({"v": value}, log_likelihood)
        assert not left.any()
    elsewhere = np.linspace(0.05, 0.95, 7)  # far outside of the draws too
    expected = 10 * sum(density(elsewhere, y) for y in data)
    for found in (told, whole):
        gap = found.of({"v": elsewhere}) - expected
        assert np.ptp(gap) < 1e-8 * max(1.0, np.ptp(expected))


def test_linear_regressions_are_carried_exactly_with_their_correlations(rng):
    x, beta = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 3)), np.array([1.0, -2.0, 0.5])
    y = x @ beta + rng.standard_normal(200)
    values = {"beta": beta + 0.2 * rng.standard_normal((DRAWS, 3)), "a": 0.3 * rng.standard_normal(DRAWS)}

    def log_likelihood(v, rows):
        return stats.norm.logpdf(y[rows], v["a"][:, None] + v["beta"] @ x[rows].T, 1.3).sum(1)

    told = Told.nothing([Carried("beta", constraints.real), Carried("a", constraints.real)], values)
    for rows in np.array_split(np.arange(200), 10):
        told, left = told.heard(values, log_likelihood(values, rows))
        assert not left.any()
    far = {k: 3 * v for k, v in values.items()}
    gap = told.of(far) - log_likelihood(far, np.arange(200))
    assert np.ptp(gap) < 1e-8 * np.ptp(log_likelihood(far, np.arange(200)))
    # the normal equations, by themselves
    design = np.c_[x, np.ones(200)] / 1.3
    precision = told.quadratic / np.outer(told.scale, told.scale)
    np.testing.assert_allclose(precision, design.T @ design, rtol=1e-8)


def test_what_is_left_over_moves_neither_means_nor_covariances_and_grows_nowhere(rng):
    values = {"a": rng.standard_normal((4000, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])}
    u = values["a"] @ np.array([1.0, -0.5])
    log_likelihood = 3 * u - 7 * np.log1p(np.exp(u)) - 2 * np.cosh(0.3 * values["a"][:, 1])
    told, left = Told.nothing([Carried("a", constraints.real)], values).heard(values, log_likelihood)
    a, b = values["a"].T
    for f in (a, b, a * a, a * b, b * b):
        assert abs(np.cov(f, left)[0, 1]) < 1e-10
    assert 0.01 < left.std() < 0.5
    # a log likelihood that grows is carried without the growth, and the rest is said to be left over
    told, left = Told.nothing(told.sites, values).heard(values, 0.4 * np.abs(a) ** 1.5)
    assert np.linalg.eigvalsh(told.quadratic).min() > -1e-12
    assert left.std() == pytest.approx((0.4 * np.abs(a) ** 1.5).std(), rel=0.02)


def test_earlier_rows_count_less(rng):
    value = {"v": rng.standard_normal(DRAWS)}
    told, _ = Told.nothing([Carried("v", constraints.real)], value).heard(value, -2 * value["v"] ** 2)
    np.testing.assert_allclose(told.faded(0.25).of(value), 0.25 * told.of(value))


def test_numbers_are_read_within_a_model_as_on_draws(rng):
    value = {"v": np.exp(0.2 * rng.standard_normal((DRAWS, 2))), "w": rng.standard_normal(DRAWS)}
    sites = (Carried("v", constraints.positive), Carried("w", constraints.real))
    y = -value["v"].sum(1) - np.sin(value["w"] * value["v"][:, 0])
    told, _ = Told.nothing(sites, value).heard(value, y)
    one = {k: v[5] for k, v in value.items()}
    assert float(said(sites, told.dim, one, told.packed())) == pytest.approx(told.of(value)[5], abs=1e-12)
    with pytest.raises(er.ModelError, match=r"none called \['w'\]"):
        said(sites, told.dim, {"v": one["v"]}, told.packed())


def test_too_many_coordinates_and_too_few_draws_are_refused(rng):
    many = {"v": rng.standard_normal((10, 61))}
    with pytest.raises(er.UnsupportedError, match="at most 60 coordinates"):
        Told.nothing([Carried("v", constraints.real)], many)
    with pytest.raises(er.UnsupportedError, match="at least 20 draws"):
        Told.nothing([Carried("v", constraints.real)], {"v": rng.standard_normal((10, 3))})

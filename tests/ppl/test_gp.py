"""Covariance functions of Gaussian processes: against their definitions, and exact against approximate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from elboroom.ppl import gp
from elboroom.ppl.errors import ModelError, ShapeError
from scipy import integrate, special
from scipy.spatial.distance import cdist

X = np.random.default_rng(0).uniform(-1, 3, size=(15, 2))
WIDTHS = np.array([0.7, 1.8])
STATIONARY = [gp.ExpQuad, gp.Matern32, gp.Matern52]


def matern(order, d):
    """By its definition with a Bessel function."""
    z = np.sqrt(2 * order) * np.where(d > 0, d, 1.0)
    return np.where(d > 0, 2 ** (1 - order) / special.gamma(order) * z**order * special.kv(order, z), 1.0)


@pytest.mark.parametrize("kernel", STATIONARY)
def test_covariance_against_its_definition(kernel):
    distance = cdist(X / WIDTHS, X[:9] / WIDTHS)
    forms = {
        gp.ExpQuad: lambda d: np.exp(-0.5 * d**2),
        gp.Matern32: lambda d: matern(1.5, d),
        gp.Matern52: lambda d: matern(2.5, d),
    }
    np.testing.assert_allclose(kernel(WIDTHS, 1.5)(X, X[:9]), 2.25 * forms[kernel](distance), rtol=1e-9)


@pytest.mark.parametrize("kernel", STATIONARY)
def test_spectral_density_is_the_fourier_transform(kernel):
    own = kernel(0.8, 1.5)
    for frequency in (0.0, 1.0, 3.0):
        numeric = (
            2
            * integrate.quad(lambda r, w=frequency: own([0.0], [r])[0, 0] * np.cos(w * r), 0, 30, limit=300)[
                0
            ]
        )
        density = own.spectral_density(np.array([[frequency]]))
        np.testing.assert_allclose(density, numeric, rtol=1e-6, atol=1e-8)


def test_periodic():
    own = gp.Periodic(3.0, 0.9, 2.0)
    np.testing.assert_allclose(
        own([0.0, 1.0, 3.0])[0], 4 * np.exp([0, -2 * np.sin(np.pi / 3) ** 2 / 0.81, 0])
    )
    with pytest.raises(ModelError, match="ExpQuad"):
        gp.HilbertBasis(X, 3).weights(own)


@pytest.mark.parametrize("kernel", STATIONARY)
def test_hilbert_basis_approaches_the_covariance(kernel):
    """In one and two dimensions, within what the tails of the spectral density leave out."""
    tolerance = {gp.ExpQuad: 1e-6, gp.Matern52: 3e-3, gp.Matern32: 3e-2}[kernel]
    line = np.linspace(0, 10, 30)
    for points, num, width in ((line, 120, 1.5), (X, [60, 60], WIDTHS)):
        own = kernel(width, 1.0)
        basis = gp.HilbertBasis(points, num, boundary=6.0)
        loadings = basis.functions * basis.weights(own)
        assert np.abs(loadings @ loadings.T - own(points)).max() < tolerance


def test_new_points_share_the_basis():
    basis = gp.HilbertBasis(X, [5, 6])
    again = gp.HilbertBasis(X[:3], [5, 6], center=basis.center, half_range=basis.half_range)
    np.testing.assert_allclose(again.functions, basis.functions[:3])
    assert basis.functions.shape == (15, 30) and basis.frequencies.shape == (30, 2)


def test_hyperparameters_have_gradients():
    """Also where points coincide, and through a factor of a nearly singular matrix."""
    points = np.array([0.0, 0.0, 1e-3, 1.0])
    with jax.enable_x64(True):
        for make in (*STATIONARY, lambda ell, scale: gp.Periodic(3.0, ell, scale)):

            def total(ell, make=make):
                return jnp.sum(gp.cholesky(make(ell, 2.0), points))

            slope = jax.grad(total)(0.8)
            np.testing.assert_allclose(slope, (total(0.8 + 1e-6) - total(0.8 - 1e-6)) / 2e-6, rtol=1e-4)
        basis = gp.HilbertBasis(points, 8)
        assert np.isfinite(jax.grad(lambda ell: jnp.sum(basis.weights(gp.Matern52(ell))))(0.8))
        assert jax.jit(lambda x: gp.HilbertBasis(x, 8).functions)(points).shape == (4, 8)


def test_bad_bases():
    with pytest.raises(ModelError, match="above 1"):
        gp.HilbertBasis(X, 5, boundary=1.0)
    with pytest.raises(ModelError, match="range of zero"):
        gp.HilbertBasis(np.ones(4), 5)
    with pytest.raises(ShapeError, match="one for each column"):
        gp.HilbertBasis(X, [5, 6, 7])

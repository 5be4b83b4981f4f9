"""Flows of both backends against numerical derivatives and integrals."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.guides import Affine, Flow, choose, log_prob, sample
from elboroom.guides.flow import KINDS
from elboroom.ppl.errors import GuideError, MissingBackendError

BACKENDS = ("jax", "torch")


def bound(kind, backend, dim, bent=None, **settings):
    """A flow; over the coordinates `bent` alone, where they are given."""
    target = SimpleNamespace(dim=dim, backend=backend)
    if bent is not None:
        order = np.tile(np.arange(len(bent))[::-1], (settings.get("num_layers", 4), 1))
        target.layout = {"order": order, "bent": np.array(bent)}
    return Flow(kind, **settings).bind(target)


def bent(guide, seed=0, by=0.3):
    """Parameters of a flow that is no Gaussian, in a frame of its own."""
    rng, dim = np.random.default_rng(seed), guide.dim
    root = np.tril(0.5 * rng.normal(size=(dim, dim)), -1) + np.diag(rng.uniform(0.5, 2, dim))
    params = guide.init(Affine(rng.normal(size=dim), root))
    layers = {
        k: v + by * rng.normal(size=v.shape) / np.sqrt(v.shape[-1])
        for k, v in guide.at(params).weights.items()
    }
    return params | layers


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind, over", [*((kind, None) for kind in KINDS), ("iaf", [3, 1])])
def test_maps(kind, over, backend, rng):
    dim, step = 5, 1e-5
    guide = bound(kind, backend, dim, over)
    params = bent(guide)
    eps = 1.5 * rng.standard_normal((20, dim))
    z, log_jacobian = guide.forward(params, eps)
    assert np.abs(z - params["mean"] - eps @ params["scale_tril"].T).max() > 0.5
    back, inverse = guide.inverse(params, z)
    np.testing.assert_allclose(back, eps, atol=1e-8)
    np.testing.assert_allclose(inverse, -log_jacobian, atol=1e-8)
    ahead, behind = (
        [guide.forward(params, eps + sign * step * axis) for axis in np.eye(dim)] for sign in (1, -1)
    )
    jacobian = np.stack([(a[0] - b[0]) / (2 * step) for a, b in zip(ahead, behind, strict=True)], -1)
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], log_jacobian, atol=1e-6)
    slope = np.stack([(a[1] - b[1]) / (2 * step) for a, b in zip(ahead, behind, strict=True)], -1)
    grad = rng.standard_normal((20, dim))  # of any density
    expected = np.einsum("bij,bi->bj", jacobian, grad) + slope
    np.testing.assert_allclose(guide.at(params).pullback(eps, grad), expected, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_others_are_gaussian_given_what_is_bent(backend, rng):
    guide = bound("affine", backend, 4, [2, 0])
    params = bent(guide)
    eps = np.tile(rng.standard_normal(4), (3, 1))
    eps[:, 2:] = [[-1.0, 2.0], [0.0, 0.0], [1.0, -2.0]]
    z, log_jacobian = guide.forward(params, eps)
    np.testing.assert_allclose(z[:, [2, 0]], z[:1, [2, 0]].repeat(3, 0), atol=1e-12)
    np.testing.assert_allclose(z[0] + z[2], 2 * z[1], atol=1e-12)
    assert np.ptp(log_jacobian) < 1e-12
    other = eps[:1] + np.array([1.0, 0, 0, 0])
    moved = guide.forward(params, np.concatenate([other, other + [0, 0, 1.0, 1.0]]))[0]
    own = guide.forward(params, np.concatenate([eps[:1], eps[:1] + [0, 0, 1.0, 1.0]]))[0]
    assert np.abs((moved[1] - moved[0]) / (own[1] - own[0]) - 1)[[1, 3]].max() > 0.05  # wider, or narrower


def test_its_frame_keeps_its_covariance():
    guide = bound("iaf", "jax", 4, [2, 0], num_layers=1)
    root = np.tril(np.random.default_rng(0).normal(size=(4, 4)))
    scale = guide.init(Affine(np.zeros(4), root))["scale_tril"]
    np.testing.assert_allclose(scale @ scale.T, root @ root.T, atol=1e-12)
    assert np.all(np.triu(scale[[2, 0, 1, 3]], 1) == 0) and np.all(np.diag(scale[[2, 0, 1, 3]]) > 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_density_integrates_to_one(kind, backend):
    guide = bound(kind, backend, 2, num_layers=2)
    params = bent(guide)
    x = np.linspace(-1, 1, 201)
    x = np.sinh(5 * x) * (25 / np.sinh(5))  # dense in the middle, far out at the ends
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(log_prob(guide, params, params["mean"] + grid @ params["scale_tril"].T))
    density *= np.abs(np.linalg.det(params["scale_tril"]))
    mass = np.trapezoid(np.trapezoid(density.reshape(len(x), -1), x, axis=1), x)
    assert abs(mass - 1) < 0.01


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_starts_as_its_frame(backend, rng):
    guide = bound("iaf", backend, 3)
    root = np.array([[1.0, 0, 0], [0.5, 2.0, 0], [0, 1.0, 0.1]])
    params = guide.init(Affine(np.arange(3.0), root))
    draws = sample(guide, params, 40_000, rng)
    sd = np.sqrt(np.diag(root @ root.T))
    assert np.all(np.abs(draws.mean(0) - np.arange(3.0)) < 5 * sd / 200)
    # their kurtosis is below 9: so is the error of a variance, times two
    assert np.all(np.abs(draws.std(0) / sd - 1) < 5 * np.sqrt(2) / 200)
    tail = np.abs(draws[:, 0]) > 4
    assert tail.mean() > 10 * 6.3e-5  # of a normal law's draws


@pytest.mark.parametrize(
    "family, dim, words",
    [
        (Flow(), 1, "2 to 200 dimensions, got 1. Use guide='full-rank'"),
        (Flow(), 201, "'structured' or 'low-rank'"),
        (Flow("planar"), 3, "'spline'"),
        (Flow(over="locals"), 3, "over of a flow"),
        (Flow(width=0), 3, "width of a flow"),
        (Flow(num_layers=2.5), 3, "num_layers of a flow"),
    ],
)
def test_bad_input(family, dim, words):
    with pytest.raises(GuideError, match=words):
        family.bind(SimpleNamespace(dim=dim))


def test_by_name():
    assert choose("flow", SimpleNamespace(dim=3)).family == Flow()
    assert Flow(**Flow("spline", width=7).settings) == Flow("spline", width=7)


def test_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko.flows.autoregressive", None)
    with pytest.raises(MissingBackendError, match=r"pip install \"elboroom\[torch\]\""):
        bound("affine", "torch", 6)

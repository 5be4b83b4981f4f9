"""The one contract of every transport, against finite differences, draws and dense algebra."""

from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.guides import TRANSPORTS, Affine, Flow, Rooted, Spline, Structured
from elboroom.guides.family import draw, log_density
from elboroom.guides.low_rank import LowRankFactor
from elboroom.guides.sparse import Factor, Layout
from elboroom.guides.transport import packed, standard_normal, triangular
from elboroom.guides.variational_dropout import Dropped
from scipy import stats
from scipy.sparse import csr_array

DIM, STEP = 5, 1e-5
RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=DIM)
ROOT = np.tril(0.5 * RNG.normal(size=(DIM, DIM)), -1) + np.diag(RNG.uniform(0.5, 2, DIM))
CHAIN = Layout.of(csr_array(np.eye(DIM) + np.eye(DIM, k=1) + np.eye(DIM, k=-1)))


def sparse() -> Rooted:
    precision = np.diag(RNG.uniform(2, 3, DIM)) + 0.6 * (np.eye(DIM, k=1) + np.eye(DIM, k=-1))
    return Rooted(MEAN, CHAIN.factor(precision))


def low_rank() -> Rooted:
    basis = np.linalg.qr(RNG.normal(size=(DIM, 2)))[0]
    return Rooted(MEAN, LowRankFactor(RNG.uniform(0.5, 2, DIM), basis, np.array([3.0, 0.2])))


def spline(kind: str, backend: str) -> Spline:
    guide = Flow(kind, num_layers=2, width=8).bind(SimpleNamespace(dim=DIM, backend=backend))
    made = guide.near(Affine(MEAN, ROOT))
    weights = {k: v + 0.3 * RNG.normal(size=v.shape) / np.sqrt(v.shape[-1]) for k, v in made.weights.items()}
    return Spline(made.layout, made.mean, made.scale_tril, weights)


CASES = {
    "diagonal": lambda: Affine(MEAN, RNG.uniform(0.5, 2, DIM)),
    "triangular": lambda: Affine(MEAN, ROOT),
    "sparse": sparse,
    "low-rank": low_rank,
    "variational dropout": lambda: Dropped(Affine(MEAN, RNG.uniform(0.5, 2, DIM)), np.arange(DIM) < 3),
    "iaf, jax": lambda: spline("iaf", "jax"),
    "affine, jax": lambda: spline("affine", "jax"),
    "affine, torch": lambda: spline("affine", "torch"),
    "spline, jax": lambda: spline("spline", "jax"),
}
GAUSSIAN = ("diagonal", "triangular", "sparse", "low-rank")


@pytest.fixture(params=CASES, scope="module")
def transport(request):
    return CASES[request.param]()


@pytest.fixture(params=GAUSSIAN, scope="module")
def gaussian(request):
    return CASES[request.param]()


def jacobian(transport, eps):
    """Derivatives of the points ``(B, dim, dim)`` and of the log Jacobian ``(B, dim)``, by central differences."""
    ahead, behind = ([transport.forward(eps + s * STEP * axis) for axis in np.eye(DIM)] for s in (1, -1))
    pairs = list(zip(ahead, behind, strict=True))
    return (np.stack([(a[i] - b[i]) / (2 * STEP) for a, b in pairs], -1) for i in (0, 1))


def test_every_transport_has_a_case():
    made = {type(make()) for make in CASES.values()}
    assert made == set(TRANSPORTS)


def test_inverse_of_forward(transport):
    eps = 1.5 * np.random.default_rng(1).standard_normal((20, DIM))
    z, log_jacobian = transport.forward(eps)
    back, inverse = transport.inverse(z)
    np.testing.assert_allclose(back, eps, atol=1e-8)
    np.testing.assert_allclose(inverse, -log_jacobian, atol=1e-8)
    assert transport.dim == DIM and log_jacobian.shape == (20,)


def test_log_jacobian_and_pullback(transport):
    rng = np.random.default_rng(2)
    eps, grad = 1.5 * rng.standard_normal((20, DIM)), rng.standard_normal((20, DIM))
    slope, bent = jacobian(transport, eps)
    np.testing.assert_allclose(np.linalg.slogdet(slope)[1], transport.forward(eps)[1], atol=1e-6)
    expected = np.einsum("bij,bi->bj", slope, grad) + bent
    np.testing.assert_allclose(transport.pullback(eps, grad), expected, atol=1e-5)


def test_moments_are_those_of_draws(transport):
    count, exact = 40_000, transport.moments()
    z = draw(transport, count, np.random.default_rng(3))
    if exact is None:
        assert isinstance(transport, Spline)
        return
    mean, covariance = exact
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(z.mean(0) - mean) < 5 * sd / np.sqrt(count))
    noise = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / count)
    assert np.all(np.abs(np.cov(z.T) - covariance) < 5 * noise)


def test_density_is_that_of_the_change_of_variables(transport):
    eps = np.random.default_rng(4).standard_normal((10, DIM))
    z, log_jacobian = transport.forward(eps)
    np.testing.assert_allclose(log_density(transport, z), standard_normal(eps) - log_jacobian, atol=1e-7)


def test_rows_do_not_see_each_other(transport):
    eps = np.random.default_rng(5).standard_normal((2500, DIM))  # more than a compiled call of layers takes
    whole, parts = transport.forward(eps), [transport.forward(eps[i : i + 700]) for i in range(0, 2500, 700)]
    for i in (0, 1):
        np.testing.assert_allclose(
            np.concatenate([part[i] for part in parts]), whole[i], rtol=1e-12, atol=1e-12
        )


def test_arrays_there_and_back(transport):
    arrays = {name: np.array(value) for name, value in transport.to_arrays().items()}
    if isinstance(transport, Affine):
        again = Affine.from_arrays(arrays)
    elif isinstance(transport, Spline):
        again = transport.layout.from_arrays(arrays)
    elif isinstance(transport, Dropped):
        again = Dropped(Affine.from_arrays(arrays), transport.dropped)
    elif isinstance(transport.factor, Factor):
        again = Structured().bind(SimpleNamespace(dim=DIM, layout=layout_of(transport))).at(arrays)
    else:
        again = Rooted(arrays.pop("mean"), LowRankFactor(**arrays))
    eps = np.random.default_rng(6).standard_normal((10, DIM))
    # a scale is kept as its logarithm: the last digit may move
    np.testing.assert_allclose(again.forward(eps)[0], transport.forward(eps)[0], rtol=1e-14)


def layout_of(transport):
    layout = transport.factor.layout
    return {"level": layout.level, "rows": layout.rows, "cols": layout.cols}


def test_gaussians_are_their_covariance(gaussian):
    root = gaussian.linear(np.eye(DIM))
    covariance = root.T @ root
    np.testing.assert_allclose(gaussian.moments()[1], covariance, atol=1e-12)
    np.testing.assert_allclose(gaussian.marginals()[1], np.sqrt(np.diag(covariance)), rtol=1e-10)
    np.testing.assert_allclose(gaussian.precision, np.diag(np.linalg.inv(covariance)), rtol=1e-9)
    h = np.random.default_rng(7).standard_normal((4, DIM))
    np.testing.assert_allclose(gaussian.whiten(h), h @ root.T, atol=1e-12)
    np.testing.assert_allclose(gaussian.whiten(h), gaussian.pullback(0 * h, h), atol=1e-12)
    z = draw(gaussian, 7, np.random.default_rng(8))
    exact = stats.multivariate_normal(gaussian.mean, covariance).logpdf(z)
    np.testing.assert_allclose(log_density(gaussian, z), exact, atol=1e-9)
    for dense in (triangular(gaussian), packed(gaussian)):
        np.testing.assert_allclose(dense.moments()[1], covariance, atol=1e-12)
        np.testing.assert_allclose(dense.unwhiten(dense.whiten(h)), h, atol=1e-10)

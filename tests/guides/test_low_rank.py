"""The low-rank family with directions that are wide and narrow, against dense algebra."""

import numpy as np
import pytest
import scipy.stats as st
from elboroom.guides import Affine, Rooted, log_prob
from elboroom.guides.low_rank import LowRank, LowRankFactor
from elboroom.ppl.errors import GuideError


class Box:
    dim = 6


@pytest.fixture
def factor(rng):
    basis = np.linalg.qr(rng.normal(size=(6, 3)))[0]
    return LowRankFactor(np.exp(rng.normal(size=6)), basis, np.array([5.0, 0.2, 1.5]))


def test_contract(factor, rng):
    guide = LowRank().bind(Box)
    params = guide.init(Rooted(rng.normal(size=6), factor))
    mean, covariance = guide.moments(params)
    scale, basis = np.diag(factor.scale), factor.basis
    dense = scale @ (np.eye(6) + basis @ np.diag(factor.width**2 - 1) @ basis.T) @ scale
    np.testing.assert_allclose(covariance, dense, atol=1e-12)
    eps = rng.standard_normal((5, 6))
    z, log_jacobian = guide.forward(params, eps)
    back, inverse = guide.inverse(params, z)
    np.testing.assert_allclose(back, eps, atol=1e-12)
    np.testing.assert_allclose(log_jacobian, -inverse, atol=1e-12)
    exact = st.multivariate_normal(mean, covariance).logpdf(z)
    np.testing.assert_allclose(log_prob(guide, params, z), exact, atol=1e-10)
    np.testing.assert_allclose(guide.marginals(params)[1] ** 2, np.diag(covariance), rtol=1e-12)
    assert guide.at(params).num_parameters == 6 + 6 + 18 + 3


def test_factor_is_what_a_frame_needs(factor, rng):
    root = factor.root(np.eye(6)).T
    precision = np.linalg.inv(root @ root.T)
    rows = rng.normal(size=(4, 6))
    np.testing.assert_allclose(factor.whiten(rows), rows @ root, atol=1e-12)
    np.testing.assert_allclose(factor.precision(rows), rows @ precision, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(factor.precision_diagonal, np.diag(precision), rtol=1e-10)
    np.testing.assert_allclose(factor.log_det, 0.5 * np.linalg.slogdet(precision)[1], rtol=1e-10)


def test_no_dense_covariance_where_it_would_not_fit():
    guide = LowRank().bind(type("Wide", (), {"dim": 5000}))
    params = guide.init(Affine(np.zeros(5000), np.full(5000, 2.0)))
    np.testing.assert_allclose(guide.marginals(params)[1], 2.0)
    with pytest.raises(GuideError, match="marginals"):
        guide.moments(params)

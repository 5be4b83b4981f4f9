"""The contract of every Gaussian guide."""

import numpy as np
import pytest
import scipy.stats as st
from elboroom.guides import FAMILIES, Affine, choose, log_prob, sample
from elboroom.ppl.errors import GuideError


class Box:
    dim = 4


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("family", [f for f in FAMILIES if f().name not in {"delta", "flow"}])
def test_contract(family, correlated):
    rng = np.random.default_rng(0)
    guide = family().bind(Box)
    root = np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    start = Affine(rng.normal(size=4), root if correlated else np.array([0.1, 1, 10, 100]))
    params = guide.init(start)
    mean, covariance = guide.moments(params)
    eps = rng.standard_normal((5, 4))
    z, log_jacobian = guide.forward(params, eps)
    back, inverse = guide.inverse(params, z)
    np.testing.assert_allclose(back, eps, atol=1e-10)
    np.testing.assert_allclose(log_jacobian, -inverse, atol=1e-10)
    np.testing.assert_allclose(log_jacobian, 0.5 * np.linalg.slogdet(covariance)[1], atol=1e-10)
    exact = st.multivariate_normal(mean, covariance).logpdf(z)
    np.testing.assert_allclose(log_prob(guide, params, z), exact, atol=1e-9)
    draws = sample(guide, params, 40_000, rng)
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * sd / 200)
    assert np.all(np.abs(draws.std(0) / sd - 1) < 5 / np.sqrt(80_000))


def test_names():
    assert choose("fullrank", Box).family.name == "full-rank"
    assert choose("MAP", Box).family.name == "delta"
    assert choose("auto", Box).family.name == "full-rank"
    with pytest.raises(GuideError, match="mean-field"):
        choose("banana", Box)

"""A mixture of Gaussians against SciPy, and what it proposes."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats as st
from elboroom.guides import Mixture, log_prob, sample
from elboroom.guides.mixture import Components
from scipy.special import logsumexp

DIM, DF = 3, 5.0
GUIDE = Mixture().bind(SimpleNamespace(dim=DIM))


@pytest.fixture(params=[(0.5, 0.5), (0.9, 0.1), (0.6, 0.3999, 0.0001)])
def params(request):
    rng = np.random.default_rng(3)
    count = len(request.param)
    return Components.of(
        np.log(request.param) + 7.0,
        rng.normal(0, 4, (count, DIM)),
        np.tril(0.3 * rng.normal(size=(count, DIM, DIM))) + np.eye(DIM) * [[[1.0]], [[0.2]], [[2.0]]][:count],
    ).to_arrays()


def law(params, z, df=None):
    parts = []
    for mean, scale in zip(params["mean"], params["scale_tril"], strict=True):
        shape = scale @ scale.T
        one = st.multivariate_normal(mean, shape) if df is None else st.multivariate_t(mean, shape, df)
        parts.append(one.logpdf(z))
    return np.stack(parts, 1)


def test_density(params):
    z = sample(GUIDE, params, 50, np.random.default_rng(0))
    parts = law(params, z)
    np.testing.assert_allclose(np.exp(params["log_weight"]).sum(), 1.0)
    np.testing.assert_allclose(GUIDE.at(params).log_components(z), parts, atol=1e-9)
    np.testing.assert_allclose(GUIDE.at(params).log_components(z, DF), law(params, z, DF), atol=1e-9)
    np.testing.assert_allclose(
        log_prob(GUIDE, params, z), logsumexp(params["log_weight"] + parts, axis=1), atol=1e-9
    )
    member = GUIDE.at(params).responsibilities(z)
    np.testing.assert_allclose(member.sum(1), 1.0)
    np.testing.assert_allclose(
        member, np.exp(params["log_weight"] + parts - log_prob(GUIDE, params, z)[:, None]), atol=1e-9
    )


def test_draws_have_the_exact_moments(params):
    count = 100_000
    z = sample(GUIDE, params, count, np.random.default_rng(1))
    mean, covariance = GUIDE.moments(params)
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(z.mean(0) - mean) < 4 * sd / np.sqrt(count))
    product = ((z - mean) / sd)[:, :, None] * ((z - mean) / sd)[:, None]
    noise = product.std(0) / np.sqrt(count)
    assert np.all(np.abs(product.mean(0) - covariance / np.outer(sd, sd)) < 4 * noise)


def test_what_is_proposed(params):
    """Weights against the proposal give the guide's own integrals, and a light component is seen."""
    count = 40_000
    z, proposal, own, from_guide = GUIDE.at(params).propose(count, np.random.default_rng(2), DF)
    weight = np.exp(params["log_weight"])
    assert abs(len(z) - count) < 2 * len(weight)
    np.testing.assert_allclose(own, log_prob(GUIDE, params, z), atol=1e-9)
    ratio = np.exp(own - proposal)
    assert ratio.max() < 4.01  # half of the draws follow the weights, half of those the Gaussians
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(z))
    mean, covariance = GUIDE.moments(params)
    error = (ratio[:, None] * (z - mean)).std(0) / np.sqrt(len(z))
    assert np.all(np.abs((ratio[:, None] * (z - mean)).mean(0)) < 4 * error)
    nearest = law(params, z).argmax(1)
    assert np.bincount(nearest, minlength=len(weight)).min() > 0.3 * count / len(weight)
    kept = z[from_guide]
    assert len(kept) > 0.1 * count
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(kept.mean(0) - mean) < 4 * sd / np.sqrt(len(kept)))
    share = np.bincount(nearest[from_guide], minlength=len(weight)) / len(kept)
    assert np.all(np.abs(share - weight) < 0.02)

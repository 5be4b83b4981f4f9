"""Effects of neighbouring regions, drawn on both backends: against the pseudo-inverse of the graph's Laplacian."""

import numpy as np
import pytest

import elboroom as er

EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [1, 3], [3, 4], [4, 5]])
LAPLACIAN = np.zeros((6, 6))
for one, other in EDGES:
    LAPLACIAN[[one, other], [one, other]] += 1
    LAPLACIAN[[one, other], [other, one]] -= 1
COVARIANCE = np.linalg.pinv(LAPLACIAN)
NUM_DRAWS = 20_000


def standard_errors(draws, covariance):
    """Largest distance of the second moments of centred normal draws from a covariance, in standard errors."""
    variance = np.diag(covariance)
    spread = np.sqrt((np.outer(variance, variance) + covariance**2) / len(draws))
    return np.abs((draws.T @ draws / len(draws) - covariance) / spread).max()


@er.model
def regions(edges, y, level):
    scale = er.sample("scale", er.HalfNormal(1))
    x = er.sample("x", er.ICAR(edges, 6, 1.5, level))
    with er.plate("region", 6):
        er.observe("y", er.Normal(x, scale), y)


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("level", [None, 0.7])
def test_prior_draws_have_the_covariance_of_the_graph(backend, level):
    from elboroom.ppl.simulate import prior_values

    drawn = prior_values(regions(EDGES, None, level), NUM_DRAWS, backend=backend)["x"]
    covariance = 1.5**2 * COVARIANCE + (0.0 if level is None else level**2)
    assert standard_errors(drawn, covariance) < 4.5
    if level is None:
        assert np.abs(drawn.sum(-1)).max() < 1e-5


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_prediction_draws_what_is_not_shared(backend):
    """Laws of several scales at once, over edges fixed in the model."""

    @er.model
    def outcome(y):
        mu = er.sample("mu", er.Normal(0, 1))
        scale = er.math.asarray(np.array([0.5, 3.0]))
        er.observe("y", er.ICAR(EDGES, 6, scale * er.math.exp(0.0 * mu)), y)

    y = np.linalg.cholesky(COVARIANCE + 1e-9 * np.eye(6)) @ np.ones(6)
    y = np.stack([0.5, 3.0])[:, None] * (y - y.mean())
    posterior = er.fit(outcome(y), backend=backend, progress=False)
    drawn = posterior.draws["posterior_predictive"]["y"].values[0]
    assert drawn.shape[1:] == (2, 6)
    for k, scale in enumerate((0.5, 3.0)):
        assert standard_errors(drawn[:, k], scale**2 * COVARIANCE) < 4.5
    crossed = (drawn[:, 0] * drawn[:, 1]).mean(0) / (1.5 * np.diag(COVARIANCE))
    assert np.abs(crossed).max() < 4.5 / np.sqrt(len(drawn))

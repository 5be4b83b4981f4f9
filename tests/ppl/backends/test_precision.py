"""Models written for a default of 32 bits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import elboroom as er

CAUGHT = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]]).T  # occasion by animal


def captures(caught):
    """Chances of capture that grow with every capture before."""
    p = numpyro.sample("p", dist.Beta(2.0, 2.0))

    def step(times, now):
        return times + now, times

    _, before = jax.lax.scan(step, jnp.zeros(caught.shape[1], jnp.int32), caught)
    numpyro.sample("y", dist.Bernoulli(1 - (1 - p) ** (1 + before)), obs=caught)


def _grid():
    p = (np.arange(4000) + 0.5) / 4000
    before = np.cumsum(CAUGHT, 0) - CAUGHT
    chance = 1 - (1 - p[:, None, None]) ** (1 + before)
    density = stats.beta(2, 2).logpdf(p) + np.where(CAUGHT, np.log(chance), np.log1p(-chance)).sum((1, 2))
    weights = np.exp(density - density.max())
    mean = (p * weights).sum() / weights.sum()
    return mean, np.sqrt((p**2 * weights).sum() / weights.sum() - mean**2)


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_a_carry_of_32_bits_runs_so_and_says_so(dtype):
    posterior = er.fit(er.from_numpyro(captures)(CAUGHT), dtype=dtype, progress=False)
    mean, sd = _grid()
    table = posterior.summary()
    assert abs(table.loc["p", "mean"] - mean) < 0.1 * sd and abs(table.loc["p", "sd"] / sd - 1) < 0.1
    assert "single precision model" in [f.name for f in posterior.findings]
    assert not jax.config.jax_enable_x64


def test_double_precision_on_request_is_refused():
    with pytest.raises(er.UnsupportedError, match=r"captures.*single precision only.*first carry"):
        er.fit(er.from_numpyro(captures)(CAUGHT), dtype="float64", progress=False)

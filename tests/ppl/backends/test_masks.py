"""Masks of NumPyro and Pyro models: padding is no outcome, and what nothing depends on is no quantity."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import pyro
import pytest
import torch

import elboroom as er

RNG = np.random.default_rng(4)
X = RNG.normal(size=40)
Y = 1 + 0.5 * X + 0.6 * RNG.normal(size=40)
THERE = RNG.uniform(size=40) < 0.8
LENGTHS = RNG.integers(2, 9, size=10)
PADDED = np.where(np.arange(8) < LENGTHS[:, None], 3 + 0.5 * RNG.normal(size=(10, 8)), 0.0)


def models(library, where, arange, isnan):
    """The same declarations in NumPyro and in Pyro, which name everything alike."""
    dist, sample, plate = library.distributions, library.sample, library.plate
    mask = library.handlers.mask if library is numpyro else pyro.poutine.mask

    def padded(y, lengths):
        m, s = sample("m", dist.Normal(0.0, 5.0)), sample("s", dist.HalfNormal(2.0))
        with plate("unit", y.shape[0], dim=-2), plate("time", y.shape[1], dim=-1):
            with mask(mask=arange(y.shape[1]) < lengths[:, None]):
                sample("y", dist.Normal(m, s), obs=y)

    def partly(x, y, there):
        a, b, s = (sample(name, dist.Normal(0.0, 5.0)) for name in "abs")
        with plate("row", len(x)):
            sample("y", dist.Normal(a + b * x, where(s > 0, s, -s)), obs=y, obs_mask=there)

    def gaps(x, y):
        a, b = sample("a", dist.Normal(0.0, 5.0)), sample("b", dist.Normal(0.0, 5.0))
        with plate("row", len(x)), mask(mask=~isnan(y)):
            sample("y", dist.Normal(a + b * x, 0.6), obs=y)

    def plain(x, y):
        a, b = sample("a", dist.Normal(0.0, 5.0)), sample("b", dist.Normal(0.0, 5.0))
        with plate("row", len(x)):
            sample("y", dist.Normal(a + b * x, 0.6), obs=y)

    def one_law(y):
        sample("y", dist.Normal(sample("a", dist.Normal(0.0, 5.0)), 0.6), obs=y)

    def one_value(y):
        a = sample("a", dist.Normal(0.0, 5.0))
        with plate("row", 9):
            sample("y", dist.Normal(a, 0.6), obs=y)

    made = er.from_numpyro if library is numpyro else er.from_pyro
    return {fn.__name__: made(fn) for fn in (padded, partly, gaps, plain, one_law, one_value)}


LIBRARIES = {
    "numpyro": models(numpyro, jnp.where, jnp.arange, jnp.isnan),
    "pyro": models(pyro, torch.where, torch.arange, torch.isnan),
}


@pytest.fixture(params=LIBRARIES)
def known(request):
    return LIBRARIES[request.param]


def fitted(program):
    return er.fit(program, refine=False, progress=False, num_draws=1000)


def line(x, y, scale=0.6, prior=5.0):
    """Mean and sd of intercept and slope, with normal priors."""
    design = np.stack([np.ones(len(x)), x], 1)
    covariance = np.linalg.inv(design.T @ design / scale**2 + np.eye(2) / prior**2)
    return covariance @ design.T @ y / scale**2, np.sqrt(np.diag(covariance))


def agrees(posterior, names, mean, sd):
    for name, m, s in zip(names, mean, sd, strict=True):
        assert posterior.values[name].mean() == pytest.approx(m, abs=5 * s / np.sqrt(1000))
        assert posterior.values[name].std() == pytest.approx(s, rel=0.12)


def test_padding_is_no_outcome(known):
    posterior = fitted(known["padded"](PADDED, LENGTHS))
    outcomes = posterior.observed_data["y"]
    assert np.isnan(outcomes).sum() == 80 - LENGTHS.sum()
    there = outcomes[~np.isnan(outcomes)]
    agrees(posterior, ["m"], [there.mean()], [there.std(ddof=1) / np.sqrt(len(there))])
    findings = posterior.check()
    assert {f.name for f in findings} >= {"PIT-ECDF", "coverage", "dispersion", "groups"}
    assert "misfit" not in {f.verdict for f in findings}
    assert posterior.predict()["posterior_predictive"]["y"].shape == (1, 1000, 10, 8)


def test_elements_that_nothing_depends_on_are_no_quantities(known):
    program = known["partly"](X, np.where(THERE, Y, 0.0), THERE)
    assert program.trace()["y_unobserved"].shape == ((~THERE).sum(),)
    posterior = fitted(program.condition(s=0.6))
    mean, sd = line(X[THERE], Y[THERE])
    agrees(posterior, "ab", mean, sd)
    # what was not observed has its predictive distribution
    filled = posterior.values["y_unobserved"]
    np.testing.assert_allclose(filled.mean(0), mean[0] + mean[1] * X[~THERE], atol=5 * 0.7 / np.sqrt(1000))
    np.testing.assert_array_equal(posterior.values["y"][:, ~THERE], filled)
    np.testing.assert_allclose(
        posterior.values["y"][:, THERE], np.broadcast_to(Y[THERE], (1000, THERE.sum()))
    )
    assert "misfit" not in {f.verdict for f in posterior.check()}
    fewer = posterior.predict(x=X[:6], y=Y[:6], there=np.arange(6) < 4)
    assert fewer["posterior_predictive"]["y"].shape == (1, 1000, 6)


def test_missing_values_under_a_mask(known):
    gaps = np.where(THERE, Y, np.nan)
    posterior = fitted(known["gaps"](X, gaps))
    agrees(posterior, "ab", *line(X[THERE], Y[THERE]))
    assert np.isnan(posterior.observed_data["y"]).sum() == (~THERE).sum()
    for data in ((X, gaps), (np.where(THERE, X, np.nan), Y)):
        with pytest.raises(er.DataError, match=r"missing values in rows \[.*handlers.mask or obs_mask"):
            known["plain"](*data).trace()


def test_one_law_for_all_rows(known):
    posterior = fitted(known["one_law"](Y - 0.5 * X))
    precision = 40 / 0.6**2 + 1 / 25
    agrees(posterior, "a", [(Y - 0.5 * X).sum() / 0.6**2 / precision], [precision**-0.5])
    assert posterior.predict()["posterior_predictive"]["y"].shape == (1, 1000, 40)
    assert {f.verdict for f in posterior.check()} <= {"ok", "caution"}
    assert not posterior.findings


def test_repeated_data_are_told(known):
    posterior = fitted(known["one_value"](np.array([1.5])))
    precision = 9 / 0.6**2 + 1 / 25  # NumPyro and Pyro count it nine times
    agrees(posterior, "a", [9 * 1.5 / 0.6**2 / precision], [precision**-0.5])
    (finding,) = (f for f in posterior.findings if f.name == "repeated data")
    assert finding.quantity == "y" and finding.verdict == "caution"
    with pytest.raises(er.ShapeError):  # repeated in both directions
        known["plain"](X, Y[:, None]).trace()

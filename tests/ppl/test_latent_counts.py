"""Latent counts with a stated upper bound are summed out: N-mixtures, change points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import elboroom as er

BACKENDS = ["jax", "torch"]
RNG = np.random.default_rng(5)
SITES, VISITS, MOST = 12, 4, 60
TRUE = RNG.poisson(9.0, SITES)
SEEN = RNG.binomial(TRUE, 0.5, (VISITS, SITES))


def abundance(law):
    @er.model
    def counts(y=None):
        rate = er.sample("rate", er.Gamma(2.0, 0.2))
        p = er.sample("p", er.Beta(2, 2))
        with er.plate("site", SITES):
            n = er.sample("n", law(rate))
            with er.plate("visit", VISITS):
                er.observe("y", er.Binomial(n, probs=p), y)

    return counts


LAWS = {
    "Poisson": (lambda rate: er.Truncated(er.Poisson(rate), high=MOST), lambda rate: stats.poisson(rate)),
    "NegativeBinomial": (
        lambda rate: er.Truncated(er.NegativeBinomial(rate, 3.0), high=MOST),
        lambda rate: stats.nbinom(3.0, 3.0 / (3.0 + rate)),
    ),
    "Binomial": (
        lambda rate: er.Binomial(MOST, probs=rate / MOST),
        lambda rate: stats.binom(MOST, rate / MOST),
    ),
}


def _exact(name, rate, p):
    law, n = LAWS[name][1](rate), np.arange(MOST + 1)
    prior = law.logpmf(n) - (0 if name == "Binomial" else np.log(law.cdf(MOST)))
    with np.errstate(divide="ignore"):
        seen = stats.binom.logpmf(SEEN[:, :, None], n, p).sum(0)
    return (
        stats.gamma(2.0, scale=5.0).logpdf(rate)
        + stats.beta(2, 2).logpdf(p)
        + logsumexp(prior + seen, 1).sum()
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LAWS)
def test_n_mixtures(name, backend):
    target = abundance(LAWS[name][0])(SEEN).target(backend)
    for rate, p in ((8.0, 0.5), (14.0, 0.35)):
        values = {"rate": np.array(rate), "p": np.array(p)}
        assert target.log_joint(values) == pytest.approx(_exact(name, rate, p), abs=1e-7)
        z = target.unconstrain({k: v[None] for k, v in values.items()})
        _, grad = target.value_and_grad(z)
        steps = [(_at(target, z + 1e-5 * e) - _at(target, z - 1e-5 * e)) / 2e-5 for e in np.eye(2)]
        np.testing.assert_allclose(grad[0], steps, rtol=1e-4, atol=1e-4)


def _at(target, z):
    return float(target.value_and_grad(z)[0][0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_change_point(backend):
    year = np.arange(10)
    y = np.array([4, 5, 4, 1, 0, 4, 3, 4, 0, 6])

    @er.model
    def disasters(year, y=None):
        early, late = er.sample("early", er.Exponential(1.0)), er.sample("late", er.Exponential(1.0))
        switch = er.sample("switch", er.DiscreteUniform(2, 8))
        with er.plate("year", 10):
            er.observe("y", er.Poisson(er.math.where(year < switch, early, late)), y)

    values = {"early": np.array(3.0), "late": np.array(1.5)}
    each = [stats.poisson.logpmf(y, np.where(year < s, 3.0, 1.5)).sum() for s in range(2, 9)]
    exact = logsumexp(each) - np.log(7) - 4.5
    assert disasters(year, y).target(backend).log_joint(values) == pytest.approx(exact, abs=1e-9)


@pytest.mark.slow
def test_fit_and_latent_counts():
    posterior = er.fit(abundance(LAWS["Poisson"][0])(SEEN), progress=False)
    rate, p = (g.ravel() for g in np.meshgrid(np.linspace(2, 40, 75), np.linspace(0.05, 0.95, 120)))
    density = np.array([_exact("Poisson", *point) for point in zip(rate, p, strict=True)])
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    table = posterior.summary()
    for name, grid in (("rate", rate), ("p", p)):
        mean = (weight * grid).sum()
        sd = np.sqrt((weight * (grid - mean) ** 2).sum())
        assert table.loc[name, "verdict"] != "trusted" or (
            abs(table.loc[name, "mean"] - mean) < 0.15 * sd and abs(table.loc[name, "sd"] / sd - 1) < 0.15
        )
        assert abs(table.loc[name, "mean"] - mean) < 0.3 * sd
    found = posterior.discrete()
    chance = np.asarray(found["n"] if "n" in found else found["posterior"]["n"])
    chance = chance.reshape(-1, SITES, MOST + 1).mean(0)
    np.testing.assert_allclose(chance.sum(-1), 1, atol=1e-6)
    below = np.arange(MOST + 1) < SEEN.max(0)[:, None]
    assert np.all(chance[below] < 1e-12)


def test_counts_without_a_bound_say_how_to_state_one():
    with pytest.raises(er.ModelError, match=r"'n'.*er\.Truncated\(er\.Poisson\(rate\), high=100\)"):
        abundance(lambda rate: er.Poisson(rate))(SEEN).trace()

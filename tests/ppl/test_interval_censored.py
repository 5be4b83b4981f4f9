"""Values of which only an interval is known, on both backends: against SciPy, also thirty sds out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from elboroom.ppl import distributions as laws
from elboroom.ppl.backends.jax import lowering as on_jax
from elboroom.ppl.backends.torch import lowering as on_torch
from elboroom.ppl.distributions.intervals import IntervalCensored
from elboroom.ppl.errors import ShapeError, SupportError, UnsupportedError
from scipy import integrate, special, stats

import elboroom as er

BACKENDS = pytest.mark.parametrize("backend", ["jax", "torch"])
BASES = {
    "Normal": (er.Normal(1.0, 2.0), stats.norm(1.0, 2.0)),
    "LogNormal": (er.LogNormal(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "StudentT": (er.StudentT(3.0, 1.0, 2.0), stats.t(3.0, 1.0, 2.0)),
    "Logistic": (er.Logistic(1.0, 2.0), stats.logistic(1.0, 2.0)),
    "Gumbel": (er.Gumbel(1.0, 2.0), stats.gumbel_r(1.0, 2.0)),
    "Exponential": (er.Exponential(0.5), stats.expon(scale=2.0)),
    "Gamma": (er.Gamma(2.5, 0.7), stats.gamma(2.5, scale=1 / 0.7)),
    "Weibull": (er.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2.0)),
    "Poisson": (er.Poisson(3.5), stats.poisson(3.5)),
    "NegativeBinomial": (er.NegativeBinomial(3.0, 2.0), stats.nbinom(2.0, 0.4)),
}


def log_prob(declared, value, backend):
    declared.validate("y")
    if backend == "torch":
        return on_torch.lower(declared).log_prob(torch.as_tensor(value)).numpy()
    with jax.enable_x64(True):
        return np.asarray(on_jax.lower(declared).log_prob(jnp.asarray(value)))


@BACKENDS
@pytest.mark.parametrize("name", BASES)
def test_probabilities_of_intervals(name, backend):
    declared, law = BASES[name]
    edges = law.ppf([0.1, 0.3, 0.8])
    value = np.array([0, 1, 2, 3, 4, -1])
    expected = np.log(np.diff(law.cdf([-np.inf, *edges, np.inf])))
    found = log_prob(IntervalCensored(declared, edges), value, backend)
    np.testing.assert_allclose(found, np.append(expected, [-np.inf, -np.inf]), rtol=1e-9)


@BACKENDS
def test_rows_have_intervals_of_their_own(backend):
    """Two rows open on one side, one on both: no more is known than nothing."""
    lower, upper = np.array([0.5, 2.0, -np.inf, -np.inf]), np.array([1.5, np.inf, 3.0, np.inf])
    law = stats.weibull_min(1.5, scale=2.0)
    found = log_prob(
        IntervalCensored(er.Weibull(2.0, 1.5), np.stack([lower, upper], -1)), np.ones(4, int), backend
    )
    np.testing.assert_allclose(found, np.log(law.cdf(upper) - law.cdf(lower)), rtol=1e-9, atol=1e-12)


@BACKENDS
def test_intervals_far_out_keep_their_digits(backend):
    """Both tails at thirty sds, by quadrature relative to the density at the near end."""
    for low, high in ((30.0, 30.5), (30.0, 31.0), (-31.0, -30.0), (-38.0, -37.0)):
        near, width = min(abs(low), abs(high)), high - low
        area = integrate.quad(lambda s, near=near: np.exp(-near * s - s * s / 2), 0, width, epsabs=0)[0]
        expected = stats.norm.logpdf(near) + np.log(area)
        edges = 1.0 + 2.0 * np.array([low, high])
        found = log_prob(IntervalCensored(er.Normal(1.0, 2.0), edges), np.array(1), backend)
        assert found == pytest.approx(expected, rel=1e-11)
    counts = np.arange(61, 64)  # about thirty sds above the mean of the counts
    found = log_prob(IntervalCensored(er.Poisson(3.5), [60.0, 63.0]), np.array(1), backend)
    assert found == pytest.approx(special.logsumexp(stats.poisson(3.5).logpmf(counts)), rel=1e-11)


@BACKENDS
def test_gradients_are_numbers_everywhere(backend):
    """In the parameters of the base, with open sides, far out and outside the support."""
    edges = np.array([[-np.inf, 0.3], [0.2, np.inf], [59.0, 61.0], [-61.0, -59.0], [0.0, 1.0], [0.0, 1.0]])
    value = np.array([1, 1, 1, 1, 0, 7])

    def total(law, edges):
        return lambda loc, scale: law(IntervalCensored(laws.Normal(loc, scale), edges))

    if backend == "torch":
        args = [torch.tensor(v, dtype=torch.float64) for v in (1.0, 2.0)]
        value = torch.as_tensor(value)
        slopes = torch.func.jacrev(
            total(lambda d: on_torch.lower(d).log_prob(value), torch.as_tensor(edges)), (0, 1)
        )(*args)
    else:
        with jax.enable_x64(True):
            slopes = jax.jacrev(total(lambda d: on_jax.lower(d).log_prob(value), edges), (0, 1))(1.0, 2.0)
    step = 1e-5
    for k, slope in enumerate(map(np.asarray, slopes)):
        moved = [
            log_prob(
                IntervalCensored(er.Normal(1.0 + s * (k == 0), 2.0 + s * (k == 1)), edges),
                np.asarray(value),
                backend,
            )[:-1]
            for s in (step, -step)
        ]
        assert slope[-1] == 0
        np.testing.assert_allclose(slope[:-1], (moved[0] - moved[1]) / (2 * step), rtol=1e-6, atol=1e-8)


@BACKENDS
@pytest.mark.parametrize("name", ["Normal", "Poisson"])
def test_draws_fall_into_their_intervals(name, backend):
    from elboroom.ppl.simulate import prior_values

    base, law = BASES[name]
    edges, num_draws = np.array([0.0, 2.0, 5.0]), 20_000

    @er.model
    def seen(y):
        er.sample("mu", er.Normal(0, 1))
        er.observe("y", IntervalCensored(base, edges), y)

    drawn = prior_values(seen(None), num_draws, backend=backend)["y"].astype(int)
    expected = num_draws * np.diff(law.cdf([-np.inf, *edges, np.inf]))
    assert stats.chisquare(np.bincount(drawn, minlength=4), expected).pvalue > 1e-4


@BACKENDS
def test_a_fit_finds_the_law_behind_the_intervals(backend):
    """As the posterior on a grid says."""
    rng = np.random.default_rng(0)
    lower = np.floor(rng.normal(2.0, 1.5, 60))
    upper = lower + 1

    @er.model
    def rounded(lower, upper, y):
        mu, sigma = er.sample("mu", er.Normal(0, 5)), er.sample("sigma", er.HalfNormal(5))
        with er.plate("row", len(y)):
            edges = er.math.stack([lower, upper], axis=-1)
            er.observe("y", IntervalCensored(er.Normal(mu, sigma), edges), y)

    posterior = er.fit(rounded(lower, upper, np.ones(60, int)), backend=backend, progress=False)
    mu, sigma = np.meshgrid(np.linspace(0.5, 3.5, 121), np.linspace(0.7, 3.0, 121), indexing="ij")
    cells = stats.norm.cdf(upper, mu[..., None], sigma[..., None])
    cells = np.log(cells - stats.norm.cdf(lower, mu[..., None], sigma[..., None])).sum(-1)
    weights = special.softmax(cells + stats.norm.logpdf(mu, 0, 5) + stats.halfnorm.logpdf(sigma, scale=5))
    table = posterior.summary()
    for name, grid in (("mu", mu), ("sigma", sigma)):
        mean = (weights * grid).sum()
        sd = np.sqrt((weights * (grid - mean) ** 2).sum())
        assert abs(table.loc[name, "mean"] - mean) < 0.1 * sd
        assert table.loc[name, "sd"] == pytest.approx(sd, rel=0.1)


def test_bad_intervals_are_refused():
    with pytest.raises(UnsupportedError, match="Cauchy"):
        IntervalCensored(er.Cauchy(), [0.0, 1.0])
    with pytest.raises(ShapeError, match=r"'edges'.*a single number"):
        IntervalCensored(er.Normal(), 0.0)
    with pytest.raises(
        SupportError, match=r"site 'y'.*'edges'.*increasing edges, got \[2.0, 1.0\] in row \[1\]"
    ):
        IntervalCensored(er.Normal(), np.array([[0.0, 1.0], [2.0, 1.0]])).validate("y")
    with pytest.raises(SupportError, match=r"'edges'.*nan"):
        IntervalCensored(er.Normal(), [0.0, np.nan]).validate("y")
    with pytest.raises(SupportError, match=r"'scale'.*positive"):
        IntervalCensored(er.Normal(0, -1), [0.0, 1.0]).validate("y")

"""Units are a matter of words: data and priors in others give the same posterior, in those."""

import warnings

import numpy as np
import pytest

import elboroom as er

RNG = np.random.default_rng(5)
N = 96
X = RNG.normal(size=N)
GROUP = np.repeat(np.arange(8), 12)
Y = 0.97 + 2.03 * X + 0.49 * RNG.normal(size=N)
GROUPED = RNG.normal(size=8)[GROUP] + (1 + 0.5 * RNG.normal(size=8))[GROUP] * X + 0.6 * RNG.normal(size=N)
COUNTS = RNG.poisson(np.exp(1 + 0.5 * X))


@er.model
def line(x, y, cx=1.0, cy=1.0, at=0.0, width=10.0):
    a = er.sample("a", er.Normal(at, width * cy))
    b = er.sample("b", er.Normal(0, 10 * cy / cx))
    s = er.sample("s", er.HalfNormal(1.0 * cy))
    with er.plate("n", N):
        er.observe("y", er.Normal(a + b * x, s), y)


@er.model
def tailed(y, cy=1.0, width=10.0):
    a = er.sample("a", er.Normal(0, width * cy))
    s = er.sample("s", er.HalfCauchy(1.0 * cy))
    nu = er.sample("nu", er.Gamma(2, 0.1))
    with er.plate("n", N):
        er.observe("y", er.StudentT(nu, a, s), y)


@er.model
def counts(x, y, cx=1.0):
    a = er.sample("a", er.Normal(0, 3))
    b = er.sample("b", er.Normal(0, 5 / cx))
    with er.plate("n", N):
        er.observe("y", er.Poisson(er.math.exp(a + b * x)), y)


@er.model
def slopes(x, y, cx=1.0, cy=1.0):
    mu, mb = er.sample("mu", er.Normal(0, 5 * cy)), er.sample("mb", er.Normal(0, 5 * cy / cx))
    ta, tb = er.sample("ta", er.HalfNormal(2 * cy)), er.sample("tb", er.HalfNormal(2 * cy / cx))
    s = er.sample("s", er.HalfNormal(2 * cy))
    with er.plate("g", 8):
        a, b = er.sample("a", er.Normal(mu, ta)), er.sample("b", er.Normal(mb, tb))
    with er.plate("n", N):
        er.observe("y", er.Normal(a[GROUP] + b[GROUP] * x, s), y)


@er.model
def weights(x, y):
    """Priors of the data's own size."""
    a = er.sample("a", er.Normal(er.math.mean(y), 2.5 * er.math.std(y)))
    b = er.sample("b", er.Normal(0, 2.5 * er.math.std(y) / er.math.std(x)))
    s = er.sample("s", er.Exponential(1 / er.math.std(y)))
    with er.plate("n", N):
        er.observe("y", er.Normal(a + b * x, s), y)


CASES = {
    "x and y": (line(X, Y), line(X * 1e-6, Y * 3e9, 1e-6, 3e9), {"a": 3e9, "b": 3e15, "s": 3e9}, 0.0),
    "small": (line(X, Y), line(X * 1e9, Y * 1e-9, 1e9, 1e-9), {"a": 1e-9, "b": 1e-18, "s": 1e-9}, 0.0),
    "far": (line(X, Y), line(X, Y + 1e6, at=1e6), {"a": 1, "b": 1, "s": 1}, 1e6),
    "far, a wide prior": (line(X, Y, width=1e7), line(X, Y + 1e6, width=1e7), {"a": 1, "b": 1, "s": 1}, 1e6),
    "tails": (tailed(Y), tailed(Y * 1e-9, 1e-9), {"a": 1e-9, "s": 1e-9, "nu": 1}, 0.0),
    "tails, far": (tailed(Y, width=1e7), tailed(Y + 1e6, width=1e7), {"a": 1, "s": 1, "nu": 1}, 1e6),
    "a logarithm": (counts(X, COUNTS), counts(X * 1e9, COUNTS, 1e9), {"a": 1, "b": 1e-9}, 0.0),
    "groups": (
        slopes(X, GROUPED),
        slopes(X * 1e-6, GROUPED * 3e9, 1e-6, 3e9),
        {"mu": 3e9, "mb": 3e15, "ta": 3e9, "tb": 3e15, "s": 3e9, "a[0]": 3e9, "b[7]": 3e15},
        0.0,
    ),
    "priors from the data": (
        weights(X, Y),
        weights(X * 1e-6, Y * 3e9),
        {"a": 3e9, "b": 3e15, "s": 3e9},
        0.0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_posterior_follows_its_units(name):
    plain, moved, size, shift = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        one, other = (er.fit(p, num_draws=16_000, refine=False, progress=False) for p in (plain, moved))
    assert other.verdict == "trusted"
    one, other = one.summary(), other.summary()
    for label, unit in size.items():
        sd = one["sd"][label]
        mean = (other["mean"][label] - (shift if label == "a" else 0.0)) / unit
        assert abs(mean - one["mean"][label]) < 0.05 * sd  # 16,000 draws: five standard errors
        assert abs(other["sd"][label] / unit / sd - 1) < 0.05


def test_chains_alone_follow_their_units():
    plain, moved, size, _ = CASES["x and y"]
    one = er.fit(plain, num_draws=8_000, refine=False, progress=False).summary()
    other = er.fit(moved, None, progress=False).summary()
    for label, unit in size.items():
        assert abs(other["mean"][label] / unit - one["mean"][label]) < 0.15 * one["sd"][label]
        assert abs(other["sd"][label] / unit / one["sd"][label] - 1) < 0.15


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_units_are_those_that_priors_declare(backend):
    loc, scale = line(X, Y, 1e-6, 1e9, 1e12).target(backend).units
    np.testing.assert_allclose(loc, [1e12, 0, np.log(1e9)])
    np.testing.assert_allclose(scale, [1e10, 1e16, 1])
    loc, scale = weights(X, Y + 1e6).target(backend).units
    np.testing.assert_allclose(loc, [np.mean(Y) + 1e6, 0, 0])
    loc, scale = slopes(X, GROUPED).target(backend).units  # near enough to one around 0
    assert (loc == 0).all() and (scale == 1).all()


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(
    ("law", "loc", "scale"),
    [
        (er.Normal([1e5, 0], [1.0, 1e5]), [1e5, 0], [1, 1e5]),
        (er.StudentT(3, 1e5, 2.0), [1e5], [2]),
        (er.LogNormal(20.0, 2.0), [20], [2]),
        (er.HalfCauchy(1e6), [np.log(1e6)], [1]),
        (er.HalfNormal(1e6), [np.log(1e6)], [1]),
        (er.Exponential(1e6), [-np.log(1e6)], [1]),
        (er.Gamma(2.0, 1e6), [-np.log(1e6)], [1]),
        (er.InverseGamma(2.0, 1e6), [np.log(1e6)], [1]),
        (er.Weibull(1e6, 2.0), [np.log(1e6)], [1]),
        (er.MultivariateNormal(np.zeros(2), np.diag([1e10, 1e-10])), [0, 0], [1e5, 1e-5]),
        (er.Beta(2, 2), [0], [1]),
        (er.ImproperUniform(), [0], [1]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_units_of_laws(law, loc, scale, backend):
    @er.model
    def one(y):
        z = er.sample("z", law.to_event(1) if type(law).__name__ == "Normal" else law)
        er.factor("y", -(er.math.sum(z) ** 2) * er.math.sum(y))

    found = one(np.ones(2)).target(backend).units
    np.testing.assert_allclose(found[0], loc)
    np.testing.assert_allclose(found[1], scale)

"""Each check sees the misfit that it is for and is quiet on a right model."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from elboroom.diagnostics import check, fits_data
from elboroom.diagnostics.checks import pit, residuals
from elboroom.diagnostics.checks.judge import LEVEL, Test, judged, probabilities, surprise
from elboroom.diagnostics.checks.outcome import Outcome
from elboroom.diagnostics.checks.predictions import outcomes
from elboroom.inference.posterior.posterior import Posterior
from elboroom.ppl.distributions import measure_of
from elboroom.ppl.sites import Site

import elboroom as er


@dataclass(frozen=True, eq=False)
class Stated(Posterior):
    """A posterior whose draws are stated rather than made."""

    draws: dict[str, xr.Dataset] = None


def posterior(observed, replicated, discrete, distribution, seed=0, **data):
    """One of replicates that are given."""
    site = Site(
        "y", "observed", distribution, is_discrete=discrete, measure=measure_of(distribution, discrete)
    )
    draws = {
        "observed_data": xr.Dataset({"y": ("row", observed)}),
        "posterior_predictive": xr.Dataset({"y": (("chain", "draw", "row"), replicated[None])}),
    }
    parts = SimpleNamespace(
        observed={"y": site},
        seed=seed,
        constant_data=data,
        observed_data={},
        target=None,
        saved={},
        latents=[],
        settings={},
        reported={},
        program=None,
    )
    return Stated(parts, draws)


def normal(rng, y):
    """Posterior predictive draws of a normal with unknown mean and sd, flat prior."""
    n, s = len(y), 1000
    sd = np.sqrt((n - 1) * y.var(ddof=1) / rng.chisquare(n - 1, s))
    mean = y.mean() + sd / np.sqrt(n) * rng.normal(size=s)
    return mean[:, None] + sd[:, None] * rng.normal(size=(s, n))


def poisson(rng, y):
    rate = rng.gamma(y.sum() + 1, 1 / len(y), 1000)
    return rng.poisson(rate[:, None], (1000, len(y))).astype(float)


def logistic(rng, x, y):
    """Predictive draws of a linear logistic regression by its Laplace approximation."""
    design, beta = np.column_stack([np.ones_like(x), x]), np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        beta = beta + np.linalg.solve(hessian, design.T @ (y - p))
    draws = rng.multivariate_normal(beta, np.linalg.inv(hessian), 1000)
    p = 1 / (1 + np.exp(-draws @ design.T))
    return (rng.uniform(size=p.shape) < p).astype(float)


def right(kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "continuous":
        y = rng.normal(3, 2, 200)
        return posterior(y, normal(rng, y), False, "Normal")
    if kind == "count":
        y = rng.poisson(4, 200).astype(float)
        return posterior(y, poisson(rng, y), True, "Poisson")
    x = rng.normal(size=400)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(-x))).astype(float)
    return posterior(y, logistic(rng, x, y), True, "BernoulliLogits", x=x)


def wrong(kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "continuous":
        y = rng.standard_t(2, 200)
        return posterior(y, normal(rng, y), False, "Normal")
    if kind == "count":
        y = rng.negative_binomial(1, 0.2, 200).astype(float)
        return posterior(y, poisson(rng, y), True, "Poisson")
    x = rng.normal(size=400)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(-2 * (x**2 - 1) - 0.5 * x))).astype(float)
    return posterior(y, logistic(rng, x, y), True, "BernoulliLogits", x=x)


@pytest.mark.parametrize("kind", ["continuous", "count", "binary"])
def test_right_models_fit(kind):
    flagged = sum(fits_data(right(kind, seed)) is False for seed in range(30))
    assert flagged <= 2  # about 2% each: three or more of 30 has probability 2%


@pytest.mark.parametrize("kind", ["continuous", "count", "binary"])
def test_wrong_models_do_not(kind):
    assert all(fits_data(wrong(kind, seed)) is False for seed in range(5))


def test_nothing_to_assess():
    few = posterior(np.zeros(3), np.zeros((10, 3)), False, "Normal")
    assert fits_data(few) is None


def test_an_outcome_that_no_check_could_use_is_named():
    one = right("continuous", 0)
    one._record.observed["grade"] = Site(
        "grade", "observed", "Categorical", is_discrete=True, measure="nominal"
    )
    one.draws["observed_data"]["grade"] = ("few", np.zeros(3))
    assert [f.verdict for f in check(one) if f.quantity == "grade"] == ["not assessable"]
    assert fits_data(one) is True


@pytest.mark.parametrize("num_rows", [6, 100, 5000])
def test_the_band_has_its_level(num_rows):
    x = np.sort(np.random.default_rng(1).uniform(size=(4000, num_rows)), axis=1)[:, pit.ranks(num_rows) - 1]
    low, high = pit.band(num_rows)
    outside = ((x < low) | (x > high)).any(1).mean()
    assert abs(outside - LEVEL) < 0.01  # 3 standard errors of both simulations


@pytest.mark.slow
def test_many_rows_and_few_draws_raise_no_alarm():
    alarms = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        n, s = 20_000, 200
        p = rng.beta(8000, 12_000, s)
        replicated = (rng.uniform(size=(s, n)) < p[:, None]).astype(float)
        y = (rng.uniform(size=n) < p[0]).astype(float)
        alarms += fits_data(posterior(y, replicated[1:], True, "Bernoulli")) is False
    assert alarms <= 1  # 1% each: two or more of 8 has probability 0.3%
    rng = np.random.default_rng(0)
    y, replicated = rng.normal(size=100_000), rng.normal(size=(150, 100_000))
    assert fits_data(posterior(y, replicated, False, "Normal")) is True


@pytest.mark.slow
def test_counts_that_are_zero_and_one_are_counts():
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=200) < 0.5).astype(float)  # less dispersed than any Poisson

    @er.model
    def rate(y):
        lam = er.sample("lam", er.Gamma(1.0, 1.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Poisson(lam), y)

    assert fits_data(er.fit(rate(y), refine=False, progress=False)) is False


@er.model
def bell(y):
    m, s = er.sample("m", er.Normal(0, 10)), er.sample("s", er.HalfNormal(10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(m, s), y)


@pytest.mark.slow
def test_statistics_are_judged_as_after_a_fit():
    """A statistic that a fit takes in, here the skew, varies less over data that the model was fitted to."""
    values, raw = [], []
    for seed in range(40):
        y = np.random.default_rng(seed).normal(size=60)
        (outcome,) = outcomes(er.fit(bell(y), refine=False, progress=False, num_draws=1000))
        observed, replicated = ((z**3).mean(-1) / (z**2).mean(-1) ** 1.5 for z in outcome.standardised)
        spread = outcome.refitted(replicated).std()
        values.append(observed / spread), raw.append(observed / replicated.std())
    assert abs(np.std(values) - 1) < 0.34  # three standard errors, 1 / sqrt(80) each
    assert np.std(raw) < 0.65


def test_tails_go_on_where_the_draws_end():
    from scipy import stats

    rng = np.random.default_rng(0)
    laws = {"half-normal": stats.halfnorm, "exponential": stats.expon, "heavy": stats.lomax(5.0)}
    for law in laws.values():
        draws = law.rvs(size=4000, random_state=rng)
        found = [surprise(np.append(draws, law.isf(p)))[-1] for p in (0.3, 0.05, 1e-3, 1e-4)]
        np.testing.assert_allclose(found, -np.log([0.3, 0.05, 1e-3, 1e-4]), atol=1.0)


def test_many_covariates_do_not_hide_a_misfit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(-2 * (x**2 - 1)))).astype(float)
    data = {f"noise{i}": rng.normal(size=400) for i in range(22)}
    assert fits_data(posterior(y, logistic(rng, x, y), True, "BernoulliLogits", x=x, **data)) is False


def test_dispersion_is_seen_with_few_draws():
    rng = np.random.default_rng(0)
    y, replicated = 1.1 * rng.normal(size=5000), rng.normal(size=(300, 5000))
    found = {f.name: f.verdict for f in check(posterior(y, replicated, False, "Normal"))}
    assert found["dispersion"] == "misfit" and found["tail weight"] == found["skew"] == "ok"


def seen(y, replicated, discrete=False, distribution="Normal", **data):
    """Names of the checks that see a misfit."""
    return {
        f.name
        for f in check(posterior(y, replicated, discrete, distribution, **data))
        if f.verdict == "misfit"
    }


def test_a_group_that_is_left_out_is_seen_and_one_that_is_there_is_not():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 20, 300)
    y = rng.normal(size=300) + 0.7 * rng.normal(size=20)[group]
    other = rng.integers(0, 20, 300)
    assert "groups" in seen(y, normal(rng, y), group=group)
    assert "groups" not in seen(y, normal(rng, y), other=other)
    words = next(
        f.advice
        for f in check(posterior(y, normal(rng, y), False, "Normal", group=group))
        if f.name == "groups"
    )
    assert "groups of group" in words


def test_a_curve_is_seen_along_its_predictor():
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = 0.5 * x**2 + rng.normal(size=300)
    assert "curve" in seen(y, normal(rng, y), x=x, noise=rng.normal(size=300))
    y = rng.normal(size=300)
    assert "curve" not in seen(y, normal(rng, y), x=x, noise=rng.normal(size=300))


def test_dependence_in_time_is_seen_along_the_column_of_time():
    rng = np.random.default_rng(0)
    y = np.zeros(200)
    for t in range(1, 200):
        y[t] = 0.5 * y[t - 1] + rng.normal()
    assert "dependence on the rows before" in seen(y, normal(rng, y))
    order = rng.permutation(200)
    assert "dependence on the rows before" not in seen(y[order], normal(rng, y))
    assert "dependence on the rows before" in seen(y[order], normal(rng, y), month=order.astype(float))


def test_categories_and_orders_have_their_calibration():
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    noise = rng.normal(size=600)
    y = np.digitize(1.5 * x + noise, [-1, 0, 1]).astype(float)
    share = np.bincount(y.astype(int)) / 600
    blind = rng.choice(4, (500, 600), p=share).astype(float)
    right = np.digitize(1.5 * x + rng.normal(size=(500, 600)), [-1, 0, 1]).astype(float)
    for distribution in ("Categorical", "OrderedLogistic"):
        assert seen(y, blind, True, distribution, x=x) == {"calibration"}
        assert seen(y, right, True, distribution, x=x) == set()


def test_coverage_is_that_of_replicated_data():
    rng = np.random.default_rng(0)
    y = 0.6 * rng.normal(size=400)
    assert "coverage" in seen(y, rng.normal(size=(500, 400)))


def test_statistics_of_the_users_own():
    rng = np.random.default_rng(0)
    y = rng.normal(size=100)
    y[7] = 9.0
    one = posterior(y, rng.normal(size=(500, 100)), False, "Normal")
    found = {f.name: f.verdict for f in check(one, {"largest": np.max, "median": np.median})}
    assert found["largest"] == "misfit" and found["median"] == "ok"
    for bad, words in (
        (lambda y: y, "shape"),
        (lambda y: 1 / 0, "ZeroDivision"),
        (lambda y: np.nan, "finite"),
    ):
        with pytest.raises(er.DataError, match=words):
            check(one, {"bad": bad})


def test_equal_rows_raise_no_error():
    found = check(posterior(np.ones(50), np.ones((400, 50)), False, "Normal", x=np.arange(50.0)))
    assert {f.verdict for f in found} <= {"ok", "not assessable"}


def test_many_statistics_that_go_together_count_as_one():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=1000)
    same = [Test("a", "y", "", 3.5, draws, "", "") for _ in range(50)]
    apart = [Test("a", "y", "", 3.5, rng.normal(size=1000), "", "") for _ in range(50)]
    assert probabilities(same)[0] < 0.005 < probabilities(apart)[0]


def test_what_stands_out_in_its_check_alone_is_perhaps_chance():
    rng = np.random.default_rng(0)
    tests = [Test(f"c{k}", "y", "", 0.0, rng.normal(size=1000), "bad", "fine") for k in range(30)]
    tests[0] = Test("c0", "y", "", 2.6, tests[0].replicated, "bad", "fine")
    found = judged(tests)
    assert found[0].verdict == "caution" and found[0].advice == "Perhaps chance: bad"
    assert {f.verdict for f in found[1:]} == {"ok"}


def test_long_data_are_taken_by_some_rows():
    from elboroom.diagnostics.checks import predictions
    from elboroom.diagnostics.thresholds import MOST_ROWS

    rng = np.random.default_rng(0)
    n = MOST_ROWS + 10_000
    one = posterior(rng.normal(size=n), rng.normal(size=(350, n)), False, "Normal")
    (outcome,) = predictions.outcomes(one)
    assert isinstance(outcome, Outcome) and len(outcome.observed) == MOST_ROWS and not outcome.whole


def test_outcomes_in_which_latent_values_take_part_are_not_assessable():
    @er.model
    def lagged(y):
        a = er.sample("a", er.Normal(0, 1))
        with er.plate("row", len(y) - 1):
            er.observe("left", er.Normal(0, 1), y[1:] - a * y[:-1])

    fitted = er.fit(lagged(np.random.default_rng(0).normal(size=20)), progress=False)
    assert [f.verdict for f in fitted.check()] == ["not assessable"]
    assert fits_data(fitted) is None


def test_predictions_that_their_own_rows_have_pulled_are_no_axis():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(40), 5)

    @er.model
    def partly_pooled(group, y):
        mu, tau = er.sample("mu", er.Normal(0, 5)), er.sample("tau", er.HalfNormal(2))
        with er.plate("group", 40):
            effect = er.sample("effect", er.Normal(mu, tau))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(effect[group], 1.0), y)

    y = rng.normal(size=40)[group] + rng.normal(size=200)
    fitted = er.fit(partly_pooled(group, y), refine=False, progress=False)
    (outcome,) = outcomes(fitted)
    means = np.array([y[group == g].mean() for g in range(40)])
    weight = 5 * fitted.draws["posterior"]["tau"].values.ravel() ** 2
    weight = (weight / (weight + 1)).mean()  # of a group's mean in its effect
    expected = outcome.replicated.mean(0)
    lean = 40 * weight / np.sqrt(((expected - expected.mean()) ** 2).sum())
    assert abs(outcome.pull(expected) / lean - 1) < 0.35  # noise of a leverage from 200 pairs
    assert means.std() > 0.5 and outcome.pull(expected) > 1.5
    assert "the prediction" not in {test.along for test in residuals.tests(outcome)}

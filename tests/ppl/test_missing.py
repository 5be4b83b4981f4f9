"""Missing values: left out and predicted, or imputed where something depends on them, or refused."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import elboroom as er

RNG = np.random.default_rng(0)
X = RNG.normal(size=40)
Y = 1 + 2 * X + 0.5 * RNG.normal(size=40)
GAPS = [5, 6, 20]


def holed(values, rows=GAPS):
    out = np.array(values, float)
    out[rows] = np.nan
    return out


@er.model
def line(x, y):
    a = er.sample("a", er.Normal(0, 5))
    b = er.sample("b", er.Normal(0, 5))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x, 0.5), y)


@er.model
def both(x, y):
    m = er.sample("m", er.Normal(0, 1))
    a = er.sample("a", er.Normal(0, 5))
    b = er.sample("b", er.Normal(0, 5))
    with er.plate("row", len(x)):
        x = er.observe("x", er.Normal(m, 1), x)
        er.observe("y", er.Normal(a + b * x, 0.5), y)


def test_missing_outcomes_leave_the_density():
    rest = np.delete(np.arange(40), GAPS)
    values = {"a": 0.3, "b": 1.1}
    program = line(X, holed(Y))
    assert program.trace().missing == {"y": "masked"}
    assert program.log_density(values) == pytest.approx(line(X[rest], Y[rest]).log_density(values), abs=1e-9)


@pytest.mark.parametrize(
    "values",
    [
        np.ma.masked_array(Y, np.isin(np.arange(40), GAPS)),
        pd.Series(holed(Y)),
        pd.Series(holed(np.round(Y))).astype("Int64"),
    ],
)
def test_containers_say_what_is_missing_in_their_own_way(values):
    assert line(X, values).trace().missing == {"y": "masked"}


def test_a_missing_covariate_is_imputed_as_its_conditional():
    program = both(holed(X), Y)
    assert program.trace().missing == {"x": "imputed"}
    assert program.trace()["x_missing"].shape == (3,)
    values = {"m": 0.2, "a": 1.0, "b": 1.9, "x_missing": np.array([0.1, -0.4, 0.9])}
    x = holed(X)
    x[GAPS] = values["x_missing"]
    expected = (
        stats.norm.logpdf(0.2)
        + stats.norm.logpdf([1.0, 1.9], 0, 5).sum()
        + stats.norm.logpdf(x, 0.2).sum()
        + stats.norm.logpdf(Y, 1.0 + 1.9 * x, 0.5).sum()
    )
    assert program.log_density(values) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_a_fit_predicts_missing_outcomes_and_imputes_covariates():
    x, y = holed(X, [3, 4]), holed(Y)
    posterior = er.fit(both(x, y), progress=False)
    assert posterior.verdict == "trusted"
    assert {f.quantity for f in posterior.findings if f.name == "missing values"} == {"x", "y"}
    a, b, m = (posterior.values[k] for k in "abm")
    drawn = posterior.draws["posterior_predictive"]["y"].values[0]
    assert np.allclose(drawn[:, GAPS].mean(0), a.mean() + b.mean() * X[GAPS], atol=0.1)
    # conditional of x given y: precision-weighted, at the posterior means
    precision = 1 + (b.mean() / 0.5) ** 2
    expected = (m.mean() + (Y[[3, 4]] - a.mean()) * b.mean() / 0.25) / precision
    assert np.allclose(posterior.values["x_missing"].mean(0), expected, atol=0.1)
    pointwise = posterior.draws["log_likelihood"]["y"].values[0]
    assert (pointwise[:, GAPS] == 0).all() and (np.delete(pointwise, GAPS, 1) != 0).all()
    assert posterior.check() and er.diagnostics.fits_data(posterior) is True


def test_prediction_imputes_afresh():
    posterior = er.fit(both(holed(X), Y), progress=False)
    made = posterior.predict(x=np.array([0.0, np.nan]), num_draws=2000)["posterior_predictive"]["y"].values[0]
    b = posterior.values["b"].mean()
    assert made[:, 0].std() == pytest.approx(0.5, abs=0.05)
    assert made[:, 1].std() == pytest.approx(np.hypot(0.5, b), rel=0.1)  # the covariate's prior comes on top


def test_a_gap_in_a_joint_outcome_is_imputed():
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])

    @er.model
    def pairs(y):
        mu = er.sample("mu", er.Normal(0, 1).expand([2]))
        with er.plate("row", len(y)):
            er.observe("y", er.MultivariateNormal(mu, covariance_matrix=covariance), y)

    y = np.random.default_rng(1).normal(size=(6, 2))
    y[2, 1] = np.nan
    program = pairs(y)
    assert program.trace().missing == {"y": "imputed"}
    posterior = er.fit(program, progress=False)
    mu = posterior.values["mu"].mean(0)
    expected = mu[1] + 0.6 * (y[2, 0] - mu[0])
    assert posterior.values["y_missing"].mean() == pytest.approx(expected, abs=0.1)


def test_what_cannot_be_imputed_is_refused_with_its_rows():
    @er.model
    def chain(count, y):
        rate = er.sample("rate", er.HalfNormal(5))
        with er.plate("row", len(y)):
            count = er.observe("count", er.Poisson(rate), count)
            er.observe("y", er.Normal(count, 1), y)

    count = np.array([1.0, np.nan, 3.0])
    with pytest.raises(er.UnsupportedError, match=r"missing rows \[1\]"):
        chain(count, np.zeros(3)).trace()

    with pytest.raises(er.DataError, match=r"argument 'x'.*rows \[5, 6, 20\]"):
        line(holed(X), Y).trace()


def test_missing_counts_are_masked():
    @er.model
    def counts(y):
        rate = er.sample("rate", er.Gamma(2, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Poisson(rate), y)

    y = np.array([1.0, np.nan, 3.0, 0.0])
    assert counts(y).log_density({"rate": 1.5}) == pytest.approx(
        stats.gamma.logpdf(1.5, 2) + stats.poisson.logpmf([1, 3, 0], 1.5).sum(), abs=1e-9
    )


def test_other_gaps_compile_nothing():
    first, second = line(X, holed(Y)), line(X, holed(Y, [0, 9]))
    assert first.target().density is second.target().density


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_independent_elements_of_one_event_may_be_missing_one_by_one(backend):
    y = np.random.default_rng(0).binomial(1, 0.3, (20, 3)).astype(float)
    y[:7, 0] = y[5:9, 2] = y[12] = np.nan

    @er.model
    def answers(y):
        p = er.sample("p", er.Beta(np.ones(3), 1.0).to_event(1))
        with er.plate("person", len(y)):
            er.observe("y", er.Bernoulli(p).to_event(1), y)

    program, there = answers(y), ~np.isnan(y)
    assert program.trace(backend).missing == {"y": "masked"}

    @er.model
    def expanded(y):
        p = er.sample("p", er.Beta(np.ones(3), 1.0).to_event(1))
        with er.plate("person", len(y)):
            er.observe("y", er.Bernoulli(p).to_event(1).expand([len(y)]), y)

    p = np.array([0.2, 0.5, 0.7])
    same = expanded(y).target(backend).log_joint({"p": p})
    assert same == pytest.approx(program.target(backend).log_joint({"p": p}), abs=1e-9)
    exact = np.where(there, stats.bernoulli.logpmf(np.nan_to_num(y), p), 0.0)
    assert program.target(backend).log_joint({"p": p}) == pytest.approx(exact.sum(), abs=1e-9)
    posterior = er.fit(program, backend=backend, progress=False)
    rows = posterior.draws["log_likelihood"]["y"].values[0]
    values = posterior.values["p"][:50]
    expected = np.where(there, stats.bernoulli.logpmf(np.nan_to_num(y), values[:, None]), 0.0).sum(2)
    np.testing.assert_allclose(rows[:50], expected, atol=1e-6)
    beta = stats.beta(1 + np.nansum(y, 0), 1 + there.sum(0) - np.nansum(y, 0))
    table = posterior.summary()
    assert (table["verdict"] == "trusted").all()
    assert np.all(np.abs(table["mean"] - beta.mean()) < 0.1 * beta.std())
    from elboroom.diagnostics.checks.loo import leave_one_out

    found = leave_one_out(posterior)["y"]
    assert len(found.elpd) == 19  # all but the row of which nothing is there

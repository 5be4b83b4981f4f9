"""Batches by themselves: where a gradient over all rows would take too much memory, and nowhere else."""

import numpy as np
import pytest
from elboroom.inference.batches import minibatch as room

import elboroom as er

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20_000, 3))
Y = X @ [1.0, -0.5, 0.2] + RNG.normal(size=20_000)


@er.model
def regression(x, y):
    b = er.sample("b", er.Normal(0, 10).expand([3]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


@er.model
def centred(x, y):
    b = er.sample("b", er.Normal(0, 10).expand([3]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal((x - er.math.mean(x, axis=0)) @ b, 1.0), y)


def small(monkeypatch):
    monkeypatch.setattr(room, "available", lambda: 8e6)


def test_only_where_memory_is_short(monkeypatch):
    target = regression(X, Y).target()
    assert room.automatic(target) is None
    small(monkeypatch)
    batches = room.automatic(target)
    assert batches.rows == "row" and 256 <= batches.size <= 20_000 / 16
    assert (
        room.automatic(centred(X, Y).target()) is None
    )  # rows that know of each other cannot be taken apart


@pytest.mark.slow
def test_the_answer_is_that_of_all_rows(monkeypatch):
    small(monkeypatch)
    posterior = er.fit(regression(X, Y), progress=False)
    found = next(f for f in posterior.findings if f.name == "batches")
    assert "rows at a time" in found.advice
    precision = X.T @ X + np.eye(3) / 100
    mean, sd = np.linalg.solve(precision, X.T @ Y), np.sqrt(np.diag(np.linalg.inv(precision)))
    table = posterior.summary()
    assert np.all(np.abs(table["mean"] - mean) < 0.15 * sd) and np.all(np.abs(table["sd"] / sd - 1) < 0.15)

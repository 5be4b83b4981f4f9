"""Fits of more rows than a posterior can hold, and fits that were cut short."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.deep import kept, training

import elboroom as er

pytestmark = pytest.mark.slow  # each trains encoders

SLOPE = np.array([1.0, -1.0, 2.0])


@er.model
def line(x, kind):
    """A line in three dimensions, beside a shift of two kinds of rows."""
    log_sd = er.param("log_sd", -1.0)
    shift = er.param("shift", np.zeros(2))
    slope = er.module("slope", er.nn.MLP(1, [], 3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(slope(z) + shift[kind][:, None], er.math.exp(log_sd)).to_event(1), x)


def rows(num, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.where(rng.uniform(size=num) < 0.5, "b", "a")
    x = rng.normal(size=(num, 1)) * SLOPE + 0.4 * rng.normal(size=(num, 3)) + (kind == "a")[:, None]
    return {"x": x, "kind": kind}


def exact(weights, x, kind):
    """Posterior means of the rows, and their common sd."""
    w, sd = np.asarray(weights["slope.layers.0.weight"], float)[:, 0], np.exp(float(weights["log_sd"]))
    shift = (
        np.asarray(weights["slope.layers.0.bias"], float)
        + np.asarray(weights["shift"])[(kind == "b") * 1][:, None]
    )
    precision = 1 + w @ w / sd**2
    return (x - shift) @ w / sd**2 / precision, precision**-0.5


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_some_of_very_many_rows_are_held_and_are_right(backend, monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "LARGEST_BLOCK", 2**14)
    monkeypatch.setattr(kept, "AUDITED", 40)
    data = rows(1000)
    program = line(**data)
    posterior = er.fit(program, guide=er.Amortized(), backend=backend, progress=False, num_draws=200)
    latent, held = posterior.latent, posterior.latent.positions
    assert len(held) == len(posterior.summary()) == 163  # of 2^14 numbers at a hundred draws
    assert 0 <= held.min() and held.max() < 1000 and len(np.unique(held)) == 163
    assert len(latent.held_out) == 81
    mean, sd = exact(posterior.weights, data["x"][held], data["kind"][held])
    table = posterior.summary()
    np.testing.assert_allclose(table["mean"], mean, atol=0.1 * sd)
    np.testing.assert_allclose(table["sd"], sd, rtol=0.1)
    assert "rows that are kept" in [finding.name for finding in posterior.findings]
    assert posterior.verdict == "trusted"
    new = rows(20, seed=1)
    found = latent.encode(new)
    np.testing.assert_allclose(found["mean"][:, 0], exact(posterior.weights, **new)[0], atol=0.1 * sd)
    posterior.save(tmp_path / "kept")
    again = er.load(tmp_path / "kept", program=line(**data))  # of all rows
    assert not {"foreign program", "other data"} & {finding.name for finding in again.findings}
    np.testing.assert_array_equal(again.latent.positions, held)
    np.testing.assert_allclose(again.latent.embed(new), latent.embed(new), atol=1e-5)
    np.testing.assert_allclose(again.latent.embed(), latent.embed(), atol=1e-5)


def test_a_training_that_was_cut_short_is_never_trusted(tmp_path):
    data, guide = rows(200), er.Amortized()
    whole = er.fit(line(**data), guide=guide, progress=False, num_draws=200)
    assert whole.verdict == "trusted" and "learning" not in [finding.name for finding in whole.findings]
    cut = er.fit(line(**data), guide=guide, progress=False, num_draws=200, max_seconds=1e-9)
    finding = next(f for f in cut.findings if f.name == "learning")
    assert finding.verdict == "untrusted" and "Give the fit more time" in finding.advice
    assert "trusted" not in set(cut.summary()["verdict"])
    assert "trusted" not in set(cut.latent.encode()["verdict"].to_numpy())
    assert cut.verdict != "trusted"
    cut.save(tmp_path / "cut")
    again = er.load(tmp_path / "cut", program=line(**data))
    assert "trusted" not in set(again.latent.encode()["verdict"].to_numpy())
    assert "trusted" not in set(again.latent.score()["verdict"].to_numpy())


def test_a_training_that_reaches_the_step_limit_says_so(monkeypatch):
    monkeypatch.setattr(training, "MOST_DEEP_STEPS", 150)
    posterior = er.fit(line(**rows(200)), guide=er.Amortized(), progress=False, num_draws=200)
    finding = next(f for f in posterior.findings if f.name == "learning")
    assert finding.verdict == "caution" and "step limit" in finding.advice

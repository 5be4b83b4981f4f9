"""Laws of rows that are bent: their density, and posteriors that no Gaussian comes near to."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.guides.laws import HEADS, Law, log_prob, log_prob_wider, moments, placed
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.evidence import encoded
from elboroom.inference.deep.setup import set_up
from scipy.special import logsumexp
from scipy.stats import norm

import elboroom as er

pytestmark = pytest.mark.slow  # each trains encoders


def some_law(units, rng, rows=3):
    """One that bends a lot."""
    arrays = {k: v + 0.4 * rng.normal(size=v.shape) for k, v in HEADS["flow"].arrays(units, rng).items()}
    bend = rng.normal(size=(rows, 2 * units))
    return Law(rng.normal(size=(rows, units)), 0.3 * rng.normal(size=(rows, units)), None, bend, arrays)


@pytest.mark.parametrize("units", [1, 2, 5])
def test_the_density_is_that_of_the_draws(units):
    rng = np.random.default_rng(units)
    law = some_law(units, rng)
    eps = rng.normal(size=(4, 3, units))
    z = placed(law, eps)
    step, jacobian = 1e-5, np.empty((4, 3, units, units))
    for i in range(units):
        move = np.zeros(units)
        move[i] = step
        jacobian[..., i] = (placed(law, eps + move) - placed(law, eps - move)) / (2 * step)
    wanted = norm.logpdf(eps).sum(-1) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(log_prob(law, z), wanted, atol=2e-4)
    far = norm.logpdf(eps, scale=1.4).sum(-1) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(
        log_prob_wider(law, z, 1.4)[1], np.logaddexp(wanted, far) - np.log(2), atol=2e-4
    )


def test_the_density_of_one_unit_has_mass_one():
    law = some_law(1, np.random.default_rng(3), rows=1)
    grid = np.sinh(np.linspace(-9, 9, 400_001))
    mass = np.exp(log_prob(law, grid[:, None, None]))[:, 0]
    assert np.trapezoid(mass, grid) == pytest.approx(1, abs=1e-5)
    mean = np.trapezoid(mass * grid, grid)
    sd = np.sqrt(np.trapezoid(mass * (grid - mean) ** 2, grid))
    found = moments(law)
    assert found[0][0, 0] == pytest.approx(mean, abs=0.15 * sd)
    assert found[1][0, 0] == pytest.approx(sd, rel=0.2)


@er.model
def banana(x, y):
    """The rows' laws are curved: what is seen is a sum with a square, and a coordinate with much noise."""
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z[:, 1] + z[:, 0] ** 2, 0.3), x)
        er.observe("y", er.Normal(z[:, 0], 2.0), y)


def data(num, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num, 2))
    return z[:, 1] + z[:, 0] ** 2 + 0.3 * rng.normal(size=num), z[:, 0] + 2.0 * rng.normal(size=num)


def log_evidence(x, y):
    """Of a row, by a grid."""
    grid = np.linspace(-6, 6, 1201)
    inner = norm.logpdf(grid) + norm.logpdf(y, grid, 2.0) + norm.logpdf(x, grid**2, np.sqrt(1 + 0.3**2))
    return logsumexp(inner) + np.log(grid[1] - grid[0])


def test_a_flow_comes_nearer_to_a_curved_law_than_a_gaussian(tmp_path, monkeypatch):
    monkeypatch.setattr("elboroom.inference.deep.judged.AUDITED", 10)
    monkeypatch.setattr("elboroom.inference.deep.judged.ROW_WORK", 0)
    x, y = data(600, 0)
    new = data(40, 1)
    evidence = np.array([log_evidence(*row) for row in zip(*new, strict=True)])
    posterior = er.fit(
        banana(x, y), guide=er.Amortized(within="flow"), progress=False, refine=False, num_draws=200
    )
    score = posterior.latent.score({"x": new[0], "y": new[1]})
    assert float((evidence - score["bound"]).mean()) < 0.3  # a dense Gaussian is 0.6 below
    off, fine = np.abs(score["log_prob"] - evidence), score["verdict"] == "trusted"
    assert fine.mean() > 0.4
    assert (off[fine] < 5 * score["se"][fine] + 0.01).mean() > 0.9
    assert (off[fine] < 0.15).all()
    posterior.save(tmp_path / "kept")
    again = er.load(tmp_path / "kept", program=banana(x, y))
    np.testing.assert_allclose(again.latent.embed(), posterior.latent.embed(), rtol=1e-4, atol=1e-4)


def test_both_backends_have_the_same_laws():
    x, y = data(20, 0)
    found = []
    for backend in ("jax", "torch"):
        target = banana(x, y).target(backend, np.float64)
        setup = set_up(er.Amortized(within="flow"), "row", target, 20, 0)
        rng = np.random.default_rng(5)
        weights = {k: target.to_device(v + 0.2 * rng.normal(size=v.shape)) for k, v in setup.begin.items()}
        compiled, params = Compiled(setup.rows, setup.encoder, {}), {"weights": weights, "guide": {}}
        rows, z = np.arange(20), np.random.default_rng(6).normal(size=(4, 20, 2))
        given = {"seed": np.zeros(1, np.int64), "z": z[None], **compiled.batches(rows[None])}
        law = encoded(compiled, params, rows)
        seen = np.asarray(compiled.at({}, given, {**compiled.constants, "params": params})[1]["log_q"])[0]
        np.testing.assert_allclose(seen, log_prob(law, z), rtol=1e-9)
        found.append(seen)
    np.testing.assert_allclose(*found, rtol=1e-9)


@er.model
def learned_banana(x, y):
    """The same with a line beside the square."""
    line = er.module("line", er.nn.MLP(1, [], 1))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z[:, 1] + z[:, 0] ** 2 + line(z[:, :1])[:, 0], 0.3), x)
        er.observe("y", er.Normal(z[:, 0], 2.0), y)


def test_laws_of_rows_are_bent_where_the_weights_of_dense_ones_fail(monkeypatch):
    monkeypatch.setattr("elboroom.inference.deep.fit.LARGEST_DENSE", 100)
    posterior = er.fit(learned_banana(*data(250, 0)), progress=False)
    trained = [line for line in posterior.trail if line.reason.startswith("encoder of 'row'")]
    assert ["full-rank" in trained[0].reason, "flow" in trained[1].reason] == [True, True]
    assert trained[1].elbo > trained[0].elbo


def test_each_row_takes_steps_of_its_own_where_the_encoder_is_what_is_off(monkeypatch):
    """An audit that finds good weights, and an encoder that is off."""
    monkeypatch.setattr("elboroom.inference.deep.judged.ROW_WORK", 0)
    monkeypatch.setattr("elboroom.inference.deep.judged.AUDITED", 100)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 3))
    x = np.sin(2 * z @ rng.normal(size=(3, 6))) + 0.3 * rng.normal(size=(400, 6))

    @er.model
    def waves(x):
        decode = er.module("decode", er.nn.MLP(3, [16], 6))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([3]).to_event(1))
            er.observe("x", er.Normal(decode(z), 0.5).to_event(1), x)

    posterior = er.fit(waves(x), progress=False, num_draws=200)
    lines = [line.reason for line in posterior.trail if "audited rows" in line.reason]
    wrong = [float(line.split("off for ")[1].split("%")[0]) for line in lines]
    assert lines[0].startswith("the encoder alone") and lines[1].startswith("the law of a row after steps")
    assert wrong[1] < 0.3 * wrong[0]

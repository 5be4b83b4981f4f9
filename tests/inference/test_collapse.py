"""Collapse and what follows it, gaps of an encoder, steps of rows of their own, rows known by heart: where the answer is known."""

from __future__ import annotations

import logging
import re
from functools import cache

import numpy as np
import pytest
from elboroom.guides.laws import Law
from elboroom.inference.deep.collapse import told
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.fit import training_findings
from elboroom.inference.deep.objectives import Elbo
from elboroom.inference.deep.setup import set_up
from elboroom.inference.deep.training import Training
from elboroom.inference.run.watch import Watch
from elboroom.inference.thresholds import ACTIVE_NATS, SUNK_STEPS

import elboroom as er

LOADING = np.array([1.5, -1.0, 0.5, 2.0])
BACKENDS = ("jax", "torch")


@er.model
def late(x):
    """A line whose loading has hardly a slope where it begins: the encoder is at its prior before the loading moves."""
    gain = er.param("gain", 0.01)
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1))
        er.observe("x", er.Normal(gain**5 * z[:, None] * LOADING, 0.7).to_event(1), x)


@cache
def on_a_line():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 1)) * LOADING + 0.7 * rng.normal(size=(300, 4))


def fit(program, **options):
    return er.fit(program, **{"guide": er.Amortized(), "validation": 0.3, "progress": False, **options})


def greatest_gain(x):
    """Where the likelihood of the rows on a line is greatest, of a grid."""
    grid = np.linspace(0.8, 1.2, 401)
    along, square = x @ LOADING, LOADING @ LOADING
    scale = [1 / (0.49 + g**10 * square) for g in grid]
    value = [
        0.5 * (along**2).sum() * g**10 / 0.49 * s + 0.5 * len(x) * np.log(s)
        for g, s in zip(grid, scale, strict=True)
    ]
    return grid[int(np.argmax(value))]


@cache
def rescued():
    return fit(late(on_a_line()))


@pytest.mark.slow
def test_a_start_that_collapsed_where_rows_have_structure_is_made_good():
    posterior, x = rescued(), on_a_line()
    lines = [rung.reason for rung in posterior.trail if rung.name == "training"]
    steps, words = re.fullmatch(r"cut short after (\d+) steps: (.*)", lines[0]).groups()
    assert words.startswith("the laws of rows tell nothing") and "are free at first" in lines[1]
    assert (
        int(steps) <= 375
    )  # the gain is at its lowest from the first steps on: 150 of the pilots, 100 and some blocks
    assert len(lines) == 4 and lines[2].startswith("the first start, not cut short: they tell nothing")
    assert posterior.learned["gain"] == pytest.approx(greatest_gain(x), abs=0.02)
    assert not any(f.name == "collapse" for f in posterior.findings)


PAIRS, STYLES, UNITS = 12, 3, 8
"""Of a sequence of questions and answers, which of three styles say whether the answers of a third of it agree."""


@er.model
def answers(x):
    """What comes next by the last number, its place and eight coordinates: by those of the style alone there is no slope at first, as
    agreeing is no matter of one number."""
    place = np.concatenate(
        [np.tile([[0.0], [1.0]], (PAIRS, 1)), np.eye(STYLES).repeat(2 * PAIRS // STYLES, 0)], 1
    )
    decode = er.module("decode", er.nn.MLP(1 + UNITS + 1 + STYLES, [16], 1))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        before = er.math.concat([0 * x[:, :1], 2.0 * x[:, :-1] - 1.0], -1)[..., None]
        shape = (len(x), 2 * PAIRS)
        style = er.math.broadcast_to(z[:, None], (*shape, UNITS))
        given = er.math.concat([before, style, er.math.broadcast_to(place, (*shape, 1 + STYLES))], -1)
        er.observe("x", er.Bernoulli(logits=decode(given)[..., 0]).to_event(1), x)


class Watched(Training):
    """That keeps the divergences of the first start's steps."""

    def __post_init__(self):
        super().__post_init__()
        self.seen = []

    def advance(self, state, first, *args):
        state, seen = super().advance(state, first, *args)
        if self.first and (first or not self.seen):  # the pilot that went on was the first
            self.seen.append(seen["kl"])
        return state, seen


@pytest.mark.slow
def test_a_causal_decoder_that_collapses_is_caught_at_once_and_restarted():
    wrong, rng = 0.12, np.random.default_rng(0)
    x = rng.integers(0, 2, (1000, 2 * PAIRS))
    styles = rng.integers(0, 2, (len(x), STYLES)).repeat(PAIRS // STYLES, 1)
    x[:, 1::2] = x[:, ::2] ^ styles ^ (rng.random((len(x), PAIRS)) < wrong)
    setup = set_up(er.Amortized(), "row", answers(x).target(dtype=np.float32), 64, 0)
    training = Watched(setup, Compiled(setup.rows, setup.encoder, {}), Elbo(), 0.2, 0, Watch(None, False))
    trained = training.run()
    cut = int(re.match(r"cut short after (\d+) steps: the laws of rows tell nothing", trained.told[0])[1])
    mean = np.convolve(np.concatenate(training.seen), np.full(SUNK_STEPS, 1 / SUNK_STEPS), "valid")
    passed = SUNK_STEPS + np.flatnonzero(mean < UNITS * ACTIVE_NATS)[0]  # the threshold
    assert passed <= cut <= passed + 100
    without = -2 * PAIRS * np.log(2)  # the bound of a decoder of pairs that knows no style
    first = float(re.search(r"(-[\d.]+) nats a row", trained.told[-1])[1])
    assert "not cut short: they tell nothing" in trained.told[-1] and first == pytest.approx(
        without, abs=0.05
    )
    assert trained.active >= STYLES and not trained.collapsed
    agree = wrong * np.log(wrong) + (1 - wrong) * np.log(1 - wrong)
    known = PAIRS * (agree - np.log(2)) - STYLES * np.log(
        2
    )  # nearly the greatest bound: styles are certain from four answers
    assert known - 0.6 < trained.bounds[-1, 2] < known + 0.6
    (found,) = [f for f in training_findings(trained) if "collapse" in f.name]
    assert found.verdict == "ok" and "free_bits" in found.advice


@pytest.mark.slow
def test_it_goes_on_in_a_second_start_to_the_same_result(tmp_path, monkeypatch):
    from elboroom.inference.run import checkpoint

    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    kept, program = Training.__post_init__, late(on_a_line())

    def broken(self):
        kept(self)
        keep = self.keep

        def once(make):
            keep(make)
            if any(name.startswith("before/") for name in make()):
                raise KeyboardInterrupt

        if "broken" not in getattr(keep, "__name__", ""):
            once.__name__ = "broken"
            self.keep = once

    monkeypatch.setattr(Training, "__post_init__", broken)
    with pytest.raises(KeyboardInterrupt):
        fit(program, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    again = fit(program, checkpoint=tmp_path / "c")
    np.testing.assert_array_equal(again.learned["gain"], rescued().learned["gain"])


@pytest.mark.slow
def test_a_collapse_that_is_right_stays_and_is_said():
    @er.model
    def loose(x):
        weight = er.param("weight", 0.3 * np.random.default_rng(1).normal(size=(2, 6)))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
            er.observe("x", er.Normal(z @ weight, 1.5).to_event(1), x)

    x = np.random.default_rng(0).normal(size=(300, 6))  # no direction varies as much as the noise
    posterior = fit(loose(x))
    found = next(f for f in posterior.findings if f.name == "collapse")
    assert "3 other starts have no greater bound" in found.advice and found.verdict == "caution"
    assert np.abs(posterior.learned["weight"]).max() < 0.35  # of a noise of 1.5
    table = posterior.summary()
    assert np.abs(table["mean"]).max() < 0.4 and abs(table["sd"].mean() - 1) < 0.05


def test_what_laws_of_rows_tell_is_their_mutual_information():
    """z = x + noise: half the log of one plus signal over noise; of as many rows as there are, no more than the log of these."""
    rng, rows, sd = np.random.default_rng(0), 256, 0.8
    mean = rng.normal(size=(rows, 1))
    values = [told(Law(mean, np.full((rows, 1), np.log(sd))), seed)[0] for seed in range(40)]
    se = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(0.5 * np.log(1 + mean.var() / sd**2), abs=4 * se + 0.02)
    still = told(Law(np.zeros((rows, 2)), np.zeros((rows, 2))), 0)
    np.testing.assert_allclose(still, 0.0, atol=1e-12)


PLANE = np.array([[1.5, 0.8, 0.0, 0.5], [0.9, -0.3, 1.2, 0.4]])


@er.model
def plane(x):
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(er.math.matmul(z, PLANE), 0.5).to_event(1), x)


@cache
def stepped(backend):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2)) @ PLANE + 0.5 * rng.normal(size=(120, 4))
    narrow = er.nn.MLP(4, [1], 4)  # one unit between two coordinates and their data
    return x, fit(plane(x), guide=er.Amortized(narrow, iterations=300), backend=backend, validation=0)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_that_take_steps_of_their_own_have_the_best_laws_of_their_kind(backend):
    x, posterior = stepped(backend)
    precision = np.eye(2) + PLANE @ PLANE.T / 0.25
    covariance = np.linalg.inv(precision)
    mean = x @ PLANE.T @ covariance / 0.25
    law = posterior.latent.encode(weigh=False)
    assert np.abs((law["mean"].to_numpy() - mean) / np.sqrt(np.diag(covariance))).max() < 0.15
    assert np.abs(law["sd"].to_numpy() * np.sqrt(np.diag(precision)) - 1).max() < 0.1
    assert posterior.verdict == "trusted"
    table = posterior.summary()
    assert (
        np.abs((table["mean"].to_numpy().reshape(mean.shape) - mean) / np.sqrt(np.diag(covariance))).max()
        < 0.12
    )
    assert "300 steps of each row" in posterior.trail[0].reason


@pytest.mark.slow
def test_gaps_are_told_apart():
    """Of independent normals for a Gaussian: half the log of the product of its precisions' diagonal and its determinant."""
    x, posterior = stepped("jax")
    precision = np.eye(2) + PLANE @ PLANE.T / 0.25
    exact = 0.5 * (np.log(np.diag(precision)).sum() - np.log(np.linalg.det(precision)))
    found = posterior.latent.gap(x)
    se = np.sqrt((found["approximation_se"] ** 2).sum()) / len(x)
    assert float(found["approximation"].mean()) == pytest.approx(exact, abs=float(4 * se) + 0.005)
    alone = fit(plane(x), guide=er.Amortized(er.nn.MLP(4, [1], 4)), validation=0).latent.gap(num_rows=60)
    assert float(alone["amortization"].mean()) > 0.3  # one unit cannot follow two coordinates
    assert float(alone["approximation"].mean()) == pytest.approx(exact, abs=0.02)
    np.testing.assert_allclose(alone["gap"], alone["amortization"] + alone["approximation"])


@pytest.mark.slow
def test_rows_that_are_known_by_heart_are_said_to_be(caplog):
    @er.model
    def bent(x):
        decode = er.module("decode", er.nn.MLP(4, [64, 64], 20))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([4]).to_event(1))
            er.observe("x", er.Normal(decode(z), 0.2).to_event(1), x)

    x = np.random.default_rng(0).normal(size=(60, 20))
    with caplog.at_level(logging.DEBUG, logger="elboroom"):
        posterior = fit(bent(x))
    found = next(f for f in posterior.findings if f.name == "learned by heart")
    assert found.verdict == "caution" and found.value > 10
    assert not any(f.name == "learned by heart" for f in rescued().findings)
    assert any("of 4 units active" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("steps", [-1, 2.5, True])
def test_steps_that_are_none_are_refused(steps):
    with pytest.raises(er.GuideError, match="iterations of er.Amortized"):
        er.Amortized(iterations=steps)

"""Checkpoints: a fit that is broken off ends, when it goes on, as an unbroken one; foreign or damaged ones are refused."""

import io
import json

import numpy as np
import pytest
from elboroom.inference.engines import FlowAscent, stochastic
from elboroom.inference.ladder import weigh
from elboroom.inference.ladder.fitting import GuideFit
from elboroom.inference.ladder.starts import DispersedStarts
from elboroom.inference.mcmc import nuts
from elboroom.inference.run import checkpoint as room
from elboroom.ppl import files

import elboroom as er

RNG = np.random.default_rng(1)
GROUP = RNG.integers(0, 8, 200)
Y = 1 + RNG.normal(size=8)[GROUP] + RNG.normal(size=200)


@er.model
def groups(y, group):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfNormal(2))
    with er.plate("group", 8):
        a = er.sample("a", er.Normal(mu, tau))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], 1.0), y)


class Killed(BaseException):
    pass


def broken(monkeypatch, module, name, after=1):
    """Make a function end the process, so to speak, at its call number `after`."""
    calls, run = [], getattr(module, name)

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == after:
            raise Killed
        return run(*args, **kwargs)

    monkeypatch.setattr(module, name, dying)


def fit(folder=None, **options):
    return er.fit(groups(Y, GROUP), checkpoint=folder, refine=False, progress=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["starts", "fit"])
def test_a_broken_fit_goes_on_to_the_same_result(tmp_path, monkeypatch, stage):
    whole = fit()
    with monkeypatch.context() as patch:
        broken(patch, weigh, "draw_pool") if stage == "fit" else broken(patch, GuideFit, "run")
        with pytest.raises(Killed):
            fit(tmp_path)
    for skipped in {"starts": [DispersedStarts], "fit": [DispersedStarts, GuideFit]}[stage]:
        monkeypatch.setattr(skipped, "run", None)
    resumed = fit(tmp_path)
    assert np.array_equal(resumed.z, whole.z) and resumed.summary().equals(whole.summary())
    assert resumed.cost.num_gradients == whole.cost.num_gradients
    assert [r.name for r in resumed.trail] == [r.name for r in whole.trail]


@pytest.mark.slow
def test_a_broken_fit_of_a_flow_goes_on_to_the_same_result(tmp_path, monkeypatch):
    def brief(cls, problem):
        return cls(problem.density, problem.target, problem.guide, problem.rng, most_steps=600)

    monkeypatch.setattr(FlowAscent, "of", classmethod(brief))
    whole = fit(guide="flow")
    with monkeypatch.context() as patch:
        broken(patch, weigh, "draw_pool")
        with pytest.raises(Killed):
            fit(tmp_path, guide="flow")
    assert np.array_equal(fit(tmp_path, guide="flow").z, whole.z)


@pytest.mark.slow
def test_stochastic_steps_go_on_from_where_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(stochastic, "MOST_ASCENT_STEPS", 1500)
    options = {"guide": "mean-field", "minibatch": er.Minibatch("row", 50), "num_draws": 500}
    whole = fit(**options)
    for after in (3, 11):  # killed twice
        with monkeypatch.context() as patch:
            broken(patch, stochastic.Settling, "step", after)
            with pytest.raises(Killed):
                fit(tmp_path, **options)
    resumed = fit(tmp_path, **options)
    assert np.array_equal(resumed.z, whole.z) and resumed.summary().equals(whole.summary())


@pytest.mark.slow
def test_draws_so_far_are_on_disk(tmp_path, monkeypatch):
    posterior = fit()
    monkeypatch.setattr(room, "CHECKPOINT_SECONDS", 0.0)
    chunk, calls = nuts.Chains._chunk, []

    def dying(self):
        calls.append(1)
        if len(calls) == 6:
            raise Killed
        return chunk(self)

    monkeypatch.setattr(nuts.Chains, "_chunk", dying)
    with pytest.raises(Killed):
        posterior.refine(checkpoint=tmp_path, kernel="nuts", progress=False)
    kept = er.load(tmp_path / "posterior")
    assert kept.law == "mcmc" and len(kept.z) == 4 * 4 * nuts.NUTS_CALL
    assert "under way" in kept.trail[-1].reason


def test_a_foreign_one_is_refused_by_name(tmp_path):
    fit(tmp_path)
    for options, words in (({"seed": 3}, "another seed"), ({"guide": "mean-field"}, "another guide")):
        with pytest.raises(er.InferenceError, match=words):
            fit(tmp_path, **options)
    with pytest.raises(er.InferenceError, match="another data"):
        er.fit(groups(Y + 1, GROUP), checkpoint=tmp_path, progress=False)


SOURCE = """
def helper(b): return b * {factor}
@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, 1))
    c = er.sample("c", er.Normal(0, 1))
    er.observe("y", er.Normal(helper(b) * x + c, 1.0), y){comment}
"""


def of_a_process(factor=2.0, comment="", condition=None, do=None):
    """The program as a process finds that reads the file for the first time."""
    space = {"er": er}
    exec(SOURCE.format(factor=factor, comment=comment), space)
    program = space["line"](x=np.linspace(-1, 1, 20), y=np.linspace(-1, 2, 20))
    program = program if condition is None else program.condition(b=condition)
    return program if do is None else program.do(b=do)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"factor": 4.0}),
        ({"condition": 0.5}, {"condition": 1.0}),
        ({"do": 0.5}, {"do": 1.0}),
        ({}, {"do": 1.0}),
    ],
)
def test_a_model_that_has_changed_is_refused(tmp_path, before, after):
    options = {"checkpoint": tmp_path, "refine": False, "progress": False}
    first = er.fit(of_a_process(**before), **options)
    resumed = er.fit(of_a_process(**before, comment="  # better said"), **options)
    assert np.array_equal(first.z, resumed.z)
    with pytest.raises(er.InferenceError, match="another model"):
        er.fit(of_a_process(**after), **options)


def test_a_damaged_one_is_refused_by_name(tmp_path):
    fit(tmp_path)
    file = tmp_path / room.FILE
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nonsense"):
        file.write_bytes(content)
        with pytest.raises(er.InferenceError, match="damaged"):
            fit(tmp_path)
    record = {"format": "elboroom-checkpoint/99", "identity": {}, "state": {}}
    content = io.BytesIO()
    np.savez(content, record=np.array(json.dumps(record)))
    file.write_bytes(files.sealed(content.getvalue()))
    with pytest.raises(er.InferenceError, match="checkpoint/99"):
        fit(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(er.InferenceError, match="a file"):
        fit(tmp_path / "file")
    with pytest.raises(er.InferenceError, match="checkpoint"):
        fit(3)


@pytest.mark.slow
def test_without_room_the_fit_goes_on_and_says_so(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    posterior = fit(tmp_path)
    found = next(f for f in posterior.findings if f.name == "no checkpoint")
    assert "No space left" in found.advice and posterior.verdict in {"trusted", "caution"}
    assert not list(tmp_path.iterdir())

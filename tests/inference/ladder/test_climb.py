"""The loop of the ladder, on stages that fit nothing."""

import os
import signal
import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.guides import Affine, Flow, FullRank, LowRank, MeanField, Structured
from elboroom.guides.choose import Plan
from elboroom.guides.transport import packed
from elboroom.inference.evidence.finding import Finding
from elboroom.inference.ladder import STAGES, Line, Run, State, climb
from elboroom.inference.ladder.snapshot import restored, snapshot
from elboroom.inference.run.checkpoint import Checkpoint
from elboroom.inference.run.trail import Rung
from elboroom.inference.run.watch import Watch
from elboroom.ppl.errors import InferenceError
from elboroom.ppl.interrupts import deferred

import elboroom as er


@dataclass(frozen=True)
class Stage:
    """A stage that finds what it is named after."""

    name: str
    act: object = None
    words: str = ""
    always: bool = False
    guarded: bool = False
    kept: str = ""
    wanted: bool = True
    silent: bool = False
    gradients: int = 0

    def wants(self, state):
        return "it is due" if self.wanted else None

    def guide(self, state):
        return f"guide of {self.name}"

    def price(self, state):
        return 10.0

    def run(self, state, run):
        state.target.counter.num_gradients += self.gradients
        if self.act is not None:
            self.act(state, run)
        state = state.found(Finding(self.name, "fit", None, None, "ok", ""))
        return state, None if self.silent else Line(self.guide(state), "done", {"elbo": -1.0})

    def failed(self, state):
        return replace(state, objection=f"{self.name} failed")


class Target:
    """One that only counts, and whose gradients take a hundredth of a second."""

    def __init__(self):
        self.dim, self.centring = 1, {}
        self.counter = SimpleNamespace(num_gradients=0, num_densities=0)
        self.density = SimpleNamespace(clock={"compile": 0.0})

    def value_and_grad(self, z, batch=None):
        time.sleep(0.01 * len(z))
        self.counter.num_gradients += len(z)
        return -0.5 * (z**2).sum(1), -z

    def centred(self, centring):
        return self


def begun(**given):
    return State(Target(), Plan(FullRank(), ""), best=Affine(np.zeros(1), np.ones(1)), **given)


def names(state):
    return [finding.name for finding in state.findings]


def raising(error):
    def act(state, run):
        raise error

    return act


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ZeroDivisionError("of nothing"),
        np.linalg.LinAlgError("singular"),
        ValueError("array must not contain infs or NaNs"),
        RuntimeError("XLA\nmore"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_stage_fails_with_is_a_line_and_the_climb_goes_on(error):
    state = climb((Stage("a"), Stage("b", raising(error)), Stage("c")), begun(), Run(Watch(progress=False)))
    assert names(state) == ["a", "c"] and state.objection == "b failed"
    words = {"MemoryError": "", "RuntimeError": "XLA"}.get(type(error).__name__, str(error))
    assert [(r.name, r.guide, r.reason) for r in state.rungs] == [
        ("a", "guide of a", "done"),
        ("b", "guide of b", f"failed: {type(error).__name__}: {words}"),
        ("c", "guide of c", "done"),
    ]


def test_an_error_of_the_library_is_no_failure_of_a_stage():
    with pytest.raises(InferenceError):
        climb((Stage("a", raising(InferenceError("bad input"))),), begun(), Run(Watch(progress=False)))


def test_what_a_failing_stage_had_reached_is_what_failed_is_asked_of():
    def act(state, run):
        run.keep(state.found(Finding("half-way", "fit", None, None, "ok", "")))
        raise RuntimeError

    state = climb((Stage("a", act),), begun(), Run(Watch(progress=False)))
    assert names(state) == ["half-way"] and state.objection == "a failed"


def test_when_time_has_ended_only_what_always_runs_does():
    stages = Stage("a"), Stage("b", always=True), Stage("c", always=True, wanted=False), Stage("d")
    state = climb(stages, begun(), Run(Watch(1e-9, progress=False)))
    assert names(state) == ["b"]


def interrupting(state, run):
    run.keep(state.found(Finding("half-way", "fit", None, None, "ok", "")))
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


@pytest.mark.parametrize("guarded", [False, True])
def test_an_interrupt_keeps_what_was_reached(guarded):
    stages = Stage("a"), Stage("b", interrupting, guarded=guarded), Stage("c"), Stage("d", always=True)
    with deferred(answered=True):
        state = climb(stages, begun(), Run(Watch(progress=False)))
    assert names(state) == ["a", *(["b"] if guarded else ["half-way"]), "d"]
    assert sum(rung.name == "interrupt" for rung in state.rungs) == 1


def test_what_must_not_be_left_out_has_failed_where_an_interrupt_broke_it_off():
    with deferred(answered=True):
        stages = Stage("a", interrupting, always=True), Stage("b", always=True)
        state = climb(stages, begun(), Run(Watch(progress=False)))
    assert names(state) == ["half-way", "b"] and state.objection == "a failed"


def test_an_interrupt_before_anything_is_reached_is_raised():
    with pytest.raises(KeyboardInterrupt), deferred(answered=True):
        climb((Stage("a", interrupting),), replace(begun(), best=None), Run(Watch(progress=False)))


def test_a_line_has_what_a_stage_was_to_take_and_what_it_took_with_the_silent_ones_before():
    def look(state, run):
        run.density(state)(np.zeros((2, 1)))

    stages = Stage("a", look), Stage("b", silent=True, gradients=3), Stage("c", gradients=4)
    first, last = climb(stages, begun(), Run(Watch(progress=False))).rungs
    assert np.isnan(first.projected) and first.num_gradients == 2
    assert last.num_gradients == 3 + 4
    assert 10 * 0.01 <= last.projected < 10 * 0.05 and first.seconds >= 0.02


def test_a_climb_goes_on_after_the_stage_that_was_kept(tmp_path):
    stages = Stage("a", kept="a"), Stage("b", raising(KeyError("broken off")), kept="b"), Stage("c")
    with pytest.raises(KeyError):
        climb(
            stages, begun(ends=np.zeros((0, 1))), Run(Watch(progress=False), Checkpoint(tmp_path / "c", {}))
        )
    again = replace(stages[0], act=raising(KeyError("twice"))), replace(stages[1], act=None), stages[2]
    state = climb(
        again, begun(ends=np.zeros((0, 1))), Run(Watch(progress=False), Checkpoint(tmp_path / "c", {}))
    )
    assert names(state) == ["a", "b", "c"] and [rung.name for rung in state.rungs] == ["a", "b", "c"]


@er.model
def hierarchy(y):
    tau = er.sample("tau", er.HalfNormal(1))
    with er.plate("row", len(y)):
        theta = er.sample("theta", er.Normal(0, tau))
        er.observe("y", er.Normal(theta, 1), y)


@pytest.mark.parametrize(
    "family",
    [FullRank(), MeanField(), LowRank(rank=2), Structured(), Flow("affine", num_layers=2, width=4)],
    ids=lambda family: family.name,
)
def test_a_state_on_disk_is_the_state(family):
    target = hierarchy(np.linspace(-1, 1, 4)).target().centred({"theta": np.array([0.0, 0.3, 0.7, 1.0])})
    rng = np.random.default_rng(0)
    best = packed(Affine(rng.normal(size=5), np.tril(0.2 * rng.normal(size=(5, 5)), -1) + np.eye(5)))
    plan = Plan(family, "")
    guide = Structured.bind_near(family, target, best) if family.name == "structured" else family.bind(target)
    before = State(
        target, plan, best=best, ends=rng.normal(size=(3, 5)), family=family, guide=guide, fitted=guide.near(best),
        settled=False, elbo_trace=(1.0, 2.0), restarts=(0, 1), steps={"gradient_norm": np.arange(3.0)},
        rungs=(Rung("fit", family.name, elbo=-3.0, reason="words"),),
        findings=(Finding("name", "fit", 1.0, None, "ok", "advice"),),
    )  # fmt: skip
    values, arrays = snapshot(before)
    fresh = State(hierarchy(np.linspace(-1, 1, 4)).target(), plan)
    after = restored(fresh, values, {name: np.asarray(value) for name, value in arrays.items()})
    eps = rng.normal(size=(7, 5))
    for found, own in zip(after.fitted.forward(eps), before.fitted.forward(eps), strict=True):
        np.testing.assert_array_equal(found, own)
    np.testing.assert_allclose(after.best.forward(eps)[0], best.forward(eps)[0], rtol=1e-12)
    np.testing.assert_array_equal(after.target.centring["theta"], target.centring["theta"])
    np.testing.assert_array_equal(after.ends, before.ends)
    assert after.guide.family == family and after.settled is False
    assert (after.elbo_trace, after.restarts) == (before.elbo_trace, before.restarts)
    assert after.findings == before.findings and str(after.rungs) == str(before.rungs)
    np.testing.assert_array_equal(after.steps["gradient_norm"], np.arange(3.0))


def test_checkpoints_are_written_after_stages_of_different_names():
    kept = [stage.kept for stage in STAGES if stage.kept]
    assert sorted(set(kept)) == ["fit", "starts"]

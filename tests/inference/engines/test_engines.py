"""The one shape of every engine, and what each reaches on a Gaussian posterior."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.guides import Affine, Delta, Flow, FullRank, LowRank, MeanField, Structured, VariationalDropout
from elboroom.inference.batches.minibatch import Batches, Minibatch
from elboroom.inference.batches.view import AllRows, BatchRows
from elboroom.inference.engines import ENGINES, Problem, engines_of, fit, run
from elboroom.inference.engines.lbfgs import Lbfgs
from elboroom.inference.engines.loop import STOPPED, Engine
from elboroom.inference.engines.problem import marked

import elboroom as er

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3)) @ np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.3], [0.0, 0.0, 0.9]])
Y = X @ np.array([1.0, -2.0, 0.5]) + RNG.normal(size=400)
PRECISION = X.T @ X + np.eye(3) / 100
MEAN, COVARIANCE = np.linalg.solve(PRECISION, X.T @ Y), np.linalg.inv(PRECISION)
SD = np.sqrt(np.diag(COVARIANCE))
EVIDENCE = (  # the log density at the mean, and the volume around it
    -0.5 * (((Y - X @ MEAN) ** 2).sum() + MEAN @ MEAN / 100)
    - 0.5 * np.log(2 * np.pi) * 400
    - 1.5 * np.log(100)
    - 0.5 * np.linalg.slogdet(PRECISION)[1]
)
TRAITS = [name for name in Engine.__annotations__ if not name.startswith("_")]
FAMILIES = {
    "natural gradient": FullRank(),
    "sparse natural gradient": Structured(sites={"b": "full-rank"}),  # no sparse links: dense ones
    "low-rank": LowRank(),
    "mean-field": MeanField(),
    "flow": Flow("affine", num_layers=2, width=8),
    "fixed draws": MeanField(),
    "mode": Delta(),
    "stochastic ascent": MeanField(),
    "variational dropout": VariationalDropout(sites=("b",)),
}


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, 10).expand([3]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


@pytest.fixture(scope="module")
def target():
    return line(X, Y).target()


@pytest.fixture(scope="module")
def rows(target):
    return BatchRows.of(
        Batches.of(target, Minibatch("row", 50)), SimpleNamespace(auto=False, family=FullRank())
    )


def problem(target, name, rows=None, **given):
    """A problem that an engine of a name takes, from far away and too wide."""
    family = FAMILIES.get(name, FullRank())
    start = Affine(MEAN + 3 * SD, 2 * SD)
    guide = Structured.bind_near(family, target, start) if name.startswith("sparse") else family.bind(target)
    view = rows if "tempered" in name or "anchored" in name or "stochastic" in name else AllRows()
    density = marked(lambda z: view.value_and_grad(target, z))
    made = Problem(density, target, guide, start, np.random.default_rng(1), lambda: False, view)
    if name == "polish":
        made = replace(made, before=SimpleNamespace(converged=False, reason="step limit"))
    return replace(made, **given)


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def kind(request):
    return request.param


def test_every_engine_says_how_it_is_run(kind):
    for trait in TRAITS:
        assert isinstance(getattr(kind, trait), (bool, int, str)), trait
    assert kind.rounds >= 1 and [engine.name for engine in ENGINES].count(kind.name) == 1


def test_every_family_names_engines_that_are_there():
    for family in FAMILIES.values():
        assert [engine.name for engine in engines_of(family, AllRows())] == list(family.engines)
    assert [engine.name for engine in engines_of(SimpleNamespace(name="foreign"), AllRows())] == [
        "fixed draws"
    ]


def test_what_it_reaches(kind, target, rows):
    """The mean exactly, as the posterior is Gaussian, and of the spread what its family can hold."""
    given = problem(target, kind.name, rows)
    if kind.name == "curvature":  # it stands at a mode
        given = replace(given, start=Affine(MEAN, SD))
    engine = kind.of(given)
    found = fit(engine, given.start)
    stochastic = kind.name in {"stochastic ascent", "flow", "variational dropout"}
    if kind.name == "tempered natural gradient":  # of the first rows alone, whose sds are that much wider
        assert np.all(np.abs(found.gaussian.mean - MEAN) < 5 * SD * np.sqrt(400 / engine.size))
        return
    gaussian = found.gaussian
    if gaussian is None:  # a flow: by its draws
        z = found.transport.forward(np.random.default_rng(2).standard_normal((4000, 3)))[0]
        gaussian = Affine(z.mean(0), np.linalg.cholesky(np.cov(z.T)))
    fixed = kind.name in {"mean-field", "fixed draws"}  # 32 draws, whose columns correlate by chance
    tolerance = 0.15 if stochastic else 0.02
    shift = (
        -COVARIANCE @ (1 / MEAN) if kind.name == "variational dropout" else 0.0
    )  # a log-uniform prior's pull
    assert np.all(np.abs(gaussian.mean - MEAN - shift) < tolerance * SD)
    if kind.name == "mode":
        np.testing.assert_allclose(found.transport.mean, MEAN, atol=1e-3 * SD.min())
        return
    apart = fixed or kind.name in {"stochastic ascent", "variational dropout"}
    expected = 1 / np.sqrt(np.diag(PRECISION)) if apart else SD
    np.testing.assert_allclose(gaussian.marginals()[1], expected, rtol=0.2 if stochastic or fixed else 0.03)
    if kind.name in {"natural gradient", "sparse natural gradient", "anchored natural gradient"}:
        np.testing.assert_allclose(gaussian.moments()[1], COVARIANCE, rtol=1e-6, atol=1e-9)
        assert abs(found.elbo - EVIDENCE) < 1e-6  # at the posterior itself the bound has no noise
    if kind.name == "curvature":
        np.testing.assert_allclose(gaussian.moments()[1], COVARIANCE, rtol=1e-6)
    if fixed:
        loss = 0.5 * (np.log(np.diag(PRECISION)).sum() - np.linalg.slogdet(PRECISION)[1])
        assert abs(found.elbo - (EVIDENCE - loss)) < 0.3  # on 32 fixed draws


def test_done_and_stopped(kind, target, rows):
    """What has ended stays so, and a stop before any step leaves a law."""
    given = problem(target, kind.name, rows)
    engine = kind.of(given)
    state, reason = run(engine, given.start, lambda: True)
    assert reason == STOPPED
    first = engine.fit(state, reason)
    assert np.isfinite(first.transport.to_arrays()["mean"]).all()
    if kind.name in {"flow", "stochastic ascent", "variational dropout"}:
        return
    engine = kind.of(problem(target, kind.name, rows))
    state, reason = run(engine, given.start)
    assert reason and engine.done(state) == reason


def test_a_step_leaves_the_state_as_it_was(target):
    for name in (
        "natural gradient",
        "polish",
        "sparse natural gradient",
        "low-rank",
        "mean-field",
        "fixed draws",
    ):
        kind = next(engine for engine in ENGINES if engine.name == name)
        given = problem(target, name)
        engine = kind.of(given)
        state = engine.step(engine.init(given.start))
        before = {k: np.array(v) for k, v in engine.fit(state, "").transport.to_arrays().items()}
        engine.step(state)
        after = engine.fit(state, "").transport.to_arrays()
        for key, value in before.items():
            np.testing.assert_array_equal(after[key], value, err_msg=name)


def test_an_optimiser_of_numbers_runs_in_the_same_loop():
    """Several quadratics at once, each to its own minimum."""
    centre, scale = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([[1.0, 10.0], [4.0, 0.1]])

    def fn(x, which):
        away = x - centre[which]
        return 0.5 * (scale[which] * away**2).sum(1), scale[which] * away

    engine = Lbfgs(fn, tolerance=1e-12)
    state, reason = run(engine, np.zeros((2, 2)))
    found = engine.fit(state, reason)
    assert reason == "at rest" and found.converged.all()
    np.testing.assert_allclose(found.x, centre, atol=1e-5)

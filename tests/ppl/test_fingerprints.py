"""A model that has changed never gets the density of the one before, in this process or in another."""

import json
import os
import subprocess
import sys

import changing
import jax
import numpy as np
import pytest
from changing import KINDS, LANGUAGES, Case, X, Y
from elboroom.inference.posterior.posterior import record_of
from elboroom.ppl.backends.jax.identity import Unidentified, traced
from elboroom.ppl.fingerprints import code_hash

import elboroom as er

EVERY = [(kind, language) for language in LANGUAGES for kind in KINDS]


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_a_changed_model_has_its_own_density(kind, language):
    case, other = Case(kind, language), Case(kind, language)
    before, first = case.numbers(), case.target.density
    again = case.target.density
    assert again is first  # an unchanged one is not compiled again
    case.change(), other.change()
    assert case.numbers() == other.numbers() != before
    assert case.target.density is not first
    assert case.target.density.fingerprint == other.target.density.fingerprint != first.fingerprint


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_that_was_looked_at_before_the_change_sees_it(language):
    case, right = Case("a global", language), Case("a global", language)
    program = case.program
    program.graph(case.backend)
    z = np.full((1, 2), 0.7)
    before = program.target(case.backend, np.float64).log_density(z)["log_density"]
    case.change(), right.change()
    after = program.target(case.backend, np.float64).log_density(z)["log_density"]
    assert after == right.numbers()[0] != before


@pytest.mark.slow
def test_another_process_gives_the_same_fingerprints():
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run([sys.executable, changing.__file__], env=env, check=True, capture_output=True)
    told = json.loads(found.stdout)
    for language in LANGUAGES:
        assert told[language] == {k: list(v) for k, v in changing.fingerprints(language).items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_second_fit_is_of_the_model_as_it_is_now(language):
    case, posteriors = Case("a global", language), []
    for _ in range(2):
        posteriors.append(er.fit(case.program, guide="laplace", num_draws=500, progress=False))
        case.change()
    assert "d" in posteriors[0].values
    for posterior, s in zip(posteriors, (2.0, 4.0), strict=True):
        design = np.stack([s * X, np.ones(6)], 1)
        right = np.linalg.solve(design.T @ design + np.eye(2), design.T @ Y)
        names = [row for row in posterior.table["label"]]
        mean = dict(zip(names, posterior.table["mean"], strict=True))
        assert mean["b"] == pytest.approx(right[0], abs=4 * 0.5 / np.sqrt(500) / s)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_traced_after_the_fit_is_the_fitted_model_or_refused(language):
    case = Case("a global", language)
    posterior = er.fit(case.program, guide="laplace", num_draws=100, progress=False)
    case.change()
    with pytest.raises(er.ModelError, match="has changed since"):
        posterior.predict()
    with pytest.raises(er.ModelError, match="has changed since"):
        posterior.draws["log_likelihood"]
    case.space["S"] = 2.0
    assert np.isfinite(posterior.draws["log_likelihood"]["y"]).all()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_call_looks_at_the_model_once(language, monkeypatch):
    case, looks = Case("a global", language), []
    posterior = er.fit(case.program, guide="laplace", num_draws=100, progress=False)
    kind = type(case.target.density)
    seen = kind.identity
    monkeypatch.setattr(kind, "identity", lambda self: looks.append(self) or seen(self))
    fitted = record_of(posterior).target.density
    for call in (posterior.predict, posterior.check):
        looks.clear()
        call()
        assert looks.count(fitted) == 1
    case.change()
    with pytest.raises(er.ModelError, match="has changed since"):
        posterior.predict()


def test_a_shape_that_follows_a_global_is_seen():
    space = {"er": er, "np": np, "K": 2}
    exec("""
@er.model
def model(y):
    b = er.sample("b", er.Normal(np.zeros(K), 1.0).to_event(1))
    er.observe("y", er.Normal(b.sum(), 1.0), y)
""", space)  # fmt: skip
    program = space["model"](1.0)
    assert program.target().dim == 2
    space["K"] = 3
    assert program.target().dim == 3


def test_what_cannot_be_identified_is_not_shared():
    def called(x):
        return jax.pure_callback(lambda v: np.asarray(v) ** 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    with pytest.raises(Unidentified):
        traced(called, jax.ShapeDtypeStruct((3,), np.float32))


def test_constants_of_inner_functions_are_part_of_a_trace():
    def function(c):
        return lambda x: jax.lax.scan(lambda a, b: (a + (c * b).sum(), b), 0.0, x)[0]

    large = np.arange(5000.0, dtype=np.float32)
    x = jax.ShapeDtypeStruct((4,), np.float32)
    found = {traced(function(c), x) for c in (large, large.copy(), np.where(large == 2500, 0, large))}
    assert len(found) == 2
    assert {numbers for _, numbers in found} == {5000}


def test_numbers_that_a_model_holds_itself_are_read_as_its_data_are():
    """A batch of gradients is as large as these allow: arrays in a closure are as long as those among the arguments."""
    import numpyro
    import numpyro.distributions as dist
    import pyro
    import torch

    x = np.linspace(0, 1, 50_000)
    tensor = torch.as_tensor(x)

    @er.model
    def given(x):
        er.observe("x", er.Normal(er.sample("b", er.Normal(0, 1)), 1.0).expand([len(x)]).to_event(1), x)

    @er.model
    def held():
        er.factor("x", -0.5 * er.math.sum((er.sample("b", er.Normal(0, 1)) - er.math.asarray(x)) ** 2))

    def of_numpyro():
        b = numpyro.sample("b", dist.Normal(0, 1))
        numpyro.sample("x", dist.Normal(b, 1.0).expand([len(x)]).to_event(1), obs=x)

    def of_pyro():
        b = pyro.sample("b", pyro.distributions.Normal(0.0, 1.0))
        pyro.sample("x", pyro.distributions.Normal(b, 1.0).expand([len(x)]).to_event(1), obs=tensor)

    targets = [given(x).target(), held().target(), er.from_numpyro(of_numpyro)().target()]
    targets += [held().target("torch"), er.from_pyro(of_pyro)().target("torch")]
    for target in targets:
        assert 50_000 < target.work < 110_000
        assert target.batch in {4, 8}  # of few numbers it is 32


def test_code_is_told_without_data():
    """What is in the loaded code, a helper's included; not where it stands, nor its comments."""
    seen = {}
    for kind in KINDS:
        case = Case(kind, "elboroom")
        before = code_hash(case.space["model"].fn)
        assert before == code_hash(Case(kind, "elboroom").space["model"].fn)
        case.change()
        seen[kind] = before != code_hash(case.space["model"].fn)
    arguments = {kind for kind in KINDS if kind.endswith("argument")}
    assert {kind for kind, told in seen.items() if not told} == arguments | {
        "a conditioned value",
        "a do-value",
    }

"""The reference posteriors in the declared language: one density, three ways of writing it."""

from __future__ import annotations

import importlib.util
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from elboroom.ppl import constraints
from models import MODELS
from models.formulas import FORMULAS
from models.synthetic import synthetic

import elboroom as er

BACKENDS = ("jax", "torch")
FOLDER = Path(
    os.environ.get("ELBOROOM_POSTERIORDB", Path(__file__).resolve().parents[2] / "shared" / "posteriordb")
)
POINTS = 20

PYRO = (
    "eight_schools-eight_schools_centered",
    "kidiq-kidscore_interaction",
    "radon_mn-radon_hierarchical_intercept_centered",
    "wells_data-wells_dae_inter_model",
)


def needs(library):
    return pytest.mark.skipif(importlib.util.find_spec(library) is None, reason=f"{library} is not installed")


every_model = pytest.mark.parametrize("name", MODELS)
every_backend = pytest.mark.parametrize("backend", [pytest.param(b, marks=needs(b)) for b in BACKENDS])


def posterior_of(name):
    """Name of the reference posterior: one has two declarations here."""
    return name.partition(",")[0]


def points(dim):
    return np.random.default_rng(20240501).normal(size=(POINTS, dim))


@every_backend
@every_model
def test_the_density_is_that_of_its_formula(name, backend):
    data = synthetic(posterior_of(name))
    target = MODELS[name].model(**MODELS[name].data(data)).target(backend)
    z = points(target.dim)
    found = target.log_density(z)
    values = target.constrain(z)
    values = [{site.name: values[site.name][i] for site in target.sites} for i in range(POINTS)]
    expected = [FORMULAS[posterior_of(name)](data, v) for v in values]
    np.testing.assert_allclose(found["log_density"] - found["log_jacobian"], expected, rtol=1e-8)
    assert target.log_joint(values[0]) == pytest.approx(expected[0], rel=1e-8)


@every_backend
@every_model
def test_the_jacobian_is_that_of_the_constraints(name, backend):
    """Against finite differences of the constraining map, one site at a time."""
    target = MODELS[name].model(**MODELS[name].data(synthetic(posterior_of(name)))).target(backend)
    z = points(target.dim)[:1]
    step = 1e-6
    up, down = (
        target.constrain(z + step * np.eye(target.dim)),
        target.constrain(z - step * np.eye(target.dim)),
    )
    total = 0.0
    for site in target.sites:
        own = np.arange(target.dim)[target.offsets[site.name]]
        moved = (up[site.name] - down[site.name])[own].reshape(len(own), -1) / (2 * step)
        # The last entry of a simplex is what the others leave.
        total += np.linalg.slogdet(moved[:, : len(own)])[1]
    np.testing.assert_allclose(target.log_density(z)["log_jacobian"], total, rtol=1e-6, atol=1e-6)


@cache
def ports():
    spec = importlib.util.spec_from_file_location("reference_models", FOLDER / "models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MODELS


@cache
def port_target(name):
    model, convert = ports()[name]
    data = json.loads((FOLDER / "data" / f"{name}.json").read_text())
    return data, er.from_numpyro(model)(**convert(data)).target()


def of_one_element(constraint):
    """A support, whether or not its axes count as one event."""
    if constraint == constraints.real_vector:
        return constraints.real
    return constraint.base if isinstance(constraint, constraints.Independent) else constraint


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference posteriors in {FOLDER} (ELBOROOM_POSTERIORDB)")
@every_backend
@every_model
def test_the_density_is_that_of_the_numpyro_port(name, backend):
    reference = MODELS[name]
    data, theirs = port_target(posterior_of(name))
    ours = reference.model(**reference.data(data)).target(backend)
    their_site = {site.name: site for site in theirs.sites}
    columns = np.empty(ours.dim, dtype=int)  # of theirs, in our order
    for site in ours.sites:
        other = their_site.pop(reference.renamed.get(site.name, site.name))
        assert site.unconstrained_shape == other.unconstrained_shape
        assert site.shape == other.shape
        if site.name not in reference.renamed:
            assert of_one_element(site.constraint) == of_one_element(other.constraint)
        columns[ours.offsets[site.name]] = np.arange(theirs.dim)[theirs.offsets[other.name]]
    assert not their_site
    z = points(theirs.dim)
    our_value, our_grad = ours.value_and_grad(z[:, columns])
    their_value, their_grad = theirs.value_and_grad(z)
    np.testing.assert_allclose(our_value - reference.constant, their_value, rtol=1e-8)
    np.testing.assert_allclose(
        our_grad, their_grad[:, columns], rtol=1e-8, atol=1e-8 * np.abs(their_grad).max()
    )


@every_backend
@every_model
def test_the_graph_knows_rows_and_groups(name, backend):
    program = MODELS[name].model(**MODELS[name].data(synthetic(posterior_of(name))))
    trace = program.trace(backend)
    observed = trace.by_role("observed")
    assert observed or name.endswith("forward")
    for site in observed:
        assert len(site.plates) == 1 and site.dims == site.plates
    groups = {site.name for site in trace.latents if site.plates}
    expected = {
        "GLMM_Poisson_model": {"eps"},
        "eight_schools_centered": {"theta"},
        "eight_schools_noncentered": {"theta_trans"},
        "gp_pois_regr": {"f_tilde"},
        "radon_hierarchical_intercept_centered": {"alpha"},
        "radon_hierarchical_intercept_noncentered": {"alpha_raw"},
        "surgical_model": {"b"},
    }
    assert groups == expected.get(posterior_of(name).partition("-")[2], set())


@needs("pyro")
@pytest.mark.parametrize("name", PYRO)
def test_the_density_is_that_of_the_pyro_port(name):
    """Pyro's own log joint at the same constrained values."""
    import torch
    from models.pyro_ports import PORTS
    from pyro import poutine

    model, convert = PORTS[name]
    data = synthetic(name)
    target = MODELS[name].model(**MODELS[name].data(data)).target()
    drawn = target.constrain(points(target.dim))
    for i in range(POINTS):
        values = {site.name: drawn[site.name][i] for site in target.sites}
        tensors = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in values.items()}
        theirs = poutine.trace(poutine.condition(model, data=tensors)).get_trace(**convert(data))
        assert target.log_joint(values) == pytest.approx(float(theirs.log_prob_sum()), rel=1e-8)


@needs("pyro")
@pytest.mark.skipif("from_pyro" not in er.__all__, reason="er.from_pyro is not part of this version")
@pytest.mark.parametrize("name", PYRO)
def test_a_program_of_the_pyro_port_has_the_same_density(name):
    from models.pyro_ports import PORTS

    model, convert = PORTS[name]
    data = synthetic(name)
    ours = MODELS[name].model(**MODELS[name].data(data)).target()
    theirs = er.from_pyro(model)(**convert(data)).target("torch")
    assert {s.name: s.unconstrained_shape for s in ours.sites} == {
        s.name: s.unconstrained_shape for s in theirs.sites
    }
    columns = np.concatenate([np.arange(theirs.dim)[theirs.offsets[s.name]] for s in ours.sites])
    z = points(theirs.dim)
    our_value, our_grad = ours.value_and_grad(z[:, columns])
    their_value, their_grad = theirs.value_and_grad(z)
    np.testing.assert_allclose(our_value, their_value, rtol=1e-8)
    np.testing.assert_allclose(
        our_grad, their_grad[:, columns], rtol=1e-8, atol=1e-8 * np.abs(their_grad).max()
    )

"""What a backend must give: names and signatures of both against the protocol, and callers that use no more."""

from __future__ import annotations

import ast
import inspect
import types
from pathlib import Path

import numpy as np
import pytest
from elboroom.ppl.backends import load, protocol
from elboroom.ppl.errors import BackendError

import elboroom as er

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("jax", "torch")
PARTS = {"flows": protocol.Flows, "loops": protocol.Loops}


def members(contract: type) -> dict[str, object]:
    """Names of a protocol: methods with their function, attributes with None."""
    methods = {k: v for k, v in vars(contract).items() if inspect.isfunction(v) and not k.startswith("_")}
    given = {k: None for k, v in vars(contract).items() if isinstance(v, property)}
    return dict.fromkeys(inspect.get_annotations(contract)) | given | methods


def shape(function) -> list[tuple]:
    """Parameters of a function by name, kind and default."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found if p.name != "self"]


@er.model
def small(y, group):
    mu, sd = er.sample("mu", er.Normal(0, 2)), er.sample("sd", er.HalfNormal(1))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu, sd))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], 1.0), y)


@pytest.fixture(scope="module", params=NAMES)
def target(request):
    return small(np.linspace(-1, 1, 9), np.repeat(list("abc"), 3)).target(request.param)


@pytest.mark.parametrize("name", NAMES)
def test_a_package_has_the_names_of_the_protocol_and_no_others(name):
    backend, asked = load(name), members(protocol.Backend)
    assert sorted(backend.__all__) == sorted(asked)
    public = {
        k for k, v in vars(backend).items() if not k.startswith("_") and not isinstance(v, types.ModuleType)
    }
    assert public - {"annotations", "Dependencies", "analyse_program"} <= set(asked)
    for part, contract in PARTS.items():
        assert sorted(getattr(backend, part).__all__) == sorted(members(contract))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [None, *PARTS])
def test_signatures_are_those_of_the_protocol(name, part):
    given = load(name) if part is None else getattr(load(name), part)
    for member, function in members(PARTS.get(part, protocol.Backend)).items():
        if function is not None:
            assert shape(getattr(given, member)) == shape(function), member


def agree(made, contract) -> None:
    """Whether an object has the members of a protocol, with their signatures."""
    for member, function in members(contract).items():
        assert hasattr(made, member), member
        if function is not None:
            found = getattr(made, member)
            if not isinstance(found, protocol_function(made)):
                assert shape(found) == shape(function), member


def protocol_function(made) -> type:
    """The class of a backend's compiled functions."""
    return type(made.value) if hasattr(made, "value_and_grad") else type(None)


def test_a_density_is_that_of_the_protocol(target):
    density = target.density
    agree(density, protocol.Density)
    agree(density.value, protocol.Function)
    own = {k for k in dir(density) if not k.startswith("_")} - {"identity", "branches"}  # PyTorch's own
    assert own == set(members(protocol.Density))


def test_functions_of_a_density_give_what_the_protocol_says(target):
    density, given = target.density, (target.data, target.weights)
    z, rows = np.full((4, target.dim), 0.1), 9
    seeds = np.arange(4)
    assert np.shape(density.value(z, *given)) == (4,)
    assert [np.shape(part) for part in density.value_and_grad(z, *given)] == [(4,), (4, target.dim)]
    assert set(density.parts(z, *given, {})) == {
        "log_prior",
        "log_likelihood",
        "log_factors",
        "log_jacobian",
    }
    assert {k: np.shape(v) for k, v in density.per_row(z, *given).items()} == {"y": (4, rows)}
    values = {k: np.asarray(v) for k, v in density.constrain(z, *given).items()}
    assert {k: v.shape for k, v in values.items()} == {"mu": (4,), "sd": (4,), "a": (4, 3)}
    np.testing.assert_allclose(density.unconstrain(values, *given), z, atol=1e-12)
    assert np.shape(density.predict(z, seeds, *given)["y"]) == (4, rows)
    assert np.shape(density.predict_values(values, seeds, *given)["y"]) == (4, rows)
    assert np.shape(density.prior(seeds, *given)["y"]) == (4, rows)
    assert np.shape(density.hessian_vector(z, z, *given)) == z.shape
    assert set(density.site_priors(z, *given)) == {"mu", "sd", "a"}
    terms = density.joint({k: v[0] for k, v in values.items()}, *given)
    assert set(terms) == {"mu", "sd", "a", "y"} and all(np.shape(v) == () for v in terms.values())
    assert density.responsibilities(z, *given) == {} and density.observed(z, *given) == {}
    assert not density.looped


def test_a_sampler_and_a_flow_are_those_of_the_protocol(target):
    engine = load(target.backend)
    agree(engine.sampler(target.density, 10, None), protocol.Sampler)
    flow = engine.flows.flow("affine", 3, 2, 8, 8, "float64")
    agree(flow, protocol.Flow)
    assert all(len(shape) >= 2 for shape in flow.shapes().values())


def test_an_optimiser_is_that_of_the_protocol(target):
    agree(target.loops.optimiser(None, np.float64), protocol.Optimiser)


@pytest.mark.parametrize("name", NAMES)
def test_devices(name):
    backend = load(name)
    assert backend.default_dtype(backend.resolve_device("cpu")) == np.float64
    assert backend.memory("cpu") is None
    assert backend.out_of_memory(MemoryError()) and not backend.out_of_memory(ValueError())
    with pytest.raises(BackendError, match="'auto', 'cpu' or 'gpu'"):
        backend.resolve_device("tpu")


def test_every_member_of_the_protocol_has_words():
    for contract in vars(protocol).values():
        if inspect.isclass(contract) and contract.__module__ == protocol.__name__:
            assert contract.__doc__
            for name in members(contract):
                assert getattr(vars(contract).get(name), "__doc__", None) or name in contract.__doc__, name


# -- callers ---------------------------------------------------------------------------------------

FILES = [
    path
    for room in ("ppl", "guides", "inference", "diagnostics", "src")
    for path in sorted((ROOT / room).rglob("*.py"))
    if not path.is_relative_to(ROOT / "ppl/backends")
]


def asked_of(value: ast.expr, names: dict[str, str]) -> str | None:
    """The part of a backend that an expression is, by its form: ``load(…)``, ``engine``, ``target.density``, ``x.loops``."""
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "load":
        return "Backend"
    if isinstance(value, ast.Name):
        return names.get(value.id)
    if isinstance(value, ast.Attribute):
        return {"_engine": "Backend", "density": "Density", "loops": "Loops"}.get(value.attr)
    return None


def strangers(source: str) -> list[str]:
    """Attributes that a caller takes from a backend and the protocol does not name."""
    tree, names = ast.parse(source), {}
    if not any(
        isinstance(n, ast.ImportFrom) and (n.module or "").endswith("backends") for n in ast.walk(tree)
    ):
        load_known = False
    else:
        load_known = True
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            kind = asked_of(node.value, {})
            if (kind == "Backend" and load_known) or kind == "Loops":
                names[node.targets[0].id] = kind
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            kind = asked_of(node.value, names)
            if kind == "Backend" and not load_known and isinstance(node.value, ast.Call):
                continue
            if kind and node.attr not in members(getattr(protocol, kind)):
                found.append(f"{kind}.{node.attr}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_callers_use_what_the_protocol_names(path):
    assert strangers(path.read_text()) == []


def test_strangers_are_seen():
    head = "from .backends import load\n"
    assert strangers(head + "engine = load(name)\nengine.Density(1)") == ["Backend.Density"]
    assert strangers(head + "load(name).trace(program), load(name).lower(1)") == ["Backend.lower"]
    assert strangers("target.density.static") == ["Density.static"]
    assert strangers("loops = target.loops\nloops.recorded") == ["Loops.recorded"]
    assert strangers("target.density.value(z)") == []

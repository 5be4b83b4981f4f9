"""What reaches what: exact sources, and axes that hold for every value."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from elboroom.ppl.backends.jax.indices import IndexProblem
from elboroom.ppl.backends.jax.provenance import analyse
from elboroom.ppl.backends.movements import blocks
from elboroom.ppl.graph import ModelGraph
from elboroom.ppl.sites import Site
from jax.scipy.special import logsumexp
from numpyro import handlers

FOLDER = Path(
    os.environ.get("ELBOROOM_POSTERIORDB", Path(__file__).resolve().parents[3] / "shared" / "posteriordb")
)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def stated(trace):
    """Names and nodes of the sites of a NumPyro trace."""
    return [(name, node) for name, node in trace.items() if node["type"] in {"deterministic", "sample"}]


def site_of(name, node):
    """The site that a node of a NumPyro trace is."""
    if node["type"] == "deterministic":
        return Site(name, "deterministic", shape=jnp.shape(node["value"]))
    fn = node["fn"]
    factor = isinstance(fn, dist.Unit)
    role = "factor" if factor else "observed" if node["is_observed"] else "latent"
    shape = () if factor else tuple(fn.shape())
    return Site(name, role, type(fn).__name__, type(fn.support).__name__.strip("_"), shape, fn.event_dim)


def parts_of(node):
    """Value or log density of a node of a NumPyro trace, and the parameters of its law."""
    if node["type"] == "deterministic":
        return {"value": node["value"]}
    fn = node["fn"]
    if isinstance(fn, dist.Unit):
        return {"log_prob": fn.log_factor}
    out = {"log_prob": fn.log_prob(node["value"])}
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution)):
        fn = fn.base_dist
    known = {param: fn.__dict__.get(param) for param in fn.arg_constraints}
    return out | {param: jnp.asarray(value) for param, value in known.items() if value is not None}


def model_parts(model, data):
    """Sites and ``fn(values, data)`` of a NumPyro model, found without running it on numbers."""
    arrays = {k: np.asarray(v) for k, v in data.items() if not isinstance(v, int)}
    static = {k: v for k, v in data.items() if k not in arrays}

    def run(values, arrays):
        def latent(site):
            if site["type"] != "sample" or site["is_observed"]:
                return None
            fn = site["fn"]
            if values is not None:
                return values[site["name"]]
            transform = dist.biject_to(fn.support)
            return transform(jnp.zeros(transform.inverse_shape(fn.shape())))

        with handlers.seed(rng_seed=0), handlers.substitute(substitute_fn=latent):
            return handlers.trace(model).get_trace(**static, **arrays)

    sites: list = []

    def probe(arrays):
        sites.extend(site_of(name, node) for name, node in stated(run(None, arrays)))
        return 0

    jax.eval_shape(probe, arrays)

    def parts(values, arrays):
        return {name: parts_of(node) for name, node in stated(run(values, arrays))}

    values = {s.name: jax.ShapeDtypeStruct(s.shape, np.float64) for s in sites if s.role == "latent"}
    return sites, parts, values, arrays


def graph_of(model, **data):
    sites, parts, values, arrays = model_parts(model, data)
    found = analyse(parts, values, arrays)
    assert found.problems == []
    return ModelGraph.of(sites, found.access)


def pairs(text):
    """``"mu tau > theta; theta > y"`` as a set of edges."""
    out = set()
    for clause in text.split(";"):
        parents, child = clause.split(">")
        out |= {(p, child.strip()) for p in parents.split()}
    return out


# -- models ----------------------------------------------------------------------------------------


def eight_schools(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
    numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_noncentred(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    raw = numpyro.sample("raw", dist.Normal(0.0, 1.0).expand([8]).to_event(1))
    theta = numpyro.deterministic("theta", mu + tau * raw)
    numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


SCHOOLS = dict(y=np.zeros(8), sigma=np.ones(8))


def test_eight_schools():
    graph = graph_of(eight_schools, **SCHOOLS)
    assert graph.edges == pairs("mu tau > theta; theta > y")
    assert graph.locals == ("theta",)
    assert graph.globals == ("mu", "tau")
    assert graph.links["mu", "theta"]["params"] == ("loc",)
    assert graph.links["tau", "theta"]["params"] == ("scale",)


def test_a_deterministic_is_a_leaf_and_its_users_see_through_it():
    graph = graph_of(eight_schools_noncentred, **SCHOOLS)
    assert graph.edges == pairs("mu tau raw > theta; mu tau raw > y")
    assert graph.locals == ("raw",)


def radon(county, floor, y, J):
    mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
    tau = numpyro.sample("tau", dist.HalfNormal(1.0))
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    alpha = numpyro.sample("alpha", dist.Normal(mu, tau).expand([J]).to_event(1))
    numpyro.sample("y", dist.Normal(alpha[county] + beta * floor, sigma), obs=y)


RADON = dict(county=np.array([0, 0, 1, 2, 3, 3]), floor=np.zeros(6), y=np.zeros(6), J=4)


def test_radon_gathers_its_counties():
    graph = graph_of(radon, **RADON)
    assert graph.edges == pairs("mu tau > alpha; alpha beta sigma > y")
    assert graph.links["alpha", "y"] == {
        "params": ("loc",),
        "index": ("county",),
        "modules": (),
        "time": False,
    }
    assert graph.nodes["alpha"]["independent"] == (0,)
    assert graph.locals == ("alpha",)
    assert "alpha[county]" in repr(graph)


def test_a_random_effect_that_is_centred_is_not_independent():
    def model(county, y, J):
        alpha = numpyro.sample("alpha", dist.Normal(0.0, 1.0).expand([J]))
        numpyro.sample("y", dist.Normal((alpha - alpha.mean())[county], 1.0), obs=y)

    assert graph_of(model, county=np.array([0, 1, 2]), y=np.zeros(3), J=3).locals == ()


def garch(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    omega = numpyro.sample("omega", dist.HalfNormal(1.0))
    a = numpyro.sample("a", dist.Uniform(0.0, 1.0))
    b = numpyro.sample("b", dist.Uniform(0.0, 1.0))
    numpyro.sample("unrelated", dist.Normal(0.0, 1.0))
    numpyro.factor("stationary", jnp.log1p(-a))

    def step(state, y):
        variance, drift = state
        variance = omega + a * (y - mu) ** 2 + b * variance
        return (variance, drift + 1.0), (variance, drift)

    _, (variance, drift) = jax.lax.scan(step, (jnp.ones(()), jnp.zeros(())), y)
    numpyro.deterministic("drift", drift)
    numpyro.factor("likelihood", dist.Normal(mu, jnp.sqrt(variance)).log_prob(y).sum())


def test_garch_follows_the_carry_by_component():
    graph = graph_of(garch, y=np.zeros(9))
    assert graph.edges == pairs("a > stationary; mu omega a b > likelihood")
    assert graph.links["omega", "likelihood"]["time"]
    assert graph.nodes["likelihood"]["likelihood"] and not graph.nodes["stationary"]["likelihood"]


def hmm(y):
    first = numpyro.sample("first", dist.Dirichlet(jnp.ones(2)))
    move = numpyro.sample("move", dist.Dirichlet(jnp.ones((2, 2))))
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    emission = dist.Normal(loc, 1.0).log_prob(y[:, None])

    def step(forward, em):
        return logsumexp(forward[:, None] + jnp.log(move), axis=0) + em, None

    forward, _ = jax.lax.scan(step, jnp.log(first) + emission[0], emission[1:])
    numpyro.factor("likelihood", logsumexp(forward))


def test_hidden_markov_forward_pass():
    graph = graph_of(hmm, y=np.zeros(9))
    assert graph.edges == pairs("first move loc > likelihood")
    assert graph.locals == ()


def gaussian_process(x, k):
    rho = numpyro.sample("rho", dist.Gamma(25.0, 4.0))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2.0))
    raw = numpyro.sample("raw", dist.Normal(0.0, 1.0).expand([5]).to_event(1))
    cov = alpha**2 * jnp.exp(-0.5 * ((x[:, None] - x) / rho) ** 2) + 1e-8 * jnp.eye(5)
    f = numpyro.deterministic("f", jnp.linalg.cholesky(cov) @ raw)
    numpyro.sample("k", dist.Poisson(jnp.exp(f)), obs=k)


def test_gaussian_process_mixes_through_the_cholesky_factor():
    graph = graph_of(gaussian_process, x=np.arange(5.0), k=np.ones(5, dtype=int))
    assert graph.edges == pairs("rho alpha raw > f; rho alpha raw > k")
    assert graph.locals == ()


def test_a_state_space_site_has_its_own_parents_and_no_others():
    def fn(values, data):
        def step(carry, inputs):
            level, season = carry
            shock, y = inputs
            season = values["rho"] * season
            level = level + values["drift"] + shock
            return (level, season), (level, season, y - level)

        start = (jnp.zeros(()), jnp.ones(()))
        _, (level, season, error) = jax.lax.scan(step, start, (values["shock"], data["y"]))
        return {"level": {"value": level}, "season": {"value": season}, "y": {"log_prob": -(error**2)}}

    values = {"rho": (), "drift": (), "shock": (6,)}
    access = analyse(fn, spec(values), {"y": np.zeros(6)}).access
    assert set(access["level"]["value"]) == {"drift", "shock"}
    assert set(access["season"]["value"]) == {"rho"}
    assert set(access["y"]["log_prob"]) == {"drift", "shock", "y"}
    assert access["y"]["log_prob"]["shock"].axes[0].how == "mixed"
    assert access["y"]["log_prob"]["shock"].time
    assert access["y"]["log_prob"]["y"].axes[0] == ("aligned", 0, None)


def test_a_scan_without_memory_keeps_its_rows():
    def fn(values, data):
        def step(total, inputs):
            z, i = inputs
            term = -((z - values["theta"][i]) ** 2)
            return total + term, term

        total, terms = jax.lax.scan(step, jnp.zeros(()), (values["z"], data["i"]))
        return {"rows": {"log_prob": terms}, "total": {"log_prob": total}}

    index = np.array([0, 1, 1, 2])
    access = analyse(fn, spec({"z": (4,), "theta": (3,)}), {"i": index}).access
    assert axis(access, "rows", "z") == ("aligned", 0, None)
    assert axis(access, "rows", "theta") == ("gathered", 0, "i")
    assert axis(access, "total", "z").how == axis(access, "total", "theta").how == "summed"


def test_while_and_cond():
    def fn(values, data):
        def body(state):
            i, x, y = state
            return i + 1, x * values["a"], y + 1.0

        _, x, y = jax.lax.while_loop(lambda s: s[1] < 9.0, body, (0, jnp.ones(()), values["b"]))
        z = jax.lax.cond(values["c"] > 0, lambda v: v, lambda v: -v, values["v"])
        return {"x": {"value": x}, "y": {"value": y}, "z": {"value": z}}

    access = analyse(fn, spec({"a": (), "b": (), "c": (), "v": (3,), "unused": ()}), {}).access
    assert set(access["x"]["value"]) == {"a"}
    # How often the body runs depends on `a`, though nothing of it is added to `y`.
    assert set(access["y"]["value"]) == {"a", "b"}
    assert set(access["z"]["value"]) == {"c", "v"}
    assert access["z"]["value"]["v"].axes[0] == ("aligned", 0, None)


def test_a_step_depends_on_its_own_past():
    def fn(values, data):
        def step(last, x):
            return x, (values["phi"] * last, -((x - values["phi"] * last) ** 2))

        _, (loc, log_prob) = jax.lax.scan(step, jnp.zeros(()), values["x"])
        return {"x": {"loc": loc, "log_prob": log_prob}, "phi": {"log_prob": -(values["phi"] ** 2)}}

    found = analyse(fn, spec({"x": (7,), "phi": ()}), {})
    sites = [Site("phi", "latent", "Normal"), Site("x", "latent", "Normal", "real", (7,))]
    graph = ModelGraph.of(sites, found.access)
    assert graph.edges == {("phi", "x"), ("x", "x")}
    assert graph.links["x", "x"]["time"]
    assert graph.locals == ()


# -- axes, against derivatives ---------------------------------------------------------------------


def spec(shapes):
    return {k: jax.ShapeDtypeStruct(shape, np.float64) for k, shape in shapes.items()}


def axis(access, node, source, position=0, part="log_prob"):
    return access[node][part][source].axes[position]


I = np.array([0, 2, 1, 0, 2, 1])  # noqa: E741
K = np.array([1, 1, 0, 2, 0, 2])
CASES = {
    "aligned": (lambda x, d: jnp.exp(x) * 2.0, (6,), "aligned"),
    "gathered": (lambda x, d: x[d["i"]] ** 2, (3,), "gathered"),
    "gathered twice alike": (lambda x, d: x[d["i"]] * jnp.exp(x[d["i"]]), (3,), "gathered"),
    "gathered by two arrays": (lambda x, d: x[d["i"]] * x[d["k"]], (3,), "mixed"),
    "gathered by one array, shifted": (lambda x, d: x[d["i"]] * x[d["i"][::-1]], (3,), "mixed"),
    "take": (lambda x, d: jnp.take(x, d["i"]) ** 2, (3,), "gathered"),
    "chained gathers": (lambda x, d: x[d["k"]][d["i"]] ** 2, (3,), "selected"),
    "constant index": (lambda x, d: x[np.array([2, 0])] ** 2, (3,), "selected"),
    "fixed elements": (lambda x, d: x[0] ** 2 + x[2] ** 2, (3,), "summed"),
    "product of fixed elements": (lambda x, d: x[0] * x[2], (3,), "mixed"),
    "sum": (lambda x, d: (x**2).sum(), (6,), "summed"),
    "square of a sum": (lambda x, d: x.sum() ** 2, (6,), "mixed"),
    "exp of a sum": (lambda x, d: jnp.exp(x.sum()), (6,), "mixed"),
    "sum times data": (lambda x, d: (x**2).sum() * d["y"], (6,), "summed"),
    "data over sum": (lambda x, d: d["y"] / (1 + (x**2).sum()), (6,), "mixed"),
    "differences": (lambda x, d: (x[1:] - x[:-1]) ** 2, (6,), "mixed"),
    "linear differences": (lambda x, d: x[1:] - x[:-1], (6,), "summed"),
    "roll": (lambda x, d: x * jnp.roll(x, 1), (6,), "mixed"),
    "reversed": (lambda x, d: x[::-1] ** 2, (6,), "selected"),
    "reversed product": (lambda x, d: x * x[::-1], (6,), "mixed"),
    "padded": (lambda x, d: jnp.pad(x, (1, 0))[:-1] * x, (6,), "mixed"),
    "cumsum": (lambda x, d: jnp.cumsum(x) ** 2, (6,), "mixed"),
    "max": (lambda x, d: x.max(), (6,), "mixed"),
    "sort": (lambda x, d: jnp.sort(x) * d["y"], (6,), "mixed"),
    "logsumexp": (lambda x, d: logsumexp(x), (6,), "mixed"),
    "where on itself": (lambda x, d: jnp.where(x > 0, x, 0.0), (6,), "aligned"),
    "where on its sum": (lambda x, d: jnp.where(x > 0, x.sum() * x[0], 0.0), (6,), "mixed"),
    "branch of a sum": (lambda x, d: jnp.where(x > 0, (x**2).sum(), 0.0), (6,), "mixed"),
    "dot with data": (lambda x, d: d["m"] @ x, (6,), "summed"),
    "dot with data, squared": (lambda x, d: (d["m"] @ x) ** 2, (6,), "mixed"),
    "dot with itself": (lambda x, d: x @ x, (6,), "summed"),
    "dot with itself, reversed": (lambda x, d: x @ x[::-1], (6,), "mixed"),
    "outer product": (lambda x, d: jnp.outer(x, x), (6,), "mixed"),
    "quadratic form": (lambda x, d: x @ (d["m"] @ x), (6,), "mixed"),
    "flattened": (lambda x, d: (x[:, None] * jnp.ones(2)).reshape(-1) ** 2, (6,), "selected"),
    "cholesky": (lambda x, d: jnp.linalg.cholesky(jnp.diag(1 + x**2) + 0.1), (6,), "mixed"),
    "scattered": (lambda x, d: jnp.zeros(9).at[d["i"] * 3].set(x) ** 2, (6,), "gathered"),
    "scatter-add": (lambda x, d: jnp.zeros(3).at[d["i"]].add(x) ** 2, (6,), "mixed"),
    "stack of elements": (lambda x, d: jnp.stack([x[0], x[1], x[2]]) ** 2, (3,), "selected"),
    "concatenated halves": (lambda x, d: jnp.concatenate([x[3:], x[:3]]) ** 2, (6,), "selected"),
    "concatenated, multiplied": (lambda x, d: jnp.concatenate([x[3:], x[:3]]) * x, (6,), "mixed"),
    "rounded sum": (lambda x, d: (x.sum()).astype(int).astype(float), (6,), "mixed"),
    "vmap": (lambda x, d: jax.vmap(lambda a, i: a * x[i])(d["y"], d["i"]) ** 2, (3,), "gathered"),
    "remat": (lambda x, d: jax.checkpoint(lambda a: jnp.sin(a))(x), (6,), "aligned"),
    "custom derivative": (lambda x, d: jax.nn.softplus(x) + jax.nn.relu(x), (6,), "aligned"),
    "fft": (lambda x, d: jnp.fft.fft(x).real, (6,), "mixed"),
    "solve": (lambda x, d: jnp.linalg.solve(jnp.eye(6) + 0.1, x) ** 2, (6,), "mixed"),
}


@pytest.mark.parametrize("name", CASES)
def test_axes(name):
    function, shape, expected = CASES[name]
    rng = np.random.default_rng(0)
    data = {"i": I, "k": K, "y": rng.normal(size=6), "m": rng.normal(size=(6, 6))}
    found = analyse(lambda v, d: {"f": {"log_prob": function(v["x"], d)}}, spec({"x": shape}), data)
    assert axis(found.access, "f", "x").how == expected
    if expected != "mixed":
        # What is claimed must show in the derivatives: no element meets another one in any term.
        x = jnp.asarray(rng.normal(size=shape))
        hessian = np.asarray(jax.hessian(lambda x: jnp.sum(function(x, data)))(x))
        assert np.abs(hessian - np.diag(np.diag(hessian))).max() == 0


def test_axes_of_a_matrix_are_judged_apart():
    def fn(values, data):
        x = values["x"]
        return {
            "rows": {"log_prob": logsumexp(x, axis=1)},
            "cells": {"log_prob": x.reshape(-1)[:, None] ** 2},
            "turned": {"log_prob": (x.T @ data["w"]) ** 2},
            "batched": {"log_prob": jnp.linalg.cholesky(x[:, :, None] ** 2 * jnp.eye(4) + 1)},
        }

    access = analyse(fn, spec({"x": (3, 4)}), {"w": np.ones(3)}).access
    assert [a.how for a in access["rows"]["log_prob"]["x"].axes] == ["aligned", "mixed"]
    assert [a.how for a in access["cells"]["log_prob"]["x"].axes] == ["selected", "selected"]
    assert [a.how for a in access["turned"]["log_prob"]["x"].axes] == ["mixed", "aligned"]
    assert [a.how for a in access["batched"]["log_prob"]["x"].axes] == ["aligned", "mixed"]


def test_rows_of_data_are_followed():
    def fn(values, data):
        return {"y": {"log_prob": data["y"] - values["x"][data["i"]] - data["m"] @ values["b"]}}

    data = {"y": np.ones(6), "i": I, "m": np.ones((6, 2))}
    access = analyse(fn, spec({"x": (3,), "b": (2,)}), data).access["y"]["log_prob"]
    assert access["y"].axes == (("aligned", 0, None),)
    assert access["i"].axes == (("aligned", 0, None),)
    assert access["m"].axes[0] == ("aligned", 0, None)


def test_reshapes():
    assert blocks((3, 1, 4), (3, 4)) == {0: 0, 1: None, 2: 1}
    assert blocks((1, 5), (5, 1, 1)) == {0: None, 1: 0}
    flat = blocks((2, 3, 4), (6, 4))
    assert flat[2] == 1 and flat[0].axes == flat[1].axes == (0,) and flat[0] != flat[1]


# -- index arrays ----------------------------------------------------------------------------------


def problems(function, size=3, **data):
    arrays = {k: np.asarray(v) for k, v in data.items()}
    parts = lambda v, d: {"f": {"log_prob": function(v["x"], **d)}}  # noqa: E731
    return analyse(parts, spec({"x": (size,)}), arrays).problems


@pytest.mark.parametrize("take", [lambda x, i: x[i], lambda x, i: jnp.take(x, i), jax.jit(lambda x, i: x[i])])
def test_indices_out_of_range(take):
    assert problems(take, i=[0, 1, 2]) == []
    assert problems(take, i=[0, 3, 1, 9]) == [IndexProblem("i", 3, (1, 3), (3, 9), False)]
    assert problems(take, i=[1, 2, 3]) == [IndexProblem("i", 3, (2,), (3,), True)]
    assert problems(take, i=[0, -1, 2]) == [IndexProblem("i", 3, (1,), (-1,), False)]


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x, i: x[i - 1], [IndexProblem("i", 3, (0,), (-1,), False)]),
        (lambda x, i: x[i + 1], [IndexProblem("i", 3, (2,), (3,), True)]),
        (lambda x, i: jnp.outer(x, x)[i, i + 1], [IndexProblem("i", 3, (2,), (3,), True)]),
        (lambda x, i: x[i[:2] + 1], []),
        (lambda x, i: x[i[:, None]], []),
        (lambda x, i: x[jnp.clip(i, 0, 2)], []),
        (lambda x, i: x[-1] + x[np.array([-1, 0])], []),
        (lambda x, i: x[i % 2 + 2], [IndexProblem("i", 3, (1,), (3,), True)]),
        (
            lambda x, i: jax.lax.scan(lambda c, j: (c + x[j + 1], None), 0.0, i)[0],
            [IndexProblem("i", 3, (2,), (3,), True)],
        ),
        (lambda x, i: jax.vmap(lambda j: x[j + 1])(i), [IndexProblem("i", 3, (2,), (3,), True)]),
        (lambda x, i: jnp.zeros(3).at[i + 1].add(x), [IndexProblem("i", 3, (2,), (3,), True)]),
        (lambda x, i: x[jnp.argmax(x)] + x[i][i], []),
        (lambda x, i: x[i][jnp.zeros(3, int)[i]], []),
    ],
)
def test_indices_computed_in_the_model(function, expected):
    assert problems(function, i=[0, 1, 2]) == expected


def test_a_scalar_index():
    assert problems(lambda x, i: x[i], i=2) == []
    assert problems(lambda x, i: x[i], i=3) == [IndexProblem("i", 3, (0,), (3,), True)]


def test_shapes_alone_are_not_checked():
    index = jax.ShapeDtypeStruct((4,), np.int64)
    parts = lambda v, d: {"f": {"log_prob": v["x"][d["i"]]}}  # noqa: E731
    found = analyse(parts, spec({"x": (3,)}), {"i": index})
    assert found.problems == []
    assert axis(found.access, "f", "x") == ("gathered", 0, "i")


# -- the reference models --------------------------------------------------------------------------

LOCALS = {
    "eight_schools-eight_schools_centered": ("theta",),
    "eight_schools-eight_schools_noncentered": ("theta_trans",),
    "radon_mn-radon_hierarchical_intercept_centered": ("alpha",),
    "radon_mn-radon_hierarchical_intercept_noncentered": ("alpha_raw",),
    "surgical_data-surgical_model": ("b",),
    "GLMM_Poisson_data-GLMM_Poisson_model": ("eps",),
    # Two components in every row of the mixture's likelihood.
    "low_dim_gauss_mix-low_dim_gauss_mix": (),
}


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference posteriors in {FOLDER} (ELBOROOM_POSTERIORDB)")
def test_reference_models():
    spec_ = importlib.util.spec_from_file_location("reference_models", FOLDER / "models.py")
    module = importlib.util.module_from_spec(spec_)
    spec_.loader.exec_module(module)
    seconds = {}
    for name, (model, convert) in module.MODELS.items():
        data = convert(json.loads((FOLDER / "data" / f"{name}.json").read_text()))
        sites, parts, values, arrays = model_parts(model, data)
        start = time.perf_counter()
        found = analyse(parts, values, arrays)
        seconds[name] = time.perf_counter() - start
        graph = ModelGraph.of(sites, found.access)
        assert found.problems == [], name
        assert graph.locals == LOCALS.get(name, ()), name
        for site in sites:
            if site.role in {"observed", "factor"}:
                assert graph.parents(site.name), name
    assert np.median(list(seconds.values())) < 0.3, seconds
    print({k: round(v, 3) for k, v in seconds.items()})

"""Exact edges, independent axes, and index arrays that reach outside."""

import xml.etree.ElementTree as ElementTree

import networkx as nx
import numpy as np
import pytest
from elboroom.ppl import constraints
from elboroom.ppl.draw import layers, svg
from elboroom.ppl.errors import DataError
from elboroom.ppl.graph import Access, AxisAccess, ModelGraph, independent_axes
from elboroom.ppl.sites import Site

import elboroom as er


def centred(sigma, y):
    import numpyro
    import numpyro.distributions as dist

    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
    numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def counties(county, floor, y, J):
    import numpyro
    import numpyro.distributions as dist

    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfNormal(1.0))
    raw = numpyro.sample("raw", dist.Normal(0.0, 1.0).expand([J]).to_event(1))
    alpha = numpyro.deterministic("alpha", mu + tau * raw)
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(alpha[county] + slope * floor, 1.0), obs=y)


def smoothing(y):
    import jax
    import numpyro
    import numpyro.distributions as dist

    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    unused = numpyro.sample("unused", dist.Normal(0.0, 1.0))

    def step(carry, x):
        level, other = carry
        return (a * level + x, other + unused), level

    _, levels = jax.lax.scan(step, (b, 0.0), y)
    numpyro.sample("y", dist.Normal(levels, 1.0), obs=y)


def test_edges_of_eight_schools():
    graph = er.from_numpyro(centred)(np.ones(8), np.zeros(8)).graph()
    assert graph.edges == {("mu", "theta"), ("tau", "theta"), ("theta", "y")}
    assert graph.locals == ("theta",) and set(graph.globals) == {"mu", "tau"}
    assert graph.network.edges["mu", "theta"]["params"] == ("loc",)


def test_gathers_without_a_plate():
    rng = np.random.default_rng(0)
    program = er.from_numpyro(counties)(rng.integers(0, 4, 30), rng.normal(size=30), rng.normal(size=30), 4)
    graph = program.graph()
    assert graph.edges == {
        *((parent, "alpha") for parent in ("mu", "tau", "raw")),
        *((parent, "y") for parent in ("mu", "tau", "raw", "slope")),
    }
    assert graph.locals == ("raw",)
    assert graph.network.edges["raw", "y"]["index"] == ("county",)


def test_a_scan_gives_no_false_parents():
    graph = er.from_numpyro(smoothing)(np.arange(5.0)).graph()
    assert graph.edges == {("a", "y"), ("b", "y")}


def test_drawing_escapes_names():
    @er.model
    def odd(y):
        m = er.sample("<b>", er.Normal(0, 1))
        er.observe("y", er.Normal(m, 1), y)

    svg = odd(np.zeros(6)).graph()._repr_svg_()
    assert svg.startswith("<svg") and "<b>" not in svg and "&lt;b&gt;" in svg


@pytest.mark.parametrize("codes", [[1, 2, 3], [0, -1, 2], [0, 1, 7]])
def test_indices_outside_the_axis_are_refused(codes):
    program = er.from_numpyro(counties)(np.array(codes), np.zeros(3), np.zeros(3), 3)
    with pytest.raises(DataError, match="county"):
        program.trace()
    if codes == [1, 2, 3]:
        with pytest.raises(DataError, match="one-based"):
            program.trace()


def test_rows_of_a_target():
    @er.model
    def grouped(county, y=None):
        mu = er.sample("mu", er.Normal(0, 5))
        with er.plate("county", er.levels(county)):
            a = er.sample("a", er.Normal(mu, 1))
        with er.plate("obs", len(county)):
            er.observe("y", er.Normal(a[county], 1.0), y)

    rng = np.random.default_rng(0)
    county = np.r_[np.arange(5), rng.integers(0, 5, 15)]
    y = rng.normal(size=20)
    target = grouped(county, y).target()
    z = rng.normal(size=(2, target.dim))
    full = target.log_density(z)["log_likelihood"]
    blocks = np.split(np.arange(20), 4)
    parts = [target.log_density(z, rows={"obs": b}, scale={"obs": 4.0})["log_likelihood"] for b in blocks]
    np.testing.assert_allclose(np.mean(parts, 0), full, rtol=1e-12)
    rows = np.array([3, 1])
    obs = np.flatnonzero(np.isin(county, rows))
    small = target.log_density(z[:, np.r_[0, 1 + rows]], rows={"county": rows, "obs": obs})
    exact = -0.5 * ((y[obs] - z[:, 1 + county[obs]]) ** 2).sum(1) - 0.5 * len(obs) * np.log(2 * np.pi)
    np.testing.assert_allclose(small["log_likelihood"], exact, rtol=1e-12)
    assert target.log_density(z)["log_density"] == pytest.approx(target.value_and_grad(z)[0], rel=1e-12)


SCALAR = Access("latent")
EACH = Access("latent", (AxisAccess("aligned", 0),))
GATHERED = Access("latent", (AxisAccess("gathered", 0, "county"),), index=("county",))
MIXED = Access("latent", (AxisAccess("mixed"),))
DATA = Access("data", (AxisAccess("aligned", 0),))


def radon() -> ModelGraph:
    sites = [
        Site("mu", "latent", "Normal", "real"),
        Site("alpha", "latent", "Normal", "real", (3,)),
        Site("twice", "deterministic", shape=(3,)),
        Site("prior", "factor"),
        Site("y", "observed", "Normal", "real", (9,), plates=("row",), dims=("row",)),
    ]
    access = {
        "mu": {"log_prob": {"mu": SCALAR}},
        "alpha": {"log_prob": {"alpha": EACH, "mu": SCALAR}, "loc": {"mu": SCALAR}},
        "twice": {"value": {"alpha": EACH}},
        "prior": {"log_prob": {"mu": SCALAR}},
        "y": {
            "log_prob": {"alpha": GATHERED, "y": DATA, "county": DATA},
            "loc": {"alpha": GATHERED, "county": DATA},
            "scale": {},
        },
    }
    return ModelGraph.of(sites, access)


def test_graph():
    graph = radon()
    assert graph.sites == ("mu", "alpha", "twice", "prior", "y")
    assert graph.edges == {("mu", "alpha"), ("alpha", "twice"), ("mu", "prior"), ("alpha", "y")}
    assert graph.links["alpha", "y"] == {
        "params": ("loc",),
        "index": ("county",),
        "modules": (),
        "time": False,
    }
    assert graph.parents("y") == ("alpha",)
    assert (graph.locals, graph.globals) == (("alpha",), ("mu",))
    assert isinstance(graph.network, nx.DiGraph)
    assert graph.network.nodes["y"]["likelihood"] and not graph.network.nodes["prior"]["likelihood"]
    assert repr(graph).splitlines()[-1] == "y ~ Normal [observed] ← alpha[county]"


def test_given_independence_is_taken():
    sites = [Site("a", "latent", "Normal", "real", (3,))]
    assert ModelGraph.of(sites, {}, {"a": ()}).locals == ()
    assert ModelGraph.of(sites, {}, {"a": (0,)}).locals == ("a",)


@pytest.mark.parametrize(
    "constraint, expected",
    [
        (constraints.real, (0,)),
        (constraints.real_vector, (0,)),
        (constraints.independent(constraints.positive, 1), (0,)),
        (constraints.simplex, ()),
        (constraints.ordered_vector, ()),
        (None, ()),
    ],
)
def test_a_support_can_couple_what_densities_do_not(constraint, expected):
    support = "ordered vector" if constraint is None else constraint.name
    site = Site("x", "latent", "ImproperUniform", support, (3,), 1, constraint=constraint)
    access = {"p": {"log_prob": {"x": Access("latent", (AxisAccess("summed"),))}}}
    assert independent_axes(site, access) == expected


def test_one_mixing_term_is_enough():
    site = Site("x", "latent", "Normal", "real", (3,))
    assert independent_axes(site, {"x": {"log_prob": {"x": EACH}}}) == (0,)
    assert independent_axes(site, {"x": {"log_prob": {"x": EACH}}, "y": {"log_prob": {"x": MIXED}}}) == ()
    # What is only reported couples nothing.
    assert independent_axes(site, {"x": {"log_prob": {"x": EACH}}, "mean": {"value": {"x": MIXED}}}) == (0,)


def test_an_axis_of_one_element_is_no_axis():
    assert independent_axes(Site("x", "latent", "Normal", "real", (1,)), {}) == ()


def test_drawing_is_well_formed_and_escaped():
    sites = [
        Site('<script>"a"&', "latent", "Normal<b>", "real", (3,), plates=("p<q",), dims=("p",)),
        Site("y", "observed", "Normal", "real"),
    ]
    graph = ModelGraph.of(sites, {"y": {"loc": {'<script>"a"&': GATHERED}}})
    drawing = graph._repr_html_()
    root = ElementTree.fromstring(drawing)
    assert root.tag.endswith("svg")
    assert "<script>" not in drawing
    texts = {e.text for e in root.iter() if e.tag.endswith("text")}
    assert '<script>"a"&' in texts


def test_drawing_by_role():
    drawing = radon()._repr_svg_()
    assert "http" not in drawing.replace("http://www.w3.org/2000/svg", "")
    assert drawing.count("<ellipse") == 4
    assert drawing.count("stroke-dasharray") == 1
    assert ">county<" not in drawing
    assert ">county<" in radon().svg(show_data=True)


def test_loops_through_time_are_drawn():
    network = nx.DiGraph()
    for name in ("a", "b", "y"):
        network.add_node(name, role="latent")
    network.add_edges_from([("a", "a"), ("b", "a")], time=True)
    network.add_edges_from([("a", "b"), ("b", "y")])
    assert layers(network) == [["a"], ["b"], ["y"]]
    network.add_edge("y", "a")
    assert sum(map(len, layers(network))) == 3
    ElementTree.fromstring(svg(network))


def test_an_empty_graph():
    ElementTree.fromstring(svg(nx.DiGraph()))

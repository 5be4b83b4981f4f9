"""Sparse factors against dense linear algebra, and links against the Hessian."""

import numpy as np
import pytest
import scipy.sparse as sp
from elboroom.guides import Structured, sparse
from elboroom.guides.sparse import Layout, NotPositiveDefinite, TooDense
from elboroom.guides.structure import colours, structure

import elboroom as er

RNG = np.random.default_rng(4)


def positive(rows, cols, dim):
    values = RNG.normal(size=len(rows))
    matrix = sp.coo_array((values, (rows, cols)), shape=(dim, dim)).tocsr()
    matrix = matrix + matrix.T
    return sp.csr_array(matrix + sp.diags_array(np.abs(matrix).sum(0) + RNG.uniform(0.5, 2, dim)))


def groups(count=60, each=2, shared=4):
    member = np.arange(count * each).reshape(count, each)
    hub = count * each + np.arange(shared)
    rows = [np.repeat(member.ravel(), shared), member[:, 0], hub[1:]]
    cols = [np.tile(hub, count * each), member[:, 1], hub[:-1]]
    return positive(np.concatenate(rows), np.concatenate(cols), count * each + shared)


def chain(steps=200, width=2, shared=2):
    i = np.arange(steps)
    rows = [i[k:] for k in range(1, width + 1)] + [np.tile(i, shared)]
    cols = [i[:-k] for k in range(1, width + 1)] + [np.repeat(steps + np.arange(shared), steps)]
    return positive(np.concatenate(rows), np.concatenate(cols), steps + shared)


def nested(classes=15, pupils=12):
    pupil = classes + np.arange(classes * pupils)
    top = classes + classes * pupils
    rows = [pupil, np.arange(top)]
    cols = [np.repeat(np.arange(classes), pupils), np.full(top, top)]
    return positive(np.concatenate(rows), np.concatenate(cols), top + 1)


def crossed(persons=90, items=12):
    a, b = (x.ravel() for x in np.meshgrid(np.arange(persons), persons + np.arange(items)))
    return positive(a, b, persons + items)


@pytest.mark.parametrize("make", [groups, chain, nested, crossed, lambda: sp.csr_array(np.eye(3) * 4.0)])
def test_factor(make):
    matrix = make()
    dense, dim = matrix.toarray(), matrix.shape[0]
    layout = Layout.of(matrix)
    factor = layout.factor(matrix)
    eps = RNG.normal(size=(7, dim))
    x = factor.root(eps)
    np.testing.assert_allclose(((x @ dense) * x).sum(1), (eps**2).sum(1), rtol=1e-9)
    np.testing.assert_allclose(factor.unroot(x), eps, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((factor.whiten(x) * eps).sum(1), (x * x).sum(1), rtol=1e-9)
    np.testing.assert_allclose(2 * factor.log_det, np.linalg.slogdet(dense)[1], rtol=1e-9)
    np.testing.assert_allclose(factor.variances(), np.diag(np.linalg.inv(dense)), rtol=1e-9)
    np.testing.assert_allclose(factor.precision_diagonal, np.diag(dense), rtol=1e-9)


@pytest.mark.parametrize(("make", "most"), [(groups, 14.1), (chain, 15.0), (nested, 3.1)])
def test_numbers_grow_with_the_length(make, most):
    short, long = (Layout.of(make(n)).num_parameters / make(n).shape[0] for n in (400, 1600))
    assert long < most and long < 1.05 * short + 1
    assert Layout.of(make(1600)).level.max() < 60  # no step per group


def test_what_cannot_be_factored(monkeypatch):
    matrix = groups()
    with pytest.raises(NotPositiveDefinite):
        Layout.of(matrix).factor(sp.csr_array(matrix - 50 * sp.eye_array(matrix.shape[0])))
    monkeypatch.setattr(sparse, "LARGEST_TAIL", 200)
    with pytest.raises(TooDense):
        Layout.of(sp.random_array((600, 600), density=0.02, rng=0))


def test_colours_recover_every_link():
    for matrix in (groups(), chain(), nested(), crossed()):
        hub, colour = colours(matrix)
        assert colour.max() + 1 < 25
        links = matrix.tocoo()
        for i, j in zip(links.row, links.col, strict=True):
            if hub[i] or hub[j]:
                continue
            near = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]
            assert (colour[near[~hub[near]]] == colour[j]).sum() == 1


@er.model
def slopes(group, x, y):
    mu = er.sample("mu", er.Normal(0, 2).expand([2]).to_event(1))
    tau = er.sample("tau", er.HalfNormal(1).expand([2]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu[0], tau[0]))
        b = er.sample("b", er.Normal(mu[1], tau[1]))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group] + b[group] * x, sigma), y)


@er.model
def undeclared(group, x, y, size):
    mu = er.sample("mu", er.Normal(0, 2).expand([2]).to_event(1))
    tau = er.sample("tau", er.HalfNormal(1).expand([2]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    a = er.sample("a", er.Normal(mu[0], tau[0]).expand([size]).to_event(1))
    b = er.sample("b", er.Normal(mu[1], tau[1]).expand([size]).to_event(1))
    er.observe("y", er.Normal(a[group] + b[group] * x, sigma), y)


@er.model
def level(y):
    drift = er.sample("drift", er.HalfNormal(1))
    noise = er.sample("noise", er.HalfNormal(1))
    x = er.sample("x", er.GaussianRandomWalk(drift, len(y)))
    er.observe("y", er.Normal(x, noise), y)


@er.model
def pupils(school, y):
    spread = er.sample("spread", er.HalfNormal(1).expand([2]).to_event(1))
    with er.plate("school", er.levels(school)):
        s = er.sample("s", er.Normal(0, spread[0]))
    with er.plate("pupil", len(y)):
        p = er.sample("p", er.Normal(s[school], spread[1]))
        er.observe("y", er.Poisson(er.math.exp(p)), y)


GROUP = np.repeat(np.arange(30), 4)
X, Y = RNG.normal(size=120), RNG.normal(size=120)
CASES = {
    "slopes": (slopes(GROUP, X, Y), 7),
    "undeclared": (undeclared(GROUP, X, Y, 30), 7),
    "level": (level(Y[:80]), 9),
    "pupils": (pupils(GROUP[:90], RNG.poisson(2, 90)), 8),
}


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("name", CASES)
def test_links_are_those_of_the_hessian(name, share, backend):
    program, most = CASES[name]
    target = program.target(backend)
    target = target.centred({s.name: share for s in target.sites if s.location_scale})
    z = 0.3 * RNG.normal(size=target.dim)
    found = structure(target, target.value_and_grad, z, np.ones(target.dim), np.random.default_rng(1))
    assert found.num_colours <= most
    exact = target.hessian_vector(np.repeat(z[None], target.dim, 0), np.eye(target.dim))
    recovered = found.hessian(target.value_and_grad, z[None], np.ones(target.dim)).toarray()
    np.testing.assert_allclose(recovered, exact, rtol=2e-5, atol=2e-5 * np.abs(exact).max())


def test_plates_and_gathers_give_the_same_guide():
    one, other = (Structured().bind(CASES[name][0].target("jax")) for name in ("slopes", "undeclared"))
    assert one.num_parameters == other.num_parameters
    np.testing.assert_array_equal(one.layout["level"], other.layout["level"])
    np.testing.assert_array_equal(one.layout["rows"], other.layout["rows"])


def test_a_dense_posterior_is_refused():
    @er.model
    def regression(x, y):
        beta = er.sample("beta", er.Normal(0, 1).expand([x.shape[1]]).to_event(1))
        er.observe("y", er.Normal(x @ beta, 1), y)

    program = regression(RNG.normal(size=(60, 40)), RNG.normal(size=60))
    with pytest.raises(er.GuideError, match="linked with each other"):
        er.fit(program, guide="structured", progress=False)

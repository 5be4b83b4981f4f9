"""Links of a posterior: however groups are written, in each language, they hold the Hessian's non-zeros."""

from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.guides import Affine, choose, structure
from elboroom.guides.structure import UnreadLinks

import elboroom as er

RNG = np.random.default_rng(11)
GROUPS, ROWS = 14, 42
DATA = {
    "g": np.arange(ROWS) % GROUPS,
    "h": RNG.permutation(np.arange(ROWS) % 5),
    "x": RNG.normal(size=ROWS),
    "X": RNG.normal(size=(ROWS, 2)),
    "y": 3 * RNG.normal(size=GROUPS)[np.arange(ROWS) % GROUPS] * (1 + RNG.normal(size=ROWS)),
    "Y": RNG.normal(size=(ROWS, 2)),
    "table": 3 * RNG.normal(size=(GROUPS, 3)),
    "square": RNG.normal(size=(GROUPS, GROUPS)),
    "one": np.zeros(ROWS, int),
    "parent": np.arange(GROUPS) % 4,
    "some": (np.arange(ROWS) % 3 > 0).astype(float),
    "sparse": np.arange(ROWS) % (GROUPS - 2),
    "W": RNG.normal(size=(ROWS, GROUPS)),
}


def scalar(w, g, y):
    mu, t = w.sample("mu", w.Normal(0.0, 1.0)), w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(mu, t))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g], 1.0), y)


def vector(w, g, x, y):
    t = w.sample("t", w.HalfNormal(w.array([1.0, 1.0])).to_event(1))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(w.array([0.0, 0.0]), t).to_event(1))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g, 0] + e[g, 1] * x, 1.0), y)


def vector_around(w, g, x, y):
    mu = w.sample("mu", w.Normal(w.array([0.0, 0.0]), 1.0).to_event(1))
    t = w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.StudentT(4.0, mu, t).to_event(1))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g, 0] + e[g, 1] * x, 1.0), y)


def long_vector(w, table):
    t = w.sample("t", w.HalfNormal(1.0).expand([3]).to_event(1))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(0.0, t).to_event(1))
        w.observe("y", w.Normal(e, 1.0).to_event(1), table)


def many_scales(w, square):
    t = w.sample("t", w.HalfNormal(1.0).expand([GROUPS]).to_event(1))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(0.0, t).to_event(1))
        w.observe("y", w.Normal(e, 1.0).to_event(1), square)


def expanded(w, g, y):
    t = w.sample("t", w.HalfNormal(1.0))
    e = w.sample("e", w.Normal(0.0, t).expand([GROUPS]).to_event(1))
    w.observe("y", w.Normal(e[g], 1.0).to_event(1), y)


def square_effects(w, square):
    e = w.sample("e", w.Normal(0.0, 2.0).expand([GROUPS, GROUPS]).to_event(2))
    w.observe("y", w.Normal(e, 1.0).to_event(2), square)


def square_by_rows(w, W, Y):
    b = w.sample("b", w.Normal(0.0, 1.0).expand([2, 2]).to_event(2))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(W[:, :2] @ b, 1.0).to_event(1), Y)


def autoregression(w, table):
    a = w.sample("a", w.Normal(0.0, 0.5).expand([3, 3]).to_event(2))
    with w.plate("t", GROUPS - 1):
        w.observe("y", w.Normal(table[:-1] @ a, 1.0).to_event(1), table[1:])


def square_with_vector(w, square):
    c = w.sample("c", w.Normal(0.0, 1.0).expand([GROUPS]).to_event(1))
    e = w.sample("e", w.Normal(0.0, 2.0).expand([GROUPS, GROUPS]).to_event(2))
    w.observe("y", w.Normal(e + c, 1.0).to_event(2), square)


def square_with_column(w, square):
    c = w.sample("c", w.Normal(0.0, 1.0).expand([GROUPS]).to_event(1))
    e = w.sample("e", w.Normal(0.0, 2.0).expand([GROUPS, GROUPS]).to_event(2))
    w.observe("y", w.Normal(e + c[:, None], 1.0).to_event(2), square)


def transposed(w, square):
    e = w.sample("e", w.Normal(0.0, 2.0).expand([GROUPS, GROUPS]).to_event(2))
    w.observe("y", w.Normal(e + er.math.matrix_transpose(e), 1.0).to_event(2), square)


def loadings(w, square):
    f = w.sample("f", w.Normal(0.0, 1.0).expand([GROUPS, GROUPS]).to_event(2))
    w.observe("y", w.Normal(f @ er.math.matrix_transpose(f), 1.0).to_event(2), square)


def joint_normal(w, g, x, y):
    t = w.sample("t", w.HalfNormal(1.0).expand([2]).to_event(1))
    with w.plate("g", GROUPS):
        e = w.sample(
            "e",
            w.MultivariateNormal(
                w.array([0.0, 0.0]), scale_tril=t[:, None] * w.array([[1.0, 0.0], [0.0, 1.0]])
            ),
        )
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g, 0] + e[g, 1] * x, 1.0), y)


def correlated(w, g, x, y):
    t = w.sample("t", w.HalfNormal(1.0).expand([2]).to_event(1))
    root = w.sample("root", w.LKJCholesky(2, 2.0))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(0.0, 1.0).expand([2]).to_event(1))
    b = e @ er.math.matrix_transpose(t[:, None] * root)
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(b[g, 0] + b[g, 1] * x, 1.0), y)


def correlations_by_group(w, table):
    with w.plate("g", GROUPS):
        root = w.sample("root", w.LKJCholesky(3, 2.0))
        w.observe("y", w.MultivariateNormal(w.array([0.0, 0.0, 0.0]), scale_tril=root), table)


def nested(w, parent, g, y):
    t = w.sample("t", w.HalfNormal(1.0).expand([2]).to_event(1))
    with w.plate("p", 4):
        a = w.sample("a", w.Normal(0.0, t[0]))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(a[parent], t[1]))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g], 1.0), y)


def two_plates(w, table):
    t = w.sample("t", w.HalfNormal(1.0))
    with w.plate("k", 3, -1):
        a = w.sample("a", w.Normal(0.0, 1.0))
        with w.plate("g", GROUPS, -2):
            e = w.sample("e", w.Normal(a, t))
            w.observe("y", w.Normal(e, 1.0), table)


def other_dimension(w, table):
    t = w.sample("t", w.HalfNormal(1.0))
    with w.plate("k", 3, -1):
        s = w.sample("s", w.HalfNormal(1.0))
    with w.plate("g", GROUPS, -2):
        a = w.sample("a", w.Normal(0.0, t))
    with w.plate("g", GROUPS, -2), w.plate("k", 3, -1):
        e = w.sample("e", w.Normal(a, s))
        w.observe("y", w.Normal(e, 1.0), table)


def columns(w, table):
    t = w.sample("t", w.HalfNormal(1.0))
    a = w.sample("a", w.Normal(0.0, t).expand([GROUPS, 1]).to_event(2))
    e = w.sample("e", w.Normal(a, 1.0).expand([GROUPS, 3]).to_event(2))
    w.observe("y", w.Normal(e, 1.0).to_event(2), table)


def column_against_row(w, square):
    a = w.sample("a", w.Normal(0.0, 1.0).expand([GROUPS, 1]).to_event(2))
    b = w.sample("b", w.Normal(0.0, 1.0).expand([GROUPS]).to_event(1))
    w.observe("y", w.Normal(a + b, 1.0).to_event(2), square)


def two_indices(w, g, h, y):
    t = w.sample("t", w.HalfNormal(1.0))
    e = w.sample("e", w.Normal(0.0, t).expand([GROUPS, 5]).to_event(2))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g, h], 1.0), y)


def same_index_twice(w, g, y):
    e = w.sample("e", w.Normal(0.0, 1.0).expand([GROUPS, GROUPS]).to_event(2))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g, g], 1.0), y)


def crossed(w, g, h, y):
    t = w.sample("t", w.HalfNormal(1.0).expand([2]).to_event(1))
    with w.plate("g", GROUPS):
        a = w.sample("a", w.Normal(0.0, t[0]))
    with w.plate("h", 5):
        b = w.sample("b", w.Normal(0.0, t[1]))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(a[g] + b[h], 1.0), y)


def design(w, W, y):
    t = w.sample("t", w.HalfNormal(1.0))
    e = w.sample("e", w.Normal(0.0, t).expand([GROUPS]).to_event(1))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(W @ e, 1.0), y)


def rows_of_design(w, g, X, y):
    t = w.sample("t", w.HalfNormal(1.0).expand([2]).to_event(1))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(0.0, t).to_event(1))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal((X * e[g]).sum(-1), 1.0), y)


def einsum(w, g, X, y):
    e = w.sample("e", w.Normal(0.0, 1.0).expand([GROUPS, 2]).to_event(2))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(w.einsum("nk,nk->n", X, e[g]), 1.0), y)


def taken(w, g, y):
    t = w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(0.0, t))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(w.take(e, g), 1.0), y)


def masked(w, g, y, some):
    t = w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(0.0, t))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(er.math.where(some > 0, e[g], 0.0), 1.0), y)


def one_group(w, one, x, y):
    t = w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", 1):
        e = w.sample("e", w.Normal(w.array([0.0, 0.0]), t).to_event(1))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[one, 0] + e[one, 1] * x, 1.0), y)


def empty_group(w, sparse, y):
    mu, t = w.sample("mu", w.Normal(0.0, 1.0)), w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(mu, t))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[sparse], 1.0), y)


def from_one(w, g, y):
    t = w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", GROUPS):
        e = w.sample("e", w.Normal(0.0, t))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[(g + 1) - 1], 1.0), y)


def by_hand(w, g, y):
    mu, t = w.sample("mu", w.Normal(0.0, 1.0)), w.sample("t", w.HalfNormal(1.0))
    with w.plate("g", GROUPS):
        z = w.sample("z", w.Normal(0.0, 1.0))
    e = mu + t * z
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g], 1.0), y)


def groups_of_scales(w, g, y):
    with w.plate("g", GROUPS):
        s = w.sample("s", w.HalfNormal(1.0))
        e = w.sample("e", w.Normal(0.0, s))
    with w.plate("n", ROWS):
        w.observe("y", w.Normal(e[g], s[g]), y)


def simplexes(w, table):
    with w.plate("g", GROUPS):
        p = w.sample("p", w.Dirichlet(w.array([1.0, 1.0, 1.0])))
        w.observe("y", w.Normal(p, 1.0).to_event(1), table)


CASES = [
    v for v in list(vars().values()) if getattr(v, "__code__", None) and v.__code__.co_varnames[:1] == ("w",)
]
SPARSE = {  # where a guide that follows the groups has to be found
    scalar,
    vector,
    vector_around,
    long_vector,
    many_scales,
    expanded,
    square_effects,
    square_by_rows,
    autoregression,
    square_with_vector,
    square_with_column,
    joint_normal,
    correlated,
    nested,
    two_plates,
    other_dimension,
    columns,
    crossed,
    rows_of_design,
    einsum,
    taken,
    masked,
    empty_group,
    by_hand,
    groups_of_scales,
}


def ours():
    import jax.numpy as jnp

    names = (
        "sample",
        "observe",
        "Normal",
        "HalfNormal",
        "StudentT",
        "MultivariateNormal",
        "LKJCholesky",
        "Dirichlet",
    )
    words = {name: getattr(er, name) for name in names}
    return SimpleNamespace(
        **words,
        plate=lambda name, size, dim=None: er.plate(name, size),
        array=np.array,
        einsum=jnp.einsum,
        take=lambda e, g: er.math.take(e, g, 0),
    )


def numpyros():
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    return SimpleNamespace(
        **{name: getattr(dist, name) for name in dist.__all__ if name[0].isupper()},
        sample=numpyro.sample,
        observe=lambda name, law, y: numpyro.sample(name, law, obs=y),
        plate=lambda name, size, dim=None: numpyro.plate(name, size, dim=dim),
        array=jnp.array,
        einsum=jnp.einsum,
        take=jnp.take,
    )


def pyros():
    import pyro
    import pyro.distributions as dist
    import torch

    def law(name):
        def made(*args, **kwargs):
            double = lambda v: torch.tensor(v, dtype=torch.float64) if isinstance(v, float) else v  # noqa: E731
            return getattr(dist, name)(*map(double, args), **kwargs)

        return made

    names = ("Normal", "HalfNormal", "StudentT", "MultivariateNormal", "LKJCholesky", "Dirichlet")
    return SimpleNamespace(
        **{name: law(name) for name in names},
        sample=pyro.sample,
        observe=lambda name, fn, y: pyro.sample(name, fn, obs=y),
        plate=lambda name, size, dim=None: pyro.plate(name, size, dim=dim),
        array=lambda v: torch.tensor(v, dtype=torch.float64),
        einsum=torch.einsum,
        take=lambda e, g: torch.index_select(e, 0, g),
    )


LANGUAGES = {
    "elboroom": (ours, er.model),
    "numpyro": (numpyros, er.from_numpyro),
    "pyro": (pyros, er.from_pyro),
}


def program(case, language):
    words, take = LANGUAGES[language]
    names = case.__code__.co_varnames[1 : case.__code__.co_argcount]
    text = f"lambda {', '.join(names)}: case(words, {', '.join(names)})"
    return take(eval(text, {"case": case, "words": words()}))(**{name: DATA[name] for name in names})


def hessian(target, z):
    return target.hessian_vector(np.repeat(z[None], target.dim, 0), np.eye(target.dim))


EVERY = [
    pytest.param(case, language, id=f"{case.__name__}-{language}")
    for case in CASES
    for language in LANGUAGES
    if (case, language) != (other_dimension, "elboroom")  # our plates have no dims
]


@pytest.mark.parametrize(("case", "language"), EVERY)
def test_links_hold_every_non_zero(case, language):
    rng, made = np.random.default_rng(3), program(case, language)
    plain = made.target()
    for share in (1.0, 0.3):
        target = plain.centred({s.name: share for s in plain.sites if s.location_scale})
        found = structure.structure(
            target, target.value_and_grad, np.zeros(target.dim), np.ones(target.dim), rng
        )
        assert found is not None or case not in SPARSE
        exact = np.maximum(*(np.abs(hessian(target, rng.normal(size=target.dim))) for _ in range(2)))
        if found is not None:
            assert exact[found.pattern.toarray() == 0].max(initial=0.0) < 1e-9 * exact.max()
        if not target.centring:
            break


@pytest.mark.parametrize("case", [vector, vector_around, joint_normal, two_plates, square_by_rows, nested])
def test_the_fit_is_that_of_a_dense_guide(case):
    """The best Gaussian has the posterior's links: it is the same with and without them given."""
    made = program(case, "numpyro")
    free, dense = (
        er.fit(made, guide, num_draws=16_000, refine=False, progress=False).summary()
        for guide in ("structured", "full-rank")
    )
    assert ((free["mean"] - dense["mean"]) / dense["sd"]).abs().max() < 0.1
    assert (free["sd"] / dense["sd"] - 1).abs().max() < 0.1


def test_an_analysis_that_fails_is_a_finding(monkeypatch):
    def fails(*args):
        raise ValueError("source and destination")

    monkeypatch.setattr(structure, "links", fails)
    made = program(nested, "elboroom")
    target = made.target()
    with pytest.raises(UnreadLinks, match="source and destination"):
        structure.structure(target, target.value_and_grad, np.zeros(20), np.ones(20), RNG)
    plan = choose("auto", target).refined(target, Affine(np.zeros(20), np.ones(20)))
    assert plan.family.name == "full-rank" and "source" in plan.unread
    for guide in ("auto", "structured"):
        posterior = er.fit(made, guide, refine=False, progress=False)
        assert any(f.name == "links" and "source and destination" in f.advice for f in posterior.findings)
        assert posterior.guide.family.name == ("full-rank" if guide == "auto" else "mean-field")


def test_an_operation_without_a_rule_that_holds_is_a_finding(monkeypatch):
    from elboroom.ppl.backends.jax import rules

    def fails(*args):
        raise IndexError

    monkeypatch.setitem(rules._RULES, "gather", fails)
    made = program(nested, "elboroom")
    assert {a.how for a in made.accesses()["y"]["log_prob"]["e"].axes} == {"mixed"}
    posterior = er.fit(made, refine=False, progress=False)
    assert any(f.name == "links" and "gather" in f.advice for f in posterior.findings)

"""Models on the torch backend: against the same references as JAX, and against JAX itself."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from scipy import stats

import elboroom as er

RNG = np.random.default_rng(0)


@er.model
def schools(y, s):
    mu, tau = er.sample("mu", er.Normal(0, 5)), er.sample("tau", er.HalfCauchy(5))
    with er.plate("school", len(y)):
        z = er.sample("z", er.Normal(0, 1))
        theta = er.deterministic("theta", mu + tau * z)
        er.observe("y", er.Normal(theta, s), y)


@er.model
def groups(y, x, group):
    mu, sd = er.sample("mu", er.Normal(0, 2)), er.sample("sd", er.HalfNormal(1))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu, sd))
    b = er.sample("b", er.Normal(0, 2))
    noise = er.sample("noise", er.Exponential(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group] + b * x, noise), y)


@er.model
def mixed(y, k):
    w = er.sample("w", er.Dirichlet([1.0, 2.0, 1.0]))
    mu = er.sample("mu", er.Ordered(er.Normal(0, 3).expand([3])))
    factor = er.sample("factor", er.LKJCholesky(3, 1.5))
    er.factor("pull", -0.5 * (factor[1, 0] - 0.2) ** 2)
    cuts = er.sample("cuts", er.Ordered(er.Normal(0, 2).expand([2])))
    with er.plate("row", len(y)):
        er.observe("y", er.MixtureSameFamily(er.Categorical(probs=w), er.Normal(mu, 1.0)), y)
        er.observe("k", er.OrderedLogistic(0.3 * y, cuts), k)


@er.model
def hidden(y):
    with er.plate("from", 2):
        move = er.sample("move", er.Dirichlet([2.0, 1.0]))
    mu = er.sample("mu", er.Ordered(er.Normal(0, 3).expand([2])))
    state = er.sample("state", er.MarkovChain([0.5, 0.5], move, len(y)))
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(mu[state], 1.0), y)


Y = RNG.normal(size=40)
PROGRAMS = {
    "schools": lambda: schools(
        np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    ),
    "groups": lambda: groups(
        Y + np.repeat(np.arange(5), 8), RNG.normal(size=40), np.repeat(list("abcde"), 8)
    ),
    "mixed": lambda: mixed(3 * Y, RNG.integers(0, 3, 40)),
    "hidden": lambda: hidden(Y[:12] + np.repeat([0, 3, 0, 3], 3)),
    "gaps": lambda: schools(np.where(np.arange(8) == 3, np.nan, 5.0), np.full(8, 3.0)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_target_is_that_of_jax(name):
    program = PROGRAMS[name]()
    ours, theirs = program.target("torch"), program.target("jax")
    for one, other in zip(program.trace("torch").sites, program.trace("jax").sites, strict=True):
        for field in (
            "name",
            "role",
            "shape",
            "event_dim",
            "unconstrained_shape",
            "plates",
            "dims",
            "argument",
        ):
            assert getattr(one, field) == getattr(other, field), (one.name, field)
    z = RNG.normal(size=(4, ours.dim))
    for a, b in zip(ours.value_and_grad(z), theirs.value_and_grad(z), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)
    values = ours.constrain(z)
    for key, value in theirs.constrain(z).items():
        np.testing.assert_allclose(values[key], value, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.unconstrain(values), z, rtol=1e-7, atol=1e-7)
    v = RNG.normal(size=z.shape)
    np.testing.assert_allclose(ours.hessian_vector(z, v), theirs.hessian_vector(z, v), rtol=1e-7, atol=1e-7)
    mine, yours = ours.per_row(z), theirs.per_row(z)
    assert mine.keys() == yours.keys()
    for key in mine:
        np.testing.assert_allclose(mine[key], yours[key], rtol=1e-8, atol=1e-8)
    parts, others = ours.log_density(z), theirs.log_density(z)
    for key in parts:
        np.testing.assert_allclose(parts[key], others[key], rtol=1e-8, atol=1e-8)
    if program.trace().counts:
        mine, yours = ours.responsibilities(z), theirs.responsibilities(z)
        np.testing.assert_allclose(mine["state"], yours["state"], atol=1e-9)
    assert set(program.graph("torch").edges) == set(program.graph("jax").edges)


@pytest.mark.parametrize("name", ["schools", "groups"])
def test_fits_agree(name):
    program = PROGRAMS[name]()
    one, other = (er.fit(program, backend=b, progress=False) for b in ("torch", "jax"))
    assert one.backend == "torch"
    a, b = one.summary(), other.summary()
    assert (a["verdict"] == b["verdict"]).mean() > 0.9
    assert (np.abs(a["mean"] - b["mean"]) / b["sd"]).max() < 0.15
    assert np.abs(a["sd"] / b["sd"] - 1).max() < 0.15
    drawn = [p.draws["posterior_predictive"]["y"].values[0] for p in (one, other)]
    assert np.abs(drawn[0].mean(0) - drawn[1].mean(0)).max() < 0.2 * drawn[1].std()
    assert [f.verdict for f in one.check()] == [f.verdict for f in other.check()]


def test_prediction_for_new_rows_and_groups(tmp_path):
    program = PROGRAMS["groups"]()
    one = er.fit(program, backend="torch", progress=False)
    new = dict(x=np.array([0.0, 1.0]), group=np.array(["b", "z"]))
    made = one.predict(**new, new_groups=True, num_draws=2000)["posterior_predictive"]["y"].values[0]
    a, b, noise, sd = (one.values[k] for k in ("a", "b", "noise", "sd"))
    assert made[:, 0].mean() == pytest.approx(a[:, 1].mean(), abs=0.1)
    expected = np.sqrt((noise**2 + sd**2).mean() + (one.values["mu"] + b).var())
    assert made[:, 1].std() == pytest.approx(expected, rel=0.1)
    one.save(tmp_path / "fit")
    again = er.load(tmp_path / "fit", program)
    assert again.summary().equals(one.summary())


def test_same_seed_same_draws_and_nothing_global_changes():
    program = PROGRAMS["schools"]()
    import pyro

    def settings():
        return (
            torch.get_rng_state(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.distributions.Distribution._validate_args,
            dict(pyro.get_param_store().items()),
            torch.is_grad_enabled(),
        )

    before = settings()
    one, two = (er.fit(program, backend="torch", progress=False, seed=3) for _ in range(2))
    assert np.array_equal(one.values["mu"], two.values["mu"])
    first, second = (p.draws["posterior_predictive"]["y"].values for p in (one, two))
    assert np.array_equal(first, second)
    after = settings()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_indices_are_checked():
    @er.model
    def one_based(y, county):
        with er.plate("county", 3):
            a = er.sample("a", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[county], 1), y)

    for codes, words in ([1, 2, 3], "one-based"), ([0, -1, 2], "zero-based codes"):
        with pytest.raises(er.DataError, match=f"'county'.*{words}"):
            one_based(np.zeros(3), np.array(codes)).trace("torch")


def test_operations_of_one_library_are_named_on_the_other():
    import jax.numpy as jnp

    def model(fn):
        @er.model
        def foreign(y):
            m = er.sample("m", er.Normal(0, 1))
            er.observe("y", er.Normal(fn(m), 1), y)

        return foreign(np.ones(3))

    cases = [
        (torch.exp, "jax", "PyTorch's exp. Use er.math.exp"),
        (jnp.exp, "torch", "JAX's exp. Use er.math.exp"),
        (np.exp, "torch", "NumPy"),
        (np.exp, "jax", "NumPy"),
        (lambda m: np.ones(3) * m + np.arange(3.0), "torch", "er.math.asarray"),
    ]
    for fn, backend, words in cases:
        with pytest.raises(er.UnsupportedError, match=words):
            model(fn).trace(backend)
    assert model(lambda m: er.math.asarray(np.arange(3.0)) * m).target("torch").dim == 1


def test_constants_take_discrete_quantities_as_indices():
    @er.model
    def mixed(y):
        rates = er.math.asarray(np.array([0.5, 2.0]))
        with er.plate("row", len(y)):
            c = er.sample("c", er.Bernoulli(0.25))
            er.observe("y", er.Normal(rates[c], 1), y)
        er.sample("m", er.Normal(0, 1))

    y = np.array([0.3, -1.0, 2.0])
    exact = np.log(0.75 * stats.norm.pdf(y, 0.5) + 0.25 * stats.norm.pdf(y, 2)).sum() + stats.norm.logpdf(0)
    for backend in ("jax", "torch"):
        target = mixed(y).target(backend)
        assert target.value_and_grad(np.zeros((1, 1)))[0] == pytest.approx([exact], abs=1e-6)


def test_a_pyro_model():
    import pyro
    import pyro.distributions as dist

    def model(y, x):
        a = pyro.sample("a", dist.Normal(0.0, 5.0))
        b = pyro.deterministic("b", 2 * a)
        s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
        pyro.factor("pull", -0.5 * a**2)
        with pyro.plate("row", len(y), subsample_size=5) as rows:
            with pyro.poutine.mask(mask=x[rows] > -1):
                pyro.sample("y", dist.Normal(b * x[rows], s), obs=y[rows])

    x = RNG.normal(size=30)
    y = 2 * x + 0.5 * RNG.normal(size=30)
    program = er.from_pyro(model)(y, x)
    kept = x > -1
    values = {"a": 0.7, "s": 0.6}
    expected = (
        stats.norm.logpdf(0.7, 0, 5)
        - 0.5 * 0.7**2
        + stats.lognorm.logpdf(0.6, 1)
        + stats.norm.logpdf(y[kept], 1.4 * x[kept], 0.6).sum()
    )
    assert program.log_density(values) == pytest.approx(expected, abs=1e-6)
    posterior = er.fit(program, progress=False)
    assert posterior.backend == "torch" and posterior.verdict == "trusted"
    assert posterior.draws["posterior_predictive"]["y"].shape[2:] == (30,)


def _without(blocked, backend):
    code = f"""
    import sys

    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {blocked!r}:
                raise ModuleNotFoundError(f"blocked {{name}}", name=name)

    sys.meta_path.insert(0, Blocked())
    import elboroom as er
    import numpy as np

    @er.model
    def coin(flips):
        p = er.sample("p", er.Beta(1, 1))
        with er.plate("flip", len(flips)):
            er.observe("flips", er.Bernoulli(probs=p), flips)

    posterior = er.fit(coin(np.array([1, 0, 1, 1])), backend={backend!r}, progress=False)
    assert posterior.verdict == "trusted"
    assert abs(posterior.values["p"].mean() - 4 / 6) < 0.02
    posterior.draws["posterior_predictive"], posterior.check()
    assert not set(sys.modules) & set({blocked!r})
    """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)


def test_each_backend_stands_without_the_other():
    for blocked, backend in (["jax", "jaxlib", "numpyro"], "torch"), (["torch", "pyro"], "jax"):
        done = _without(blocked, backend)
        assert done.returncode == 0, done.stderr[-2000:]


def test_missing_torch_names_the_command():
    done = _without(["torch", "pyro"], "torch")
    assert "elboroom[torch]" in done.stderr and "MissingBackendError" in done.stderr

"""`er.from_pyro` against Pyro's own log joint: what people's models are made of."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.reparam import LocScaleReparam
from scipy import stats

import elboroom as er

RNG = np.random.default_rng(0)
X, Y = (torch.as_tensor(RNG.normal(size=12)) for _ in range(2))


def line(x, y):
    a, s = pyro.sample("a", dist.Normal(0.0, 1.0)), pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a * x, s), obs=y)


def scaled(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    with poutine.scale(scale=2.5), pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def masked(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0).mask(False))
    with pyro.plate("row", len(y)), poutine.mask(mask=x > 0):
        pyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def factors(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    square = pyro.deterministic("square", a**2)
    pyro.factor("pull", -square)
    with pyro.plate("row", len(y)):
        pyro.factor("each", -0.1 * a * x)
        pyro.sample("y", dist.Normal(square * x, 1.0), obs=y)


def points(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Delta(a, log_density=-(a**2)))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(b * x, 1.0), obs=y)


def params(x, y):
    shift = pyro.param("shift", torch.tensor(0.5, dtype=torch.float64))
    width = pyro.param("width", torch.tensor(2.0, dtype=torch.float64), constraint=dist.constraints.positive)
    a = pyro.sample("a", dist.Normal(0.0, width))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a * x + shift, 1.0), obs=y)


def sequential(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    for i in pyro.plate("row", 4):
        pyro.sample(f"y_{i}", dist.Normal(a * x[i], 1.0), obs=y[i])


def chain(x, y):
    a, level = pyro.sample("a", dist.Normal(0.0, 1.0)), torch.zeros(())
    for t in pyro.markov(range(3)):
        level = pyro.sample(f"level_{t}", dist.Normal(0.9 * level + a, 1.0))
        pyro.sample(f"y_{t}", dist.Normal(level, 1.0), obs=y[t])


def branching(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a * x, 1.0 if a > 0 else 2.0), obs=y)


MODELS = {
    line: {"a": 0.3, "s": 0.7},
    scaled: {"a": 0.3},
    masked: {"a": 0.3},
    factors: {"a": 0.3},
    points: {"a": 0.3},
    params: {"a": 0.3},
    sequential: {"a": 0.3},
    chain: {"a": 0.1, "level_0": 0.1, "level_1": 0.2, "level_2": -0.3},
    branching: {"a": 0.3},
}
LOOPS = {sequential, branching}


@pytest.fixture(autouse=True)
def own_parameters():
    yield
    pyro.clear_param_store()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_density_is_pyros(model):
    values = MODELS[model]
    given = {k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}
    if model is points:
        given["b"] = given["a"]
    theirs = poutine.trace(poutine.condition(model, data=given)).get_trace(X, Y)
    pyro.clear_param_store()
    program = er.from_pyro(model)(X, Y)
    assert program.log_density(values) == pytest.approx(float(theirs.log_prob_sum()), rel=1e-8)
    target = program.target()
    z = 0.3 * RNG.normal(size=(3, target.dim)) + 0.5
    _, gradient = target.value_and_grad(z)
    steps = 1e-5 * np.eye(target.dim)
    up, down = (np.stack([target.value_and_grad(z + s * sign)[0] for s in steps], 1) for sign in (1, -1))
    np.testing.assert_allclose(gradient, (up - down) / 2e-5, rtol=1e-6, atol=1e-6)
    assert target.density.looped == (model in LOOPS)
    assert not list(pyro.get_param_store().keys())


def test_subsampling_plates_see_all_rows():
    def model(x, y):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("row", len(y), subsample_size=3) as rows:
            pyro.sample("y", dist.Normal(a * x[rows], 1.0), obs=y[rows])

    def through_subsample(x, y):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("row", len(y), subsample_size=3):
            x, y = pyro.subsample(x, event_dim=0), pyro.subsample(y, event_dim=0)
            pyro.sample("y", dist.Normal(a * x, 1.0), obs=y)

    expected = er.from_pyro(line)(X, Y).condition(s=1.0).log_density({"a": 0.3})
    expected -= float(dist.HalfNormal(1.0).log_prob(torch.tensor(1.0)))
    for one in (model, through_subsample):
        program = er.from_pyro(one)(X, Y)
        assert program.log_density({"a": 0.3}) == pytest.approx(expected, rel=1e-7)
        assert program.trace()["y"].shape == (12,)


def test_reparametrised_sites_are_no_observations():
    def model(y):
        with poutine.reparam(config={"t": LocScaleReparam(0.0)}), pyro.plate("row", len(y)):
            t = pyro.sample("t", dist.Normal(0.0, 2.0))
            pyro.sample("y", dist.Normal(t, 1.0), obs=y)

    trace = er.from_pyro(model)(Y).trace()
    assert {s.name: s.role for s in trace.sites} == {
        "t_decentered": "latent",
        "t": "deterministic",
        "y": "observed",
    }


def test_enumerated_sites_are_summed_out():
    def model(y):
        w = pyro.sample("w", dist.Dirichlet(torch.ones(2, dtype=torch.float64)))
        with pyro.plate("component", 2):
            loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
        with pyro.plate("row", len(y)):
            z = pyro.sample("z", dist.Categorical(w), infer={"enumerate": "parallel"})
            pyro.sample("y", dist.Normal(loc[z], 1.0), obs=y)

    target = er.from_pyro(model)(Y).target()
    z = RNG.normal(size=(4, target.dim))
    values, found = target.constrain(z), target.log_density(z)
    w, loc, y = torch.as_tensor(values["w"]), torch.as_tensor(values["loc"]), Y
    each = torch.log(w)[:, None] + dist.Normal(loc[:, None], 1.0).log_prob(y[:, None])
    expected = torch.logsumexp(each, -1).sum(-1) + dist.Normal(0.0 * loc, 3.0).log_prob(loc).sum(-1)
    np.testing.assert_allclose(found["log_density"] - found["log_jacobian"], expected, rtol=1e-9)
    assert not target.density.looped


def test_prior_draws_of_correlations_have_their_density():
    """PyTorch's own do not from three rows on; also in plates, and under the wrappers of a law."""

    def model(y):
        with pyro.plate("group", 2):
            factor = pyro.sample("factor", dist.LKJCholesky(4, torch.tensor(0.7, dtype=torch.float64)))
        matrix = pyro.sample("matrix", dist.LKJ(4, torch.tensor(0.7, dtype=torch.float64)))
        masked = pyro.sample(
            "masked", dist.LKJCholesky(4, torch.tensor(0.7)).expand([3]).to_event(1).mask(True)
        )
        pyro.deterministic("others", masked @ masked.mT)
        with pyro.plate("row", len(y)):
            pyro.sample("y", dist.Normal(factor[..., 1, 0].sum() + matrix[1, 0], 1.0), obs=y)

    drawn = er.from_pyro(model)(Y).prior_predictive(4000)["prior"]
    factor = drawn["factor"].values[0]
    law = stats.beta(0.7 + 1, 0.7 + 1, -1, 2)  # of every correlation, with four rows
    for found in (factor @ np.swapaxes(factor, -1, -2), drawn["matrix"].values[0], drawn["others"].values[0]):
        found = found.reshape(4000, -1, 4, 4)
        for k, i, j in np.ndindex(found.shape[1], 4, 4):
            if i > j:
                assert stats.kstest(found[:, k, i, j], law.cdf).pvalue > 1e-5

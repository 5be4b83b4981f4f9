"""What NumPyro models are made of: density and gradient are NumPyro's, and each fits, checks, predicts, saves and loads."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan
from numpyro.infer.reparam import LocScaleReparam, TransformReparam
from numpyro.infer.util import initialize_model

import elboroom as er

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=12), RNG.normal(size=12)
G = np.arange(12) % 3
COUNTS = RNG.poisson(3.0, 12)
TABLE = RNG.normal(size=(4, 3))
LENGTHS = np.array([3, 1, 2, 3])


def normal(name, loc=0.0, scale=1.0):
    return numpyro.sample(name, dist.Normal(loc, scale))


def line(x, y):
    a, s = normal("a"), numpyro.sample("s", dist.HalfNormal(1.0))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x, s), obs=y)


def one_law_for_all(y):
    numpyro.sample("y", dist.Normal(normal("a"), 0.7), obs=y)


def groups(g, y):
    t = numpyro.sample("t", dist.HalfCauchy(1.0))
    with numpyro.plate("group", 3):
        e = normal("e", 0.0, t)
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(e[g], 1.0), obs=y)


def two_plates(y):
    with numpyro.plate("column", 3, dim=-1):
        c = normal("c")
    with numpyro.plate("line", 4, dim=-2):
        r = normal("r")
        with numpyro.plate("column", 3, dim=-1):
            numpyro.sample("y", dist.Normal(r + c, 1.0), obs=y)


def plate_stack(y):
    a = normal("a")
    with numpyro.plate_stack("axis", [4, 3]):
        numpyro.sample("y", dist.Normal(a, 1.0), obs=y)


def subsampled(x, y):
    a = normal("a")
    with numpyro.plate("row", len(y), subsample_size=5) as rows:
        numpyro.sample("y", dist.Normal(a * x[rows], 1.0), obs=y[rows])


def through_subsample(x, y):
    a = normal("a")
    with numpyro.plate("row", len(y), subsample_size=5):
        x, y = numpyro.subsample(x, event_dim=0), numpyro.subsample(y, event_dim=0)
        numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def several_at_once(x, y):
    a = numpyro.sample("a", dist.Normal(0.0, 1.0), sample_shape=(2,))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a[0] + a[1] * x, 1.0), obs=y)


def events(y):
    a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    with numpyro.plate("line", 4):
        numpyro.sample("y", dist.Normal(a, 1.0).to_event(1), obs=y)


def joint_normal(y):
    low = numpyro.sample("low", dist.LKJCholesky(3, 2.0))
    with numpyro.plate("line", 4):
        numpyro.sample("y", dist.MultivariateNormal(0.0, scale_tril=low), obs=y)


def simplex(y):
    p = numpyro.sample("p", dist.Dirichlet(jnp.ones(3)))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Categorical(p), obs=y)


def ordered(y):
    cuts = numpyro.sample(
        "cuts", dist.TransformedDistribution(dist.Normal(0.0, 1.0).expand([2]), OrderedTransform())
    )
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.OrderedLogistic(0.3, cuts), obs=y)


def bounded(x, y):
    a = numpyro.sample("a", dist.Uniform(-2.0, 2.0))
    b = numpyro.sample("b", dist.TruncatedNormal(0.0, 1.0, low=-0.5))
    c = numpyro.sample("c", dist.Beta(2.0, 3.0))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.StudentT(4.0, a + b * x, 0.5 + c), obs=y)


def dependent_bounds(y):
    a = numpyro.sample("a", dist.HalfNormal(1.0))
    b = numpyro.sample("b", dist.Uniform(0.0, 1.0 + a))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(b, 1.0), obs=y)


def improper(y):
    a = numpyro.sample("a", dist.ImproperUniform(dist.constraints.real, (), ()))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a, 1.0), obs=y)


def counts(x, y):
    a, b = normal("a"), normal("b")
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Poisson(jnp.exp(a + 0.3 * b * x)), obs=y)


def too_many_zeros(y):
    a, p = normal("a"), numpyro.sample("p", dist.Beta(1.0, 1.0))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.ZeroInflatedPoisson(p, jnp.exp(a)), obs=y)


def factors(x, y):
    a = normal("a")
    square = numpyro.deterministic("square", a**2)
    numpyro.factor("pull", -square)
    with numpyro.plate("row", len(y)):
        numpyro.factor("each", -0.1 * a * x)
        numpyro.sample("y", dist.Normal(square * x, 1.0), obs=y)


def scaled(x, y):
    a = normal("a")
    with handlers.scale(scale=2.5), numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def masked(x, y):
    a = normal("a")
    with numpyro.plate("row", len(y)), handlers.mask(mask=x > 0):
        numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def padded(y, lengths):
    a = normal("a")
    with numpyro.plate("line", 4, dim=-2), numpyro.plate("step", 3, dim=-1):
        with handlers.mask(mask=jnp.arange(3) < lengths[:, None]):
            numpyro.sample("y", dist.Normal(a, 1.0), obs=y)


def flat(x, y):
    a = numpyro.sample("a", dist.Normal(0.0, 1.0).mask(False))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def substituted(x, y):
    with handlers.substitute(data={"b": 0.4}):
        a, b = normal("a"), normal("b")
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x + b, 1.0), obs=y)


def conditioned(x, y):
    with handlers.condition(data={"b": 0.4}):
        a, b = normal("a"), normal("b")
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x + b, 1.0), obs=y)


def scoped(x, y):
    with handlers.scope(prefix="inner"):
        a = normal("a")
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def reparametrised(g, y):
    t = numpyro.sample("t", dist.HalfNormal(1.0))
    with handlers.reparam(config={"e": LocScaleReparam(0.0)}), numpyro.plate("group", 3):
        e = normal("e", 0.0, t)
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(e[g], 1.0), obs=y)


def transformed(x, y):
    law = dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.AffineTransform(0.5, 2.0))
    with handlers.reparam(config={"a": TransformReparam()}):
        a = numpyro.sample("a", law)
    b = numpyro.sample(
        "b", dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform())
    )
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x, b), obs=y)


def mixture(y):
    w = numpyro.sample("w", dist.Dirichlet(jnp.ones(2)))
    with numpyro.plate("component", 2):
        loc = normal("loc", 0.0, 3.0)
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.MixtureSameFamily(dist.Categorical(w), dist.Normal(loc, 1.0)), obs=y)


def local_level(y):
    q, r = numpyro.sample("q", dist.HalfNormal(1.0)), numpyro.sample("r", dist.HalfNormal(1.0))

    def step(level, value):
        level = normal("level", level, q)
        numpyro.sample("y", dist.Normal(level, r), obs=value)
        return level, level

    scan(step, 0.0, y)


def chain_of_shares(y):
    k = numpyro.sample("k", dist.Gamma(2.0, 0.2))

    def step(share, value):
        share = numpyro.sample("share", dist.Beta(1 + k * share, 1 + k * (1 - share)))
        numpyro.sample("y", dist.Binomial(10, share), obs=value)
        return share, None

    scan(step, 0.5, y)


def backwards_with_plates(y):
    a = normal("a")

    def step(levels, value):
        with numpyro.plate("column", 3):
            levels = normal("level", 0.8 * levels + a)
            numpyro.sample("y", dist.Normal(levels, 1.0), obs=value)
        numpyro.factor("pull", -0.1 * levels[0] ** 2)
        return levels, numpyro.deterministic("total", levels.sum())

    scan(step, jnp.zeros(3), y, reverse=True)


def bounded_steps(x, y):
    def step(level, inputs):
        width, value = inputs
        level = numpyro.sample("level", dist.Uniform(level - jnp.exp(width), level + jnp.exp(width)))
        numpyro.sample("y", dist.Normal(level, 1.0), obs=value)
        return level, None

    scan(step, 0.0, (x, y))


def branches(x, y):
    a = cond(x[0] > 0, lambda _: normal("a", 1.0, 0.5), lambda _: normal("a", -1.0, 2.0), None)
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


def linear_algebra(x, y):
    design = jnp.stack([jnp.ones(len(x)), x], 1)
    b = numpyro.sample("b", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))
    numpyro.sample("y", dist.Normal(design @ b, 1.0).to_event(1), obs=y)


def curve(x, y):
    width = numpyro.sample("width", dist.LogNormal(0.0, 1.0))
    kernel = jnp.exp(-0.5 * ((x[:, None] - x) / width) ** 2) + 0.5 * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(0.0, kernel), obs=y)


def walk(y):
    path = numpyro.sample("path", dist.GaussianRandomWalk(0.5, num_steps=len(y)))
    numpyro.sample("y", dist.Normal(path, 1.0).to_event(1), obs=y)


OrderedTransform = dist.transforms.OrderedTransform
SHARES = RNG.binomial(10, 0.5, 12)
MODELS = {
    line: (X, Y),
    one_law_for_all: (Y,),
    groups: (G, Y),
    two_plates: (TABLE,),
    plate_stack: (TABLE,),
    subsampled: (X, Y),
    through_subsample: (X, Y),
    several_at_once: (X, Y),
    events: (TABLE,),
    joint_normal: (TABLE,),
    simplex: (G,),
    ordered: (G,),
    bounded: (X, Y),
    dependent_bounds: (Y,),
    improper: (Y,),
    counts: (X, COUNTS),
    too_many_zeros: (COUNTS,),
    factors: (X, Y),
    scaled: (X, Y),
    masked: (X, Y),
    padded: (TABLE, LENGTHS),
    flat: (X, Y),
    substituted: (X, Y),
    conditioned: (X, Y),
    scoped: (X, Y),
    reparametrised: (G, Y),
    transformed: (X, Y),
    mixture: (Y,),
    local_level: (Y,),
    chain_of_shares: (SHARES,),
    backwards_with_plates: (TABLE,),
    bounded_steps: (X, Y),
    branches: (X, Y),
    linear_algebra: (X, Y),
    curve: (X, Y),
    walk: (Y,),
}
FREE = {improper, flat}  # nothing can be drawn from these priors


@pytest.fixture(params=MODELS, ids=lambda model: model.__name__, scope="module")
def case(request):
    model = request.param
    return model, MODELS[model], er.from_numpyro(model)(*MODELS[model])


def theirs(model, data):
    """NumPyro's potential of the same coordinates: subsampling plates see all of their rows there too."""
    rows = {"row": jnp.arange(12)} if model in {subsampled, through_subsample} else {}
    return handlers.substitute(model, data=rows) if rows else model


def turned(model, values):
    """NumPyro gives a scan from behind the values from the front."""
    return {**values, "level": values["level"][::-1]} if model is backwards_with_plates else values


def test_density_and_gradient_are_numpyros(case):
    model, data, program = case
    target = program.target()
    z = 0.4 * np.random.default_rng(1).normal(size=(3, target.dim))
    value, gradient = target.value_and_grad(z)
    with jax.enable_x64(True):
        data = tuple(jnp.asarray(one) for one in data)
        made = initialize_model(jax.random.key(0), theirs(model, data), model_args=data, validate_grad=False)
        layout = [(site.name, target.offsets[site.name], site.unconstrained_shape) for site in target.sites]

        def log_prob(z):
            parts = {name: z[where].reshape(shape) for name, where, shape in layout}
            return -made.potential_fn(turned(model, parts))

        expected, slopes = jax.vmap(jax.value_and_grad(log_prob))(jnp.asarray(z))
    np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-11)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(target.unconstrain(target.constrain(z)), z, atol=1e-10)


def test_life_of_a_posterior(case, tmp_path):
    """Fit, check, predict, save and load."""
    model, _, program = case
    posterior = er.fit(program, refine=False, progress=False, num_draws=400)
    findings = posterior.check()
    assert not [f for f in findings if f.verdict == "misfit"], findings
    predicted = posterior.predict()["posterior_predictive"]
    for name, site in posterior.observed.items():
        assert predicted[name].shape == (1, predicted.sizes["draw"], *site.shape)
    again = er.load(posterior.save(tmp_path / "kept"), program)
    for name, value in posterior.values.items():
        np.testing.assert_allclose(again.values[name], value, rtol=1e-5)
    np.testing.assert_array_equal(again.predict()["posterior_predictive"]["y"], predicted["y"])
    if model not in FREE:
        assert program.prior_predictive(5)["prior_predictive"]["y"].shape[2:] == posterior.observed["y"].shape

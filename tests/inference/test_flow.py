"""Fits of flows: known answers, and what must not be trusted."""

from dataclasses import replace

import numpy as np
import pytest
from elboroom.guides import Affine, Flow, Spline, choose, sample
from elboroom.inference.engines import FlowAscent, fit
from elboroom.inference.evidence.coverage import covers
from elboroom.inference.evidence.pool import draw_pool
from elboroom.inference.ladder import State
from elboroom.inference.ladder.flow import affordable
from elboroom.inference.ladder.weigh import weighed
from elboroom.inference.mcmc import nuts as room
from elboroom.inference.posterior.posterior import record_of
from elboroom.ppl.constraints import real
from scipy.optimize import brentq
from scipy.stats import norm

import elboroom as er

m = er.math


@er.model
def banana(sd):
    """A bent Gaussian, of sites whose order is not that of their names."""
    b = er.sample("b", er.ImproperUniform(real, ()))
    a = er.sample("a", er.ImproperUniform(real, ()))
    bent = a + 0.05 * (b**2 - sd**2)
    er.factor("banana", -0.5 * (b / sd) ** 2 - 0.5 * bent**2)


@er.model
def funnel(dim):
    v = er.sample("v", er.Normal(0, 3))
    x = er.sample("x", er.ImproperUniform(real, (dim - 1,)))
    er.factor("funnel", -0.5 * m.sum(x * x) * m.exp(-v) - 0.5 * (dim - 1) * v)


@er.model
def two_modes(apart):
    z = er.sample("z", er.ImproperUniform(real, (3,)))
    rest = -0.5 * m.sum(z[1:] ** 2)
    er.factor("modes", rest + m.logaddexp(-0.5 * z[0] ** 2, -0.5 * (z[0] - apart) ** 2))


@er.model
def straight(rho):
    b = er.sample("b", er.ImproperUniform(real, ()))
    a = er.sample("a", er.ImproperUniform(real, ()))
    er.factor("pair", -0.5 * b**2 - 0.5 * (a - rho * b) ** 2 / (1 - rho**2))


@er.model
def cauchy(dim):
    z = er.sample("z", er.ImproperUniform(real, (dim,)))
    er.factor("cauchy", -m.sum(m.log1p(z * z)))


SD = 10.0
BANANA = {"b": (0.0, SD), "a": (0.0, np.sqrt(1 + 2 * 0.05**2 * SD**4))}


@pytest.fixture(scope="module")
def posterior():
    return er.fit(banana(SD), guide="flow", progress=False)


def check_banana(posterior):
    table = posterior.summary()
    for label, (mean, sd) in BANANA.items():
        size = 4000 if posterior.law == "guide" else record_of(posterior).outcome.pool.size
        kurtosis = 15.0  # of a squared normal variable
        assert abs(table["mean"][label] - mean) < 5 * sd / np.sqrt(size)
        assert abs(table["sd"][label] / sd - 1) < 5 * np.sqrt((kurtosis - 1) / 4 / size)


def test_banana(posterior):
    assert er.fit(banana(SD), guide="full-rank", progress=False).khat > 0.7
    assert posterior.verdict == "trusted" and posterior.law == "psis" and posterior.khat < 0.5
    check_banana(posterior)
    drawn = posterior.sample(4000, seed=3)
    ratio = np.array([drawn[label].std() / sd for label, (_, sd) in BANANA.items()])
    assert np.all(np.abs(ratio - 1) < 5 * np.sqrt(14 / 4 / 4000))


def gradients_per_draw(chains, start, num_draws, seed=0):
    """Of an effective draw; and the draws' values and their inefficiency."""
    before = chains.target.counter.num_gradients
    chains.warmed(start, np.random.default_rng(seed), lambda: False)
    chains.extended(num_draws, lambda: False)
    law = chains.law()
    inefficiency = law.inefficiency(law.z)
    spent = chains.target.counter.num_gradients - before
    return spent / (len(law.z) / inefficiency.max()), law.z, inefficiency


@pytest.mark.slow
def test_chains_run_in_the_base_coordinates_of_a_flow(posterior):
    refined, again = (posterior.refine(num_draws=400, progress=False) for _ in range(2))
    assert "base coordinates" in refined.trail[-1].reason and np.array_equal(refined.z, again.z)
    table, law = refined.summary(), record_of(refined).outcome.law
    each = np.stack([refined.values[label].ravel() for label in BANANA], 1)
    size = len(law.z) / law.inefficiency(law.z)
    for (label, (mean, sd)), count in zip(BANANA.items(), size, strict=True):
        assert abs(table["mean"][label] - mean) < 5 * sd / np.sqrt(count)
        assert abs(table["sd"][label] / sd - 1) < 5 * np.sqrt(14 / 4 / count)
    assert np.corrcoef(each[:, 0] ** 2, each[:, 1])[0, 1] < -0.95
    frame = record_of(posterior).outcome.frame
    affine = room.Chains(record_of(posterior).target, Affine(frame.mean, frame.scale), True)
    start = record_of(posterior).outcome.law.z[:4]
    spent = refined.trail[-1].num_gradients / size.min()
    assert spent < 0.33 * gradients_per_draw(affine, start, 600)[0]


def test_an_unsettled_flow_gives_no_coordinates(posterior):
    target, good = record_of(posterior).target, record_of(posterior).outcome
    assert isinstance(room.begun(target, good).place, Spline)
    worse = replace(good.stein, location=good.stein.location + 1.0)
    for outcome in (replace(good, khat=0.8), replace(good, stein=worse)):
        chains = room.begun(target, outcome)
        assert not chains.gated and isinstance(chains.place, Affine)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_chains_are_right_in_the_coordinates_of_any_flow(backend):
    """The density there has the Jacobian: a flow that fits nothing costs time alone."""
    target = straight(0.8).target(backend)
    guide = Flow("affine", num_layers=2, width=8).bind(target)
    rng = np.random.default_rng(0)
    place = guide.near(Affine(np.ones(2), np.array([[1.0, 0.0], [0.5, 2.0]])))
    weights = {name: 0.4 * rng.standard_normal(value.shape) for name, value in place.weights.items()}
    place = replace(place, weights=weights)

    def pulled(x):
        z, log_jacobian = place.forward(x)
        value, grad = target.value_and_grad(z)
        return value + log_jacobian, place.pullback(x, grad)

    x = rng.standard_normal((3, 2))
    z, grad = place.forward(x)[0], pulled(x)[1]
    for j, step in enumerate(1e-5 * np.eye(2)):
        high, low = np.split(pulled(np.concatenate([x + step, x - step]))[0], 2)
        np.testing.assert_allclose((high - low) / 2e-5, grad[:, j], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(place.inverse(z)[0], x, atol=1e-6)
    if backend == "jax":
        return  # its chains are seen above
    _, z, inefficiency = gradients_per_draw(room.Chains(target, place, True), z[:2], 150)
    for j, (mean, sd) in enumerate(((0.0, 1.0), (0.0, 1.0))):
        count = len(z) / inefficiency[j]
        assert abs(z[:, j].mean() - mean) < 5 * sd / np.sqrt(count)
        assert abs(z[:, j].std() / sd - 1) < 5 / np.sqrt(2 * count)
    assert abs(np.corrcoef(z.T)[0, 1] - 0.8) < 5 * 0.36 / np.sqrt(len(z) / inefficiency.max())


def test_it_is_kept(posterior, tmp_path):
    posterior.save(tmp_path / "kept")
    loaded = er.load(tmp_path / "kept")
    points = {name: value[:50] for name, value in posterior.values.items()}
    np.testing.assert_allclose(loaded.log_prob(points), posterior.log_prob(points))
    assert loaded.guide.family == posterior.guide.family
    draws = (sample(p.guide, p.params, 100, np.random.default_rng(0)) for p in (loaded, posterior))
    np.testing.assert_allclose(*draws)


def ascent(target, guide, start, most_steps):
    """One leg of a flow's fit, from a Gaussian."""
    rng = np.random.default_rng(0)
    return fit(FlowAscent(target.value_and_grad, target, guide, rng, most_steps, num_legs=1), start)


@pytest.mark.parametrize(
    "kind, backend", [("affine", "jax"), ("spline", "jax"), ("iaf", "torch"), ("affine", "torch")]
)
def test_ascent(kind, backend):
    """The bound comes near the log evidence, and a seed fixes all."""
    target = banana(SD).target(backend)
    guide = Flow(kind, num_layers=2, width=16).bind(target)
    found = ascent(target, guide, Affine(np.zeros(2), np.diag([5.0, 2.0])), 700)
    pool = draw_pool(target.value_and_grad, found.transport, 8000, np.random.default_rng(1))
    evidence, gaussian = np.log(2 * np.pi * SD), -1.4  # the best Gaussian's bound against it
    bound, error = pool.elbo
    assert evidence + 0.4 * gaussian < bound < evidence + 5 * error
    assert abs(found.trace[-1] - bound) < 0.1
    if (kind, backend) in {("affine", "jax"), ("iaf", "torch")}:
        again = ascent(target, guide, Affine(np.zeros(2), np.diag([5.0, 2.0])), 500)
        assert len(again.trace) > 1 and again.trace == found.trace[: len(again.trace)]


def quantile(p):
    """Of x in the funnel."""
    node, weight = np.polynomial.hermite_e.hermegauss(200)
    below = lambda x: weight @ norm.cdf(x * np.exp(-1.5 * node)) / weight.sum()  # noqa: E731
    return brentq(lambda x: below(x) - p, -1e4, 1e4)


@pytest.mark.slow
def test_ladder_bends_for_the_funnel():
    posterior = er.fit(funnel(10), refine=False, progress=False)
    assert posterior.guide.family.name == "flow" and "flow" in [rung.name for rung in posterior.trail]
    assert posterior.khat < 0.7 and posterior.verdict != "untrusted"
    table = posterior.summary()
    assert abs(table["sd"]["v"] / 3 - 1) < 0.15 and abs(table["mean"]["v"]) < 0.15 * 3
    exact = np.array([quantile(p) for p in (0.05, 0.5, 0.95)])
    spread = quantile(0.75) - quantile(0.25)
    found = table.loc[[f"x[{i}]" for i in range(9)], ["q5", "median", "q95"]].to_numpy()
    assert np.abs(found - exact).max() < 0.25 * spread
    assert not [f for f in posterior.findings if f.name == "divergences"]


@pytest.mark.slow
def test_heavy_tails_are_not_trusted():
    posterior = er.fit(cauchy(4), guide="flow", progress=False)
    assert posterior.khat > 0.5 and "trusted" not in posterior.table["verdict"]


@pytest.mark.slow
def test_mass_that_chains_saw_is_missed():
    target = two_modes(20.0).target()
    guide = Flow(num_layers=2).bind(target)
    found = ascent(target, guide, Affine(np.zeros(3), np.eye(3)), 900).transport
    pool = draw_pool(target.value_and_grad, found, 8000, np.random.default_rng(1))
    assert pool.khat < 0.5  # the weights say nothing of it
    draws = np.random.default_rng(2).normal(size=(1000, 3))
    both = draws + np.where(np.arange(1000) % 20 == 0, 20.0, 0.0)[:, None] * [1, 0, 0]
    for z, expected in ((draws, True), (both, False)):
        assert covers(found, pool, z, target.value_and_grad(z)[0]) is expected
    frame = pool.around()
    assert np.all(np.abs(frame.mean) < 0.1) and np.all(np.abs(np.diag(frame.scale) - 1) < 0.1)
    pool.z[0], pool.weights[0] = 1e6, 0.0  # a draw without weight, where quantities may overflow
    state = State(target, choose(guide.family, target), guide=guide, fitted=found, best=frame, frame=frame)
    law = weighed(state, pool).law
    assert law.kind == "psis" and np.abs(law.z).max() < 1e3


def test_what_is_too_dear_is_left_out():
    class Target:
        dim, work = 10, 1e3

    assert affordable(Target, Flow()) > 1000
    for name, value in (("dim", 1), ("dim", 500), ("work", 1e9)):
        assert affordable(type("Other", (Target,), {name: value}), Flow()) == 0


@er.model
def groups(y):
    """Few observations in each group: nothing holds the scale away from zero."""
    mu = er.sample("mu", er.Normal(0, 1))
    tau = er.sample("tau", er.HalfNormal(1))
    with er.plate("group", len(y)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Normal(theta, 1.0), y)


def groups_moments(y):
    """Mean and sd of tau, and of the first group, by quadrature: the groups are Gaussian given tau, and so is mu."""
    tau = np.linspace(1e-3, 5, 4000)
    spread = 1 + tau**2
    precision = 1 + len(y) / spread
    mean = y.sum() / spread / precision
    log_mass = -0.5 * tau**2 - 0.5 * len(y) * np.log(spread) - 0.5 * np.log(precision)
    log_mass += 0.5 * mean**2 * precision - 0.5 * (y @ y) / spread
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    shrunk = tau**2 / spread
    first = shrunk * y[0] + (1 - shrunk) * mean
    variance = shrunk + (1 - shrunk) ** 2 / precision
    moments = {}
    for name, value, own in (("tau", tau, 0.0), ("theta[0]", first, variance)):
        centre = mass @ value
        moments[name] = centre, np.sqrt(mass @ ((value - centre) ** 2 + own))
    return moments


def test_over_the_globals_alone():
    """Two coordinates are bent, sixty follow them."""
    y = np.random.default_rng(3).normal(0.3, 1.05, 60)
    target = groups(y).target()
    assert Flow().bends(target).tolist() == [0, 1] and len(Flow(over="all").bends(target)) == 62
    gaussian = er.fit(groups(y), guide="structured", refine=False, progress=False)
    posterior = er.fit(groups(y), guide=Flow(num_layers=2, width=16), refine=False, progress=False)
    assert posterior.guide.structure.layers.rest == 60
    assert posterior.khat < 0.7 < gaussian.khat and posterior.verdict != "untrusted"
    table, size = posterior.summary(), record_of(posterior).outcome.pool.size
    for label, (mean, sd) in groups_moments(y).items():
        assert abs(table["mean"][label] - mean) < 5 * sd / np.sqrt(size)
        assert abs(table["sd"][label] / sd - 1) < 5 * np.sqrt(2 / size)
    refined = posterior.refine(num_draws=300, progress=False)
    assert "base coordinates" in refined.trail[-1].reason
    law = record_of(refined).outcome.law
    size = (len(law.z) / law.inefficiency(law.z))[1]
    mean, sd = groups_moments(y)["tau"]
    assert abs(refined.summary()["mean"]["tau"] - mean) < 5 * sd / np.sqrt(size)

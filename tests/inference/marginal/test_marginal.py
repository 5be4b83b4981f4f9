"""Groups summed out: their integrals against closed forms and quadrature, the weights of what they share against exact answers."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from elboroom.guides import Affine, FullRank
from elboroom.guides.choose import Plan
from elboroom.guides.structure import links
from elboroom.inference.evidence.estimates import estimate
from elboroom.inference.evidence.judging import verdicts_of
from elboroom.inference.evidence.law import Law
from elboroom.inference.evidence.stein import SharedStein, stein
from elboroom.inference.ladder import Run, State
from elboroom.inference.ladder.marginal import SummedOut
from elboroom.inference.ladder.short_chains import ShortChains
from elboroom.inference.ladder.weigh import Weigh
from elboroom.inference.marginal.groups import Groups, Terms, linear
from elboroom.inference.marginal.inner import Inner, Integrals
from elboroom.inference.marginal.outer import Kernels, Sample, approached, tempered
from elboroom.inference.marginal.roots import Dense, _eigenvectors
from elboroom.inference.marginal.warp import GammaRatio, Guarded, LogCut, LogInverse, Mirrored, Warp
from elboroom.inference.posterior.make import conclude
from elboroom.inference.posterior.posterior import Posterior, record_of
from elboroom.inference.run.watch import Watch
from elboroom.inference.thresholds import EDGES_HELD, LOST, STRATA
from scipy import stats
from scipy.integrate import quad

import elboroom as er

RNG = np.random.default_rng(3)
SCHOOLS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
COUNTS = np.array([3, 0, 7, 2, 5, 1]), np.array([8, 6, 9, 8, 7, 8])
PUPIL = np.repeat(np.arange(6), 5)
TESTED = RNG.normal(size=30)
SCORES = 0.5 * TESTED + RNG.normal(size=6)[PUPIL] + 0.3 * RNG.normal(size=30)


@er.model
def schools(y, sigma):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfCauchy(5))
    with er.plate("school", len(y)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Normal(theta, sigma), y)


@er.model
def herds(y, n):
    level = er.sample("level", er.Normal(0, 2))
    scale = er.sample("scale", er.HalfNormal(1))
    u = er.sample("u", er.Normal(0, scale).expand([len(y)]).to_event(1))
    with er.plate("herd", len(y)):
        er.observe("y", er.Binomial(n, logits=level + u), y)


@er.model
def slopes(x, group, y):
    log_scale = er.sample("log_scale", er.Normal(0, 1))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(0, er.math.exp(log_scale)))
        b = er.sample("b", er.Normal(0, er.math.exp(log_scale)))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=a[group] + b[group] * x), y)


@er.model
def lines(x, pupil, y):
    """Intercepts and slopes by pupil."""
    scale = er.sample("scale", er.HalfNormal(1).expand([2]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    with er.plate("pupil", er.levels(pupil)):
        a = er.sample("a", er.Normal(0, scale[0]))
        b = er.sample("b", er.Normal(0.5, scale[1]))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[pupil] + b[pupil] * x, sigma), y)


@er.model
def doubled(y):
    """Every group has two modes of its own, the sign of u left open."""
    scale = er.sample("scale", er.HalfNormal(1))
    with er.plate("group", len(y)):
        u = er.sample("u", er.Normal(0, 3 * scale))
        er.observe("y", er.Normal(u**2, 0.5), y)


@er.model
def summed(y):
    """One term sees all groups."""
    scale = er.sample("scale", er.HalfNormal(1))
    with er.plate("group", 5):
        u = er.sample("u", er.Normal(0, scale))
        er.observe("y", er.Normal(u, 1.0), y)
    er.factor("together", -0.5 * (er.math.sum(u) - 1.0) ** 2)


@er.model
def nested(group, y):
    """A level for each group and one for each of its rows: groups of two, three and five coordinates."""
    scale = er.sample("scale", er.HalfNormal(1).expand([2]).to_event(1))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(0, scale[0]))
    with er.plate("row", len(y)):
        e = er.sample("e", er.Normal(0, scale[1]))
        er.observe("y", er.Normal(a[group] + e, 0.5), y)


@er.model
def heavy(y):
    """Effects with heavy tails, which one outcome each hardly holds."""
    scale = er.sample("scale", er.HalfNormal(1))
    with er.plate("group", len(y)):
        u = er.sample("u", er.StudentT(3, 0, 0.5 + scale))
        er.observe("y", er.Bernoulli(logits=u), y)


@er.model
def spiked(y):
    """Every group has a narrow peak far away."""
    scale = er.sample("scale", er.HalfNormal(1))
    with er.plate("group", len(y)):
        u = er.sample("u", er.Normal(0, 0.5 + scale))
        er.factor("peak", er.math.logaddexp(0.0, 900.0 - 0.5 * ((u - 30.0) / 0.01) ** 2))
        er.observe("y", er.Normal(u, 1.0), y)


def inner_of(target, z, rng, unit=None):
    unit = np.ones(target.dim) if unit is None else unit
    groups = Groups.splits(target, links(target, 1, 3))[0]
    terms = Terms.tested(target, groups, z, unit, rng)
    return Inner.around(target, target.value_and_grad, groups, terms, z, unit, rng)


# -- groups and terms ------------------------------------------------------------------------------------


def test_what_is_shared_is_the_least_that_leaves_groups_apart():
    groups = Groups.splits(*(lambda t: (t, links(t, 1, 3)))(lines(TESTED, PUPIL, SCORES).target()))[0]
    assert groups.shared.tolist() == [0, 1, 2]
    assert groups.members.tolist() == [[3 + g, 9 + g] for g in range(6)]
    z = RNG.normal(size=(4, 15))
    assert np.array_equal(groups.joined(z[:, groups.shared], groups.of(z)), z)


def test_of_crossed_effects_the_larger_is_summed_out():
    @er.model
    def crossed(person, item, y):
        with er.plate("person", er.levels(person)):
            a = er.sample("a", er.Normal(0, 1))
        with er.plate("item", er.levels(item)):
            b = er.sample("b", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[person] + b[item], 1.0), y)

    target = crossed(np.arange(100) % 20, np.arange(100) // 20, RNG.normal(size=100)).target()
    groups = Groups.splits(target, links(target, 1, 3))[0]
    assert len(groups) == 20
    assert groups.shared.tolist() == list(range(20, 25))


@er.model
def crossed(one, other, y):
    """Crossed effects of few levels: given three sds all else is Gaussian."""
    sd = er.sample("sd", er.HalfNormal(1).expand([3]).to_event(1))
    level = er.sample("level", er.Normal(0, 2))
    with er.plate("one", er.levels(one)):
        a = er.sample("a", er.Normal(level, sd[0]))
    with er.plate("other", er.levels(other)):
        b = er.sample("b", er.Normal(0, sd[1]))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[one] + b[other], sd[2]), y)


ONE, OTHER = np.repeat(np.arange(4), 9), np.tile(np.arange(9), 4)
CROSSED = 0.5 + 0.3 * RNG.normal(size=4)[ONE] + 0.6 * RNG.normal(size=9)[OTHER] + 0.2 * RNG.normal(size=36)


def test_what_is_gaussian_given_the_rest_is_one_group_and_its_integral_exact(rng):
    target = crossed(ONE, OTHER, CROSSED).target()
    unit = np.full(target.dim, 0.3)
    own = linear(target, target.value_and_grad, np.zeros(target.dim), unit, rng)
    assert own.sum() == 14 and not own[target.offsets["sd"]].any()
    groups = Groups.leaving(target, links(target, 1, 3), ~own, gaussian=True)
    assert groups.members.shape == (1, 14)
    terms = Terms.tested(target, groups, np.zeros(target.dim), unit, rng)
    inner = Inner.around(target, target.value_and_grad, groups, terms, np.zeros(target.dim), unit, rng)
    assert inner.exact
    theta = 0.4 * rng.normal(size=(6, 3)) - 0.5
    same = [np.equal.outer(by, by) for by in (ONE, OTHER)]
    expected = []
    for sd in np.exp(theta):
        covariance = 4.0 + sd[0] ** 2 * same[0] + sd[1] ** 2 * same[1] + sd[2] ** 2 * np.eye(36)
        prior = stats.halfnorm(scale=1).logpdf(sd).sum() + np.log(sd).sum()
        expected.append(prior + stats.multivariate_normal(np.zeros(36), covariance).logpdf(CROSSED))
    assert inner.integrals(theta, rng).log_prob == pytest.approx(np.array(expected), abs=1e-7)


def test_laplace_effects_are_not_gaussian(rng):
    """Their gradient is flat on either side of zero."""

    @er.model
    def kinked(y):
        u = er.sample("u", er.Laplace(0.0, 1.0).expand([5]).to_event(1))
        v = er.sample("v", er.Normal(0.0, 1.0).expand([5]).to_event(1))
        with er.plate("row", 5):
            er.observe("y", er.Normal(u + v, 1.0), y)

    target = kinked(np.zeros(5)).target()
    own = linear(target, target.value_and_grad, np.zeros(10), np.ones(10), rng)
    assert own[target.offsets["v"]].all() and not own[target.offsets["u"]].any()


@er.model
def quiz(item, person, y):
    """Items with a law of their own, and persons: given the items, the law of the items is a group of another size."""
    law = er.sample("law", er.Normal(0, 1).expand([2]).to_event(1))
    with er.plate("item", er.levels(item)):
        level = er.sample("level", er.Normal(law[0], er.math.exp(law[1])))
    with er.plate("person", er.levels(person)):
        skill = er.sample("skill", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=skill[person] - level[item]), y)


def test_a_single_larger_group_is_shared_with_what_is():
    item, person = np.tile(np.arange(8), 30), np.repeat(np.arange(30), 8)
    target = quiz(item, person, np.arange(240) % 2).target()
    groups = Groups.splits(target, links(target, 1, 3))[0]
    assert groups.members.shape == (30, 1)
    assert len(groups.shared) == 10


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_terms_add_up_to_the_density_and_each_is_its_groups_own(backend, rng):
    target = herds(*COUNTS).target(backend)
    z = rng.normal(size=(3, target.dim))
    total = sum(value.sum(1) for value in target.terms(z).values())
    assert total == pytest.approx(target.value_and_grad(z)[0], rel=1e-10)

    groups = Groups.splits(target, links(target, 1, 3))[0]
    parts = Terms.tested(target, groups, z[0], np.ones(target.dim), rng).of(target, z)
    assert parts.sum(1) == pytest.approx(total, rel=1e-10)
    level, scale, u = z[:, 0], np.exp(z[:, 1]), z[:, 2:]  # of an event: each element is a group's own
    if "u" in target.centring:
        pytest.skip("centred otherwise")
    expected = stats.norm.logpdf(u, 0, scale[:, None]) + stats.binom.logpmf(
        COUNTS[0], COUNTS[1], 1 / (1 + np.exp(-level[:, None] - u))
    )
    assert parts[:, :-1] == pytest.approx(expected, rel=1e-9)


def test_a_term_that_sees_several_groups_is_noticed(rng):
    target = summed(np.arange(5.0)).target()
    groups = Groups(6, np.array([0]), np.arange(1, 6)[:, None], sp.eye_array(6), np.zeros(6, int))
    assert Terms.tested(target, groups, np.zeros(6), np.ones(6), rng) is None


# -- integrals -------------------------------------------------------------------------------------------


def test_integrals_of_gaussian_groups_are_exact(rng):
    target = lines(TESTED, PUPIL, SCORES).target()
    inner = inner_of(target, 0.1 * rng.normal(size=target.dim), rng)
    assert inner.exact
    theta = np.array([[0.2, -0.5, -1.0], [-3.0, 0.3, 0.1], [0.5, -6.0, -0.7]])
    found = replace(inner, num_draws=1).integrals(theta, rng)
    for t, value in zip(theta, found.log_prob, strict=True):
        first, second, sigma = np.exp(t)
        expected = stats.halfnorm.logpdf(np.exp(t)).sum() + t.sum()
        for g in range(6):
            x, y = TESTED[PUPIL == g], SCORES[PUPIL == g]
            covariance = first**2 + second**2 * np.outer(x, x) + sigma**2 * np.eye(len(x))
            expected += stats.multivariate_normal.logpdf(y, 0.5 * x, covariance)
        assert value == pytest.approx(expected, abs=1e-5)


def test_integrals_of_groups_of_unequal_sizes_are_right(rng):
    """As formulas, and as averages over draws: of coordinates that there are not nothing is drawn and nothing weighed."""
    group, y = np.array([0, 1, 1, 2, 2, 2, 2, 3]), rng.normal(size=8)
    target = nested(group, y).target()
    inner = inner_of(target, 0.1 * rng.normal(size=target.dim), rng)
    assert inner.exact
    assert inner.groups.there.sum(1).tolist() == [2, 3, 5, 2]
    theta = np.array([[0.2, -0.5], [-3.0, 0.3], [0.5, -6.0]])
    formula = inner.integrals(theta, rng).log_prob
    drawn = replace(inner, exact=False, num_draws=128).integrals(np.repeat(theta, 200, 0), rng)
    for t, value, values in zip(theta, formula, drawn.log_prob.reshape(3, 200), strict=True):
        first, second = np.exp(t)
        expected = stats.halfnorm.logpdf(np.exp(t)).sum() + t.sum()
        for g in range(4):
            n = (group == g).sum()
            covariance = first**2 * np.ones((n, n)) + (second**2 + 0.25) * np.eye(n)
            expected += stats.multivariate_normal.logpdf(y[group == g], np.zeros(n), covariance)
        assert value == pytest.approx(expected, abs=1e-5)
        ratio = np.exp(values - expected)
        assert ratio.mean() == pytest.approx(1.0, abs=4 * ratio.std() / np.sqrt(200))
        assert ratio.std() < 0.3
    assert not inner.several(rng).any()


def test_integrals_of_counts_are_those_of_quadrature(rng):
    target = herds(*COUNTS).target().centred({"u": 1.0})
    inner = inner_of(target, 0.1 * rng.normal(size=target.dim), rng)
    assert not inner.exact
    theta = np.array([[-0.5, 0.0], [0.7, -2.0], [-1.5, 0.8]])
    found = replace(inner, num_draws=16).integrals(np.repeat(theta, 200, 0), rng).log_prob.reshape(3, 200)
    for t, values in zip(theta, found, strict=True):
        level, scale = t[0], np.exp(t[1])
        expected = stats.norm.logpdf(level, 0, 2) + stats.halfnorm.logpdf(scale) + t[1]
        for y, n in zip(*COUNTS, strict=True):
            h = lambda u: stats.norm.pdf(u, 0, scale) * stats.binom.pmf(y, n, 1 / (1 + np.exp(-level - u)))  # noqa: B023, E731
            expected += np.log(quad(h, -9 * scale, 9 * scale, epsabs=1e-13, limit=200)[0])
        ratio = np.exp(values - expected)  # without bias, at points shifted at random
        assert ratio.std() < 0.01
        assert ratio.mean() == pytest.approx(1.0, abs=4 * ratio.std() / np.sqrt(200) + 1e-6)


@pytest.mark.parametrize(("num_draws", "repeats"), [(6, 1), (12, 1), (12, 4)])
def test_draws_of_a_group_are_of_its_law_given_what_is_shared(num_draws, repeats, rng):
    target = herds(*COUNTS).target().centred({"u": 1.0})
    inner = inner_of(target, 0.1 * rng.normal(size=target.dim), rng)
    inner = replace(inner, num_draws=num_draws, repeats=repeats)
    u = inner.integrals(np.tile([[-0.5, 0.2]], (4000, 1)), rng).u
    scale = np.exp(0.2)
    for g, (y, n) in enumerate(zip(*COUNTS, strict=True)):
        grid = np.linspace(-8, 8, 4001)
        p = stats.norm.pdf(grid, 0, scale) * stats.binom.pmf(y, n, 1 / (1 + np.exp(0.5 - grid)))
        p /= p.sum()
        mean = p @ grid
        sd = np.sqrt(p @ (grid - mean) ** 2)
        for r in range(repeats):  # each of those of one θ is a draw by itself
            assert abs(u[:, r, g, 0].mean() - mean) < 4 * sd / np.sqrt(4000)
            assert u[:, r, g, 0].std() == pytest.approx(sd, rel=0.05)
    flat = u[:, 0, :, 0]
    assert np.abs(np.corrcoef(flat.T) - np.eye(6)).max() < 0.07  # groups are independent of each other


@pytest.mark.parametrize("repeats", [1, 4])
def test_draws_of_several_coordinates_are_of_their_law(repeats, rng):
    """A slope and an intercept of a few binary outcomes, against a grid."""
    x, y = np.array([-1.0, 0.0, 1.0, 2.0]), np.array([0, 1, 1, 1])
    target = slopes(np.tile(x, 5), np.repeat(np.arange(5), 4), np.tile(y, 5)).target()
    target = target.centred({"a": 1.0, "b": 1.0})
    inner = replace(inner_of(target, np.zeros(target.dim), rng), num_draws=16, repeats=repeats)
    assert (inner.groups.size, inner.exact) == (2, False)
    u = inner.integrals(np.full((4000, 1), 0.3), rng).u
    a, b = np.meshgrid(np.linspace(-6, 6, 301), np.linspace(-6, 6, 301), indexing="ij")
    p = np.exp(-0.5 * (a**2 + b**2) / np.exp(0.6))
    for at, outcome in zip(x, y, strict=True):
        p = p / (1 + np.exp((1 - 2 * outcome) * (a + b * at)))
    p /= p.sum()
    for j, grid in enumerate((a, b)):
        mean = (p * grid).sum()
        sd = np.sqrt((p * (grid - mean) ** 2).sum())
        # 16 points of two dimensions: a draw of each is one by its weight among them
        assert np.abs(u[..., j].mean((0, 1)) - mean).max() < 0.06 * sd
        assert u[..., j].std((0, 1)) == pytest.approx(np.full(5, sd), rel=0.05)


@pytest.mark.parametrize(("outcome", "most"), [("normal", 0.15), ("counts", 0.3)])
def test_draws_of_groups_are_even_and_their_noise_is_known(outcome, most, rng):
    """Where weights are even, what θ says little of has little noise: as the estimates say, in repeats of the whole."""
    if outcome == "normal":
        y = 3 * rng.standard_normal(30)
        target = schools(y, np.full(30, 1.0)).target().centred({"theta": 1.0})
        z = np.r_[0.0, 1.0, y]
    else:
        y = rng.binomial(40, 0.5, 30)
        target = herds(y, np.full(30, 40)).target().centred({"u": 1.0})
        z = np.zeros(32)
    inner = inner_of(target, z, rng)
    theta = z[inner.groups.shared] + 0.02 * rng.standard_normal((256, 2))
    basis = np.full((256, 1), 1 / 16)
    behind, found, stated, plain = inner.groups.members[:, 0], [], [], []
    for _ in range(100):
        drawn = inner.integrals(theta, rng)
        joint = inner.groups.joined(theta, drawn.u[:, 0])
        parts = inner.groups.joined(STRATA, drawn.parts[:, 0])
        law = Law("psis", joint, np.full(256, 1 / 256), basis=basis, parts=parts)
        values = joint[:, behind]
        told = estimate(values, law.weights, law.inefficiencies(values, behind))
        found.append([told.mean, told.sd, *told.quantiles[[0, 2]]])
        stated.append([told.mean_se, told.sd_se, *told.quantile_se[[0, 2]]])
        plain.append(estimate(values).mean_se)
    spread, stated = np.std(found, 0, ddof=1), np.sqrt(np.mean(np.square(stated), 0))
    assert (spread[0] ** 2 / np.mean(np.square(plain), 0)).mean() < most
    ratio = np.sqrt((spread**2 / stated**2).mean(1))  # of 30 groups
    assert np.all((ratio > 0.6) & (ratio < 1.1))


def test_groups_with_modes_of_their_own_are_told(rng):
    target = doubled(np.array([4.0, 9, 5, 7])).target().centred({"u": 1.0})
    z = np.concatenate([[0.0], np.sqrt([4.0, 9, 5, 7])])
    assert inner_of(target, z, rng, np.full(5, 0.1)) == "4 groups have several modes of their own"


# -- coordinates of what is shared -------------------------------------------------------------------------

BENDS = (
    LogCut(1.0, 0.3),
    LogCut(-0.5, 0.7),
    GammaRatio(0.3, 0.5, 0.4, 6.0),
    GammaRatio(-1.0, 2.0, 20.0, 30.0),
    LogInverse(0.4, 7.0),
    Guarded.around(LogCut(0.5, 0.2)),
    Guarded.around(LogInverse(0.0, 3.0)),
    Mirrored(Guarded.around(LogCut(0.5, 0.2))),
    Mirrored(Guarded.around(Mirrored(Guarded.around(GammaRatio(-1.0, 2.0, 20.0, 30.0))))),
)


def edges_of(bend):
    """Where a law has an edge, mirrored as often as it is."""
    if isinstance(bend, Mirrored):
        return [-edge for edge in edges_of(bend.law)]
    return [bend.edge, *edges_of(bend.law)] if isinstance(bend, Guarded) else []


@pytest.mark.parametrize("bend", BENDS)
def test_bends_are_maps_to_a_standard_normal(bend):
    score = np.linspace(-9, 9, 401)
    x = bend.value(score)
    assert (np.diff(x) > 0).all()
    assert bend.score(x) == pytest.approx(score, abs=1e-9)
    step = 1e-5
    change = (bend.score(x + step) - bend.score(x - step)) / (2 * step)
    density = np.log(change) - 0.5 * bend.score(x) ** 2 - 0.5 * np.log(2 * np.pi)
    smooth = (np.arange(401) >= 40) & (np.arange(401) < 361)
    for edge in edges_of(bend):
        smooth &= np.abs(x - edge) > 2 * step
    assert bend.log_prob(x)[smooth] == pytest.approx(density[smooth], abs=1e-4)
    slope = (bend.log_prob(x + step) - bend.log_prob(x - step)) / (2 * step)
    assert bend.slope(x)[smooth] == pytest.approx(slope[smooth], abs=1e-5, rel=1e-5)


def test_a_bend_is_that_of_the_draws(rng):
    x = np.column_stack([BENDS[0].value(rng.normal(size=3000)), rng.normal(size=3000)])
    warp = Warp.of(x, np.full(3000, 1 / 3000), 1, 0)
    assert warp.bends[1] is None
    scores, log_jacobian = warp.scores(x)
    assert stats.kstest(scores[:, 0], "norm").pvalue > 0.01
    assert warp.values(scores) == pytest.approx(x, abs=1e-8)
    assert log_jacobian == pytest.approx(
        warp.bends[0].log_prob(x[:, 0]) - stats.norm.logpdf(scores[:, 0]), abs=1e-9
    )
    # gradients of the density of scores, where that of x is the bend's own: a standard normal's
    gradient = np.column_stack([warp.bends[0].slope(x[:, 0]), -x[:, 1]])
    assert warp.pulled(x, scores, gradient) == pytest.approx(-scores, abs=1e-6)


def test_a_bend_has_a_value_at_every_score():
    """Where the lower half of a law reaches to a logit whose probability rounds to 1, the upper tail has its digits."""
    law, scores = GammaRatio(-4.180347, 0.007891751, 0.0056144975, 0.079268844), np.linspace(-7, 7, 281)
    with np.errstate(all="ignore"):
        assert law.score(law.value(scores)) == pytest.approx(scores, abs=1e-5)


def test_a_bend_that_is_no_map_is_not_taken(rng, monkeypatch):
    """Draws of a law whose map loses some would not be of its density: weights would be wrong, and trusted."""
    x, weights = np.log(rng.gamma(0.5, size=(2000, 1))), np.full(2000, 1 / 2000)
    assert isinstance(Warp.of(x, weights, 0, 0).bends[0], GammaRatio)
    value = GammaRatio.value
    monkeypatch.setattr(GammaRatio, "value", lambda law, s: np.where(np.abs(s) < 0.2, -np.inf, value(law, s)))
    assert Warp.of(x, weights, 0, 0).bends == (None,)


@pytest.mark.parametrize("sides", [(1,), (-1,), (1, -1)], ids=["lower", "upper", "both"])
def test_logits_near_a_bound_have_the_tail_of_a_flat_density_there(sides, rng):
    """Draws that stay away from the bound by chance say nothing of the density beside it, which is not zero."""
    law = stats.beta(2.5, 2.5) if len(sides) == 2 else stats.beta(3.0, 40.0)
    value = law.rvs(4000, random_state=rng)
    x = np.log(value / (1 - value)) * sides[0]
    bend = Warp.of(x[:, None], np.full(4000, 1 / 4000), 0, 1).bends[0]
    far = sides[0] * np.array([-8.0, -12.0]) if len(sides) == 1 else np.array([-8.0, -12.0])
    for side in sides:
        at = far * side * sides[0]
        assert np.diff(bend.log_prob(at)) == pytest.approx([-4.0], abs=0.05)
    assert stats.kstest(bend.score(x), "norm").pvalue > 0.01
    assert quad(lambda t: np.exp(bend.log_prob(np.array(t))), -60, 60, limit=500)[0] == pytest.approx(
        1, abs=1e-6
    )


def test_a_law_that_loses_its_draws_is_no_law(rng):
    """Were the lost ones drawn again, the density would be too small where the others lie."""

    class Lost(Warp):
        def values(self, scores):
            return np.where(scores < -0.5, -np.inf, scores)

    law = Kernels(Lost((None,)), np.zeros(1), np.eye(1), np.zeros((0, 1)))
    with pytest.raises(ArithmeticError, match="too few finite draws"):
        law.sample(500, rng)


# -- draws of what is shared -------------------------------------------------------------------------------


def known(log_prob, slope):
    """Integrals of a density of θ that is known."""

    def integrals(theta, rng):
        nothing = np.zeros((len(theta), 1, 0, 0))
        value = log_prob(theta)
        edges, parts = np.zeros((len(theta), 0)), nothing.astype(np.uint8)
        return Integrals(value, nothing, value, edges, value, slope(theta), parts)

    return integrals


@pytest.mark.parametrize("dim", [3, 30])
def test_laws_follow_the_weights(dim, rng):
    root = np.linalg.cholesky(np.eye(dim) + 0.5)
    precision = np.linalg.inv(root @ root.T)
    integrals = known(
        lambda t: stats.multivariate_normal.logpdf(t, np.full(dim, 0.4), root @ root.T) + 2.0,
        lambda t: (0.4 - t) @ precision,
    )
    first = Kernels(Warp.none(dim), np.zeros(dim), np.eye(dim), np.zeros((0, dim)))
    sample = Sample.drawn(integrals, first, 500, rng)
    for _ in range(3):
        sample = sample.more(integrals, sample.followed(rng), 500, rng)
    assert sample.khat < 0.5
    assert sample.size > 0.5 * len(sample)
    evidence = np.log(np.mean(np.exp(sample.log_weights)))
    assert evidence == pytest.approx(2.0, abs=0.1)
    mean = sample.weights @ sample.theta
    assert np.abs(mean - 0.4).max() < 4 * np.sqrt(1.5 / sample.size)


@pytest.mark.parametrize("dim", [2, 30])
def test_a_law_far_from_the_mass_is_led_to_it(dim, rng):
    root = np.linalg.cholesky(np.eye(dim) + 0.5)
    precision = np.linalg.inv(root @ root.T)
    integrals = known(
        lambda t: stats.multivariate_normal.logpdf(t, np.full(dim, 9.0), root @ root.T),
        lambda t: (9.0 - t) @ precision,
    )
    first = Kernels(Warp.none(dim), np.zeros(dim), 0.3 * np.eye(dim), np.zeros((0, dim)))
    assert Sample.drawn(integrals, first, 250, rng).size < LOST
    law = approached(integrals, first, rng)
    assert Sample.drawn(integrals, law, 250, rng).size > 125


def test_weights_of_one_draw_are_tempered_to_those_of_several(rng):
    log_weights = np.append(rng.normal(size=400), [60.0, -np.inf])
    weights = tempered(log_weights, 40)
    assert 1 / (weights**2).sum() == pytest.approx(40, rel=0.01)
    assert weights.sum() == pytest.approx(1) and weights[-1] == 0 and weights.argmax() == 400


def test_eigenvectors_are_found_where_those_of_a_batch_do_not_converge(rng, monkeypatch):
    matrices = rng.normal(size=(3, 2, 5, 5))
    matrices = matrices + matrices.swapaxes(-1, -2)

    def fails(_):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr(np.linalg, "eigh", fails)
    eig, vec = _eigenvectors(matrices)
    assert vec * eig[..., None, :] @ vec.swapaxes(-1, -2) == pytest.approx(matrices)


def test_a_curvature_that_is_not_known_is_that_of_a_unit():
    curvature = np.broadcast_to(2 * np.eye(3), (3, 1, 3, 3)).copy()
    curvature[1, 0, 0, 0], curvature[2, 0, 0, 1] = np.nan, 1e300
    root = Dense.of(curvature, np.ones((1, 3), bool), np.arange(3)[None])
    assert root.sds[:, 0] == pytest.approx(np.sqrt([[0.5] * 3, [1] * 3, [1] * 3]))


def test_the_bound_of_a_law_that_is_led_on_does_not_fall(rng):
    """Newton steps of a density with flat tails, as an arctangent's, would go farther and farther away."""
    integrals = known(lambda t: -np.log1p(t[:, 0] ** 2), lambda t: -2 * t / (1 + t**2))
    first = Kernels(Warp.none(1), np.array([3.0]), 0.1 * np.eye(1), np.zeros((0, 1)))
    assert abs(approached(integrals, first, rng).mean[0]) < 3.5


LAWS = {
    "kernels": (np.zeros((0, 3)), True, 0.4),
    "a funnel": (np.array([[0.0, 0.5, -0.3]]), False, 1.0),
    "a funnel of kernels": (np.array([[0.0, 0.0, 0.4], [0.0, 0.0, 0.2]]), True, 0.6),
    "all are scales": (np.zeros((3, 3)), False, 1.0),
}


def law_of(kind, rng):
    funnel, kernels, width = LAWS[kind]
    root = np.array([[1.0, 0, 0], [0.4, 0.8, 0], [-0.3, 0.2, 0.6]])
    centres = rng.normal(size=(40, 3)) if kernels else None
    return Kernels(Warp((LogCut(1.0, 0.5), None, None)), np.zeros(3), root, funnel, centres, width)


@pytest.mark.parametrize("kind", LAWS)
def test_the_density_of_a_law_is_that_of_its_draws(kind, rng):
    law = law_of(kind, rng)
    theta = law.sample(40_000, rng)
    # by importance sampling from them, a density that is known integrates to one
    log_target = stats.norm.logpdf(theta, [0.0, 0.3, 0.0], [0.4, 0.7, 0.4]).sum(1)
    weights = np.exp(log_target - law.log_prob(theta))
    assert weights.mean() == pytest.approx(1.0, abs=4 * weights.std() / 200)
    controls = law.controls(theta)
    assert (np.abs(controls.mean(0)) < 4 * controls.std(0) / 200).all()
    assert (controls.std(0) > 0.1).all()


@pytest.mark.parametrize("angle", [0.0, np.pi / 4, 2.0])
def test_a_funnel_is_found(angle, rng):
    """By weighted draws of normals of equal scales, and gradients of ones one of which is wide where the first coordinate is
    large: whichever direction that is."""
    first = Kernels(Warp.none(3), np.zeros(3), np.eye(3), np.zeros((1, 3)))
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    slope = 0.35

    def log_prob(t):
        u = t @ turn
        scale = np.exp(slope * u[:, 0])
        return stats.norm.logpdf(u[:, 0]) + stats.norm.logpdf(u[:, 1], 0, scale) + stats.norm.logpdf(u[:, 2])

    def gradient(t):
        u = t @ turn
        precise = np.exp(-2 * slope * u[:, 0])
        own = np.column_stack(
            [-u[:, 0] - slope + slope * u[:, 1] ** 2 * precise, -u[:, 1] * precise, -u[:, 2]]
        )
        return own @ turn.T

    sample = Sample.drawn(known(log_prob, gradient), first, 2000, rng)
    law = first.funnelled(sample.theta, sample.weights, gradient(sample.theta))
    assert np.sort(law.funnel[0]) == pytest.approx([0.0, 0.0, slope], abs=0.06)
    wide = law.root[1:, law.funnel[0].argmax()]
    assert np.abs(wide @ turn[1:, 1]) > 0.98 * np.linalg.norm(wide)
    after = Sample.drawn(known(log_prob, gradient), law, 2000, rng)
    assert after.size > 1.1 * sample.size


@pytest.mark.slow
def test_calibrated_weights_have_less_noise_and_it_is_known(rng):
    """Errors of means and probabilities over many samples, against the errors that are stated."""
    law = Kernels(Warp.none(4), np.zeros(4), np.eye(4) + 0.4 * np.tri(4, 4, -1), np.zeros((0, 4)))
    root = 1.1 * law.root
    integrals = known(
        lambda t: stats.multivariate_normal.logpdf(t, np.full(4, 0.2), root @ root.T), np.zeros_like
    )
    sd = np.sqrt(np.diag(root @ root.T))
    errors, stated, plain = [], [], []
    for _ in range(150):
        sample = Sample.drawn(integrals, law, 600, rng)
        values = np.column_stack([sample.theta, sample.theta < 0.2 + sd]).astype(float)
        exact = np.r_[np.full(4, 0.2), np.full(4, stats.norm.cdf(1))]
        joint = Law("psis", sample.theta, sample.calibrated, basis=sample.basis)
        errors.append(sample.calibrated @ values - exact)
        stated.append(estimate(values, joint.weights, joint.inefficiencies(values)).mean_se)
        plain.append(sample.weights @ values - exact)
    errors, plain = np.array(errors), np.array(plain)
    z = errors / np.array(stated)
    assert z.mean(0) == pytest.approx(0.0, abs=4 / np.sqrt(150))
    assert z.std(0) == pytest.approx(1.0, abs=0.25)
    assert (errors.std(0) < 0.7 * plain.std(0)).all()


def test_draws_that_share_something_count_as_fewer(rng):
    shared, own = np.repeat(rng.normal(size=500), 4), rng.normal(size=2000)
    law = Law("psis", np.zeros((2000, 1)), np.full(2000, 1 / 2000), repeats=4)
    found = law.inefficiency(np.column_stack([shared, own, shared + own]))
    assert found[0] == pytest.approx(4.0)
    assert 1.0 <= found[1] < 1.4
    assert found[2] == pytest.approx(2.5, abs=0.5)


# -- the stage -----------------------------------------------------------------------------------------------


def fitted(target, mean, sd):
    """A state after a fit that ended at independent normals, and its weights."""
    best, family = Affine(np.asarray(mean, float), np.diag(np.asarray(sd, float))), FullRank()
    guide = family.bind(target)
    state = State(target, Plan(family, ""), best=best, ends=np.zeros((0, target.dim)))
    run = Run(Watch(progress=False))
    return Weigh().run(replace(state, family=family, guide=guide, fitted=guide.near(best)), run)[0], run


@pytest.mark.parametrize(
    ("model", "y", "own"), [(heavy, [1, 1, 0, 1], True), (spiked, [0.1, 0.5, -0.3, 0.2], False)]
)
def test_a_place_in_a_tail_is_the_groups_own_and_a_peak_there_is_not(model, y, own, rng):
    inner = replace(inner_of(model(np.array(y)).target(), np.zeros(5), rng), num_draws=32)
    theta, u = np.zeros((1, 1)), inner.at(np.zeros((1, 1))).centre.copy()
    assert inner.resolved(theta, u).all()
    u[0, 1] = 30.0
    assert inner.at(theta).apart(u)[0, 1] > 10
    assert inner.resolved(theta, u).tolist() == [True, own, True, True]


@er.model
def paths(y, spike):
    """Ten effects of each group, which are known well, and a narrow peak far out where one is wanted."""
    mu = er.sample("mu", er.Normal(0, 1))
    with er.plate("group", len(y)):
        a = er.sample("a", er.Normal(mu, 1.0).expand([10]).to_event(1))
        er.observe("y", er.Normal(a, 0.1).to_event(1), y)
        er.factor("peak", spike * er.math.exp(-50 * er.math.sum((a - y - 0.6) ** 2, -1)))


@pytest.mark.parametrize(("spike", "own"), [(0.0, True), (400.0, False)])
def test_a_place_from_which_a_search_leads_home_is_the_groups_own(spike, own, rng):
    y = rng.normal(size=(4, 10))
    inner = inner_of(paths(y, 0.0).target(), np.r_[0.0, y.ravel()], rng)
    target = paths(y, spike).target()
    inner = replace(inner, target=target, density=target.value_and_grad, exact=False)
    theta = np.zeros((1, 1))
    u = inner.at(theta).centre.copy()
    u[0, 1] += 0.6
    assert 10 < inner.at(theta).apart(u)[0, 1] < 30
    assert inner.resolved(theta, u).tolist() == [True, own, True, True]


@pytest.fixture(scope="module")
def eight():
    """Exact moments of mu, tau and the first school's effect."""
    y, sigma = SCHOOLS
    mu, log_tau = np.meshgrid(np.linspace(-20, 25, 901), np.linspace(-9, 5, 1401), indexing="ij")
    tau = np.exp(log_tau)
    value = stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, scale=5) + log_tau
    for one, s in zip(y, sigma, strict=True):
        value = value + stats.norm.logpdf(one, mu, np.hypot(tau, s))
    p = np.exp(value - value.max())
    p /= p.sum()
    precision = 1 / tau**2 + 1 / sigma[0] ** 2
    centre = (mu / tau**2 + y[0] / sigma[0] ** 2) / precision
    moments = [(mu, 0.0), (tau, 0.0), (centre, 1 / precision)]
    out = []
    for x, extra in moments:
        mean = (p * x).sum()
        out.append((mean, np.sqrt((p * ((x - mean) ** 2 + extra)).sum())))
    return out


def test_eight_schools_are_right_and_trusted(eight):
    target = schools(*SCHOOLS).target().centred({"theta": 1.0})
    mean, sd = np.r_[4.4, 1.0, np.full(8, 4.4)], np.r_[3.2, 1.0, np.full(8, 4.5)]
    state, run = fitted(target, mean, sd)
    assert SummedOut().wants(state)
    after, line = SummedOut().run(state, run)
    assert line.reason.startswith("8 groups of 1 summed out, 2 shared")
    assert after.pool.khat < 0.5
    assert ShortChains().wants(after) is None
    values = target.constrain(after.law.z)
    columns = np.column_stack([values["mu"], values["tau"], values["theta"][:, 0]])
    noise = np.sqrt(after.law.inefficiency(columns) / (after.pool.size * after.law.repeats))
    for x, (exact, spread), se in zip(columns.T, eight, noise, strict=True):
        found = after.law.weights @ x
        assert abs(found - exact) < 4 * se * spread
        # tau's law is heavy-tailed: its sd is hard to know
        assert np.sqrt(after.law.weights @ (x - found) ** 2) == pytest.approx(spread, rel=0.1)
    assert after.covers(after.law.z[0])
    assert not after.covers(after.law.z[0] + np.r_[0, 0, np.full(8, 300.0)])


def test_the_same_seed_gives_the_same_draws():
    target = schools(*SCHOOLS).target().centred({"theta": 1.0})
    mean, sd = np.r_[4.4, 1.0, np.full(8, 4.4)], np.r_[3.2, 1.0, np.full(8, 4.5)]
    one, two = (SummedOut().run(*fitted(target, mean, sd))[0].law.z for _ in range(2))
    assert np.array_equal(one, two)


def test_as_many_draws_are_made_as_are_kept():
    target = schools(*SCHOOLS).target().centred({"theta": 1.0})
    state, run = fitted(target, np.r_[4.4, 1.0, np.full(8, 4.4)], np.r_[3.2, 1.0, np.full(8, 4.5)])
    assert SummedOut().wants(replace(state, num_draws=100_000))  # as many as there may be
    law = SummedOut().run(replace(state, num_draws=16_000), run)[0].law
    assert len(law.z) >= 1.5 * 16_000


@pytest.mark.slow
def test_fresh_draws_are_of_what_was_judged_and_not_of_the_guide(tmp_path):
    """Animals caught on five days, most never: the joint weights fail, and the guide's sd of `spread` is a fifth too small."""
    y = np.repeat([0, 1, 2, 3, 4, 5], [104, 27, 26, 16, 3, 1])

    @er.model
    def captures(y):
        there = er.sample("there", er.Uniform(0, 1))
        level, spread = er.sample("level", er.Normal(0, 2)), er.sample("spread", er.Uniform(0, 5))
        with er.plate("animal", len(y)):
            logits = level + spread * er.sample("e", er.Normal(0, 1))
            seen = er.math.log(there) + y * logits - 5 * er.math.softplus(logits)
            unseen = er.math.logaddexp(seen, er.math.log1p(-there))
            er.factor("caught", er.math.where(y > 0, seen, unseen))

    posterior = er.fit(captures(y), progress=False)
    assert posterior.law == "psis"
    assert any("summed out" in line.reason and np.isfinite(line.elbo) for line in posterior.trail)
    posterior.save(tmp_path / "captures")
    for found in (posterior, er.load(tmp_path / "captures", captures(y))):
        spread = found.sample(4000)["spread"]
        assert np.isin(spread, np.asarray(posterior.draws["posterior"]["spread"])).all()
        assert spread.std() == pytest.approx(posterior.summary("spread")["sd"].item(), rel=0.08)


def test_fresh_draws_have_the_sds_of_linear_response():
    """The guide has its own sds; those of the draws are others, which are judged."""
    program = schools(*SCHOOLS)
    record = record_of(er.fit(program, refine=False, progress=False))
    outcome = replace(record.outcome, law=Law("guide", 2.0 * record.outcome.law.z), stein=None)
    for response, own in (((np.array([0]), np.ones(1)), True), (None, False)):
        made = conclude(
            program, record.target, replace(outcome, response=response), (), record.cost, record.settings
        )
        found = Posterior(made).sample(500)["mu"]
        assert np.isin(found, made.values["mu"]).all() == own


def test_what_has_no_groups_is_left_as_it_is():
    @er.model
    def plain(y):
        b = er.sample("b", er.Normal(0, 1).expand([4]).to_event(1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(er.math.sum(b**3), 1.0), y)

    target = plain(np.ones(6)).target()
    state, run = fitted(target, np.full(4, 0.5), np.full(4, 0.3))
    after, line = SummedOut().run(state, run)
    assert after is state
    assert line is None


def test_groups_that_cannot_be_summed_out_leave_the_ladder_to_go_on():
    target = doubled(np.array([4.0, 9, 5, 7])).target().centred({"u": 1.0})
    state, run = fitted(target, np.r_[0.0, np.sqrt([4.0, 9, 5, 7])], np.r_[0.3, np.full(4, 0.1)])
    after, line = SummedOut().run(state, run)
    assert after.law is state.law
    assert "several modes" in line.reason


@er.model
def heavy(group, y):
    """Effects with tails that outcomes hardly cut off."""
    level = er.sample("level", er.Normal(0, 3))
    scale = er.sample("scale", er.HalfNormal(2))
    with er.plate("group", er.levels(group)):
        u = er.sample("u", er.StudentT(3.0, 0.0, scale))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=level + u[group]), y)


def test_draws_reach_the_tails_of_their_groups(rng):
    """All outcomes of half of the groups are ones: their effects have the tail of their law."""
    target = heavy(np.repeat(np.arange(10), 6), np.repeat([1, 0] * 5, 6)).target().centred({"u": 1.0})
    inner = inner_of(target, np.r_[0.1, 0.7, [2.5, -2.5] * 5], rng, np.r_[1.0, 0.5, np.full(10, 1.5)])
    theta = np.tile([[0.3, 0.5]], (1000, 1))
    assert replace(inner, num_draws=10).integrals(theta, rng).edges.mean() > 10 * EDGES_HELD
    found = replace(inner, num_draws=40).integrals(theta, rng)
    assert found.edges.mean() < EDGES_HELD
    x = np.sinh(np.linspace(-9, 9, 20001))
    p = (
        stats.t.pdf(x, 3, 0, np.exp(0.5))
        / (1 + np.exp(-np.clip(0.3 + x, -700, 700))) ** 6
        * np.cosh(np.arcsinh(x))
    )
    below = np.cumsum(p) / p.sum()
    u = found.u[:, 0, ::2, 0].ravel()
    for q in (0.05, 0.5, 0.95, 0.995):
        share = np.mean(u < x[np.searchsorted(below, q)])
        assert share == pytest.approx(q, abs=4 * np.sqrt(q * (1 - q) / len(u)))


# -- what is wrong is not trusted ----------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "width"), [(6.0, 1.0), (0.0, 0.15), (-4.0, 0.4)])
def test_a_wrong_guide_is_mended_or_not_trusted(shift, width, eight):
    target = schools(*SCHOOLS).target().centred({"theta": 1.0})
    sd = np.r_[3.2, 1.0, np.full(8, 4.5)]
    state, run = fitted(target, np.r_[4.4, 1.0, np.full(8, 4.4)] + shift * sd, width * sd)
    after, _ = SummedOut().run(state, run)
    if after.law is state.law or ShortChains().wants(after):
        return
    values = target.constrain(after.law.z)
    columns = np.column_stack([values["mu"], values["tau"], values["theta"][:, 0]])
    found, verdicts = verdicts_of(after.outcome(), columns, np.random.default_rng(0))
    for mean, off, (exact, spread), verdict in zip(
        found.mean, found.sd, eight, verdicts.verdict, strict=True
    ):
        if verdict == "trusted":
            assert abs(mean - exact) < 0.15 * spread
            assert abs(off / spread - 1) < 0.15


def test_terms_of_other_groups_are_noticed(monkeypatch):
    """Whatever the probes say, the density at the joint draws has to be that of the terms."""
    target = herds(*COUNTS).target().centred({"u": 1.0})
    right = Terms.tested

    def swapped(*args):
        of_group = dict(right(*args).of_group)
        of_group["y"] = of_group["y"][[1, 2, 3, 4, 5, 0, 6]]
        return Terms(of_group)

    monkeypatch.setattr(Terms, "tested", swapped)
    state, run = fitted(target, np.r_[-0.5, 0.0, np.zeros(6)] + 0.01, np.r_[0.5, 0.5, np.full(6, 0.7)])
    after, _ = SummedOut().run(state, run)
    assert after.law is state.law
    assert after.stein is state.stein


def test_a_residual_speaks_of_weights_that_are_wrong(rng):
    """Draws whose weights were those of a density 0.6 sds away."""
    x = rng.normal(size=(4000, 2))
    residual = SharedStein(stein(x, 0.6 - x, np.full(4000, 1 / 4000)), x, np.full(4000, 1 / 4000))
    location, _ = residual.of(np.column_stack([x[:, 0], x[:, 0] + x[:, 1], rng.normal(size=4000)]))
    assert (location[:2] > 0.5).all()
    assert residual.worst[0] > 0.5

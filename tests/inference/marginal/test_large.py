"""Long and large groups: chains, trees and dense blocks, and the sparse factors and few gradients that they take."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from elboroom.guides.structure import Structure, links
from elboroom.inference.evidence.psis import smooth
from elboroom.inference.marginal.columns import Columns, colours
from elboroom.inference.marginal.groups import Groups, Terms
from elboroom.inference.marginal.inner import Inner
from elboroom.inference.marginal.roots import Dense, Elimination, Sparse
from scipy import optimize, stats
from scipy.special import logsumexp

import elboroom as er

LENGTH = 80


@er.model
def walk(y):
    """A level that walks at random, and noise."""
    step = er.sample("step", er.HalfNormal(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    level = er.sample("level", er.GaussianRandomWalk(step, len(y), start=0.0, start_scale=2.0))
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(level, sigma), y)


def path(length):
    """A stationary autoregression."""
    phi = er.sample("phi", er.Uniform(-1, 1).expand([1]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    return er.sample("h", er.AR(phi, sigma, length))


@er.model
def counts(y):
    """Counts whose log rate is a stationary autoregression."""
    h = path(len(y))
    with er.plate("time", len(y)):
        er.observe("y", er.Poisson(er.math.exp(h)), y)


@er.model
def surface(x, y):
    """Counts whose log rate is a Gaussian process."""
    length = er.sample("length", er.InverseGamma(5.0, 1.0))
    size = er.sample("size", er.HalfNormal(1))
    factor = er.gp.cholesky(er.gp.ExpQuad(length, size), x, jitter=1e-6)
    f = er.sample("f", er.MultivariateNormal(np.zeros(len(y)), scale_tril=factor))
    with er.plate("place", len(y)):
        er.observe("y", er.Poisson(er.math.exp(f)), y)


@er.model
def nests(brood, nest, y):
    """Three levels, and one for each count."""
    scale = er.sample("scale", er.HalfNormal(1).expand([3]).to_event(1))
    with er.plate("nest", er.levels(nest)):
        a = er.sample("a", er.Normal(0, scale[0]))
    with er.plate("brood", er.levels(brood)):
        b = er.sample("b", er.Normal(0, scale[1]))
    with er.plate("row", len(y)):
        e = er.sample("e", er.Normal(0, scale[2]))
        er.observe("y", er.Poisson(er.math.exp(a[nest] + b[brood] + e)), y)


BROOD = np.repeat(np.arange(12), 4)
NEST = np.repeat(np.arange(4), 12)


def inner_of(target, pattern, rng):
    groups = Groups.splits(target, pattern)[0]
    z, unit = np.zeros(target.dim), np.ones(target.dim)
    terms = Terms.tested(target, groups, z, unit, rng)
    return Inner.around(target, target.value_and_grad, groups, terms, z, unit, rng)


def precision_of(count, pairs, rng):
    """A positive definite matrix with these links."""
    matrix = np.zeros((count, count))
    for i, j in pairs:
        matrix[i, j] = matrix[j, i] = rng.uniform(-1, 1)
    return matrix + np.diag(np.abs(matrix).sum(1) + rng.uniform(0.5, 2.0, count))


CHAIN = [(i, i + 1) for i in range(11)]
TREE = [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (1, 6), (2, 7), (2, 8), (3, 9), (3, 10), (3, 11)]
HUB = [*CHAIN, *[(12, i) for i in range(12)]]


# -- factors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [CHAIN, TREE, HUB], ids=["chain", "tree", "hub"])
def test_sparse_roots_are_those_of_the_matrices(pairs, rng):
    size = 1 + max(max(pair) for pair in pairs)
    order = np.stack([rng.permutation(size), rng.permutation(size)])
    at = np.argsort(order, 1)
    one, other = np.transpose(pairs)
    how = Elimination.of(order, at[:, one].ravel(), at[:, other].ravel())
    matrices = np.stack([[precision_of(size, pairs, rng) for _ in range(2)] for _ in range(3)])
    diagonal, lower = np.zeros((size, 3, 2)), np.zeros((how.start[-1], 3, 2))
    for g in range(2):
        turned = matrices[:, g][:, order[g]][:, :, order[g]]
        for j in range(size):
            diagonal[j, :, g] = turned[:, j, j]
            lower[how.place[j, how.below[j]], :, g] = turned[:, j, how.below[j]].T
    own = rng.uniform(0.5, 2.0, (3, 2, size))
    root = Sparse.of(how, diagonal, lower).scaled(own)
    eye = np.broadcast_to(np.eye(size)[:, None], (3, size, 2, size))
    matrix = np.moveaxis(root.spread(eye), 1, -1)  # (B, G, k, k)
    expected = own[..., None] * np.linalg.inv(matrices) * own[..., None, :]
    assert matrix @ matrix.swapaxes(-1, -2) == pytest.approx(expected, rel=1e-10)
    assert root.log_det == pytest.approx(0.5 * np.linalg.slogdet(expected)[1], rel=1e-10)
    assert root.share(eye) == pytest.approx(matrix.swapaxes(1, 2), rel=1e-10)
    v = rng.normal(size=(3, 4, 2, size))
    assert root.white(root.spread(v)) == pytest.approx(v, rel=1e-9)
    assert Dense(matrix, root.log_det).white(v) == pytest.approx(root.white(v), rel=1e-9)
    assert root.sds == pytest.approx(own / np.sqrt(np.einsum("bgii->bgi", matrices)), rel=1e-10)
    assert root.marginal_sds == pytest.approx(np.sqrt(np.einsum("bgii->bgi", expected)), rel=1e-10)
    assert Dense(matrix, root.log_det).marginal_sds == pytest.approx(root.marginal_sds, rel=1e-10)


@pytest.mark.parametrize("size", [4, 20, 50])
def test_roots_of_dense_groups_and_their_determinants(size, rng):
    there = np.ones((2, size), bool)
    half = rng.normal(size=(3, 2, size, size))
    curvature = half @ half.swapaxes(-1, -2) + np.eye(size)
    order = np.argsort(rng.random((2, size)), 1)
    own = rng.uniform(0.5, 2.0, (3, 2, size))
    root = Dense.of(curvature.copy(), there, order).scaled(own)
    expected = own[..., None] * np.linalg.inv(curvature) * own[..., None, :]
    assert root.matrix @ root.matrix.swapaxes(-1, -2) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert root.log_det == pytest.approx(0.5 * np.linalg.slogdet(expected)[1], rel=1e-9)
    assert root.taken([2, 0]).log_det == pytest.approx(root.log_det[[2, 0]])


def test_chains_and_trees_have_no_fill():
    chain = np.array(CHAIN).T
    assert Elimination.of(np.arange(12)[None], *chain).start[-1] == 11
    leaves_first = np.arange(12)[::-1][None]
    at = np.argsort(leaves_first, 1)[0]
    assert Elimination.of(leaves_first, *at[np.array(TREE).T]).start[-1] == 11


@pytest.mark.parametrize(("pairs", "most"), [(CHAIN, 3), (TREE, 4), (HUB, 4)], ids=["chain", "tree", "hub"])
def test_every_link_is_read_from_few_moves(pairs, most, rng):
    size = 1 + max(max(pair) for pair in pairs)
    matrix = precision_of(size, pairs, rng)
    pattern = sp.csr_array(np.kron(np.eye(6), matrix != 0))
    found = colours(pattern)
    assert found.max() < most
    members = np.arange(6 * size).reshape(6, size)
    columns = Columns.of(members, pattern, np.zeros(6 * size, int))
    change = np.stack([moved @ matrix for moved in columns.moved.astype(float)])  # (C, G, k)
    read = change[columns.move, columns.group, columns.row]
    assert read == pytest.approx(matrix[columns.one, columns.other])
    assert len(read) == 6 * (len(pairs) + size)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_gradients_beside_one_another_are_those_of_the_density(backend, rng):
    target = surface(np.linspace(0, 1, 6), np.array([2, 0, 1, 4, 3, 1])).target(backend)
    z = rng.normal(size=(3, target.dim))
    own = target.offsets["f"]
    u = z[:, None, own] + rng.normal(size=(3, 5, 6))
    whole = np.repeat(z[:, None], 5, 1)
    whole[..., own] = u
    expected = target.value_and_grad(whole.reshape(15, -1))[1].reshape(3, 5, -1)[..., own]
    assert target.moved_gradients(z, ["f"], u) == pytest.approx(expected, rel=1e-8)


# -- integrals -------------------------------------------------------------------------------------------


def test_the_integral_over_a_gaussian_chain_is_exact(rng):
    y = np.cumsum(0.4 * rng.normal(size=LENGTH)) + 0.5 * rng.normal(size=LENGTH)
    target = walk(y).target().centred({})
    inner = inner_of(target, links(target, 1, 3), rng)
    assert inner.exact and inner.groups.columns.elimination.start[-1] == LENGTH - 1
    assert len(inner.groups.columns.moved) == 3
    theta = np.array([[-1.0, -0.7], [0.3, -2.0], [-3.0, 0.5]])
    found = inner.integrals(theta, rng).log_prob
    time = np.arange(LENGTH)
    for t, value in zip(theta, found, strict=True):
        step, sigma = np.exp(t)
        covariance = 4.0 + step**2 * np.minimum(time[:, None], time) + sigma**2 * np.eye(LENGTH)
        expected = stats.multivariate_normal.logpdf(y, np.zeros(LENGTH), covariance)
        expected += stats.halfnorm.logpdf(np.exp(t)).sum() + t.sum()
        assert value == pytest.approx(expected, abs=1e-6)


def filtered(y, phi, sigma):
    """Log likelihood of the counts by sums over a fine grid of log rates."""
    h = np.linspace(-12, 12, 1201) * sigma / np.sqrt(1 - phi**2) * 0.6
    width = h[1] - h[0]
    step = stats.norm.pdf(h[:, None], phi * h, sigma) * width
    belief, total = stats.norm.pdf(h, 0, sigma / np.sqrt(1 - phi**2)) * width, 0.0
    for t, count in enumerate(y):
        belief = belief if t == 0 else step @ belief
        belief = belief * stats.poisson.pmf(count, np.exp(h))
        total += np.log(belief.sum())
        belief /= belief.sum()
    return total


def test_integrals_over_a_chain_of_counts_are_those_of_a_filter(rng):
    h = np.zeros(LENGTH)
    for t in range(1, LENGTH):
        h[t] = 0.8 * h[t - 1] + 0.5 * rng.normal()
    y = rng.poisson(np.exp(h))
    target = counts(y).target().centred({})
    inner = inner_of(target, links(target, 1, 3), rng)
    assert not inner.exact
    for phi, sigma in ((0.8, 0.5), (0.3, 0.9)):
        theta = np.array([np.log1p(phi) - np.log1p(-phi), np.log(sigma)])[target.dim - LENGTH - 2 :]
        drawn = replace(inner, num_draws=16).integrals(
            np.repeat(theta[None, inner_order(inner)], 300, 0), rng
        )
        log_prior = np.log(0.5 * (1 - phi**2) / 2) + stats.halfnorm.logpdf(sigma) + np.log(sigma)
        estimate = logsumexp(drawn.log_prob) - np.log(300)
        noise = np.exp(drawn.log_prob - estimate).std() / np.sqrt(300)
        assert abs(np.expm1(estimate - log_prior - filtered(y, phi, sigma))) < 4 * noise
        assert noise < 0.05


@er.model
def returns(y):
    """Returns whose log variance is a stationary autoregression."""
    h = path(len(y))
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(0, er.math.exp(h / 2)), y)


def test_gaussians_of_expected_curvature_have_less_noise_and_the_same_integral(rng):
    target = returns(rng.normal(size=LENGTH)).target().centred({})
    inner = replace(inner_of(target, links(target, 1, 3), rng), num_draws=16)
    theta = np.array([1.0, np.log(1.5)])[target.dim - LENGTH - 2 :][inner_order(inner)]
    found = {}
    for expected in (0, 2):
        log_prob = replace(inner, expected=expected).integrals(np.repeat(theta[None], 400, 0), rng).log_prob
        mean = logsumexp(log_prob) - np.log(400)
        found[expected] = mean, np.exp(log_prob - mean).std() / 20, log_prob.var()
    assert found[2][2] < 0.4 * found[0][2]
    assert abs(found[0][0] - found[2][0]) < 4 * np.hypot(found[0][1], found[2][1])


def test_where_gradients_are_not_finite_that_far_out_gaussians_stay_at_the_modes(rng):
    target = returns(rng.normal(size=LENGTH)).target().centred({})
    inner = replace(inner_of(target, links(target, 1, 3), rng), expected=1)
    theta = np.repeat(np.array([1.0, 0.0])[None, inner_order(inner)], 2, 0)
    modes = inner.at(theta)

    def density(z):
        value, grad = target.value_and_grad(z)
        far = np.abs(inner.groups.of(z)[:, 0] - modes.centre[0, 0]).max(1) > 0.1
        grad[far & (np.arange(len(z)) % 2 == 1)] = np.nan
        return value, grad

    first, second = replace(inner, density=density)._proposal(theta, modes).centre
    assert np.array_equal(second, modes.centre[1])
    assert np.abs(first - modes.centre[0]).max() > 0.1


def inner_order(inner):
    return np.argsort(inner.groups.shared, kind="stable")


def test_integrals_over_a_dense_block_are_those_of_importance_sampling_by_hand(rng):
    x, y = np.linspace(0, 1, 20), rng.poisson(np.exp(np.sin(6 * np.linspace(0, 1, 20))))
    target = surface(x, y).target().centred({})
    inner = inner_of(target, Structure.dense(target.dim).links, rng)
    assert len(inner.groups) == 1 and inner.groups.size == 20
    length, size = 0.3, 0.8
    theta = np.log([length, size])
    found = replace(inner, num_draws=16).integrals(np.repeat(theta[None], 200, 0), rng).log_prob
    estimate = logsumexp(found) - np.log(200)

    covariance = size**2 * np.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + 1e-6 * np.eye(20)
    prior = stats.multivariate_normal(np.zeros(20), covariance)
    inverse = np.linalg.inv(covariance)
    mode = optimize.minimize(
        lambda f: np.exp(f).sum() - y @ f + 0.5 * f @ inverse @ f,
        np.zeros(20),
        jac=lambda f: np.exp(f) - y + inverse @ f,
        method="BFGS",
        options={"gtol": 1e-8},
    ).x
    spread = np.linalg.inv(inverse + np.diag(np.exp(mode)))
    law = stats.multivariate_t(mode, spread, df=30, seed=5)
    f = law.rvs(40_000)
    weights = prior.logpdf(f) + stats.poisson.logpmf(y, np.exp(f)).sum(1) - law.logpdf(f)
    expected = logsumexp(weights) - np.log(len(f))
    expected += stats.invgamma.logpdf(length, 5.0, scale=1.0) + stats.halfnorm.logpdf(size) + theta.sum()
    noise = np.hypot(
        np.exp(found - estimate).std() / np.sqrt(200),
        np.exp(weights - logsumexp(weights) + np.log(len(f))).std() / np.sqrt(len(f)),
    )
    assert noise < 0.03
    assert abs(estimate - expected) < 4 * noise


def test_groups_that_are_trees_are_read_by_one_move_for_each_level(rng):
    y = rng.poisson(1.5, size=48)
    target = nests(BROOD, NEST, y).target().centred({})
    inner = inner_of(target, links(target, 1, 3), rng)
    columns = inner.groups.columns
    assert (len(inner.groups), inner.groups.size) == (4, 16)
    assert len(columns.moved) == 3 and columns.elimination is not None
    theta = inner.theta[None] + np.array([[0.0, 0.0, 0.0], [-1.0, 0.4, -0.5]])
    sparse, dense = inner.at(theta), replace(inner, groups=dense_groups(inner.groups)).at(theta)
    assert sparse.centre == pytest.approx(dense.centre, abs=1e-3)
    assert sparse.root.log_det == pytest.approx(dense.root.log_det, abs=1e-3)


def dense_groups(groups):
    own = np.full(groups.dim + 1, -1)
    own[groups.members] = np.arange(len(groups))[:, None]
    same = (own[:-1, None] == own[:-1]) & (own[:-1] >= 0)
    return replace(groups, pattern=sp.csr_array((same | np.eye(groups.dim, dtype=bool)).astype(float)))


def test_crossed_effects_are_read_by_one_move_for_each_of_the_fewer_and_one_for_all_others(rng):
    """Forty effects that are linked with five others each, and these with one another."""
    linked = np.ones((45, 45), bool)
    linked[:40, :40] = np.eye(40, dtype=bool)
    matrix = precision_of(45, [(i, j) for i in range(45) for j in range(i) if linked[i, j]], rng)
    pattern = sp.csr_array((matrix != 0).astype(float))
    columns = Columns.of(np.arange(45)[None], pattern, np.repeat([0, 1], [40, 5]))
    assert len(columns.moved) == 6
    change = np.stack([moved @ matrix for moved in columns.moved.astype(float)])
    read = change[columns.move, columns.group, columns.row]
    assert read == pytest.approx(matrix[columns.one, columns.other])
    assert len(read) == 40 + 40 * 5 + 15


# -- which groups ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_link_that_a_centred_covariate_hides_is_kept():
    """With a covariate of mean 0 in each group no Hessian shows that its intercept and its slope are linked."""
    rng = np.random.default_rng(8)
    pupil, x = np.repeat(np.arange(8), 5), np.tile([-2.0, -1, 0, 1, 2], 8)
    y = rng.standard_t(3, size=40) + rng.normal(size=8)[pupil] + rng.normal(size=8)[pupil] * x

    @er.model
    def lines(x, pupil, y):
        scale = er.sample("scale", er.HalfCauchy(1).expand([2]).to_event(1))
        sigma = er.sample("sigma", er.HalfNormal(1))
        with er.plate("pupil", er.levels(pupil)):
            a = er.sample("a", er.Normal(0, scale[0]))
            b = er.sample("b", er.Normal(0, scale[1]))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[pupil] + b[pupil] * x, sigma), y)

    posterior = er.fit(lines(x, pupil, y), seed=1, progress=False)
    reasons = [line.reason for line in posterior.trail if line.name == "groups summed out"]
    assert reasons and reasons[0].startswith("8 groups of 2 summed out")


def test_khat_says_nothing_of_weights_that_are_nearly_even():
    tail = (1 - (np.arange(4000) + 0.5) / 4000) ** -0.8
    assert smooth(np.log1p(6e-4 * tail))[1] <= 0  # the largest is 1.8
    assert smooth(np.log1p(6e-2 * tail))[1] > 0.6


def test_a_draw_where_nothing_is_known_does_not_make_even_weights_heavy():
    tail = np.log1p(6e-4 * (1 - (np.arange(4000) + 0.5) / 4000) ** -0.8)
    assert smooth(np.append(tail, -np.inf))[1] <= 0
    assert (
        smooth(np.append(tail, np.full(40, -np.inf)))[1] > 0.5
    )  # a hundredth of the draws may hide something

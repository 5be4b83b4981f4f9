"""Streams of groups: old groups go on, new ones arrive, and each is told by its own rows."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.posterior.posterior import record_of
from elboroom.inference.stream.grouped import Grouped, Local, Plate, bounded, drift
from elboroom.inference.stream.parameters import Parameters
from elboroom.inference.stream.told import Carried
from elboroom.ppl import constraints

import elboroom as er


@er.model
def groups(g, x, y):
    mu = er.sample("mu", er.Normal(0.0, 5.0))
    slope = er.sample("slope", er.Normal(0.0, 1.0))
    with er.plate("group", er.levels(g)):
        a = er.sample("a", er.Normal(mu, 1.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[g] + slope * x, 1.0), y)


RNG = np.random.default_rng(0)
NAMES = np.array(["a", "b", "c", "d", "e"])
CODES = np.r_[RNG.integers(0, 3, 12), RNG.integers(1, 4, 12), RNG.integers(0, 5, 12)]
G, X = NAMES[CODES], RNG.standard_normal(36)
Y = CODES + 0.5 * X + RNG.standard_normal(36)
QUICK = {"guide": "full-rank", "num_draws": 500}


def batch(start, stop):
    return groups(G[start:stop], X[start:stop], Y[start:stop])


@pytest.fixture(scope="module")
def second():
    return er.fit(batch(0, 12), progress=False, **QUICK).update(batch(12, 24), **QUICK)


def test_groups_that_arrive_and_come_again_are_those_of_all_rows(second):
    program = second.as_prior().onto(batch(24, 36))
    assert program.trace().coords["group"] == tuple(NAMES)
    z = np.random.default_rng(3).standard_normal((5, 7)) * 2
    streamed, whole = program.target().value_and_grad(z), groups(G, X, Y).target().value_and_grad(z)
    assert np.ptp(streamed[0] - whole[0]) < 1e-8
    np.testing.assert_allclose(streamed[1], whole[1], atol=1e-8)
    assert record_of(second).stream.exact
    assert second.summary().index.tolist()[-4:] == ["a[a]", "a[b]", "a[c]", "a[d]"]


def test_groups_are_summed_out_beside_what_earlier_rows_said(second):
    """The carried term is one for each group, not one for all."""
    target = second.as_prior().onto(batch(24, 36)).target()
    assert target.terms(np.zeros((1, 7)))["carried"].shape == (1, 5)
    assert set(target.per_row(np.zeros((1, 7)))) == {"y"}


def test_fewer_groups_are_refused():
    @er.model
    def coded(g, y, J):
        mu = er.sample("mu", er.Normal(0.0, 5.0))
        with er.plate("group", J):
            a = er.sample("a", er.Normal(mu, 1.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[g], 1.0), y)

    first = er.fit(coded(CODES[:12], Y[:12], 3), progress=False, **QUICK)
    with pytest.raises(er.DataError, match="the 3 groups of 'group' so far"):
        first.as_prior().onto(coded(CODES[:12] % 2, Y[:12], 2))
    assert first.as_prior().onto(coded(CODES[24:], Y[24:], 5)).trace()["a"].shape == (5,)


def test_what_grows_in_some_direction_is_carried_without_the_growth(rng):
    quadratic = rng.standard_normal((6, 4, 4))
    quadratic += np.swapaxes(quadratic, 1, 2)
    quadratic[0, :2, :2] = np.diag([-1.0, 2.0])

    def joint(q):
        """The precision of two coordinates of each group, then of two shared ones."""
        out = np.zeros((14, 14))
        for g, own in enumerate(q):
            at = np.r_[2 * g : 2 * g + 2, 12, 13]
            out[np.ix_(at, at)] += own
        return np.linalg.eigvalsh(out)

    assert joint(quadratic).min() < -1
    assert joint(bounded(quadratic, 2)).min() > -1e-8
    good = quadratic @ np.swapaxes(quadratic, 1, 2) + np.eye(4)
    np.testing.assert_array_equal(bounded(good, 2), good)


def test_bound_on_what_is_left_over_holds_for_shared_parameters_and_for_groups(rng):
    shared = rng.standard_normal(20_000)
    left = 0.02 * (shared**3 - 3 * shared)[:, None] + 0.05 * rng.standard_normal((20_000, 30))
    moved = 30 * 0.02 * np.sqrt(6)
    assert drift(left) == pytest.approx(moved + np.hypot(0.05, 0.02 * np.sqrt(6)), rel=0.05)
    assert drift(np.zeros((10, 3))) == 0
    alone = 0.05 * rng.standard_normal((20_000, 30))
    assert drift(alone) < 0.1 < np.sqrt(30) * 0.05


def test_a_bent_likelihood_of_groups_is_nearest_on_the_draws(rng):
    values = {"a": rng.standard_normal((2000, 3)), "s": 0.3 * rng.standard_normal(2000)}
    plate = Plate("g", "g", (Local("a", constraints.real, 0),), (Carried("s", constraints.real),))
    a, s = values["a"][:, [0, 2]], values["s"][:, None]
    y = -np.cosh(a - s) - a - np.cosh(s)
    told, left = Grouped.nothing(plate, values).heard(values, y, [0, 2])
    assert not left[:, 1].any()
    for column, group in ((0, 0), (1, 2)):
        gap = told.of(values)[:, group] + left[:, group] - y[:, column]
        assert np.ptp(gap) < 1e-10
        for f in (values["a"][:, group], values["s"], values["a"][:, group] * values["s"]):
            assert abs(np.cov(f, left[:, group])[0, 1]) < 1e-10
    assert not told.of(values)[:, 1].any()


@er.model
def alone(y):
    mu = er.sample("mu", er.Normal(0.0, 5.0))
    with er.plate("row", len(y)):
        theta = er.sample("theta", er.Normal(mu, 1.0))
        er.observe("y", er.Normal(theta, 1.0), y)


@er.model
def walk(y):
    path = er.sample("path", er.GaussianRandomWalk(1.0, num_steps=len(y)))
    er.observe("y", er.Normal(path, 1.0), y)


@er.model
def summed(y):
    steps = er.sample("steps", er.Normal(np.zeros(len(y)), 1.0))
    er.observe("y", er.Normal(er.math.cumulative_sum(steps, axis=0), 1.0), y)


@er.model
def recursion(y):
    share = er.sample("share", er.Normal(0.0, 1.0))
    _, path = er.scan(lambda level, value: (share * level + value, level), 0.0, y)
    er.observe("y", er.Normal(path, 1.0), y)


@er.model
def learned(y):
    mu = er.param("mu", 0.0) + er.sample("b", er.Normal(0.0, 1.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1.0), y)


@pytest.mark.parametrize(
    "model, words",
    [
        (alone, "parameters that rows share"),
        (walk, "parameters that rows share"),
        (summed, "parameters that rows share"),
        (recursion, "rows that do not follow one another"),
        (learned, "without learned arrays"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_rows_do_not_share_is_not_carried_on(model, words):
    with pytest.raises(er.UnsupportedError, match=words):
        Parameters.of(model(Y[:6]), "jax")


def test_small_plates_that_no_codes_reach_are_shared():
    @er.model
    def features(x, y):
        with er.plate("feature", 2):
            b = er.sample("b", er.Normal(0.0, 1.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(x @ b, 1.0), y)

    found = Parameters.of(features(RNG.standard_normal((6, 2)), Y[:6]), "jax")
    assert [s.name for s in found.shared] == ["b"]
    assert found.plate is None


def test_groups_go_on_from_their_files(second, tmp_path):
    second.save(tmp_path)
    loaded = er.load(tmp_path, program=batch(0, 3))
    z = np.random.default_rng(3).standard_normal((4, 7))
    laws = [p.as_prior().onto(batch(24, 36)).target().value_and_grad(z)[0] for p in (second, loaded)]
    np.testing.assert_array_equal(*laws)
    assert record_of(loaded).stream.kept.columns["g"].tolist() == G[:24].tolist()

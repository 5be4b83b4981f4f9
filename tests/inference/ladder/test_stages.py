"""Every stage of the ladder on states made by hand: when it is due, and what it makes of posteriors that are known."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.guides import Affine, Delta, Flow, FullRank, MeanField, Mixture, Structured
from elboroom.guides.choose import Plan
from elboroom.guides.transport import packed
from elboroom.inference.batches.minibatch import Batches, Minibatch
from elboroom.inference.batches.view import BatchRows
from elboroom.inference.evidence.coverage import covers
from elboroom.inference.evidence.law import Law
from elboroom.inference.evidence.modes import Elsewhere
from elboroom.inference.evidence.stein import MarginalStein, SharedStein
from elboroom.inference.evidence.verdicts import POINT_ESTIMATE
from elboroom.inference.ladder import STAGES, Line, Run, State, weigh
from elboroom.inference.ladder.directions import Directions
from elboroom.inference.ladder.fitting import GuideFit, PoorerFit
from elboroom.inference.ladder.flow import ELSEWHERE, FlowForChains, FlowForModes, affordable
from elboroom.inference.ladder.modes import Modes, stuck
from elboroom.inference.ladder.other_modes import OtherModes, Symmetries
from elboroom.inference.ladder.recentring import recentred
from elboroom.inference.ladder.response import LinearResponse
from elboroom.inference.ladder.short_chains import ShortChains
from elboroom.inference.ladder.starts import BatchStart, DispersedStarts
from elboroom.inference.ladder.weigh import PointEstimate, Weigh, WeighOn, pool_size, short
from elboroom.inference.run.trail import Rung
from elboroom.inference.run.watch import Watch
from elboroom.inference.thresholds import DEAR_POOL, DEAR_SECONDS, FIRST_POOL, STOPPED_POOL
from elboroom.ppl.constraints import real

import elboroom as er

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3)) @ np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.3], [0.0, 0.0, 0.9]])
Y = X @ np.array([1.0, -2.0, 0.5]) + RNG.normal(size=400)
PRECISION = X.T @ X + np.eye(3) / 100
MEAN, COVARIANCE = np.linalg.solve(PRECISION, X.T @ Y), np.linalg.inv(PRECISION)
SD, ROOT = np.sqrt(np.diag(COVARIANCE)), np.linalg.cholesky(COVARIANCE)
EVIDENCE = (  # the log density at the mean, and the volume around it
    -0.5 * (((Y - X @ MEAN) ** 2).sum() + MEAN @ MEAN / 100)
    - 0.5 * np.log(2 * np.pi) * 400
    - 1.5 * np.log(100)
    - 0.5 * np.linalg.slogdet(PRECISION)[1]
)
FAMILY = FullRank()


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, 10).expand([3]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


@er.model
def two_modes():
    """Masses 0.3 and 0.7 at -6 and 6, with sds 1 and 0.5; and a coordinate beside it."""
    er.sample("beside", er.Normal(0, 1))
    x = er.sample("x", er.ImproperUniform(real))
    left = np.log(0.3) - 0.5 * (x + 6) ** 2
    right = np.log(0.7) - 0.5 * ((x - 6) / 0.5) ** 2 - np.log(0.5)
    er.factor("modes", er.math.logsumexp(er.math.stack([left, right]), axis=0))


@er.model
def square():
    x = er.sample("x", er.Normal(0, 5))
    er.observe("y", er.Normal(x**2, 1.0), 9.0)


@er.model
def total():
    a = er.sample("a", er.ImproperUniform(real))
    b = er.sample("b", er.ImproperUniform(real))
    er.observe("y", er.Normal(a + b, 1.0), 1.0)


@pytest.fixture(scope="module")
def target():
    return line(X, Y).target()


@pytest.fixture(scope="module")
def modes():
    return two_modes().target()


@pytest.fixture
def run():
    return Run(Watch(progress=False))


@pytest.fixture
def late():
    """A run whose time has ended."""
    return Run(Watch(1e-9, progress=False))


def at(target, mean, root, family=FAMILY, **given):
    """A state after a fit that ended at a Gaussian."""
    best = Affine(np.asarray(mean, float), np.asarray(root, float))
    guide = family.bind(target)
    state = State(target, Plan(family, ""), best=best, ends=np.zeros((0, target.dim)), **given)
    return replace(state, family=family, guide=guide, fitted=guide.near(best))


def weighed(state, run):
    return Weigh().run(state, run)[0]


@pytest.fixture
def exact(target, run):
    """The exact posterior, weighed."""
    return weighed(at(target, MEAN, ROOT), run)


# the contract -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: type(stage).__name__)
def test_every_stage_says_what_it_is_and_costs(stage, exact):
    for state in (exact, replace(exact, lean=True), replace(exact, named=True), replace(exact, simple=True)):
        reason = stage.wants(state)
        assert reason is None or len(reason) > 5
        assert isinstance(stage.price(state), float) and not stage.price(state) < 0
        assert isinstance(stage.guide(state), str)
        assert reason is None or isinstance(stage.failed(state), State)
    assert stage.name and isinstance(stage.always, bool) and isinstance(stage.guarded, bool)
    assert stage.words or stage.price(exact) == 0


# where a fit begins -------------------------------------------------------------------------------------------------


def test_starts_find_where_the_posterior_lies(target, run):
    stage, state = DispersedStarts(), State(target, Plan(FAMILY, ""))
    assert stage.wants(state) and not BatchStart().wants(state)
    state, line = stage.run(state, run)
    assert (np.abs(state.best.mean - MEAN) < 2 * SD).all()
    assert (
        (0.3 * SD < state.best.scale) & (state.best.scale < 2 * SD)
    ).all()  # independent: narrower than the margins
    assert state.ends.shape == (2, 3) and (np.abs(state.ends - MEAN) < 5 * SD).all()
    assert line.measured["elbo"] < EVIDENCE + 4 * line.measured["elbo_se"]


def test_starts_end_in_both_modes(modes, run):
    state, _ = DispersedStarts().run(State(modes, Plan(FAMILY, ""), start=np.array([[0.0, 4.0]])), run)
    found = np.sort(np.append(state.ends[:, 1], state.best.mean[1]))
    assert abs(found[0] + 6) < 0.5 and abs(found[-1] - 6) < 0.5


def test_a_batch_stands_for_all_rows(target, run):
    plan = SimpleNamespace(auto=False, family=MeanField())
    rows = BatchRows.of(Batches.of(target, Minibatch("row", 100)), plan)
    state = State(target, Plan(MeanField(), ""), rows=rows)
    assert BatchStart().wants(state) and not DispersedStarts().wants(state)
    state, _ = BatchStart().run(state, run)
    assert (np.abs(state.best.mean - MEAN) < 6 * SD).all()  # a quarter of the rows: twice the sd
    assert ((0.3 * SD < state.best.scale) & (state.best.scale < 2 * SD)).all()


@er.model
def groups(y, scale):
    tau = er.sample("tau", er.HalfNormal(1))
    with er.plate("group", len(y)):
        theta = er.sample("theta", er.Normal(0, tau))
        er.observe("y", er.Normal(theta, scale), y)


@er.model
def shifts(y):
    """A level, and shifts from it that rows alone tell apart."""
    level = er.sample("level", er.Normal(0, 10**0.5))
    with er.plate("row", len(y)):
        shift = er.sample("shift", er.Normal(0, 1))
        er.observe("y", er.Normal(level + shift, 1), y)


@pytest.mark.parametrize(("scale", "share"), [(0.01, 1.0), (30.0, 0.0)])
def test_coordinates_are_centred_where_the_data_speak(scale, share, run):
    target = groups(np.linspace(-2, 2, 6), scale).target().centred({"theta": np.full(6, 0.5)})
    sd = np.concatenate([[0.2], np.full(6, min(scale, 1.0))])
    moved = recentred(at(target, np.zeros(7), np.diag(sd)), run)
    assert np.allclose(moved.target.centring["theta"], share, atol=0.1)
    assert recentred(replace(moved, best=packed(moved.best)), run) is None or share == 0.0


# the fit ------------------------------------------------------------------------------------------------------------


def test_the_fit_of_a_gaussian_is_exact(target, run):
    begun = State(target, Plan(FAMILY, "for a reason"), best=Affine(MEAN + 3 * SD, 2 * SD))
    state, line = GuideFit().run(begun, run)
    mean, covariance = state.best.moments()
    assert (
        state.settled
        and np.allclose(mean, MEAN, atol=1e-6)
        and np.allclose(covariance, COVARIANCE, rtol=1e-4)
    )
    assert state.elbo_trace[-1] == pytest.approx(EVIDENCE, abs=1e-6)
    assert line.reason.startswith("for a reason. ")


def test_a_fit_that_failed_is_not_at_rest(target):
    assert not GuideFit().failed(State(target, Plan(FAMILY, ""))).settled


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ({"settled": True}, False),
        ({}, False),  # not at rest, but nothing poorer in the plan
        ({"fitted": None}, True),
        ({"plan": Plan(FAMILY, "", next=Structured()), "elbo_trace": (-10.0,)}, True),
        ({"plan": Plan(FAMILY, "", next=MeanField()), "elbo_trace": (-30.0,)}, True),
        (
            {"plan": Plan(FAMILY, "", next=MeanField()), "elbo_trace": (-10.0,)},
            False,
        ),  # better than the starts
    ],
)
def test_a_poorer_family_is_due_where_the_first_found_no_rest(target, given, due):
    state = replace(at(target, MEAN, ROOT, settled=False), rungs=(Rung("starts", "", elbo=-20.0),))
    assert (PoorerFit().wants(replace(state, **given)) is not None) == due


def test_the_poorer_family_is_fitted_from_where_the_first_was(target, run):
    state, _ = PoorerFit().run(at(target, MEAN + SD, np.diag(SD), settled=False), run)
    mean, sd = state.fitted.marginals()
    assert state.family == MeanField() and state.settled
    assert np.allclose(mean, MEAN, atol=1e-3 * SD.min())
    assert np.allclose(sd, 1 / np.sqrt(np.diag(PRECISION)), rtol=0.15)  # the optimum, but for 32 fixed draws


# the weights --------------------------------------------------------------------------------------------------------


def test_a_point_is_never_trusted(target, run):
    state = at(target, MEAN, ROOT, Delta())
    assert PointEstimate().wants(state) and not PointEstimate().wants(at(target, MEAN, ROOT))
    state, line = PointEstimate().run(state, run)
    assert state.objection == POINT_ESTIMATE and line is None and Weigh().wants(state) is None


def test_the_weights_of_the_exact_posterior_are_equal(exact):
    pool, law = exact.pool, exact.law
    assert pool.elbo[0] == pytest.approx(EVIDENCE, abs=1e-8) and pool.elbo[1] < 1e-8
    assert law.kind == "psis" and exact.objection is None and not short(exact)
    assert abs(law.weights @ law.z - MEAN).max() < 4 * SD.max() / np.sqrt(pool.size)
    assert max(exact.stein.worst) < 0.05


@pytest.mark.parametrize(("shift", "kind"), [(0.5, "psis"), (60.0, "guide")])
def test_weights_correct_a_guide_that_is_off_or_are_left_alone(target, run, shift, kind):
    state = weighed(at(target, MEAN + shift * SD, ROOT), run)
    assert state.law.kind == kind
    if kind == "psis":
        assert abs(state.law.weights @ state.law.z - MEAN).max() < 4 * SD.max() / np.sqrt(state.pool.size)
    else:
        assert state.pool.khat > 0.7 and state.stein.worst[0] > 1 and short(state)


def test_a_direction_that_nothing_holds_is_an_objection(run):
    turn = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    root = np.linalg.cholesky(turn @ np.diag([0.5, 1e12]) @ turn.T)
    state = weighed(at(total().target(), [0.5, 0.5], root), run)
    assert re.search("nothing in model or data holds (a, b|b, a)$", state.objection)
    assert [f.verdict for f in state.findings if f.name == "flat direction"] == ["untrusted"]
    assert not ShortChains().wants(state) and not Modes().wants(state)


def test_a_pool_is_smaller_where_chains_follow_or_time_is_short(target):
    state = at(target, MEAN, ROOT)
    dear = replace(state, target=SimpleNamespace(dim=3, work=2**24))
    sizes = [pool_size(state, False), pool_size(state, True), pool_size(replace(state, lean=True), False)]
    assert sizes[0] > sizes[1] and sizes[0] > sizes[2] and pool_size(dear, False) <= sizes[2]


def test_more_draws_are_taken_until_the_errors_are_small(target, run):
    few = Weigh().run(at(target, MEAN, ROOT, num_draws=1000), run)[0]
    many = Weigh().run(at(target, MEAN, ROOT, num_draws=8000), Run(Watch(progress=False)))[0]
    assert len(many.pool.z) >= 4 * 8000 > len(few.pool.z)


@pytest.mark.parametrize("fitted", [True, False])
def test_a_pool_before_groups_is_small_and_grows_where_they_are_not_summed_out(run, fitted):
    """What the weights of the posterior's own draws establish needs no groups: their pool is whole at once."""
    y = np.linspace(-2.0, 2.0, 12)
    state = at(shifts(y).target(), np.r_[0.0, y / 2], 0.4 * np.eye(13), Structured(), num_draws=1000)
    state = weighed(GuideFit().run(state, run)[0] if fitted else state, run)
    assert state.guide.structure.links is not None and state.trial != fitted
    assert (WeighOn().wants(state) is None) == fitted
    assert len(state.pool.z) == (FIRST_POOL if fitted else STOPPED_POOL)
    if not fitted:
        assert WeighOn().wants(replace(state, stein=SharedStein(None, np.zeros((1, 1)), np.ones(1)))) is None
        before, (state, line) = state, WeighOn().run(state, run)
        assert len(state.pool.z) == FIRST_POOL and np.array_equal(state.pool.z[:STOPPED_POOL], before.pool.z)
        assert WeighOn().wants(state) is None and line.reason.startswith(f"{FIRST_POOL} fresh draws")


# chains -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{"named": True}, {"lean": True}, {"objection": "a reason"}, {"pool": None}], ids=str
)
def test_chains_are_not_drawn_beside_what_forbids_them(target, run, given):
    state = weighed(at(target, MEAN, 0.2 * ROOT), run)
    assert ShortChains().wants(state) and not ShortChains().wants(replace(state, **given))


def test_chains_mend_a_guide_that_is_too_narrow(target, run):
    state = weighed(at(target, MEAN + SD, 0.3 * ROOT), run)
    assert state.law.kind == "guide" and not ShortChains().wants(weighed(at(target, MEAN, ROOT), run))
    state, line = ShortChains().run(state, run)
    law = state.law
    effective = len(law.z) / np.broadcast_to(law.inefficiency(law.z), 3)
    assert law.kind == "mcmc" and law.num_chains == 128 and line.guide == "hmc" and effective.min() > 1000
    assert (np.abs(law.z.mean(0) - MEAN) < 4 * SD / np.sqrt(effective)).all()
    assert (np.abs(law.z.std(0) / SD - 1) < 4 / np.sqrt(2 * effective)).all()


# what the data hold -------------------------------------------------------------------------------------------------


def test_columns_that_the_data_hardly_tell_apart_are_named(exact, run):
    root = np.linalg.cholesky(np.array([[1.0, 1.0 - 1e-8, 0.0], [1.0 - 1e-8, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    state = Directions().run(replace(exact, frame=Affine(MEAN, root)), run)[0]
    (finding,) = state.findings
    assert finding.name == "collinear" and "b[0], b[1]" in finding.advice and "b[2]" not in finding.advice
    assert Directions().run(exact, run)[0].findings == ()


def test_a_coordinate_that_chains_run_away_along_is_named(exact, run):
    z = exact.law.z.copy()
    z[:, 1] += 1e7 * np.linspace(0, 1, len(z))
    away = Law("mcmc", z, None, 4, slowest=1.0)
    (finding,) = Directions().run(replace(exact, law=away), run)[0].findings
    assert (finding.name, finding.quantity, finding.verdict) == ("flat direction", "b[1]", "untrusted")
    assert not Directions().run(replace(exact, law=replace(away, slowest=100.0)), run)[0].findings


# other modes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_of_two(modes, run):
    """The right mode, weighed."""
    return weighed(at(modes, [0.0, 6.0], np.diag([1.0, 0.5])), run)


def test_a_flip_of_signs_is_a_symmetry(exact, run):
    state = weighed(at(square().target(), [3.0], [[1 / 6]]), run)
    (symmetry,) = Symmetries().run(state, run)[0].symmetries
    assert np.allclose(symmetry.apply(np.array([[3.0], [-2.0]]))[0], [[-3.0], [2.0]])
    assert Symmetries().run(exact, run)[0].symmetries == ()
    assert Symmetries().failed(exact).objection == "the search for symmetries failed"


def test_another_mode_is_found_from_afar(one_of_two, exact, run):
    state, line = OtherModes().run(one_of_two, run)
    assert state.elsewhere and line.reason.endswith("ended elsewhere")
    assert min(abs(place.z[1] + 6) for place in state.elsewhere) < 0.5
    assert OtherModes().run(exact, run)[0].elsewhere == ()
    assert OtherModes().failed(exact).objection and not OtherModes().wants(replace(exact, pool=None))


def test_both_modes_get_their_masses(one_of_two, run):
    state = replace(one_of_two, elsewhere=(Elsewhere(np.array([0.0, -6.0]), -0.8, 24.0),))
    assert Modes().wants(state) and not Modes().wants(one_of_two)
    state, line = Modes().run(state, run)
    assert state.objection is None and state.family == Mixture() and "2 Gaussians" in line.reason
    mass, error = state.law.weights[state.law.z[:, 1] < 0].sum(), np.sqrt(0.21 / state.pool.size)
    assert abs(mass - 0.3) < 4 * error
    assert abs(state.pool.log_evidence - 0.5 * np.log(2 * np.pi)) < 4 * state.pool.elbo[1] + 0.01
    assert "several modes" in [finding.name for finding in state.findings]


def test_modes_in_many_dimensions_are_weighed_too(run):
    """More than random places are sent out for around the draws."""

    @er.model
    def wide_modes():
        er.sample("beside", er.Normal(0, 1).expand([25]).to_event(1))
        x = er.sample("x", er.ImproperUniform(real))
        er.factor(
            "modes", er.math.logsumexp(er.math.stack([-0.5 * (x + 6) ** 2, -0.5 * (x - 6) ** 2]), axis=0)
        )

    state = weighed(at(wide_modes().target(), [*np.zeros(25), 6.0], np.eye(26)), run)
    away = Elsewhere(np.array([*np.zeros(25), -6.0]), 0.0, 12.0)
    state, line = Modes().run(replace(state, elsewhere=(away,)), run)
    assert state.objection is None and "2 Gaussians" in line.reason
    mass = state.law.weights[state.law.z[:, -1] < 0].sum()
    assert abs(mass - 0.5) < 4 * np.sqrt(0.25 / state.pool.size)


@pytest.mark.parametrize("given", [{"named": True}, {"simple": True}], ids=str)
def test_modes_that_are_not_weighed_are_an_objection_and_told(one_of_two, run, given):
    state = replace(one_of_two, elsewhere=(Elsewhere(np.array([0.0, -6.0]), -0.8, 24.0),), **given)
    state, line = Modes().run(state, run)
    assert state.objection == ELSEWHERE and line is None and FlowForModes().wants(state)
    state, line = FlowForModes().run(state, run)
    (finding,) = state.findings
    assert state.objection == ELSEWHERE and line is None
    assert (finding.name, finding.verdict) == (
        "several modes",
        "untrusted",
    ) and "24 sds away" in finding.advice


def test_time_that_has_ended_tells_what_was_found(one_of_two, late):
    state = replace(
        one_of_two, elsewhere=(Elsewhere(np.array([0.0, -6.0]), -0.8, 24.0),), objection=ELSEWHERE
    )
    (finding,) = FlowForModes().run(state, late)[0].findings
    assert finding.verdict == "untrusted"


def test_a_fit_of_modes_that_fails_leaves_the_objection(one_of_two):
    state = replace(one_of_two, elsewhere=(Elsewhere(np.array([0.0, -6.0]), -0.8, 24.0),))
    assert Modes().failed(state).objection == ELSEWHERE and Modes().failed(one_of_two).objection is None


def test_chains_that_hardly_move_are_stuck(exact):
    rng = np.random.default_rng(1)
    moving = MEAN + SD * rng.normal(size=(16 * 200, 3))
    steps = np.cumsum(0.05 * rng.normal(size=(16, 200, 3)), axis=1).reshape(-1, 3)
    for z, open_ in ((moving, False), (MEAN + SD * steps, True)):
        state = replace(exact, law=Law("mcmc", z, None, 16))
        assert stuck(state) == open_ and (Modes().wants(state) is not None) == open_
    assert not stuck(exact)


def test_a_search_that_only_chains_ask_for_takes_no_more_than_they(exact, run, monkeypatch):
    stuck_there = replace(exact, law=Law("mcmc", exact.law.z, None, 4, slowest=0.0))
    monkeypatch.setattr("elboroom.inference.ladder.modes.chains_of", lambda _: (16, 500))
    before = exact.target.counter.num_gradients
    state, line = Modes().run(stuck_there, run)
    assert "took more than it may" in line.reason and state.objection is None
    assert exact.target.counter.num_gradients - before < 10_000
    away = Elsewhere(MEAN + 12 * SD, 0.0, 12.0)
    elsewhere = replace(stuck_there, elsewhere=(away,))
    assert "took more" not in Modes().run(elsewhere, run)[1].reason
    monkeypatch.setattr(Modes, "price", lambda self, state: 100.0)
    state, line = Modes().run(elsewhere, run)
    assert "took more than it may" in line.reason and state.objection is not None


def test_other_modes_ask_no_frame_for_a_dense_covariance(exact, run, monkeypatch):
    """Of thousands of coordinates there is none: the fit ended in an error."""

    class Sparse:
        def __getattr__(self, name):
            return getattr(exact.frame, name)

    def none(transport):
        raise AssertionError

    monkeypatch.setattr("elboroom.guides.transport.covariance_of", none)
    assert OtherModes().run(replace(exact, frame=Sparse()), run)[1].reason == "nothing elsewhere"


# flows --------------------------------------------------------------------------------------------------------------


def test_a_flow_is_due_where_chains_leave_the_posterior_open(exact):
    chains = Law("mcmc", exact.law.z, None, 4, slowest=50.0)
    due = FlowForChains().wants
    open_ = replace(exact, law=replace(chains, divergent=0.2))
    assert due(open_) and due(replace(exact, law=replace(chains, slowest=0.0)))
    assert due(replace(exact, law=Law("guide", exact.law.z)))
    assert not due(replace(exact, law=chains)) and not due(exact)
    place = Elsewhere(MEAN, 0.0, 9.0)
    for given in (
        {"objection": "a reason"},
        {"elsewhere": (place,)},
        {"named": True},
        {"lean": True},
        {"simple": True},
    ):
        assert not due(replace(open_, **given))


def test_a_flow_is_affordable_where_gradients_are(target):
    assert affordable(target, Flow()) > 0
    dear = SimpleNamespace(dim=3, work=2**28, program=target.program, sites=target.sites)
    assert affordable(dear, Flow(over="all")) == 0


def test_a_flow_that_does_not_stand_for_the_posterior_is_not_taken(exact, run, monkeypatch):
    taken = replace(exact, family=Flow())
    for sound in (False, True):
        monkeypatch.setattr(
            "elboroom.inference.ladder.flow.flow_fitted",
            lambda *_, sound=sound: (taken, Line("flow", ""), sound),
        )
        assert FlowForChains().run(exact, run)[0] is (taken if sound else exact)


def test_a_flow_that_costs_more_than_chains_from_nothing_is_not_begun(one_of_two, exact, run, monkeypatch):
    monkeypatch.setattr(Run, "pace", 1e-4)
    assert run.dear(0.9 * DEAR_SECONDS / 1e-4) is None  # short enough, whatever chains take
    assert run.dear(1e6) == "not begun: 100 s projected, where chains from nothing take some 12 s"
    state, line = FlowForChains().run(exact, run)
    assert state is exact and line.reason.startswith("not begun")
    away = Elsewhere(np.array([0.0, -6.0]), -0.8, 24.0)
    state, line = FlowForModes().run(replace(one_of_two, elsewhere=(away,), objection=ELSEWHERE), run)
    assert line.reason.startswith("not begun") and state.findings[-1].verdict == "untrusted"
    monkeypatch.setattr(Run, "pace", np.nan)
    assert run.dear(1e9) is None


def test_a_law_that_chains_leave_does_not_cover_the_posterior(one_of_two, run):
    z = np.random.default_rng(0).normal(size=(4000, 2)) * [1.0, 0.5] + [0.0, 6.0]
    density = run.density(one_of_two)
    assert covers(one_of_two.fitted, one_of_two.pool, z, density(z)[0])
    z[::4, 1] -= 12
    assert not covers(one_of_two.fitted, one_of_two.pool, z, density(z)[0])


# covariances --------------------------------------------------------------------------------------------------------


def test_linear_response_gives_the_sds_that_independent_gaussians_lack(target, run):
    narrow = 1 / np.sqrt(np.diag(PRECISION))
    state = at(target, MEAN, narrow, MeanField())
    zero = np.zeros(3)
    z = state.fitted.forward(np.random.default_rng(0).normal(size=(4000, 3)))[0]
    state = replace(state, law=Law("guide", z), frame=state.best, stein=MarginalStein(zero, zero, zero, zero))
    assert LinearResponse().wants(state)
    assert not LinearResponse().wants(replace(state, law=Law("psis", z, np.full(len(z), 1 / len(z)))))
    state, line = LinearResponse().run(state, run)
    few, sd = state.response
    assert few.tolist() == [0, 1, 2] and np.allclose(sd, SD, rtol=1e-4)
    assert np.allclose(np.cov(state.law.z.T), COVARIANCE, rtol=1e-3, atol=1e-6 * COVARIANCE.max())
    assert line.reason.startswith("sds of 3 quantities times")


def test_a_pool_before_groups_is_never_larger_than_the_whole(run, monkeypatch):
    """A density that reads much has a pool of a thousand: there is none to leave for later."""
    y = np.linspace(-2.0, 2.0, 12)
    state = at(shifts(y).target(), np.r_[0.0, y / 2], 0.4 * np.eye(13), Structured(), num_draws=1000)
    monkeypatch.setattr(weigh, "DEAREST", 2 * state.target.work)
    state = weighed(state, run)
    assert len(state.pool.z) == pool_size(state, False) == DEAR_POOL and not state.trial

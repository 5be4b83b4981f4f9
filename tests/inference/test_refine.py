"""Refinement against known answers: metric, gate, stopping, what the guide got wrong, and bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
from elboroom.guides import Affine
from elboroom.inference.evidence.judging import verdicts_of
from elboroom.inference.evidence.mixing import effective_sizes, nested_rhat, split_rhat
from elboroom.inference.evidence.quantities import quantity_values
from elboroom.inference.evidence.verdicts import HEAVY, NOISE
from elboroom.inference.mcmc import affordable, nuts
from elboroom.inference.mcmc import refine as room
from elboroom.inference.posterior.posterior import Posterior, record_of
from elboroom.inference.thresholds import MEAN, QUANTILE, SD
from elboroom.ppl.constraints import real
from scipy.stats import norm

import elboroom as er

SCALE = np.array([1e-3, 1.0, 300.0])


@er.model
def scales(centre):
    """Sites whose order is not that of their names, with sds far apart."""
    c = er.sample("c", er.Normal(centre[0], SCALE[0]))
    a = er.sample("a", er.Normal(centre[1] + 300 * c, SCALE[1]))
    er.sample("b", er.Normal(centre[2], SCALE[2]))
    er.factor("data", 0.0 * a)


CENTRE = np.array([1.0, -300.0, 5.0])
TRUTH = {"c": (1.0, 1e-3), "a": (0.0, np.hypot(1.0, 0.3)), "b": (5.0, 300.0)}


@er.model
def pair(rho):
    """A bivariate normal whose sds a mean field takes for too small, by sqrt(1 − rho²)."""
    x = er.sample("x", er.Normal(0.0, 1.0))
    er.sample("y", er.Normal(rho * x, er.math.sqrt(1 - rho**2)))
    er.factor("data", 0.0 * x)


@er.model
def linked(covariance):
    """The same as one site, whose coordinates the fit does not change."""
    x = er.sample("x", er.MultivariateNormal(np.zeros(2), covariance_matrix=covariance))
    er.factor("data", 0.0 * er.math.sum(x))


@er.model
def heavy(data):
    """Student's t with many dimensions: no Gaussian's weights reach its tails."""
    with er.plate("row", 20):
        x = er.sample("x", er.StudentT(4.0, 0.0, 1.0))
    er.factor("data", 0.0 * er.math.sum(x) * data[0])


@pytest.mark.parametrize(
    ("backend", "kernel", "num_chains", "num_draws"),
    [("jax", "nuts", 4, 800), ("jax", "auto", 64, 50), ("torch", "auto", 64, 50)],
)
def test_it_keeps_what_it_promises_in_the_fits_metric(backend, kernel, num_chains, num_draws):
    posterior = er.fit(scales(CENTRE), backend=backend, refine=False, progress=False)
    refined = posterior.refine(num_draws=num_draws, kernel=kernel, progress=False)
    assert refined.law == "mcmc" and refined.draws["posterior"].sizes["chain"] == num_chains
    steps = refined.draws["sample_stats"]["num_steps"].values
    assert steps.mean() < 8  # a metric in another order, or none, takes hundreds
    table = refined.summary()
    for name, (mean, sd) in TRUTH.items():
        draws = refined.draws["posterior"][name].values
        size = min(float(s[0]) for s in effective_sizes(draws[..., None]))
        assert abs(table.loc[name, "mean"] - mean) < 4 * sd / np.sqrt(size)
        assert abs(table.loc[name, "sd"] / sd - 1) < 4 / np.sqrt(2 * size)


def test_it_stops_when_every_judged_quantity_is_known():
    refined = er.fit(pair(0.9), refine=False, progress=False).refine(kernel="nuts", progress=False)
    assert refined.verdict == "trusted" and refined.trail[-1].name == "refine"
    assert refined.trail[-1].reason.split(": ")[1].startswith("enough")
    values = record_of(refined).outcome.law.z.reshape(4, -1, 2)
    assert np.minimum(*effective_sizes(values)).min() > 400 and split_rhat(values).max() < 1.01
    for name in ("x", "y"):
        row = refined.summary().loc[name]
        assert abs(row["mean"]) < MEAN and abs(row["sd"] - 1) < SD
        assert abs(row["q5"] - norm.ppf(0.05)) < QUANTILE and abs(row["q95"] - norm.ppf(0.95)) < QUANTILE
    again = er.fit(pair(0.9), refine=False, progress=False).refine(kernel="nuts", progress=False)
    assert np.array_equal(again.z, refined.z)


def test_it_does_not_wait_for_an_sd_that_does_not_exist():
    @er.model
    def tails():
        er.sample("scale", er.HalfCauchy(1.0))
        x = er.sample("x", er.Normal(0.0, 1.0))
        er.factor("data", 0.0 * x)

    refined = er.fit(tails(), refine="always", progress=False)
    table = refined.summary()
    assert (
        refined.trail[-1].reason.split(": ")[1].startswith("enough")
        and len(record_of(refined).outcome.law.z) < 20_000
    )
    assert table.loc["x", "verdict"] == "trusted" and abs(table.loc["x", "sd"] - 1) < SD
    assert table.loc["scale", "verdict"] == "untrusted" and "too heavy" in table.loc["scale", "reason"]
    assert abs(table.loc["scale", "median"] - 1) < 0.15


def test_it_says_how_far_the_guide_had_been_off(tmp_path):
    rho = 0.9
    posterior = er.fit(
        linked(np.array([[1, rho], [rho, 1]])), guide="mean-field", refine=False, progress=False
    )
    assert posterior.guide_errors is None
    refined = posterior.refine(progress=False)
    errors = refined.guide_errors
    assert list(errors.index) == ["x[0]", "x[1]"]
    assert np.all(np.abs(errors["sd"] - np.sqrt(1 - rho**2)) < 0.05) and np.all(np.abs(errors["mean"]) < 0.15)
    assert "the guide's means were off" in refined.trail[-1].reason
    refined.save(tmp_path / "kept")
    loaded = er.load(tmp_path / "kept")
    assert loaded.guide_errors.equals(errors) and loaded.summary().equals(refined.summary())
    assert loaded.draws["posterior"].sizes == refined.draws["posterior"].sizes
    assert loaded.draws["sample_stats"]["energy"].equals(refined.draws["sample_stats"]["energy"])


def test_a_second_refinement_compiles_nothing():
    posterior = er.fit(pair(0.5), refine=False, progress=False)
    posterior.refine(num_draws=100, progress=False)
    before = record_of(posterior).target.density.clock["count"]
    other = er.fit(pair(0.6), refine=False, progress=False)
    other.refine(num_draws=100, progress=False)
    assert record_of(other).target.density.clock["count"] == before


def test_an_unsettled_fit_gives_no_metric():
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    target, good = record_of(posterior).target, record_of(posterior).outcome
    assert nuts.begun(target, good).gated
    assert not nuts.begun(target, replace(good, khat=0.8)).gated
    stein = replace(good.stein, location=good.stein.location + 1.0)
    assert not nuts.begun(target, replace(good, stein=stein)).gated
    stuck = replace(good.law, kind="mcmc", weights=None, num_chains=50, slowest=1.0)
    assert not nuts.begun(target, replace(good, law=stuck)).gated


@er.model
def modes():
    """Two modes that no chain goes between."""
    x = er.sample("x", er.ImproperUniform(real, ()))
    near, far = -0.5 * (x + 15) ** 2, -0.5 * ((x - 15) / 0.7) ** 2
    er.factor("data", er.math.logaddexp(near, far))


@pytest.mark.parametrize(
    ("backend", "num_chains", "num_draws"),
    [("jax", 4, 300), ("jax", 64, 40), ("jax", 1024, 20), ("torch", None, 40)],
)
def test_chains_in_modes_of_their_own_are_not_trusted(backend, num_chains, num_draws):
    posterior = er.fit(modes(), backend=backend, guide="full-rank", refine=False, progress=False)
    law = record_of(posterior).outcome.law
    law = replace(law, z=np.where(np.arange(len(law.z))[:, None] % 2, 15.0, -15.0) + 0.1 * law.z)
    # what a search of the fit has found is not what is tested
    record = record_of(posterior)
    posterior = Posterior(replace(record, outcome=replace(record.outcome, law=law, objection=None)))
    refined = posterior.refine(num_chains, num_draws, progress=False)
    assert set(refined.summary()["verdict"]) == {"untrusted"}
    assert any(f.name == "chains disagree" and f.verdict == "untrusted" for f in refined.findings)


def test_by_itself_it_runs_where_trust_is_missing_and_affordable(monkeypatch):
    data = np.ones(1)
    plain = record_of(er.fit(heavy(data), refine=False, progress=False))
    monkeypatch.setattr(affordable, "_trust", lambda record: (0, record.law == "mcmc"))
    table = {**plain.table, "verdict": ["untrusted", *plain.table["verdict"][1:]]}
    plain = replace(plain, table=table, settings={**plain.settings, "quantities": ["x"]})
    refined = affordable.refine_where_it_pays(plain, progress=False)
    assert refined.law == "mcmc" and refined.settings["num_chains"] == 64
    dear = room.refine(plain, affordable=1e-3, progress=False)
    assert dear.z is plain.z and "a pilot projects" in dear.trail[-1].reason


@er.model
def many(y):
    """Two hundred levels, each told by one row."""
    with er.plate("row", len(y)):
        x = er.sample("x", er.Normal(0.0, 1.0))
        er.observe("y", er.Normal(x, 1.0), y)


NOISY = f"{NOISE}: of the 95% quantile"


@pytest.mark.parametrize(
    ("short", "verdict", "reason", "words"),
    [
        (2, "caution", NOISY, "2 of 200 quantities fall short"),
        (2, "caution", "tails too heavy", "2 of 200 quantities fall short"),
        (2, "untrusted", NOISY, "2 of 200 quantities fall short"),
        (2, "untrusted", "tails too heavy", None),
        (3, "caution", NOISY, "more effective draws than chains"),
        (3, "caution", "tails too heavy", None),
        (3, "caution", f"{HEAVY} (tail k̂ 0.44)", "so for chains too"),
    ],
)
def test_chains_are_not_begun_for_few_quantities_or_for_less_noise_than_theirs(
    few_short, short, verdict, reason, words
):
    table = {k: list(v) for k, v in few_short.table.items()}
    table["verdict"][:short], table["reason"][:short] = [verdict] * short, [reason] * short
    found = affordable._hopeless(replace(few_short, table=table))
    assert found is None if words is None else words in found


@pytest.fixture(scope="module")
def few_short():
    record = record_of(er.fit(many(np.linspace(-2, 2, 200)), refine=False, progress=False))
    assert record.outcome.law.kind == "psis" and record.outcome.pool.size > 4000
    return record


def test_a_trusted_fit_is_left_alone_unless_asked():
    assert "refine" not in [rung.name for rung in er.fit(pair(0.9), progress=False).trail]
    always = er.fit(pair(0.9), refine="always", progress=False)
    assert always.law == "mcmc" and always.trail[-1].name == "refine"
    assert sum(rung.num_gradients for rung in always.trail) == always.cost.num_gradients


def test_nuts_alone():
    posterior = er.fit(pair(0.9), guide=None, progress=False)
    assert [rung.name for rung in posterior.trail] == ["refine"] and posterior.verdict == "trusted"
    table = posterior.summary()
    assert np.all(np.abs(table["mean"]) < MEAN) and np.all(np.abs(table["sd"] - 1) < SD)
    assert np.allclose(posterior.params["mean"], record_of(posterior).outcome.law.z.mean(0))
    near = er.fit(pair(0.9), guide=None, start={"x": 50.0, "y": 45.0}, max_seconds=1e-9, progress=False)
    assert np.allclose(near.z[0], [50.0, 45.0])
    with pytest.raises(er.InferenceError, match="minibatch"):
        er.fit(pair(0.9), guide=None, minibatch=er.Minibatch("row", 10))
    with pytest.raises(er.InferenceError, match="guide"):
        er.fit(pair(0.9), guide=None, refine=False)


def test_many_short_chains_are_judged_by_nested_rhat():
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    refined = posterior.refine(num_chains=128, progress=False)
    assert refined.verdict == "trusted" and refined.draws["posterior"].sizes["chain"] == 128
    law = record_of(refined).outcome.law
    assert law.superchains == 16 and len(law.z) // 128 < 100
    size = np.minimum(*effective_sizes(law.z.reshape(128, -1, 2)))
    assert np.all(np.abs(law.z.mean(0)) < 4 / np.sqrt(size))
    assert np.all(np.abs(law.z.std(0) - 1) < 4 / np.sqrt(2 * size))
    brief = posterior.refine(num_chains=128, num_draws=10, progress=False)
    assert brief.verdict == "caution"


def test_only_chains_that_have_met_share_a_metric():
    posterior = er.fit(linked(np.array([[4.0, 1.0], [1.0, 1.0]])), refine=False, progress=False)
    target = record_of(posterior).target
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0.0, 0.0], [[4.0, 1.0], [1.0, 1.0]], (4, 500))
    chains = nuts.Chains(target, Affine(np.zeros(2), np.ones(2)), False)
    assert not chains.take_metric(z + 3.0 * np.arange(4)[:, None, None]) and not chains.gated
    assert not chains.take_metric(z * np.array([1, 1, 1, 3])[:, None, None]) and not chains.gated
    assert chains.take_metric(z) and chains.gated
    metric = chains.place.scale @ chains.place.scale.T
    assert np.allclose(metric, np.cov(z[:, ::2].reshape(-1, 2).T), atol=0.01)


def test_nested_rhat():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 20, 3))
    x[:, :, 1] += np.repeat(rng.standard_normal(16), 4)[:, None]  # superchains that have not met
    x[:, :, 2] += rng.standard_normal(64)[:, None]  # chains that have not, within each of them
    found = nested_rhat(x, 16)
    for q in range(3):
        own = x[:, :, q].mean(1).reshape(16, 4)
        within = own.var(1, ddof=1) + x[:, :, q].var(1, ddof=1).reshape(16, 4).mean(1)
        assert found[q] >= np.sqrt(1 + own.mean(1).var(ddof=1) / within.mean()) * (1 - 1e-12)
    assert found[0] < 1.02 and 1.2 < found[1] < 1.8 and 1.03 < found[2] < 1.2
    spread = rng.standard_normal((64, 20, 1)) * np.repeat(np.linspace(0.3, 3, 16), 4)[:, None, None]
    assert nested_rhat(spread, 16)[0] > 1.1  # scales that differ, around one mean


def test_a_fit_without_a_finite_start_comes_back_with_a_finding(monkeypatch):
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    nowhere = lambda z, **options: (np.full(len(z), -np.inf), np.zeros_like(z))  # noqa: E731
    record_of(posterior).target.value_and_grad = nowhere
    try:
        same = posterior.refine(progress=False)
    finally:
        del record_of(posterior).target.value_and_grad
    assert same.z is posterior.z and "no draw of the fit" in same.trail[-1].reason
    assert same.findings[-1].name == "no start" and same.findings[-1].verdict == "untrusted"


def test_what_will_not_end_in_time_is_not_begun(monkeypatch):
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    monkeypatch.setattr(room, "least_seconds", lambda chains, start: 300.0)
    same = posterior.refine(max_seconds=60, progress=False)
    assert same.z is posterior.z and "300 s or more, 60 s are allowed" in same.trail[-1].reason


def test_one_chain_is_judged_by_its_halves_and_never_trusted():
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    one = posterior.refine(num_chains=1, progress=False)
    assert (
        one.trail[-1].reason.split(": ")[1].startswith("enough")
        and len(record_of(one).outcome.law.z) < 20_000
    )
    assert set(one.table["verdict"]) == {"caution"} and "one chain" in one.table["reason"][0]
    assert er.from_datatree(one.draws, pair(0.9)).verdict == "caution"
    x = np.random.default_rng(0).standard_normal((1, 1000, 2))
    x[0, 500:, 1] += 2.0
    found = split_rhat(x)
    assert found[0] < 1.01 and found[1] > 1.3


def test_dear_chains_can_be_broken_off_after_every_iteration(monkeypatch):
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    chains = nuts.begun(record_of(posterior).target, record_of(posterior).outcome)
    start = nuts.starts(
        record_of(posterior).target, record_of(posterior).outcome, 4, np.random.default_rng(0)
    )
    monkeypatch.setattr(nuts, "PILOT", 1e-9)
    assert nuts.least_seconds(chains, start) > 0 and chains.chunk == 1
    left = iter([False] * 3 + [True] * 1000)
    chains.warmed(start, np.random.default_rng(0), lambda: next(left))
    assert chains.num_warmup == 3


@pytest.mark.parametrize(
    ("backend", "kernel", "num_chains", "call", "warm"),
    [("jax", "nuts", 4, nuts.NUTS_CALL, 1), ("torch", "auto", 64, nuts.SHORT_CALL, 5)],
)
def test_budgets_and_interrupts_keep_what_there_is(monkeypatch, backend, kernel, num_chains, call, warm):
    posterior = er.fit(pair(0.9), backend=backend, refine=False, progress=False)
    none = posterior.refine(max_seconds=0, progress=False)
    assert none.z is posterior.z and none.trail[-1].reason == "ended before the first draws"
    one = posterior.refine(num_chains=1, num_draws=130, progress=False)
    assert one.draws["posterior"].sizes["chain"] == 1 and len(one.z) == 130
    calls, chunk = [], nuts.Chains._chunk

    def interrupted(self):
        calls.append(1)
        if len(calls) == warm + 3:
            raise KeyboardInterrupt
        return chunk(self)

    monkeypatch.setattr(nuts.Chains, "_chunk", interrupted)
    part = posterior.refine(kernel=kernel, progress=False)
    assert len(part.z) == num_chains * 2 * call and "interrupted" in part.trail[-1].reason


def test_a_start_where_the_density_is_not_finite_is_drawn_again():
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    target, rows = record_of(posterior).target, []
    value_and_grad = target.value_and_grad

    def holed(z, **options):
        value, grad = value_and_grad(z, **options)
        rows.append(len(z))
        return np.where(np.arange(len(z)) % 2 == 0, -np.inf, value) if len(rows) == 1 else value, grad

    target.value_and_grad = holed
    try:
        start = nuts.starts(target, record_of(posterior).outcome, 4, np.random.default_rng(0))
    finally:
        del target.value_and_grad
    assert start.shape == (4, 2) and np.isfinite(start).all()


def test_bad_input(tmp_path):
    posterior = er.fit(pair(0.9), refine=False, progress=False)
    for options, words in (
        ({"num_chains": 0}, "num_chains"),
        ({"num_chains": 33}, "multiple of 16"),
        ({"num_draws": 0}, "num_draws"),
        ({"max_seconds": -1}, "max_seconds"),
        ({"kernel": "gibbs"}, "kernel"),
    ):
        with pytest.raises(er.ElboroomError, match=words):
            posterior.refine(**options)
    posterior.save(tmp_path / "kept")
    with pytest.raises(er.InferenceError, match="program"):
        er.load(tmp_path / "kept").refine()
    again = er.load(tmp_path / "kept", program=pair(0.9)).refine(num_draws=500, progress=False)
    assert again.law == "mcmc" and abs(again.summary().loc["y", "sd"] - 1) < 0.15
    with pytest.raises(er.InferenceError, match="other data"):
        er.load(tmp_path / "kept", program=pair(0.2)).refine()


def test_what_chains_cannot_mend_is_not_refined():
    @er.model
    def product():
        a, b = er.sample("a", er.Normal(0, 2)), er.sample("b", er.Normal(0, 2))
        er.factor("data", -0.5 * ((a * b - 2.5) / 0.05) ** 2)

    posterior = er.fit(product(), progress=False)
    assert posterior.verdict == "untrusted" and posterior.settings["num_chains"] == 16  # of many short ones
    assert posterior.trail[-1].reason.startswith("not run") and posterior.trail[-1].num_gradients == 0


def test_chains_that_are_left_aside_still_tell_against_what_was_trusted(monkeypatch):
    plain = record_of(er.fit(pair(0.9), refine=False, progress=False))
    mean = plain.table["mean"] + np.array([0.0, 0.5])
    plain = replace(plain, table={**plain.table, "mean": mean, "verdict": ["caution", "trusted"]})
    monkeypatch.setattr(affordable, "_trust", lambda record: (0, record.law != "mcmc"))
    kept = affordable.refine_where_it_pays(plain, progress=False)
    assert kept.law == plain.law and kept.trail[-1].reason.endswith("left aside")
    assert kept.table["verdict"] == ["caution", "caution"] and "say otherwise" in kept.table["reason"][1]


def test_chains_that_hardly_change_their_energy_are_not_trusted():
    refined = er.fit(pair(0.9), refine=False, progress=False).refine(num_draws=1000, progress=False)
    assert refined.verdict == "trusted"
    law = record_of(refined).outcome.law
    slow = np.cumsum(0.05 * np.random.default_rng(0).standard_normal(law.stats["energy"].shape), 1)
    law = replace(law, stats=law.stats | {"energy": slow})
    values, _ = quantity_values(record_of(refined).target, law.z)
    _, verdicts = verdicts_of(replace(record_of(refined).outcome, law=law), values, np.random.default_rng(0))
    assert set(verdicts.verdict) == {"caution"} and "E-BFMI" in verdicts.reason[0]


def test_a_point_estimate_becomes_a_posterior():
    refined = er.fit(pair(0.9), guide="delta", refine=False, progress=False).refine(progress=False)
    assert refined.verdict == "trusted" and np.all(np.abs(refined.summary()["sd"] - 1) < SD)


def test_what_condemned_a_fit_condemns_it_still_when_it_is_loaded(tmp_path):
    @er.model
    def signs():
        a, b = er.sample("a", er.Normal(0, 2)), er.sample("b", er.Normal(0, 2))
        er.factor("data", -0.5 * ((a * b - 2.5) / 0.3) ** 2)

    for program in (modes(), signs()):
        posterior = er.fit(program, guide="full-rank", refine=False, progress=False)
        assert posterior.verdict == "untrusted"
        posterior.save(tmp_path / program.name)
        saved = json.loads((tmp_path / program.name / "posterior.json").read_text())
        assert (
            set(saved["settings"]) >= {"condemned"} and "objection" not in saved["settings"]
        )  # as 0.1 wrote it
        again = er.load(tmp_path / program.name, program=program).refine(num_draws=400, progress=False)
        assert set(again.summary()["verdict"]) == {"untrusted"}

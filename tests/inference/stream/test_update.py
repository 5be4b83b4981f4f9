"""Posteriors of streams: those of all rows together, rows counted once, and what the chain of updates may claim."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.inference.posterior.posterior import Posterior, record_of
from elboroom.inference.stream.prior import stream_of
from elboroom.inference.stream.rows import Kept, Seen
from elboroom.inference.stream.state import Stream
from elboroom.inference.stream.update import distance

import elboroom as er


@er.model
def level(y, x):
    mu = er.sample("mu", er.Normal(0.0, 10.0))
    slope = er.sample("slope", er.Normal(0.0, 1.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu + slope * x, 2.0), y)


@er.model
def logistic(x, y):
    b = er.sample("b", er.Normal(np.zeros(2), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ b), y)


X = np.random.default_rng(1).standard_normal(24)
Y = 3 + 0.5 * X + 2 * np.random.default_rng(2).standard_normal(24)
QUICK = {"guide": "full-rank", "num_draws": 1000}


def exactly(y, x, weights=1.0):
    """Mean and sd by the normal equations."""
    design = np.c_[np.ones(len(x)), x]
    precision = design.T @ (design * np.broadcast_to(weights, len(x))[:, None]) / 4 + np.diag([0.01, 1.0])
    mean = np.linalg.solve(precision, design.T @ (weights * y) / 4)
    return mean, np.sqrt(np.diag(np.linalg.inv(precision)))


@pytest.fixture(scope="module")
def first():
    return er.fit(level(Y[:8], X[:8]), progress=False, **QUICK)


@pytest.fixture(scope="module")
def second(first):
    return first.update(level(Y[8:16], X[8:16]), keys=range(8, 16), **QUICK)


def summary(posterior):
    frame = posterior.summary()
    return frame["mean"].to_numpy(), frame["sd"].to_numpy()


def test_an_update_is_the_fit_of_all_rows(first, second):
    third = second.update(level(Y[16:], X[16:]), **QUICK)
    for posterior, rows in ((second, slice(0, 16)), (third, slice(None))):
        mean, sd = exactly(Y[rows], X[rows])
        found = summary(posterior)
        np.testing.assert_allclose(found[0], mean, atol=4 * sd.max() / np.sqrt(1000))
        np.testing.assert_allclose(found[1], sd, rtol=0.1)
        assert posterior.verdict == first.verdict
        assert [f.verdict for f in posterior.findings if f.name == "stream"] == ["ok"]


def test_the_law_of_a_stream_is_that_of_all_rows_to_rounding(second):
    """Whatever the fits were: what is carried is what the rows say."""
    z = np.random.default_rng(3).standard_normal((5, 2)) * 3
    streamed = second.as_prior().onto(level(Y[16:], X[16:])).target().value_and_grad(z)
    whole = level(Y, X).target().value_and_grad(z)
    assert np.ptp(streamed[0] - whole[0]) < 1e-8
    np.testing.assert_allclose(streamed[1], whole[1], atol=1e-8)


def test_the_order_of_batches_is_nothing(first, second):
    late = er.fit(level(Y[8:16], X[8:16]), progress=False, **QUICK).update(level(Y[:8], X[:8]), **QUICK)
    z = np.random.default_rng(4).standard_normal((4, 2))
    laws = [p.as_prior().onto(level(Y[16:], X[16:])).target().value_and_grad(z)[0] for p in (second, late)]
    assert np.ptp(laws[0] - laws[1]) < 1e-8


def test_rows_that_are_forgotten_count_less(first):
    program = first.as_prior(forget=0.25).onto(level(Y[8:16], X[8:16]))
    weights = np.r_[np.full(8, 0.25), np.ones(8)]
    mean, _ = exactly(Y[:16], X[:16], weights)
    assert np.abs(program.target().value_and_grad(mean[None])[1]).max() < 1e-8
    by_time = first.update(level(Y[8:16], X[8:16]), when=3.0, **QUICK)
    later = by_time.update(level(Y[16:], X[16:]), forget=0.5, when=5.0, **QUICK)
    mean, sd = exactly(Y, X, np.r_[np.full(16, 0.25), np.ones(8)])
    np.testing.assert_allclose(summary(later)[0], mean, atol=4 * sd.max() / np.sqrt(1000))
    assert "weighted rows" in str(later.findings[-1])
    with pytest.raises(er.DataError, match="older rows count less"):
        later.update(level(Y[:8], X[:8]), forget=0.5, when=4.0)


def test_rows_that_have_been_counted_are_refused(first, second):
    with pytest.raises(er.DataError, match="the data of batch 2 again"):
        second.update(level(Y[8:16], X[8:16]))
    with pytest.raises(er.DataError, match=r"2 that have been counted before, in rows \[0, 1\]"):
        second.update(level(Y[16:], X[16:]), keys=[14, 15, *range(16, 22)])
    with pytest.raises(er.DataError, match="1 that stand twice"):
        second.update(level(Y[16:], X[16:]), keys=[16, 16, *range(17, 23)])
    with pytest.raises(er.DataError, match="each of the 8 rows"):
        second.update(level(Y[16:], X[16:]), keys=[1, 2])
    assert second.as_prior().seen([7, 8, 15, 16]).tolist() == [False, True, True, False]


def test_contents_that_have_come_before_are_told(second):
    rows = np.r_[Y[7], Y[16:23]], np.r_[X[7], X[16:23]]
    again = second.update(level(*rows), **QUICK)
    (finding,) = [f for f in again.findings if f.name == "rows seen before"]
    assert finding.value == pytest.approx(1 / 8)
    assert finding.verdict == "caution"
    with_keys = second.update(level(*rows), keys=range(16, 24), **QUICK)
    assert not [f for f in with_keys.findings if f.name == "rows seen before"]


def test_few_values_are_no_repetition():
    seen = Seen(rows=np.array([1, 2], np.uint64))
    assert seen.share(np.array([1, 1, 2], np.uint64)) == 0
    assert seen.share(np.array([1, 3], np.uint64)) == 0.5


def test_other_models_and_arguments_that_cannot_be_meant_are_refused(first):
    @er.model
    def other(y, x):
        mu = er.sample("mu", er.Normal(0.0, 10.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, 2.0), y)

    for program, words in ((other(Y[8:], X[8:]), "'other'"), (Y, "ndarray")):
        with pytest.raises(er.InferenceError, match=words):
            first.update(program)
    for name, value in (("forget", 0.0), ("forget", 1.5), ("keep", -1)):
        with pytest.raises(er.InferenceError, match=name):
            first.update(level(Y[8:], X[8:]), **{name: value})


def test_a_bent_chain_is_trusted_only_after_a_fit_of_all_rows_has_agreed():
    stream = Stream(None, None, Kept(100), Seen())
    assert replace(stream, drift=0.0).allowed == "trusted"
    assert replace(stream, drift=0.05).allowed == "caution"
    assert replace(stream, drift=0.05, agreed=True).allowed == "trusted"
    assert replace(stream, drift=0.2, agreed=True).allowed == "caution"
    assert replace(stream, drift=0.6, agreed=True).allowed == "untrusted"
    assert replace(stream, worst="untrusted").allowed == "untrusted"
    assert not replace(stream, since=50).due(9)
    assert replace(stream, since=10, drift=0.01, agreed=True, fitted=8).due(9)
    assert replace(stream, since=1, drift=0.01, fitted=8).due(10)
    assert not replace(stream, since=1, drift=0.01, fitted=8, agreed=True).due(10)
    assert replace(stream, since=1, drift=0.2, fitted=8).due(10)
    assert not replace(stream, since=1, drift=0.2, fitted=8).due(9)
    assert not replace(stream, since=9, drift=0.1, agreed=True).due(9)


@pytest.fixture(scope="module")
def bent():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((36, 2))
    y = (rng.random(36) < 1 / (1 + np.exp(-x @ [1.0, -1.0]))).astype(float)
    return x, y, er.fit(logistic(x[:12], y[:12]), progress=False, **QUICK)


def test_what_the_chain_has_cost_caps_every_verdict(bent):
    x, y, begun = bent
    found = begun.update(logistic(x[12:24], y[12:24]), keep=0, **QUICK)
    (finding,) = [f for f in found.findings if f.name == "stream"]
    assert finding.value > 0.15
    assert finding.verdict != "ok"
    assert "A full refit is due" in finding.advice
    assert set(found.summary()["verdict"]) <= {"caution", "untrusted"}
    assert found.verdict == found.derive(lambda v: {"odds": np.exp(v["b"])})["verdict"].iloc[0]
    assert found.update(logistic(x[24:], y[24:]), **QUICK).verdict != "trusted"
    by_hand = er.fit(begun.as_prior().onto(logistic(x[12:24], y[12:24])), progress=False, **QUICK)
    assert by_hand.verdict == found.verdict


def test_all_rows_are_fitted_together_where_that_is_due(bent):
    x, y, begun = bent
    found = begun.update(logistic(x[12:24], y[12:24]), **QUICK)
    assert found.program.arguments["y"].tolist() == y[:24].tolist()
    (finding,) = [f for f in found.findings if f.name == "stream"]
    assert "All 24 rows were fitted together" in finding.advice
    whole = er.fit(logistic(x[:24], y[:24]), progress=False, **QUICK)
    np.testing.assert_allclose(summary(found)[0], summary(whole)[0], atol=1e-12)
    stream = record_of(found).stream
    assert stream.kept.count == 24
    assert stream.since == 1
    assert stream.num_updates == 1


def test_a_posterior_without_data_has_no_rows_to_carry_on(first):
    alone = Posterior(replace(record_of(first), target=None))
    with pytest.raises(er.InferenceError, match="without the data"):
        alone.as_prior()


def test_a_stream_goes_on_from_its_files(second, tmp_path):
    second.save(tmp_path)
    loaded = er.load(tmp_path, program=level(Y[:3], X[:3]))
    z = np.random.default_rng(3).standard_normal((4, 2))
    laws = [p.as_prior().onto(level(Y[16:], X[16:])).target().value_and_grad(z) for p in (second, loaded)]
    np.testing.assert_array_equal(laws[0][0], laws[1][0])
    assert loaded.as_prior().seen([8, 3]).tolist() == [True, False]
    before, after = (record_of(p).stream for p in (second, loaded))
    assert (after.kept.columns["y"] == before.kept.columns["y"]).all()
    assert after.words == before.words
    with pytest.raises(er.DataError, match="the data of batch 2 again"):
        loaded.update(level(Y[8:16], X[8:16]))
    alone = er.load(tmp_path)
    with pytest.raises(er.InferenceError, match="without it"):
        alone.as_prior()


def test_what_is_carried_on_is_no_column_of_the_rows(first, second):
    by_hand = er.fit(first.as_prior().onto(level(Y[8:16], X[8:16])), progress=False, **QUICK)
    for posterior in (second, by_hand):
        assert set(er.schema(posterior).fields) == {"x", "y"}
        assert set(record_of(posterior).constant_data) == {"x"}
        found = posterior.predict(x=X[:3])["posterior_predictive"]["y"].to_numpy()[0]
        mean, _ = exactly(Y[:16], X[:16])
        np.testing.assert_allclose(found.mean(0), mean[0] + mean[1] * X[:3], atol=4 * 2.2 / np.sqrt(1000))


@pytest.mark.slow
def test_checks_and_chains_of_a_stream_are_those_of_its_rows(second, bent):
    assert {f.verdict for f in second.check()} <= {"ok", "not assessable"}
    x, y, begun = bent
    found = begun.update(logistic(x[12:24], y[12:24]), keep=0, **QUICK).refine(progress=False)
    assert found.law == "mcmc"
    assert found.verdict != "trusted"
    assert found.as_prior().stream.num_updates == 1


def test_a_posterior_that_moves_to_where_nothing_was_carried_is_not_trusted():
    """Rows change their law: far from where it was fitted, the nearest quadratic function is of no use."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal((900, 2))
    y = (rng.random(900) < 1 / (1 + np.exp(-x @ np.r_[0.2, 0.2]))).astype(float)
    y[200:] = (rng.random(700) < 1 / (1 + np.exp(-x[200:] @ np.r_[6.0, 6.0]))).astype(float)
    begun = er.fit(logistic(x[:200], y[:200]), progress=False, **QUICK)
    stream = replace(stream_of(record_of(begun)), agreed=True, kept=Kept(0, 200))
    assert stream.allowed == "trusted"
    known = Posterior(replace(record_of(begun), stream=stream))
    found = known.update(logistic(x[200:], y[200:]), **QUICK)
    whole = er.fit(logistic(x, y), progress=False, **QUICK)
    assert np.abs(summary(found)[0] - summary(whole)[0]).max() > 0.3 * summary(whole)[1].max()
    assert found.verdict == "untrusted"
    (finding,) = [f for f in found.findings if f.name == "stream"]
    assert "A full refit is due: the posterior has moved" in finding.advice
    kept = Posterior(replace(record_of(begun), stream=replace(stream_of(record_of(begun)), agreed=True)))
    again = kept.update(logistic(x[200:], y[200:]), **QUICK)
    assert again.program.arguments["y"].size == 900
    assert not record_of(again).stream.agreed


@pytest.mark.parametrize(
    ("mean", "sd"), [(np.nan, 1.0), (0.0, np.nan), (0.0, 0.0), (np.inf, 1.0), (0.0, np.inf)]
)
def test_numbers_that_are_none_agree_with_nothing(mean, sd):
    def record(mean, sd):
        return SimpleNamespace(table={"label": ["mu"], "mean": [mean], "sd": [sd]}, judged=[0])

    assert distance(record(mean, sd), record(0.0, 1.0)) == np.inf
    assert distance(record(0.1, np.e), record(0.0, 1.0)) == pytest.approx(1.0)

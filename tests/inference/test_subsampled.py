"""Which guide batches get, where their fits begin, and that nothing reads all rows at once."""

import numpy as np
import pytest
from elboroom.inference.batches import blocks, minibatch
from elboroom.inference.batches.minibatch import Batches, Minibatch
from elboroom.inference.batches.view import BatchRows, planned
from elboroom.inference.ladder import Run, State, climb
from elboroom.inference.ladder.starts import BatchStart
from elboroom.inference.run.watch import Watch
from elboroom.ppl.target import Target

import elboroom as er


@er.model
def groups(y, group):
    mu = er.sample("mu", er.Normal(0, 10))
    tau = er.sample("tau", er.HalfNormal(5))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu, tau))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], 1.0), y)


def grouped(num_groups, each, seed=0):
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(num_groups), each))
    return groups(1 + 2 * rng.normal(size=num_groups)[group] + rng.normal(size=len(group)), group)


@pytest.mark.parametrize(
    "num_groups, size, guide, family",
    [
        (20, 50, "auto", "full-rank"),
        (20, 50, "structured", "structured"),
        (20, 50, "mean_field", "mean-field"),
        (20, 10, "auto", "mean-field"),
        (500, 600, "auto", "full-rank"),
        (1100, 1200, "auto", "mean-field"),
    ],
)
def test_the_guide_follows_what_batches_hold(num_groups, size, guide, family):
    target = grouped(num_groups, 4).target()
    plan = planned(guide, Batches.of(target, Minibatch("row", size)))
    assert plan.family.name == family and f"batches of {size} rows" in plan.reason
    assert plan.auto == (num_groups >= 500)  # then the structured guide is tried first


@pytest.mark.parametrize("guide", ["full-rank", "structured", "low-rank", "delta", "flow"])
def test_guides_that_need_all_coordinates_are_refused_without(guide):
    batches = Batches.of(grouped(20, 4).target(), Minibatch("row", 10))
    with pytest.raises(er.GuideError, match="'mean-field' with minibatches"):
        planned(guide, batches)


def test_a_family_per_site_is_refused_on_batches():
    batches = Batches.of(grouped(20, 4).target(), Minibatch("row", 50))
    assert planned("structured", batches).family == er.Structured()
    with pytest.raises(er.GuideError, match="'mean-field' with minibatches"):
        planned(er.Structured(sites={"mu": "mean-field"}), batches)


def test_no_call_reads_all_rows(monkeypatch):
    monkeypatch.setattr(blocks, "DATA_BLOCK", 2**11)
    monkeypatch.setattr(minibatch, "MOST_BLOCKS", 16)  # else the check of the batches would
    program, sizes, whole_call = grouped(20, 200), [], Target.value_and_grad

    def watched(self, *args, **kwargs):
        sizes.append(len(self.program.leaves["y"].value))
        return whole_call(self, *args, **kwargs)

    monkeypatch.setattr(Target, "value_and_grad", watched)
    posterior = er.fit(program, minibatch=er.Minibatch("row", 240), progress=False, refine=False)
    assert posterior.verdict == "trusted" and max(sizes) < 4_000


def test_a_structured_guide_is_fitted_in_blocks():
    program = grouped(60, 40)
    posterior = er.fit(
        program, guide="structured", minibatch=er.Minibatch("row", 300), progress=False, refine=False
    )
    y, group = program.leaves["y"].value, program.leaves["group"].value
    count, total = np.bincount(group), np.bincount(group, y)
    table = posterior.summary()
    tau = table.loc["tau", "mean"]  # given it the others are known
    pooled = 1 / (1 / count + tau**2)
    mu = (pooled * total / count).sum() / (pooled.sum() + 0.01)
    mean, sd = (total + mu / tau**2) / (count + tau**-2), 1 / np.sqrt(count + tau**-2)
    found = table.loc[[f"a[{i}]" for i in range(60)]]
    assert abs(table.loc["mu", "mean"] - mu) * np.sqrt(pooled.sum()) < 0.15
    assert np.abs((found["mean"] - mean) / sd).max() < 0.15 and np.abs(found["sd"] / sd - 1).max() < 0.1


def test_starts_that_are_not_finite_are_moved(monkeypatch):
    target = grouped(20, 20).target()
    batches = Batches.of(target, Minibatch("row", 100))
    plan, run = planned("mean-field", batches), Run(Watch(None, False))
    state = State(target, plan, num_draws=100, rows=BatchRows.of(batches, plan), named=True)
    whole_call, far = batches.target.value_and_grad, []

    def bounded(z, *args, **kwargs):
        value, grad = whole_call(z, *args, **kwargs)
        outside = np.abs(z[:, 0] - 0.5) > 0.4
        far.append(outside.all())
        return np.where(outside, np.nan, value), grad

    monkeypatch.setattr(batches.target, "value_and_grad", bounded)
    state = climb((BatchStart(),), state, run)
    assert far[0] and abs(state.best.mean[0] - 0.5) < 0.4  # no start had been finite

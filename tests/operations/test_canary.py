"""A candidate beside what is live: what is decided of versions whose losses are known, and what it does to a registry."""

from __future__ import annotations

import json

import numpy as np
import pytest
from elboroom.operations.canary.canary import ENDS, Canary
from elboroom.operations.canary.sequence import Arms, radius
from elboroom.operations.registry import Registry
from scipy.stats import norm

import elboroom as er


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def registry(fitted, tmp_path_factory):
    """One with a live version and a candidate."""
    made = Registry(tmp_path_factory.mktemp("canary"))
    for why in ("the first", "the second"):
        made.add(fitted, "risk", because=why)
    made.promote("risk/1", because="it is the first")
    return made


def losses(rng, count, mean=1.0):
    """Log-normal, with a coefficient of variation of one half."""
    sd = np.sqrt(np.log(1.25))
    return mean * rng.lognormal(-(sd**2) / 2, sd, count)


def day(rng, worse, share=0.05, margin=0.02, count=40_000, looks=40, level=0.01):
    """How a day ends on which a candidate's losses are so many times those of what is live: +1 rolled back, -1 promoted, and requests."""
    arms, mine = Arms(share), rng.uniform(size=count) < share
    lost = losses(rng, count) * np.where(mine, worse, 1.0)
    for some in np.split(np.arange(count), looks):
        arms = arms.added(mine[some], lost[some])
        low, high = arms.limits(1 + margin, level)
        if low > 0 or high < 0:
            return (1 if low > 0 else -1), arms.first
    return 0, arms.first


def test_a_boundary_is_crossed_as_rarely_as_it_says():
    rng, count, level = np.random.default_rng(0), 4000, 0.1
    limit = np.array([radius(n, level, 1000) for n in range(1, count + 1)]) * np.arange(1, count + 1)
    crossed = np.mean([(rng.normal(size=count).cumsum() > limit).any() for _ in range(2000)])
    assert (
        0.03 < crossed < level
    )  # a look at one time alone would cross at 0.1, ten looks a few times as often


def test_means_of_arms_are_unbiased_and_as_narrow_as_two_samples():
    rng, share, count = np.random.default_rng(1), 0.1, 20_000
    off = []
    for _ in range(200):
        mine = rng.uniform(size=count) < share
        arms = Arms(share).added(mine, losses(rng, count) * np.where(mine, 1.3, 1.0))
        mean, sd = arms.contrast(1.0)
        off.append((mean - 0.3) / (sd / np.sqrt(count)))
    assert abs(np.mean(off)) < 4 / np.sqrt(200) and 0.85 < np.std(off) < 1.15
    assert sd**2 == pytest.approx(0.25 * (1.3**2 / share + 1 / (1 - share)), rel=0.1)


def test_batches_are_as_all_at_once():
    rng = np.random.default_rng(2)
    mine, lost = rng.uniform(size=1000) < 0.3, losses(rng, 1000)
    whole, parts = Arms(0.3).added(mine, lost), Arms(0.3)
    for start in range(0, 1000, 37):
        parts = parts.added(mine[start : start + 37], lost[start : start + 37])
    np.testing.assert_allclose(whole.contrast(1.02), parts.contrast(1.02), rtol=1e-12)


def test_equal_versions_are_hardly_ever_rolled_back_and_worse_ones_are():
    rng = np.random.default_rng(3)
    equal = [day(rng, 1.0)[0] for _ in range(200)]
    at_margin = [day(rng, 1.02)[0] for _ in range(200)]
    assert equal.count(1) == 0 and at_margin.count(1) <= 6 and at_margin.count(-1) <= 6  # of 200, at 1%
    worse = [day(rng, 1.05, count=300_000, looks=150) for _ in range(20)]
    assert all(end == 1 for end, _ in worse) and np.median([count for _, count in worse]) < 6000
    better = [day(rng, 0.9, count=100_000) for _ in range(20)]
    assert all(end == -1 for end, _ in better)


def see(canary, rng, count, worse, start=0, **more):
    keys = np.arange(start, start + count)
    mine = np.array([canary.mine(key) for key in keys])
    canary.see(keys, losses(rng, count) * np.where(mine, worse, 1.0), **more)
    return mine


def test_keys_go_where_they_went_and_shares_are_what_was_asked(registry):
    canary = Canary(registry, "risk", candidate=2, share=0.1)
    routes = [canary.route(f"user {i}") for i in range(5000)]
    assert routes == [canary.route(f"user {i}") for i in range(5000)] and set(routes) == {1, 2}
    assert abs(routes.count(2) / 5000 - 0.1) < 4 * np.sqrt(0.09 / 5000)


def test_a_worse_candidate_gets_no_more_requests_and_the_log_says_why(registry, tmp_path):
    canary, rng = Canary(registry, "risk", candidate=2, share=0.3), np.random.default_rng(4)
    assert canary.decision.what == "go on" and canary.settle().what == "go on"
    see(canary, rng, 12_000, 1.3)
    again = Canary.load(canary.save(tmp_path / "canary.json"), registry)
    assert str(again.decision) == str(canary.decision)
    assert canary.settle().what == "roll back" and {canary.route(i) for i in range(100)} == {1}
    assert (
        "above the margin" in registry.get("risk/2").tags["canary"] and registry.aliases("risk")["live"] == 1
    )
    assert canary.finding.verdict == "misfit" and canary.finding.value == pytest.approx(1.3, abs=0.05)
    assert Canary.load(canary.save(tmp_path / "canary.json"), registry).closed == canary.closed


def test_a_better_one_is_promoted_and_hours_pass_where_nothing_is_told(fitted, tmp_path):
    registry = Registry(tmp_path)
    for _ in range(2):
        registry.add(fitted, "risk")
    registry.promote("risk/1", because="first")
    clock, rng = Clock(), np.random.default_rng(5)
    canary = Canary(registry, "risk", candidate=2, share=0.3, clock=clock)
    see(canary, rng, 2000, 1.0)
    clock.now = 25 * 3600.0
    assert canary.settle().what == "extend" and "tell which side" in canary.decision.why
    see(canary, rng, 20_000, 0.8, start=2000)
    assert (
        canary.settle().what == "promote"
        and registry.aliases("risk")["live"] == 2
        and canary.route("any") == 2
    )
    assert "within the margin" in str(registry.log("risk").iloc[-1]["because"])


def test_slow_answers_and_untrusted_ones_end_it(registry):
    rng = np.random.default_rng(6)
    for worse, words in (({"seconds": 2.5}, "ms a request"), ({"untrusted": 0.1}, "untrusted")):
        canary = Canary(registry, "risk", candidate=2, share=0.3)
        mine = np.array([canary.mine(key) for key in range(8000)])
        name, amount = next(iter(worse.items()))
        usual = rng.gamma(4, 0.01 / 4, 8000)
        values = (
            usual * np.where(mine, amount, 1.0)
            if name == "seconds"
            else rng.uniform(size=8000) < mine * amount
        )
        canary.see(np.arange(8000), **{name: values})
        assert canary.decision.what == "roll back" and words in canary.decision.why
        same = Canary(registry, "risk", candidate=2, share=0.3)
        same.see(np.arange(8000), seconds=usual, untrusted=rng.uniform(size=8000) < 0.1)
        assert same.decision.what == "go on"


def test_a_shadow_tells_from_pairs_what_a_share_needs_many_more_requests_for(registry):
    rng = np.random.default_rng(7)
    shadow = Canary(registry, "risk", candidate=2, shadow=True)
    usual = losses(rng, 2000)
    shadow.see_both(usual, usual * rng.normal(1.05, 0.05, 2000))
    assert shadow.decision.what == "roll back" and {shadow.route(i) for i in range(300)} == {1}
    with pytest.raises(er.InferenceError, match="see_both"):
        shadow.see([1], [1.0])


def test_losses_below_nought_have_a_margin_too(registry):
    for worse, what in ((0.8, "roll back"), (1.25, "promote")):  # log scores of densities
        canary = Canary(registry, "risk", candidate=2, share=0.3)
        mine = np.array([canary.mine(key) for key in range(12_000)])
        canary.see(range(12_000), -losses(np.random.default_rng(8), 12_000) * np.where(mine, worse, 1.0))
        assert canary.decision.what == what
    canary = Canary(registry, "risk", candidate=2, share=0.3)
    canary.see(range(2000), np.random.default_rng(9).normal(size=2000))
    assert canary.decision.what not in ENDS and "not told from nought" in canary.decision.why


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"share": 0}, "share"), ({"margin": -1}, "margin"), ({"hours": np.nan}, "hours"), ({"level": 2}, "level"), ({"candidate": 1}, "live")],
)  # fmt: skip
def test_what_is_no_canary_is_refused(registry, asked, words):
    with pytest.raises(er.InferenceError, match=words):
        Canary(registry, "risk", **{"candidate": 2, **asked})


def test_what_says_nothing_and_what_says_the_worst_are_told_apart(registry):
    canary = Canary(registry, "risk", candidate=2, share=0.3)
    canary.see(["a", "b"], [np.nan, 1.0])
    assert canary.arms["losses"].count == 1
    with pytest.raises(
        er.InferenceError, match="losses: expected finite numbers"
    ):  # what was given no chance at all
        canary.see(["a", "b"], [np.inf, 1.0])
    for key in (7.0, None, True):
        with pytest.raises(er.InferenceError, match="whole number"):
            canary.see([key], [1.0])
    with pytest.raises(er.InferenceError, match="candidate: expected finite"):
        Canary(registry, "risk", candidate=2, shadow=True).see_both([1.0], [np.inf])


def test_no_version_is_replaced_that_it_was_not_compared_with(fitted, tmp_path):
    registry = Registry(tmp_path / "models")
    for _ in range(3):
        registry.add(fitted, "risk")
    registry.promote("risk/1", because="first")
    canary = Canary(registry, "risk", candidate=2, share=0.3)
    see(canary, np.random.default_rng(11), 20_000, 0.8)
    path = canary.save(tmp_path / "canary.json")
    registry.promote("risk/3", because="meanwhile")
    assert canary.decision.what == "promote"
    with pytest.raises(er.RegistryError, match="version 1, which it is compared with"):
        canary.settle()
    with pytest.raises(er.RegistryError, match="Begin another canary"):
        Canary.load(path, registry)
    assert canary.closed is None and registry.aliases("risk")["live"] == 3


def test_a_canary_that_ended_without_losses_is_kept(registry, tmp_path):
    canary = Canary(registry, "risk", candidate=2, share=0.3)
    mine = np.array([canary.mine(key) for key in range(2000)])
    canary.see(range(2000), seconds=np.where(mine, 0.05, 0.01))
    assert canary.settle().what == "roll back" and np.isnan(canary.closed.ratio)
    again = Canary.load(canary.save(tmp_path / "canary.json"), registry)
    assert str(again.closed) == str(canary.closed) and {again.route(i) for i in range(99)} == {1}


def test_a_changed_file_is_refused(registry, tmp_path):
    path = Canary(registry, "risk", candidate=2).save(tmp_path / "canary.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "live": 2}))
    with pytest.raises(er.InferenceError, match="canary"):
        Canary.load(path, registry)


def test_a_comparison_is_the_posterior_of_the_difference():
    rng = np.random.default_rng(10)
    first, second = losses(rng, 3000), losses(rng, 1000, 0.95)
    found = er.ab(first, second)
    sd = np.sqrt(first.var() / 3000 + second.var() / 1000)
    assert found.difference.mean() == pytest.approx(second.mean() - first.mean(), abs=4 * sd / np.sqrt(4000))
    assert found.difference.std() == pytest.approx(sd, rel=0.06)
    assert found.probability == pytest.approx(norm.cdf((first.mean() - second.mean()) / sd), abs=0.02)
    keep, take = found.regret
    assert keep - take == pytest.approx(-found.difference.mean(), abs=1e-12)
    pair = er.ab(first, first + rng.normal(0.02, 0.1, 3000), paired=True)
    assert pair.probability < 0.001 and pair.difference.std() == pytest.approx(0.1 / np.sqrt(3000), rel=0.06)
    with pytest.raises(er.InferenceError, match="second"):
        er.ab(first, [1.0, np.nan])

"""A monitor: windows, what it holds, sums over days, and a state that survives."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from elboroom.operations.drift.cusum import Cusum, limit_of, run_length
from elboroom.operations.thresholds import MOST_WINDOW

import elboroom as er

DAY = 86_400.0


@er.model
def line(x, y=None):
    slope = er.sample("slope", er.Normal(0, 5))
    level = er.sample("level", er.Normal(0, 5))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(level + slope * x, 1), y)


def rows(rng, count, shift=0.0):
    x = rng.normal(size=count)
    return {"x": x, "y": 1 + 2 * x + shift + rng.normal(size=count)}


@pytest.fixture(scope="module")
def posterior():
    return er.fit(line(**rows(np.random.default_rng(0), 300)), progress=False)


@pytest.fixture
def monitor(posterior):
    return er.Monitor(posterior, reference=rows(np.random.default_rng(1), 2000))


# -- sums ------------------------------------------------------------------------------------------------


def test_run_lengths_are_those_of_simulated_sums():
    rng, limit = np.random.default_rng(2), limit_of(30.0)
    assert run_length(limit) == pytest.approx(30.0, rel=1e-6)
    lengths = []
    for _ in range(800):
        total, steps = 0.0, 0
        while total <= limit:
            total, steps = max(0.0, total + rng.normal() - 0.5), steps + 1
        lengths.append(steps)
    assert np.mean(lengths) == pytest.approx(30.0, abs=4 * np.std(lengths) / np.sqrt(800))


def test_steps_are_independent_however_small_the_reference():
    """With 50 rows of reference and windows of 50 a sum against the reference's mean would drift; recursive residuals do not."""
    rng, steps = np.random.default_rng(3), []
    for _ in range(300):
        one, own = Cusum.of(rng.normal(size=50)), []
        for _ in range(6):
            values = rng.normal(size=50)
            own.append(one.move(values))
            one = one.learned(values)
        steps.append(own)
    found = np.array(steps)
    assert found.std() == pytest.approx(1.0, abs=0.06)
    off = np.corrcoef(found.T)[np.triu_indices(6, 1)]
    assert abs(off.mean()) < 4 / np.sqrt(300 * 15)


def test_a_slow_change_is_seen_before_a_day_can_tell(monitor):
    rng = np.random.default_rng(4)
    for day in range(16):
        monitor.see(rows(rng, 60, shift=0.0 if day < 5 else 0.4), at=day * DAY)
    told = [
        one
        for one in monitor.state.history
        if any("slow change" in k and v[0] for k, v in one["effects"].items())
    ]
    history = monitor.history()
    assert not history["drifted"][:5].any()
    assert history["warned"][5:].any() or history["drifted"][5:].any()
    assert "y" in {name for one in told[5:] for name in one["moved"]}


def test_a_page_of_sums_promises_what_they_keep(monitor, tmp_path):
    """A sum has no p-value, and is no rule of the sources."""
    rng = np.random.default_rng(18)
    for day in range(8):
        monitor.see(rows(rng, 60, shift=1.5), at=day * DAY)
    assert any(s.test == "slow change" and s.moved for s in monitor.last.shifts)
    assert "rules of the sources" not in monitor.report(tmp_path).read_text()


# -- windows ---------------------------------------------------------------------------------------------


def test_days_close_windows_and_name_what_moved(monitor):
    rng = np.random.default_rng(5)
    for day, shift in ((0, 0.0), (1, 0.0), (2, 1.0)):
        for hour in (1, 9, 17):
            x = rows(rng, 100, shift)
            monitor.see({"x": x["x"]}, x["y"], at=datetime(2026, 1, 1 + day, hour, tzinfo=UTC))
    assert monitor.history()["rows"].tolist() == [300, 300]
    assert not monitor.history()["drifted"].any()
    found = monitor.findings()
    assert found.drifted and "y" in found.moved and "x" not in found.moved
    assert monitor.last is found and monitor.findings() is found
    assert monitor.history()["rows"].tolist() == [300, 300, 300]


def test_windows_of_so_many_rows(posterior):
    monitor = er.Monitor(posterior, reference=rows(np.random.default_rng(1), 500), every=50)
    monitor.see(rows(np.random.default_rng(6), 120))
    assert monitor.history()["rows"].tolist() == [50, 50]
    assert monitor.state.rows == 20
    monitor.see(rows(np.random.default_rng(7), 30))
    assert monitor.state.number == 3 and monitor.state.rows == 0


def test_few_rows_wait_for_more(monitor):
    rng = np.random.default_rng(8)
    for day in range(3):
        monitor.see(rows(rng, 6), at=day * DAY)
    assert monitor.state.number == 0 and not list(monitor.findings())
    monitor.see(rows(rng, 10), at=4 * DAY)
    monitor.see(rows(rng, 10), at=5 * DAY)
    assert monitor.history()["rows"].tolist() == [28]


def test_a_clock_that_goes_back_is_counted(monitor):
    rng = np.random.default_rng(9)
    monitor.see(rows(rng, 50), at=10 * DAY)
    monitor.see(rows(rng, 50), at=3 * DAY)
    assert monitor.state.number == 0 and monitor.counts["late"] == 50


def test_memory_does_not_grow(monitor):
    rng = np.random.default_rng(10)
    for _ in range(5):
        monitor.see({"x": rng.normal(size=8000)}, at=DAY)
    assert max(len(one.values) for one in monitor.state.window.values()) <= MOST_WINDOW
    assert monitor.state.rows == 40_000 and monitor.state.rate < 1
    assert not monitor.findings().drifted


# -- bad rows --------------------------------------------------------------------------------------------


def test_gaps_and_strange_cells_are_counted_and_never_crash(monitor):
    rng = np.random.default_rng(11)
    for spoil in (np.nan, np.inf, -np.inf):
        new = rows(rng, 100)
        new["x"][:5] = spoil
        new["y"][5:9] = np.nan
        monitor.see(new, at=DAY)
    monitor.see(pd.DataFrame({"x": ["a", None, "3"] * 10, "z": 1}), at=DAY)
    monitor.see({"x": np.full(30, np.nan)}, at=DAY)
    assert monitor.counts == {
        "rows": 360,
        "not finite": 3 * 5 + 30,
        "without outcomes": 3 * 4 + 60,
        "late": 0,
    }
    monitor.findings()


def test_a_batch_without_a_column_does_not_take_it_from_another(posterior):
    """The outcomes of rows without x would be judged by the x of the rows before; columns that come and go are no crash."""
    rng = np.random.default_rng(17)
    reference = {**rows(rng, 600), "region": rng.choice(["n", "s"], 600), "w": rng.normal(size=600)}
    monitor = er.Monitor(posterior, reference=reference)
    monitor.see({**rows(rng, 60), "region": rng.choice(["n", "s"], 60), "w": rng.normal(size=60)}, at=DAY)
    monitor.see({"y": rows(rng, 60)["y"]}, at=DAY)
    monitor.see(rows(rng, 60), at=DAY)
    found = monitor.findings()
    assert next(s for s in found.shifts if s.stream == "concept").num_rows == 120
    assert {f.verdict for f in found if f.name.startswith(("concept: l", "calibration"))} == {"ok"}


def test_outcomes_that_come_later(monitor):
    rng = np.random.default_rng(12)
    new = rows(rng, 200, shift=1.0)
    monitor.see({"x": new["x"]}, at=DAY)
    monitor.see(new, at=DAY + 60, late=True)
    found = monitor.findings()
    assert next(s for s in found.shifts if (s.name, s.test) == ("x", "shape")).num_rows == 200
    assert "y" in found.moved


def test_what_cannot_be_taken_is_refused(monitor, posterior):
    with pytest.raises(er.DataError, match="at of a monitor"):
        monitor.see({"x": [1.0]}, at="yesterday")
    with pytest.raises(er.DataError, match="as many outcomes as rows"):
        monitor.see({"x": [1.0, 2.0]}, [1.0])
    for given in (
        {"every": "week"},
        {"per_day": 0},
        {"per_day": "2"},
        {"level": 2.0},
        {"seed": -1},
        {"posterior": 3},
    ):
        with pytest.raises(er.InferenceError, match=f"{next(iter(given))}.*: expected"):
            er.Monitor(**{"posterior": posterior, **given})
    with pytest.raises(er.DataError, match="at of a monitor"):
        monitor.see({"x": [1.0]}, at=pd.NaT)


def test_the_sources_average_five_minutes(posterior):
    """One bad average among 12 is beyond three sigmas; the window as a whole has not moved."""
    reference, strict, ours = rows(np.random.default_rng(15), 2000), [], []
    for kind, out in ((True, strict), (False, ours)):
        rng, monitor = np.random.default_rng(16), er.Monitor(posterior, reference=reference, strict=kind)
        for minute in range(80, 140, 5):
            monitor.see(rows(rng, 40, shift=1.2 if minute == 100 else 0.0), at=60.0 * minute)
        out += [s for s in monitor.findings().shifts if s.moved]
    (one,) = [s for s in strict if s.test == "averages of five minutes"]
    assert "of 12 averages" in one.words and one.effect > 3
    assert not ours


# -- kept ------------------------------------------------------------------------------------------------


def test_a_state_goes_on_where_it_was(monitor, posterior, tmp_path):
    rng = np.random.default_rng(13)
    monitor.see(rows(rng, 200), at=DAY)
    monitor.see(rows(rng, 100), at=2 * DAY)
    path = monitor.save(tmp_path / "monitor.json")
    other = er.Monitor.load(path, posterior)
    more = rows(rng, 150, shift=0.3)
    for one in (monitor, other):
        one.see(more, at=2 * DAY + 5)
    assert monitor.findings() == other.findings()
    assert monitor.last.table().equals(other.last.table())
    assert monitor.history().equals(other.history()) and monitor.counts == other.counts


def test_a_state_that_was_changed_is_refused(monitor, posterior, tmp_path):
    path = monitor.save(tmp_path / "monitor.json")
    path.write_text(path.read_text().replace('"strict": false', '"strict": true'))
    with pytest.raises(er.InferenceError, match="changed content"):
        er.Monitor.load(path, posterior)
    with pytest.raises(er.InferenceError, match="expected a file"):
        er.Monitor.load(tmp_path / "none.json", posterior)


def test_pictures_over_windows(monitor):
    rng = np.random.default_rng(14)
    for day in range(3):
        monitor.see(rows(rng, 60), at=day * DAY)
    assert monitor.figure().axes[0].get_ylabel() == "p-value"

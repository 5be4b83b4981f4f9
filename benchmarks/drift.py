"""Drift: how often rows that have not moved are said to have, how surely rows that have are, and what the sources' rules do.

    python benchmarks/drift.py [--monitors 100] [--days 100] [--power 300] [--only healthy power strict sums schema real]

A day has 300 rows of eight columns of all kinds, images' brightness and blankness, 16 latent units with their norm, an error of
reconstruction, and an outcome with its log score, places and ten groups: about seventy tests. Each monitor has its own reference of 2,000
rows, so that the reference's own noise is a part of what is measured.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np
from elboroom.diagnostics.reliability import reliability
from elboroom.operations.drift import window as windows
from elboroom.operations.drift.compare import shifts_of
from elboroom.operations.drift.cusum import Cusum, limit_of
from elboroom.operations.drift.series import (
    CALIBRATION,
    CLASSES,
    CONCEPT,
    DATA,
    ERROR,
    FLAG,
    JOINT,
    LATENT,
    LEVEL,
    NORM,
    NUMBER,
    PIT,
    RECONSTRUCTION,
    SURPRISE,
    UNIT,
    Series,
    seen_of,
)
from elboroom.operations.drift.tests import TESTS, exceedances, joint, ks
from elboroom.operations.thresholds import NORM_TAIL, RUN_LENGTH
from scipy.stats import beta, chi, norm

import elboroom as er

UNITS = 16


def clopper(found, total):
    """Upper 95% limit of a share."""
    return float(beta.ppf(0.95, found + 1, total - found)) if found < total else 1.0


AT_REST = {
    "shift": 0.0,
    "variance": 1.0,
    "black": 0.0,
    "unit": 0.0,
    "unit_variance": 1.0,
    "error": 1.0,
    "outcome": 0.0,
    "wide": 1.0,
}
"""Ways in which rows may move, and what they are where they do not."""


def day(rng, rows, **changes):
    """Series of a day's rows."""
    how = AT_REST | changes
    columns = {
        "normal": how["shift"] + np.sqrt(how["variance"]) * rng.normal(size=rows),
        "lognormal": np.exp(rng.normal(size=rows)),
        "heavy": rng.standard_t(2, rows),
        "bounded": rng.beta(0.5, 0.5, rows),
        "rounded": np.round(rng.normal(size=rows), 1),
    }
    found = [Series(DATA, name, NUMBER, value) for name, value in columns.items()]
    found.append(Series(DATA, "all columns", JOINT, np.column_stack(list(columns.values()))))
    gaps = rng.normal(size=rows)
    gaps[rng.uniform(size=rows) < 0.02] = np.nan
    found.append(Series(DATA, "gaps", NUMBER, gaps))
    for name, share in (
        ("even", np.full(4, 0.25)),
        ("many", 1 / np.arange(1, 61) / (1 / np.arange(1, 61)).sum()),
    ):
        found.append(
            Series(
                DATA,
                name,
                LEVEL,
                rng.choice([f"{name}{i}" for i in range(len(share))], rows, p=share).astype(object),
            )
        )
    found.append(Series(DATA, "image", FLAG, rng.uniform(size=rows) < how["black"]))
    z = rng.normal(size=(rows, UNITS))
    z[:, 0] = how["unit"] + np.sqrt(how["unit_variance"]) * z[:, 0]
    found += [Series(LATENT, f"z[{j}]", UNIT, z[:, j]) for j in range(UNITS)]
    found.append(Series(LATENT, "norm", NORM, np.sqrt((z**2).sum(1)), limit=float(chi.isf(NORM_TAIL, UNITS))))
    found.append(Series(LATENT, "all units", JOINT, z))
    found.append(Series(RECONSTRUCTION, "error", ERROR, how["error"] * rng.gamma(4, 1, rows)))
    e = how["outcome"] + how["wide"] * rng.normal(size=rows)
    found.append(Series(CONCEPT, "y", SURPRISE, 0.5 * e**2 - 0.5))
    groups = {"group": rng.choice([f"g{i}" for i in range(10)], rows).astype(object)}
    found.append(Series(CALIBRATION, "y", PIT, np.clip(norm.cdf(e), 1e-12, 1 - 1e-12), groups=groups))
    p = rng.beta(2, 2, rows)
    came = (rng.uniform(size=rows) < p) * 1
    found.append(Series(CALIBRATION, "class", CLASSES, np.column_stack([1 - p, p]), seen=came))
    return seen_of(found)


def healthy(monitors, days, first=0, rows=300, reference=2000):
    """Days without drift, monitor by monitor."""
    alarms = warnings = total = 0
    tests, began = [], time.time()
    by_test = {}
    for m in range(first, first + monitors):
        rng = np.random.default_rng([1, m])
        state = windows.begun(day(rng, reference))
        for d in range(days):
            state = windows.added(state, day(rng, rows), (), 86_400.0 * d, rows, rng)
            state, shifts = windows.closed(state, rng, False, 0.01, 1.0)
            told = [s for s in shifts if s.moved and not s.early]
            alarms, warnings, total = alarms + bool(told), warnings + any(s.early for s in shifts), total + 1
            tests.append(len(shifts))
            for s in told:
                by_test[s.stream, s.test] = by_test.get((s.stream, s.test), 0) + 1
    print(
        f"healthy: {total:,} days of {rows} rows, {np.mean(tests):.0f} tests a day, {(time.time() - began) / total:.2f} s a day"
    )
    print(
        f"  days with a finding {alarms} = {alarms / total:.2%} (at most {clopper(alarms, total):.2%}); early warnings {warnings / total:.2%} of days"
    )
    print(f"  by test {by_test}", flush=True)


CASES = {
    "shift of 0.5 sd": (dict(shift=0.5), ("normal", "shape")),
    "shift of 0.35 sd": (dict(shift=0.35), ("normal", "shape")),
    "variance 0.67": (dict(variance=0.67), ("normal", "spread")),
    "3% black images": (dict(black=0.03), ("image", "blank rows")),
    "unit shifted by 0.35": (dict(unit=0.35), ("z[0]", "shape")),
    "unit of variance 0.67": (dict(unit_variance=0.67), ("z[0]", "spread")),
    "error × 1.2": (dict(error=1.2), ("error", "great values")),
    "error × 1.98": (dict(error=1.98), ("error", "great values")),
    "outcomes 0.5 sd off": (dict(outcome=0.5), ("y", "shape")),
    "outcomes 1.3 times as wide": (dict(wide=1.3), ("y", "log score")),
}


def power(replicates, rows=500, reference=2000):
    """How often each kind of drift is seen by any test, and by its own, in one window."""
    for name, (change, own) in CASES.items():
        any_, named, others = 0, 0, 0
        for r in range(replicates):
            rng = np.random.default_rng([2, r])
            moved = [s for s in shifts_of(day(rng, reference), day(rng, rows, **change), rng) if s.moved]
            any_, named = any_ + bool(moved), named + any((s.name, s.test) == own for s in moved)
            others += bool(
                {s.name for s in moved}
                - {own[0], "all columns", "all units", "norm"}
                - {f"y, group = g{i}" for i in range(10)}
            )
        print(
            f"power: {name}: seen {any_ / replicates:.1%}, by '{own[1]}' of {own[0]} {named / replicates:.1%}, another name {others / replicates:.1%}",
            flush=True,
        )


def strict(windows_each=400):
    """What the sources' rules do on healthy rows, and ours."""
    rng = np.random.default_rng(3)
    for rows in (100, 1000, 10_000):
        naive = ours = 0
        for _ in range(windows_each):
            reference, new = rng.exponential(size=2000), rng.exponential(size=rows)
            naive += (new > np.quantile(reference, 0.99)).mean() > 0.01
            limit = np.sort(reference)[-20]
            ours += exceedances(int((new > limit).sum()), rows, 19, 2000) < 0.001
        print(
            f"strict: errors above P99, windows of {rows:,}: sources {naive / windows_each:.0%}, ours {ours / windows_each:.1%}"
        )
    count = sum(
        any(ks(rng.normal(size=2000), rng.normal(size=500))[1] < 0.01 for _ in range(32))
        for _ in range(windows_each)
    )
    print(f"strict: KS p < 0.01 of 32 units: {count / windows_each:.0%} of windows")
    for dim in (2, 8, 32):
        print(
            f"strict: norm beyond 5, {dim} units: {chi.sf(5, dim):.2g} of rows; the limit is {chi.isf(NORM_TAIL, dim):.1f} here"
        )
    print(f"strict: 3 sigma on 288 averages a day: {288 * 2 * norm.sf(3):.2f} alarms a day and series")
    for rows in (200, 1000):
        found = []
        for _ in range(100):
            p = rng.beta(2, 2, rows)
            found.append(reliability(np.column_stack([1 - p, p]), (rng.uniform(size=rows) < p) * 1))
        over, excess = np.mean([f.ece >= 0.05 for f in found]), np.mean([f.excess > 0.05 for f in found])
        print(
            f"strict: calibrated, {rows} rows: error {np.mean([f.ece for f in found]):.3f}; ≥ 0.05 in {over:.0%}, excess in {excess:.1%}",
            flush=True,
        )


def sums(replicates=400, rows=100):
    """Run lengths of cumulative sums, of skewed scores, with references of many and of few rows."""
    limit = limit_of(RUN_LENGTH)
    for reference in (200, 2000):
        lengths, delays = [], []
        for r in range(replicates):
            rng = np.random.default_rng([4, reference, r])
            for shift, out in ((0.0, lengths), (0.15, delays)):
                one, steps = Cusum.of(0.5 * rng.normal(size=reference) ** 2), 0
                while one.early <= limit and steps < 400:
                    values = 0.5 * rng.normal(size=rows) ** 2 + shift
                    one, steps = one.step(values).learned(values), steps + 1
                out.append(steps)
        se = np.std(lengths) / np.sqrt(replicates)
        print(f"sums: reference of {reference:,}, days of {rows}: a false warning after {np.mean(lengths):.1f} ± {se:.1f} days; "
              f"0.15 nats seen after {np.mean(delays):.1f}", flush=True)  # fmt: skip


LAWS = {
    "normal": lambda g, n, a, b: a + b * g.normal(size=n),
    "lognormal": lambda g, n, a, b: np.exp(a / 4 + np.sqrt(b) * g.normal(size=n)),
    "gamma": lambda g, n, a, b: g.gamma(1 + abs(a), b, n),
    "uniform": lambda g, n, a, b: g.uniform(a, a + b, n),
}


def schema(sets=1500):
    """False suspicions of sets that have moved by themselves, and what is seen of those that were altered."""
    from sklearn.datasets import load_digits

    false = moved = 0
    for s in range(sets):
        rng = np.random.default_rng([5, s])
        law = list(LAWS.values())[s % 4]
        a, b = rng.normal(0, 3), np.exp(rng.normal(0, 0.5))
        made = er.schema({"x": law(rng, 1000, a, b), "w": rng.normal(size=1000)})
        rows = int(rng.choice([10, 50, 500]))
        new = {
            "x": law(rng, rows, a + rng.normal(0, 1) * b, b * np.exp(rng.normal(0, 0.3))),
            "w": rng.normal(size=rows),
        }
        checked = made.check(new)
        false, moved = false + bool(checked.suspicions), moved + bool(checked.refused.any())
    print(
        f"schema: sets whose law has moved by a sd or so: suspected {false / sets:.1%}, with a row refused {moved / sets:.1%}"
    )
    changes = {
        "× 10": lambda v: 10 * v,
        "× 1000": lambda v: 1000 * v,
        "/ 1000": lambda v: v / 1000,
        "log": np.log,
        "sign": lambda v: -v,
    }
    for name, change in changes.items():
        for rows in (1, 10, 500):
            refused = seen = 0
            for s in range(200):
                rng = np.random.default_rng([6, s])
                checked = er.schema({"x": np.exp(3 + 0.7 * rng.normal(size=1000))}).check(
                    {"x": change(np.exp(3 + 0.7 * rng.normal(size=rows)))}
                )
                seen, refused = (
                    seen + bool(checked.suspicions),
                    refused + bool(checked.suspicions or checked.refused.any()),
                )
            print(
                f"schema: lognormal (sd 0.7) {name}, {rows} rows: suspected {seen / 200:.0%}, suspected or a row refused {refused / 200:.0%}"
            )
    images = load_digits().images
    for name, change in {
        "as they are": lambda v: v,
        "transposed": lambda v: v.transpose(0, 2, 1),
        "mirrored": lambda v: v[:, :, ::-1],
        "inverted": lambda v: 16 - v,
    }.items():
        for rows in (10, 50, 200):
            seen = 0
            for s in range(100):
                order = np.random.default_rng([7, s]).permutation(len(images))
                seen += bool(
                    er.schema({"x": images[order[:1000]]})
                    .check({"x": change(images[order[1000 : 1000 + rows]])})
                    .suspicions
                )
            print(f"schema: digits {name}, {rows} rows: suspected {seen}%", flush=True)


def real(splits=40):
    """Random halves of real rows, which are of one law, and halves that are not."""
    from sklearn.datasets import load_breast_cancer, load_wine

    from elboroom.demo import load_data, radon

    frames = {
        "radon": load_data(),
        "breast cancer": load_breast_cancer(as_frame=True).frame,
        "wine": load_wine(as_frame=True).frame,
    }
    for name, frame in frames.items():
        said = 0
        for s in range(splits):
            order = np.random.default_rng([8, s]).permutation(len(frame))
            half = len(frame) // 2
            said += er.drift(frame.iloc[order[:half]], frame.iloc[order[half:]], seed=s).drifted
        print(f"real: {name}, {splits} random halves: {said} with a finding", flush=True)
    frame = load_data()
    order = np.random.default_rng(9).permutation(len(frame))
    fitted, rest = frame.iloc[order[:600]], frame.iloc[order[600:]]
    posterior = er.fit(radon(**dict(fitted.items())), progress=False)
    print(f"real: radon fitted to 600 homes, the others: {er.drift(posterior, rest).moved}")
    north = rest["log_uranium"] > frame["log_uranium"].quantile(0.75)
    print(f"real: only homes on soils rich in uranium: {er.drift(posterior, rest[north]).moved}")
    worse = rest.assign(log_radon=rest["log_radon"] + 1.0 * (rest["floor"] == 1))
    print(f"real: radon of ground floors e times as much: {er.drift(posterior, worse).moved}")
    units = rest.assign(log_radon=rest["log_radon"] + np.log(37.0))
    found = er.drift(posterior, units)
    print(
        f"real: log becquerels in place of log picocuries: {found.moved[:4]}; schema: {er.schema(posterior).check(units).findings[0]}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitors", type=int, default=100)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument(
        "--first", type=int, default=0, help="Number of the first monitor: parts may run beside each other."
    )
    parser.add_argument("--power", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=["real", "strict", "sums", "schema", "power", "healthy"])
    given = parser.parse_args()
    TESTS[JOINT] = (joint,)  # the Fréchet distance is told, and decides nothing
    parts = {
        "healthy": partial(healthy, given.monitors, given.days, given.first),
        "power": partial(power, given.power),
    }
    for name in given.only:
        (parts | {"strict": strict, "sums": sums, "schema": schema, "real": real})[name]()


if __name__ == "__main__":
    main()

"""Do the checks of the model see what they are for, and stay quiet otherwise?

    python benchmarks/checks.py [--right 200] [--wrong 100] [--only NAME] [--out FILE]

Sixteen models are fitted to data simulated from themselves and from something else. Printed: how often the check that the
case is for, any check, and all together (*misfit*) raise their voice, with 95% intervals. Each data set is a line of
FILE; those that are there already are not made again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from elboroom.diagnostics import tested
from scipy.stats import binomtest

import elboroom as er

N, DRAWS = 200, 2000
GROUP = np.repeat(np.arange(20), 10)


@er.model
def counts(x, y):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 2))
    with er.plate("row", len(x)):
        er.observe("y", er.Poisson(er.math.exp(a + b * x)), y)


@er.model
def line(x, y):
    a, b = er.sample("a", er.Normal(0, 10)), er.sample("b", er.Normal(0, 5))
    s = er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x, s), y)


@er.model
def pooled(x, y, group):
    a, b = er.sample("a", er.Normal(0, 10)), er.sample("b", er.Normal(0, 5))
    s = er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a + b * x, s), y)


@er.model
def level(y):
    a, s = er.sample("a", er.Normal(0, 10)), er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a, s), y)


@er.model
def logistic(x, y):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 5))
    with er.plate("row", len(x)):
        er.observe("y", er.Bernoulli(logits=a + b * x), y)


@er.model
def lifetimes(y):
    a, s = er.sample("a", er.Normal(0, 5)), er.sample("s", er.HalfNormal(3))
    with er.plate("row", len(y)):
        er.observe("y", er.LogNormal(a, s), y)


@er.model
def constant_hazard(y):
    rate = er.sample("rate", er.Gamma(1.0, 1.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Exponential(rate), y)


@er.model
def survival(x, time, seen, shaped=True):
    a, b = er.sample("a", er.Normal(0, 3)), er.sample("b", er.Normal(0, 2))
    shape = er.sample("shape", er.LogNormal(0, 1)) if shaped else 1.0
    with er.plate("row", len(x)):
        law = er.Weibull(er.math.exp(a + b * x), shape)
        er.observe("y", er.Censored(law, upper=er.math.where(seen, er.math.inf, time)), time)


@er.model
def tobit(x, y):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 5))
    s = er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(x)):
        er.observe("y", er.Censored(er.Normal(a + b * x, s), lower=0.0), y)


@er.model
def truncated(x, y):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 5))
    s = er.sample("s", er.HalfNormal(5))
    with er.plate("row", len(x)):
        er.observe("y", er.Truncated(er.Normal(a + b * x, s), low=0.0), y)


@er.model
def more_zeros(x, y, hurdle=False):
    a, b = er.sample("a", er.Normal(0, 5)), er.sample("b", er.Normal(0, 2))
    gate = er.sample("gate", er.Beta(1, 1))
    law = er.HurdlePoisson if hurdle else er.ZeroInflatedPoisson
    with er.plate("row", len(x)):
        er.observe("y", law(gate, er.math.exp(a + b * x)), y)


@er.model
def grades(x, y):
    b = er.sample("b", er.Normal(0, 3))
    cuts = er.sample("cuts", er.Ordered(er.Normal(np.zeros(3), 3.0)))
    with er.plate("row", len(x)):
        er.observe("y", er.OrderedLogistic(b * x, cuts), y)


def _x(rng, n=N):
    return rng.normal(size=n)


def _counts(rng, overdispersed=False, zeros=0.0):
    x = _x(rng)
    mean = np.exp(1.4 + 0.4 * x)
    y = rng.poisson(mean * (rng.gamma(4, 1 / 4, N) if overdispersed else 1.0))
    return counts(x, np.where(rng.uniform(size=N) < zeros, 0, y).astype(float))


def _line(rng, noise=None, curve=0.0):
    x = _x(rng)
    return line(x, 1 + 0.5 * x + curve * (x**2 - 1) + (rng.normal(size=N) if noise is None else noise(rng)))


def _pooled(rng, sd=0.0):
    x = _x(rng)
    return pooled(x, 1 + 0.5 * x + sd * rng.normal(size=20)[GROUP] + rng.normal(size=N), GROUP)


def _level(rng, rho=0.0):
    y = rng.normal(size=N)
    for t in range(1, N):
        y[t] += rho * y[t - 1]
    return level(y)


def _logistic(rng, wrong=False, n=1500):
    x = _x(rng, n)
    p = 1 / (1 + np.exp(0.5 - 2 * x))
    p = 0.3 + 0.7 * p if wrong else p
    return logistic(x, (rng.uniform(size=n) < p).astype(float))


def _lifetimes(rng, ignored=False):
    t = np.exp(0.5 + 0.7 * rng.normal(size=N))
    return lifetimes(np.minimum(t, np.exp(0.5 + 0.7 * 0.52)) if ignored else t)


def _hazard(rng, shape=1.0):
    return constant_hazard(2 * rng.weibull(shape, N))


def _survival(rng, shape=1.5, shaped=True):
    """About 45% are lost from sight, at times of their own."""
    x = _x(rng)
    life, lost = np.exp(0.5 + 0.5 * x) * rng.weibull(shape, N), rng.exponential(2.5, N)
    return survival(x, np.minimum(life, lost), life < lost, shaped)


def _tobit(rng, curve=0.0):
    x = _x(rng)
    return tobit(x, np.maximum(0.0, 0.3 + x + curve * (x**2 - 1) + rng.normal(size=N)))


def _truncated(rng, curve=0.0):
    x = _x(rng, 4 * N)
    y = 0.7 + 0.8 * x + curve * (x**2 - 1) + rng.normal(size=4 * N)
    return truncated(x[y > 0][:N], y[y > 0][:N])


def _more_zeros(rng, hurdle, overdispersed=False):
    x = _x(rng)
    mean = np.exp(1.2 + 0.4 * x) * (rng.gamma(3, 1 / 3, N) if overdispersed else 1.0)
    y = rng.poisson(mean)
    while hurdle and (y == 0).any():
        y = np.where(y == 0, rng.poisson(mean), y)
    return more_zeros(x, np.where(rng.uniform(size=N) < 0.3, 0, y).astype(float), hurdle)


def _grades(rng, curve=0.0, n=600):
    x = _x(rng, n)
    latent = x + curve * (x**2 - 1) + rng.logistic(size=n)
    return grades(x, np.searchsorted([-1.0, 0.5, 2.0], latent))


def _gaps(rng, curve=0.0):
    x = _x(rng)
    y = 1 + 0.5 * x + curve * (x**2 - 1) + rng.normal(size=N)
    return line(x, np.where(rng.uniform(size=N) < 0.2, np.nan, y))


# what is wrong, and how much: right data, wrong data, the checks that are for it
CASES = {
    "overdispersed counts under Poisson (variance 1 + mean/4)": (
        _counts, lambda r: _counts(r, True), {"dispersion", "PIT-ECDF", "coverage"}),
    "heavy tails under normal (t with 4 degrees)": (
        _line, lambda r: _line(r, lambda r: r.standard_t(4, N)), {"tail weight"}),
    "missing group effect (20 groups of 10, sd 0.6 of the noise)": (
        _pooled, lambda r: _pooled(r, 0.6), {"groups"}),
    "nonlinearity (a square with sd 0.42 of the noise)": (
        _line, lambda r: _line(r, curve=0.3), {"curve"}),
    "dependence in time (autocorrelation 0.3)": (
        _level, lambda r: _level(r, 0.3), {"dependence on the rows before"}),
    "wrong link (a floor of 30% under logit, 1,500 rows)": (
        _logistic, lambda r: _logistic(r, True), {"calibration", "curve"}),
    "zero inflation (15%, mean 4)": (
        _counts, lambda r: _counts(r, zeros=0.15), {"share of zeros"}),
    "censoring ignored (30% at one time)": (
        _lifetimes, lambda r: _lifetimes(r, True), {"PIT-ECDF", "skew", "tail weight", "coverage"}),
    "wrong survival shape (Weibull 1.5 under exponential)": (
        _hazard, lambda r: _hazard(r, 1.5), {"PIT-ECDF", "dispersion"}),
    "wrong survival shape, 45% censored (Weibull 1.8 under exponential)": (
        _survival, lambda r: _survival(r, 1.8, False), {"Kaplan-Meier", "PIT-ECDF"}),
    "nonlinearity under a Tobit model (40% at zero)": (
        _tobit, lambda r: _tobit(r, 0.5), {"curve"}),
    "nonlinearity under a truncated normal": (
        _truncated, lambda r: _truncated(r, 0.5), {"curve"}),
    "overdispersed counts under zero-inflated Poisson": (
        lambda r: _more_zeros(r, False), lambda r: _more_zeros(r, False, True), {"dispersion", "PIT-ECDF"}),
    "overdispersed counts under hurdle Poisson": (
        lambda r: _more_zeros(r, True), lambda r: _more_zeros(r, True, True), {"dispersion", "PIT-ECDF"}),
    "nonlinearity of an ordinal outcome (600 rows)": (
        _grades, lambda r: _grades(r, 0.4), {"curve", "calibration"}),
    "nonlinearity with a fifth of the outcomes missing": (
        _gaps, lambda r: _gaps(r, 0.3), {"curve"}),
}  # fmt: skip


def judged(program) -> dict:
    """What the checks say of one data set."""
    found = tested(er.fit(program, refine=False, progress=False, num_draws=DRAWS))
    return {
        "odd": sorted({f.name for f in found if f.verdict in {"caution", "misfit"}}),
        "misfit": any(f.verdict == "misfit" for f in found),
        "made": len(found),
    }


class Record:
    """Data sets judged so far, one to a line of a file."""

    def __init__(self, path: Path | None):
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.known = {(row["case"], row["side"], row["k"]): row for row in map(json.loads, lines)}

    def judged(self, case: str, side: int, k: int) -> dict:
        if (case, side, k) not in self.known:
            row = judged(CASES[case][side](np.random.default_rng([side + 1, k])))
            self.known[case, side, k] = row
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps({"case": case, "side": side, "k": k, **row}) + "\n")
        return self.known[case, side, k]

    def rates(self, case: str, side: int, count: int) -> tuple[np.ndarray, int, int]:
        """How many data sets make the case's own checks, any and all together speak; alarms and checks made."""
        rows = [self.judged(case, side, k) for k in range(count)]
        hits = [[bool(set(r["odd"]) & CASES[case][2]), bool(r["odd"]), r["misfit"]] for r in rows]
        return np.sum(hits, 0, int), sum(len(r["odd"]) for r in rows), sum(r["made"] for r in rows)


def words(hits: int, count: int) -> str:
    low, high = binomtest(int(hits), count).proportion_ci(0.95)
    return f"{hits / count:6.1%} [{low:.1%}, {high:.1%}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--right", type=int, default=200)
    parser.add_argument("--wrong", type=int, default=100)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    record = Record(options.out)
    alarms = made = misfits = total = 0
    for name in CASES:
        if options.only not in name:
            continue
        quiet, odd, count = record.rates(name, 0, options.right)
        loud, _, _ = record.rates(name, 1, options.wrong)
        alarms, made, misfits, total = alarms + odd, made + count, misfits + quiet[2], total + options.right
        print(
            f"{name}\n    right model: its checks {words(quiet[0], options.right)}, each check {words(odd, count)},"
        )
        print(f"        misfit {words(quiet[2], options.right)}")
        print(
            f"    wrong model: its checks {words(loud[0], options.wrong)}, misfit {words(loud[2], options.wrong)}",
            flush=True,
        )
    print(
        f"\nright models: each check {words(alarms, made)} (nominal 2%), misfit {words(misfits, total)} (nominal 1%)"
    )


if __name__ == "__main__":
    main()

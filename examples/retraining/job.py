"""A model of late flights that is fitted again when that is due: what cron, GitHub Actions or Airflow runs each night.

    python job.py --rows tonight.csv --benchmark frozen.csv

Exit status: 0 nothing was due, or what came of it is served; 3 a version was made, or rows refused, and the one before is
still served. Only an error is tried again, later and later.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import elboroom as er


@er.model
def late(carrier, hour, late):
    """How often do flights of each carrier leave late, and does it grow over the day?"""
    usual = er.sample("usual", er.Normal(-1.0, 1.0))
    spread = er.sample("spread", er.HalfNormal(1.0))
    growth = er.sample("growth", er.Normal(0.0, 1.0))
    with er.plate("carrier", er.levels(carrier)):
        own = er.sample("own", er.Normal(usual, spread))
    with er.plate("flight", len(late)):
        er.observe("late", er.Bernoulli(logits=own[carrier] + growth * (hour - 13) / 5), late)


def flights(path: Path) -> pd.DataFrame:
    """Rows with their outcome: fifteen minutes behind time."""
    found = pd.read_csv(path)
    found["late"] = (found["dep_delay"] > 15).astype(float)
    keys = found[["year", "month", "day", "carrier", "flight", "origin"]].astype(str)
    return found.assign(key=keys.agg("-".join, axis=1))[["carrier", "hour", "late", "key"]]


def program(rows: pd.DataFrame) -> er.Program:
    """What rows are fitted with."""
    return late(rows["carrier"].to_numpy(object), rows["hour"].to_numpy(float), rows["late"].to_numpy())


def main() -> int:
    """Ask the triggers, fit where that is due, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, default=Path("models"))
    parser.add_argument("--rows", type=Path, required=True, help="new rows; all rows for a full fit")
    parser.add_argument("--benchmark", type=Path, required=True, help="rows that are never fitted")
    parser.add_argument("--state", type=Path, default=Path("triggers.json"))
    parser.add_argument("--policy", choices=["incremental", "full", "emergency"], help="whatever is due")
    asked = parser.parse_args()

    rows, frozen = flights(asked.rows), flights(asked.benchmark)
    registry, triggers = er.Registry(asked.registry), er.Triggers(asked.state)
    known = "late" in registry.models() and "live" in registry.aliases("late")
    findings = None
    if known:
        live = registry.get("late@live")
        findings = er.drift(frozen.drop(columns="key"), rows.drop(columns="key"))
    due = triggers.due(new_rows=len(rows), findings=findings)
    if asked.policy is None and due is None:
        print("nothing is due")
        return 0
    policy = asked.policy or due.policy
    gate = live.schema().allow("carrier") if known else None
    terms = er.Terms(benchmark=frozen, keys="key", gate=gate)
    try:
        found = er.retrain(
            registry, "late", rows, program, policy, terms, because=due.because if due else "asked for"
        )
    except Exception:
        triggers.failed(policy)
        raise
    triggers.done(policy)
    print(found)
    print(found.findings)
    return 0 if found.promoted else 3


if __name__ == "__main__":
    raise SystemExit(main())

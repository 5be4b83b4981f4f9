"""What a canary decides of candidates whose losses are known.

    python benchmarks/canary.py [--days 1000] [--requests 50000]

Days of so many requests, 5% of them a candidate's, whose losses have a coefficient of variation of one half (log-normal), looked at
every 500 requests: how many end with the candidate rolled back or promoted, and after how many requests of its own, in the median and at
the ninetieth percentile. A day that is equal or better may be rolled back once in a hundred. Worse ones go on until they are.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from elboroom.operations.canary.sequence import Arms
from elboroom.operations.thresholds import CANARY_LEVEL

LOOK, SHARE, MARGIN, LONGEST = 500, 0.05, 0.02, 1_000_000
SEQUENCES = 3


def day(rng: np.random.Generator, worse: float, requests: int) -> tuple[str, float]:
    """How it ends, and requests of the candidate."""
    arms, sd = Arms(SHARE), np.sqrt(np.log(1.25))
    for _ in range(0, requests, LOOK):
        mine = rng.uniform(size=LOOK) < SHARE
        lost = rng.lognormal(-(sd**2) / 2, sd, LOOK) * np.where(mine, worse, 1.0)
        arms = arms.added(mine, lost)
        low, high = arms.limits(1 + MARGIN, CANARY_LEVEL / SEQUENCES)
        if low > 0 or high < 0:
            return ("rolled back" if low > 0 else "promoted"), arms.first
    return "undecided", arms.first


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=50_000)
    options = parser.parse_args()
    print(
        "| loss over that of what is live | days | rolled back | promoted | undecided | its requests, median | 90% |\n|---|---|---|---|---|---|---|"
    )
    begin = time.perf_counter()
    cases = ((1.0, options.days, options.requests), (0.95, 200, options.requests), (1.02, options.days, options.requests),
             (1.05, 200, LONGEST), (1.10, 200, LONGEST))  # fmt: skip
    for worse, days, requests in cases:
        rng = np.random.default_rng([0, int(100 * worse)])
        ends, counts = zip(*(day(rng, worse, requests) for _ in range(days)), strict=True)
        share = [ends.count(end) / days for end in ("rolled back", "promoted", "undecided")]
        told = " | ".join(f"{100 * one:.1f}%" for one in share)
        print(
            f"| {worse:g} | {days} | {told} | {np.median(counts):,.0f} | {np.quantile(counts, 0.9):,.0f} |",
            flush=True,
        )
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()

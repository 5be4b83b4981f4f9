"""Start-up: import time, and a whole process from nothing to 4,000 draws, with an empty and a full cache.

python benchmarks/startup.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

SCHOOLS = """
import numpy as np
import elboroom as er

@er.model
def schools(sigma, y=None):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfCauchy(5))
    with er.plate("school", len(sigma)):
        step = er.sample("step", er.Normal(0, 1))
        er.observe("y", er.Normal(mu + tau * step, sigma), y)

sigma = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
y = np.array([28, 8, -3, 7, -1, 1, 18, 12.0])
er.fit(schools(sigma, y), progress=False).draws["posterior"]
"""


def seconds(code: str, cache: str) -> float:
    """Wall time of a process that runs `code`."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "ELBOROOM_CACHE": cache})
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as cache:
        bare = statistics.median(seconds("pass", cache) for _ in range(repeats))
        imported = statistics.median(seconds("import elboroom", cache) for _ in range(repeats))
        print(f"import elboroom: {imported - bare:.3f} s over a bare interpreter")
        print(f"eight schools, whole process, empty cache: {seconds(SCHOOLS, cache):.2f} s")
        warm = statistics.median(seconds(SCHOOLS, cache) for _ in range(repeats))
        print(f"eight schools, whole process, full cache: {warm:.2f} s")


if __name__ == "__main__":
    main()

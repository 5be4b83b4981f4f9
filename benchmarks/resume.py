"""Fits that are killed at random moments and go on: do they end where an unbroken one does?

    python benchmarks/resume.py [--times 10]

Every fit runs in a process of its own on minibatches of 20,000 rows with 200 groups, writes its checkpoint twice a
second, and is killed (SIGKILL) at a random moment, again and again, until it ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def fit(folder: str | None, out: str) -> None:
    """One fit, to its end."""
    from elboroom.inference.run import checkpoint

    import elboroom as er

    checkpoint.CHECKPOINT_SECONDS = 0.5
    rng = np.random.default_rng(0)
    group = rng.integers(0, 200, 20_000)
    x = rng.standard_normal(20_000)
    y = 0.5 * x + rng.standard_normal(200)[group] + rng.standard_normal(20_000)

    @er.model
    def rows(x, y, group):
        b = er.sample("b", er.Normal(0, 5))
        tau = er.sample("tau", er.HalfNormal(2))
        with er.plate("group", 200):
            a = er.sample("a", er.Normal(0, tau))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[group] + b * x, 1.0), y)

    posterior = er.fit(
        rows(x, y, group),
        guide="mean-field",
        minibatch=er.Minibatch("row", 512),
        refine=False,
        checkpoint=folder,
        progress=False,
    )
    np.save(out, posterior.z)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--worker", nargs=2)
    options = parser.parse_args()
    if options.worker:
        fit(options.worker[0] if options.worker[0] != "-" else None, options.worker[1])
        return
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as root:

        def begun(folder, out):
            return subprocess.Popen([sys.executable, __file__, "--worker", folder, out])

        begin = time.perf_counter()
        begun("-", f"{root}/whole.npy").wait()
        seconds = time.perf_counter() - begin
        whole = np.load(f"{root}/whole.npy")
        print(f"unbroken: {seconds:.1f} s")
        same = 0
        for run in range(options.times):
            folder, out, kills = f"{root}/{run}", f"{root}/{run}.npy", 0
            while not Path(out).exists():
                process = begun(folder, out)
                try:
                    process.wait(rng.uniform(0.4, 1.2) * seconds)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
            equal = np.array_equal(np.load(out), whole)
            same += equal
            print(f"run {run}: killed {kills} times, {'the same' if equal else 'ANOTHER'} result", flush=True)
    print(f"same result: {same} of {options.times}")


if __name__ == "__main__":
    main()

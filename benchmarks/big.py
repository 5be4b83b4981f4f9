"""An encoder of rows that are never all in memory: a variational autoencoder of binary images from a file.

    python benchmarks/big.py [--full] [--rows N] [--seconds S] [--backend jax|torch] [--type uint8|float32]

Rows are drawn from a network of our own, block by block, into a ``.npy`` file in a temporary directory, and mapped. Then they are fitted
for some seconds, encoded all, scored and imputed in part, reported, saved and loaded. By default 100,000 rows for a minute; `--full` is
1,000,000 rows of 784 pixels (784 MB as ``uint8``, 3.1 GB as ``float32``) for four minutes.

Memory is the process's anonymous memory (``RssAnon`` of ``/proc/self/status``, looked at twenty times a second): what it allocates, and
not the pages of the file that the system caches. Rows a second are those of the training, looks at held-out rows included, from its first
look on: of its first and last tenths by the clock.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402  after the number of threads

import elboroom as er  # noqa: E402  likewise

PIXELS, UNITS, BLOCK, LIMIT = 784, 8, 4096, 2**31


@er.model
def images(x):
    """Binary images, from eight numbers each."""
    decode = er.module("decode", er.nn.MLP(UNITS, [256], x.shape[1]))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)


def drawn(path: Path, rows: int, kind: str) -> np.ndarray:
    """A map of rows of a network with one hidden layer."""
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(UNITS, 64)), rng.normal(size=(64, PIXELS)) / 3
    made = np.lib.format.open_memmap(path, "w+", kind, (rows, PIXELS))
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        logits = np.tanh(rng.normal(size=(count, UNITS)) @ first) @ last - 1.5
        made[start : start + count] = rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))
    made.flush()
    return np.load(path, mmap_mode="r")


class Memory(threading.Thread):
    """Looks at the process's anonymous memory, and remembers the most of each part of the work."""

    def __init__(self):
        super().__init__(daemon=True)
        self.part, self.most = "", {}

    def run(self) -> None:
        while True:
            self.most[self.part] = max(self.most.get(self.part, 0), anonymous())
            time.sleep(0.05)

    @contextmanager
    def during(self, part: str):
        before, begin, self.part = self.part, time.perf_counter(), part
        yield
        self.part = before
        print(f"{part}: {time.perf_counter() - begin:.1f} s; most memory: {self.told(part)}", flush=True)

    def told(self, part: str) -> str:
        """Mebibytes of a part, and of those in it."""
        own = {name: size for name, size in self.most.items() if name.startswith(part)}
        return ", ".join(f"{size / 2**20:.0f} MiB ({name})" for name, size in own.items())


def anonymous() -> int:
    """Bytes of anonymous memory that the process holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


class Pace(logging.Handler):
    """When which step of the training was reached, by its own lines, and which part of a fit is under way."""

    def __init__(self, memory: Memory | None = None):
        super().__init__(logging.DEBUG)
        self.memory, self.seen = memory, []

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        if self.memory and record.levelno == logging.INFO and self.memory.part.startswith("fit"):
            self.memory.part = f"fit, {words}"
        if "step " in words and "bound" in words:
            self.seen.append((time.perf_counter(), int(words.split("step ")[1].split(":")[0])))

    def tenths(self, size: int) -> tuple[float, float, float]:
        """Rows a second of the first tenth, of the last one and of all."""
        clock, steps = np.array(self.seen).T
        edge = (clock[-1] - clock[0]) / 10
        begin, end = (np.interp(at, clock, steps) for at in (clock[0] + edge, clock[-1] - edge))
        return tuple(
            size * n / t
            for n, t in ((begin - steps[0], edge), (steps[-1] - end, edge), (steps[-1] - steps[0], 10 * edge))
        )


def worked(x: np.ndarray, options: argparse.Namespace, memory: Memory, folder: Path) -> None:
    """All that a posterior is asked for, part by part."""
    minibatch = er.Minibatch("row", 256)
    with memory.during("fit"):
        posterior = er.fit(images(x), minibatch=minibatch, max_seconds=options.seconds, backend=options.backend, progress=False)  # fmt: skip
    print(posterior.trail, posterior.findings, sep="\n")
    latent = posterior.latent
    with memory.during("encode all"):
        found = latent.embed(x)
    print(f"encoded {found.shape}, sd of units {found.std(0).round(2)}")
    with memory.during("score and impute 100"):
        print(f"log p of a row {float(latent.score(x[:100])['log_prob'].mean()):.2f}")
        gaps = x[:100].astype(float)
        gaps[:, ::3] = np.nan
        latent.impute(gaps)
    with memory.during("leak and quality"):
        latent.leak(), latent.quality()
    with memory.during("anomalies among 100"):
        latent.anomalies(x[:100])
    with memory.during("check"):
        posterior.check()
    with memory.during("report"):
        posterior.report(folder / "report")
    with memory.during("save"):
        posterior.save(folder / "kept")
    del posterior, latent  # what loads has nothing else
    with memory.during("load"):
        again = er.load(folder / "kept", program=images(x))
        np.testing.assert_allclose(again.latent.embed(x[:9]), found[:9], atol=1e-4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="1,000,000 rows for four minutes")
    parser.add_argument("--rows", type=int, help="how many rows")
    parser.add_argument("--seconds", type=float, help="of the fit's training")
    parser.add_argument("--backend", default="jax", choices=["jax", "torch"])
    parser.add_argument("--type", default="uint8", choices=["uint8", "float32"])
    options = parser.parse_args()
    options.rows = options.rows or (1_000_000 if options.full else 100_000)
    options.seconds = options.seconds or (240.0 if options.full else 60.0)
    memory = Memory()
    pace = Pace(memory)
    logger = logging.getLogger("elboroom")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(pace)
    with tempfile.TemporaryDirectory() as folder:
        begin, place = time.perf_counter(), Path(folder)
        x = drawn(place / "rows.npy", options.rows, options.type)
        print(
            f"{options.rows} rows of {PIXELS} in {x.nbytes / 1e6:.0f} MB, {time.perf_counter() - begin:.0f} s"
        )
        memory.start()
        worked(x, options, memory, place)
    first, last, whole = pace.tenths(256)
    print(f"\nRows a second: {first:,.0f} in the first tenth, {last:,.0f} in the last, {whole:,.0f} in all")
    most = max(memory.most.values())
    print(
        f"\nPeak of anonymous memory {most / 2**20:,.0f} MiB: {'within' if most <= LIMIT else 'BEYOND'} 2 GiB"
    )


if __name__ == "__main__":
    main()

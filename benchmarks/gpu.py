"""Variational autoencoders where a GPU is: rows a second of training and of weighing, by backend, precision and number of devices.

    python benchmarks/gpu.py [--only dense conv weighted codes] [--backends jax torch] [--seconds S] [--every]

Rows are made up: binary images of 28 x 28 on a GPU, of 8 x 8 on a CPU, where the script tries itself out in a minute and says what it
leaves out (``--every`` leaves out nothing). ``dense`` has one layer either way, ``conv`` convolutions, ``weighted`` is trained on fifty
weights, ``codes`` has a codebook. Each fit runs in a process of its own for some seconds.

*Mixed* precision is the backends' own switch, set before the fit: ``jax_default_matmul_precision="bfloat16"`` and
``torch.set_float32_matmul_precision("medium")``. Products of matrices take their factors as bfloat16 and add up in float32; arrays, laws
and log densities stay float32, log weights and what is computed of them are float64 on the host. "off by" is the root mean square error of
the log joint density of rows at draws of their coordinates, against NumPy's in float64, in nats: what mixed precision costs the evidence.

One fit computes on one device. Where there are several, one process runs on each at once, with a seed of its own, and their rows a second
are added up.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time

import numpy as np

CASES, PRECISIONS = ("dense", "conv", "weighted", "codes"), ("float32", "mixed")
SIZES = {"cpu": (1500, 8, 64, 4), "gpu": (60_000, 28, 400, 50)}
"""Rows, pixels a side, hidden units and coordinates."""
BATCH, WEIGHED = 256, 64


def rows_of(count: int, side: int) -> np.ndarray:
    """Binary images of a blob somewhere, as numbers."""
    rng = np.random.default_rng(0)
    place, width = rng.uniform(0.2, 0.8, (count, 2, 1, 1)), rng.uniform(0.1, 0.25, (count, 1, 1))
    grid = np.mgrid[:side, :side] / (side - 1)
    apart = ((grid - place) ** 2).sum(1)
    return (rng.uniform(size=apart.shape) < np.exp(-apart / width**2)).reshape(count, -1).astype(np.float32)


def declared(case: str, size: tuple):
    """The model of a case, and what `fit` is given beside it."""
    import elboroom as er

    _, side, hidden, units = size
    net = er.nn.MLP(units, [hidden], side**2)
    if case == "conv":
        net = er.nn.Deconv(units, (side, side), [32, 16])

    @er.model
    def images(x):
        decode = er.module("decode", net)
        with er.plate("row", len(x)):
            if case == "codes":
                z = er.sample("z", er.Codebook("codes", 64, units))
            else:
                z = er.sample("z", er.Normal(0, 1).expand([units]).to_event(1))
            logits = er.math.reshape(decode(z), (-1, side**2))
            er.observe("x", er.Bernoulli(logits=logits).to_event(1), x)

    numbers = 2 * units if case != "codes" else units
    encoder = (
        er.nn.Conv((side, side), [16, 32], numbers)
        if case == "conv"
        else er.nn.MLP(side**2, [hidden], numbers)
    )
    guide = er.Quantized(encoder) if case == "codes" else er.Amortized(encoder)
    more = {"objective": er.objectives.ImportanceWeighted(50)} if case == "weighted" else {}
    return images, {"guide": guide, **more}


def off_by(latent, x: np.ndarray) -> float:
    """Root mean square error of log joint densities of rows of the dense model."""
    from elboroom.inference.deep.evidence import log_joint

    units = latent.setup.rows.num_units
    z = np.random.default_rng(1).normal(size=(16, WEIGHED, units))
    constants = {**latent.compiled.constants, "params": latent.params}
    found = log_joint(latent.compiled, constants, np.arange(WEIGHED), z, {"x": x[:WEIGHED]})
    own = {k: np.asarray(v, float) for k, v in latent.params["weights"].items() if k.startswith("decode.")}
    hidden = z @ own["decode.layers.0.weight"].T + own["decode.layers.0.bias"]
    hidden = hidden / (1 + np.exp(-hidden))
    logits = hidden @ own["decode.layers.1.weight"].T + own["decode.layers.1.bias"]
    exact = (x[:WEIGHED] * logits - np.logaddexp(0, logits)).sum(-1) - 0.5 * (z**2 + np.log(2 * np.pi)).sum(
        -1
    )
    return float(np.sqrt(((found - exact) ** 2).mean()))


def measured(options: argparse.Namespace) -> dict:
    """One fit, in this process."""
    from big import Pace

    if options.precision == "mixed" and options.backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "bfloat16")
    elif options.precision == "mixed":
        import torch

        torch.set_float32_matmul_precision("medium")
    import elboroom as er

    pace, logger = Pace(), logging.getLogger("elboroom")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(pace)
    size = SIZES[options.device]
    x = rows_of(*size[:2])
    model, given = declared(options.case, size)
    common = {"minibatch": er.Minibatch("row", BATCH), "backend": options.backend, "device": options.device}
    posterior = er.fit(model(x), seed=options.seed, max_seconds=options.seconds, progress=False, **common, **given)  # fmt: skip
    latent = posterior.latent
    latent.score(x[:WEIGHED])  # compiled
    begin = time.perf_counter()
    latent.score(x[:WEIGHED])
    found = {
        "training": pace.tenths(BATCH)[2] if len(pace.seen) > 2 else float("nan"),
        "weighing": WEIGHED / (time.perf_counter() - begin),
        "bound": float(np.nanmax(posterior.fit_record["bounds"][:, 2])),
    }
    return found | ({"off": off_by(latent, x)} if options.case == "dense" else {})


# -- all of them ------------------------------------------------------------------------------------------


def devices() -> int:
    """How many GPUs there are, as their driver says."""
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return 0
    return told.stdout.count("GPU ")


def run(case: str, backend: str, precision: str, options: argparse.Namespace, num: int) -> list[dict]:
    """What as many processes find at once, each on a device of its own."""
    command = [sys.executable, __file__, "--case", case, "--backend", backend, "--precision", precision]
    command += ["--device", options.device, "--seconds", str(options.seconds)]
    started = []
    for i in range(num):
        own = {**os.environ, "CUDA_VISIBLE_DEVICES": str(i)} if options.device == "gpu" else {**os.environ}
        started.append(
            subprocess.Popen([*command, "--seed", str(i)], env=own, stdout=subprocess.PIPE, text=True)
        )
    lines = [one.communicate()[0].strip().splitlines() for one in started]
    return [
        json.loads(out[-1]) if out and one.returncode == 0 else {}
        for out, one in zip(lines, started, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--backends", nargs="*", choices=["jax", "torch"], default=["jax", "torch"])
    parser.add_argument("--seconds", type=float, help="of a training: 20 on a GPU, 15 on a CPU")
    parser.add_argument("--every", action="store_true", help="leave out nothing on a CPU")
    for name in ("case", "backend", "precision"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--device", choices=list(SIZES), help="by default what is there")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options)))
        return
    count = devices()
    options.device = options.device or ("gpu" if count else "cpu")
    options.seconds = options.seconds or (20.0 if options.device == "gpu" else 15.0)
    shown(options, count)


def shown(options: argparse.Namespace, count: int) -> None:
    """Run what can be run, line by line, and say what is left out."""
    cases, precisions = list(options.only), list(PRECISIONS)
    if options.device == "cpu":
        print(f"No GPU is used ({count} found): sizes are those of a trial. Several devices are left out.")
        if not options.every:
            cases, precisions = [c for c in cases if c == "dense"], ["float32"]
            left = [c for c in options.only if c not in cases]
            print(f"Left out: mixed precision, and {', '.join(left) or 'no case'} (--every runs them)")
    print(
        f"{'case':10}{'backend':9}{'precision':11}{'devices':>8}{'rows/s':>12}{'weighed/s':>11}{'bound':>10}{'off by':>10}"
    )
    for case in cases:
        for backend in options.backends:
            for precision in precisions:
                for num in sorted({1, max(count, 1)}) if options.device == "gpu" else (1,):
                    found = run(case, backend, precision, options, num)
                    print(line(case, backend, precision, found), flush=True)


def line(case: str, backend: str, precision: str, found: list[dict]) -> str:
    """Of the table."""
    head = f"{case:10}{backend:9}{precision:11}{len(found):>8}"
    if not all(found):
        return f"{head}  failed: see above"
    rate, weighed = (sum(one[k] for one in found) for k in ("training", "weighing"))
    off = f"{found[0]['off']:.1e}" if "off" in found[0] else ""
    return f"{head}{rate:>12,.0f}{weighed:>11,.0f}{found[0]['bound']:>10.2f}{off:>10}"


if __name__ == "__main__":
    main()

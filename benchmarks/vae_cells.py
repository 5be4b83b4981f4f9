"""Counts of genes in cells: a negative-binomial latent model beside scvi-tools' own, on the same cells and sizes.

    python benchmarks/vae.py --only cells [--scvi PYTHON]

Cells are the 700 of 765 genes that scanpy's wheel carries (pbmc68k, reduced), whose counts are those that its logarithms to
three decimals round to; a tenth is for testing. Both have ten latent coordinates, a layer of 128 units either way, shares of
genes by a softmax, times the total of the cell, and a concentration for each gene. scvi-tools' is `SCVI` with
``gene_likelihood="nb"`` and otherwise its defaults: batch normalisation, dropout of 0.1 in the encoder, Adam at 0.001, batches of
128, 400 epochs in which the divergence's factor rises to one, a tenth of the cells held out. It is heavy, and runs in a Python of
its own where ``--scvi`` names one.

Both are scored by the function below, without dropout and with the normalisation of evaluation, as for images.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402  after the number of threads
from vae_course import HEAD, Course, line, ours, ratio, timed  # noqa: E402

HIDDEN, LATENT = 128, 10
INSIDE = "scanpy/datasets/10x_pbmc68k_reduced.h5ad"
FOLDER = Path(tempfile.gettempdir()) / "elboroom-benchmarks"
OURS = {"ours (JAX)": "jax", "ours (PyTorch)": "torch"}


# -- the cells --------------------------------------------------------------------------------------------


def fetched() -> str | None:
    """Why the cells cannot be had; nothing where they lie on disk."""
    place = FOLDER / "cells.npy"
    if place.exists():
        return None
    FOLDER.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "scanpy", "--no-deps", "-q", "-d", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(FOLDER.glob("scanpy-*.whl"))
    if not wheels:
        return f"scanpy's wheel cannot be had: {done.stderr.strip().splitlines()[-1]}"
    np.save(place, counts(wheels[-1]))
    return None


def counts(wheel: Path) -> np.ndarray:
    """Counts ``(cells, genes)``, from what is kept of them: ``log1p`` of shares of the cell's total, times ten thousand."""
    import h5py

    with h5py.File(io.BytesIO(zipfile.ZipFile(wheel).read(INSIDE))) as file:
        values, genes, ends = (file[f"raw.X/{k}"][:] for k in ("data", "indices", "indptr"))
        total = file["obs"]["n_counts"].astype(float)
        num_genes = len(file["var"])
    out = np.zeros((len(total), num_genes))
    out[np.repeat(np.arange(len(total)), np.diff(ends)), genes] = values
    return np.round(np.expm1(out) * total[:, None] / 1e4).astype(np.float32)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Cells to train on, and cells to test on."""
    x = np.load(FOLDER / "cells.npy")
    order = np.random.default_rng(0).permutation(len(x))
    count = len(x) // 10
    return x[order[count:]], x[order[:count]]


# -- one score for both -----------------------------------------------------------------------------------


def weights_of(p, x, draws: int) -> np.ndarray:
    """Log importance weights of the cells, ``(draws, cells)``, of arrays that have the same names of both: ``w1, b1`` to hidden
    units of log1p of counts, ``wm, bm, ws, bs`` to means and log sds (or variances less ``least``), ``v1, c1, v2, c2`` back."""
    size = x.sum(1)
    hidden = np.maximum(np.log1p(x) @ p["w1"].T + p["b1"], 0)
    mean, log_sd = hidden @ p["wm"].T + p["bm"], hidden @ p["ws"].T + p["bs"]
    sd = np.sqrt(np.exp(2 * log_sd) + p.get("least", 0.0))
    rng, out = np.random.default_rng(7), []
    for _ in range(draws // 20):
        eps = rng.standard_normal((20, *mean.shape)).astype(np.float32)
        z = mean + sd * eps
        logits = np.maximum(z @ p["v1"].T + p["c1"], 0) @ p["v2"].T + p["c2"]
        logits = logits - logits.max(-1, keepdims=True)
        share = np.exp(logits)
        rate = size[:, None] * share / share.sum(-1, keepdims=True)
        prior = (0.5 * eps**2 - 0.5 * z**2 + np.log(sd)).sum(-1)
        out.append(_log_counts(x, rate, np.exp(p["log_theta"])) + prior)
    return np.concatenate(out).astype(float)


def _log_counts(x, rate, theta):
    """Log density of counts with these means and concentrations, on all genes of a cell."""
    both = np.log(theta + rate)
    return _constant(x.tobytes(), theta.tobytes(), x.shape) + (
        theta * (np.log(theta) - both) + x * (np.log(rate) - both)
    ).sum(-1)


@lru_cache(2)
def _constant(x: bytes, theta: bytes, shape):
    """What does not depend on the means, by cell."""
    from scipy.special import gammaln

    x, theta = np.frombuffer(x, np.float32).reshape(shape), np.frombuffer(theta, np.float32)
    return (gammaln(x + theta) - gammaln(theta) - gammaln(x + 1)).sum(-1)


# -- ours -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OfLogs:
    """A network that sees counts by their logarithms."""

    inner: Any

    def arrays(self, rng):
        return self.inner.arrays(rng)

    def apply(self, arrays, x):
        import elboroom as er

        return self.inner.apply(arrays, er.math.log1p(x))


def declared(num_genes: int):
    """The model, and the family of its cells."""
    import elboroom as er

    @er.model
    def cells(x, size):
        decode = er.module("decode", er.nn.MLP(LATENT, [HIDDEN], num_genes, activation="relu"))
        theta = er.math.exp(er.param("log_theta", np.zeros(num_genes)))
        with er.plate("cell", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([LATENT]).to_event(1))
            mean = size[:, None] * er.math.softmax(decode(z))
            er.observe("x", er.NegativeBinomial(mean, theta).to_event(1), x)

    encoder = OfLogs(er.nn.MLP(num_genes, [HIDDEN], 2 * LATENT, activation="relu"))
    return cells, er.Amortized(encoder, sees=["x"])


def named(weights) -> dict:
    """Our learned arrays under the names that the score knows."""
    get = {k: np.asarray(v, np.float32) for k, v in weights.items()}
    top, bias = get["encoder.layers.1.weight"], get["encoder.layers.1.bias"]
    return {
        "w1": get["encoder.layers.0.weight"], "b1": get["encoder.layers.0.bias"],
        "wm": top[:LATENT], "bm": bias[:LATENT], "ws": top[LATENT:], "bs": bias[LATENT:],
        "v1": get["decode.layers.0.weight"], "c1": get["decode.layers.0.bias"],
        "v2": get["decode.layers.1.weight"], "c2": get["decode.layers.1.bias"],
        "log_theta": get["log_theta"],
    }  # fmt: skip


# -- scvi-tools -------------------------------------------------------------------------------------------


def scvi_vae(train, course: Course, options) -> dict:
    """`SCVI` on the cells, with its defaults."""
    import anndata
    import scvi
    import torch
    from lightning.pytorch.callbacks import Callback

    torch.set_num_threads(1)
    scvi.settings.seed = options.seed
    cells = anndata.AnnData(train)
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells, n_hidden=HIDDEN, n_latent=LATENT, n_layers=1, gene_likelihood="nb")
    own = len(train) - len(train) // 10

    class Look(Callback):
        def on_train_epoch_end(self, trainer, module):
            if course.look((len(course.seen) + 1) * own, lambda: of_scvi(model.module)):
                trainer.should_stop = True

    check(model, train)
    course.begin = course.now()
    model.train(
        max_epochs=options.epochs or None,
        accelerator="cpu",
        callbacks=[Look()],
        enable_progress_bar=False,
        logger=False,
    )
    check(model, train)
    return course.report()


def of_scvi(module) -> dict:
    """Its arrays, with the normalisation of evaluation drawn into the layer before it."""
    w1, b1 = _layer(module.z_encoder.encoder)
    v1, c1 = _layer(module.decoder.px_decoder)
    out = {"w1": w1, "b1": b1, "v1": v1, "c1": c1, "log_theta": _host(module.px_r)}
    last = {"m": module.z_encoder.mean_encoder, "s": module.z_encoder.var_encoder}
    out |= {f"w{k}": _host(net.weight) for k, net in last.items()}
    out |= {f"b{k}": _host(net.bias) for k, net in last.items()}
    share = module.decoder.px_scale_decoder[0]
    out |= {"v2": _host(share.weight), "c2": _host(share.bias)}
    return {
        **out,
        "ws": 0.5 * out["ws"],
        "bs": 0.5 * out["bs"],
        "least": np.float32(module.z_encoder.var_eps),
    }


def _layer(layers):
    """A linear map and the normalisation that follows it, as one linear map."""
    linear, norm = layers.fc_layers[0][0], layers.fc_layers[0][1]
    scale = _host(norm.weight) / np.sqrt(_host(norm.running_var) + norm.eps)
    bias = scale * (_host(linear.bias) - _host(norm.running_mean)) + _host(norm.bias)
    return scale[:, None] * _host(linear.weight), bias


def _host(tensor):
    return tensor.detach().numpy().copy()


def check(model, train) -> None:
    """Fail where its own means and densities are not those of the arrays that are scored."""
    import torch

    x, module = train[:5], model.module
    p, was = of_scvi(module), module.training
    module.eval()
    with torch.no_grad():
        given = {"X": torch.as_tensor(x), "batch": torch.zeros(5, 1), "labels": torch.zeros(5, 1)}
        inside, outside = module(given, compute_loss=False)
        law, z = inside["qz"], inside["z"].numpy()
        theirs = outside["px"].log_prob(torch.as_tensor(x)).sum(-1).numpy()
    module.train(was)
    hidden = np.maximum(np.log1p(x) @ p["w1"].T + p["b1"], 0)
    sd = np.sqrt(np.exp(2 * (hidden @ p["ws"].T + p["bs"])) + p["least"])
    np.testing.assert_allclose(law.loc.numpy(), hidden @ p["wm"].T + p["bm"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(law.scale.numpy(), sd, rtol=1e-3)
    logits = np.maximum(z @ p["v1"].T + p["c1"], 0) @ p["v2"].T + p["c2"]
    rate = x.sum(1)[:, None] * np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(theirs, _log_counts(x, rate, np.exp(p["log_theta"])), rtol=1e-4)


# -- the run ----------------------------------------------------------------------------------------------


def worker(options) -> dict:
    train, test = data()
    if options.worker == "scvi-tools":
        import scvi  # noqa: F401  imports are not counted

        return scvi_vae(train, Course(options.clock, test, options.seconds, weights_of), options)
    for module in ("jax", OURS[options.worker], "elboroom"):
        __import__(module)
    course = Course(options.clock, test, options.seconds, weights_of)
    cells, guide = declared(train.shape[1])
    return ours(cells(train, train.sum(1)), guide, named, course, OURS[options.worker], options)


def has_scvi(python: str) -> bool:
    """Whether an interpreter has scvi-tools."""
    return not subprocess.run([python, "-c", "import scvi.model"], capture_output=True).returncode


def compare(options) -> None:
    """Run both and print what they reach."""
    reason = fetched()
    if reason:
        print(f"cells left out: {reason}")
        return
    print(f"\n{'cells':14s} {HEAD}")
    found = {who: timed(options, __file__, who) for who in OURS}
    for who, got in found.items():
        print(line(who, got), flush=True)
    if not has_scvi(options.scvi):
        print(f"scvi-tools     left out: {options.scvi} has none; name one that has by --scvi")
        return
    peer = timed(options, __file__, "scvi-tools", options.scvi)
    print(line("scvi-tools", peer))
    for who, got in found.items():
        print(f"{who} to scvi-tools': {ratio(got, peer)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--evidence", action="store_true")
    for setting, kind in (("seed", int), ("epochs", int), ("seconds", float)):
        parser.add_argument(f"--{setting}", type=kind, default=0)
    parser.add_argument("--worker", required=True)
    print(json.dumps(worker(parser.parse_args()), default=float))

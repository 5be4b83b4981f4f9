"""Backends side by side: elboroom on JAX and on PyTorch, Pyro's AutoNormal and Pyro's NUTS, in one run.

    python benchmarks/backends.py [--folder DIR] [--only NAME] [--chains 1] [--timeout 600] [--clock cpu]
    python benchmarks/backends.py --parity

The same posteriors, declared in ``tests/models``, in float64. Every method runs in a process of its own on one
thread, with an empty compilation cache. Seconds are those of the fit alone, with the libraries that it uses imported
before; elboroom fits twice in its process, the second time with everything compiled; "refined" is a lean fit and chains on
PyTorch. Behind the time stands that of the processor, which is the one to compare (``--clock cpu``) where other programs run beside. A method that runs out of time is reported as
a lower bound. Errors are against reference draws, in reference standard deviations.

``--parity`` fits every declared model on both backends and compares verdicts and estimates.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from posteriordb import PROMISE, errors, flat_summary

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

NAMES = (
    "arK-arK",
    "eight_schools-eight_schools_centered",
    "eight_schools-eight_schools_noncentered",
    "kidiq-kidscore_interaction",
    "wells_data-wells_dae_inter_model",
    "radon_mn-radon_hierarchical_intercept_centered",
)
QUANTITIES = ("mean", "sd", "q5", "q95")


LIBRARIES = {
    "jax": ("jax", "numpyro"),
    "torch": ("pyro", "torch._dynamo", "torch.fx.experimental.proxy_tensor"),
    "both": ("arviz_stats.base", "networkx", "scipy.stats"),
}


class Clock:
    """Seconds since it was made: by the clock on the wall, and of the processor."""

    def __init__(self):
        self.begin = time.perf_counter(), time.process_time()

    def read(self):
        return {"wall": time.perf_counter() - self.begin[0], "cpu": time.process_time() - self.begin[1]}


def run_elboroom(backend, refine="auto"):
    def run(name, data, options):
        from models import MODELS

        import elboroom as er

        for library in (*LIBRARIES[backend], *LIBRARIES["both"]):
            importlib.import_module(library)
        seconds, reference = [], MODELS[name]
        for _ in range(2):
            clock = Clock()
            posterior = er.fit(
                reference.model(**reference.data(data)), backend=backend, refine=refine, progress=False
            )
            seconds.append(clock.read())
        table = posterior.table
        rows = {
            str(label): {key: float(table[key][i]) for key in QUANTITIES}
            for i, label in enumerate(table["label"])
        }
        trusted = [str(q) for q, v in zip(table["label"], table["verdict"], strict=True) if v == "trusted"]
        note = f"{posterior.verdict}, {posterior.law}, {posterior.cost.num_gradients} gradients"
        return {"first": seconds[0], "second": seconds[1], "rows": rows, "note": note, "trusted": trusted}

    return run


def pyro_model(name, data):
    for library in LIBRARIES["torch"]:
        importlib.import_module(library)
    import pyro
    import torch
    from models.pyro_ports import PORTS

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    model, convert = PORTS[name]
    return model, convert(data)


def run_autonormal(name, data, options):
    model, arguments = pyro_model(name, data)
    import torch
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoNormal
    from pyro.optim import Adam

    clock = Clock()
    guide = AutoNormal(model)
    svi = SVI(model, guide, Adam({"lr": 0.01}), Trace_ELBO())
    for _ in range(options.steps):
        svi.step(**arguments)
    with torch.no_grad():
        draws = [{k: v.numpy() for k, v in guide(**arguments).items()} for _ in range(4000)]
    stacked = {k: np.stack([draw[k] for draw in draws]) for k in draws[0]}
    return {"first": clock.read(), "rows": flat_summary(stacked), "note": f"{options.steps} Adam steps"}


def run_nuts(name, data, options):
    model, arguments = pyro_model(name, data)
    from pyro.infer import MCMC, NUTS

    clock = Clock()
    parts = []
    for _ in range(options.chains):
        chain = MCMC(NUTS(model), num_samples=1000, warmup_steps=1000, disable_progbar=True)
        chain.run(**arguments)
        parts.append({k: v.numpy() for k, v in chain.get_samples().items()})
    draws = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    note = f"{options.chains} chain{'s' if options.chains > 1 else ''}, 1000 + 1000 draws"
    return {"first": clock.read(), "rows": flat_summary(draws), "note": note}


METHODS = {
    "jax": run_elboroom("jax"),
    "torch": run_elboroom("torch"),
    "refined": run_elboroom("torch", "always"),
    "autonormal": run_autonormal,
    "nuts": run_nuts,
}
TITLES = {
    "jax": "elboroom on JAX",
    "torch": "elboroom on PyTorch",
    "refined": "  refined by chains",
    "autonormal": "Pyro AutoNormal",
    "nuts": "Pyro NUTS",
}


def timed(name, method, options):
    """One method in a process of its own, on one thread."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    command = [sys.executable, __file__, "--folder", str(options.folder), "--only", name, "--worker", method]
    command += ["--chains", str(options.chains), "--steps", str(options.steps)]
    if shutil.which("taskset"):
        core = sorted(os.sched_getaffinity(0))[-1] if options.core is None else options.core
        command = ["taskset", "-c", str(core), *command]
    with tempfile.TemporaryDirectory() as cache:
        env = {
            **os.environ,
            **dict.fromkeys(threads, "1"),
            "ELBOROOM_CACHE": cache,
            "TORCHINDUCTOR_CACHE_DIR": str(Path(cache, "torch")),
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        }
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=options.timeout)
        except subprocess.TimeoutExpired:
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return {
                "first": {"wall": options.timeout, "cpu": spent},
                "bound": True,
                "note": "ran out of time",
            }
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"failed": lines[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def line(method, got, reference):
    """One row of the report."""
    if "failed" in got:
        return f"  {TITLES[method]:20s} not run: {got['failed']}"
    mark = ">" if got.get("bound") else " "
    text = f"  {TITLES[method]:20s}{mark}{got['first']['wall']:8.2f} s ({got['first']['cpu']:7.2f})"
    if "second" in got:
        text += f", second fit {got['second']['wall']:6.2f} s ({got['second']['cpu']:6.2f})"
    else:
        text += " " * 31
    if "rows" in got:
        found = errors(got["rows"], {k: v for k, v in reference.items() if _known(k, got["rows"])})
        worst = {key: max(e[key] for e in found.values()) for key in QUANTITIES}
        passes = max(worst["mean"], worst["sd"]) < 0.15
        text += f"  {'passes' if passes else 'fails '}"
        if "trusted" in got:
            wrong = [
                q for q in got["trusted"] if q in found and any(found[q][k] > PROMISE[k] for k in QUANTITIES)
            ]
            text += f", {len(got['trusted'])} trusted, {len(wrong)} of them wrong"
        text += "  worst errors " + " ".join(f"{key} {worst[key]:.2f}" for key in QUANTITIES)
    return f"{text}  ({got['note']})"


def _known(quantity, rows):
    return quantity.partition("[")[0] in {label.partition("[")[0] for label in rows}


def ratios(results, clock):
    """How many times as long one method took as another, posterior by posterior."""
    columns = (
        ("Pyro AutoNormal / elboroom on PyTorch", "autonormal", "torch", "first"),
        ("Pyro NUTS / elboroom on PyTorch", "nuts", "torch", "first"),
        ("Pyro NUTS / elboroom on PyTorch with refine='always'", "nuts", "refined", "first"),
        ("Pyro AutoNormal / second fit on PyTorch", "autonormal", "torch", "second"),
        ("Pyro NUTS / second fit on PyTorch", "nuts", "torch", "second"),
        ("elboroom on PyTorch / on JAX, first fit", "torch", "jax", "first"),
        ("elboroom on PyTorch / on JAX, second fit", "torch", "jax", "second"),
        ("Pyro AutoNormal / elboroom on JAX", "autonormal", "jax", "first"),
        ("Pyro NUTS / elboroom on JAX", "nuts", "jax", "first"),
    )
    for title, above, below, key in columns:
        found, bound = [], False
        for got in results.values():
            over, under = got.get(above, {}), got.get(below, {})
            if "first" in over and key in under:
                found.append(over.get(key, over["first"])[clock] / under[key][clock])
                bound |= over.get("bound", False)
        if found:
            words = " ".join(f"{value:.2f}" for value in found)
            least = " (at least: one ran out of time)" if bound else ""
            print(f"{title}: {words}; median {np.median(found):.2f}{least}")


def parity(options):
    """Fits of every declared model on both backends: their verdicts, and estimates against their errors."""
    from models import MODELS

    import elboroom as er

    agree = count = 0
    for name in (n for n in MODELS if options.only in n):
        path = options.folder / "data" / f"{name.split(',')[0]}.json"
        if not path.exists():
            continue
        reference = MODELS[name]
        program = reference.model(**reference.data(json.loads(path.read_text())))
        one, other = (er.fit(program, backend=b, progress=False).table for b in ("jax", "torch"))
        moving = [i for i, v in enumerate(one["verdict"]) if v is not None]
        same = sum(one["verdict"][i] == other["verdict"][i] for i in moving)
        mean, sd = ([np.asarray(t[key], float)[moving] for t in (one, other)] for key in ("mean", "sd"))
        print(
            f"{name[:50]:50s} verdicts alike {same:4d} of {len(moving):4d}, means apart by at most "
            f"{(np.abs(mean[0] - mean[1]) / sd[0]).max():.3f} sd, sds by {np.abs(sd[1] / sd[0] - 1).max():.1%}",
            flush=True,
        )
        agree, count = agree + same, count + len(moving)
    print(f"\nverdicts alike: {agree} of {count}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=os.environ.get("ELBOROOM_POSTERIORDB", "../shared/posteriordb")
    )
    parser.add_argument("--only", default="")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--parity", action="store_true")
    parser.add_argument("--steps", type=int, default=10_000, help="of Adam, for AutoNormal")
    parser.add_argument("--chains", type=int, default=1, help="of NUTS, one after the other")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds per method")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="which the ratios go by")
    parser.add_argument("--core", type=int, help="processor to run on")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=METHODS)
    options = parser.parse_args()
    options.folder = Path(options.folder).resolve()
    if not (options.folder / "data").is_dir():
        print(f"skipped: no reference posteriors in {options.folder} (pass --folder)")
        return
    if options.parity:
        parity(options)
        return
    if options.worker:
        data = json.loads((options.folder / "data" / f"{options.only}.json").read_text())
        print(json.dumps(METHODS[options.worker](options.only, data, options)))
        return
    results: dict = {}
    for name in (n for n in NAMES if options.only in n):
        print(name)
        reference = json.loads((options.folder / "reference" / f"{name}.json").read_text())
        for method in options.methods:
            results.setdefault(name, {})[method] = got = timed(name, method, options)
            print(line(method, got, reference), flush=True)
    ratios(results, options.clock)
    if options.out:
        options.out.write_text(json.dumps(results))


if __name__ == "__main__":
    main()

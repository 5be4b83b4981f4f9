"""Reference posteriors side by side: elboroom, NumPyro's AutoNormal and NumPyro's NUTS, in one run.

    python benchmarks/posteriordb.py [--folder DIR] [--only NAME] [--seeds 5] [--peers] [--warm] [--arbitrate]
    python benchmarks/posteriordb.py --guides

Errors are against reference draws, in reference standard deviations. Every timed method runs in a process
of its own on one thread, with an empty compilation cache, or with ``--warm`` a second time with a full one. Where other programs run beside, the time of the
processor is the one to compare (``--clock cpu``).

References are long runs of a sampler and can be wrong themselves, where a hierarchical model was sampled in
coordinates whose funnel it does not reach. ``--arbitrate`` runs a long NUTS with every hierarchical site non-centred
where a trusted quantity lies outside its promise, and prints how far the reference and our answer are from it.

``--guides`` compares the guide that follows the graph with a dense one: ELBOs and numbers of parameters.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PROMISE = {"mean": 0.15, "sd": 0.15, "q5": 0.25, "q95": 0.25}


def load(folder: Path, name: str):
    """The NumPyro model and its arguments."""
    sys.path.insert(0, str(folder))
    from models import MODELS

    model, convert = MODELS[name]
    return model, convert(json.loads((folder / "data" / f"{name}.json").read_text()))


def label(quantity: str) -> str:
    """Zero-based label of a one-based reference quantity."""
    found = re.fullmatch(r"(.*?)\[(.*)\]", quantity)
    if not found:
        return quantity
    return f"{found[1]}[{', '.join(str(int(i) - 1) for i in found[2].split(','))}]"


def errors(rows: dict, reference: dict) -> dict:
    """Error of each quantity in reference sds: mean, sd, and both quantiles."""
    out = {}
    for quantity, truth in reference.items():
        if not truth["sd"] > 0:
            continue
        row = rows[label(quantity)]
        out[label(quantity)] = {
            "mean": abs(row["mean"] - truth["mean"]) / truth["sd"],
            "sd": abs(row["sd"] / truth["sd"] - 1),
            "q5": abs(row["q5"] - truth["q05"]) / truth["sd"],
            "q95": abs(row["q95"] - truth["q95"]) / truth["sd"],
        }
    return out


def flat_summary(draws: dict) -> dict:
    """Summaries of draws by scalar quantity."""
    rows = {}
    for name, value in draws.items():
        value = np.asarray(value, np.float64)
        for index in np.ndindex(*value.shape[1:]):
            x = value[(slice(None), *index)]
            q5, q95 = np.quantile(x, [0.05, 0.95])
            key = f"{name}[{', '.join(map(str, index))}]" if index else name
            rows[key] = {"mean": x.mean(), "sd": x.std(), "q5": q5, "q95": q95}
    return rows


def imported():
    """Import what a method or its summary imports when first used: imports are not timed."""
    for name in ("arviz_stats.base", "elboroom.inference.fit", "elboroom.ppl.backends.jax"):
        importlib.import_module(name)


def run_elboroom(model, kwargs, seed):
    import elboroom as er

    program = er.from_numpyro(model)(**kwargs)
    begin = clock()
    posterior = er.fit(program, seed=seed, progress=False)
    seconds = clock() - begin
    table = posterior.table
    return {
        "seconds": seconds,
        "rows": {
            label: {name: table[name][i] for name in ("mean", "sd", "q5", "q95")}
            for i, label in enumerate(table["label"])
        },
        "verdicts": dict(zip(table["label"], table["verdict"], strict=True)),
        "law": posterior.law,
        "khat": posterior.khat,
        "compile": posterior.cost.compile_seconds,
        "fit_gradients": sum(r.num_gradients for r in posterior.trail if r.name in {"starts", "fit"}),
        "gradients": posterior.cost.num_gradients,
    }


def run_nuts(model, kwargs, seed):
    import jax

    jax.config.update("jax_enable_x64", True)
    from numpyro.infer import MCMC, NUTS

    begin = clock()
    mcmc = MCMC(
        NUTS(model),
        num_warmup=1000,
        num_samples=1000,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(seed), **kwargs)
    draws = {k: np.asarray(v) for k, v in mcmc.get_samples().items()}
    return {"seconds": clock() - begin, "rows": flat_summary(draws)}


def run_autonormal(model, kwargs, seed):
    import jax

    jax.config.update("jax_enable_x64", True)
    import numpyro
    from numpyro.infer import SVI, Predictive, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal

    begin = clock()
    guide = AutoNormal(model)
    svi = SVI(model, guide, numpyro.optim.Adam(0.01), Trace_ELBO())
    result = svi.run(jax.random.PRNGKey(seed), 10_000, progress_bar=False, **kwargs)
    draws = guide.sample_posterior(jax.random.PRNGKey(seed + 1), result.params, sample_shape=(4000,))
    more = Predictive(model, posterior_samples=draws)(jax.random.PRNGKey(seed + 2), **kwargs)
    draws = {k: np.asarray(v) for k, v in {**more, **draws}.items()}
    return {"seconds": clock() - begin, "rows": flat_summary(draws)}


def arbiter(model, kwargs):
    """Long NUTS with location–scale sites non-centred: summaries, and the effective size of each quantity."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import numpyro
    from numpyro.diagnostics import effective_sample_size
    from numpyro.infer import MCMC, NUTS
    from numpyro.infer.reparam import LocScaleReparam

    def config(site):
        fn = site["fn"]
        while hasattr(fn, "base_dist"):
            fn = fn.base_dist
        real = getattr(fn, "support", None) is numpyro.distributions.constraints.real
        computed = isinstance(getattr(fn, "scale", None), jax.Array)
        moved = site["name"].endswith("_decentered")
        return LocScaleReparam(0.0) if real and computed and not moved and not site["is_observed"] else None

    mcmc = MCMC(
        NUTS(numpyro.handlers.reparam(model, config=config), target_accept_prob=0.95, dense_mass=True),
        num_warmup=2000,
        num_samples=10_000,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(1), **kwargs)
    chains = {k: np.asarray(v, np.float64) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in chains.items()}
    size = {k: float(np.min(effective_sample_size(v))) for k, v in chains.items()}
    return flat_summary(flat), size


METHODS = {"elboroom": run_elboroom, "nuts": run_nuts, "autonormal": run_autonormal}


def clock() -> float:
    """Seconds on the clock that ``--clock`` names."""
    return time.process_time() if os.environ.get("BENCHMARK_CLOCK") == "cpu" else time.perf_counter()


def spent() -> float:
    """Those of the processes that this one started, where they are what counts."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        used.ru_utime + used.ru_stime if os.environ.get("BENCHMARK_CLOCK") == "cpu" else time.perf_counter()
    )


def environment(cache: str, jax: bool = True) -> dict:
    """One thread, and compilation kept in a folder: elboroom's own, and that of JAX unless it is left out."""
    jax_cache = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return {
        **os.environ,
        "ELBOROOM_CACHE": cache,
        **(jax_cache if jax else {}),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }


def pinned(file: str, *arguments) -> list:
    """The command that runs a benchmark in a process of its own, on one core where that can be asked for."""
    command = [sys.executable, file, *map(str, arguments)]
    if shutil.which("taskset"):
        command = ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[-1]), *command]
    return command


def worker(file: str, cache: str, *arguments) -> dict:
    """What a benchmark prints as its last line, in JSON, in a process of its own on one thread."""
    command = pinned(file, *arguments)
    done = subprocess.run(command, env=environment(cache), capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def timed(folder: Path, name: str, method: str, cache: str) -> dict:
    """One method in a process of its own, on one thread."""
    env = environment(cache, jax=method != "elboroom")  # which brings its own cache
    command = pinned(__file__, "--folder", folder, "--only", name, "--worker", method)
    begin = spent()
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    whole = spent() - begin
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return {**json.loads(done.stdout.splitlines()[-1]), "whole": whole}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=os.environ.get("ELBOROOM_POSTERIORDB", "../shared/posteriordb")
    )
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=("nuts", "autonormal"), help="both by default")
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--arbitrate", action="store_true")
    parser.add_argument("--guides", action="store_true")
    parser.add_argument("--worker", choices=sorted(METHODS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("BENCHMARK_CLOCK", options.clock)
    folder = Path(options.folder).resolve()
    if not (folder / "models.py").exists():
        print(f"skipped: no reference posteriors in {folder} (pass --folder)")
        return
    if options.worker:
        model, kwargs = load(folder, options.only)
        imported()
        print(json.dumps(METHODS[options.worker](model, kwargs, 0)))
        return
    names = sorted(p.stem for p in (folder / "reference").glob("*.json") if options.only in p.stem)
    if options.peers is not None:
        side_by_side(folder, names, options)
    elif options.guides:
        guides(folder, names)
    else:
        accuracy(folder, names, options)


def accuracy(folder, names, options):
    """Errors, passes and trust over seeds, in one process."""
    print(
        f"{'posterior':42s} seed  mean    sd    q5   q95 pass .10 trusted false law    khat fit-grad all-grad  s"
    )
    shares, passes, false, gradients, all_pass = [], [], 0, [], {}
    disputed: dict = {}
    for name in names:
        model, kwargs = load(folder, name)
        reference = json.loads((folder / "reference" / f"{name}.json").read_text())
        for seed in range(options.seeds):
            got = run_elboroom(model, kwargs, seed)
            found = errors(got["rows"], reference)
            worst = {k: max(e[k] for e in found.values()) for k in PROMISE}
            wrong = [
                q
                for q, e in found.items()
                if got["verdicts"][q] == "trusted" and any(e[k] > PROMISE[k] for k in PROMISE)
            ]
            judged = [v for v in got["verdicts"].values() if v is not None]
            share = np.mean([v == "trusted" for v in judged])
            ok = max(worst["mean"], worst["sd"]) < 0.15
            shares.append(share), passes.append(ok), gradients.append(got["fit_gradients"])
            all_pass[name] = all_pass.get(name, True) and ok
            false += len(wrong)
            if wrong:
                disputed.setdefault(name, {})[seed] = {q: got["rows"][q] for q in wrong}
            print(
                f"{name[:42]:42s} {seed:4d} {worst['mean']:5.2f} {worst['sd']:5.2f} {worst['q5']:5.2f} "
                f"{worst['q95']:5.2f} {'yes' if ok else 'NO':4s} "
                f"{'yes' if max(worst['mean'], worst['sd']) < 0.1 else 'no':3s} {share:7.2f} {len(wrong):5d} "
                f"{got['law']:5s} {got['khat']:5.2f} {got['fit_gradients']:8d} {got['gradients']:8d} "
                f"{got['seconds']:5.2f} {' '.join(wrong)}",
                flush=True,
            )
    print(
        f"\npass on every seed: {sum(all_pass.values())} of {len(all_pass)}; false trusts: {false}; "
        f"share trusted: {np.mean(shares):.3f}; median gradients for starts and fit: {np.median(gradients):.0f}"
    )
    if options.arbitrate:
        arbitrate(folder, disputed)


def arbitrate(folder, disputed):
    """What long NUTS says of quantities that were trusted and are not what the reference says, by posterior and seed."""
    for name, seeds in disputed.items():
        model, kwargs = load(folder, name)
        reference = json.loads((folder / "reference" / f"{name}.json").read_text())
        exact, size = arbiter(model, kwargs)
        keys = {label(q): q for q in reference}
        for seed, rows in seeds.items():
            for quantity, row in rows.items():
                truth, given = exact[quantity], reference[keys[quantity]]
                given = {"mean": given["mean"], "sd": given["sd"], "q5": given["q05"], "q95": given["q95"]}
                words = [
                    f"{k} {truth[k]:.4g} (reference {given[k]:.4g}, ours {row[k]:.4g})"
                    for k in ("mean", "sd", "q5", "q95")
                ]
                effective = size[quantity.split("[")[0]]
                print(
                    f"{name} seed {seed} {quantity}: long NUTS, effective size {effective:.0f}: "
                    + ", ".join(words)
                )


def guides(folder, names):
    """ELBO and numbers of the structured and of the dense Gaussian."""
    import elboroom as er

    print(
        f"{'posterior':42s} {'ELBO structured':>22s} {'full rank':>22s} {'gap':>6s} {'numbers':>8s} {'dense':>8s}"
    )
    worse = []
    for name in names:
        model, kwargs = load(folder, name)
        program = er.from_numpyro(model)(**kwargs)
        found = {}
        for family in ("structured", "full-rank"):
            try:
                posterior = er.fit(program, guide=family, progress=False)
            except er.GuideError:
                continue
            evidence = next(rung for rung in posterior.trail if rung.name == "evidence")
            found[family] = evidence.elbo, evidence.elbo_se, posterior.guide
        dense, dim = found["full-rank"], found["full-rank"][2].dim
        numbers = dim + dim * (dim + 1) // 2
        if "structured" not in found:
            print(
                f"{name[:42]:42s} {'all are linked':>22s} {dense[0]:14.2f} ± {dense[1]:5.2f} {'':15s} {numbers:8d}"
            )
            continue
        own = found["structured"]
        gap = own[0] - dense[0]
        if gap < -0.1 - 3 * np.hypot(own[1], dense[1]) or own[2].num_parameters > numbers:
            worse.append(name)
        print(
            f"{name[:42]:42s} {own[0]:14.2f} ± {own[1]:5.2f} {dense[0]:14.2f} ± {dense[1]:5.2f} {gap:6.2f} "
            f"{own[2].num_parameters:8d} {numbers:8d}",
            flush=True,
        )
    print(f"\nstructured worse by more than 0.1 nat, or larger: {', '.join(worse) or 'none'}")


def side_by_side(folder, names, options):
    """Times and errors of the methods, each in a process of its own."""
    results: dict = {}
    peers = options.peers or ("nuts", "autonormal")
    for name in names:
        reference = json.loads((folder / "reference" / f"{name}.json").read_text())
        line = f"{name[:42]:42s}"
        for method in ("elboroom", *peers):
            with tempfile.TemporaryDirectory() as cache:
                cold = timed(folder, name, method, cache)
                warm = timed(folder, name, method, cache) if options.warm else None
            worst = errors(cold["rows"], reference)
            worst = max(max(e["mean"], e["sd"]) for e in worst.values())
            results.setdefault(method, {})[name] = (
                cold["seconds"],
                cold["whole"],
                warm["whole"] if warm else np.nan,
                warm["seconds"] if warm else np.nan,
                worst,
            )
            line += f" | {method} {cold['seconds']:6.2f} s, whole {cold['whole']:6.2f}"
            line += f", warm {warm['seconds']:.2f}, whole {warm['whole']:.2f}" if warm else ""
            line += f", err {worst:5.2f}"
        print(line, flush=True)
    ours = np.array([results["elboroom"][n] for n in names])
    for method in peers:
        theirs = np.array([results[method][n] for n in names])
        for column, words in (
            (0, "fit, empty cache"),
            (1, "whole process, empty"),
            (2, "whole process, warm"),
            (3, "fit, warm cache"),
        ):
            ratio = theirs[:, column] / ours[:, column]
            print(
                f"{method} / elboroom, {words}: median {np.nanmedian(ratio):.1f}, least {np.nanmin(ratio):.1f}"
            )
    if options.out:
        options.out.write_text(json.dumps(results))


if __name__ == "__main__":
    main()

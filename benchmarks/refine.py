"""Warm-started NUTS against NumPyro's own on reference posteriors: what an effective size of 400 costs.

    python benchmarks/refine.py [--folder DIR] [--only NAME] [--seeds 3]   gradients and seconds to a bulk ESS of 400
    python benchmarks/refine.py --gate                                     fits stopped after 1, 3 and 10 steps

Ours counts everything: starts, fit, importance draws, the search for other modes, warm-up and draws. The peer runs four
chains in lockstep with a warm-up of 1,000, and draws until the same effective size or 64,000 draws are reached: where
these end it, the ratio is a bound. Imports are not timed. Each runs in a process of its own on one thread with a compilation cache that a run
before has filled.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from posteriordb import clock, errors, flat_summary, imported, load, worker

ENOUGH, MOST = 400, 64_000


def bulk(values) -> float:
    """Least bulk ESS of arrays ``(C, T, …)``."""
    from arviz_stats.base import array_stats

    flat = np.concatenate([np.asarray(v, float).reshape(*v.shape[:2], -1) for v in values], 2)
    live = np.ptp(flat, axis=(0, 1)) > 0
    return float(np.nanmin(array_stats.ess(np.moveaxis(flat[:, :, live], 2, 0), method="bulk")))


def ours(model, kwargs, seed, options):
    """A lean fit and chains from it, to the effective size."""
    from elboroom.inference.engines.loop import STOPPED
    from elboroom.inference.engines.natural import NaturalGradient
    from elboroom.inference.evidence.quantities import quantity_values
    from elboroom.inference.mcmc import drawing

    import elboroom as er

    def needed(target, law, judged):
        values, _ = quantity_values(target, law.z)
        left = ENOUGH / bulk([values.reshape(law.num_chains, -1, values.shape[1])])
        return left, left, values.size

    drawing.needed = needed
    if options.steps:
        own = NaturalGradient.done

        def done(engine, state):
            return own(engine, state) or (STOPPED if state.num_steps >= options.steps else None)

        NaturalGradient.done = done
    program = er.from_numpyro(model)(**kwargs)
    begin = clock()
    posterior = er.fit(program, refine="always", seed=seed, progress=False)
    seconds = clock() - begin
    rows = {
        label: {name: posterior.table[name][i] for name in ("mean", "sd", "q5", "q95")}
        for i, label in enumerate(posterior.table["label"])
    }
    return {
        "gradients": posterior.cost.num_gradients,
        "seconds": seconds,
        "rows": rows,
        "reason": posterior.trail[-1].reason,
    }


def numpyros(model, kwargs, seed, options):
    """NumPyro's NUTS with its defaults."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from numpyro.infer import MCMC, NUTS

    begin = clock()
    settings = dict(num_chains=4, chain_method="vectorized", progress_bar=False)
    mcmc = MCMC(NUTS(model), num_warmup=1000, num_samples=500, **settings)
    mcmc.warmup(jax.random.PRNGKey(seed), extra_fields=("num_steps",), collect_warmup=True, **kwargs)
    gradients = int(np.asarray(mcmc.get_extra_fields()["num_steps"]).sum())
    kept, drawn = [], 0
    while drawn < MOST:
        mcmc.run(mcmc.post_warmup_state.rng_key, extra_fields=("num_steps",), **kwargs)
        gradients += int(np.asarray(mcmc.get_extra_fields()["num_steps"]).sum())
        kept.append({k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()})
        mcmc.post_warmup_state = mcmc.last_state
        drawn += 2000
        joined = {k: np.concatenate([one[k] for one in kept], 1) for k in kept[0]}
        if bulk(joined.values()) >= ENOUGH:
            break
    seconds = clock() - begin
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in joined.items()}
    rows = flat_summary(flat)
    return {"gradients": gradients, "seconds": seconds, "rows": rows, "capped": drawn >= MOST}


def run(name, method, seed, cache, options):
    given = ["--folder", options.folder, "--only", name, "--worker", method, "--seed", seed]
    return worker(__file__, cache, *given, "--steps", options.steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("ELBOROOM_POSTERIORDB", "../shared/posteriordb")
    parser.add_argument("--folder", type=Path, default=default)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gate", action="store_true")
    parser.add_argument("--worker", choices=("ours", "numpyro"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    os.environ.setdefault("BENCHMARK_CLOCK", options.clock)
    options.folder = Path(options.folder).resolve()
    if not (options.folder / "models.py").exists():
        print(f"skipped: no reference posteriors in {options.folder} (pass --folder)")
        return
    if options.worker:
        model, kwargs = load(options.folder, options.only)
        imported()
        work = {"ours": ours, "numpyro": numpyros}[options.worker]
        print(json.dumps(work(model, kwargs, options.seed, options)))
        return
    names = sorted(p.stem for p in (options.folder / "reference").glob("*.json") if options.only in p.stem)
    if options.gate:
        gate(names, options)
        return
    print(
        f"{'posterior':42s} {'ours: gradients':>16s} {'s':>6s} {'err':>5s} {'NumPyro':>10s} {'s':>6s} {'err':>5s}  ratios"
    )
    ratios: dict[str, list] = {"gradients": [], "seconds": []}
    for name in names:
        for key, value in compared(name, options).items():
            ratios[key].append(value)
    for key, values in ratios.items():
        print(f"{key}: median {np.median(values):.1f}, least {min(values):.2f}")


def compared(name, options):
    """One posterior by both methods, printed as a row: NumPyro's gradients and seconds over ours."""
    reference = json.loads((options.folder / "reference" / f"{name}.json").read_text())
    found: dict[str, list] = {"ours": [], "numpyro": []}
    for method, results in found.items():
        with tempfile.TemporaryDirectory() as cache:
            run(name, method, 0, cache, options)
            results += [run(name, method, seed, cache, options) for seed in range(options.seeds)]

    def mean(method, key):
        return float(np.exp(np.mean(np.log([one[key] for one in found[method]]))))

    worst = {
        method: max(
            max(e["mean"], e["sd"]) for one in results for e in errors(one["rows"], reference).values()
        )
        for method, results in found.items()
    }
    ratios = {key: mean("numpyro", key) / mean("ours", key) for key in ("gradients", "seconds")}
    bound = ">" if any(one["capped"] for one in found["numpyro"]) else " "
    print(
        f"{name[:42]:42s} {mean('ours', 'gradients'):16.0f} {mean('ours', 'seconds'):6.2f} {worst['ours']:5.2f} "
        f"{mean('numpyro', 'gradients'):10.0f} {mean('numpyro', 'seconds'):6.2f} {worst['numpyro']:5.2f}  "
        f"{bound}{ratios['gradients']:.1f} {bound}{ratios['seconds']:.1f}",
        flush=True,
    )
    return ratios


def gate(names, options):
    """Gradients of warm-started chains where the fit was stopped early, over NumPyro's."""
    print(f"{'posterior':42s} {'NumPyro':>9s} {'whole':>7s} {'1 step':>7s} {'3':>7s} {'10':>7s}")
    worst = []
    for name in names:
        with tempfile.TemporaryDirectory() as cache:
            peer = run(name, "numpyro", 0, cache, options)["gradients"]
            ratios = []
            for options.steps in (0, 1, 3, 10):
                ratios.append(run(name, "ours", 0, cache, options)["gradients"] / peer)
        worst.append(max(ratios))
        print(f"{name[:42]:42s} {peer:9d} " + " ".join(f"{r:7.3f}" for r in ratios), flush=True)
    print(f"largest ratio: median {np.median(worst):.2f}, most {max(worst):.2f}")


if __name__ == "__main__":
    main()

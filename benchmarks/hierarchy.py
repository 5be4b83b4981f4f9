"""Hierarchies, series and dense latents on real data: elboroom beside NumPyro's NUTS, and beside R where it is there.

    python benchmarks/hierarchy.py [--only NAME …] [--seed 0] [--cold | --warm] [--no-refine] [--alone]
        [--limit 600] [--reference FOLDER] [--draws 10000] [--r]

Every timed method runs in a process of its own on one thread: first with an empty compilation cache, then again with
the one that this left (`--cold` leaves out the second, `--warm` does not show the first). Seconds are those of the
processor, imports excluded and compilation included. NUTS runs four chains in lockstep, 1,000 iterations of warm-up and
1,000 draws, in float64. What takes more than `--limit` seconds is ended and reported as such.

The truth is a long NUTS with a target of 0.95, which `--reference` keeps in a folder: errors of means are in its sds,
those of sds are shares. A trusted quantity is false where it lies outside its promise by more than twice the reference's
own Monte Carlo error. A reference whose R-hat reaches 1.01, that has fewer than 400 effective draws of some
quantity or one divergence in a thousand, is not to be trusted itself; false trusts against it are counted apart. Of a quantity whose
draws have a tail k̂ above 0.5, and so no variance, only quantiles are compared.

``--r`` adds seconds of lme4 or glmmTMB and of rstanarm (four chains of 2,000) for the models that they can express; the
priors of the latter are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
from hierarchy_dense import DENSE
from hierarchy_models import GROUPED
from posteriordb import PROMISE, environment, imported, pinned

PAIRS = {**GROUPED, **DENSE}

PACKAGES = ("lme4", "glmmTMB", "rstanarm")

HEAVY = 0.5
"""Tail k̂ above which a quantity has no variance: its quantiles alone are compared."""

LEVELS = {"q5": 0.05, "q95": 0.95}


def ours(pair, options) -> dict:
    """A fit with its defaults."""
    import elboroom as er

    program = pair.declared(**pair.data())
    begin = time.process_time()
    refine = {"refine": False} if options.no_refine else {}
    posterior = er.fit(program, seed=options.seed, progress=False, **refine)
    seconds = time.process_time() - begin
    table = posterior.table
    rows: dict = {}
    for i, label in enumerate(table["label"]):
        row = rows.setdefault(label.split("[")[0], {k: [] for k in (*PROMISE, "verdict")})
        for k in row:
            row[k].append(table[k][i])
    trail = [f"{r.name} {r.guide}: {r.reason} ({r.seconds:.1f} s)" for r in posterior.trail]
    return dict(seconds=seconds, rows=rows, law=posterior.law, khat=posterior.khat, trail=trail)


def nuts(pair, options) -> dict:
    """NumPyro's NUTS as most would run it."""
    chains, diverged, seconds = sampled(pair, options.seed, 1000, 1000, 0.8)
    return dict(seconds=seconds, rows=summarised(chains), diverged=diverged)


def reference(pair, options) -> dict:
    """A long NUTS."""
    num_warmup = min(2_000, options.draws)
    chains, diverged, seconds = sampled(pair, 1, num_warmup, options.draws, 0.95)
    return dict(seconds=seconds, rows=summarised(chains), diverged=diverged / (4 * options.draws))


METHODS = {"ours": ours, "nuts": nuts, "reference": reference}


def sampled(pair, seed, num_warmup, num_draws, target):
    """Draws by site and chain, divergences, and seconds of the processor."""
    import jax
    from numpyro.infer import MCMC, NUTS

    jax.config.update("jax_enable_x64", True)
    data = pair.data()
    begin = time.process_time()
    kernel = NUTS(pair.numpyro, target_accept_prob=target)
    settings = dict(num_chains=4, chain_method="vectorized", progress_bar=False)
    mcmc = MCMC(kernel, num_warmup=num_warmup, num_samples=num_draws, **settings)
    mcmc.run(jax.random.PRNGKey(seed), extra_fields=("diverging",), **data)
    chains = {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    seconds = time.process_time() - begin
    diverged = int(np.asarray(mcmc.get_extra_fields()["diverging"]).sum())
    return {k: v for k, v in chains.items() if not k.endswith("_")}, diverged, seconds


def summarised(chains) -> dict:
    """Moments and quantiles by site, each with its Monte Carlo error, R-hat and effective size."""
    return {name: columns(draws.reshape(*draws.shape[:2], -1)) for name, draws in chains.items()}


def columns(draws) -> dict:
    """The same for each of a site's quantities: draws are chains × draws × quantities."""
    from arviz_stats.base import array_stats
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    def heaviness(x):
        return array_stats.pareto_khat(x, chain_axis=1, draw_axis=0)

    flat = draws.reshape(-1, draws.shape[-1])
    mean, sd = flat.mean(0), flat.std(0)
    fixed = ~(sd > 0)
    scale = np.where(fixed, 1.0, sd)
    size = np.where(fixed, len(flat), effective_sample_size(draws))
    square = (draws - mean) ** 2
    square_size = np.where(fixed, len(flat), effective_sample_size(square))
    out = {
        "mean": mean,
        "sd": np.where(fixed, 0.0, sd),
        "mean_error": 1 / np.sqrt(size),
        "sd_error": square.std((0, 1)) / np.sqrt(square_size) / (2 * scale**2),
        "rhat": np.where(fixed, 1.0, split_gelman_rubin(draws)),
        "size": np.minimum(size, square_size),
        "tail": np.array([0.0 if f else heaviness(x) for f, x in zip(fixed, draws.T, strict=True)]),
    }
    for name, level in LEVELS.items():
        out[name] = np.quantile(flat, level, axis=0)
        step = np.sqrt(level * (1 - level) / size)
        band = [
            np.array(
                [np.quantile(x, np.clip(level + s * d, 0, 1)) for x, d in zip(flat.T, step, strict=True)]
            )
            for s in (-1, 1)
        ]
        out[f"{name}_error"] = (band[1] - band[0]) / 2 / scale
    return {k: v.tolist() for k, v in out.items()}


def errors(rows, truth) -> dict:
    """Error of every quantity that both know, in the promise's units, with the reference's own and the verdict."""
    found = {k: [] for k in (*PROMISE, *(f"{k}_error" for k in PROMISE), "verdict", "name", "heavy")}
    for site in truth.keys() & rows.keys():
        known, given = ({k: np.array(v) for k, v in side[site].items()} for side in (truth, rows))
        if known["mean"].shape != given["mean"].shape:
            raise ValueError(f"'{site}' has {given['mean'].size} quantities for {known['mean'].size}")
        free = known["sd"] > 0
        heavy = known["tail"][free] > HEAVY
        normal_spread = (known["q95"] - known["q5"])[free] / 3.29
        sd = np.where(heavy, normal_spread, known["sd"][free])
        for k in PROMISE:
            off = given[k][free] / sd - 1 if k == "sd" else (given[k][free] - known[k][free]) / sd
            found[k].extend(np.where(heavy & (k in ("mean", "sd")), 0.0, np.abs(off)))
            found[f"{k}_error"].extend(known[f"{k}_error"][free])
        found["heavy"].extend(heavy)
        found["verdict"].extend(given.get("verdict", np.full(free.shape, ""))[free])
        found["name"].extend(f"{site}[{i}]" for i in np.flatnonzero(free))
    return {k: np.array(v) for k, v in found.items()}


def judged(fit, truth) -> dict:
    """Counts of verdicts, false trusts and largest errors."""
    found = errors(fit["rows"], truth["rows"])
    beyond = np.any([found[k] > PROMISE[k] + 2 * found[f"{k}_error"] for k in PROMISE], axis=0)
    trusted = found["verdict"] == "trusted"
    counts = {v: int((found["verdict"] == v).sum()) for v in ("trusted", "caution", "untrusted")}
    return {
        **counts,
        "heavy": int(found["heavy"].sum()),
        "false": found["name"][trusted & beyond].tolist(),
        "mean": float(found["mean"].max()),
        "sd": float(found["sd"].max()),
    }


def doubts(truth) -> str:
    """Why a reference is not to be trusted."""
    rhat = max(np.max(row["rhat"]) for row in truth["rows"].values())
    size = min(np.min(row["size"]) for row in truth["rows"].values())
    said = []
    if not rhat < 1.01:
        said.append(f"R-hat {rhat:.3f}")
    if size < 400:
        said.append(f"{size:.0f} effective draws")
    if truth["diverged"] > 0.001:
        said.append(f"{truth['diverged']:.1%} divergent")
    return ", ".join(said)


def spawned(name, method, cache, options, limit) -> dict:
    """What a method returns in a process of its own, or why it does not."""
    arguments = ["--only", name, "--worker", method, "--seed", options.seed, "--limit", limit]
    arguments += ["--draws", options.draws]
    arguments += ["--no-refine"] if options.no_refine else []
    done = subprocess.run(
        pinned(__file__, *arguments),
        env=environment(cache, jax=method != "ours"),
        capture_output=True,
        text=True,
    )
    if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return {"failed": f"ended after {limit} s"}
    if done.returncode:
        return {"failed": "; ".join(done.stderr.strip().splitlines()[-1:])[:400]}
    return json.loads(done.stdout.splitlines()[-1])


def known(name, options) -> dict:
    """The reference, kept in a folder where one is given."""
    kept = options.reference / f"{name}.json" if options.reference else None
    if kept and kept.exists():
        return json.loads(kept.read_text())
    with tempfile.TemporaryDirectory() as cache:
        found = spawned(name, "reference", cache, options, 10 * options.limit)
    if kept and "failed" not in found:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found))
    return found


def in_r(pair, options) -> dict:
    """Seconds of R's packages for a mixed model with the same likelihood, or why there are none."""
    if not pair.r:
        return {}
    data = pair.data()
    columns, words = {}, {}
    for name, value in data.items():
        value = np.asarray(value)
        parts = (
            {f"{name}{i}": column for i, column in enumerate(value.T)} if value.ndim == 2 else {name: value}
        )
        columns.update(parts)
        words[name] = " + ".join(parts)
    columns["row"] = np.arange(len(data["y"]))
    lines = [f"{k} <- c({', '.join(map(repr, v.tolist()))})" for k, v in columns.items()]
    whole = [k for k, v in columns.items() if len(v) == len(data["y"])]
    lines.append(f"rows <- data.frame({', '.join(f'{k} = {k}' for k in whole)})")
    family, formula = pair.r
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "data.R"
        code.write_text("\n".join(lines))
        for package in PACKAGES:
            command = ["Rscript", str(Path(__file__).with_suffix(".R")), str(code)]
            command += [family, formula.format(**words), package]
            try:
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    timeout=4 * options.limit,
                    env=environment(folder),
                )
            except subprocess.TimeoutExpired:
                out[package] = f"ended after {4 * options.limit} s"
                continue
            last = (done.stderr.strip().splitlines() or ["?"])[-1]
            out[package] = float(done.stdout.split()[-1]) if done.returncode == 0 else last
    return out


def measured(name, options) -> dict:
    """Each method, cold and warm, against the reference."""
    out: dict = {"name": name, "ours": {}, "nuts": {}}
    for method in ("ours",) if options.alone else ("ours", "nuts"):
        with tempfile.TemporaryDirectory() as cache:
            found = spawned(name, method, cache, options, options.limit)
            out[method] = {"cold": found}
            if not options.cold and "failed" not in found:
                out[method]["warm"] = spawned(name, method, cache, options, options.limit)
    out["truth"] = known(name, options)
    if options.r:
        out["r"] = in_r(PAIRS[name], options)
    return out


def ratio(row, kind) -> float:
    """Seconds of ours over theirs."""
    both = [row[method].get(kind, {}).get("seconds", np.nan) for method in ("ours", "nuts")]
    return both[0] / both[1]


def described(row, options) -> str:
    """One line of the table, and the lines of what failed."""
    kinds = ["cold"] * (not options.warm) + ["warm"] * (not options.cold)
    line = f"{row['name']:14s}"
    for method in ("ours", "nuts"):
        times = " ".join(f"{row[method].get(k, {}).get('seconds', np.nan):7.1f}" for k in kinds)
        line += f" {method} {times}"
    line += " ratio " + " ".join(f"{ratio(row, k):5.2f}" for k in kinds)
    fit, truth = row["ours"]["cold"], row["truth"]
    if "failed" not in fit:
        line += f" | {fit['law']} k̂ {fit['khat']:.2f}"
    if "judged" in row:
        found = row["judged"]
        heavy = f"{found['heavy']} of heavy tails, " if found["heavy"] else ""
        line += (
            f" | {found['trusted']}/{found['caution']}/{found['untrusted']} trusted/caution/untrusted, {heavy}"
            f"off {found['mean']:.2f} {found['sd']:.2f}, false {len(found['false'])} {found['false'][:4] or ''}"
        )
    if "peer" in row:
        diverged = row["nuts"]["cold"]["diverged"]
        line += f" | NUTS off {row['peer']['mean']:.2f} {row['peer']['sd']:.2f}, {diverged} divergent"
    if "failed" not in truth and doubts(truth):
        line += f" | reference in doubt: {doubts(truth)}"
    for package, found in row.get("r", {}).items():
        line += f" | {package} {found if isinstance(found, str) else f'{found:.1f} s'}"
    failed = [
        f"\n    {method} {kind}: {found['failed']}"
        for method in ("ours", "nuts")
        for kind, found in row[method].items()
        if "failed" in found
    ]
    failed += [f"\n    reference: {truth['failed']}"] if "failed" in truth else []
    trail = [f"\n    {words}" for words in fit.get("trail", ())] if options.trail else []
    return line + "".join(failed) + "".join(trail)


def summary(rows) -> str:
    """Medians and worst of the ratios, shares of verdicts, and false trusts."""
    out = []
    for kind in ("cold", "warm"):
        found = {row["name"]: ratio(row, kind) for row in rows if np.isfinite(ratio(row, kind))}
        if found:
            worst = max(found, key=found.get)
            median = np.median(list(found.values()))
            out.append(
                f"elboroom / NUTS, {kind}: median {median:.2f}, most {found[worst]:.2f} ({worst}), "
                f"dearer in {sum(v > 1 for v in found.values())} of {len(found)}"
            )
    seen = [row for row in rows if "judged" in row]
    if seen:
        trusted = [row["judged"]["trusted"] for row in seen]
        every = [sum(row["judged"][v] for v in ("trusted", "caution", "untrusted")) for row in seen]
        doubted = sum(len(row["judged"]["false"]) for row in seen if doubts(row["truth"]))
        false = sum(len(row["judged"]["false"]) for row in seen) - doubted
        shares = np.array(trusted) / np.array(every)
        out.append(
            f"trusted {sum(trusted) / sum(every):.3f} of {sum(every)} quantities, mean share of a model {shares.mean():.3f}; "
            f"false trusts {false} (and {doubted} against references in doubt)"
        )
    failed = [row["name"] for row in rows if "failed" in row["ours"]["cold"]]
    out.append(f"no fit: {', '.join(failed) or 'none'}")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(PAIRS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    timing = parser.add_mutually_exclusive_group()
    timing.add_argument("--cold", action="store_true", help="with an empty cache only")
    timing.add_argument("--warm", action="store_true", help="show times with a full cache only")
    parser.add_argument("--no-refine", action="store_true", help="fits without chains after them")
    parser.add_argument("--alone", action="store_true", help="fits without NUTS beside them")
    parser.add_argument("--limit", type=int, default=600, help="seconds of the processor for a fit")
    parser.add_argument("--reference", type=Path, help="folder that keeps the long runs")
    parser.add_argument("--draws", type=int, default=10_000, help="of each of four chains of a reference")
    parser.add_argument("--r", action="store_true", help="time lme4, glmmTMB and rstanarm as well")
    parser.add_argument("--trail", action="store_true", help="print what each fit did")
    parser.add_argument("--out", type=Path, help="JSON of all that was found")
    parser.add_argument("--worker", choices=sorted(METHODS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.only or list(PAIRS)
    if options.worker:
        imported()
        end = int(time.process_time()) + options.limit
        resource.setrlimit(resource.RLIMIT_CPU, (end, end + 5))
        print(json.dumps(METHODS[options.worker](PAIRS[names[0]], options)))
        return
    if options.r and not shutil.which("Rscript"):
        print("lme4, glmmTMB and rstanarm are skipped: there is no Rscript")
        options.r = False
    rows = []
    for name in names:
        row = measured(name, options)
        if "failed" not in row["truth"]:
            for method, key in (("ours", "judged"), ("nuts", "peer")):
                if "failed" not in row[method].get("cold", {"failed": ""}):
                    row[key] = judged(row[method]["cold"], row["truth"])
        rows.append(row)
        print(described(row, options), flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows))
    print(f"\n{summary(rows)}")


if __name__ == "__main__":
    main()

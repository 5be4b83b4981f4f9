"""Flows against the best Gaussian and NumPyro's flow guides, in one run.

    python benchmarks/flows.py [--folder DIR] [--only NAME] [--seeds 3] [--kinds iaf affine spline] [--peers] [--torch]

A kind may say what it bends: iaf/all, iaf/globals. On PyTorch the funnel and the banana are fitted.

Each target is fitted by the best Gaussian, by flows, and, with ``--peers``, by NumPyro's AutoBNAFNormal and AutoIAFNormal
(Adam at 0.01, 10,000 steps, their defaults). Errors: of sds, in percent, against the truth; of the funnel's tails the
5, 50 and 95% quantiles, in interquartile ranges, since their sds cannot be measured. Our k̂ is that of the pool of draws,
a peer's that of as many draws of its guide. Our errors are those of what `fit` weighs, theirs of the guide's own draws.
Truths are closed forms, or reference draws.

Times are whole fits, compilation included, in a fresh process with an empty cache, on one thread; ratios above one
are ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PEERS = ("AutoBNAFNormal", "AutoIAFNormal")
STEPS, RATE, DRAWS = 10_000, 0.01, 16_000
SD, BEND = 10.0, 0.05


def funnel(dim=10):
    """Neal's funnel, in coordinates that no reparametrisation undoes."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    v = numpyro.sample("v", dist.Normal(0, 3))
    x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real, (), (dim - 1,)))
    numpyro.factor("funnel", -0.5 * jnp.sum(x * x) * jnp.exp(-v) - 0.5 * (dim - 1) * v)


def banana():
    """A Gaussian bent along a parabola."""
    import numpyro
    import numpyro.distributions as dist

    z = numpyro.sample("z", dist.ImproperUniform(dist.constraints.real, (), (2,)))
    bent = z[1] + BEND * (z[0] ** 2 - SD**2)
    numpyro.factor("banana", -0.5 * (z[0] / SD) ** 2 - 0.5 * bent**2)


def declared(name):
    """The funnel or the banana as a declared model, which runs on PyTorch too."""
    from elboroom.ppl.constraints import real

    import elboroom as er

    m = er.math

    @er.model
    def funnel(dim=10):
        v = er.sample("v", er.Normal(0, 3))
        x = er.sample("x", er.ImproperUniform(real, (dim - 1,)))
        er.factor("funnel", -0.5 * m.sum(x * x) * m.exp(-v) - 0.5 * (dim - 1) * v)

    @er.model
    def banana():
        z = er.sample("z", er.ImproperUniform(real, (2,)))
        bent = z[1] + BEND * (z[0] ** 2 - SD**2)
        er.factor("banana", -0.5 * (z[0] / SD) ** 2 - 0.5 * bent**2)

    return {"funnel": funnel, "banana": banana}[name]()


def funnel_truth():
    from scipy.optimize import brentq
    from scipy.stats import norm

    node, weight = np.polynomial.hermite_e.hermegauss(200)

    def quantile(p):
        def excess(x):
            return weight @ norm.cdf(x * np.exp(-1.5 * node)) / weight.sum() - p

        return brentq(excess, -1e4, 1e4)

    low, first, third, high = map(quantile, (0.05, 0.25, 0.75, 0.95))
    rows = {f"x[{i}]": {"q5": low, "median": 0.0, "q95": high, "iqr": third - first} for i in range(9)}
    return {"v": {"sd": 3.0}} | rows


def cases(folder: Path):
    """Name to model, its arguments and the truth."""
    found = {
        "funnel": (funnel, {}, funnel_truth()),
        "banana": (
            banana,
            {},
            {"z[0]": {"sd": SD}, "z[1]": {"sd": float(np.sqrt(1 + 2 * BEND**2 * SD**4))}},
        ),
    }
    from posteriordb import label, load

    if not (folder / "models.py").exists():
        print(f"eight schools and GLMM skipped: no reference posteriors in {folder} (pass --folder)")
        return found
    for name in ("eight_schools-eight_schools_centered", "GLMM_Poisson_data-GLMM_Poisson_model"):
        reference = json.loads((folder / "reference" / f"{name}.json").read_text())
        truth = {label(k): {"sd": v["sd"]} for k, v in reference.items() if v["sd"] > 0}
        found[name.split("-")[0]] = (*load(folder, name), truth)
    return found


def errors(draws: dict, weights, truth: dict) -> tuple[float, float]:
    """Largest error of an sd, and of a quantile in interquartile ranges."""
    sds, quantiles = [0.0], [0.0]
    for key, row in truth.items():
        name, _, rest = key.partition("[")
        value = draws[name][(slice(None), *(int(i) for i in rest.strip("]").split(",") if i))]
        if "sd" in row:
            mean = weights @ value
            sds.append(abs(np.sqrt(weights @ (value - mean) ** 2) / row["sd"] - 1))
        if "iqr" in row:
            order = np.argsort(value)
            found = np.interp([0.05, 0.5, 0.95], np.cumsum(weights[order]), value[order])
            gap = np.abs(found - [row["q5"], row["median"], row["q95"]]).max()
            quantiles.append(gap / row["iqr"])
    return float(max(sds)), float(max(quantiles))


def ours(model, kwargs, truth, guide, seed, backend):
    import elboroom as er

    program = declared(model.__name__) if backend == "torch" else er.from_numpyro(model)(**kwargs)
    kind, _, over = guide.partition("/")
    family = er.Flow(kind, over=over or None) if kind in ("iaf", "affine", "spline") else guide
    begin = time.perf_counter()
    posterior = er.fit(program, guide=family, seed=seed, backend=backend, refine=False, progress=False)
    seconds = time.perf_counter() - begin
    from elboroom.inference.evidence.pool import draw_pool
    from elboroom.inference.posterior.posterior import record_of

    target, rng = record_of(posterior).target, np.random.default_rng(seed)
    law = record_of(posterior).outcome.law
    khat, weights, z = posterior.khat, law.weights, law.z
    if law.kind == "guide":
        pool = draw_pool(target.value_and_grad, posterior.guide.at(posterior.params), DRAWS, rng)
        khat, weights, z = pool.khat, pool.weights, pool.z
    weights = np.full(len(z), 1 / len(z)) if weights is None else weights
    sd, quantile = errors(target.constrain(z), weights, truth)
    verdicts = [v for v in posterior.table["verdict"] if v is not None]
    share = np.mean([v == "trusted" for v in verdicts])
    return {
        "seconds": seconds,
        "compile": posterior.cost.compile_seconds,
        "khat": khat,
        "sd": sd,
        "quantile": quantile,
        "law": posterior.law,
        "trusted": share,
    }


def peer(model, kwargs, truth, guide, seed):
    import jax

    jax.config.update("jax_enable_x64", True)
    import numpyro
    from elboroom.inference.evidence.psis import smooth
    from numpyro.infer import SVI, Trace_ELBO, autoguide

    import elboroom as er

    begin = time.perf_counter()
    law = getattr(autoguide, guide)(model)
    svi = SVI(model, law, numpyro.optim.Adam(RATE), Trace_ELBO())
    result = svi.run(jax.random.PRNGKey(seed), STEPS, progress_bar=False, **kwargs)

    @jax.jit
    def drawn(params, key):
        posterior = law.get_posterior(params)
        z, between = posterior.sample_with_intermediates(key, (DRAWS,))
        unpacked = jax.vmap(law._unpack_latent)(z)  # noqa: SLF001  NumPyro has no public name for it
        return unpacked, posterior.log_prob(z, between)

    sites, log_prob = jax.tree.map(np.asarray, drawn(result.params, jax.random.PRNGKey(seed + 1)))
    seconds = time.perf_counter() - begin
    target = er.from_numpyro(model)(**kwargs).target("jax")
    z = np.concatenate([sites[site.name].reshape(DRAWS, -1) for site in target.sites], 1)
    weights, khat = smooth(target.value_and_grad(z)[0] - log_prob)
    draws = target.constrain(z)
    sd, quantile = errors(draws, np.full(DRAWS, 1 / DRAWS), truth)
    return {
        "seconds": seconds,
        "khat": khat,
        "sd": sd,
        "quantile": quantile,
        "weighted": errors(draws, weights, truth)[0],
    }


def worker(options):
    model, kwargs, truth = cases(options.folder)[options.only]
    if options.guide in PEERS:
        return peer(model, kwargs, truth, options.guide, options.seed)
    return ours(model, kwargs, truth, options.guide, options.seed, options.backend)


def timed(options, name, guide, seed, backend="jax"):
    """One fit in a process of its own, on one thread, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        env = {
            **os.environ,
            "ELBOROOM_CACHE": cache,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        }
        command = [
            sys.executable,
            __file__,
            "--folder",
            str(options.folder),
            "--only",
            name,
            "--guide",
            guide,
        ]
        command += ["--seed", str(seed), "--backend", backend]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=os.environ.get("ELBOROOM_POSTERIORDB", "../shared/posteriordb")
    )
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=["iaf", "affine", "spline"])
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--guide", help="this guide alone, in this process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--torch", action="store_true", help="the first kind on PyTorch also")
    options = parser.parse_args()
    options.folder = Path(options.folder).resolve()
    if options.guide:
        print(json.dumps(worker(options), default=float))
        return
    print(f"{'target':14s} {'guide':16s} seed    k̂   sd %  quantiles   s (compile)")
    for name in [name for name in cases(options.folder) if options.only in name]:
        seconds: dict = {}
        torch = ["torch"] if options.torch and name in {"funnel", "banana"} else []
        guides = ["full-rank", *options.kinds, *torch, "auto", *(PEERS if options.peers else ())]
        for guide in guides:
            backend = "torch" if guide == "torch" else "jax" if guide in PEERS else options.backend
            for seed in range(options.seeds):
                own = options.kinds[0] if guide == "torch" else guide
                got = timed(options, name, own, seed, backend)
                seconds.setdefault(guide, []).append(got["seconds"])
                words = (
                    f"({got['compile']:.1f}), {got['law']}, trusted {got['trusted']:.2f}"
                    if "law" in got
                    else ""
                )
                print(
                    f"{name[:14]:14s} {guide:16s} {seed:4d} {got['khat']:5.2f} {100 * got['sd']:6.1f} "
                    f"{got['quantile']:8.2f} {got['seconds']:8.1f} {words}",
                    flush=True,
                )
        if options.peers:
            own = np.mean(seconds[options.kinds[0]])
            ratios = ", ".join(f"{guide} {np.mean(seconds[guide]) / own:.1f}" for guide in PEERS)
            print(f"{name[:14]:14s} seconds of peers over those of {options.kinds[0]}: {ratios}", flush=True)


if __name__ == "__main__":
    main()

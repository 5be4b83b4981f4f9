"""How the structured guide grows: varying intercepts and slopes, and a local level, against exact answers and peers.

    python benchmarks/scaling.py [--sizes 1000 10000 100000] [--peers] [--free] [--timeout 300]

With variances fixed the posterior is Gaussian: means and sds of every group, or step, have an exact answer (block
elimination; the Kalman smoother), and the errors are root mean squares over elements, in posterior sds and as a
fraction. Every size runs in a process of its own on one thread; seconds and megabytes are those of the fit per
gradient row and at its peak. ``--free`` compares models with unknown variances at the first size with a long NUTS
run. ``--peers`` adds NumPyro's AutoNormal and AutoLowRankMultivariateNormal and Pyro's AutoStructured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

ROWS, STEPS = 5, 2000  # rows per group; Adam steps of a peer


def groups(size):
    """Rows of `size` groups with their own intercept and slope."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(size), ROWS)
    x = rng.normal(size=len(group))
    y = rng.normal(rng.normal(1, 1, size)[group] + rng.normal(-0.5, 0.5, size)[group] * x, 1.0)
    return group, x, y


def series(size):
    """A random walk seen through noise."""
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(0, 0.5, size)) + rng.normal(0, 1.0, size)


def exact_groups(group, x, y):
    """Means and sds of intercepts and slopes: the groups eliminated one by one, by hand."""
    size = group.max() + 1
    shared = np.array([1.0, 0.25])  # prior variances of intercepts and slopes
    total = np.zeros((size, 2, 2))
    rhs = np.zeros((size, 2))
    row = np.stack([np.ones_like(x), x], 1)
    np.add.at(total, group, row[:, :, None] * row[:, None, :])
    np.add.at(rhs, group, row * y[:, None])
    own = np.linalg.inv(total + np.diag(1 / shared))  # of a group, given the means
    link = -np.diag(1 / shared)
    schur = np.eye(2) / 25 + size * np.diag(1 / shared) - (link @ own @ link).sum(0)
    covariance = np.linalg.inv(schur)
    mean = covariance @ -(link @ own @ rhs[..., None])[..., 0].sum(0)
    local = (own @ (rhs - link @ mean)[..., None])[..., 0]
    pull = own @ link
    variance = own + pull @ covariance @ np.swapaxes(pull, 1, 2)
    sd = np.sqrt(np.diagonal(variance, axis1=1, axis2=2))
    return np.concatenate([local[:, 0], local[:, 1]]), np.concatenate([sd[:, 0], sd[:, 1]])


def exact_series(y, drift=0.5, noise=1.0, first=0.5):
    """Kalman filter and Rauch–Tung–Striebel smoother of the local level."""
    count = len(y)
    m, v, ahead = np.empty(count), np.empty(count), np.empty(count)
    mean, variance = 0.0, first**2
    for t in range(count):
        ahead[t] = variance
        gain = variance / (variance + noise**2)
        m[t], v[t] = mean + gain * (y[t] - mean), (1 - gain) * variance
        mean, variance = m[t], v[t] + drift**2
    for t in range(count - 2, -1, -1):
        gain = v[t] / ahead[t + 1]
        m[t] += gain * (m[t + 1] - m[t])
        v[t] += gain**2 * (v[t + 1] - ahead[t + 1])
    return m, np.sqrt(v)


def programs(kind, size):
    """The declared model, its outcome sites' names in the order of the exact answer, and the answer."""
    import elboroom as er

    if kind.startswith("groups"):
        group, x, y = groups(size)

        @er.model
        def plates(group, x, y, size):
            mu = er.sample("mu", er.Normal(0, 5))
            beta = er.sample("beta", er.Normal(0, 5))
            with er.plate("group", size):
                a = er.sample("a", er.Normal(mu, 1.0))
                b = er.sample("b", er.Normal(beta, 0.5))
            with er.plate("row", len(y)):
                er.observe("y", er.Normal(a[group] + b[group] * x, 1.0), y)

        @er.model
        def gathers(group, x, y, size):
            mu = er.sample("mu", er.Normal(0, 5))
            beta = er.sample("beta", er.Normal(0, 5))
            a = er.sample("a", er.Normal(mu, 1.0).expand([size]).to_event(1))
            b = er.sample("b", er.Normal(beta, 0.5).expand([size]).to_event(1))
            er.observe("y", er.Normal(a[group] + b[group] * x, 1.0), y)

        @er.model
        def free(group, x, y, size):
            mu = er.sample("mu", er.Normal(0, 5))
            beta = er.sample("beta", er.Normal(0, 5))
            tau = er.sample("tau", er.HalfNormal(2).expand([2]).to_event(1))
            sigma = er.sample("sigma", er.HalfNormal(2))
            with er.plate("group", size):
                a = er.sample("a", er.Normal(mu, tau[0]))
                b = er.sample("b", er.Normal(beta, tau[1]))
            with er.plate("row", len(y)):
                er.observe("y", er.Normal(a[group] + b[group] * x, sigma), y)

        made = {"groups": plates, "groups-gathers": gathers, "groups-free": free}[kind]
        return made(group, x, y, size), ("a", "b"), lambda: exact_groups(group, x, y)
    y = series(size)

    @er.model
    def level(y):
        x = er.sample("x", er.GaussianRandomWalk(0.5, len(y)))
        with er.plate("time", len(y)):
            er.observe("y", er.Normal(x, 1.0), y)

    @er.model
    def level_free(y):
        drift = er.sample("drift", er.HalfNormal(1))
        noise = er.sample("noise", er.HalfNormal(2))
        x = er.sample("x", er.GaussianRandomWalk(drift, len(y)))
        with er.plate("time", len(y)):
            er.observe("y", er.Normal(x, noise), y)

    return {"series": level, "series-free": level_free}[kind](y), ("x",), lambda: exact_series(y)


def peak() -> float:
    """Largest resident set so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def against(mean, sd, answer) -> dict:
    """Root mean square errors over elements."""
    return {
        "mean": float(np.sqrt((((mean - answer[0]) / answer[1]) ** 2).mean())),
        "sd": float(np.sqrt(((sd / answer[1] - 1) ** 2).mean())),
    }


def run_structured(kind, size):
    """Starts and structured fit, apart from the evidence, with the guide's exact moments."""
    from elboroom.guides import Affine, Structured
    from elboroom.inference.engines import fit
    from elboroom.inference.engines.sparse_newton import SparseNewton
    from elboroom.inference.engines.starts import dispersed, loose_fits

    program, names, answer = programs(kind, size)
    target = program.target("jax")
    rng = np.random.default_rng(0)
    target.value_and_grad(np.zeros((1, target.dim)))  # compiled
    before, begin = peak(), time.perf_counter()
    found = loose_fits(target.value_and_grad, dispersed(rng, 3, target.dim), rng)
    start = Affine(found.mean[found.best], found.sd[found.best])
    guide = Structured().bind_near(target, start)
    layout, links = guide.structure.layout, guide.structure.links
    fitted = fit(SparseNewton(target.value_and_grad, rng, layout, links), start).transport
    seconds, rows = time.perf_counter() - begin, target.counter.num_gradients
    mean, sd = fitted.marginals()
    where = np.concatenate([np.arange(target.dim)[target.offsets[n]] for n in names])
    return {
        "dim": target.dim,
        "numbers": guide.num_parameters,
        "gradients": rows,
        "seconds": seconds,
        "megabytes": peak() - before,
        **against(mean[where], sd[where], answer()),
    }


def run_fit(kind, size):
    """The whole of `er.fit`, evidence included."""
    import elboroom as er

    program, names, _ = programs(kind, size)
    begin = time.perf_counter()
    posterior = er.fit(program, progress=False)
    seconds = time.perf_counter() - begin
    table = posterior.summary()
    labels = [i for i, label in enumerate(table.index) if label.split("[")[0] in names]
    share = float((table["verdict"] == "trusted").mean())
    return {
        "seconds": seconds,
        "trusted": share,
        "law": posterior.law,
        "khat": posterior.khat,
        "means": table["mean"].iloc[labels].tolist(),
        "sds": table["sd"].iloc[labels].tolist(),
    }


def run_nuts(kind, size):
    """Long NumPyro NUTS on the same model with its local sites non-centred."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    jax.config.update("jax_enable_x64", True)

    def groups_free(group, x, y):
        mu, beta = (numpyro.sample(n, dist.Normal(0, 5)) for n in ("mu", "beta"))
        tau = numpyro.sample("tau", dist.HalfNormal(2).expand([2]).to_event(1))
        sigma = numpyro.sample("sigma", dist.HalfNormal(2))
        raw = numpyro.sample("raw", dist.Normal(0, 1).expand([2, size]).to_event(2))
        a = numpyro.deterministic("a", mu + tau[0] * raw[0])
        b = numpyro.deterministic("b", beta + tau[1] * raw[1])
        numpyro.sample("y", dist.Normal(a[group] + b[group] * x, sigma), obs=y)

    def series_free(y):
        drift = numpyro.sample("drift", dist.HalfNormal(1))
        noise = numpyro.sample("noise", dist.HalfNormal(2))
        x = numpyro.sample("x", dist.GaussianRandomWalk(drift, len(y)))
        numpyro.sample("y", dist.Normal(x, noise), obs=y)

    model, data = (groups_free, groups(size)) if kind == "groups-free" else (series_free, (series(size),))
    begin = time.perf_counter()
    mcmc = MCMC(
        NUTS(model),
        num_warmup=1000,
        num_samples=4000,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(0), *data)
    draws = mcmc.get_samples()
    names = ("a", "b") if kind == "groups-free" else ("x",)
    flat = np.concatenate([np.asarray(draws[n]) for n in names], 1)
    return {
        "seconds": time.perf_counter() - begin,
        "means": flat.mean(0).tolist(),
        "sds": jnp.std(flat, 0).tolist(),
    }


def run_numpyro(kind, size, guide_name):
    """A NumPyro autoguide with Adam."""
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, Trace_ELBO, autoguide

    jax.config.update("jax_enable_x64", True)

    def model_groups(group, x, y):
        mu, beta = (numpyro.sample(n, dist.Normal(0, 5)) for n in ("mu", "beta"))
        a = numpyro.sample("a", dist.Normal(mu, 1.0).expand([size]).to_event(1))
        b = numpyro.sample("b", dist.Normal(beta, 0.5).expand([size]).to_event(1))
        numpyro.sample("y", dist.Normal(a[group] + b[group] * x, 1.0), obs=y)

    def model_series(y):
        x = numpyro.sample("x", dist.GaussianRandomWalk(0.5, len(y)))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)

    model, data = (model_groups, groups(size)) if kind == "groups" else (model_series, (series(size),))
    answer = exact_groups(*data) if kind == "groups" else exact_series(*data)
    names = ("a", "b") if kind == "groups" else ("x",)
    before, begin = peak(), time.perf_counter()
    guide = getattr(autoguide, guide_name)(model)
    svi = SVI(model, guide, numpyro.optim.Adam(0.01), Trace_ELBO())
    found = svi.run(jax.random.PRNGKey(0), STEPS, *data, progress_bar=False)
    draws = guide.sample_posterior(jax.random.PRNGKey(1), found.params, sample_shape=(400,))
    flat = np.concatenate([np.asarray(draws[n]) for n in names], 1)
    return {
        "seconds": time.perf_counter() - begin,
        "megabytes": peak() - before,
        "gradients": STEPS,
        **against(flat.mean(0), flat.std(0), answer),
    }


def run_pyro(kind, size):
    """Pyro's AutoStructured with Adam, locals conditional on nothing, as its default dependencies have it."""
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoStructured
    from pyro.optim import Adam

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    pyro.set_rng_seed(0)
    group, x, y = groups(size)
    answer = exact_groups(group, x, y)
    group, x, y = (torch.as_tensor(v) for v in (group, x, y))

    def model():
        mu, beta = (pyro.sample(n, dist.Normal(0.0, 5.0)) for n in ("mu", "beta"))
        a = pyro.sample("a", dist.Normal(mu, 1.0).expand([size]).to_event(1))
        b = pyro.sample("b", dist.Normal(beta, 0.5).expand([size]).to_event(1))
        pyro.sample("y", dist.Normal(a[group] + b[group] * x, 1.0).to_event(1), obs=y)

    before, begin = peak(), time.perf_counter()
    guide = AutoStructured(
        model,
        conditionals={"mu": "normal", "beta": "normal", "a": "normal", "b": "normal"},
        dependencies={"beta": {"mu": "linear"}, "a": {"mu": "linear"}, "b": {"beta": "linear"}},
    )
    svi = SVI(model, guide, Adam({"lr": 0.01}), Trace_ELBO())
    for _ in range(STEPS):
        svi.step()
    with torch.no_grad():
        draws = [guide() for _ in range(400)]
    flat = np.concatenate([np.stack([d[n].numpy() for d in draws]) for n in ("a", "b")], 1)
    return {
        "seconds": time.perf_counter() - begin,
        "megabytes": peak() - before,
        "gradients": STEPS,
        **against(flat.mean(0), flat.std(0), answer),
    }


METHODS = {
    "structured": run_structured,
    "fit": run_fit,
    "nuts": run_nuts,
    "AutoNormal": lambda kind, size: run_numpyro(kind, size, "AutoNormal"),
    "AutoLowRank": lambda kind, size: run_numpyro(kind, size, "AutoLowRankMultivariateNormal"),
    "AutoStructured": run_pyro,
}


def timed(method, kind, size, timeout):
    """One method in a process of its own, on one thread."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    command = [sys.executable, __file__, "--worker", method, "--kind", kind, "--sizes", str(size)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **dict.fromkeys(threads, "1"), "XLA_FLAGS": flags},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def exponent(sizes, values) -> float:
    """Slope of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--kinds", nargs="+", default=["groups", "series"])
    parser.add_argument("--kind", default="groups")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds per peer and size")
    parser.add_argument("--worker", choices=METHODS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(METHODS[options.worker](options.kind, options.sizes[0])))
        return
    for kind in options.kinds:
        grown(kind, options)
    same_guides()
    for kind in ("groups-free", "series-free") if options.free else ():
        against_nuts(kind, options.sizes[0])


def grown(kind, options):
    """One kind at every size, by every method, and the exponents of ours."""
    peers = ("AutoNormal", "AutoLowRank", "AutoStructured") if options.peers else ()
    ours = []
    for size in options.sizes:
        for method in ("structured", *peers):
            if method == "AutoStructured" and kind == "series":
                continue  # it has no conditionals along an axis
            got = timed(method, kind, size, 3600 if method == "structured" else options.timeout)
            if got is None:
                print(f"{kind:8s} {size:7d} {method:14s} did not survive", flush=True)
                continue
            if method == "structured":
                ours.append(got)
            print(
                f"{kind:8s} {size:7d} {method:14s} {got['seconds']:8.2f} s, {got['gradients']:6d} gradients, "
                f"{1e3 * got['seconds'] / got['gradients']:8.3f} ms each, peak {got['megabytes']:7.0f} MB, "
                f"errors: mean {got['mean']:.4f} sd {got['sd']:.4f}",
                flush=True,
            )
    if len(ours) > 1:
        each = [g["seconds"] / g["gradients"] for g in ours]
        print(
            f"{kind:8s} exponents: time {exponent(options.sizes, each):.2f}, "
            f"memory {exponent(options.sizes, [g['megabytes'] for g in ours]):.2f}, "
            f"numbers {exponent(options.sizes, [g['numbers'] for g in ours]):.2f}"
        )


def same_guides():
    """Whether groups that are plates and groups that are gathered have one structure."""
    from elboroom.guides import Structured

    one, other = (Structured().bind(programs(k, 1000)[0].target("jax")) for k in ("groups", "groups-gathers"))
    same = all(np.array_equal(one.layout[name], other.layout[name]) for name in ("rows", "cols"))
    print(f"plates and gathers give the same guide: {same}")


def against_nuts(kind, size):
    """A kind without known scales: the whole fit against chains."""
    got, long = (timed(method, kind, size, 3600) for method in ("fit", "nuts"))
    errors = against(
        *(np.array(g[k]) for g, k in ((got, "means"), (got, "sds"))),
        np.array([long["means"], long["sds"]]),
    )
    print(
        f"{kind}: errors against NUTS mean {errors['mean']:.4f} sd {errors['sd']:.4f}; fit {got['seconds']:.1f} s "
        f"({got['law']}, k̂ {got['khat']:.2f}, trusted {got['trusted']:.3f}), NUTS {long['seconds']:.1f} s"
    )


if __name__ == "__main__":
    main()

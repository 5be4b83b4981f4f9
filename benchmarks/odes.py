"""Differential equations: fits of `er.odeint` and of NumPyro models that solve, against NumPyro's NUTS.

    python benchmarks/odes.py [--only NAME] [--methods declared numpyro nuts] [--seed 0]

The lynx and the hare (21 years of pelts) and one compartment with saturated elimination (twenty concentrations, simulated).
Methods: ``declared`` and ``torch``, a model of our language on either backend; ``numpyro``, a NumPyro model that calls
``jax.experimental.ode.odeint``, fitted as it is; ``nuts``, NumPyro's NUTS on that model, four chains of 1,000 + 1,000, one
after the other; ``diffrax``, the same with diffrax, where it is installed. Processor seconds with compilation, one thread
and a process each. Errors are against a NUTS of four times 1,000 + 5,000, in its sds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

HARE = "30 47.2 70.2 77.4 36.3 20.6 18.1 21.4 22 25.4 27.1 40.3 57 76.6 52.3 19.5 11.2 7.6 14.6 16.2 24.7"
LYNX = "4 6.1 9.8 35.2 59.4 41.7 19 13 8.3 9.1 7.4 8 12.3 19.5 45.7 51.1 29.7 15.8 9.7 10.1 8.6"
DOSE, VOLUME = 30.0, 2.0
TOLERANCES = {"rtol": 1e-6, "atol": 1e-6}
METHODS = ("declared", "torch", "numpyro", "nuts", "diffrax")


def pelts():
    """Years since the first, and pelts in thousands: hares and lynxes."""
    return np.arange(21.0), np.stack([np.array(text.split(), float) for text in (HARE, LYNX)], 1)


def concentrations():
    """Times with that of the dose first, and concentrations at the others."""
    from scipy.integrate import solve_ivp

    times = np.linspace(0, 10, 21)
    rates = np.array([0.75, 0.25, 1.0])
    path = solve_ivp(compartment, (0, 10), [0.0], "Radau", times, args=tuple(rates), rtol=1e-9, atol=1e-9).y[
        0
    ]
    return times, path[1:] * np.exp(0.1 * np.random.default_rng(0).normal(size=20))


def predation(t, z, alpha, beta, gamma, delta):
    return [(alpha - beta * z[1]) * z[0], (-gamma + delta * z[0]) * z[1]]


def compartment(t, c, absorption, half, fastest):
    import elboroom as er

    taken = absorption * DOSE * er.math.exp(-absorption * t) / VOLUME
    return [taken - fastest / VOLUME * c[0] / (half + c[0])]


def declared(name):
    """A model of our language, bound to its data."""
    import elboroom as er

    @er.model
    def lotka_volterra(times, y):
        a = er.sample("alpha", er.TruncatedNormal(1, 0.5, low=0))
        b = er.sample("beta", er.TruncatedNormal(0.05, 0.05, low=0))
        c = er.sample("gamma", er.TruncatedNormal(1, 0.5, low=0))
        d = er.sample("delta", er.TruncatedNormal(0.05, 0.05, low=0))
        sigma = er.sample("sigma", er.LogNormal(-1, 1).expand([2]))
        first = er.sample("first", er.LogNormal(np.log(10), 1).expand([2]))
        z = er.odeint(predation, first, times, a, b, c, d, **TOLERANCES)
        er.observe("y", er.LogNormal(er.math.log(z), sigma), y)

    @er.model
    def one_compartment(times, y):
        absorption = er.sample("absorption", er.HalfCauchy(1))
        half = er.sample("half", er.HalfCauchy(1))
        fastest = er.sample("fastest", er.HalfCauchy(1))
        sigma = er.sample("sigma", er.HalfCauchy(1))
        c = er.odeint(compartment, [0.0], times, absorption, half, fastest, **TOLERANCES)
        er.observe("y", er.LogNormal(er.math.log(c[1:, 0]), sigma), y)

    return lotka_volterra(*pelts()) if name == "lotka_volterra" else one_compartment(*concentrations())


def in_numpyro(name, solver="jax"):
    """The same in NumPyro, and its data."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from jax.experimental.ode import odeint

    def solve(field, y0, times, *args):
        if solver == "jax":
            return odeint(
                lambda y, t, *args: jnp.stack(field(t, y, *args)), y0, times, *args, **TOLERANCES, mxstep=1000
            )
        import diffrax as dx

        return dx.diffeqsolve(
            dx.ODETerm(lambda t, y, args: jnp.stack(field(t, y, *args))),
            *(dx.Tsit5(), times[0], times[-1], None, y0, args),
            saveat=dx.SaveAt(ts=times),
            stepsize_controller=dx.PIDController(**TOLERANCES),
            max_steps=2000,
            throw=False,
        ).ys

    def lotka_volterra(times, y):
        low, wide = jnp.array([1, 0.05, 1, 0.05]), jnp.array([0.5, 0.05, 0.5, 0.05])
        sites = zip(("alpha", "beta", "gamma", "delta"), low, wide, strict=True)
        rates = [numpyro.sample(k, dist.TruncatedNormal(loc, scale, low=0.0)) for k, loc, scale in sites]
        sigma = numpyro.sample("sigma", dist.LogNormal(-1, 1).expand([2]).to_event(1))
        first = numpyro.sample("first", dist.LogNormal(jnp.log(10.0), 1).expand([2]).to_event(1))
        z = solve(predation, first, times, *rates)
        numpyro.sample("y", dist.LogNormal(jnp.log(z), sigma), obs=y)

    def one_compartment(times, y):
        rates = [numpyro.sample(k, dist.HalfCauchy(1)) for k in ("absorption", "half", "fastest")]
        sigma = numpyro.sample("sigma", dist.HalfCauchy(1))
        c = solve(compartment, jnp.zeros(1), times, *rates)
        numpyro.sample("y", dist.LogNormal(jnp.log(c[1:, 0]), sigma), obs=y)

    return (lotka_volterra, pelts()) if name == "lotka_volterra" else (one_compartment, concentrations())


def nuts(name, solver, num_samples, seed):
    """Mean and sd of each quantity, and the largest R̂, of NumPyro's chains."""
    import jax
    from numpyro.diagnostics import gelman_rubin
    from numpyro.infer import MCMC, NUTS, init_to_median

    jax.config.update("jax_enable_x64", True)
    model, data = in_numpyro(name, solver)
    chains = MCMC(
        NUTS(model, init_strategy=init_to_median),
        num_warmup=1000,
        num_samples=num_samples,
        num_chains=4,
        chain_method="sequential",
        progress_bar=False,
    )
    chains.run(jax.random.key(seed), *data)
    draws = {k: np.asarray(v) for k, v in chains.get_samples(group_by_chain=True).items()}
    moments = {k: (v.mean((0, 1)).ravel().tolist(), v.std((0, 1)).ravel().tolist()) for k, v in draws.items()}
    return moments, f"R-hat {max(float(np.max(gelman_rubin(v))) for v in draws.values()):.3f}"


def ours(name, method, seed):
    """Mean and sd of each quantity of a fit, and its verdicts."""
    import elboroom as er

    if method == "numpyro":
        model, data = in_numpyro(name)
        program = er.from_numpyro(model)(*data)
    else:
        program = declared(name)
    posterior = er.fit(program, backend="torch" if method == "torch" else "jax", seed=seed, progress=False)
    table = posterior.summary()
    found: dict = {}
    for label, row in table.iterrows():
        means, sds = found.setdefault(label.partition("[")[0], ([], []))
        means.append(float(row["mean"]))
        sds.append(float(row["sd"]))
    verdicts = table["verdict"].value_counts().to_dict()
    return found, ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())


def run(name, method, seed):
    """One method in this process, as JSON on its last line."""
    begin = time.process_time()
    if method in ("nuts", "diffrax", "reference"):
        solver = "diffrax" if method == "diffrax" else "jax"
        moments, words = nuts(name, solver, 5000 if method == "reference" else 1000, seed)
    else:
        moments, words = ours(name, method, seed)
    print(json.dumps({"moments": moments, "words": words, "seconds": time.process_time() - begin}))


def apart(name, method, seed):
    """One method in a process of its own; None where it fails."""
    one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    settings = {"XLA_FLAGS": one, "OMP_NUM_THREADS": "1", "ELBOROOM_CACHE": "off"}
    command = [sys.executable, __file__, "--run", name, method, "--seed", str(seed)]
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{name:16} {method:9} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run, options.seed)
        return
    for name in ("lotka_volterra", "one_compartment"):
        if options.only not in (None, name):
            continue
        long = apart(name, "reference", 1000 + options.seed)
        print(f"{name:16} reference {long['seconds']:6.0f} s  {long['words']}", flush=True)
        for method in options.methods:
            found = apart(name, method, options.seed)
            if found is None:
                continue
            off, wide = 0.0, 0.0
            for key, (means, sds) in long["moments"].items():
                mean, sd = (np.array(part) for part in found["moments"][key])
                off = max(off, np.abs((mean - means) / sds).max())
                wide = max(wide, np.abs(sd / sds - 1).max())
            print(
                f"{name:16} {method:9} {found['seconds']:6.0f} s  mean off by {off:.3f} sd, sd by {wide:.1%}  {found['words']}",
                flush=True,
            )


if __name__ == "__main__":
    main()

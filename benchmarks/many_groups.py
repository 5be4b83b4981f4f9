"""Many groups with unknown scales: whole fits, evidence included, against quadrature.

    python benchmarks/many_groups.py [--groups 1000 10000 100000] [--outcomes normal bernoulli] [--rows 10]

Intercepts by group and one covariate; ten rows a group. Given what the groups share every intercept is an integral in one
dimension, so that Gauss-Hermite's rule knows the posterior of what is shared: its mode and curvature, which are mean and
covariance to a part in the square root of the number of groups. Intercepts are compared with their law at that mode. Each fit
runs in a process of its own on one thread; seconds are the processor's, with compilation, and megabytes those at the peak.
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

TRUTH = {"mu": -0.5, "b": 0.8, "tau": 0.7, "sigma": 0.5}
NODES, NEWTON = 25, 12


def data(outcome, groups, rows):
    """Covariate, group and outcome of each row."""
    rng = np.random.default_rng(0)
    group, x = np.repeat(np.arange(groups), rows), rng.normal(size=groups * rows)
    eta = TRUTH["mu"] + TRUTH["b"] * x + TRUTH["tau"] * rng.normal(size=groups)[group]
    if outcome == "normal":
        return x, group, eta + TRUTH["sigma"] * rng.normal(size=len(x))
    return x, group, (rng.random(len(x)) < 1 / (1 + np.exp(-eta))).astype(int)


def program(outcome, groups, x, group, y):
    """The declared model."""
    import elboroom as er

    @er.model
    def intercepts(x, group, y):
        mu = er.sample("mu", er.Normal(0, 2))
        b = er.sample("b", er.Normal(0, 2))
        tau = er.sample("tau", er.HalfNormal(1))
        sigma = er.sample("sigma", er.HalfNormal(1)) if outcome == "normal" else None
        with er.plate("group", groups):
            a = er.sample("a", er.Normal(0, tau))
        eta = mu + b * x + a[group]
        with er.plate("row", len(y)):
            er.observe("y", er.Bernoulli(logits=eta) if sigma is None else er.Normal(eta, sigma), y)

    return intercepts(x, group, y)


def intercepts(outcome, theta, x, group, y):
    """Log density of what is shared, and means and sds of the intercepts given it; rows of a group lie together."""
    mu, b, tau = theta[0], theta[1], np.exp(theta[2])
    eta, first = mu + b * x, np.flatnonzero(np.diff(group, prepend=-1))

    def height(a):
        """Log density of each intercept with its rows, and two derivatives."""
        at = eta + a[group]
        if outcome == "normal":
            s = np.exp(theta[3])
            value = -0.5 * ((y - at) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)
            slope, bend = (y - at) / s**2, np.full(len(y), -1 / s**2)
        else:
            p = 1 / (1 + np.exp(-at))
            value, slope, bend = y * at - np.logaddexp(0, at), y - p, -p * (1 - p)
        value, slope, bend = (np.add.reduceat(part, first) for part in (value, slope, bend))
        prior = -0.5 * (a / tau) ** 2 - np.log(tau) - 0.5 * np.log(2 * np.pi)
        return value + prior, slope - a / tau**2, bend - 1 / tau**2

    a = np.zeros(group[-1] + 1)
    for _ in range(NEWTON):
        _, slope, bend = height(a)
        a = a - slope / bend
    sd = 1 / np.sqrt(-height(a)[2])
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    total, one, two = 0.0, 0.0, 0.0
    level = height(a)[0]
    for node, weight in zip(nodes, weights, strict=True):
        own = weight * np.exp(height(a + sd * node)[0] - level + 0.5 * node**2)
        total, one, two = total + own, one + own * node, two + own * node**2
    density = (np.log(total * sd) + level).sum()
    density -= 0.5 * (mu**2 + b**2) / 4 + 0.5 * tau**2 - theta[2]
    if outcome == "normal":
        density -= 0.5 * np.exp(2 * theta[3]) - theta[3]
    mean = one / total
    return density, a + sd * mean, sd * np.sqrt(two / total - mean**2)


def exact(outcome, x, group, y):
    """Mode and covariance of what is shared, positive quantities by their logs, and the intercepts there."""
    theta = np.array([TRUTH["mu"], TRUTH["b"], np.log(TRUTH["tau"]), np.log(TRUTH["sigma"])])
    theta = theta[: 4 if outcome == "normal" else 3]
    unit, size = 1 / np.sqrt(group[-1] + 1), len(theta)
    for _ in range(4):
        move = unit * np.eye(size)
        here = intercepts(outcome, theta, x, group, y)[0]
        plus, minus = (
            np.array([intercepts(outcome, theta + s * d, x, group, y)[0] for d in move]) for s in (1, -1)
        )
        hessian = np.diag(plus + minus - 2 * here)
        for i in range(size):
            for j in range(i):
                both = intercepts(outcome, theta + move[i] + move[j], x, group, y)[0]
                hessian[i, j] = hessian[j, i] = both - plus[i] - plus[j] + here
        covariance = -np.linalg.inv(hessian) * unit**2
        step = covariance @ (plus - minus) / (2 * unit)
        theta = theta + step
        if (np.abs(step) < 0.01 * np.sqrt(np.diag(covariance))).all():
            break
    return theta, np.sqrt(np.diag(covariance)), *intercepts(outcome, theta, x, group, y)[1:]


def measure(outcome, groups, rows):
    """One fit, and how far it is from the exact answer."""
    import elboroom as er

    x, group, y = data(outcome, groups, rows)
    made = program(outcome, groups, x, group, y)
    begin = time.process_time()
    posterior = er.fit(made, progress=False)
    seconds, peak = time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = posterior.table
    trusted = np.array([v == "trusted" for v in table["verdict"]])
    at = {label: i for i, label in enumerate(table["label"])}
    mean, sd = (np.asarray(table[name], float) for name in ("mean", "sd"))
    theta, spread, local_mean, local_sd = exact(outcome, x, group, y)
    shared = [at[name] for name in ("mu", "b", "tau", "sigma")[: len(theta)]]
    scale = np.where(np.arange(len(theta)) < 2, 1.0, np.exp(theta))
    value = np.where(np.arange(len(theta)) < 2, theta, np.exp(theta))
    own = [at[f"a[{g}]"] for g in range(groups)]
    return {
        "seconds": seconds,
        "megabytes": peak,
        "law": posterior.law,
        "trusted": int(trusted.sum()),
        "quantities": len(trusted),
        "shared": bool(trusted[shared].all()),
        "mean": float(np.abs((mean[shared] - value) / (scale * spread)).max()),
        "sd": float(np.abs(sd[shared] / (scale * spread) - 1).max()),
        "local mean": float(np.sqrt((((mean[own] - local_mean) / local_sd) ** 2).mean())),
        "local sd": float(np.sqrt(((sd[own] / local_sd - 1) ** 2).mean())),
        "false": int((trusted[own] & (np.abs(mean[own] - local_mean) > 0.15 * local_sd)).sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--outcomes", nargs="+", default=["normal", "bernoulli"])
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.outcomes[0], options.groups[0], options.rows)))
        return
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "XLA_FLAGS": flags}
    for outcome in options.outcomes:
        seconds = []
        for groups in options.groups:
            command = [sys.executable, __file__, "--worker", "--outcomes", outcome]
            command += ["--groups", str(groups), "--rows", str(options.rows)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                print(f"{outcome:10s} {groups:7d} did not survive", flush=True)
                continue
            got = json.loads(done.stdout.splitlines()[-1])
            seconds.append((groups, got["seconds"]))
            print(
                f"{outcome:10s} {groups:7d} groups {got['seconds']:6.1f} s, {got['megabytes']:6.0f} MB, {got['law']}, "
                f"{got['trusted']} of {got['quantities']} trusted (all that is shared: {got['shared']}), {got['false']} false; "
                f"shared: mean off by {got['mean']:.3f} sd, sd by {got['sd']:.3f}; "
                f"intercepts: {got['local mean']:.3f} sd, {got['local sd']:.3f} (root mean squares)",
                flush=True,
            )
        if len(seconds) > 1:
            slope = np.polyfit(*np.log(np.array(seconds)).T, 1)[0]
            print(f"{outcome:10s} exponent of the seconds {slope:.2f}", flush=True)


if __name__ == "__main__":
    main()

"""Is *trusted* kept in series? Simulated paths whose posteriors a grid knows.

    python benchmarks/series.py [--replicates 3] [--kinds ...] [--backend jax]

A path walks at random, or reverts to zero, by steps of an unknown size. Where it is seen through Normal noise, a grid over
the two sizes and Gaussian algebra given these know its posterior; elsewhere a forward and a backward sum over a grid of
the path's own values do, for each size of the steps and each level. What is false is that of `hierarchies.py`.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
from hierarchies import judged, summary
from scipy import stats

import elboroom as er

m = er.math
LENGTH = 70
KINDS = {  # how it is seen, what is left of a value (all by default), size of the steps, level
    "normal": ("normal", None, 0.4, 0.0),
    "normal, hardly moving": ("normal", None, 0.02, 0.0),
    "normal, at rest": ("normal", None, 0.0, 0.0),
    "normal, far more than the noise": ("normal", None, 4.0, 0.0),
    "counts": ("poisson", None, 0.3, 0.0),
    "rare counts": ("poisson", 0.9, 0.4, -2.0),
    "binary": ("bernoulli", None, 0.4, 0.0),
    "binary, nearly all ones": ("bernoulli", 0.9, 0.4, 3.0),
    "volatility": ("returns", 0.95, 0.3, -1.0),
    "volatility, quiet": ("returns", 0.95, 0.1, -1.0),
}
STATES = np.linspace(-30, 30, 751)
SIZES = np.linspace(-2.5, 1.6, 42)  # log sizes of steps, where a path has values of its own
LEVELS = np.linspace(-8, 8, 161)
TINY = 1e-300


@er.model
def path(seen, persistence, y):
    noise = er.sample("noise", er.HalfNormal(1)) if seen == "normal" else None
    level = 0.0 if seen == "normal" else er.sample("level", er.Normal(0, 2))
    if seen == "normal":
        step = er.sample("step", er.HalfNormal(1))
    else:
        step = er.sample("step", er.LogNormal(-1.0, 0.5))
    if persistence is None:
        h = er.sample("h", er.GaussianRandomWalk(step, len(y), start=0.0, start_scale=1.0))
    else:
        h = er.sample("h", er.AR(m.expand_dims(persistence, 0), step, len(y)))
    law = {
        "normal": lambda: er.Normal(h, noise),
        "poisson": lambda: er.Poisson(m.exp(level + h)),
        "bernoulli": lambda: er.Bernoulli(logits=level + h),
        "returns": lambda: er.Normal(0, m.exp(0.5 * (level + h))),
    }[seen]()
    with er.plate("time", len(y)):
        er.observe("y", law, y)


def simulated(kind, rng):
    """Data of a kind."""
    seen, persistence, step, level = KINDS[kind]
    h = [rng.normal() * (1 if persistence is None else step / np.sqrt(1 - persistence**2))]
    for _ in range(LENGTH - 1):
        h.append((1 if persistence is None else persistence) * h[-1] + step * rng.normal())
    eta = level + np.array(h)
    draw = {
        "normal": lambda: rng.normal(eta),
        "poisson": lambda: rng.poisson(np.exp(eta)),
        "bernoulli": lambda: rng.binomial(1, 1 / (1 + np.exp(-eta))),
        "returns": lambda: rng.normal(0, np.exp(0.5 * eta)),
    }[seen]
    return dict(seen=seen, persistence=persistence, y=draw())


def exact(data):
    """Mean, sd and quantiles of all quantities."""
    return gaussian(data["y"]) if data["seen"] == "normal" else summed(**data)


def gaussian(y):
    """Of a random walk under Normal noise."""
    sizes = np.concatenate([np.linspace(-9, -4, 16), np.linspace(-3.9, 2.5, 129)])
    noises = np.linspace(-3, 2, 126)
    time_ = np.arange(LENGTH)
    walk = np.minimum(time_[:, None], time_)
    table = np.empty((len(sizes), len(noises)))
    means, sds = np.empty((*table.shape, LENGTH)), np.empty((*table.shape, LENGTH))
    for i, s in enumerate(sizes):
        eig, vec = np.linalg.eigh(1.0 + np.exp(2 * s) * walk)
        along = vec.T @ y
        for j, t in enumerate(noises):
            total = eig + np.exp(2 * t)
            table[i, j] = -0.5 * (np.log(total) + along**2 / total).sum()
            means[i, j] = vec @ (eig / total * along)
            sds[i, j] = np.sqrt((vec**2) @ (eig - eig**2 / total))
    prior = stats.halfnorm.logpdf(np.exp(sizes)) + sizes
    value = table + prior[:, None] + stats.halfnorm.logpdf(np.exp(noises)) + noises
    mass = np.exp(value - value.max()) * np.gradient(sizes)[:, None]
    mass /= mass.sum()
    found = {
        "step": summary(np.exp(sizes), mass.sum(1)),
        "noise": summary(np.exp(noises), mass.sum(0)),
    }
    kept = mass > 1e-9
    for t in range(LENGTH):
        w, mean, sd = mass[kept] / mass[kept].sum(), means[kept][:, t], sds[kept][:, t]
        x = np.linspace((mean - 6 * sd).min(), (mean + 6 * sd).max(), 4001)
        middle = 0.5 * (x[1:] + x[:-1])
        law = np.zeros(len(middle))
        for part in np.array_split(np.argsort(-w), 20):
            law += w[part] @ np.diff(stats.norm.cdf((x - mean[part, None]) / sd[part, None]), axis=1)
        found[f"h[{t}]"] = summary(middle, law / law.sum())
    return found


def summed(seen, persistence, y):
    """Of a path that is seen otherwise, by sums over its values."""
    width, left = STATES[1] - STATES[0], 1.0 if persistence is None else persistence
    density = {
        "poisson": lambda eta: stats.poisson.logpmf(y[:, None, None], np.exp(eta)),
        "bernoulli": lambda eta: stats.bernoulli.logpmf(y[:, None, None], 1 / (1 + np.exp(-eta))),
        "returns": lambda eta: stats.norm.logpdf(y[:, None, None], 0, np.exp(0.5 * eta)),
    }[seen]
    seen_as = np.exp(density(STATES[None, :, None] + LEVELS))  # (T, states, levels)
    table = np.empty((len(SIZES), len(LEVELS)))
    laws = []
    for i, s in enumerate(SIZES):
        step = stats.norm.pdf(STATES[:, None], left * STATES, np.exp(s)) * width
        first = 1.0 if persistence is None else np.exp(s) / np.sqrt(1 - persistence**2)
        belief = stats.norm.pdf(STATES, 0, first)[:, None] * width * np.ones(len(LEVELS))
        forward, total = np.empty_like(seen_as), np.zeros(len(LEVELS))
        for t in range(LENGTH):
            belief = (step @ belief if t else belief) * seen_as[t]
            size = np.maximum(belief.sum(0), TINY)
            total, belief = total + np.log(size), belief / size
            forward[t] = belief
        table[i] = total
        back = np.ones_like(belief)
        for t in range(LENGTH - 1, -1, -1):
            forward[t] *= back
            forward[t] /= np.maximum(forward[t].sum(0), TINY)
            back = step.T @ (back * seen_as[t])
            back /= np.maximum(back.max(0), TINY)
        laws.append(forward.astype(np.float32))
    value = table + (stats.norm.logpdf(SIZES, -1.0, 0.5))[:, None] + stats.norm.logpdf(LEVELS, 0, 2)
    mass = np.exp(value - value.max())
    mass /= mass.sum()
    found = {"step": summary(np.exp(SIZES), mass.sum(1)), "level": summary(LEVELS, mass.sum(0))}
    own = sum(law @ weight for law, weight in zip(laws, mass, strict=True))
    return found | {f"h[{t}]": summary(STATES, own[t] / own[t].sum()) for t in range(LENGTH)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--backend", default="jax")
    options = parser.parse_args()
    all_, all_trusted, all_false = 0, 0, 0
    for kind in options.kinds:
        trusted, false, seconds, by = 0, [], 0.0, []
        for seed in range(options.replicates):
            data = simulated(kind, np.random.default_rng([seed, list(KINDS).index(kind)]))
            begin = time.process_time()
            posterior = er.fit(path(**data), seed=seed, backend=options.backend, refine=False, progress=False)
            seconds += time.process_time() - begin
            by.append(posterior.law == "psis" and any("summed out" in r.reason for r in posterior.trail))
            good, bad = judged(posterior.summary(), exact(data))
            trusted, false = trusted + good, false + bad
        count = options.replicates * (LENGTH + 2)
        print(
            f"{kind:32s} {count:4d} quantities, {trusted / count:4.0%} trusted, {len(false)} false; "
            f"{sum(by)} of {len(by)} by groups summed out, {seconds / len(by):.1f} s a fit  {false[:3] or ''}",
            flush=True,
        )
        all_, all_trusted, all_false = all_ + count, all_trusted + trusted, all_false + len(false)
    print(f"{all_} quantities, {all_trusted / all_:.1%} trusted, {all_false} false trusts")


if __name__ == "__main__":
    main()

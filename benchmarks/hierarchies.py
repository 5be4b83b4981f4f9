"""Is *trusted* kept in hierarchies? Simulated groups whose posteriors quadrature knows.

    python benchmarks/hierarchies.py [--replicates 4] [--groups 8 30] [--kinds ...] [--backend jax]

Each data set has a level, a scale of the effects and an effect per group; outcomes and effects have the laws of its kind.
Given level and scale every effect is an integral in one dimension, so that a grid knows all moments and quantiles. A trusted
quantity is false where its mean is off by 0.15 sds, its sd by 15%, or its 5% or 95% quantile by 0.25 sds.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
from scipy import stats

import elboroom as er

m = er.math
PROMISE = {"mean": 0.15, "sd": 0.15, "q5": 0.25, "q95": 0.25}
KINDS = {  # law of the effects, law of the outcomes, scale of the effects, rows of a group
    "normal": ("normal", "normal", 1.0, 5),
    "tiny variance": ("normal", "normal", 0.05, 5),
    "no variance": ("normal", "normal", 0.0, 5),
    "heavy-tailed effects": ("t", "normal", 1.0, 5),
    "two kinds of groups": ("mixture", "normal", 1.0, 5),
    "one row a group": ("normal", "normal", 1.0, 1),
    "binary": ("normal", "bernoulli", 1.0, 6),
    "separable groups": ("normal", "bernoulli", 4.0, 4),
    "counts": ("normal", "poisson", 0.7, 4),
    "counts, no variance": ("normal", "poisson", 0.0, 4),
    "heavy-tailed effects, binary": ("t", "bernoulli", 1.5, 6),
}
OTHER, DEGREES = (
    4.0,
    3.0,
)  # how far the second kind of groups lies, in scales; degrees of freedom of heavy tails


@er.model
def hierarchy(effects, outcomes, group, y):
    level = er.sample("level", er.Normal(0, 3))
    scale = er.sample("scale", er.HalfNormal(2))
    with er.plate("group", er.levels(group)):
        if effects == "t":
            u = er.sample("u", er.StudentT(DEGREES, 0.0, scale))
        elif effects == "mixture":
            parts = [er.Normal(0.0, scale), er.Normal(OTHER * scale, scale)]
            u = er.sample("u", er.Mixture(parts, weights=np.array([0.7, 0.3])))
        else:
            u = er.sample("u", er.Normal(0.0, scale))
    eta = level + u[group]
    law = {
        "normal": lambda: er.Normal(eta, 1.0),
        "bernoulli": lambda: er.Bernoulli(logits=eta),
        "poisson": lambda: er.Poisson(m.exp(eta)),
    }[outcomes]()
    with er.plate("row", len(y)):
        er.observe("y", law, y)


def effect_density(effects, x):
    """Log density of effects of scale one."""
    if effects == "t":
        return stats.t.logpdf(x, DEGREES)
    if effects == "mixture":
        return np.logaddexp(np.log(0.7) + stats.norm.logpdf(x), np.log(0.3) + stats.norm.logpdf(x, OTHER))
    return stats.norm.logpdf(x)


def simulated(kind, groups, rng):
    """Data of a kind."""
    effects, outcomes, scale, rows = KINDS[kind]
    raw = rng.standard_t(DEGREES, groups) if effects == "t" else rng.normal(size=groups)
    raw = raw + OTHER * (rng.random(groups) < 0.3) * (effects == "mixture")
    group = np.repeat(np.arange(groups), rows)
    eta = (0.5 + scale * raw)[group]
    draw = {
        "normal": lambda: rng.normal(eta),
        "bernoulli": lambda: rng.binomial(1, 1 / (1 + np.exp(-eta))),
        "poisson": lambda: rng.poisson(np.exp(eta)),
    }[outcomes]
    return dict(effects=effects, outcomes=outcomes, group=group, y=draw())


def exact(data, groups, level=None):
    """Mean, sd and quantiles of level, scale and every effect, by a grid over all three."""
    if level is None:  # a coarse grid says where the level lies
        near = exact(data, groups, np.linspace(-6, 7, 66))["level"]
        level = near["mean"] + max(near["sd"], 0.1) * np.linspace(-7, 7, 85)
    count, total = np.bincount(data["group"]), np.bincount(data["group"], data["y"])
    square = np.bincount(data["group"], data["y"].astype(float) ** 2)
    log_scale = np.concatenate([np.linspace(-14, -3, 23), np.linspace(-2.9, 2.2, 103)])
    width = np.gradient(log_scale)
    x = np.sinh(np.linspace(-8, 8, 801))  # of the effects, in scales
    prior = effect_density(data["effects"], x) + np.log(np.gradient(x))
    eta_of = lambda s: level[:, None] + np.exp(s) * x  # noqa: E731
    table = np.empty((len(log_scale), len(level)))
    laws = np.zeros((groups, len(EDGES) - 1))
    pieces = []
    for i, s in enumerate(log_scale):
        eta = eta_of(s)[None]
        n, y, yy = (v[:, None, None] for v in (count, total, square))
        if data["outcomes"] == "normal":
            h = -0.5 * (yy - 2 * y * eta + n * eta**2)
        elif data["outcomes"] == "bernoulli":
            h = y * eta - n * np.logaddexp(0, eta)
        else:
            h = y * eta - n * np.exp(np.minimum(eta, 50))
        h = h + prior
        top = h.max(2, keepdims=True)
        p = np.exp(h - top)
        size = p.sum(2)
        table[i] = (top[:, :, 0] + np.log(size)).sum(0)
        pieces.append(p / size[:, :, None])
    value = (
        table
        + stats.norm.logpdf(level, 0, 3)
        + (stats.halfnorm.logpdf(np.exp(log_scale), scale=2) + log_scale)[:, None]
    )
    mass = np.exp(value - value.max()) * width[:, None]
    mass /= mass.sum()
    for i, s in enumerate(log_scale):
        weight = np.einsum("gbx,b->gx", pieces[i], mass[i])
        where = np.clip(np.digitize(np.exp(s) * x, EDGES) - 1, 0, len(EDGES) - 2)
        for g in range(groups):
            laws[g] += np.bincount(where, weight[g], len(EDGES) - 1)
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    rows = [("level", level, mass.sum(0)), ("scale", np.exp(log_scale), mass.sum(1))]
    rows += [(f"u[{g}]", middle, law) for g, law in enumerate(laws)]
    return {name: summary(v, p) for name, v, p in rows}


EDGES = np.concatenate(
    [-np.geomspace(1e4, 8.1, 600), np.linspace(-8, 12, 4000), np.geomspace(12.1, 1e4, 600)]
)
"""Between which the mass of an effect is counted."""


def summary(value, mass):
    """Mean, sd, 5% and 95% quantiles of a law on a grid."""
    mean = mass @ value
    below = np.cumsum(mass) - 0.5 * mass
    return dict(
        mean=mean,
        sd=np.sqrt(mass @ (value - mean) ** 2),
        q5=np.interp(0.05, below, value),
        q95=np.interp(0.95, below, value),
    )


def judged(table, truth):
    """How many quantities are trusted, and which of these are false."""
    false = []
    for name, known in truth.items():
        row = table.loc[name]
        off = {k: abs(row[k] - known[k]) / known["sd"] for k in PROMISE}
        off["sd"] = abs(row["sd"] / known["sd"] - 1)
        if row["verdict"] == "trusted" and any(off[k] > PROMISE[k] for k in PROMISE):
            false.append((name, {k: round(v, 2) for k, v in off.items() if v > PROMISE[k]}))
    return int((table["verdict"] == "trusted").sum()), false


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicates", type=int, default=4)
    parser.add_argument("--groups", type=int, nargs="+", default=[8, 30])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--backend", default="jax")
    options = parser.parse_args()
    all_, all_trusted, all_false = 0, 0, 0
    for kind in options.kinds:
        quantities, trusted, false, seconds, summed = 0, 0, [], 0.0, 0
        for groups in options.groups:
            for seed in range(options.replicates):
                data = simulated(kind, groups, np.random.default_rng([seed, groups, list(KINDS).index(kind)]))
                begin = time.process_time()
                posterior = er.fit(
                    hierarchy(**data), seed=seed, backend=options.backend, refine=False, progress=False
                )
                seconds += time.process_time() - begin
                summed += posterior.law == "psis" and any("summed out" in r.reason for r in posterior.trail)
                good, bad = judged(posterior.summary(), exact(data, groups))
                quantities, trusted, false = quantities + groups + 2, trusted + good, false + bad
        fits = len(options.groups) * options.replicates
        print(
            f"{kind:30s} {quantities:5d} quantities, {trusted / quantities:4.0%} trusted, {len(false)} false; "
            f"{summed} of {fits} by groups summed out, {seconds / fits:.1f} s a fit  {false[:3] or ''}",
            flush=True,
        )
        all_, all_trusted, all_false = all_ + quantities, all_trusted + trusted, all_false + len(false)
    print(f"{all_} quantities, {all_trusted / all_:.1%} trusted, {all_false} false trusts")


if __name__ == "__main__":
    main()

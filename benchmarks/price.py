"""What a fit with its defaults costs where fits are hard, beside four chains of NumPyro's NUTS from nothing.

    python benchmarks/price.py [--only NAME] [--seeds 1]

The models are written in NumPyro and taken as they are. The peer runs four chains in lockstep, 1,000 iterations of
warm-up and 1,000 draws. Each runs in a process of its own on one thread with a compilation cache that a run before has
filled; imports are not timed. Printed are seconds, the fit's verdict and how many quantities it trusts, the worst
error of a mean and of an sd in sds of the peer's, and the peer's least bulk effective size and its divergences.
"""

from __future__ import annotations

import argparse
import json
import tempfile

import numpy as np
from posteriordb import clock, flat_summary, imported, worker
from refine import bulk


def problems(dist, jnp, numpyro):
    """Name to a NumPyro model without arguments."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 20))
    y = x[:, 0] * 2 - x[:, 1] * 1.5 + rng.normal(size=100)

    def horseshoe():
        tau = numpyro.sample("tau", dist.HalfCauchy(0.1))
        lam = numpyro.sample("lam", dist.HalfCauchy(1.0).expand([20]).to_event(1))
        raw = numpyro.sample("raw", dist.Normal(0, 1).expand([20]).to_event(1))
        sigma = numpyro.sample("sigma", dist.HalfNormal(2.0))
        beta = numpyro.deterministic("beta", raw * lam * tau)
        with numpyro.plate("row", 100):
            numpyro.sample("y", dist.Normal(jnp.asarray(x) @ beta, sigma), obs=jnp.asarray(y))

    time = np.linspace(0, 1, 40)
    count = rng.poisson(np.exp(1 + np.sin(6 * time)))
    apart = (time[:, None] - time) ** 2

    def gaussian_process():
        length = numpyro.sample("length", dist.InverseGamma(5.0, 1.0))
        size = numpyro.sample("size", dist.HalfNormal(1.0))
        level = numpyro.sample("level", dist.Normal(0, 2.0))
        raw = numpyro.sample("raw", dist.Normal(0, 1).expand([40]).to_event(1))
        cov = size**2 * jnp.exp(-0.5 * jnp.asarray(apart) / length**2) + 1e-6 * jnp.eye(40)
        f = numpyro.deterministic("f", level + jnp.linalg.cholesky(cov) @ raw)
        with numpyro.plate("row", 40):
            numpyro.sample("y", dist.Poisson(jnp.exp(f)), obs=jnp.asarray(count))

    group = np.repeat(np.arange(40), 8)
    effect = 0.5 * rng.normal(size=40)
    z = rng.normal(size=320)
    life = rng.weibull(1.5, 320) * np.exp(1 + effect[group] + 0.5 * z)
    limit = np.quantile(life, 0.7)
    censored, life = life > limit, np.minimum(life, limit)

    def weibull():
        shape = numpyro.sample("shape", dist.HalfNormal(2.0))
        a = numpyro.sample("a", dist.Normal(0, 2.0))
        b = numpyro.sample("b", dist.Normal(0, 1.0))
        spread = numpyro.sample("spread", dist.HalfNormal(1.0))
        with numpyro.plate("group", 40):
            g = numpyro.sample("g", dist.Normal(0, spread))
        scale = jnp.exp(a + b * jnp.asarray(z) + g[group])
        with numpyro.plate("row", 320):
            law = dist.Weibull(scale, shape)
            gone = -((jnp.asarray(life) / scale) ** shape)
            numpyro.factor("life", jnp.where(jnp.asarray(censored), gone, law.log_prob(jnp.asarray(life))))

    return {"horseshoe": horseshoe, "Poisson GP": gaussian_process, "censored Weibull": weibull}


def ours(model, seed):
    """A fit with its defaults."""
    import elboroom as er

    program = er.from_numpyro(model)()
    begin = clock()
    posterior = er.fit(program, seed=seed, progress=False)
    seconds = clock() - begin
    table = posterior.table
    return {
        "seconds": seconds,
        "verdict": posterior.verdict,
        "trusted": f"{sum(v == 'trusted' for v in table['verdict'])}/{len(table['verdict'])}",
        "rows": {k: {"mean": table["mean"][i], "sd": table["sd"][i]} for i, k in enumerate(table["label"])},
        "verdicts": dict(zip(table["label"], table["verdict"], strict=True)),
        "trail": str(posterior.trail),
    }


def numpyros(model, seed):
    """NumPyro's NUTS with its defaults."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from numpyro.infer import MCMC, NUTS

    begin = clock()
    settings = dict(num_chains=4, chain_method="vectorized", progress_bar=False)
    mcmc = MCMC(NUTS(model), num_warmup=1000, num_samples=1000, **settings)
    mcmc.run(jax.random.PRNGKey(seed), extra_fields=("diverging",))
    draws = {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    seconds = clock() - begin
    rows = flat_summary({k: v.reshape(-1, *v.shape[2:]) for k, v in draws.items()})
    diverged = int(np.asarray(mcmc.get_extra_fields()["diverging"]).sum())
    return {"seconds": seconds, "ess": bulk(draws.values()), "diverged": diverged, "rows": rows}


def run(name, method, seed, cache):
    return worker(__file__, cache, "--only", name, "--worker", method, "--seed", seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", choices=("ours", "numpyro"))
    parser.add_argument("--trail", action="store_true", help="print what each fit did")
    options = parser.parse_args()
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    models = problems(dist, jnp, numpyro)
    if options.worker:
        imported()
        print(
            json.dumps(
                {"ours": ours, "numpyro": numpyros}[options.worker](models[options.only], options.seed)
            )
        )
        return
    print(f"{'model':18s} {'ours s':>7s} {'NumPyro s':>10s} {'ratio':>6s}")
    for name in models:
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as cache:
            run(name, "ours", 0, cache), run(name, "numpyro", 0, cache)
            for seed in range(options.seeds):
                fit, peer = run(name, "ours", seed, cache), run(name, "numpyro", seed, cache)
                worst = {"trusted": 0.0, "all": 0.0}
                for key in set(fit["rows"]) & set(peer["rows"]):
                    a, b = fit["rows"][key], peer["rows"][key]
                    off = max(abs(a["mean"] - b["mean"]) / b["sd"], abs(a["sd"] / b["sd"] - 1))
                    worst["all"] = max(worst["all"], off)
                    if fit["verdicts"][key] == "trusted":
                        worst["trusted"] = max(worst["trusted"], off)
                print(
                    f"{name:18s} {fit['seconds']:7.1f} {peer['seconds']:10.1f} {fit['seconds'] / peer['seconds']:6.2f}  "
                    f"{fit['verdict']}, {fit['trusted']} trusted, off by {worst['trusted']:.2f} (of all {worst['all']:.2f}); "
                    f"NumPyro: ESS {peer['ess']:.0f}, {peer['diverged']} divergent",
                    flush=True,
                )
                if options.trail:
                    print(fit["trail"])


if __name__ == "__main__":
    main()

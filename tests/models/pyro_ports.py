"""Six of the reference posteriors in plain Pyro.

``PORTS[name] -> (model, convert)``: ``model(**convert(reference_data))``. Flat priors are masked ones, as Pyro's
documentation has it, so that guides and chains find a starting point.
"""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import torch


def _tensor(values):
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def _flat(name, size):
    return pyro.sample(name, dist.Normal(0.0, 1.0).expand([size]).mask(False).to_event(1))


def eight_schools_centered(sigma, y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_noncentered(sigma, y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(sigma)):
        theta_trans = pyro.sample("theta_trans", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * theta_trans)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def ark(X, y):
    alpha = pyro.sample("alpha", dist.Normal(0.0, 10.0))
    beta = pyro.sample("beta", dist.Normal(0.0, 10.0).expand([X.shape[-1]]).to_event(1))
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(alpha + X @ beta, sigma), obs=y)


def kidscore_interaction(X, y):
    beta = _flat("beta", X.shape[-1])
    sigma = pyro.sample("sigma", dist.HalfCauchy(2.5))
    with pyro.plate("child", len(y)):
        pyro.sample("kid_score", dist.Normal(X @ beta, sigma), obs=y)


def wells_dae_inter(X, y):
    alpha = pyro.sample("alpha", dist.Normal(0.0, 1.0).mask(False))
    beta = _flat("beta", X.shape[-1])
    with pyro.plate("household", len(y)):
        pyro.sample("switched", dist.Bernoulli(logits=alpha + X @ beta), obs=y)


def radon_centered(county_idx, log_uppm, floor_measure, log_radon, num_counties):
    sigma_alpha = pyro.sample("sigma_alpha", dist.HalfNormal(1.0))
    sigma_y = pyro.sample("sigma_y", dist.HalfNormal(1.0))
    mu_alpha = pyro.sample("mu_alpha", dist.Normal(0.0, 10.0))
    beta = pyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    with pyro.plate("county", num_counties):
        alpha = pyro.sample("alpha", dist.Normal(mu_alpha, sigma_alpha))
    with pyro.plate("home", len(log_radon)):
        mean = alpha[county_idx] + beta[0] * log_uppm + beta[1] * floor_measure
        pyro.sample("log_radon", dist.Normal(mean, sigma_y), obs=log_radon)


def _schools(d):
    return {"sigma": _tensor(d["sigma"]), "y": _tensor(d["y"])}


def _lags(d):
    y, order = np.asarray(d["y"], float), int(d["K"])
    X = np.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], axis=1)
    return {"X": _tensor(X), "y": _tensor(y[order:])}


def _kids(d):
    hs, iq = np.asarray(d["mom_hs"]), np.asarray(d["mom_iq"])
    X = np.stack([np.ones(len(hs)), hs, iq, hs * iq], axis=1)
    return {"X": _tensor(X), "y": _tensor(d["kid_score"])}


def _wells(d):
    dist, arsenic, educ = (np.asarray(d[k]) - np.mean(d[k]) for k in ("dist", "arsenic", "educ"))
    dist, educ = dist / 100, educ / 4
    X = np.stack([dist, arsenic, educ, dist * arsenic, dist * educ, arsenic * educ], axis=1)
    return {"X": _tensor(X), "y": _tensor(d["switched"])}


def _radon(d):
    columns = {name: _tensor(d[name]) for name in ("log_uppm", "floor_measure", "log_radon")}
    county_idx = torch.as_tensor(np.asarray(d["county_idx"]) - 1)
    return {**columns, "county_idx": county_idx, "num_counties": int(d["J"])}


PORTS = {
    "arK-arK": (ark, _lags),
    "eight_schools-eight_schools_centered": (eight_schools_centered, _schools),
    "eight_schools-eight_schools_noncentered": (eight_schools_noncentered, _schools),
    "kidiq-kidscore_interaction": (kidscore_interaction, _kids),
    "radon_mn-radon_hierarchical_intercept_centered": (radon_centered, _radon),
    "wells_data-wells_dae_inter_model": (wells_dae_inter, _wells),
}

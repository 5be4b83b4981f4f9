"""Radon in the homes of Minnesota, an intercept per county (Gelman and Hill 2007)."""

import numpy as np

import elboroom as er


@er.model
def radon_centered(county_idx, log_uppm, floor_measure, log_radon=None):
    sigma_alpha = er.sample("sigma_alpha", er.HalfNormal(1))
    sigma_y = er.sample("sigma_y", er.HalfNormal(1))
    mu_alpha = er.sample("mu_alpha", er.Normal(0, 10))
    beta = er.sample("beta", er.Normal(0, 10).expand([2]))
    with er.plate("county", er.levels(county_idx)):
        alpha = er.sample("alpha", er.Normal(mu_alpha, sigma_alpha))
    with er.plate("home", len(county_idx)):
        mean = alpha[county_idx] + beta[0] * log_uppm + beta[1] * floor_measure
        er.observe("log_radon", er.Normal(mean, sigma_y), log_radon)


@er.model
def radon_noncentered(county_idx, log_uppm, floor_measure, log_radon=None):
    sigma_alpha = er.sample("sigma_alpha", er.HalfNormal(1))
    sigma_y = er.sample("sigma_y", er.HalfNormal(1))
    mu_alpha = er.sample("mu_alpha", er.Normal(0, 10))
    beta = er.sample("beta", er.Normal(0, 10).expand([2]))
    with er.plate("county", er.levels(county_idx)):
        alpha_raw = er.sample("alpha_raw", er.Normal(0, 1))
        alpha = er.deterministic("alpha", mu_alpha + sigma_alpha * alpha_raw)
    with er.plate("home", len(county_idx)):
        mean = alpha[county_idx] + beta[0] * log_uppm + beta[1] * floor_measure
        er.observe("log_radon", er.Normal(mean, sigma_y), log_radon)


def prepare(reference):
    """Zero-based counties."""
    data = {name: np.asarray(reference[name]) for name in ("log_uppm", "floor_measure", "log_radon")}
    return {**data, "county_idx": np.asarray(reference["county_idx"]) - 1}

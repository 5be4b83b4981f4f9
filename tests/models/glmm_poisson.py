"""Counts of falcons by year: a cubic trend with a random effect of the year (Kéry and Schaub 2012)."""

import elboroom as er


@er.model
def glmm_poisson(year, C=None):
    alpha = er.sample("alpha", er.Uniform(-20, 20))
    beta1 = er.sample("beta1", er.Uniform(-10, 10))
    beta2 = er.sample("beta2", er.Uniform(-10, 10))
    beta3 = er.sample("beta3", er.Uniform(-10, 10))
    sigma = er.sample("sigma", er.Uniform(0, 5))
    with er.plate("year", len(year)):
        eps = er.sample("eps", er.Normal(0, sigma))
        log_rate = alpha + beta1 * year + beta2 * year**2 + beta3 * year**3 + eps
        er.observe("C", er.Poisson(er.math.exp(log_rate)), C)

"""Counts along a line: a Gaussian process under a Poisson likelihood."""

import elboroom as er


@er.model
def gp_pois_regr(x, k=None):
    rho = er.sample("rho", er.Gamma(25, 4))
    alpha = er.sample("alpha", er.HalfNormal(2))
    distance = (x[:, None] - x[None, :]) / rho
    covariance = alpha**2 * er.math.exp(-0.5 * distance**2) + 1e-10 * er.math.eye(len(x))
    with er.plate("point", len(x)):
        f_tilde = er.sample("f_tilde", er.Normal(0, 1))
        f = er.deterministic("f", er.math.linalg.cholesky(covariance) @ f_tilde)
        er.observe("k", er.Poisson(er.math.exp(f)), k)

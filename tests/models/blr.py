"""Linear regression with weakly informative priors on simulated, correlated columns."""

import elboroom as er


@er.model
def blr(X, y=None):
    beta = er.sample("beta", er.Normal(0, 10).expand([X.shape[1]]))
    sigma = er.sample("sigma", er.HalfNormal(10))
    with er.plate("row", len(X)):
        er.observe("y", er.Normal(X @ beta, sigma), y)

"""Volatility that remembers its last value and the last shock: GARCH(1, 1)."""

from elboroom.ppl import constraints

import elboroom as er


@er.model
def garch11(y, sigma1):
    mu = er.sample("mu", er.ImproperUniform())
    alpha0 = er.sample("alpha0", er.ImproperUniform(constraints.positive))
    alpha1 = er.sample("alpha1", er.Uniform(0, 1))
    beta1 = er.sample("beta1", er.Uniform(0, 1 - alpha1))
    er.factor(
        "flat", er.math.log1p(-alpha1)
    )  # the reference is flat on the triangle, beta1 given alpha1 is not

    def step(variance, y):
        return alpha0 + alpha1 * (y - mu) ** 2 + beta1 * variance, variance

    _, variance = er.scan(step, sigma1**2, y)
    with er.plate("time", len(y)):
        er.observe("y", er.Normal(mu, er.math.sqrt(variance)), y)

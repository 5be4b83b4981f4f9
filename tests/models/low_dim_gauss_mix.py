"""A mixture of two normal laws with ordered means."""

import elboroom as er


@er.model
def low_dim_gauss_mix(y):
    mu = er.sample("mu", er.Ordered(er.Normal(0, 2).expand([2])))
    sigma = er.sample("sigma", er.HalfNormal(2).expand([2]))
    theta = er.sample("theta", er.Beta(5, 5))
    weights = er.Categorical(probs=er.math.stack([theta, 1 - theta]))
    with er.plate("row", len(y)):
        er.observe("y", er.MixtureSameFamily(weights, er.Normal(mu, sigma)), y)

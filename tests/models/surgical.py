"""Deaths after heart surgery on infants in twelve hospitals, with a vague prior on the variance."""

import elboroom as er


@er.model
def surgical(n, r=None):
    mu = er.sample("mu", er.Normal(0, 1000))
    sigmasq = er.sample("sigmasq", er.InverseGamma(1e-3, 1e-3))
    with er.plate("hospital", len(n)):
        b = er.sample("b", er.Normal(mu, er.math.sqrt(sigmasq)))
        er.observe("r", er.Binomial(n, logits=b), r)

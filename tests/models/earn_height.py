"""Earnings on height (Gelman and Hill 2007): flat priors and an unscaled column."""

from elboroom.ppl import constraints

import elboroom as er


@er.model
def earn_height(height, earn=None):
    beta = er.sample("beta", er.ImproperUniform(event_shape=(2,)))
    sigma = er.sample("sigma", er.ImproperUniform(constraints.positive))
    with er.plate("person", len(height)):
        er.observe("earn", er.Normal(beta[0] + beta[1] * height, sigma), earn)

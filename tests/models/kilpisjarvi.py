"""Summer temperatures of Kilpisjärvi with a linear trend."""

from elboroom.ppl import constraints

import elboroom as er


@er.model
def kilpisjarvi(x, pmualpha, psalpha, pmubeta, psbeta, y=None):
    alpha = er.sample("alpha", er.Normal(pmualpha, psalpha))
    beta = er.sample("beta", er.Normal(pmubeta, psbeta))
    sigma = er.sample("sigma", er.ImproperUniform(constraints.positive))
    with er.plate("year", len(x)):
        er.observe("y", er.Normal(alpha + beta * x, sigma), y)

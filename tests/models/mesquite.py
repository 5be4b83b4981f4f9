"""Leaf weight of mesquite bushes on their size (Gelman and Hill 2007): flat priors, unscaled columns."""

from elboroom.ppl import constraints

import elboroom as er


@er.model
def mesquite(diam1, diam2, canopy_height, total_height, density, group, weight=None):
    beta = er.sample("beta", er.ImproperUniform(event_shape=(7,)))
    sigma = er.sample("sigma", er.ImproperUniform(constraints.positive))
    measured = [diam1, diam2, canopy_height, total_height, density, group]
    with er.plate("bush", len(group)):
        mean = beta[0] + er.math.stack(measured, axis=-1) @ beta[1:]
        er.observe("weight", er.Normal(mean, sigma), weight)

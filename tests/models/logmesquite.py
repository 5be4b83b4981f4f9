"""Leaf weight of mesquite bushes on their size, all on the log scale (Gelman and Hill 2007)."""

import numpy as np
from elboroom.ppl import constraints

import elboroom as er

MEASURED = ("diam1", "diam2", "canopy_height", "total_height", "density", "group")


@er.model
def logmesquite(diam1, diam2, canopy_height, total_height, density, group, log_weight=None):
    beta = er.sample("beta", er.ImproperUniform(event_shape=(7,)))
    sigma = er.sample("sigma", er.ImproperUniform(constraints.positive))
    size = er.math.log(er.math.stack([diam1, diam2, canopy_height, total_height, density], axis=-1))
    with er.plate("bush", len(group)):
        mean = beta[0] + size @ beta[1:6] + beta[6] * group
        er.observe("log_weight", er.Normal(mean, sigma), log_weight)


def prepare(reference):
    """The outcome on the log scale."""
    data = {name: np.asarray(reference[name]) for name in MEASURED}
    return {**data, "log_weight": np.log(reference["weight"])}

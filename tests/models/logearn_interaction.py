"""Log earnings on height and sex with their interaction (Gelman and Hill 2007)."""

import numpy as np
from elboroom.ppl import constraints

import elboroom as er


@er.model
def logearn_interaction(height, male, log_earn=None):
    beta = er.sample("beta", er.ImproperUniform(event_shape=(4,)))
    sigma = er.sample("sigma", er.ImproperUniform(constraints.positive))
    with er.plate("person", len(height)):
        mean = beta[0] + beta[1] * height + beta[2] * male + beta[3] * height * male
        er.observe("log_earn", er.Normal(mean, sigma), log_earn)


def prepare(reference):
    """The outcome on the log scale."""
    return {
        "height": np.asarray(reference["height"]),
        "male": np.asarray(reference["male"]),
        "log_earn": np.log(reference["earn"]),
    }

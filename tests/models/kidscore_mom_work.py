"""A child's score on its mother's work, in four classes of which the first is the base (Gelman and Hill 2007)."""

from elboroom.ppl import constraints

import elboroom as er


@er.model
def kidscore_mom_work(mom_work, kid_score=None):
    beta = er.sample("beta", er.ImproperUniform(event_shape=(4,)))
    sigma = er.sample("sigma", er.ImproperUniform(constraints.positive))
    with er.plate("child", len(mom_work)):
        effect = er.math.concat([er.math.zeros(1), beta[1:]])
        er.observe("kid_score", er.Normal(beta[0] + effect[mom_work], sigma), kid_score)


def prepare(reference):
    """Zero-based classes of work."""
    import numpy as np

    return {
        "mom_work": np.asarray(reference["mom_work"]) - 1,
        "kid_score": np.asarray(reference["kid_score"]),
    }

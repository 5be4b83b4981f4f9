"""Who switches to a safer well (Gelman and Hill 2007): logistic regression with interactions."""

import elboroom as er


def centred(x, unit=1.0):
    """Deviation from the mean, in units."""
    return (x - er.math.mean(x)) / unit


@er.model
def wells_dae_inter(dist, arsenic, educ, switched=None):
    d, a, e = centred(dist, 100.0), centred(arsenic), centred(educ, 4.0)
    alpha = er.sample("alpha", er.ImproperUniform())
    beta = er.sample("beta", er.ImproperUniform(event_shape=(6,)))
    with er.plate("household", len(dist)):
        logits = alpha + er.math.stack([d, a, e, d * a, d * e, a * e], axis=-1) @ beta
        er.observe("switched", er.Bernoulli(logits=logits), switched)

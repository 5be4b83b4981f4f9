"""A child's score on its mother's schooling and score, with their interaction (Gelman and Hill 2007)."""

import elboroom as er


@er.model
def kidscore_interaction(mom_hs, mom_iq, kid_score=None):
    beta = er.sample("beta", er.ImproperUniform(event_shape=(4,)))
    sigma = er.sample("sigma", er.HalfCauchy(2.5))
    with er.plate("child", len(mom_iq)):
        mean = beta[0] + beta[1] * mom_hs + beta[2] * mom_iq + beta[3] * mom_hs * mom_iq
        er.observe("kid_score", er.Normal(mean, sigma), kid_score)

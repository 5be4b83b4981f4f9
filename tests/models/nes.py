"""Party identification in the National Election Study of one year (Gelman and Hill 2007)."""

from elboroom.ppl import constraints

import elboroom as er


@er.model
def nes(real_ideo, race_adj, age_discrete, educ1, gender, income, partyid7=None):
    beta = er.sample("beta", er.ImproperUniform(event_shape=(9,)))
    sigma = er.sample("sigma", er.ImproperUniform(constraints.positive))
    with er.plate("voter", len(income)):
        mean = beta[0] + beta[1] * real_ideo + beta[2] * race_adj
        mean = mean + beta[3] * (age_discrete == 2) + beta[4] * (age_discrete == 3)
        mean = mean + beta[5] * (age_discrete == 4)
        mean = mean + beta[6] * educ1 + beta[7] * gender + beta[8] * income
        er.observe("partyid7", er.Normal(mean, sigma), partyid7)

"""Effects of coaching in eight schools (Rubin 1981), centred."""

import elboroom as er


@er.model
def eight_schools_centered(sigma, y=None):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfCauchy(5))
    with er.plate("school", len(sigma)):
        theta = er.sample("theta", er.Normal(mu, tau))
        er.observe("y", er.Normal(theta, sigma), y)

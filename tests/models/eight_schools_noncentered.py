"""Effects of coaching in eight schools (Rubin 1981), non-centred."""

import elboroom as er


@er.model
def eight_schools_noncentered(sigma, y=None):
    mu = er.sample("mu", er.Normal(0, 5))
    tau = er.sample("tau", er.HalfCauchy(5))
    with er.plate("school", len(sigma)):
        theta_trans = er.sample("theta_trans", er.Normal(0, 1))
        theta = er.deterministic("theta", mu + tau * theta_trans)
        er.observe("y", er.Normal(theta, sigma), y)

"""An autoregression of order K."""

import elboroom as er


@er.model
def ark(y, K):
    alpha = er.sample("alpha", er.Normal(0, 10))
    beta = er.sample("beta", er.Normal(0, 10).expand([K]))
    sigma = er.sample("sigma", er.HalfCauchy(2.5))
    lags = er.math.stack([y[K - k : len(y) - k] for k in range(1, K + 1)], axis=-1)
    with er.plate("time", len(y) - K):
        er.observe("y", er.Normal(alpha + lags @ beta, sigma), y[K:])

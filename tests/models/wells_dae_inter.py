"""Who switches to a safer well (Gelman and Hill 2007): logistic regression with interactions."""

import numpy as np

import elboroom as er


@er.model
def wells_dae_inter(dist, arsenic, educ, switched=None):
    alpha = er.sample("alpha", er.ImproperUniform())
    beta = er.sample("beta", er.ImproperUniform(event_shape=(6,)))
    columns = [dist, arsenic, educ, dist * arsenic, dist * educ, arsenic * educ]
    with er.plate("household", len(dist)):
        logits = alpha + er.math.stack(columns, axis=-1) @ beta
        er.observe("switched", er.Bernoulli(logits=logits), switched)


def prepare(reference):
    """Columns less their means, in units of 100 m, one and four years of school."""
    units = {"dist": 100, "arsenic": 1, "educ": 4}
    columns = {name: (reference[name] - np.mean(reference[name])) / unit for name, unit in units.items()}
    return {**columns, "switched": np.asarray(reference["switched"])}

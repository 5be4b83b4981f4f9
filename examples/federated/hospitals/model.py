"""The model that all hospitals have agreed on."""

import numpy as np

import elboroom as er


@er.model
def recovery(age, dose, recovered=None):
    """Who recovers, by age and dose."""
    effect = er.sample("effect", er.Normal(np.zeros(3), 2.0))
    with er.plate("patient", len(age)):
        er.observe(
            "recovered", er.Bernoulli(logits=effect[0] + effect[1] * age + effect[2] * dose), recovered
        )

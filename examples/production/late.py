"""The model: how often do flights of each carrier leave New York late?"""

from __future__ import annotations

import elboroom as er


@er.model
def late(carrier, hour, late):
    """Each carrier has odds of its own, which grow over the day."""
    usual = er.sample("usual", er.Normal(-1.0, 1.0))
    spread = er.sample("spread", er.HalfNormal(1.0))
    growth = er.sample("growth", er.Normal(0.0, 1.0))
    with er.plate("carrier", er.levels(carrier)):
        own = er.sample("own", er.Normal(usual, spread))
    with er.plate("flight", len(late)):
        er.observe("late", er.Bernoulli(logits=own[carrier] + growth * (hour - 13) / 5), late)

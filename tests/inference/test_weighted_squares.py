"""Even weights say nothing of tails that no draw is in."""

import numpy as np
from elboroom.inference.evidence.verdicts import weighted_squares
from elboroom.inference.thresholds import KHAT_TRUSTED


def short_of(df, proposal_df, dim, rng, size=64_000):
    """Draws of a joint Student's t, weighed towards one with heavier tails."""
    scale = np.sqrt(rng.chisquare(proposal_df, (size, 1)) / proposal_df)
    z = rng.standard_normal((size, dim)) / scale
    square = (z**2).sum(1)
    log_weights = 0.5 * (proposal_df + dim) * np.log1p(square / proposal_df)
    log_weights -= 0.5 * (df + dim) * np.log1p(square / df)
    weights = np.exp(log_weights - log_weights.max())
    return z, weights / weights.sum()


def test_tails_that_weights_do_not_reach():
    rng = np.random.default_rng(0)
    z, weights = short_of(2.5, 4.0, 10, rng)
    sd = np.sqrt(weights @ z**2)
    assert np.all(np.abs(sd / np.sqrt(5.0) - 1) > 0.05)  # all too small: 2.5 / (2.5 − 2) is their variance
    assert np.all(weighted_squares(z, weights) > KHAT_TRUSTED)
    z, weights = short_of(12.0, 8.0, 10, rng)
    assert np.all(weighted_squares(z, weights) < 0.3)  # 2 / 12 is the index of the squares


def test_one_heavy_quantity_among_others_is_left_to_its_own_tails():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8_000, 20))
    x[:, 3] = rng.standard_cauchy(8_000)
    x[:, 4] = 1.0
    assert np.all(weighted_squares(x, np.full(8_000, 1 / 8_000)) < 0.25)


def test_each_has_at_most_what_most_have():
    rng = np.random.default_rng(0)
    x = rng.standard_t(2.5, (8_000, 4))
    x[:, 0] = rng.standard_normal(8_000)
    light, *heavy = weighted_squares(x, np.full(8_000, 1 / 8_000))
    assert light < 0.25 and min(heavy) > KHAT_TRUSTED

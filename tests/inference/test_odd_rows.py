"""Ranks of rows among known ones: exact whatever the statistics are, and with the power of the better of two scores."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.inference.deep.typical import atypical, odd, unlikely


def drawn(num, rng):
    """Correlated statistics with a heavy tail."""
    return rng.standard_t(4, (num, 2)) @ np.array([[1.0, 0.7], [0.0, 0.5]]) - 40.0


@pytest.mark.parametrize("score", [odd, atypical])
def test_false_alarms_are_as_many_as_were_asked_for(score):
    rng = np.random.default_rng(0)
    found = np.array([score(drawn(1, rng), drawn(39, rng))[1][0] for _ in range(1000)])
    for level in (0.05, 0.25, 0.5, 0.9):
        assert abs((found <= level + 1e-9).mean() - level) < 4 * np.sqrt(level * (1 - level) / 1000)


def test_the_ranks_are_those_of_the_formula():
    rng = np.random.default_rng(1)
    new, known = drawn(5, rng), drawn(30, rng)
    score, p_value = odd(new, known)
    for one, its, p in zip(new, score, p_value, strict=True):
        rows = np.vstack([known, one])
        centred = rows - rows.mean(0)
        apart = np.sqrt(np.einsum("nk,kl,nl->n", centred, np.linalg.inv(np.cov(rows.T, bias=True)), centred))
        sides = []
        for value in (apart, -rows[:, 0]):
            middle, upper = np.quantile(value, [0.5, 0.95])
            sides.append((value - middle) / (upper - middle))
        whole = np.maximum(*sides)
        assert its == pytest.approx(whole[-1], rel=1e-6)
        assert p == pytest.approx((whole >= whole[-1] - 1e-9).mean())


def test_rows_that_are_unlikely_or_all_too_likely_are_both_found():
    rng = np.random.default_rng(2)
    known = drawn(400, rng)
    low, high = (
        drawn(300, rng) - [3.0, 3.0],
        np.tile([[known[:, 0].max() + 5, known[:, 1].max() + 5]], (2, 1)),
    )
    assert odd(high, known)[1].max() < 0.05 and unlikely(-high[:, 0], -known[:, 0]).min() > 0.9
    power = {name: (p <= 0.05).mean() for name, p in (
        ("odd", odd(low, known)[1]),
        ("typical", atypical(low, known)[1]),
        ("unlikely", unlikely(-low[:, 0], -known[:, 0])),
    )}  # fmt: skip
    assert power["odd"] > 0.65 * power["unlikely"] and power["odd"] > power["typical"] + 0.1


def test_statistics_that_are_not_finite_are_as_far_as_can_be():
    known = drawn(50, np.random.default_rng(3))
    known[0] = -np.inf
    score, p_value = odd(np.array([[-np.inf, 0.0], known[1]]), known)
    assert np.isposinf(score[0]) and p_value[0] == pytest.approx(2 / 51) and p_value[1] > 0.05

"""Accounting, clipping, noise and batches: each against a known answer."""

import numpy as np
import pytest
from elboroom.inference.private.accounting import epsilon_of, most_of, noise_for
from elboroom.inference.private.clipped import COUNTED, LEFT, clipped_sum, released
from elboroom.inference.private.units import grouped
from elboroom.ppl.errors import DataError
from scipy.stats import norm


def gaussian_delta(sigma: float, epsilon: float) -> float:
    """Of one Gaussian mechanism of sensitivity 1, exactly (Balle & Wang 2018)."""
    a, b = 0.5 / sigma - epsilon * sigma, -0.5 / sigma - epsilon * sigma
    return norm.cdf(a) - np.exp(epsilon) * norm.cdf(b)


def test_accounting_gives_known_values():
    assert abs(epsilon_of(4.0, 1e-5, 10_000, 0.01) - 0.947) < 1e-3
    for sigma, delta in ((1.0, 0.126937), (2.0, 0.006830)):
        assert abs(gaussian_delta(sigma, 1.0) - delta) < 1e-6
        assert abs(epsilon_of(sigma, delta, 1, 1.0) - 1.0) < 1e-3
    steps, sigma = 25, 10.0  # without sampling, so many are one of less noise
    assert abs(epsilon_of(sigma, gaussian_delta(sigma / 5, 1.3), steps, 1.0) - 1.3) < 2e-3


def test_noise_is_the_least_that_keeps_the_budget():
    sigma = noise_for(2.0, 1e-6, 500, 0.02)
    assert epsilon_of(sigma, 1e-6, 500, 0.02) <= 2.0 < epsilon_of(sigma - 2e-3, 1e-6, 500, 0.02)


def test_batches_that_are_cut_off_are_as_rare_as_delta_counts_them():
    most = most_of(3.0, 1e-6, 1000, 0.01, 10_000)
    from scipy.stats import binom

    assert (
        1000 * (1 + np.exp(3)) * binom.sf(most, 10_001, 0.01)
        <= 1e-9
        < 1000 * binom.sf(most - 12, 10_000, 0.01)
    )
    assert most < 190 and most_of(3.0, 1e-3, 10, 1.0, 50) == 50


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_unit_more_moves_the_sum_by_clip_at_the_most(dtype):
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-3, 6, 1000)[:, None]
    given = {
        "a": (scale * rng.standard_normal((1000, 7))).astype(dtype),
        "b": (scale * rng.standard_normal((1000, 2))).astype(dtype),
    }
    ones, clip = np.ones(1000, dtype), 0.7
    whole = clipped_sum(given, ones, clip)
    moved = []
    for gone in range(0, 1000, 7):
        there = ones.copy()
        there[gone] = 0
        less = clipped_sum(given, there, clip)
        moved.append(
            np.sqrt(sum(((whole[k].astype(float) - less[k].astype(float)) ** 2).sum() for k in whole))
        )
    assert max(moved) <= clip and max(moved) > 0.99 * clip
    few = {k: 1e-4 * v / scale for k, v in given.items()}  # below it nothing is changed
    np.testing.assert_allclose(clipped_sum(few, ones, clip)["a"], few["a"].sum(0), rtol=2e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_gradient_that_is_not_finite_counts_as_none(bad):
    given = {"a": np.ones((4, 3))}
    given["a"][2, 1] = bad
    with np.errstate(all="ignore"):
        found = clipped_sum(given, np.array([1.0, 1.0, 1.0, 0.0]), 1.0)["a"]
    np.testing.assert_allclose(found, 2 * LEFT * (1 - 1e-3) / np.sqrt(3))


def test_noise_is_that_of_the_sum():
    rng, clip, sigma, rate = np.random.default_rng(1), 0.3, 2.5, 0.1
    given = {"present": np.ones(3), "noise": {"a": rng.standard_normal(20_000), COUNTED: 0.0}}
    constants = {"clip": clip, "noise": sigma * clip, "rate": rate}
    found = released({"a": np.zeros((3, 20_000))}, given, constants)["a"]
    assert abs(found.std() * rate / (sigma * clip) - 1) < 4 / np.sqrt(2 * 20_000)


def test_groups_have_their_rows_and_no_other():
    members, known = grouped(["b", "a", "b", "c", "b"], 5)
    assert [sorted(row[on > 0]) for row, on in zip(members, known, strict=True)] == [[1], [0, 2, 4], [3]]
    assert members[0].tolist() == [1, 1, 1]  # filled up by rows of its own
    with pytest.raises(DataError, match="label for each of 5 rows"):
        grouped(["a"], 5)

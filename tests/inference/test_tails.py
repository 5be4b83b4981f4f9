"""Shapes of the tails of many quantities at once, against those of one at a time by arviz-stats."""

import numpy as np
import pytest
from elboroom.inference.evidence.psis import array_stats, tail_indices
from elboroom.inference.evidence.verdicts import tail_shapes

LAWS = {
    "t": lambda rng, shape: rng.standard_t(2, shape),
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.random(shape) - 0.5,
    "log-normal": lambda rng, shape: np.exp(3 * rng.standard_normal(shape)),
}


@pytest.mark.parametrize("size", [160, 300, 1777, 5000])
@pytest.mark.parametrize("law", LAWS)
def test_shapes_are_those_of_arviz(law, size):
    x = LAWS[law](np.random.default_rng(4), (20, size))
    found = tail_indices(x)
    for row, shape in zip(x, found, strict=True):
        positive = row[row > 0]
        expected = array_stats().psislw(-np.log(positive))[1]
        if 2 * positive.mean() > positive.max():  # no weight is much larger than their mean
            expected = min(expected, 0.0)
        assert shape == pytest.approx(float(expected), abs=1e-6)


def test_what_has_no_tail_has_no_shape():
    some = np.linspace(1.0, 2.0, 100)
    rows = np.stack(
        [np.zeros(100), np.ones(100), np.where(some > 1.9, some, -1.0), np.where(some > 1.5, 2.0, 1.0)]
    )
    assert np.isneginf(tail_indices(rows)).all()
    assert (tail_indices(np.random.default_rng(6).poisson(30, (20, 1777)) - 20.0) < 0.1).all()
    assert tail_indices(np.ones((0, 100))).shape == (0,)


def test_the_worse_of_two_tails_counts():
    rng = np.random.default_rng(5)
    heavy = np.abs(rng.standard_cauchy(4000))
    found = tail_shapes(np.column_stack([heavy, -heavy, rng.standard_normal(4000)]))
    assert found[0] == pytest.approx(found[1]) and found[0] > 0.7
    assert found[2] < 0.2

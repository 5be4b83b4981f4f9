"""Rows of a stream are predicted as those of a file are."""

from __future__ import annotations

import numpy as np
import pytest

import elboroom as er

RNG = np.random.default_rng(0)
NAMES = np.array(["a", "b", "c"], object)
CODES = RNG.integers(0, 3, 60)
X = RNG.standard_normal((60, 3))
Y = CODES + X @ [1.0, -1.0, 0.5] + RNG.standard_normal(60)


@er.model
def groups(g, x, y):
    slope = er.sample("slope", er.Normal(np.zeros(3), 1.0))
    with er.plate("group", er.levels(g)):
        level = er.sample("level", er.Normal(0.0, 2.0))
    with er.plate("row", len(y)):
        mean = er.deterministic("mean", level[g] + x @ slope)
        er.observe("y", er.StudentT(5.0, mean, 1.0), y)


@pytest.fixture(scope="module")
def posterior():
    return er.fit(groups(NAMES[CODES], X, Y), progress=False, guide="full-rank", num_draws=400)


def predicted(posterior, rows, **options):
    found = posterior.predict(by_row=True, g=NAMES[CODES][rows], x=X[rows], **options)["posterior_predictive"]
    return found["y"].to_numpy()[0], found["mean"].to_numpy()[0]


def test_a_file_is_its_rows_one_by_one_bit_for_bit_in_any_order(posterior):
    whole = predicted(posterior, np.arange(60))
    assert whole[0].shape == (400, 60)
    order = RNG.permutation(60)
    shuffled = predicted(posterior, order)
    ones = [predicted(posterior, np.array([i])) for i in range(0, 60, 7)]
    for k in range(2):
        np.testing.assert_array_equal(shuffled[k], whole[k][:, order])
        np.testing.assert_array_equal(np.concatenate([one[k] for one in ones], 1), whole[k][:, ::7])


def test_rows_have_the_law_that_predict_gives_them(posterior):
    y, mean = predicted(posterior, np.arange(12))
    plain = posterior.predict(g=NAMES[CODES][:12], x=X[:12])["posterior_predictive"]
    np.testing.assert_allclose(mean, plain["mean"].to_numpy()[0], rtol=1e-10)
    noise = y - mean  # Student's t with five degrees of freedom
    assert abs(noise.std() - np.sqrt(5 / 3)) < 4 * 0.1
    assert abs(np.median(noise)) < 4 * 0.07


def test_groups_that_were_not_fitted_are_drawn_anew_beside_others(posterior):
    names = np.array(["a", "z", "b", "q"], object)
    found = posterior.predict(by_row=True, new_groups=True, g=names, x=np.zeros((4, 3)))
    mean = found["posterior_predictive"]["mean"].to_numpy()[0]
    alone = posterior.predict(by_row=True, new_groups=True, g=names[2:3], x=np.zeros((1, 3)))
    np.testing.assert_array_equal(alone["posterior_predictive"]["mean"].to_numpy()[0][:, 0], mean[:, 2])
    assert mean[:, 1].std() == pytest.approx(2.0, abs=4 * 2 / np.sqrt(800))
    assert mean[:, 0].std() < 0.5
    with pytest.raises(er.DataError, match=r"groups that were fitted.*rows \[1, 3\]"):
        posterior.predict(by_row=True, g=names, x=np.zeros((4, 3)))


def test_what_cannot_be_predicted_by_row_is_refused(posterior):
    with pytest.raises(er.DataError, match=r"no \['x'\]"):
        posterior.predict(by_row=True, g=NAMES)
    with pytest.raises(er.DataError, match="one length"):
        posterior.predict(by_row=True, g=NAMES, x=X[:2])
    x = X[:3].copy()
    x[1, 2] = np.nan
    with pytest.raises(er.DataError, match=r"rows \[1\]"):
        posterior.predict(by_row=True, g=NAMES, x=x)

"""Scores of units against known factors, where they are known; and units of several starts."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from elboroom.inference.deep.factors import (
    binned,
    entropy,
    factor_table,
    factors_of,
    identified,
    information,
    matched,
)

import elboroom as er

SPRITES = np.array(list(product(range(3), range(2), range(5), range(5))))  # shape, size, x, y
NAMES = ["shape", "size", "x", "y"]


def sprite(shape, size, x, y, side=10):
    """A square, a disc or a cross, of two sizes, at one of 25 places."""
    rows, columns = np.mgrid[:side, :side]
    down, right, reach = rows - 2 - 1.25 * y, columns - 2 - 1.25 * x, 1.2 + 0.8 * size
    if shape == 0:
        return np.maximum(np.abs(down), np.abs(right)) <= reach
    if shape == 1:
        return down**2 + right**2 <= reach**2
    return (np.minimum(np.abs(down), np.abs(right)) < 0.6) & (
        np.maximum(np.abs(down), np.abs(right)) <= reach
    )


@cache
def rows():
    some = np.tile(SPRITES, (4, 1))
    return some, {name: some[:, k] for k, name in enumerate(NAMES)}


def table(means, values):
    return factor_table(means, factors_of(values, len(means)), [f"z[{j}]" for j in range(means.shape[1])])


def test_units_that_are_the_factors_have_all_scores_of_one():
    some, values = rows()
    found = table(some[:, [2, 0, 3, 1]] * 1.7 - 0.3, values)
    np.testing.assert_allclose(found["mig"], 1, atol=1e-9)
    assert found["unit"].to_list()[:4] == ["z[1]", "z[3]", "z[0]", "z[2]"]
    assert (found.loc["all", ["sap", "completeness", "disentanglement", "informativeness"]] > 0.98).all()
    assert found.loc["all", "mig_se"] < 1e-9


def test_units_that_tell_the_same_have_no_gap():
    some, values = rows()
    mixture = some @ np.array([1.0, 0.7, 0.4, 0.2])
    found = table(np.stack([mixture, mixture, mixture], 1), values)
    np.testing.assert_allclose(found["mig"], 0, atol=1e-12)
    np.testing.assert_allclose(found["sap"], 0, atol=1e-12)
    np.testing.assert_allclose(found["completeness"], 0, atol=1e-9)
    turned = table(some[:, 2:] @ np.array([[1.0, 1.0], [1.0, -1.0]]), {"x": values["x"], "y": values["y"]})
    assert turned.loc["all", "disentanglement"] < 0.01 and turned.loc["all", "informativeness"] > 0.99
    assert turned.loc["all", "mig"] < 0.02  # x and y are told by both units alike


def test_information_is_that_of_an_enumeration():
    """A table of counts, each cell as often as its probability says; Miller's correction is known."""
    joint = np.array([[6, 2, 0], [1, 3, 4]]) * 25
    left, right = (np.repeat(side.ravel(), joint.ravel()) for side in np.indices(joint.shape))
    share = joint / joint.sum()
    inner = share[share > 0] * np.log((share / (share.sum(1, keepdims=True) * share.sum(0)))[share > 0])
    corrected = inner.sum() + ((2 - 1) + (3 - 1) - (5 - 1)) / (2 * len(left))
    assert information(left, right) == pytest.approx(corrected, abs=1e-12)
    assert entropy(left) == pytest.approx(np.log(2) + 1 / (2 * len(left)), abs=1e-12)
    assert set(binned(np.linspace(0, 1, 400)[:, None]).ravel()) == set(range(20))


def test_the_error_of_the_gap_is_its_spread():
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        code = rng.integers(0, 3, 400)
        means = np.stack([code + 0.5 * rng.normal(size=400), code + rng.normal(size=400)], 1)
        found.append(table(means, {"code": code}).loc["code", ["mig", "mig_se"]].to_numpy(float))
    gap, error = np.array(found).T
    assert error.mean() == pytest.approx(
        gap.std(), rel=0.35
    )  # a standard deviation of 60 is known to a tenth


def test_units_of_other_starts_are_matched():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(500, 3))
    found = matched(own, [-own[:, [2, 0, 1]], own[:, [1, 2, 0]] * 3 + 1], ["a", "b", "c"])
    np.testing.assert_allclose(found, 1, atol=1e-12)
    assert identified(found, "row").verdict == "ok"
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = identified(matched(own, [own @ turn], ["a", "b", "c"]), "row")
    assert turned.verdict == "caution" and "not identified" in turned.advice
    still = matched(np.column_stack([own[:, :1], np.zeros(500)]), [own], ["a", "b"])
    assert list(still.index) == ["a"]


@er.model
def plane(x):
    weight = er.param("weight", np.random.default_rng(2).normal(size=(2, 4)))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ weight, 0.3).to_event(1), x)


@pytest.mark.slow
def test_a_posterior_says_so_of_its_own_units():
    """Two units of a linear model with equal noise may be turned: another start has others."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, 4, size=200)
    x = np.outer(code - 1.5, [1.0, 1.0, 0.0, 0.0]) + np.outer(rng.normal(size=200), [0.0, 0.0, 1.0, -1.0])
    posterior = er.fit(plane(x + 0.3 * rng.normal(size=x.shape)), guide=er.Amortized(), progress=False)
    found = posterior.latent.factors({"code": code, "word": np.array(["a", "b", "c", "d"])[code]})
    assert found.loc["code", "informativeness"] > 0.9
    assert (found["mig_low"] <= found["mig"]).all() and found.attrs["bins"] == 20
    agreed = posterior.latent.agreement(posterior)
    assert agreed.attrs["mcc"] == pytest.approx(1) and agreed.attrs["finding"].name == "not identified"
    for wrong, words in (({}, "factors by name"), ({"a": code[:5]}, "one value for each"), ({"a": 0 * code}, "between two"),
                         ({"a": np.where(code, np.nan, 1.0)}, "finite")):  # fmt: skip
        with pytest.raises(er.ElboroomError, match=words):
            posterior.latent.factors(wrong)
    with pytest.raises(er.InferenceError, match="other posteriors"):
        posterior.latent.agreement()

"""Prediction matches groups by their labels, whatever the labels came as; unseen ones are said to be new."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import elboroom as er

NUM = 400
LEVEL = np.arange(1.0, 10.0) * 3  # of groups 1 to 9
IDS = np.repeat(np.arange(1, 10), 6)


@er.model
def groups(group, y=None):
    with er.plate("group", er.levels(group)):
        theta = er.sample("theta", er.Normal(0, 20))
    with er.plate("row", len(group)):
        mu = er.deterministic("mu", theta[group])
        er.observe("y", er.Normal(mu, 0.5), y)


def _outcomes():
    return LEVEL[IDS - 1] + 0.5 * np.random.default_rng(0).normal(size=len(IDS))


CATEGORY = pd.Series(IDS).astype("category")


@pytest.fixture(scope="module", params=["category", "identifiers"])
def fitted(request):
    given = CATEGORY if request.param == "category" else IDS
    return er.fit(groups(given, _outcomes()), num_draws=NUM, progress=False, refine=False)


@pytest.mark.parametrize(
    "asked",
    [
        [7, 1, 3],
        np.array([7, 1, 3]),
        pd.Series([7, 1, 3]),
        np.array([7.0, 1.0, 3.0]),
        ["7", "1", "3"],
        pd.Series([7, 1, 3]).astype("category"),
        pd.Categorical([7, 1, 3], categories=[9, 7, 3, 1]),
    ],
)
def test_groups_are_matched_by_label(fitted, asked, tmp_path):
    mean = _outcomes().reshape(9, 6).mean(1)[[6, 0, 2]]  # the prior's pull is 2e-4 of it
    loaded = er.load(fitted.save(tmp_path / "posterior"), program=groups(IDS, None))
    for posterior in (fitted, loaded):
        found = posterior.predict(group=asked)["posterior_predictive"]["mu"].values[0].mean(0)
        assert np.all(np.abs(found - mean) < 5 * 0.5 / np.sqrt(6 * NUM) + 0.01)


def test_unseen_labels_are_refused_unless_they_are_new(fitted):
    with pytest.raises(er.DataError, match=r"'group'.*\['12'\] in rows \[1\].*new_groups='group'"):
        fitted.predict(group=[1, 12])
    drawn = fitted.predict(group=[1, 12], new_groups="group")["posterior_predictive"]["mu"].values[0]
    assert drawn[:, 0].std() < 1 and drawn[:, 1].std() > 15
    with pytest.raises(er.DataError, match=r"'0'"):
        fitted.predict(group=[0, 1])  # a position, where labels are meant


def test_a_labelled_outcome_is_predicted_for_new_rows():
    @er.model
    def votes(x, y=None):
        b = er.sample("b", er.Normal(np.zeros(3), 1.0).to_event(1))
        with er.plate("row", len(x)):
            er.observe("y", er.Categorical(logits=b * er.math.asarray(x)[:, None]), y)

    x = np.linspace(-1, 1, 12)
    names = np.where(x > 0.3, "red", np.where(x > -0.3, "green", "blue"))
    posterior = er.fit(votes(x, names), num_draws=NUM, progress=False, refine=False)
    found = posterior.predict(x=np.array([3.0, -3.0]))["posterior_predictive"]["y"].values[0]
    assert (found[:, 0] == 2).mean() > 0.6 and (found[:, 1] == 0).mean() > 0.6


def test_coords_that_a_model_states_are_those_of_its_rows():
    @er.model
    def schools(sigma, y=None):
        mu = er.sample("mu", er.Normal(0, 5))
        with er.plate("school", len(sigma), coords=list("ABC")):
            theta = er.sample("theta", er.Normal(mu, 2.0))
            er.observe("y", er.Normal(theta, sigma), y)

    sigma = np.ones(3)
    posterior = er.fit(
        schools(sigma, np.array([1.0, 2.0, 3.0])), num_draws=4000, progress=False, refine=False
    )
    drawn = posterior.predict(sigma=[10.0], new_groups="school")["posterior_predictive"]["y"].values[0]
    mu = posterior.values["mu"]
    assert drawn.shape == (4000, 1)
    assert abs(drawn.var() / (mu.var() + 4 + 100) - 1) < 4 * np.sqrt(2 / 4000)
    with pytest.raises(er.ShapeError, match="3 elements.*got 1.*new_groups='school'"):
        posterior.predict(sigma=[10.0])
    assert posterior.predict(sigma=sigma)["posterior_predictive"]["school"].values.tolist() == list("ABC")
    with pytest.raises(er.ShapeError, match="3 in coords"):
        schools(np.ones(2), np.ones(2)).trace()


def test_new_rows_may_have_the_old_names_in_another_order():
    @er.model
    def line(x, y=None):
        b = er.sample("b", er.Normal(0, 1))
        with er.plate("row", len(x)):
            er.observe("y", er.Normal(b * x, 0.1), y)

    table = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.1, 2.9]}, index=["a", "b", "c"])
    posterior = er.fit(line(table["x"], table["y"]), num_draws=NUM, progress=False, refine=False)
    drawn = posterior.predict(x=table["x"].iloc[::-1])["posterior_predictive"]["y"].values[0].mean(0)
    assert np.all(np.abs(drawn - [3.0, 2.0, 1.0]) < 0.1)

"""What informs a quantity, against precisions that are known; what changes of arguments do, against expectations that are."""

from __future__ import annotations

import numpy as np
import pytest
from elboroom.diagnostics.report.explained import effects_section, why_section
from scipy.special import expit

import elboroom as er


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, [3.0, 0.5]).to_event(1))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(x @ b, 1.5), y)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(40), rng.normal(size=40)], 1)
    x[3] = [1, 6]
    return x, x @ [1, 0.4] + 1.5 * rng.normal(size=40)


@pytest.fixture(scope="module")
def posterior(data):
    return er.fit(line(*data), progress=False)


@pytest.mark.parametrize("j", [0, 1])
def test_shares_are_precisions_and_pulls_derivatives(posterior, data, j):
    """Of a linear model both are known: (xᵀu)²/σ² with u = Σv/sd, and Σx(y − xᵀm)/σ² over the sd."""
    x, y = data
    cov = np.linalg.inv(np.diag([1 / 9, 4.0]) + x.T @ x / 2.25)
    u, sd = cov[:, j] / np.sqrt(cov[j, j]), np.sqrt(cov[j, j])
    share = (x @ u) ** 2 / 2.25
    found = er.why(posterior, f"b[{j}]")
    np.testing.assert_allclose(found.rows["share"], share, atol=0.003 + 0.02 * share.max())
    assert found.prior == pytest.approx(1 - share.sum(), abs=0.01) and abs(found.total - 1) < 4 * np.sqrt(
        4 / 4000
    )
    assert found.sites["b"] == pytest.approx(found.prior, abs=0.005) and found.pooling == 0
    pull = (cov @ (x.T * (y - x @ (cov @ (x.T @ y / 2.25)))) / 2.25)[j] / sd
    assert (np.abs(found.rows["pull"] - pull) / found.rows["pull_se"]).max() < 4
    assert [f.name for f in found.findings] == (["share of a row"] if j else [])
    assert f"{found.prior:.1%} by priors, 0.0% by laws of groups" in repr(found)


def test_a_row_that_is_left_out_moves_the_mean_by_its_pull(posterior, data):
    found = er.why(posterior, "b[1]")
    row = int(found.rows["pull"].abs().where(found.rows["share"] < 0.1).idxmax())
    keep = np.arange(40) != row
    other = er.fit(line(data[0][keep], data[1][keep]), progress=False)
    before, after = (p.summary().loc["b[1]"] for p in (posterior, other))
    moved = (after["mean"] - before["mean"]) / before["sd"]
    assert moved == pytest.approx(-found.rows["pull"][row], rel=0.2, abs=0.04)


@er.model
def groups(g, y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("group", er.levels(g)):
        u = er.sample("u", er.Normal(mu, 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(u[g], 3.0), y)


def test_groups_tell_what_they_pool():
    """Of a group's mean the law of groups has the share that shrinkage has: one over one plus the ratio of precisions, nearly."""
    rng = np.random.default_rng(1)
    sizes = [2, 8, 30, 30, 30, 30, 30, 30]
    g = np.repeat(list("abcdefgh"), sizes)
    y = rng.normal(0, 2, 8)[np.repeat(np.arange(8), sizes)] + 3 * rng.normal(size=len(g))
    posterior = er.fit(groups(g, y), progress=False)
    precision, rows = np.zeros((9, 9)), np.repeat(np.arange(8), sizes)
    precision[8, 8] = 1 / 100 + 8 / 4
    for k, size in enumerate(sizes):
        precision[k, k], precision[k, 8], precision[8, k] = 1 / 4 + size / 9, -1 / 4, -1 / 4
    cov = np.linalg.inv(precision)
    for k in (0, 1, 2):
        own = er.why(posterior, f"u[{'abc'[k]}]")
        u = cov[:, k] / np.sqrt(cov[k, k])
        exact = np.bincount(rows, u[rows] ** 2 / 9, minlength=8)
        table = own.groups("g")
        assert table.loc["abc"[k], "share"] == pytest.approx(exact[k], abs=0.03)
        pooled = sum((u[i] - u[8]) ** 2 / 4 for i in range(8))
        assert own.pooling == pytest.approx(pooled, abs=0.03) and own.prior == pytest.approx(
            u[8] ** 2 / 100, abs=0.02
        )
    assert table.index[0] == "c" and table["rows"].sum() == len(g)
    with pytest.raises(er.InferenceError, match=r"one of \['g'\]"):
        own.groups("y")


@er.model
def logistic(x, g, y):
    a = er.sample("a", er.Normal(0, 2))
    b = er.sample("b", er.Normal(0, 2))
    with er.plate("level", er.levels(g)):
        c = er.sample("c", er.Normal(0, 2))
    with er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(logits=a + b * x[:, 1] + c[g]), y)


@pytest.fixture(scope="module", params=["jax", "torch"])
def binary(request):
    rng = np.random.default_rng(2)
    x, g = rng.normal(size=(300, 2)), rng.choice(["low", "mid", "high"], 300)
    y = (rng.uniform(size=300) < expit(0.3 + x[:, 1] + (g == "high"))) * 1
    return er.fit(logistic(x, g, y), backend=request.param, refine=False, progress=False), x, g


def test_contrasts_are_averages_of_expected_outcomes(binary):
    posterior, x, g = binary
    draws = {k: posterior.draws["posterior"][k].to_numpy()[0] for k in "abc"}
    labels = list(posterior.draws["posterior"]["c"].coords["level"].to_numpy())

    def expected(x1, codes):
        return expit(draws["a"][:, None] + draws["b"][:, None] * x1 + draws["c"][:, codes])

    codes = np.array([labels.index(one) for one in g])
    slope = expected(x[:, 1] + 0.5, codes) - expected(x[:, 1], codes)
    found = er.effects(posterior, "x[1]", change=0.5).summary().iloc[0]
    own = slope.mean(1)
    assert abs(found["mean"] - own.mean()) < 5 * own.std() / 20
    assert found[["q5", "q95"]].to_numpy() == pytest.approx(
        np.quantile(own, [0.05, 0.95]), abs=0.35 * own.std()
    )
    assert found["most"] == pytest.approx(np.quantile(slope.mean(0), 0.95), rel=0.05)
    level = expected(x[:, 1], np.full(300, labels.index("high"))) - expected(
        x[:, 1], np.full(300, labels.index("low"))
    )
    where = g == "mid"
    table = er.effects(posterior, "g", change=["low", "high"], where=where).summary()
    own = level[:, where].mean(1)
    assert (
        table.index.tolist() == ["high against low"]
        and abs(table.iloc[0]["mean"] - own.mean()) < 5 * own.std() / 20
    )
    assert len(er.effects(posterior, "g").summary()) == 2


def test_two_values_are_contrasted_and_what_is_far_from_the_data_is_told(posterior, data):
    x, _ = data
    near, far = (er.effects(posterior, "x[1]", change) for change in (None, (0.0, 50.0)))
    assert near.findings == () and far.findings[0].value == 1 and "outside the data" in repr(far)
    assert "the model's form" in effects_section(posterior).replace("&#x27;", "'")
    some = er.effects(posterior, "x[1]", 8.0, where=x[:, 1] < 0)
    beyond = (x[:, 1] + 8 > x[:, 1].max() + x[:, 1].std())[x[:, 1] < 0].mean()
    assert some.outside["+8"] == pytest.approx(beyond) and 0 < beyond < 1
    treated = er.fit(line(np.stack([np.ones(40), np.arange(40) % 2], 1), data[1]), progress=False)
    table = er.effects(treated, "x[1]").summary()
    assert table.index.tolist() == ["1 against 0"]
    assert abs(table["mean"].iloc[0] - treated.draws["posterior"]["b"].to_numpy()[0][:, 1].mean()) < 0.05


def test_classes_are_contrasted_one_by_one():
    @er.model
    def softmax(x, y):
        w = er.sample("w", er.Normal(0, 2).expand([3]).to_event(1))
        with er.plate("row", len(x)):
            er.observe("y", er.Categorical(logits=x[:, None] * w), y)

    rng = np.random.default_rng(3)
    x = rng.normal(size=150)
    y = (x[:, None] * [1.0, 0.0, -1.0] + rng.gumbel(size=(150, 3))).argmax(1)
    posterior = er.fit(softmax(x, y), guide="laplace", refine=False, progress=False)
    table = er.effects(posterior, "x", change=(-1.0, 1.0)).summary()
    assert table.index.tolist() == [f"1 against -1, class {k}" for k in range(3)]
    w = posterior.draws["posterior"]["w"].to_numpy()[0]
    odds = np.exp(np.stack([-w, w]))
    own = odds / odds.sum(-1, keepdims=True)
    difference = own[1] - own[0]
    assert np.abs(table["mean"] - difference.mean(0)).max() < 5 * difference.std(0).max() / 20
    assert table["mean"].sum() == pytest.approx(0, abs=1e-9)


def test_reports_show_what_was_asked_for(binary, posterior):
    fitted, *_ = binary
    er.effects(fitted, "x[1]")
    shown = effects_section(fitted)
    assert "all else in each row as it is" in shown and "x[1]" in shown and effects_section(posterior) == ""
    er.why(fitted, "b")
    assert "of laws of groups" in why_section(fitted)


def test_what_cannot_be_asked_is_said(binary, posterior):
    fitted, *_ = binary
    for call, words in (
        (lambda: er.effects(fitted, "z"), r"of \['x', 'g'\], got 'z'"),
        (lambda: er.effects(fitted, "x"), "a column, got 2 of them"),
        (lambda: er.effects(fitted, "x[7]"), "one of a matrix"),
        (lambda: er.effects(fitted, "g", change=["low", "lo"]), "two or more of"),
        (lambda: er.effects(fitted, "x[0]", change="big"), "a number to add"),
        (lambda: er.effects(fitted, "x[0]", where=[1, 2]), "300 of True and False"),
        (lambda: er.effects(fitted, "x[0]", outcome="z"), r"one of \['y'\]"),
        (lambda: er.effects(fitted, 3), r"of \['x', 'g'\], got 3"),
        (lambda: er.effects(fitted, "g", change=["low", "low"]), "two or more of"),
    ):
        with pytest.raises(er.DataError, match=words):
            call()
    for quantity in ("c", ["b"], None):
        with pytest.raises(er.InferenceError, match="correct the name".capitalize()):
            er.why(posterior, quantity)

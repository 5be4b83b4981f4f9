"""What people do with encoded rows: leaks, anomalies, bits, and how good made-up rows are."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from elboroom.inference.deep.distances import tables
from elboroom.inference.deep.leak import leak
from scipy.stats import kstest

import elboroom as er


@pytest.mark.parametrize("sizes", [(150, 150, 150), (180, 20, 240)])
def test_an_innocent_generator_is_found_at_the_asked_rate(sizes):
    found = []
    for seed in range(200):
        rows = np.random.default_rng(seed).normal(size=(sum(sizes), 4))
        trained, held, made = np.split(rows, np.cumsum(sizes)[:-1])
        found.append(leak(made, trained, held, seed))
    assert kstest([one.p_value for one in found], "uniform").pvalue > 0.01
    assert kstest([one.auc_p_value for one in found], "uniform").pvalue > 0.01
    assert sum(one.verdict != "ok" for one in found) <= 7  # 2 expected
    assert np.mean([one.auc for one in found]) == pytest.approx(0.5, abs=0.01)


def test_equal_rows_are_split():
    """Of a law with eight values, rows that are equal to some of both kinds."""
    found = []
    for seed in range(200):
        rows = np.random.default_rng(seed).integers(0, 2, (450, 3))
        found.append(
            leak(rows[:150].astype(float), rows[150:300].astype(float), rows[300:].astype(float), seed)
        )
    assert np.mean([one.share for one in found]) == pytest.approx(0.5, abs=0.02)
    assert sum(one.verdict == "untrusted" for one in found) <= 7


def test_a_generator_that_learned_by_heart_is_found():
    rng = np.random.default_rng(0)
    trained, held, fresh = rng.normal(size=(450, 20)), rng.normal(size=(50, 20)), rng.normal(size=(450, 20))
    near = trained[rng.integers(0, 450, 450)] + 0.05 * rng.normal(size=(450, 20))
    found = leak(near, trained, held)
    assert found.p_value < 1e-6 and found.auc > 0.7 and found.verdict == "untrusted"
    assert found.copied == 0 and leak(trained, trained, held).copied == 1
    half = leak(np.where(np.arange(450)[:, None] < 225, near, fresh), trained, held)
    assert half.verdict == "untrusted" and half.as_if == pytest.approx(0.5, abs=0.2) and half.detectable < 0.5
    few = leak(near[:20], trained, held[:3])  # all of twenty would be nearest to rows trained on anyway
    assert few.verdict == "not assessable" and "hold out more" in str(few)


def test_columns_of_all_kinds_have_the_same_say():
    rng = np.random.default_rng(0)
    rows = {
        "euros": 1e4 * rng.normal(size=4000),
        "kind": rng.integers(0, 5, 4000),
        "two": rng.integers(0, 2, (4000, 2)),
    }
    one, other = tables([{k: v[:2000] for k, v in rows.items()}, {k: v[2000:] for k, v in rows.items()}],
                        {"euros": "", "kind": "nominal", "two": "binary"})  # fmt: skip
    assert one.shape == (2000, 1 + 5 + 2)
    square = (one - other) ** 2
    assert np.allclose(
        [square[:, 0].mean(), square[:, 1:6].sum(1).mean(), square[:, 6].mean()], 2.0, rtol=0.1
    )


# -- pages ---------------------------------------------------------------------------------------------------


@cache
def pages():
    """Digits somewhere on a page of 12 x 12, in any order."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    grey = rng.permutation(load_digits().data)[:500].reshape(-1, 8, 8) / 16
    out = 0.02 * rng.normal(size=(500, 12, 12))
    for page, digit, (down, right) in zip(out, grey, rng.integers(0, 5, (500, 2)), strict=True):
        page[down : down + 8, right : right + 8] += digit
    return out.reshape(500, -1)


@cache
def paged():
    """A linear model at its greatest likelihood (Tipping and Bishop 1999), with an encoder."""
    x = pages()[:300]
    value, vector = np.linalg.eigh(np.cov(x.T, bias=True))
    noise, centre = value[:-4].mean(), x.mean(0)
    slopes = (np.sqrt(value[-4:] - noise) * vector[:, -4:]).T

    @er.model
    def linear(x):
        with er.plate("page", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([4]).to_event(1))
            mean = z @ er.math.asarray(slopes) + er.math.asarray(centre)
            er.observe("x", er.Normal(mean, np.sqrt(noise)).to_event(1), x)

    return er.fit(
        linear(x),
        guide=er.Amortized(er.nn.MLP(144, [], 8), within="mean-field"),
        validation=0.5,
        progress=False,
        refine=False,
    )


@pytest.mark.parametrize("score", ["both", "typicality", "log_prob"])
def test_a_blank_page_is_likely_and_an_anomaly_all_the_same(score):
    blank = np.repeat(np.array([0.0, 0.05])[:, None], 144, 1)
    found = paged().latent.anomalies(np.concatenate([blank, pages()[300:]]), score=score)
    p_value = found["p_value"].to_numpy()
    if score == "log_prob":
        assert (p_value[:2] > 0.5).all()
    else:
        assert (p_value[:2] < 0.05).all() and found["anomaly"].to_numpy()[:2].all()
    for level in (0.05, 0.1, 0.3):
        share = (p_value[2:] <= level).mean()
        assert abs(share - level) < 3.5 * np.sqrt(level * (1 - level) * (1 / 150 + 1 / 200))


# -- bits ----------------------------------------------------------------------------------------------------


@er.model
def table(amount, kind, count):
    """A row of three kinds of columns, by one hidden number."""
    slope = er.param("slope", np.array([0.5, -0.5, 0.2]))
    level = er.param("level", np.zeros((2, 3)))
    rate = er.param("rate", np.zeros(2))
    with er.plate("row", len(kind)):
        z = er.sample("z", er.Normal(0, 1))
        er.observe("amount", er.Normal(z[:, None] * slope, 0.7).to_event(1), amount)
        er.observe("kind", er.Categorical(logits=level[0] + z[:, None] * level[1]), kind)
        er.observe("count", er.Poisson(er.math.exp(rate[0] + z * rate[1])), count)


def rows_of_a_table(num, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=num)
    logits = np.array([0.5, 0, -0.5]) + z[:, None] * [1.0, 0, -1]
    return {
        "amount": z[:, None] * [1.0, -1, 0.5] + 0.7 * rng.normal(size=(num, 3)),
        "kind": (logits + rng.gumbel(size=(num, 3))).argmax(1),
        "count": rng.poisson(np.exp(1 + 0.4 * z)),
    }


@cache
def tabled():
    return er.fit(table(**rows_of_a_table(400, 0)), guide=er.Amortized(), progress=False, refine=False)


def exact_bits(data, step):
    """Of rows of the table by Gauss and Hermite, at the fitted arrays, amounts rounded to steps."""
    from scipy.stats import norm, poisson

    own = {k: np.asarray(v, float) for k, v in tabled().learned.items()}
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    x = data["amount"][:, None]
    mean = z[:, None] * own["slope"]
    inside = norm.cdf(x + step / 2, mean, 0.7) - norm.cdf(x - step / 2, mean, 0.7)
    amount = np.log(np.maximum(inside, 1e-300)).sum(2)
    logits = own["level"][0] + z[:, None] * own["level"][1]
    kind = (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[:, data["kind"]].T
    count = poisson(np.exp(own["rate"][0] + z * own["rate"][1])).logpmf(data["count"][:, None])
    return -np.log2(np.exp(amount + kind + count) @ (weight / weight.sum()))


@pytest.mark.parametrize("step", [0.1, 3.0])
def test_bits_are_those_of_the_rounded_rows_or_more(step):
    data = rows_of_a_table(200, 1)
    data["amount"] = step * np.round(data["amount"] / step)
    found = tabled().latent.bits(data, step={"amount": step})
    right, mine = exact_bits(data, step), found["bits"].to_numpy()
    off = mine - right
    se = off.std() / np.sqrt(len(off))
    if step < 0.7:
        assert abs(off.mean()) < 4 * se + 0.01
    else:
        assert off.mean() > 4 * se  # as wide as the noise: never too few
    np.testing.assert_allclose(found["per_number"], mine / 5)
    assert (found["bits_back"].to_numpy() >= mine - 0.1).all()


def test_endless_numbers_have_no_bits():
    data = rows_of_a_table(5, 1)
    with pytest.raises(er.DataError, match="a step for \\['amount'\\], to which their numbers are rounded"):
        tabled().latent.bits(data)
    with pytest.raises(er.DataError, match="a positive number"):
        tabled().latent.bits(data, step=0.0)


# -- made-up rows --------------------------------------------------------------------------------------------


def test_rows_of_the_law_are_not_told_from_real_ones_and_others_are():
    latent, fresh = tabled().latent, rows_of_a_table(400, 3)
    right = latent.quality(synthetic=fresh, holdout=rows_of_a_table(400, 4))
    assert [finding.verdict for finding in right.findings] == ["ok", "ok"] and right.num_rows == 400
    assert right.frechet < 3 * right.frechet_real
    assert right.diversity == pytest.approx(right.diversity_real, rel=0.1)
    assert right.nearest == pytest.approx(right.nearest_real, rel=0.3)
    dull = {**fresh, "amount": 0.3 * fresh["amount"], "kind": np.zeros(400, int)}
    poor = latent.quality(synthetic=dull, holdout=rows_of_a_table(400, 4))
    assert [finding.verdict for finding in poor.findings] == ["misfit", "misfit"]
    moved = latent.quality(
        lambda rows: rows["amount"], {**fresh, "amount": fresh["amount"] + 0.5}, rows_of_a_table(400, 4)
    )
    assert moved.findings[0].verdict == "misfit" and moved.findings[1].verdict == "ok"
    assert moved.frechet == pytest.approx(0.75, abs=0.3)  # three columns, each half a unit away


def test_the_distance_between_gaussians_is_that_of_their_moments():
    from elboroom.inference.deep.quality import frechet
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(60, 4)) + 1
    a, b = (np.cov(rows.T, bias=True) for rows in (one, other))
    right = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(one, other) == pytest.approx(right, rel=1e-8)


def test_a_fitted_table_gives_nothing_away_and_its_copies_do():
    latent = tabled().latent
    own = latent.leak(seed=1)
    assert own.verdict == "ok" and own.num_trained == own.num_synthetic == 360 and own.num_held == 40
    copied = latent.leak(
        {k: v[np.setdiff1d(np.arange(400), latent.held_out)] for k, v in rows_of_a_table(400, 0).items()}
    )
    assert copied.p_value < 1e-6 and copied.copied == 1 and copied.verdict == "untrusted"
    assert latent.leak(rows_of_a_table(360, 5), holdout=rows_of_a_table(400, 6)).verdict == "ok"
    with pytest.raises(er.DataError, match="data for"):
        latent.leak({"amount": np.zeros((3, 3))})

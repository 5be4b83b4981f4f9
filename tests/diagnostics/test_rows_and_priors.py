"""Leave-one-out by row, and priors against data, on fitted models."""

import numpy as np
import pytest
from elboroom.diagnostics.checks import loo, priors
from elboroom.ppl.simulate import prior_values

import elboroom as er

RNG = np.random.default_rng(5)
Y = RNG.normal(3.0, 1.0, 60)


@er.model
def normal(y, centre, width):
    mu = er.sample("mu", er.Normal(centre, width))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1.0), y)


def fitted(y=Y, centre=0.0, width=10.0):
    return er.fit(normal(y, centre, width), progress=False)


@pytest.fixture(scope="module")
def plain():
    return fitted()


def test_leave_one_out_is_that_of_the_conjugate_model(plain):
    found = loo.leave_one_out(plain)["y"]
    n = len(Y)
    exact = []
    for i in range(n):
        rest = np.delete(Y, i)
        precision = (n - 1) + 0.01
        mean, variance = rest.sum() / precision, 1 + 1 / precision
        exact.append(-0.5 * np.log(2 * np.pi * variance) - 0.5 * (Y[i] - mean) ** 2 / variance)
    assert np.abs(found.elpd - exact).max() < 0.02 and found.khat.max() < 0.5
    assert {f.name: f.verdict for f in loo.check(plain)} == {"influential rows": "ok", "LOO-PIT": "ok"}


def test_leave_one_out_is_that_of_arviz_stats(plain):
    import arviz_stats

    found = loo.leave_one_out(plain)["y"]
    theirs = arviz_stats.loo(plain.draws, pointwise=True, var_name="y")
    np.testing.assert_allclose(
        found.elpd, theirs.elpd_i.values, atol=1e-4
    )  # their tail has a few draws more or less
    np.testing.assert_allclose(found.khat, theirs.pareto_k.values, atol=0.05)
    np.testing.assert_allclose([found.estimate.se, found.estimate.p], [theirs.se, theirs.p], rtol=1e-3)
    plain.draws["posterior_predictive"]
    places = arviz_stats.loo_pit(plain.draws, var_names="y")["y"].values
    np.testing.assert_allclose(found.places, places, atol=1e-3)


GAPS = np.arange(60) % 7 == 3


def test_rows_without_an_outcome_are_left_out_of_leave_one_out():
    """The same as where they are not there; and models of them are compared."""
    missing, dropped = fitted(np.where(GAPS, np.nan, Y)), fitted(Y[~GAPS])
    found, expected = (loo.leave_one_out(one)["y"] for one in (missing, dropped))
    np.testing.assert_allclose(found.elpd, expected.elpd, atol=0.02)
    assert found.estimate.elpd == pytest.approx(expected.estimate.elpd, abs=0.1)
    assert found.labels == [f"y[{i}]" for i in np.flatnonzero(~GAPS)]
    assert {f.name for f in loo.check(missing)} == {"influential rows", "LOO-PIT"}
    narrow = fitted(np.where(GAPS, np.nan, Y), width=0.1)
    table = er.compare({"wide": missing, "narrow": narrow}).table
    assert list(table.index) == ["wide", "narrow"]
    assert table.loc["wide", "elpd"] == pytest.approx(expected.estimate.elpd, abs=0.1)
    with pytest.raises(er.DataError, match="the outcomes of 'wide'"):
        er.compare({"wide": missing, "other": fitted()})


@er.model
def vectors(y):
    mu = er.sample("mu", er.Normal(np.zeros(2), 10.0).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1.0).to_event(1), y)


@er.model
def shares(y):
    p = er.sample("p", er.Beta(1, 1))
    with er.plate("column", 4), er.plate("row", len(y)):
        er.observe("y", er.Bernoulli(p), y)


def test_rows_of_vectors_and_tables_with_gaps_are_left_out_one_by_one():
    y = RNG.normal(size=(20, 2))
    y[[2, 5]] = np.nan
    found = loo.leave_one_out(er.fit(vectors(y), refine=False, progress=False))["y"]
    assert found.elpd.shape == (18,) and found.labels[2:4] == ["y[3]", "y[4]"]
    table = np.where(RNG.uniform(size=(15, 4)) < 0.1, np.nan, RNG.uniform(size=(15, 4)) < 0.3)
    found = loo.leave_one_out(er.fit(shares(table), refine=False, progress=False))["y"]
    seen = table[~np.isnan(table)]
    rest = (1 + seen.sum() - seen) / (2 + len(seen) - 1)  # the share that the others predict
    np.testing.assert_allclose(found.elpd, np.log(np.where(seen == 1, rest, 1 - rest)), atol=0.01)


def test_rows_left_out_show_a_likelihood_that_is_too_wide():
    noise = np.random.default_rng(1).normal(size=60)
    for width, verdict in ((1.0, "ok"), (0.6, "caution"), (0.3, "misfit")):
        assert {f.name: f.verdict for f in loo.check(fitted(3 + width * noise))}["LOO-PIT"] == verdict


def test_a_row_that_the_answer_hangs_on_is_named():
    y = np.append(Y[:8], 60.0)
    finding = next(f for f in loo.check(fitted(y)) if f.name == "influential rows")
    assert finding.verdict == "caution" and "y[8]" in finding.advice


def test_a_prior_against_the_data_is_named(plain):
    found = {f.name: f for f in priors.check(plain)}
    assert found["prior and data"].verdict == "ok" and found["prior predictions"].verdict == "ok"
    found = {f.name: f for f in priors.check(fitted(centre=-4.0, width=0.3))}
    assert found["prior and data"].verdict == "caution" and found["prior and data"].quantity == "mu"
    assert found["prior predictions"].verdict == "caution"


def test_priors_that_are_far_too_wide_are_told_of():
    found = {f.name: f for f in priors.check(fitted(width=1e5))}
    assert found["prior predictions"].verdict == "ok" and "far wider" in found["prior predictions"].advice


def test_a_posterior_without_its_program_says_what_to_pass(plain, tmp_path):
    fresh = er.fit(normal(Y, 0.0, 10.0), refine=False, progress=False)
    path = fresh.save(tmp_path / "kept")
    (finding,) = (f for f in er.load(path).check() if f.name == "model checks")
    assert finding.verdict == "not assessable" and "er.load(path, program=model(data))" in finding.advice
    with pytest.raises(er.DataError, match=r"er.load\(path, program=model\(data\)\)"):
        er.compare({"one": er.load(path), "other": plain})
    again = er.load(path, program=normal(Y, 0.0, 10.0))
    assert {f.name for f in again.check()} == {f.name for f in plain.check()}
    found = fresh.check()  # they are saved with it
    kept = er.load(fresh.save(tmp_path / "more"))
    assert kept.check() == found and kept.check().to_frame().equals(found.to_frame())
    assert er.load(kept.save(tmp_path / "once more")).check() == found
    other = er.load(tmp_path / "more", program=normal(Y[:-1], 0.0, 10.0))
    assert other.check() == found  # of the data that were fitted
    assert kept.check(statistics={"mean": np.mean}) != found


def test_of_very_long_data_some_elements_are_predicted(monkeypatch):
    posterior = fitted()
    whole = prior_values(posterior.program, 50, 0)["y"]
    monkeypatch.setattr(priors, "PREDICTION_VALUES", 50 * 7)
    found = priors._predictions(posterior, ["y"])["y"].reshape(50, 7)
    (at,) = {tuple(np.flatnonzero(whole[0] == one)[0] for one in found[0])}
    assert len(set(at)) == 7 and np.array_equal(found, whole[:, list(at)])


def test_nothing_is_predicted_where_no_outcome_is_compared(monkeypatch):
    monkeypatch.setattr(priors, "_predictions", lambda *_: pytest.fail("predictions that nobody looks at"))
    posterior = er.fit(shares(RNG.uniform(size=(15, 4)) < 0.3), refine=False, progress=False)
    assert "prior predictions" not in {f.name for f in priors.check(posterior)}

"""Draws made elsewhere: the same summaries, and verdicts from how their chains have mixed."""

import numpy as np
import pytest
from arviz_base import from_dict

import elboroom as er

RNG = np.random.default_rng(3)
Y = RNG.normal(2.0, 1.5, 40)


@er.model
def normal(y):
    mu = er.sample("mu", er.Normal(0, 10))
    sigma = er.sample("sigma", er.HalfNormal(5))
    er.deterministic("ratio", mu / sigma)
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, sigma), y)


def tree(shift=0.0, num_chains=4):
    mu = RNG.normal(2.0, 0.24, (num_chains, 1000)) + shift * np.arange(num_chains)[:, None]
    sigma = np.exp(RNG.normal(0.4, 0.11, (num_chains, 1000)))
    stats = {
        "diverging": np.zeros((num_chains, 1000), bool),
        "energy": RNG.standard_normal((num_chains, 1000)),
    }
    return from_dict({"posterior": {"mu": mu, "sigma": sigma}, "sample_stats": stats})


def test_with_its_program():
    given = tree()
    posterior = er.from_datatree(given, normal(Y))
    draws = posterior.draws["posterior"]
    np.testing.assert_allclose(draws["mu"].values, given["posterior"]["mu"].values)
    np.testing.assert_allclose(draws["ratio"], draws["mu"] / draws["sigma"])
    assert posterior.verdict == "trusted" and posterior.law == "mcmc"
    assert posterior.summary().loc["mu", "mean"] == pytest.approx(given["posterior"]["mu"].values.mean())
    assert posterior.draws["log_likelihood"]["y"].sizes["chain"] == 4
    assert posterior.check()
    refined = posterior.refine(num_draws=300, progress=False)
    assert abs(refined.summary().loc["mu", "mean"] - Y.mean()) < 0.1


def test_without_a_program(tmp_path):
    posterior = er.from_datatree(tree())
    assert posterior.verdict == "trusted" and list(posterior.summary().index) == ["mu", "sigma"]
    posterior.save(tmp_path / "kept")
    assert er.load(tmp_path / "kept").summary().equals(posterior.summary())
    with pytest.raises(er.InferenceError, match="program"):
        posterior.predict()


def test_chains_that_disagree_are_untrusted():
    found = er.from_datatree(tree(shift=0.2), normal(Y)).summary()
    assert found.loc["mu", "verdict"] == "untrusted"


def test_bad_input():
    with pytest.raises(er.DataError, match="posterior"):
        er.from_datatree(from_dict({"prior": {"mu": np.zeros((1, 5))}}))
    with pytest.raises(er.DataError, match="sigma"):
        er.from_datatree(from_dict({"posterior": {"mu": np.zeros((2, 50))}}), normal(Y))
    with pytest.raises(er.DataError, match="Draw more"):
        er.from_datatree(from_dict({"posterior": {"mu": np.zeros((2, 3))}}))
    with pytest.raises(er.DataError, match="supports"):
        given = {"mu": np.zeros((2, 50)), "sigma": -np.ones((2, 50))}
        er.from_datatree(from_dict({"posterior": given}), normal(Y))
    with pytest.raises(er.DataError, match="shape"):
        given = {"mu": np.zeros((2, 50, 3)), "sigma": np.ones((2, 50))}
        er.from_datatree(from_dict({"posterior": given}), normal(Y))

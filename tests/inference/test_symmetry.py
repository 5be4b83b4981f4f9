"""Symmetries of a posterior: found where they are, and only the quantities that they move are objection."""

import numpy as np
import pytest
from elboroom.inference.evidence import symmetry
from elboroom.inference.posterior.posterior import record_of

import elboroom as er

RNG = np.random.default_rng(9)
Y = np.concatenate([RNG.normal(-3, 1, 50), RNG.normal(0, 0.5, 50), RNG.normal(4, 1, 50)])


@er.model
def mixture(y):
    w = er.sample("w", er.Dirichlet(np.ones(3)))
    mu = er.sample("mu", er.Normal(0, 10).expand([3]).to_event(1))
    s = er.sample("s", er.HalfNormal(2).expand([3]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.MixtureSameFamily(er.Categorical(probs=w), er.Normal(mu, s)), y)


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_of_a_mixture_are_named(seed):
    posterior = er.fit(mixture(Y), seed=seed, progress=False)
    assert posterior.verdict == "untrusted"
    found = [f for f in posterior.findings if f.name == "symmetry"]
    assert any("exchanging elements 0 and 1 of w and mu and s" in f.advice for f in found)
    table = posterior.summary()
    assert table["reason"].str.contains("symmetric under exchanging").all()
    # what no relabelling changes stays established
    derived = posterior.derive(lambda d: {"lowest": d["mu"].min(1), "first": d["mu"][:, 0]})
    assert derived["verdict"].tolist() == ["trusted", "untrusted"]


@er.model
def two_of_an_array(y):
    mu = er.sample("mu", er.Normal(0, 2).expand([2]).to_event(1))
    s = er.sample("s", er.HalfNormal(2).expand([2]).to_event(1))
    w = er.sample("w", er.Beta(5, 5))
    with er.plate("row", len(y)):
        er.observe(
            "y", er.MixtureSameFamily(er.Categorical(probs=er.math.stack([w, 1 - w])), er.Normal(mu, s)), y
        )


@er.model
def two_by_number(y):
    mu1, mu2 = er.sample("mu1", er.Normal(0, 2)), er.sample("mu2", er.Normal(0, 2))
    s = er.sample("s", er.HalfNormal(2))
    w = er.sample("w", er.Beta(5, 5))
    with er.plate("row", len(y)):
        parts = er.Normal(er.math.stack([mu1, mu2]), s)
        er.observe("y", er.MixtureSameFamily(er.Categorical(probs=er.math.stack([w, 1 - w])), parts), y)


@pytest.mark.parametrize("model", [two_of_an_array, two_by_number])
def test_a_share_goes_with_the_labels(model):
    y = np.concatenate([RNG.normal(-2, 0.8, 60), RNG.normal(2, 0.8, 90)])
    posterior = er.fit(model(y), progress=False)
    found = [f.advice for f in posterior.findings if f.name == "symmetry"]
    assert len(found) == 1 and "with 1 - w for w" in found[0]
    derived = posterior.derive(
        lambda d: {"share": np.where(d["w"] < 0.5, d["w"], 1 - d["w"]), "first": d["w"]}
    )
    assert derived["verdict"].tolist() == ["trusted", "untrusted"]
    assert abs(derived["mean"].iloc[0] - 65 / 160) < 0.02


def test_a_share_whose_prior_leans_is_no_symmetry():
    @er.model
    def leaning(y):
        mu = er.sample("mu", er.Normal(0, 2).expand([2]).to_event(1))
        w = er.sample("w", er.Beta(2, 5))
        with er.plate("row", len(y)):
            parts = er.Categorical(probs=er.math.stack([w, 1 - w]))
            er.observe("y", er.MixtureSameFamily(parts, er.Normal(mu, 1.0)), y)

    target = leaning(RNG.normal(size=20)).target()
    z = RNG.normal(size=(4, 3))
    assert symmetry.find(target, lambda z: target.value_and_grad(z), z) == []


def test_signs():
    @er.model
    def product(y):
        a = er.sample("a", er.Normal(0, 2))
        b = er.sample("b", er.Normal(0, 2))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a * b, 0.3), y)

    posterior = er.fit(product(2.5 + 0.3 * RNG.normal(size=30)), progress=False)
    table = posterior.summary()
    assert "flipping the sign of a and b" in {
        f.advice.split("under ")[1].split(",")[0] for f in posterior.findings if f.name == "symmetry"
    }
    assert table["verdict"].tolist() == ["untrusted", "untrusted"]


def test_exchangeable_quantities_with_equal_laws_stay_trusted():
    @er.model
    def equal(y):
        a = er.sample("a", er.Normal(0, 1).expand([3]).to_event(1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(er.math.sum(a), 1), y)

    posterior = er.fit(equal(np.array([0.5, 1.0])), progress=False)
    assert len(record_of(posterior).outcome.symmetries) >= 3
    assert posterior.verdict == "trusted"


def test_groups_with_data_of_their_own_are_no_symmetry():
    @er.model
    def schools(y):
        mu, tau = er.sample("mu", er.Normal(0, 5)), er.sample("tau", er.HalfCauchy(5))
        with er.plate("school", 8):
            theta = er.sample("theta", er.Normal(mu, tau))
            er.observe("y", er.Normal(theta, 10.0), y)

    posterior = er.fit(schools(np.array([28.0, 8, -3, 7, -1, 1, 18, 12])), progress=False)
    assert record_of(posterior).outcome.symmetries == ()


def test_stick_breaking_is_the_backend_s():
    target = mixture(Y).target()
    z = RNG.normal(size=(5, target.dim))
    u = z[:, target.offsets["w"]]
    value, log_jacobian = symmetry.simplex(u)
    assert np.allclose(value, target.constrain(z)["w"], atol=1e-12)
    back, again = symmetry.simplex_inverse(value)
    assert np.allclose(back, u, atol=1e-9) and np.allclose(again, log_jacobian, atol=1e-9)
    step = 1e-6 * np.eye(2)
    columns = [(symmetry.simplex(u + e)[0] - symmetry.simplex(u - e)[0])[:, :2] / 2e-6 for e in step]
    assert np.allclose(np.linalg.slogdet(np.stack(columns, -1))[1], log_jacobian, atol=1e-6)

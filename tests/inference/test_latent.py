"""``posterior.latent`` on a linear model, where every answer has a closed form."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

import elboroom as er

SLOPES = np.array([[1.5, -1.0, 0.5, 1.0], [0.3, 1.2, -1.4, 0.8]])


@er.model
def plane(x, c):
    """A plane whose place a covariate moves."""
    weight = er.param("weight", np.random.default_rng(0).normal(size=(2, 4)))
    move = er.param("move", np.zeros(4))
    sd = er.math.exp(er.param("log_sd", -1.0))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ weight + c[:, None] * move, sd).to_event(1), x)


def made(num, seed):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=num)
    return {
        "x": rng.normal(size=(num, 2)) @ SLOPES
        + c[:, None] * [1.0, 0, -1, 0]
        + 0.5 * rng.normal(size=(num, 4)),
        "c": c,
    }


@cache
def posterior():
    return er.fit(plane(**made(500, 0)), guide=er.Amortized(), progress=False)


@cache
def arrays():
    learned = posterior().learned
    weight, move = (np.asarray(learned[k], float) for k in ("weight", "move"))
    return weight, move, np.exp(2 * float(learned["log_sd"]))


def exact(data):
    """Posterior means and covariance of rows, and their log evidence."""
    weight, move, noise = arrays()
    precision = weight @ weight.T + noise * np.eye(2)
    x = data["x"] - data["c"][:, None] * move
    whole = weight.T @ weight + noise * np.eye(4)
    evidence = -0.5 * (
        np.einsum("ni,ij,nj->n", x, np.linalg.inv(whole), x) + np.linalg.slogdet(2 * np.pi * whole)[1]
    )
    return x @ weight.T @ np.linalg.inv(precision), noise * np.linalg.inv(precision), evidence


def test_rows_that_were_not_fitted_are_encoded_and_judged():
    new = made(37, 1)
    mean, covariance, _ = exact(new)
    found = posterior().latent.encode(new, num_draws=400)
    sd = np.sqrt(np.diag(covariance))
    assert found["mean"].dims == ("row", "unit") and found["unit"].to_numpy().tolist() == ["z[0]", "z[1]"]
    assert set(found["verdict"].to_numpy()) == {"trusted"}
    assert (np.abs(found["mean"].to_numpy() - mean) / sd).max() < 0.15
    assert np.abs(found["q95"].to_numpy() - norm(mean, sd).ppf(0.95)).max() < 0.25 * sd.max()
    whitened = (found["draws"].to_numpy() - mean[:, None]) / sd
    assert abs(whitened.mean()) < 0.02 and whitened.std() == pytest.approx(1, abs=0.03)
    raw = posterior().latent.embed(new)
    np.testing.assert_array_equal(raw, posterior().latent.embed(new))
    assert (np.abs(raw - mean) / sd).mean() < 0.3


def test_the_score_is_the_log_evidence_of_a_row():
    new = made(60, 2)
    _, _, evidence = exact(new)
    found = posterior().latent.score(new)
    assert set(found["verdict"].to_numpy()) == {"trusted"} and 0 <= found.attrs["sandwich"] < 0.01
    assert (np.abs(found["log_prob"].to_numpy() - evidence) < 6 * found["se"].to_numpy() + 1e-3).all()
    assert (found["bound"].to_numpy() < found["log_prob"].to_numpy() + 0.05).all()
    few = posterior().latent.score(new, num_draws=8)["log_prob"].to_numpy()
    assert few.mean() < evidence.mean() + 0.02  # a bound, and a worse one of fewer draws


def test_the_score_of_few_effective_draws_is_not_trusted():
    rng = np.random.default_rng(5)
    sds = np.array([0.1, 0.5, 1.3])  # of log weights: some 3,950, 3,100 and 740 effective draws of 4,000
    ratio = sds[:, None] * rng.normal(size=(3, 4000))
    size = np.exp(2 * logsumexp(ratio, axis=1) - logsumexp(2 * ratio, axis=1))
    value = logsumexp(ratio, axis=1) - np.log(4000)
    evidence = value, np.sqrt(1 / size - 1 / 4000)
    some = SimpleNamespace(
        evidence=evidence, log_weights=ratio, exact=False, khat=np.zeros(3), size=size, bound=value
    )
    assert posterior().latent.scored(some)["verdict"].tolist() == ["trusted", "trusted", "caution"]


def test_it_decodes_and_reconstructs_by_the_decoder():
    weight, move, _ = arrays()
    latent, new = posterior().latent, made(9, 3)
    z = np.random.default_rng(0).normal(size=(9, 2))
    found = latent.decode(z, given={"c": new["c"]})["x"].to_numpy()
    np.testing.assert_allclose(found, z @ weight + new["c"][:, None] * move, atol=1e-5)
    mean, _, _ = exact(new)
    again = latent.reconstruct(new, num_draws=400)["x"].to_numpy()
    np.testing.assert_allclose(again, mean @ weight + new["c"][:, None] * move, atol=0.12)
    path = latent.traverse("z[1]", [-1.0, 2.0], given={"c": np.zeros(2)})["x"].to_numpy()
    np.testing.assert_allclose(path[1] - path[0], 3 * weight[1], atol=1e-5)
    one, other = ({k: v[i : i + 1] for k, v in new.items()} for i in (0, 1))
    line = latent.interpolate(one, other, num=3, given={"c": np.zeros(3)})["x"].to_numpy()
    np.testing.assert_allclose(line[1], 0.5 * (line[0] + line[2]), atol=1e-5)


def test_simulated_rows_have_the_law_of_the_model():
    weight, move, noise = arrays()
    found = posterior().latent.simulate(20_000, given={"c": np.ones(20_000)}, seed=3)
    x = found["x"].to_numpy().astype(float)
    whole = weight.T @ weight + noise * np.eye(4)
    se = np.sqrt((whole**2 + np.outer(np.diag(whole), np.diag(whole))) / len(x))
    assert (np.abs(np.cov(x.T) - whole) < 5 * se).all()
    assert (np.abs(x.mean(0) - move) < 5 * np.sqrt(np.diag(whole) / len(x))).all()
    other = posterior().latent.simulate(3, given={"c": np.ones(3)}, seed=4)["x"].to_numpy()
    assert not np.array_equal(other, x[:3])


def test_missing_entries_have_their_conditional_law():
    new = made(40, 5)
    weight, move, noise = arrays()
    gaps = {**new, "x": new["x"].copy()}
    gaps["x"][:, 2] = np.nan
    found = posterior().latent.impute(gaps, num_draws=2000)
    x = new["x"] - new["c"][:, None] * move
    whole = weight.T @ weight + noise * np.eye(4)
    seen = [0, 1, 3]
    gain = whole[2, seen] @ np.linalg.inv(whole[np.ix_(seen, seen)])
    mean = x[:, seen] @ gain + new["c"] * move[2]
    sd = np.sqrt(whole[2, 2] - gain @ whole[seen, 2])
    fine = found["verdict"].to_numpy() == "trusted"
    assert fine.mean() > 0.8
    assert (np.abs(found["x"].to_numpy()[fine, 2] - mean[fine]) < 0.2 * sd).all()
    np.testing.assert_allclose(found["x_sd"].to_numpy()[fine, 2], sd, rtol=0.12)
    np.testing.assert_array_equal(found["x"].to_numpy()[:, seen], new["x"][:, seen])
    inside = (found["x_q5"] <= new["x"]) & (new["x"] <= found["x_q95"])
    assert 0.75 < inside.to_numpy()[:, 2].mean() <= 1.0


def test_units_say_how_much_they_know():
    found = posterior().latent.table()
    mean, covariance, _ = exact(made(500, 0))
    right = 0.5 * (np.diag(covariance) + mean**2 - 1 - np.log(1 / np.diag(np.linalg.inv(covariance))))
    np.testing.assert_allclose(found["kl"], right.mean(0), atol=0.1)
    assert found["active"].all() and not found["collapsed"].any()
    np.testing.assert_allclose(found["variance"], mean.var(0), rtol=0.1)


def test_a_linear_model_moves_evenly_along_its_units():
    np.testing.assert_allclose(posterior().latent.table()["jump"], 1.0, atol=1e-3)
    assert "jumps along units" not in [finding.name for finding in posterior().findings]


@er.model
def step(x):
    """A row is one of two patterns by the side that its first unit is on; the second unit does nothing."""
    steep = er.math.asarray(np.array([40.0, -40.0, 40.0, 40.0]))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Bernoulli(logits=z[:, :1] * steep + er.param("level", np.zeros(4))).to_event(1), x)


def test_a_steep_decoder_jumps_along_its_unit_and_a_finding_says_so():
    rng = np.random.default_rng(0)
    x = np.where(rng.normal(size=(200, 1)) > 0, [1, 0, 1, 1], [0, 1, 0, 0])
    fitted = er.fit(step(x), guide=er.Amortized(), progress=False, refine=False)
    table = fitted.latent.table()
    assert table["jump"].iloc[0] > 1e3 and table["active"].tolist() == [True, False]
    assert np.isnan(table["jump"].iloc[1])  # of units that are not active nothing is said
    found = {finding.name: finding for finding in fitted.findings}["jumps along units"]
    assert found.verdict == "caution" and "along unit 0 by" in found.advice
    assert found.value == pytest.approx(table["jump"].iloc[0], rel=1e-3)


def test_anomalies_are_ranked_among_held_out_rows():
    fresh = made(300, 7)
    found = posterior().latent.anomalies(fresh, level=0.1)
    share = found["anomaly"].to_numpy().mean()
    assert 0.02 < share < 0.25  # fifty held-out rows
    far = {**fresh, "x": fresh["x"] + np.array([5.0, 5, 5, 5])}
    assert posterior().latent.anomalies(far, level=0.1)["anomaly"].to_numpy().mean() > 0.9
    assert found["p_value"].to_numpy().min() >= 1 / 51


def test_neighbours_of_fitted_rows_are_themselves():
    own = {k: v[:5] for k, v in made(500, 0).items()}
    index, distance = posterior().latent.neighbours(own, num=3)
    np.testing.assert_array_equal(index[:, 0], np.arange(5))
    assert (np.diff(distance) >= 0).all() and distance[:, 0].max() < 1e-6


def test_it_is_there_after_loading_with_other_rows(tmp_path):
    posterior().save(tmp_path / "it")
    loaded = er.load(tmp_path / "it", program=plane(**made(80, 9)))
    new = made(6, 1)
    np.testing.assert_allclose(loaded.latent.embed(new), posterior().latent.embed(new), atol=1e-6)
    np.testing.assert_allclose(
        loaded.latent.score(new)["log_prob"], posterior().latent.score(new)["log_prob"], atol=1e-4
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda latent: latent.encode(np.zeros((3, 4))), "a mapping from argument to array"),
        (lambda latent: latent.encode({"x": np.zeros((3, 4))}), "data for"),
        (lambda latent: latent.encode({"x": np.zeros((3, 5)), "c": np.zeros(3)}), "argument 'x'"),
        (lambda latent: latent.encode({"x": np.zeros((3, 4)), "c": np.zeros(2)}), "as many rows"),
        (lambda latent: latent.decode(np.zeros((3, 3)), {"c": np.zeros(3)}), "z of latent.decode"),
        (lambda latent: latent.decode(np.zeros((3, 2))), "given={...}"),
        (lambda latent: latent.traverse("w"), "unit of latent.traverse"),
        (lambda latent: latent.anomalies(made(3, 0), level=0.001), "rows that training held out"),
    ],
)
def test_other_data_are_refused_by_name(call, words):
    with pytest.raises(er.ElboroomError, match=words.replace("{...}", r"\{...\}")):
        call(posterior().latent)


def test_only_encoded_rows_have_a_latent():
    @er.model
    def level(y):
        mu = er.sample("mu", er.Normal(0, 10))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, 1), y)

    with pytest.raises(er.InferenceError, match="a posterior with an encoder"):
        _ = er.fit(level([1.0, 2.0]), progress=False).latent


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_encoder_of_a_library_is_taken_as_it_is_and_lives_in_memory(backend, tmp_path):
    if backend == "jax":
        equinox = pytest.importorskip("equinox")
        encoder = equinox.nn.Linear(5, 4, key=__import__("jax").random.PRNGKey(0))
    else:
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        encoder = torch.nn.Linear(5, 4)
    weight = np.random.default_rng(1).normal(size=(2, 5))
    x = np.random.default_rng(2).normal(size=(300, 2)) @ weight + 0.5 * np.random.default_rng(3).normal(
        size=(300, 5)
    )

    @er.model
    def plane(x):
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
            er.observe("x", er.Normal(er.math.matmul(z, er.math.asarray(weight)), 0.5).to_event(1), x)

    posterior = er.fit(plane(x), guide=er.Amortized(encoder), backend=backend, progress=False)
    covariance = np.linalg.inv(np.eye(2) + weight @ weight.T / 0.25)
    mean = x @ weight.T @ covariance / 0.25
    found = posterior.latent.encode(x)["mean"].to_numpy()
    assert np.abs((found - mean) / np.sqrt(np.diag(covariance))).max() < 0.12
    shown = posterior.latent.anomalies(np.concatenate([x[:20], 0.0 * x[:1] + 9.0]))
    exact = -0.5 * (mean[:20] ** 2 + np.diag(covariance)).sum(1) - np.log(2 * np.pi)
    np.testing.assert_allclose(shown["log_prior"][:20], exact, atol=0.3)
    assert float(shown["p_value"][20]) == pytest.approx(1 / 31) and bool(shown["anomaly"][20])
    bits, score = posterior.latent.bits(x[:20], step=1e-9), posterior.latent.score(x[:20])["log_prob"]
    np.testing.assert_allclose(bits["bits"], 5 * np.log2(1e9) - score / np.log(2), atol=0.1)
    posterior.save(tmp_path / "kept")
    with pytest.raises(er.InferenceError, match="Declare it in the model by er.module"):
        _ = er.load(tmp_path / "kept", plane(x)).latent

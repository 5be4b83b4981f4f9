"""Posteriors as files: the same numbers as the posterior, without it; here those of JAX; ONNX and PyTorch in ``.ci/export``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.operations.export.judged import _of_loss, judged, losses
from elboroom.ppl.errors import InferenceError, MissingBackendError, UnsupportedError
from scipy.special import expit, ndtr
from scipy.stats import multivariate_normal, norm

import elboroom as er

NAMES = list("abcdef")


@er.model
def logistic(x, group, y=None):
    """Who answers?"""
    level = er.sample("level", er.Normal(0, 2))
    slope = er.sample("slope", er.Normal(np.zeros(2), 1.0).to_event(1))
    spread = er.sample("spread", er.HalfNormal(1))
    with er.plate("group", er.levels(group)):
        own = er.sample("own", er.Normal(0, spread))
    with er.plate("row", len(x)):
        odds = er.deterministic("odds", level + (x * slope).sum(-1) + own[group])
        er.observe("y", er.Bernoulli(logits=odds), y)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x, group = rng.normal(size=(120, 2)), rng.integers(0, 6, 120)
    own = rng.normal(size=6)
    y = (rng.random(120) < 1 / (1 + np.exp(-(x @ [1.0, -0.5] + own[group])))).astype(int)
    return {"x": x, "group": np.array(NAMES)[group], "y": y}


@pytest.fixture(scope="module")
def posterior(data):
    return er.fit(logistic(**data), progress=False, refine=False, num_draws=1500)


@pytest.fixture(scope="module")
def risk(posterior, tmp_path_factory):
    """Predictions in a file, and the draws that it holds."""
    return er.export(posterior, tmp_path_factory.mktemp("risk") / "risk.jax", draws=50), drawn(posterior, 50)


def drawn(posterior, count):
    """Draws that a file of so many holds, by site."""
    sites = posterior.draws["posterior"]
    at = np.unique(np.linspace(0, sites.sizes["draw"] - 1, count).astype(int))
    return {name: sites[name].to_numpy()[0][at] for name in sites.data_vars}


def ran(made, given):
    """Outputs of a file of JAX."""
    import jax.export

    found = jax.export.deserialize(bytearray(made.path.read_bytes())).call(**given)
    return {name: np.asarray(value) for name, value in found.items()}


def rows(count, draws, seed=3):
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(size=(count, 2)).astype(np.float32),
        "group": rng.integers(0, 6, count).astype(np.int32),
        "eps_y": rng.normal(size=(count, draws)).astype(np.float32),
    }


def test_predictions_are_those_of_the_formula(risk):
    made, held = risk
    given = rows(5, 50)
    found = ran(made, given)
    odds = (held["level"][:, None] + held["slope"] @ given["x"].T + held["own"][:, given["group"]]).T
    np.testing.assert_allclose(found["odds"], odds, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["y_mean"], expit(odds), rtol=1e-4)
    assert ((ndtr(given["eps_y"]) < expit(odds)) == found["y"]).mean() > 0.99
    one = ran(made, {k: v[2:3] for k, v in given.items()})
    np.testing.assert_array_equal(found["y_mean"][2:3], one["y_mean"])  # no row sees another


def test_what_cannot_be_answered_is_no_number(risk):
    given = rows(4, 50)
    given["group"][1], given["group"][2], given["x"][3, 0] = 6, -1, np.nan
    found = ran(risk[0], given)
    for name in ("y_mean", "odds", "y"):
        assert np.isfinite(found[name][0]).all() and np.isnan(found[name][1:]).all()


def test_a_file_runs_where_there_is_no_elboroom(risk, tmp_path):
    given = rows(3, 50)
    np.savez(tmp_path / "given.npz", **given)
    code = """
import sys
sys.modules["elboroom"] = None
import jax.export
import numpy as np
path, inputs, outputs = sys.argv[1:]
file = jax.export.deserialize(bytearray(open(path, "rb").read()))
np.savez(outputs, **file.call(**np.load(inputs)))
"""
    paths = risk[0].path, tmp_path / "given.npz", tmp_path / "found.npz"
    subprocess.run([sys.executable, "-c", code, *paths], check=True, timeout=120)
    found, here = np.load(paths[2]), ran(risk[0], given)
    assert set(found) == set(here)
    for name, value in here.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_score_is_that_of_the_formula(posterior, tmp_path):
    made = er.export(posterior, tmp_path / "risk.jax", what="score", draws=20)
    given = {k: v for k, v in rows(4, 20).items() if k != "eps_y"} | {"y": np.array([0, 1, 1, 0], np.int32)}
    held = drawn(posterior, 20)
    odds = (held["level"][:, None] + held["slope"] @ given["x"].T + held["own"][:, given["group"]]).T
    chance = np.where(given["y"][:, None] == 1, expit(odds), expit(-odds))
    np.testing.assert_allclose(ran(made, given)["y_log_prob"], np.log(chance), rtol=1e-4, atol=1e-5)


def test_new_groups_come_from_their_prior(posterior, tmp_path):
    made = er.export(posterior, tmp_path / "risk.jax", draws=30, new_groups="group", noise=False)
    held = drawn(posterior, 30)
    eps = np.random.default_rng(0).normal(size=(2, 30, 1)).astype(np.float32)
    given = {"x": np.zeros((2, 2), np.float32), "group": np.array([6, 2], np.int32), "eps_own": eps}
    found = ran(made, given)["odds"]
    new = held["level"] + held["spread"] * eps[0, :, 0]
    np.testing.assert_allclose(found[0], new, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], held["level"] + held["own"][:, 2], rtol=1e-4, atol=1e-5)


def test_the_card_says_what_there_is(risk, data):
    made, place = risk[0], risk[0].path
    card = json.loads(place.with_name("risk.jax.json").read_text())
    assert card["draws"] == 50 and card["data"]["rows"] == 120 and card["bytes"] == place.stat().st_size
    group, x = ({one["name"]: one for one in card["inputs"]}[name] for name in ("group", "x"))
    assert group["labels"] == NAMES and group["shape"] == ["batch"]
    np.testing.assert_allclose(x["range"], [data["x"].min(), data["x"].max()])
    text = place.with_name("risk.jax.md").read_text()
    assert "Who answers?" in text and "| level |" in text and "NaN" in text
    assert made.verdict == card["verdict"]


def test_few_draws_are_not_trusted(risk, posterior):
    assert posterior.verdict == "trusted" and risk[0].verdict == "caution"
    assert "50 draws" in str(risk[0].findings[0])


@er.model
def line(x, y=None):
    slope = er.sample("slope", er.Normal(0, 1))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(slope * (x - 1e6), 1.0), y)


def test_a_file_that_does_not_agree_is_not_written(tmp_path):
    """In single precision a million and a bit is a million."""
    x = np.linspace(-1, 1, 40)
    posterior = er.fit(line(1e6 + x, 3 * x), progress=False)
    (tmp_path / "line.jax").write_text("before")
    with pytest.raises(InferenceError, match="Nothing was written; .* dtype='float64'"):
        er.export(posterior, tmp_path / "line.jax", draws=20)
    assert [path.name for path in tmp_path.iterdir()] == ["line.jax"]
    assert (tmp_path / "line.jax").read_text() == "before"
    assert er.export(posterior, tmp_path / "line.jax", draws=20, dtype="float64").path.stat().st_size > 1000


def test_rows_that_see_each_other_are_refused(tmp_path):
    @er.model
    def centred(x, y=None):
        slope = er.sample("slope", er.Normal(0, 1))
        with er.plate("row", len(x)):
            er.observe("y", er.Normal(slope * (x - er.math.mean(x)), 1.0), y)

    x = np.linspace(0, 3, 20)
    posterior = er.fit(centred(x, x), progress=False)
    with pytest.raises(
        UnsupportedError, match="rows of 'row': expected a model that runs on any number of rows"
    ):
        er.export(posterior, tmp_path / "line.jax", draws=20)


@pytest.mark.parametrize(
    "changed, kind, words",
    [
        ({"path": "risk.pickle"}, UnsupportedError, r"\.jax \(jax\), \.pt2 \(torch\), \.onnx"),
        ({"what": "dream"}, InferenceError, "what: expected one of"),
        ({"draws": 0}, InferenceError, "draws: expected a whole number from 1 on"),
        ({"draws": 10**6}, InferenceError, "draws: expected"),
        ({"dtype": "float16"}, InferenceError, "dtype: expected"),
        ({"quantize": "int4"}, InferenceError, "quantize: expected"),
        ({"new_groups": "county"}, InferenceError, "new_groups: expected"),
        ({"new_groups": 3}, InferenceError, "new_groups: expected"),
        ({"rows": "county"}, InferenceError, "rows: expected a plate of an outcome"),
    ],
)
def test_what_is_asked_wrongly_is_said(posterior, tmp_path, changed, kind, words):
    asked = {"path": "risk.jax", **changed}
    with pytest.raises(kind, match=words):
        er.export(posterior, tmp_path / asked.pop("path"), **asked)
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(posterior, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises((MissingBackendError, ValueError), match=re.escape("elboroom[onnx]")):
        er.export(posterior, tmp_path / "risk.onnx")


def test_quantities_of_rows_ask_for_new_ones(tmp_path):
    @er.model
    def schools(error, y=None):
        mu, tau = er.sample("mu", er.Normal(0, 5)), er.sample("tau", er.HalfNormal(5))
        with er.plate("school", len(error)):
            theta = er.sample("theta", er.Normal(mu, tau))
            er.observe("y", er.Normal(theta, error), y)

    effect, error = [28.0, 8, -3, 7, -1, 1, 18, 12], [15.0, 10, 16, 11, 9, 11, 10, 18]
    posterior = er.fit(schools(error, effect), progress=False, refine=False, num_draws=1200)
    with pytest.raises(UnsupportedError, match="site 'theta': expected a quantity that rows share"):
        er.export(posterior, tmp_path / "schools.jax")
    made = er.export(posterior, tmp_path / "schools.jax", draws=200, new_groups="school")
    eps = np.random.default_rng(1).normal(size=(2, 3, 200)).astype(np.float32)
    given = {"error": np.array([1.0, 10.0, 20.0], np.float32), "eps_theta": eps[0], "eps_y": eps[1]}
    found = ran(made, given)
    mu, tau = (drawn(posterior, 200)[name] for name in ("mu", "tau"))
    theta = mu + tau * eps[0]
    np.testing.assert_allclose(found["y_mean"], theta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["y"], theta + given["error"][:, None] * eps[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("quantize, smaller", [("int8", 0.5), ("float16", 0.7)])
def test_rounding_is_measured_and_stated(quantize, smaller, posterior, tmp_path):
    full = er.export(posterior, tmp_path / "full.jax", draws=1200, noise=False)
    made = er.export(posterior, tmp_path / "risk.jax", draws=1200, noise=False, quantize=quantize)
    assert made.card["bytes"] < smaller * full.card["bytes"] and not full.card["loss"]
    given = {k: v for k, v in rows(33, 1).items() if k != "eps_y"}
    want, found = ran(full, given)["odds"], ran(made, given)["odds"]
    loss = made.card["loss"]["odds"]
    assert 0 < np.abs(found - want).max() < 3 * loss["largest"]
    shift = np.abs(found.mean(1) - want.mean(1)) / want.std(1)
    assert shift.max() < 3 * loss["mean_shift"] + 1e-4 and made.verdict == "trusted"


# -- encoded rows ----------------------------------------------------------------------------------------


@er.model
def factors(x):
    slope = er.param("slope", np.array([1.0, -0.5, 0.3]))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1))
        er.observe("x", er.Normal(z[:, None] * slope, 0.5).to_event(1), x)


@pytest.fixture(scope="module")
def encoded():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 1)) * np.array([1.0, -1.0, 2.0]) + 0.5 * rng.normal(size=(80, 3))
    return er.fit(factors(x), guide=er.Amortized(), progress=False, max_seconds=10)


@pytest.mark.slow
def test_an_encoder_gives_the_law_its_draws_and_their_weights(encoded, tmp_path):
    made = er.export(encoded, tmp_path / "factors.jax", what="encode", draws=40)
    rng = np.random.default_rng(1)
    given = {
        "x": rng.normal(size=(3, 3)).astype(np.float32),
        "eps_z": rng.normal(size=(3, 40, 1)).astype(np.float32),
    }
    found = ran(made, given)
    own = encoded.latent.encode(given["x"].astype(float), weigh=False)
    np.testing.assert_allclose(found["mean"], own["mean"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["sd"], own["sd"], rtol=1e-4)
    z = found["z"][..., 0]
    np.testing.assert_allclose(z, found["mean"] + found["sd"] * given["eps_z"][..., 0], rtol=1e-4, atol=1e-5)
    slope = encoded.learned["slope"]
    joint = norm.logpdf(z) + norm.logpdf(given["x"][:, None], z[..., None] * slope, 0.5).sum(-1)
    ratio = joint - norm.logpdf(z, found["mean"], found["sd"])
    np.testing.assert_allclose(found["log_weights"], ratio, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_score_of_encoded_rows_is_their_log_density(encoded, tmp_path):
    made = er.export(encoded, tmp_path / "factors.jax", what="score", draws=400)
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    eps = np.random.default_rng(3).normal(size=(4, 400, 1)).astype(np.float32)
    found = ran(made, {"x": x, "eps_z": eps})
    slope = encoded.learned["slope"]
    exact = multivariate_normal(np.zeros(3), np.outer(slope, slope) + 0.25 * np.eye(3)).logpdf(x)
    spread = np.exp(found["log_weights"] - found["log_weights"].max(1, keepdims=True))
    error = spread.std(1) / spread.mean(1) / 20  # of the log of a mean of 400 weights
    assert (np.abs(found["log_density"] - exact) < 5 * error + 1e-3).all()
    assert np.isnan(ran(made, {"x": np.where(x == x[0, 0], np.nan, x), "eps_z": eps})["log_density"])[0]


def test_what_has_no_encoder_is_not_encoded(posterior, tmp_path):
    with pytest.raises(
        UnsupportedError, match="what=.encode.: expected a posterior whose rows have an encoder"
    ):
        er.export(posterior, tmp_path / "risk.jax", what="encode")


def test_the_command_line_writes_the_same_file(tmp_path, monkeypatch):
    from elboroom.ppl.found import find_model
    from typer.testing import CliRunner

    from elboroom.__main__ import app

    text = """
import elboroom as er


@er.model
def ramp(x, y=None):
    slope = er.sample("slope", er.Normal(0, 10))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(slope * x, 1.0), y)
"""
    (tmp_path / "ramps.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    x = np.linspace(-1, 1, 30)
    posterior = er.fit(find_model("ramps:ramp")(x, 2 * x), progress=False)
    posterior.save(tmp_path / "out" / "posterior")
    asked = ["out", "ramp.jax", "--model", "ramps:ramp", "--draws", "30", "--no-noise"]
    done = CliRunner().invoke(app, ["export", *asked])
    assert done.exit_code == 0 and "x → y_mean" in done.output, done.output
    given = {"x": np.array([0.5, -2.0], np.float32)}
    here = er.export(posterior, tmp_path / "here.jax", draws=30, noise=False)
    there = json.loads((tmp_path / "ramp.jax.json").read_text())
    assert there["verdict"] == here.verdict
    import jax.export

    file = jax.export.deserialize(bytearray((tmp_path / "ramp.jax").read_bytes()))
    np.testing.assert_allclose(file.call(**given)["y_mean"], ran(here, given)["y_mean"], rtol=1e-6)
    wrong = CliRunner().invoke(app, ["export", "out", "ramp.txt", "--model", "ramps:ramp"])
    assert wrong.exit_code == 2 and ".onnx" in wrong.output


def test_rows_that_were_fitted_may_lack_their_outcome(tmp_path):
    @er.model
    def ramp(x, y):
        slope = er.sample("slope", er.Normal(0, 10))
        with er.plate("row", len(x)):
            er.observe("y", er.Normal(slope * x, 1.0), y)

    x = np.linspace(-1, 1, 30)
    y = np.where(np.arange(30) % 4 == 0, np.nan, 2 * x)
    made = er.export(er.fit(ramp(x, y), progress=False), tmp_path / "ramp.jax", what="score", draws=20)
    found = ran(made, {"x": np.ones(2, np.float32), "y": np.array([1.0, np.nan], np.float32)})["y_log_prob"]
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def test_rounding_of_encoded_rows_is_told_in_their_own_sds():
    want = {"mean": np.array([[0.0, 100.0]]), "sd": np.array([[0.5, 2.0]])}
    found = {"mean": np.array([[0.1, 100.1]]), "sd": np.array([[0.5, 2.2]])}
    told = losses(want, found, of_rows=True)
    assert told["mean"]["mean_shift"] == pytest.approx(0.2) and told["sd"]["sd_ratio"] == pytest.approx(0.1)


def test_numbers_that_rounding_has_lost_are_not_trusted():
    want = {"y": np.random.default_rng(0).normal(size=(3, 50))}
    found = {"y": np.where(np.arange(50) == 7, np.nan, want["y"])}
    (finding,) = {one.verdict for one in _of_loss(losses(want, found, of_rows=False))}
    assert finding == "untrusted" and not _of_loss(losses(want, want, of_rows=False))


@pytest.mark.parametrize("verdict", ["caution", "untrusted"])
def test_a_file_is_trusted_no_further_than_any_quantity_that_its_rows_may_depend_on(verdict):
    record = SimpleNamespace(
        verdict="trusted", table={"verdict": ["trusted", verdict, None]}
    )  # of quantities=["first"]
    graph = SimpleNamespace(num_draws=0, best_row="")
    found = judged(record, graph, {}, None)
    assert found["verdict"] == "caution" and "1 of 3 quantities" in found["reasons"][1]
    record.table = {"verdict": ["trusted", None]}
    assert judged(record, graph, {}, None)["verdict"] == "trusted"


def test_what_other_outcomes_depend_on_is_an_input(tmp_path):
    """A covariate with a law of its own, of which some values are missing: predictions are of the row's own value, by the formula."""

    @er.model
    def imputing(w, x, y=None):
        a = er.sample("a", er.Normal(0, 1))
        b = er.sample("b", er.Normal(0, 2))
        with er.plate("row", len(w)):
            x = er.observe("x", er.Normal(a * w, 0.5), x)
            er.observe("y", er.Normal(b * x, 0.3), y)

    rng = np.random.default_rng(3)
    w = rng.normal(size=60)
    x = 0.5 * w + 0.5 * rng.normal(size=60)
    y = 2 * x + 0.3 * rng.normal(size=60)
    x[::5] = np.nan
    posterior = er.fit(imputing(w, x, y), progress=False)
    made = er.export(posterior, tmp_path / "imputing.jax", draws=20)
    assert [one["name"] for one in made.card["inputs"]] == ["w", "x", "eps_y"]
    given = {"w": np.ones(3, np.float32), "x": np.array([3.0, -1.0, np.nan], np.float32)}
    found = ran(made, {**given, "eps_y": np.zeros((3, 20), np.float32)})
    assert sorted(found) == ["y", "y_mean"]
    want = drawn(posterior, 20)["b"] * given["x"][:, None]
    np.testing.assert_allclose(found["y_mean"], want, rtol=1e-5)  # NaN where it is missing


@pytest.mark.slow
def test_predictions_of_encoded_rows_are_their_reconstructions(encoded, tmp_path):
    """By the exact law of z given a row, which is normal; with the weights by which a row is judged."""
    made = er.export(encoded, tmp_path / "factors.jax", what="predict", draws=2000)
    assert [one["name"] for one in made.card["outputs"]] == ["log_weights", "x_mean"]
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    eps = np.random.default_rng(3).normal(size=(4, 2000, 1)).astype(np.float32)
    found = ran(made, {"x": x, "eps_z": eps})
    slope = encoded.learned["slope"]
    precision = 1 + (slope**2).sum() / 0.25
    exact = (x @ slope / 0.25 / precision)[:, None] * slope
    weights = np.exp(found["log_weights"] - found["log_weights"].max(1, keepdims=True))
    size = weights.sum(1) ** 2 / (weights**2).sum(1)
    assert (np.abs(found["x_mean"] - exact) < 5 * np.abs(slope) * (precision * size[:, None]) ** -0.5).all()
    np.testing.assert_allclose(
        ran(made, {"x": x[2:3], "eps_z": eps[2:3]})["x_mean"], found["x_mean"][2:3], rtol=1e-5
    )
    assert np.isnan(ran(made, {"x": np.full((1, 3), np.nan, np.float32), "eps_z": eps[:1]})["x_mean"]).all()

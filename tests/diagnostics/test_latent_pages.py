"""Plots and the report's section of encoded rows, on a linear model whose answers have a closed form."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import jsonschema
import matplotlib
import numpy as np
import pytest
from elboroom.diagnostics.encoded import image_shape, made_up
from elboroom.diagnostics.report.content import as_json
from elboroom.diagnostics.report.latent import latent_section
from elboroom.diagnostics.report.latent_values import latent_values
from elboroom.inference.posterior.posterior import Posterior, record_of

import elboroom as er

matplotlib.use("Agg")
SCHEMA = Path(__file__).parents[2] / "diagnostics" / "report" / "schema.json"
SLOPES = np.array([[1.5, -1.0, 0.5, 1.0], [0.3, 1.2, -1.4, 0.8]])


@er.model
def plane(x, c):
    weight = er.param("weight", np.random.default_rng(0).normal(size=(2, 4)))
    move = er.param("move", np.zeros(4))
    sd = er.math.exp(er.param("log_sd", -1.0))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(z @ weight + c[:, None] * move, sd).to_event(1), x)


def made(num, seed):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=num)
    x = rng.normal(size=(num, 2)) @ SLOPES + c[:, None] * [1.0, 0, -1, 0]
    return {"x": x + 0.5 * rng.normal(size=(num, 4)), "c": c}


@cache
def posterior():
    return er.fit(plane(**made(300, 0)), guide=er.Amortized(), progress=False)


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)


@cache
def plain():
    return er.fit(level(np.linspace(0, 4, 20)), refine=False, progress=False)


def drawn(plots, visual, name="x"):
    matplotlib.pyplot.close("all")
    return plots.viz[visual][name]


@pytest.mark.slow
def test_bounds_are_those_of_the_fit():
    seen = posterior().draws["fit"]["bounds"].to_numpy()
    lines = drawn(er.plots.bounds(posterior()), "bounds", "bound")
    assert lines["rows"].to_numpy().tolist() == ["trained on", "held out"]
    for line, column in zip(lines.to_numpy(), (1, 2), strict=True):
        np.testing.assert_allclose(line.get_xydata(), seen[:, [0, column]])


@pytest.mark.slow
def test_the_map_has_the_encoder_s_means_and_sds():
    latent = posterior().latent
    law = latent.encode(weigh=False)
    order = np.argsort(-latent.table()["variance"].to_numpy())
    plots = er.plots.latent(posterior())
    points = drawn(plots, "mean", "units").item().get_offsets()
    np.testing.assert_allclose(points, law["mean"].to_numpy()[:, order], atol=1e-6)
    bar = drawn(plots, "sd_y", "units").item().get_ydata()[:2]
    assert bar[1] - bar[0] == pytest.approx(2 * law["sd"].to_numpy()[0, order[1]], abs=1e-6)


def test_reconstructions_are_beside_their_rows():
    new = made(9, 3)
    plots = er.plots.reconstructions(posterior(), new, num=3)
    right = posterior().latent.reconstruct({k: v[:3] for k, v in new.items()})["x"].to_numpy()
    for i in range(3):
        np.testing.assert_allclose(drawn(plots, "input")[i].item().get_ydata(), new["x"][i])
        np.testing.assert_allclose(drawn(plots, "reconstruction")[i].item().get_ydata(), right[i])
    images = drawn(er.plots.reconstructions(posterior(), new, num=3, shape=(2, 2)), "image")
    assert images.dims == ("of", "row") and images.shape == (2, 3)
    np.testing.assert_allclose(images[0, 1].item().get_array(), new["x"][1].reshape(2, 2))
    np.testing.assert_allclose(images[1, 1].item().get_array(), right[1].reshape(2, 2))


def test_traversals_move_along_one_row_of_the_weights():
    weight = np.asarray(posterior().learned["weight"], float)
    lines = drawn(er.plots.traversals(posterior()), "traversal")
    assert lines.sizes == {"unit": 2, "value": 7}
    for unit in lines["unit"].to_numpy():
        first, last = (lines.sel(unit=unit)[i].item().get_ydata() for i in (0, -1))
        np.testing.assert_allclose(last - first, 6 * weight[int(unit[2])], atol=1e-5)


def test_the_nearest_fitted_row_is_nearest():
    made_of = made_up(posterior(), 6)
    fitted = made(300, 0)["x"]
    apart = ((made_of.rows[:, None] - fitted[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(made_of.positions, apart.argmin(1))
    np.testing.assert_allclose(made_of.others, fitted[made_of.positions])
    np.testing.assert_allclose(made_of.apart, np.sqrt(apart.min(1) / 4))
    among = ((fitted[made_of.positions][:, None] - fitted) ** 2).mean(-1)
    np.testing.assert_allclose(made_of.usual, np.sqrt(np.sort(among, 1)[:, 1]))


def test_squares_are_images():
    assert image_shape(None, (64,)) == (8, 8) and image_shape(None, (5, 7)) == (5, 7)
    assert image_shape(None, (49,)) is None and image_shape(None, (65,)) is None
    assert image_shape((), (64,)) is None and image_shape((4, 16), (64,)) == (4, 16)


@pytest.mark.slow
def test_the_report_says_what_is_known_of_the_rows():
    content = as_json(posterior())
    jsonschema.validate(content, json.loads(SCHEMA.read_text()))
    found, latent = content["latent"], posterior().latent
    assert found["verdict"] == "trusted" and found["num_active"] == 2
    fit = posterior().draws["fit"]
    assert found["gap"] == pytest.approx(float((fit["row_evidence"] - fit["row_bound"]).mean()))
    np.testing.assert_allclose([unit["kl"] for unit in found["units"]], latent.table()["kl"])
    outcome = found["outcomes"][0]
    np.testing.assert_allclose(
        outcome["reconstructed"]["rows"], made(300, 0)["x"][outcome["reconstructed"]["index"]], rtol=1e-3
    )
    assert found["leak"]["verdict"] == "ok" and found["leak"]["expected"] == pytest.approx(0.9)
    html = latent_section(posterior())
    assert "Do simulated rows give away those trained on?" in html and found["leak"]["advice"][:40] in html
    assert html.index("given the fitted arrays") < html.index("<h3>")
    assert "2 of 2 units are active" in html and "<script" not in html and "nearest fitted" in html


@pytest.mark.slow
def test_the_first_page_names_rows_and_fitted_arrays(tmp_path):
    page = posterior().report(tmp_path).read_text()
    first = page[page.index("<h2>The answer") : page.index("<h2>Predictions against the data")]
    for words in (
        "300, each with z of 2 numbers",
        '"trusted">trusted',
        "<td>weight",
        "8 fitted numbers",
        "1 fitted number<",
    ):
        assert words in first
    assert 'href="#encoded"' in first and 'id="encoded"' in page
    assert "at its fitted arrays" in page[: page.index("<h2>The answer")] and "drawn anew" in page
    summary = (tmp_path / "report.md").read_text()
    assert "fitted arrays" in summary and "misfit" not in summary
    plain().report(tmp_path / "plain")
    assert "fitted number" not in (tmp_path / "plain" / "report.html").read_text()


def test_rows_of_other_draws_are_judged_by_their_quantities():
    record = record_of(posterior())
    verdicts = np.array(record.table["verdict"], object).reshape(300, 2)
    verdicts[:], verdicts[:9, 1] = "trusted", "caution"
    settings = {**record.settings, "rows": None}
    table = {**record.table, "verdict": verdicts.ravel().tolist()}
    found = latent_values(Posterior(replace(record, settings=settings, table=table)))
    assert found["verdict"] == "caution" and found["reason"].startswith("3.0% of 300 rows")


def test_without_an_encoder_there_is_no_section():
    assert latent_section(plain()) == "" and "latent" not in as_json(plain())


def test_without_a_program_the_report_says_why_there_are_no_pictures(tmp_path):
    Posterior(record_of(posterior())).save(tmp_path / "it")  # without a report
    loaded = er.load(tmp_path / "it")
    content = as_json(loaded)
    jsonschema.validate(content, json.loads(SCHEMA.read_text()))
    assert "program" in content["latent"]["absent"] and "outcomes" not in content["latent"]
    assert "No pictures" in latent_section(loaded)


def test_what_a_report_has_shown_of_rows_is_saved(tmp_path):
    before = as_json(posterior())
    posterior().save(tmp_path / "it")
    loaded = er.load(tmp_path / "it")
    assert as_json(loaded) == before
    assert latent_section(loaded) == latent_section(posterior())


def test_a_loaded_posterior_computes_at_its_fitted_arrays(tmp_path):
    posterior().save(tmp_path / "it")
    loaded = er.load(tmp_path / "it", program=plane(**made(300, 0)))
    for group in ("posterior_predictive", "log_likelihood"):
        own, theirs = (one.draws[group]["x"].to_numpy() for one in (posterior(), loaded))
        np.testing.assert_allclose(theirs, own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["bounds", "latent", "reconstructions", "traversals"])
def test_rows_without_an_encoder_are_refused(name):
    with pytest.raises(er.InferenceError, match="with an encoder"):
        getattr(er.plots, name)(plain())


def test_what_is_asked_wrongly_is_refused():
    with pytest.raises(er.ShapeError, match="4 pixels"):
        er.plots.traversals(posterior(), shape=(3, 3))
    with pytest.raises(er.DataError, match="outcome"):
        er.plots.reconstructions(posterior(), name="y")

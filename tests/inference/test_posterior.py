"""What a posterior gives: groups of draws, saving and loading, showing itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from elboroom.inference.evidence.finding import Finding
from elboroom.inference.posterior import groups as made
from elboroom.inference.posterior import save as saving
from elboroom.inference.posterior.posterior import Posterior, record_of
from elboroom.ppl import files
from elboroom.ppl.simulate import in_blocks

import elboroom as er

NAMES = np.repeat(list("abcd"), 5)


@er.model
def groups(group, y=None):
    """How far apart are the groups?"""
    mu = er.sample("mu", er.Normal(0, 5))
    sigma = er.sample("sigma", er.HalfNormal(2))
    share = er.sample("share", er.Dirichlet(np.ones(3)))
    with er.plate("group", er.levels(group)):
        theta = er.sample("theta", er.Normal(mu, 1.5))
    er.deterministic("first", share[0])
    with er.plate("row", len(group)):
        er.observe("y", er.Normal(theta[group], sigma), y)


def _outcomes():
    rng = np.random.default_rng(1)
    return np.repeat(rng.normal(2, 1.5, 4), 5) + rng.normal(size=20)


@pytest.fixture(scope="module")
def posterior():
    return er.fit(groups(NAMES, _outcomes()), num_draws=1000, progress=False)


@pytest.fixture(scope="module")
def saved(posterior, tmp_path_factory):
    fresh = Posterior(record_of(posterior))
    return fresh.save(tmp_path_factory.mktemp("fit") / "posterior")


# -- groups ----------------------------------------------------------------------------------------------


def test_groups_that_are_there_at_once(posterior):
    draws = posterior.draws
    assert posterior.draws is draws
    assert {"posterior", "observed_data", "constant_data", "sample_stats", "fit"} <= set(draws.children)
    theta = draws["posterior"]["theta"]
    assert theta.dims == ("chain", "draw", "group") and theta["group"].values.tolist() == list("abcd")
    np.testing.assert_array_equal(theta.values[0], posterior.values["theta"])
    assert draws.attrs["law"] == posterior.law and draws.attrs["seed"] == 0
    assert draws["constant_data"]["group"].dims == ("group_dim_0",)
    np.testing.assert_array_equal(draws["observed_data"]["y"], _outcomes())
    lp = draws["sample_stats"]["lp"].values[0]
    np.testing.assert_allclose(
        lp, record_of(posterior).target.log_density(posterior.z)["log_density"], rtol=1e-10
    )
    assert draws["fit"]["log_weights"].dims == ("pool",) and draws["fit"]["elbo"].dims == ("step",)


def test_log_densities_are_made_in_parts_and_left_out_where_there_are_too_many(posterior, monkeypatch):
    whole, record = posterior.draws["sample_stats"]["lp"].values[0], record_of(posterior)
    size = len(_outcomes())
    monkeypatch.setattr(made, "LARGEST_BLOCK", 3 * size)
    calls = []
    monkeypatch.setattr(made, "in_blocks", lambda *given: calls.append(given[-1]) or in_blocks(*given))
    np.testing.assert_allclose(made.log_density(record), whole, rtol=1e-12)
    assert calls == [3]
    monkeypatch.setattr(made, "MOST_DENSITIES", size * len(record.z) - 1)
    assert made.log_density(record) is None


def test_groups_on_request(posterior):
    from scipy import stats

    draws = posterior.draws
    likelihood = draws["log_likelihood"]["y"].values[0]
    codes = np.repeat(np.arange(4), 5)
    mean, sd = posterior.values["theta"][:, codes], posterior.values["sigma"][:, None]
    np.testing.assert_allclose(likelihood, stats.norm(mean, sd).logpdf(_outcomes()), rtol=1e-9)
    prior = draws["log_prior"]
    np.testing.assert_allclose(prior["mu"].values[0], stats.norm(0, 5).logpdf(posterior.values["mu"]))
    predicted = draws["posterior_predictive"]["y"].values[0]
    assert set(draws["posterior_predictive"].data_vars) == {"y"}
    z = (predicted - mean) / sd
    assert abs(z.mean()) < 4 / np.sqrt(z.size) and abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)
    assert draws["prior"]["theta"].sizes["group"] == 4 and "y" in draws.prior_predictive
    assert "posterior_predictive" in draws.children
    with pytest.raises(KeyError):
        draws["nothing"]


def test_arviz_takes_the_draws(posterior):
    import arviz_stats

    table = arviz_stats.summary(posterior.draws, var_names=["mu"], round_to="none")
    assert abs(float(table.loc["mu", "mean"]) - posterior.values["mu"].mean()) < 1e-6
    assert np.isfinite(arviz_stats.loo(posterior.draws).elpd)


def test_an_improper_prior_has_no_prior_group():
    from elboroom.ppl import constraints

    @er.model
    def flat(y):
        mu = er.sample("mu", er.ImproperUniform(constraints.real))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, 1), y)

    fitted = er.fit(flat(np.arange(5.0)), num_draws=50, progress=False)
    assert not hasattr(fitted.draws, "prior")
    with pytest.raises(er.UnsupportedError, match="mu"):
        fitted.draws["prior"]


# -- save and load ---------------------------------------------------------------------------------------


def _assert_same(a, b):
    assert a.summary().equals(b.summary()) and a.verdict == b.verdict
    for name, value in a.values.items():
        np.testing.assert_array_equal(value, b.values[name])
    np.testing.assert_array_equal(a.z, b.z)
    assert repr(a) == repr(b) and a.trail.to_frame().equals(b.trail.to_frame())
    assert (a.findings, a.cost, a.settings) == (b.findings, b.cost, b.settings)
    assert [s.constraint for s in a.sites] == [s.constraint for s in b.sites]


def test_the_same_after_loading(posterior, saved):
    loaded = er.load(saved)
    _assert_same(posterior, loaded)
    latents = {k: posterior.values[k][:5] for k in ("mu", "sigma", "share", "theta")}
    np.testing.assert_allclose(loaded.log_prob(latents), posterior.log_prob(latents), rtol=1e-10)
    np.testing.assert_array_equal(loaded.draws["sample_stats"]["lp"], posterior.draws["sample_stats"]["lp"])
    with pytest.raises(er.InferenceError, match="program"):
        loaded.predict()
    _assert_same(posterior, er.load(loaded.save(saved.parent / "again")))


def test_computed_groups_are_saved_with_the_rest(posterior, tmp_path):
    expected = posterior.draws["log_likelihood"]["y"].values
    loaded = er.load(posterior.save(tmp_path / "posterior"))
    np.testing.assert_array_equal(loaded.draws["log_likelihood"]["y"], expected)


def test_files_are_small_on_request(posterior, tmp_path):
    whole = posterior.draws["log_likelihood"]
    assert posterior.draws["posterior_predictive"].sizes["draw"]  # computed, whatever ran before
    sizes = {}
    for name, options in {"double": {}, "single": {"dtype": "float32"}, "none": {"groups": ()}}.items():
        path = posterior.save(tmp_path / name, **options)
        sizes[name] = (path / "posterior.nc").stat().st_size
        loaded, close = er.load(path), 1e-6 * (name == "single")
        for site, value in posterior.values.items():
            np.testing.assert_allclose(loaded.values[site], value, rtol=close, atol=close)
        for site in whole.data_vars if name != "none" else ():
            found = loaded.draws["log_likelihood"][site]
            assert found.dtype == whole[site].dtype
            np.testing.assert_allclose(found.values, whole[site].values, rtol=close)
    assert sizes["none"] < sizes["double"] and sizes["single"] < 0.7 * sizes["double"]
    with pytest.raises(er.InferenceError, match="dtype.*float16"):
        posterior.save(tmp_path / "half", dtype="float16")
    with pytest.raises(er.InferenceError, match="groups.*likelihoods"):
        posterior.save(tmp_path / "half", groups=["likelihoods"])
    assert not (tmp_path / "half").exists()


def test_draws_of_some_sites_alone(posterior, tmp_path):
    names = list(posterior.values)
    path = posterior.save(tmp_path / "some", sites=names[:1])
    loaded = er.load(path)
    assert list(loaded.values) == names[:1] == list(loaded.draws["posterior"].data_vars)
    assert loaded.summary().equals(posterior.summary()) and loaded.verdict == posterior.verdict
    assert loaded.summary(names[-1]).equals(posterior.summary(names[-1]))
    again = er.load(loaded.save(tmp_path / "again"))
    assert again.summary().equals(posterior.summary()) and list(again.values) == names[:1]
    whole = er.load(path, posterior.program)  # made again from the unconstrained draws
    assert list(whole.values) == names
    for name, value in posterior.values.items():
        np.testing.assert_allclose(whole.values[name], value, rtol=1e-9)
    with pytest.raises(er.InferenceError, match="sites.*'nu'"):
        posterior.save(tmp_path / "none", sites=["nu"])


def test_single_precision_is_not_used_where_it_would_lose_the_spread(tmp_path):
    @er.model
    def level(y):
        mu = er.sample("mu", er.Normal(1e9, 10.0))
        er.observe("y", er.Normal(mu, 1.0), y)

    posterior = er.fit(level(1e9 + np.arange(5.0)), progress=False, num_draws=500)
    loaded = er.load(posterior.save(tmp_path / "far", dtype="float32"))
    np.testing.assert_array_equal(loaded.values["mu"], posterior.values["mu"])


def test_files_are_as_open_as_the_user_wants(posterior, tmp_path):
    import os

    for umask in (0o022, 0o027):
        before = os.umask(umask)
        try:
            path = posterior.save(tmp_path / oct(umask))
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o777 & ~umask
        assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o666 & ~umask}


def test_a_new_process_without_the_data(posterior, saved):
    code = (
        "import sys, numpy as np, elboroom as er\n"
        "p = er.load(sys.argv[1])\n"
        "print(repr(float(p.summary()['mean'].sum())), repr(float(p.values['theta'].sum())), p.verdict)\n"
        "assert 'pickle' not in open(sys.argv[1] + '/posterior.json').read()\n"
        "assert p.sample(7)['theta'].shape == (7, 4)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    mean, total, verdict = run.stdout.split()
    assert float(mean) == posterior.summary()["mean"].sum() and verdict == posterior.verdict
    assert float(total) == posterior.values["theta"].sum()


def test_with_its_program_it_predicts_as_before(posterior, saved):
    loaded = er.load(saved, program=groups(NAMES, _outcomes()))
    assert loaded.findings == posterior.findings
    drawn = (p.predict(group=["b", "new"], new_groups="group", seed=3) for p in (posterior, loaded))
    np.testing.assert_array_equal(*(tree["posterior_predictive"]["y"].values for tree in drawn))
    assert loaded.draws["log_likelihood"]["y"].shape == (1, 1000, 20)


def test_with_other_data_it_predicts_for_them(posterior, saved):
    loaded = er.load(saved, program=groups(["z", "b"]))
    assert loaded.findings[-1].name == "other data"
    draws = loaded.predict(var_names=["theta", "y"], new_groups=True)["posterior_predictive"]
    assert draws["group"].values.tolist() == [*"abcd", "z"] and draws["y"].shape == (1, 1000, 2)
    np.testing.assert_array_equal(draws["theta"].values[0][:, :4], posterior.values["theta"])
    with pytest.raises(er.InferenceError, match="fitted"):
        loaded.draws["log_likelihood"]


def written(text, **names):
    """The model of `groups` in other words."""
    space = {"er": er, "np": np, **names}
    exec(text, space)
    return space["model"]


OTHERWISE = """
def location(mu): return shift + mu
@er.model
def model(group, y=None):
    total = er.sample("mu", er.Normal(0, 5))
    scale = er.sample("sigma", er.HalfNormal(2))
    parts = er.sample("share", er.Dirichlet(np.ones(3)))
    with er.plate("group", er.levels(group)):
        value = er.sample("theta", er.Normal(location(total), 1.5))
    er.deterministic("first", parts[part])
    with er.plate("row", len(group)):
        er.observe("y", er.Normal(value[group], scale), y)
"""


def test_a_program_written_otherwise_is_the_same(saved):
    loaded = er.load(saved, program=written(OTHERWISE, shift=0, part=0)(NAMES, _outcomes()))
    assert loaded.program is not None and "foreign program" not in [f.name for f in loaded.findings]


@pytest.mark.parametrize(
    ("changes", "words"), [({"shift": 1, "part": 0}, "log density"), ({"shift": 0, "part": 1}, "'first'")]
)
def test_a_program_that_is_another_is_left_aside(saved, changes, words):
    loaded = er.load(saved, program=written(OTHERWISE, **changes)(NAMES, _outcomes()))
    finding = loaded.findings[-1]
    assert (finding.name, finding.verdict, loaded.program) == ("foreign program", "untrusted", None)
    assert words in finding.advice


def test_other_code_on_other_data_is_a_finding(saved):
    loaded = er.load(saved, program=written(OTHERWISE, shift=1, part=0)(["z", "b"]))
    assert {"changed model", "other data"} <= {f.name for f in loaded.findings}


def test_a_changed_program_is_a_finding(saved):
    @er.model
    def other(group, y=None):
        mu = er.sample("mu", er.Normal(0, 6))
        with er.plate("row", len(group)):
            er.observe("y", er.Normal(mu, 1), y)

    loaded = er.load(saved, program=other(NAMES, _outcomes()))
    assert loaded.findings[-1].name == "foreign program"
    assert loaded.program is None


def _copy(saved, folder):
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("name", [saving.DRAWS, saving.GUIDE])
def test_damaged_files_are_named(saved, tmp_path, name):
    folder = _copy(saved, tmp_path / "cut")
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(er.InferenceError, match=name):
        er.load(folder)
    (folder / name).unlink()
    with pytest.raises(er.InferenceError, match=f"no file {name}"):
        er.load(folder)


def test_foreign_newer_and_absent(saved, tmp_path):
    with pytest.raises(er.InferenceError, match="nothing there"):
        er.load(tmp_path / "absent")
    with pytest.raises(er.InferenceError, match="without posterior.json"):
        er.load(tmp_path)
    folder = _copy(saved, tmp_path / "newer")
    record, _ = files.unsealed_json((folder / saving.RECORD).read_bytes())
    for stamp, words in ((f"{saving.FORMAT}/99", "Upgrade"), ("recipe/1", "recipe")):
        (folder / saving.RECORD).write_bytes(files.sealed_json({**record, "format": stamp}))
        with pytest.raises(er.InferenceError, match=words):
            er.load(folder)
    del record["table"]
    (folder / saving.RECORD).write_bytes(files.sealed_json(record))
    with pytest.raises(er.InferenceError, match="table"):
        er.load(folder)
    (folder / saving.RECORD).write_text("{")
    with pytest.raises(er.InferenceError, match="cannot be read"):
        er.load(folder)


def test_saving_spares_what_is_not_ours(posterior, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(er.InferenceError, match="other files"):
        posterior.save(tmp_path / "mine")
    with pytest.raises(er.InferenceError, match="a file"):
        posterior.save(tmp_path / "mine" / "thesis.txt")
    with pytest.raises(er.InferenceError, match="written"):
        posterior.save(tmp_path / "mine" / "thesis.txt" / "posterior")
    path = posterior.save(tmp_path / "new" / "posterior")
    before = (path / saving.RECORD).read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(er.InferenceError, match="no space left"):
        posterior.save(path)
    monkeypatch.undo()
    assert (path / saving.RECORD).read_bytes() == before
    posterior.save(path)
    assert [p.name for p in path.parent.iterdir()] == ["posterior"]


def test_numbers_that_json_lacks(posterior, tmp_path):
    before = posterior.khat, posterior.findings
    findings = (Finding("x", "fit", None, 1.0, "ok", "<b>"),)
    odd = Posterior(replace(record_of(posterior), khat=np.inf, findings=findings))
    text = (odd.save(tmp_path / "odd") / saving.RECORD).read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(word))
    loaded = er.load(tmp_path / "odd")
    assert loaded.khat == np.inf and loaded.findings == odd.findings
    assert (posterior.khat, posterior.findings) == before


# -- show ------------------------------------------------------------------------------------------------


def test_text_shows_verdict_table_trail_and_findings(posterior):
    text = repr(posterior)
    assert text.startswith(f"Posterior of groups: {posterior.verdict}")
    for part in ("theta[a]", "Trail", "starts", "median", "draws"):
        assert part in text


def test_worst_rows_come_first_and_long_tables_are_cut():
    from types import SimpleNamespace

    from elboroom.inference.posterior.render import shown

    table = {name: np.arange(30.0) for name in ("label", "mean", "sd", "q5", "median", "q95")}
    table |= {"verdict": [*["trusted"] * 28, "caution", "untrusted"], "reason": [""] * 30}
    rows, left = shown(SimpleNamespace(table=table, judged=[5]))
    assert len(rows) == 20 and left == 10
    assert rows["mean"].tolist()[:4] == [29, 28, 5, 0]


def test_html_is_escaped(posterior):
    findings = (Finding("x", "fit", 1.0, 1.0, "ok", "a<b"),)
    odd = Posterior(replace(record_of(posterior), name="<script>", findings=findings))
    page = odd._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "a&lt;b" in page


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_outcomes_that_the_model_computes_are_kept(backend):
    @er.model
    def lagged(y):
        b, s = er.sample("b", er.Normal(0, 1)), er.sample("s", er.HalfNormal(1))
        with er.plate("time", len(y) - 1):
            er.observe("next", er.Normal(b * y[:-1], s), y[1:])
            er.observe("left", er.Normal(0.0, 10.0), y[1:] - b)

    rng = np.random.default_rng(0)
    y = np.zeros(60)
    for t in range(1, 60):
        y[t] = 0.6 * y[t - 1] + rng.standard_normal()
    posterior = er.fit(lagged(y), backend=backend, refine=False, progress=False)
    observed = posterior.draws["observed_data"]
    assert list(observed) == ["next"]  # what holds a latent value is no datum
    assert np.array_equal(observed["next"], y[1:])
    findings = {f.name: f.verdict for f in posterior.check() if f.quantity == "next"}
    assert findings["PIT-ECDF"] == "ok" and findings["dependence on the rows before"] == "ok"

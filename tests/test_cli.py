"""The command line, from a file to a folder, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from elboroom.ppl import files
from typer.testing import CliRunner

from elboroom.__main__ import app

MODEL = """
import elboroom as er

@er.model
def line(x, y=None, scale=1.0, J=0):
    "How does y rise with x?"
    slope = er.sample("slope", er.Normal(0, 10))
    level = er.sample("level", er.Normal(0, 10))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(level + slope * x, scale), y)

@er.model
def broken(x):
    er.sample("a", er.Normal(0, 1))
    raise RuntimeError("a fault of the model's own")

plain = 3
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working folder with a model and its data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "lines", raising=False)
    write_place(tmp_path)
    return tmp_path


def write_place(folder):
    (folder / "lines.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 40)
    y = 1 + 2 * x + rng.normal(size=40)
    rows = "\n".join(f"{a},{b},{i}" for i, (a, b) in enumerate(zip(x, y, strict=True)))
    (folder / "data.csv").write_text(f"x,y,unused\n{rows}\n")
    (folder / "data.json").write_text(json.dumps({"x": x.tolist(), "y": y.tolist()}))


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def reported(**record):
    """A report's JSON."""
    return files.sealed_json({"schema": "elboroom-report/1", **record})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder of one real fit, made as a person would."""
    folder = tmp_path_factory.mktemp("fitted")
    write_place(folder)
    words = ["fit", "lines:line", "--data", "data.csv", "--set", "scale=1.0", "--seed", "1", "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-m", "elboroom", *words], cwd=folder, capture_output=True, text=True
    )
    return folder / "out", done


def test_fit_writes_the_folder(fitted):
    out, done = fitted
    assert done.returncode == 0, done.stderr
    assert sorted(entry.name for entry in out.iterdir()) == [
        "posterior",
        "report.html",
        "report.json",
        "report.md",
    ]
    assert [entry.name for entry in out.parent.iterdir() if entry.name.startswith(".")] == []
    assert "Verdict" in done.stdout and "report.html" in done.stdout
    assert done.stderr == ""
    record = json.loads((out / "report.json").read_text())
    rows = {row["name"]: row for row in record["quantities"]}
    # conjugate answer: precision X'X + I/100, unit noise
    x = np.linspace(-1, 1, 40)
    design = np.stack([np.ones(40), x], 1)
    y = np.loadtxt(out.parent / "data.csv", delimiter=",", skiprows=1)[:, 1]
    covariance = np.linalg.inv(design.T @ design + np.eye(2) / 100)
    mean, sd = covariance @ design.T @ y, np.sqrt(np.diag(covariance))
    for i, name in enumerate(("level", "slope")):
        assert abs(rows[name]["mean"] - mean[i]) < 0.1 * sd[i]
        assert abs(rows[name]["sd"] / sd[i] - 1) < 0.1
    assert record["seed"] == 1 and record["backend"] == "jax"


def test_check_reads_the_report(fitted):
    done = call("check", fitted[0], "--fail-on", "untrusted")
    assert done.exit_code == 0
    assert "Verdict" in done.output


def test_report_is_rendered_again_without_the_data(fitted, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(fitted[0], copy)
    before = json.loads((copy / "report.json").read_text())
    (copy / "report.html").unlink()
    (copy / "report.json").unlink()
    done = call("report", copy)
    assert done.exit_code == 0, done.output
    after = json.loads((copy / "report.json").read_text())
    assert (copy / "report.html").stat().st_size > 1000
    assert "prior predictions" in {
        finding["name"] for finding in after["findings"]
    }  # which the program alone can draw
    assert after == before


@pytest.mark.parametrize(
    "verdict, fits, fail_on, status",
    [
        ("untrusted", False, [], 0),
        ("untrusted", False, ["caution", "untrusted", "misfit"], 4),
        ("untrusted", None, ["caution"], 4),
        ("caution", False, ["caution", "misfit"], 5),
        ("caution", True, ["caution", "misfit"], 3),
        ("caution", True, ["untrusted"], 0),
        ("trusted", None, ["caution", "untrusted", "misfit"], 0),
        ("trusted", False, ["misfit"], 5),
    ],
)
def test_exit_status(tmp_path, verdict, fits, fail_on, status):
    record = {"verdict": verdict, "fits_data": fits, "quantities": [], "findings": []}
    (tmp_path / "report.json").write_bytes(reported(**record))
    words = [word for name in fail_on for word in ("--fail-on", name)]
    assert call("check", tmp_path, *words).exit_code == status


def test_check_is_light(tmp_path):
    (tmp_path / "report.json").write_bytes(reported(verdict="trusted", fits_data=None))
    code = (
        "import sys\nfrom elboroom.__main__ import app\n"
        f"app(['check', {str(tmp_path)!r}], standalone_mode=False)\n"
        "sys.exit(', '.join({'jax', 'numpy', 'pandas', 'xarray'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


USAGE = [
    (["fit", "lines:line", "--data", "none.csv", "--out", "out"], "none.csv"),
    (["fit", "lines:line", "--data", "lines.py", "--out", "out"], ".csv, .json, .nc, .npz or .parquet"),
    (["fit", "lines:line", "--data", "bad.npz", "--out", "out"], "bad.npz"),
    (["fit", "lines:line", "--data", "bad.json", "--out", "out"], "bad.json"),
    (["fit", "lines:line", "--data", "empty.csv", "--out", "out"], "empty.csv"),
    (["fit", "lines", "--data", "data.csv", "--out", "out"], "MODULE:MODEL"),
    (["fit", "nowhere:line", "--data", "data.csv", "--out", "out"], "nowhere"),
    (["fit", "lines:nothing", "--data", "data.csv", "--out", "out"], "'broken', 'line'"),
    (["fit", "lines:plain", "--data", "data.csv", "--out", "out"], "int"),
    (["fit", "lines:line", "--out", "out"], "'x'"),
    (["fit", "lines:line", "--data", "data.csv", "--set", "scale", "--out", "out"], "key=value"),
    (["fit", "lines:line", "--data", "data.csv", "--set", "unknown=1", "--out", "out"], "unknown"),
    (["fit", "lines:line", "--data", "data.csv", "--guide", "nothing", "--out", "out"], "guide"),
    (["fit", "lines:line", "--data", "data.csv", "--backend", "nothing", "--out", "out"], "backend"),
    (["fit", "lines:line", "--data", "nan.csv", "--out", "out"], "x"),
    (["check", "nowhere"], "report.json"),
    (["report", "nowhere"], "nowhere"),
]


@pytest.mark.parametrize("words, told", USAGE, ids=[" ".join(words[:4]) for words, _ in USAGE])
def test_usage_and_data_errors(place, words, told):
    (place / "bad.json").write_text("[1, 2")
    (place / "bad.npz").write_text("no archive")
    (place / "empty.csv").write_text("")
    (place / "nan.csv").write_text("x,y\n1.0,2.0\n,3.0\n")
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert told in done.output
    assert done.output.startswith("Error: ") and done.output.count("\n") == 1
    assert not (place / "out").exists()
    assert [entry.name for entry in place.iterdir() if entry.name.startswith(".")] == []


def test_typer_usage_errors():
    assert call("fit", "lines:line").exit_code == 2
    assert call("fit", "lines:line", "--out", "out", "--fail-on", "rain").exit_code == 2


@pytest.mark.parametrize("out", ["data.csv", "data.csv/deeper", "strange"])
def test_unwritable_folder_is_refused_before_the_fit(place, monkeypatch, out):
    (place / "strange").mkdir()
    (place / "strange" / "thesis.txt").write_text("mine")
    monkeypatch.setattr("elboroom.inference.fit.fit", lambda *a, **k: pytest.fail("the fit was started"))
    done = call("fit", "lines:line", "--data", "data.csv", "--out", out)
    assert done.exit_code == 2
    assert "output folder" in done.output
    assert (place / "strange" / "thesis.txt").read_text() == "mine"


def test_a_model_that_raises_keeps_its_traceback(place):
    done = subprocess.run(
        [sys.executable, "-m", "elboroom", "fit", "lines:broken", "--data", "data.csv", "--out", "out"],
        capture_output=True,
        text=True,
        cwd=place,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "lines.py" in done.stderr
    assert "a fault of the model's own" in done.stderr
    assert not (place / "out").exists()


class Reached:
    """Stands for a posterior."""

    def save(self, path, **options):
        path.mkdir()

    def report(self, folder):
        (folder / "report.html").write_text("<html>")
        (folder / "report.json").write_bytes(reported(verdict="untrusted", fits_data=None))


class Full(Reached):
    """Stands for a posterior on a full disk."""

    def save(self, path, **options):
        raise files.unwritable("save", OSError(28, "No space left on device"))

    report = save


def test_interrupt_keeps_what_was_reached(place, monkeypatch):
    def interrupted(*words, **settings):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            pass
        return Reached()

    monkeypatch.setattr("elboroom.inference.fit.fit", interrupted)
    done = call("fit", "lines:line", "--data", "data.csv", "--out", "out", "--fail-on", "untrusted")
    assert done.exit_code == 130
    assert (place / "out" / "report.json").exists()


def test_interrupt_before_anything_was_reached(place, monkeypatch):
    def interrupted(*words, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("elboroom.inference.fit.fit", interrupted)
    done = call("fit", "lines:line", "--data", "data.csv", "--out", "out")
    assert done.exit_code == 130
    assert not (place / "out").exists()


def test_a_second_fit_replaces_the_first(place, monkeypatch):
    monkeypatch.setattr("elboroom.inference.fit.fit", lambda *a, **k: Reached())
    for _ in range(2):
        assert call("fit", "lines:line", "--data", "data.csv", "--out", "out").exit_code == 0
    assert sorted(entry.name for entry in (place / "out").iterdir()) == [
        "posterior",
        "report.html",
        "report.json",
    ]

    monkeypatch.setattr("elboroom.inference.fit.fit", lambda *a, **k: Full())
    done = call("fit", "lines:line", "--data", "data.csv", "--out", "out")
    assert done.exit_code == 2 and "no space left" in done.output
    assert (place / "out" / "report.html").exists()


def test_settings_reach_the_model(place, monkeypatch):
    seen = {}

    def catch(program, **settings):
        seen.update(program.arguments, **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("elboroom.inference.fit.fit", catch)
    call(
        *("fit", "lines:line", "--data", "data.json", "--set", "scale=2.5", "--set", "J=3", "--out", "out"),
        *("--refine", "never", "--seed", "7", "--guide", "laplace"),
    )
    assert (seen["scale"], seen["J"], len(seen["x"])) == (2.5, 3, 40)
    assert (seen["refine"], seen["seed"], seen["guide"]) == (False, 7, "laplace")


def test_netcdf(place):
    import xarray as xr

    from elboroom.arguments import read_table

    data = xr.Dataset({"x": ("row", [1.0, 2.0]), "J": ((), 4)}, coords={"row": ["a", "b"]})
    data.to_netcdf(place / "data.nc", engine="h5netcdf")
    table = read_table(place / "data.nc")
    assert table["J"] == 4 and table["x"].dims == ("row",)


ROWS = """
import elboroom as er

@er.model
def rows(x):
    decode = er.module("decode", er.nn.MLP(1, [], 3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(decode(z), 0.5).to_event(1), x)
"""


def test_a_model_with_an_encoder_from_end_to_end(place, monkeypatch):
    import elboroom as er

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1)) * [1.0, -1.0, 2.0] + 0.5 * rng.normal(size=(60, 3))
    x[0, 1] = np.nan
    (place / "encoded_rows.py").write_text(ROWS)
    np.savez(place / "rows.npz", x=x, other=np.zeros(3))
    done = call("fit", "encoded_rows:rows", "--data", "rows.npz", "--refine", "never", "--out", "out")
    assert done.exit_code == 0, done.output
    assert call("check", "out", "--fail-on", "untrusted").exit_code == 0
    first = json.loads((place / "out" / "report.json").read_text())
    assert first["latent"] and first["verdict"] == "trusted"
    again = call("report", "out")
    assert again.exit_code == 0, again.output
    assert json.loads((place / "out" / "report.json").read_text()) == first
    assert "along units" in (place / "out" / "report.html").read_text()
    monkeypatch.syspath_prepend(str(place))
    import encoded_rows

    posterior = er.load(place / "out" / "posterior", program=encoded_rows.rows(x))
    found = posterior.latent.encode(x[:4])
    means = {q["name"]: q["mean"] for q in first["quantities"]}
    np.testing.assert_allclose(found["mean"][:, 0], [means[f"z[{i}, 0]"] for i in range(4)], atol=0.1)


def test_columns_of_parquet_and_npz(place):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: Parquet files are not read")
    import pandas as pd

    from elboroom.arguments import read_table

    pd.DataFrame({"x": [[1.0, 2.0], [3.0, 4.0]], "y": [1, 2], "g": ["a", "b"]}).to_parquet(
        place / "t.parquet"
    )
    table = read_table(place / "t.parquet")
    assert table["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]] and table["g"].tolist() == ["a", "b"]
    np.savez(place / "t.npz", x=np.ones((2, 3)), J=np.array(4))
    table = read_table(place / "t.npz")
    assert table["x"].shape == (2, 3) and table["J"] == 4


def test_version_and_help():
    import elboroom

    assert call("--version").output == f"elboroom {elboroom.__version__}\n"
    for words in (["--help"], ["fit", "--help"], ["check", "--help"]):
        done = call(*words)
        assert done.exit_code == 0
        assert "Exit status" in done.output and "130" in done.output


def test_a_file_of_another_layout(place):
    from elboroom.arguments import read_table

    (place / "maß.csv").write_bytes("x;größe\n1,5;Köln\n-2,25;Bonn\n".encode("latin-1"))
    table = read_table("maß.csv", separator=";", decimal=",", encoding="latin-1")
    assert table["x"].tolist() == [1.5, -2.25] and table["größe"].tolist() == ["Köln", "Bonn"]
    rows = (place / "data.csv").read_text().replace(".", "#").replace(",", "\t").replace("#", ",")
    (place / "german.csv").write_text(rows)
    done = call(
        "fit", "lines:line", "--data", "german.csv", "--separator", "\\t", "--decimal", ",", "--out", "out"
    )
    assert done.exit_code == 0, done.output
    table = {
        q["name"]: q["mean"] for q in json.loads((place / "out" / "report.json").read_text())["quantities"]
    }
    x, y = np.loadtxt(place / "data.csv", delimiter=",", skiprows=1)[:, :2].T
    assert abs(table["slope"] - np.polyfit(x, y, 1)[0]) < 0.05
    for words, said in (
        (["--data", "german.csv"], "data for ['x']"),
        (["--data", "german.csv", "--encoding", "utf-99"], "utf-99"),
        (["--data", "data.json", "--decimal", ","], "for .csv files only"),
    ):
        wrong = call("fit", "lines:line", *words, "--out", "other")
        assert wrong.exit_code == 2 and said in wrong.output.replace("\n", " "), wrong.output

"""Metrics: known answers, one table, and what is shown of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from elboroom.operations.exposition import Exposition
from elboroom.operations.metrics import watched
from elboroom.operations.metrics.of_rows import _by_unit, of_anomalies, of_scores
from elboroom.operations.metrics.table import BY_NAME, TABLE, documented
from elboroom.operations.metrics.watched import Watched
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import kstest, multivariate_normal, norm

import elboroom as er

ROOT = Path(__file__).resolve().parent.parent.parent
SLOPE = np.array([1.0, -1.0, 2.0])


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)


@er.model
def line(x):
    slope = er.param("slope", np.ones(3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1))
        er.observe("x", er.Normal(z[:, None] * slope, 0.5).to_event(1), x)


@er.model
def logistic(x, y):
    slope = er.sample("slope", er.Normal(0, 2))
    with er.plate("row", len(x)):
        er.observe("y", er.Bernoulli(logits=slope * x), y)


def rows(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 1)) * SLOPE + 0.5 * rng.normal(size=(count, 3))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Rows with an encoder, and the folder of the tracker that was told of their training."""
    runs = tmp_path_factory.mktemp("runs")
    posterior = er.fit(
        line(rows(256, 0)), guide=er.Amortized(), progress=False, max_seconds=8, track=er.Tracker(runs)
    )
    return posterior, runs


@pytest.fixture(scope="module")
def plain():
    return er.fit(level(np.arange(10.0)), progress=False)


def parsed(text: str) -> dict:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# -- known answers ---------------------------------------------------------------------------------------


def test_density_of_new_rows_is_the_exact_one(plain):
    """A conjugate model: new rows are normal about the posterior's mean."""
    y = np.array([0.0, 4.0, 9.0])
    precision = 10 + 1 / 100
    exact = norm.logpdf(y, np.arange(10.0).sum() / precision, np.sqrt(1 + 1 / precision))
    found = er.metrics(plain, {"y": y})
    assert found["nll"] == pytest.approx(-exact.mean(), abs=0.05)
    assert found["nll_se"] == pytest.approx(exact.std(ddof=1) / np.sqrt(3), rel=0.05)
    assert found["rows_total"] == 3


def test_bound_of_a_conjugate_model_is_the_evidence(plain):
    y = np.arange(10.0)
    exact = multivariate_normal.logpdf(y, np.zeros(10), np.eye(10) + 100 * np.ones((10, 10)))
    found = er.metrics(plain)
    assert found["elbo"] == pytest.approx(exact / 10, abs=0.01 + 4 * found["elbo_se"])
    verdicts = {s.labels["verdict"]: s.value for s in found.samples if s.name == "quantities"}
    assert verdicts["trusted"] == 1 and sum(verdicts.values()) == 1


def test_what_does_not_apply_is_absent(plain):
    found = er.metrics(plain)
    names = {sample.name for sample in found.samples}
    assert not names & {
        "active_units",
        "unit_mean",
        "kl",
        "reconstruction",
        "encoder_gap",
        "ece",
        "khat_share",
    }
    assert all(np.isfinite(sample.value) for sample in found.samples) and found.absent == {}
    with pytest.raises(er.DataError, match=r"metrics: expected one value.*'active_units'"):
        found["active_units"]


def test_metrics_of_encoded_rows(encoded):
    posterior, _ = encoded
    new = rows(200, 1)
    found = er.metrics(posterior, {"x": new}, version="7", name="live", anomalous=np.zeros(200))
    slope = posterior.learned["slope"]
    exact = multivariate_normal.logpdf(new, np.zeros(3), np.outer(slope, slope) + 0.25 * np.eye(3))
    assert found["nll"] == pytest.approx(-exact.mean(), abs=0.02)
    assert found["elbo"] <= -found["nll"] + 0.02
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"], abs=1e-9)
    assert found["active_units"] == 1 and found["khat_share"] == 0
    precision = 1 + 4 * slope @ slope
    mean, sd = new @ (4 * slope) / precision, 1 / np.sqrt(precision)
    assert found["unit_mean"] == pytest.approx(mean.mean(), abs=0.05)
    assert found["unit_sd"] == pytest.approx(np.sqrt(mean.var() + sd**2), rel=0.05)
    kl = 0.5 * (mean**2 + sd**2 - 1 - np.log(sd**2))
    assert found["kl"] == pytest.approx(kl.mean(), rel=0.1) == found["unit_kl"]
    assert found["gradient_norm"] == pytest.approx(
        float(np.median(posterior.draws["fit"]["gradient_norm"][-50:])), rel=2
    )
    assert 0 <= found["encoder_gap"] < 0.1 and found["anomaly_share"] < 0.2
    assert found["anomaly_precision"] == 0 and found["encode_seconds"] > 0
    assert all(s.labels.get("data", "live") == "live" for s in found.samples)


def test_codes_far_out_are_counted(encoded):
    posterior, _ = encoded
    new = np.concatenate([rows(50, 2), 10 * np.tile(SLOPE, (5, 1))])
    assert er.metrics(posterior, {"x": new})["norm_exceed_total"] == 5


def test_course_of_a_training_is_told(encoded):
    posterior, runs = encoded
    events = [json.loads(one) for one in next(runs.glob("*/events.jsonl")).read_text().splitlines()]
    steps = [e for e in events if e["event"] == "step" and e["stage"] == "training networks"]
    seen = posterior.draws["fit"]["bounds"].to_numpy()
    assert [e["step"] for e in steps] == seen[:, 0].tolist()
    np.testing.assert_allclose([e["values"]["bound"] for e in steps], seen[:, 2])
    np.testing.assert_allclose([e["values"]["active_units"] for e in steps], seen[:, 4])
    assert all(e["values"]["gradient_norm"] > 0 for e in steps)


def test_calibration_of_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=900)
    y = (rng.uniform(size=900) < 1 / (1 + np.exp(-1.5 * x))) * 1
    posterior = er.fit(logistic(x[:300], y[:300]), progress=False)
    new = {"x": x[300:], "y": y[300:]}
    found, exact = er.metrics(posterior, new), er.calibration(posterior, new)
    assert found["ece"] == pytest.approx(exact.ece, abs=0.01) and found["ece_excess"] < 0
    assert found["accuracy"] == pytest.approx(exact.accuracy) and found["nll"] == pytest.approx(
        -exact.log_score, abs=0.01
    )
    off = er.metrics(posterior, {"x": x[300:], "y": 1 - y[300:]})
    assert off["ece_excess"] > 0.05


def test_places_and_coverage_are_the_exact_ones(plain):
    """Of a conjugate model predictions are normal: places of outcomes that vary five times as much are known, and shares within intervals."""
    precision, rng = 10 + 1 / 100, np.random.default_rng(3)
    law = norm(45 / precision, np.sqrt(1 + 1 / precision))
    wide, right = law.mean() + 5 * rng.normal(size=600), law.rvs(600, random_state=4)
    found, place = er.metrics(plain, {"y": wide}), law.cdf(wide)
    assert found["place_distance"] == pytest.approx(kstest(place, "uniform").statistic, abs=0.02)
    within = {s.labels["level"]: s.value for s in found.samples if s.name == "coverage"}
    assert list(within) == ["0.5", "0.8", "0.9", "0.95"]
    for level, share in within.items():
        assert share == pytest.approx((abs(place - 0.5) < float(level) / 2).mean(), abs=0.02)
    assert found["place_excess"] > 0.05 > er.metrics(plain, {"y": right})["place_excess"]


def test_rows_that_cannot_be_measured_are_counted_and_the_others_measured(encoded):
    """An infinite cell, a missing one, a group that was not fitted, an outcome that has not come; a column that no model takes."""
    rng = np.random.default_rng(5)

    @er.model
    def grouped(x, group, y=None):
        slope = er.sample("slope", er.Normal(0, 5))
        with er.plate("group", er.levels(group)):
            own = er.sample("own", er.Normal(0, 1))
        with er.plate("row", len(x)):
            er.observe("y", er.Normal(slope * x + own[group], 1), y)

    def made(count):
        x, group = rng.normal(size=count), rng.choice(["a", "b"], count).astype(object)
        return {"x": x, "group": group, "y": x + rng.normal(size=count)}

    posterior, new = er.fit(grouped(**made(100)), progress=False), made(60)
    clean = er.metrics(posterior, {name: values[4:] for name, values in new.items()})
    new["x"][0], new["y"][1], new["group"][2], new["y"][3] = np.inf, -np.inf, "z", np.nan
    found = er.metrics(posterior, pd.DataFrame({**new, "number": np.arange(60)}))
    for name in ("nll", "rows_total", "place_distance"):
        assert found[name] == clean[name]
    lost = {s.labels["what"]: s.value for s in found.samples if s.name == "not_finite_total"}
    assert lost["rows"] == 2 and found.absent == {} and "4 of 60 rows" in found.findings[0].advice
    with pytest.raises(
        er.DataError, match=r"all that runs along the rows, \['group', 'x'\] too, got \['y'\]"
    ):
        er.metrics(posterior, {"y": made(100)["y"]})  # as many as were fitted, whose x is not theirs
    spoilt = rows(40, 6)
    spoilt[3, 1] = np.inf
    kept = Watched.of(encoded[0], pd.DataFrame(spoilt, columns=["x[0]", "x[1]", "x[2]"]), None, None)
    np.testing.assert_array_equal(kept.data["x"], np.delete(spoilt, 3, 0))
    assert (kept.spoilt, kept.left_out, kept.given) == (1, 1, 40)


def test_one_row_has_no_standard_error_and_none_no_density(encoded):
    one, none = (Watched.of(encoded[0], {"x": rows(count, 3)}, None, None) for count in (1, 0))
    assert "nll_se" not in {name for name, *_ in of_scores(one)}
    with pytest.raises(er.DataError, match="expected rows that can be measured"):
        next(of_scores(none))


def test_labels_of_anomalies_are_those_of_the_rows_that_are_looked_at(encoded, monkeypatch):
    monkeypatch.setattr(watched, "METRIC_ROWS", 20)
    new, marks = rows(60, 3), np.zeros(60, bool)
    new[::4], marks[::4] = 30 * np.array([1.0, 1, 1]), True
    found = dict(of_anomalies(Watched.of(encoded[0], {"x": new}, None, marks)))
    assert found["anomaly_precision"] > 0.7
    for wrong in ([True], ["yes"] * 50):
        with pytest.raises(er.DataError, match="anomalous: expected 50 values"):
            er.metrics(encoded[0], {"x": rows(50, 3)}, anomalous=wrong)


def test_metrics_that_are_no_numbers_are_counted(plain):
    """An outcome that the model gives no density: its bound is infinite, and that is no silent gap."""
    found = er.metrics(plain, {"y": [1e200, 1.0]})
    assert "nll" not in found
    lost = {s.labels["what"]: s.value for s in found.samples if s.name == "not_finite_total"}
    assert lost["nll"] == 1 and found.findings[0].verdict == "caution"
    shown = parsed(found.exposition().text())
    assert not any(name == "elboroom_nll" for name, _ in shown)
    assert shown["elboroom_not_finite_total", (("model", "level"), ("version", ""), ("what", "nll"))] == 1


def test_many_units_are_quantiles():
    few = dict(_by_unit([f"z[{i}]" for i in range(50)], np.arange(50.0)))
    many = dict(_by_unit([f"z[{i}]" for i in range(51)], np.arange(51.0)))
    assert len(few) == 50 and few["z[7]"] == 7
    assert many["quantile 0.5"] == 25 and many["quantile 1"] == 50 and len(many) == 7


def test_drift_as_samples(plain):
    rng = np.random.default_rng(0)
    monitor = er.Monitor(plain, reference={"y": rng.normal(4.5, 3, size=600)})
    monitor.see({"y": rng.normal(4.5, 3, size=300) + 6})
    found = monitor.findings()
    shown = parsed(monitor.exposition("7").text())
    common = (("model", "level"), ("version", "7"))
    data = found.table().query("stream == 'data' and name == 'y' and moved")
    assert shown["elboroom_drifted", (("kind", "data"), *common)] == 1 and len(data)
    effect = shown["elboroom_drift_effect", (("kind", "data"), *common, ("what", "y"))]
    assert effect in data["effect"].to_list()
    assert shown["elboroom_rows_total", (("data", "live"), *common)] == 300
    monitor = er.Monitor(plain, reference={"y": rng.normal(4.5, 3, size=600)})
    monitor.see({"y": rng.normal(4.5, 3, size=300)})
    monitor.findings()
    assert parsed(monitor.exposition("7").text())["elboroom_drifted", (("kind", "data"), *common)] == 0


# -- the table and its exposition ------------------------------------------------------------------------


def test_the_table_is_sound():
    assert len(BY_NAME) == len(TABLE)
    for metric in TABLE:
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert metric.help and metric.boards and (metric.kind == "histogram") == bool(metric.buckets)
        assert not metric.unit or metric.unit in metric.name or metric.unit == "nats"
        assert f"`{metric.full}`" in documented()
    assert documented() in (ROOT / "docs" / "metrics.md").read_text()
    assert list(BY_NAME["request_seconds"].buckets) == sorted(BY_NAME["request_seconds"].buckets)


def test_exposition_read_back_by_its_own_parser(plain):
    found = er.metrics(plain, version="3")
    shown = parsed(found.exposition().text())
    for sample in found.samples:
        labels = {**sample.labels, "model": "level", "version": "3"}
        assert shown[f"elboroom_{sample.name}", tuple(sorted(labels.items()))] == sample.value
    kinds = {f.name: f.type for f in text_string_to_metric_families(found.exposition().text())}
    assert kinds["elboroom_elbo"] == "gauge" and kinds["elboroom_rows"] == "counter"


def test_histogram_has_the_buckets_of_the_table():
    shown = Exposition("m", "1")
    for seconds in (0.004, 0.04, 0.4, 4.0):
        shown.observe("request_seconds", seconds, route="encode")
    found = parsed(shown.text())
    ends = [dict(labels)["le"] for name, labels in found if name == "elboroom_request_seconds_bucket"]
    assert [float(end) for end in ends] == [*BY_NAME["request_seconds"].buckets, np.inf]
    assert (
        found["elboroom_request_seconds_count", (("model", "m"), ("route", "encode"), ("version", "1"))] == 4
    )


def test_a_value_that_is_lost_is_no_longer_shown():
    shown = Exposition("m", "1")
    shown.set("elbo", -1.0, data="live")
    shown.set("elbo", float("nan"), data="live")
    found = parsed(shown.text())
    assert not any(name == "elboroom_elbo" for name, _ in found)
    assert found["elboroom_not_finite_total", (("model", "m"), ("version", "1"), ("what", "elbo"))] == 1
    shown.set("elbo", -2.0, data="live")
    assert -2.0 in parsed(shown.text()).values()


def test_a_million_labels_are_refused():
    shown = Exposition("m", "1")
    with pytest.raises(
        er.DataError, match=r"labels of 'elbo': expected at most 1000.*Label by what there are few of"
    ):
        for i in range(1_000_000):
            shown.set("elbo", 0.0, data=f"row {i}")
    assert len(parsed(shown.text())) == 1000
    with pytest.raises(er.DataError, match="up to 120 letters"):
        shown.set("elbo", 0.0, data="x" * 1000)
    long = [("drift_effect", {"kind": "data", "what": f"{'column' * 40}\n{i}"}, 1.0) for i in range(2)]
    assert (
        len(parsed(Exposition("m", "1").tell(long).text())) == 2
    )  # what the data name is shortened, and stays apart


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda e: e.set("abacus", 1.0), "metric, a gauge"),
        (lambda e: e.tell([("abacus", {}, 1.0)]), "metric, a gauge"),
        (lambda e: e.set("rows_total", 1.0, data="x"), "a counter"),
        (lambda e: e.set("elbo", 1.0), "labels of 'elbo'"),
        (lambda e: e.set("elbo", 1.0, data="x", user="me"), "labels of 'elbo'"),
        (lambda e: e.add("rows_total", -1.0, data="x"), "zero or more"),
        (lambda e: e.add("rows_total", "many", data="x"), "zero or more, got 'many'"),
        (lambda e: e.set("elbo", None, data="x"), "gauge 'elbo': expected a number, got None"),
        (lambda e: e.set("elbo", 1.0, data="a\nb"), "in one line"),
    ],
)
def test_what_is_not_in_the_table(call, words):
    with pytest.raises(er.DataError, match=words):
        call(Exposition("m", "1"))


class Gateway(BaseHTTPRequestHandler):
    """Keeps what is put, as a Pushgateway does."""

    kept: ClassVar[dict] = {}

    def do_PUT(self):
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_push_and_pull(plain):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shown = er.metrics(plain, version="3").exposition()
    try:
        shown.push(f"http://127.0.0.1:{server.server_port}", "nightly")
    finally:
        server.shutdown()
    ((path, text),) = Gateway.kept.items()
    assert path == "/metrics/job/nightly/model/level/version/3"
    assert parsed(text) == parsed(shown.text())
    with pytest.raises(er.InferenceError, match=r"push to 'http://127.0.0.1:9'.*refused.*scrape"):
        shown.push("http://127.0.0.1:9")
    with pytest.raises(er.InferenceError, match=r"push to '3'"):
        shown.push(3)
    scraped, _ = shown.serve(0)
    try:
        for port in (scraped.server_port, "a", 10**6):
            with pytest.raises(er.InferenceError, match=r"expected a port that is free"):
                shown.serve(port)
        with urllib.request.urlopen(f"http://127.0.0.1:{scraped.server_port}/metrics", timeout=5) as answer:
            assert parsed(answer.read().decode()) == parsed(shown.text())
    finally:
        scraped.shutdown()


def test_several_processes_add_up(tmp_path):
    code = textwrap.dedent(
        """
        import sys
        from elboroom.operations.exposition import Exposition
        shown = Exposition("m", "1")
        shown.add("rows_total", int(sys.argv[1]), data="live")
        shown.set("queue_rows", int(sys.argv[1]))
        shown.set("queue_rows", float("nan")) if sys.argv[1] == "5" else None
        print(shown.text())
        """
    )
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for count in ("3", "4", "5"):
        made = subprocess.run(
            [sys.executable, "-c", code, count], env=env, capture_output=True, text=True, timeout=120
        )
        assert made.returncode == 0, made.stderr
    found = parsed(made.stdout)
    assert found["elboroom_rows_total", (("data", "live"), ("model", "m"), ("version", "1"))] == 12
    assert np.isnan(found["elboroom_queue_rows", (("model", "m"), ("version", "1"))])
    assert found["elboroom_not_finite_total", (("model", "m"), ("version", "1"), ("what", "queue_rows"))] == 1

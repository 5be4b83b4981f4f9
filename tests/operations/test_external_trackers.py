"""Trackers against MLflow's own server, Weights & Biases offline, and TensorBoard's own reader."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from pathlib import Path

import numpy as np
import pytest

import elboroom as er

pytestmark = pytest.mark.external
Y = [1.0, 2.0, 3.0]


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)


@pytest.fixture(scope="module")
def told(server, tmp_path_factory):
    """A fit that MLflow and a folder are told of."""
    folder = tmp_path_factory.mktemp("runs")
    url, _ = server
    posterior = er.fit(
        level(Y), seed=5, progress=False, track=er.Tracker(folder, f"mlflow:{url}", report=True)
    )
    events = [json.loads(one) for one in next(folder.glob("*/events.jsonl")).read_text().splitlines()]
    return posterior, events, url


def test_mlflow_read_back(told):
    from mlflow.tracking import MlflowClient

    posterior, events, url = told
    assert [str(f) for f in posterior.findings if f.name == "tracker"] == []
    client = MlflowClient(url)
    (run,) = client.search_runs([client.get_experiment_by_name("level").experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == events[0]["run"]
    assert (
        run.data.params["seed"] == "5" and run.data.params["data_fingerprint"] == posterior.data_fingerprint
    )
    assert run.data.tags["verdict"] == posterior.verdict == "trusted"
    assert run.data.metrics["num_gradients"] == posterior.cost.num_gradients
    key = "fitting_the_guide/bound"
    found = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, key)]
    own = [
        (e["step"], e["values"]["bound"])
        for e in events
        if e["event"] == "step" and e["stage"] == "fitting the guide"
    ]
    assert sorted(found) == own and len(own) > 0


def test_mlflow_has_files_and_no_model(told, tmp_path):
    from mlflow.tracking import MlflowClient

    posterior, _, url = told
    client = MlflowClient(url)
    (run,) = client.search_runs([client.get_experiment_by_name("level").experiment_id])
    names = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert names == {"findings.json", "report.html", "report.json", "report.md", "summary.csv", "trail.csv"}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", "MLmodel"))]
    report = client.download_artifacts(run.info.run_id, "report.json", str(tmp_path))
    assert json.loads(Path(report).read_text())["verdict"] == posterior.verdict


def test_mlflow_has_each_step_once_where_a_request_fails(server):
    from elboroom.operations.ledger import now
    from elboroom.operations.trackers.delivery import Delivery
    from elboroom.operations.trackers.mlflow import Mlflow
    from mlflow.tracking import MlflowClient

    class Once(MlflowClient):
        calls, steps = 0, []

        def log_batch(self, run_id, metrics=(), **others):
            self.calls += 1
            if self.calls == 3:  # after the settings and the first steps
                raise ConnectionError("reset")
            self.steps.extend(metric.step for metric in metrics)
            super().log_batch(run_id, metrics=metrics, **others)

    mirror = Mlflow(server[0], "run")
    mirror._client = Once(server[0])
    way = Delivery("x", mirror)
    way.tell({"event": "begin", "kind": "fit", "model": "once", "version": "0", "settings": {}})
    for step in range(1500):
        way.tell(
            {"event": "step", "time": now(), "stage": "a", "step": step, "values": {"bound": 1.0 * step}}
        )
    assert way.arrived(30) and way.lost == 0
    assert Once.steps == list(range(1500))


def test_mlflow_that_stops_answering_costs_a_finding(server):
    url, process = server
    alone = er.fit(level(Y), seed=5, progress=False)
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        begin = time.perf_counter()
        posterior = er.fit(level(Y), seed=5, progress=False, track=er.Tracker(f"mlflow:{url}"))
        seconds = time.perf_counter() - begin
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    np.testing.assert_array_equal(posterior.z, alone.z)
    assert [f.name for f in posterior.findings] == ["tracker"] and posterior.verdict == "trusted"
    assert seconds < 3 + 5


def logged(content: bytes):
    """Records of a file of Weights & Biases, which has LevelDB's format of logs after seven bytes of its own."""
    assert content[:4] == b":W&B"
    place, parts = 7, b""
    while place + 7 <= len(content):
        if (room := 32768 - place % 32768) < 7:
            place += room
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def kept(content: bytes) -> dict:
    """What a file of Weights & Biases has of a run."""
    from wandb.proto import wandb_internal_pb2

    found: dict = {"project": "", "config": {}, "history": [], "summary": {}}
    for data in logged(content):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        match record.WhichOneof("record_type"):
            case "history":
                found["history"].append(values(record.history.item))
            case "run":
                found["project"] = record.run.project or found["project"]
                found["config"] |= {item.key: item.value_json for item in record.run.config.update}
            case "summary":
                found["summary"] |= values(record.summary.update)
    return found


def values(items) -> dict:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_wandb_offline_read_back(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setattr(
        "elboroom.operations.trackers.tracker.TRACKER_SECONDS", 60.0
    )  # its own program starts slowly
    import random

    before = random.getstate(), np.random.get_state()[1].tolist()
    posterior = er.fit(level(Y), seed=5, progress=False, track=er.Tracker("wandb:own"))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert [str(f) for f in posterior.findings if f.name == "tracker"] == []
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 60  # its program writes when it likes
    while "verdict" not in (found := kept(file.read_bytes()))["summary"] and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found["project"] == "own" and found["config"]["seed"] == "5"
    bounds = [one["fitting_the_guide/bound"] for one in found["history"] if "fitting_the_guide/bound" in one]
    assert bounds == pytest.approx(posterior.draws["fit"]["elbo"].to_numpy().tolist())
    assert found["summary"]["verdict"] == posterior.verdict


def test_tensorboards_own_reader(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    posterior = er.fit(level(Y), seed=5, progress=False, track=er.Tracker(f"tensorboard:{tmp_path}"))
    (folder,) = tmp_path.iterdir()
    found = reader.EventAccumulator(str(folder)).Reload()
    bounds = [one.value for one in found.Scalars("fitting_the_guide/bound")]
    assert bounds == pytest.approx(posterior.draws["fit"]["elbo"].to_numpy().tolist(), rel=1e-6)

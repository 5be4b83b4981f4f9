"""A mirror of the registry: against a real MLflow server, and against servers that are down, in trouble or silent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from threading import Thread

import numpy as np
import pytest

import elboroom as er


@er.model
def level(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)


@pytest.fixture(scope="module")
def fitted():
    return er.fit(level(np.random.default_rng(1).normal(3, 1, 40)), progress=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """MLflow's own server on this machine."""
    pytest.importorskip("mlflow.server", reason="MLflow's server is not installed")
    place, port = tmp_path_factory.mktemp("mlflow"), _free()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{place}/runs.db",
        "--artifacts-destination",
        str(place / "artifacts"),
    ]
    process = subprocess.Popen(
        command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1)
            break
        except OSError:
            time.sleep(0.5)
    yield url
    os.killpg(process.pid, 15)
    process.wait(20)


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.external
def test_mlflow_has_what_the_registry_has(server, fitted, tmp_path):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server, server)
    registry = er.Registry(tmp_path / "models", key=er.Key.new(), mirror=f"mlflow:{server}")
    registry.add(fitted, "level", because="first", tags={"stage": "shadow"})
    registry.add(fitted, "level")
    assert registry.findings == ()
    registry.promote("level", 1)
    registry.promote("level", 2)
    assert client.get_model_version_by_alias("level", "live").tags["elboroom.version"] == "2"
    registry.rollback("level")
    theirs = client.get_model_version_by_alias("level", "live")
    version = registry.get("level@live")
    assert theirs.tags["elboroom.version"] == "1" and theirs.tags["elboroom.verdict"] == "trusted"
    assert theirs.tags["stage"] == "shadow" and theirs.description == "first"
    copy = client.download_artifacts(theirs.run_id, "version", str(tmp_path))
    assert er.load(copy, trust=er.Trust.of(registry.key)).summary().equals(version.load().summary())
    names = {entry.path for entry in client.list_artifacts(theirs.run_id, "version")}
    assert not [name for name in names if "MLmodel" in name or name.endswith(".pkl")]
    registry.tag("level", 1, stage=None, owner="ann")
    assert client.get_model_version("level", theirs.version).tags.keys() & {"stage", "owner"} == {"owner"}
    (run,) = (v.run_id for v in client.search_model_versions("name='level'") if v.version != theirs.version)
    registry.withdraw("level", 2, because="a trial")
    assert len(client.search_model_versions("name='level'")) == 1
    assert client.get_run(run).info.lifecycle_stage == "deleted"


@pytest.mark.external
def test_what_was_sent_twice_or_changed_is_not_there(server, fitted, tmp_path):
    from mlflow.tracking import MlflowClient

    client, registry = (
        MlflowClient(server, server),
        er.Registry(tmp_path / "models", mirror=f"mlflow:{server}"),
    )
    registry.add(fitted, "twice")
    (one,) = client.search_model_versions("name='twice'")
    client.create_model_version("twice", one.source, one.run_id, tags=one.tags)  # of another who pushed
    registry.promote("twice", 1)
    assert len(client.search_model_versions("name='twice'")) == 1 and registry.findings == ()
    version = er.Registry(tmp_path / "models").add(fitted, "twice")
    (version.folder / "report.md").write_text("changed")
    (found,) = registry.mirrored("twice")
    assert "'report.md' as it was" in found.advice and len(client.search_model_versions("name='twice'")) == 1


@pytest.mark.external
def test_what_was_missed_is_made_up_for(server, fitted, tmp_path):
    from mlflow.tracking import MlflowClient

    place = tmp_path / "models"
    down = er.Registry(place, mirror=f"mlflow:http://127.0.0.1:{_free()}")
    down.add(fitted, "later")
    down.promote("later", 1)
    assert [(f.name, f.verdict) for f in down.findings] == [("mirror", "caution")]
    back = er.Registry(place, mirror=f"mlflow:{server}")
    assert back.mirrored("later") == ()
    client = MlflowClient(server, server)
    assert client.get_model_version_by_alias("later", "live").tags["elboroom.version"] == "1"


@pytest.mark.external
@pytest.mark.parametrize("kind", ["silent", "in trouble"])
def test_a_server_that_does_not_serve_costs_a_finding(fitted, tmp_path, kind):
    pytest.importorskip("mlflow.tracking")
    answer = b"" if kind == "silent" else b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        kept = []
        while True:
            try:
                kept.append(listener.accept()[0])
            except OSError:
                return
            if answer:
                kept[-1].recv(4096)
                kept[-1].sendall(answer)
                kept[-1].close()

    Thread(target=serve, daemon=True).start()
    registry = er.Registry(tmp_path / "models", mirror=f"mlflow:http://127.0.0.1:{listener.getsockname()[1]}")
    assert registry.add(fitted, "level").number == 1 and registry.promote("level", 1).aliases == ("live",)
    assert [(f.name, f.verdict) for f in registry.findings] == [("mirror", "caution")]
    assert ("timed out" if kind == "silent" else "500") in registry.findings[0].advice
    listener.close()


def test_other_places_are_refused(tmp_path):
    for place in ("http://localhost", "mlflow:", 7):
        with pytest.raises(er.RegistryError, match="'mlflow:URL'"):
            er.Registry(tmp_path, mirror=place)

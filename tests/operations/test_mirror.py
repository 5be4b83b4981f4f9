"""A mirror of the registry: against a real MLflow server, and against servers that are down, in trouble or silent."""

from __future__ import annotations

import socket
from threading import Thread

import pytest

import elboroom as er


@pytest.fixture
def url(server):
    return server[0]


@pytest.mark.external
def test_mlflow_has_what_the_registry_has(url, fitted, tmp_path):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(url, url)
    registry = er.Registry(tmp_path / "models", key=er.Key.new(), mirror=f"mlflow:{url}")
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
def test_what_was_sent_twice_or_changed_is_not_there(url, fitted, tmp_path):
    from mlflow.tracking import MlflowClient

    client, registry = (
        MlflowClient(url, url),
        er.Registry(tmp_path / "models", mirror=f"mlflow:{url}"),
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
def test_what_was_missed_is_made_up_for(url, fitted, tmp_path, free_port):
    from mlflow.tracking import MlflowClient

    place = tmp_path / "models"
    down = er.Registry(place, mirror=f"mlflow:http://127.0.0.1:{free_port()}")
    down.add(fitted, "later")
    down.promote("later", 1)
    assert [(f.name, f.verdict) for f in down.findings] == [("mirror", "caution")]
    back = er.Registry(place, mirror=f"mlflow:{url}")
    assert back.mirrored("later") == ()
    client = MlflowClient(url, url)
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

"""Dashboards: their structure, and each panel's queries against a Prometheus that has scraped our own exposition."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from elboroom.operations.dashboards import BOARDS, dashboard, write_dashboards
from elboroom.operations.exposition import Exposition
from elboroom.operations.metrics.table import BY_NAME, COUNTER, GAUGE, TABLE
from elboroom.operations.rules import RULES, Objectives, write_rules
from typer.testing import CliRunner

import elboroom as er
from elboroom.__main__ import app

VALUES = {
    "verdict": "trusted",
    "data": "live",
    "unit": "z[0]",
    "what": "elbo",
    "route": "encode",
    "code": "200",
    "kind": "data",
    "level": "0.9",
}


def panels(board: str) -> list[dict]:
    return dashboard(board)["panels"]


# Grafana's own documentation of the model of a dashboard, as far as we use it
STRUCTURE = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"],
    "properties": {
        "uid": {"type": "string", "maxLength": 40, "pattern": "^[a-zA-Z0-9_-]+$"},
        "schemaVersion": {"type": "integer", "minimum": 30},
        "time": {"type": "object", "required": ["from", "to"]},
        "templating": {"type": "object", "properties": {"list": {"type": "array", "items": {
            "type": "object", "required": ["name", "type", "query"], "properties": {"type": {"enum": ["query", "datasource"]}}}}}},
        "panels": {"type": "array", "minItems": 3, "items": {
            "type": "object", "required": ["id", "type", "title", "gridPos", "datasource", "targets", "fieldConfig", "options"],
            "properties": {
                "type": {"enum": ["timeseries"]},
                "gridPos": {"type": "object", "required": ["h", "w", "x", "y"], "properties": {
                    "x": {"type": "integer", "minimum": 0, "maximum": 23}, "w": {"type": "integer", "minimum": 1, "maximum": 24}}},
                "fieldConfig": {"type": "object", "required": ["defaults", "overrides"]},
                "targets": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "required": ["refId", "expr", "datasource"], "properties": {"refId": {"pattern": "^[A-Z]$"}}}},
            }}},
    },
}  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
def test_structure(board):
    jsonschema = pytest.importorskip("jsonschema")
    made = dashboard(board)
    jsonschema.validate(json.loads(json.dumps(made)), STRUCTURE)
    numbers = [panel["id"] for panel in made["panels"]]
    assert len(set(numbers)) == len(numbers)
    cells = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in made["panels"]}
    assert len(cells) == len(numbers) and all(
        p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in made["panels"]
    )
    for panel in made["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"elboroom_(\w+?)(?:_bucket)?\b", target["expr"]))
            assert used <= set(BY_NAME) and (used or "up{" in target["expr"])


def test_every_metric_is_on_its_dashboards():
    for metric in TABLE:
        for board in metric.boards:
            titles = [panel["title"] for panel in panels(board)]
            assert metric.help in titles, (metric.name, board)


def test_written_by_a_monitor_and_by_the_command_line(tmp_path):
    @er.model
    def level(y):
        mu = er.sample("mu", er.Normal(0, 10))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, 1), y)

    monitor = er.Monitor(er.fit(level([float(i % 5) for i in range(60)]), progress=False, num_draws=200))
    monitor.rules(tmp_path / "own" / "rules.yaml", seconds=0.05)
    found = monitor.dashboards(tmp_path / "own" / "dashboards")
    assert [path.name for path in found] == ["executive.json", "on-call.json", "debug.json"]
    own = CliRunner().invoke(app, ["monitor", "--out", str(tmp_path / "cli"), "--seconds", "0.05"])
    assert own.exit_code == 0, own.output
    for path in (tmp_path / "own").rglob("*.*"):
        assert (tmp_path / "cli" / path.relative_to(tmp_path / "own")).read_bytes() == path.read_bytes()
    own = CliRunner().invoke(app, ["monitor", "--out", str(tmp_path / "cli"), "--availability", "2"])
    assert (
        own.exit_code == 2 and "availability of an objective: expected a share between 0 and 1" in own.output
    )


# -- a real Prometheus -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, free_port):
    """Prometheus with our rules, after it has scraped all our metrics for some seconds."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed")
    folder, ports = tmp_path_factory.mktemp("prometheus"), [free_port(), free_port()]
    shown, over = Exposition("risk", "7"), threading.Event()
    write_rules(folder / "rules.yaml")
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "elboroom", "static_configs": [{"targets": [f"127.0.0.1:{ports[0]}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    scraped, _ = shown.serve(ports[0])
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
               f"--web.listen-address=127.0.0.1:{ports[1]}"]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    threading.Thread(target=_busy, args=(shown, over), daemon=True).start()
    url, deadline = f"http://127.0.0.1:{ports[1]}", time.monotonic() + 60
    try:
        while not _ask(url, "min_over_time(elboroom_elbo[30s]) and count_over_time(elboroom_elbo[30s]) > 6"):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[
                -2000:
            ]
            time.sleep(0.5)
        yield url
    finally:
        over.set()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        scraped.shutdown()


def _busy(shown: Exposition, over: threading.Event) -> None:
    """All metrics, over and over, as a program that serves would have them."""
    step = 0
    while not over.wait(0.1):
        step += 1
        for metric in TABLE:
            labels = {name: VALUES[name] for name in metric.labels}
            if metric.kind == GAUGE:
                shown.set(metric.name, step % 7, **labels)
            elif metric.kind == COUNTER:
                shown.add(metric.name, 1 + step % 3, **labels)
            else:
                shown.observe(metric.name, 0.001 * (1 + step % 90), **labels)


def _ask(url: str, query: str) -> list:
    try:
        with urllib.request.urlopen(
            f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10
        ) as answer:
            return json.loads(answer.read())["data"]["result"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{query}: {error.read().decode()}") from None
    except OSError:
        return []


@pytest.mark.external
@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_has_data(prometheus, board):
    for panel in panels(board):
        for target in panel["targets"]:
            query = (
                target["expr"]
                .replace("$__rate_interval", "10s")
                .replace("$model", ".*")
                .replace("$version", "7")
            )
            found = _ask(prometheus, query)
            assert found, (panel["title"], query)
            assert all(float(one["value"][1]) == float(one["value"][1]) for one in found), (
                panel["title"],
                "NaN",
            )
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert all(label in one["metric"] for one in found), (panel["title"], label)


@pytest.mark.external
def test_variables_have_values(prometheus):
    for variable in dashboard("debug")["templating"]["list"][1:]:
        query, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        match = urllib.parse.urlencode({"match[]": query.replace("$model", ".*")})
        with urllib.request.urlopen(
            f"{prometheus}/api/v1/label/{label}/values?{match}", timeout=10
        ) as answer:
            assert json.loads(answer.read())["data"] == [{"model": "risk", "version": "7"}[label]]


@pytest.mark.external
def test_rules_run_in_prometheus(prometheus):
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as answer:
        groups = json.loads(answer.read())["data"]["groups"]
    found = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert set(found) == {rule.alert for rule in RULES}
    assert {rule["health"] for rule in found.values()} == {"ok"}, [r.get("lastError") for r in found.values()]
    firing = {name for name, rule in found.items() if rule["state"] == "firing"}
    assert "ElboroomNotFinite" in firing  # it has been told of some
    assert found["ElboroomNotFinite"]["alerts"][0]["annotations"]["runbook_url"] == "runbooks/notfinite.md"
    assert found["ElboroomDown"]["state"] == "inactive"


@pytest.mark.external
def test_a_real_pushgateway(tmp_path, free_port):
    from prometheus_client.parser import text_string_to_metric_families

    program, port = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway"), free_port()
    if program is None:
        pytest.skip("the Pushgateway is not installed")
    process = subprocess.Popen([program, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    shown, deadline = Exposition("risk", "7"), time.monotonic() + 30
    shown.set("elbo", -2.5, data="live")
    try:
        while True:
            try:
                shown.push(f"http://127.0.0.1:{port}", "nightly")
                break
            except er.InferenceError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    finally:
        process.kill()
        process.wait()
    (sample,) = families["elboroom_elbo"].samples
    assert sample.value == -2.5 and sample.labels["job"] == "nightly" and sample.labels["version"] == "7"


def test_objectives_reach_the_dashboards(tmp_path):
    paths = write_dashboards(tmp_path, Objectives(job="risk", availability=0.99))
    text = paths[1].read_text()
    assert 'up{job=\\"risk\\"}' in text and "/ 0.01" in text


def test_a_board_that_there_is_not():
    with pytest.raises(er.DataError, match="board: expected one of"):
        dashboard("night")

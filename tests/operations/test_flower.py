"""Sites over Flower: its messages in one process, its simulation, and a server and nodes of their own: ``.ci/federated``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from elboroom.inference.federate.site import Site
from elboroom.operations.federation.flower import Flower, site_app

import elboroom as er

ASKED = bool(os.environ.get("RUN_FEDERATED"))
pytestmark = pytest.mark.skipif(
    not ASKED, reason="Flower is in an environment of its own: .ci/federated makes it"
)


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(np.zeros(2), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 0.7), y)


RNG = np.random.default_rng(0)
X = np.c_[np.ones(36), RNG.standard_normal(36)]
Y = X @ [1.0, -2.0] + 0.7 * RNG.standard_normal(36)
PARTS = {name: slice(12 * i, 12 * i + 12) for i, name in enumerate(("oslo", "rome", "turin"))}
MADE_UP = line(np.zeros((1, 2)), np.zeros(1))
QUICK = {"guide": "full-rank", "num_draws": 500, "refine": False}


def same(posterior, names):
    """What was told is what the normal equations say of the rows of some sites."""
    rows = np.concatenate([np.arange(36)[PARTS[name]] for name in names])
    told = posterior.program.carried.tally.total
    precision = told.quadratic / np.outer(told.scale, told.scale)
    np.testing.assert_allclose(precision, X[rows].T @ X[rows] / 0.49, atol=1e-8, rtol=0)
    slope = told.linear / told.scale + precision @ told.centre
    np.testing.assert_allclose(slope, X[rows].T @ Y[rows] / 0.49, atol=1e-7, rtol=0)


@dataclass
class Grid:
    """Nodes in this process, with Flower's messages and client apps; node 2 may be dead, or send something else."""

    apps: dict
    dead: bool = False
    garbage: bool = False
    replies: dict = field(default_factory=dict)
    pushed: int = 0

    def get_node_ids(self):
        return list(self.apps)

    def push_messages(self, messages):
        from flwr.app import ConfigRecord, Context, Message, RecordDict

        for message in messages:
            self.pushed += 1
            name, app = self.apps[message.metadata.dst_node_id]
            message.metadata._message_id = str(self.pushed)
            yield str(self.pushed)
            odd = message.metadata.dst_node_id == 2 and self.pushed > 3
            if odd and self.dead:
                continue
            context = Context(0, message.metadata.dst_node_id, {"name": name}, RecordDict(), {})
            reply = app(message, context)
            if odd and self.garbage:
                record = RecordDict({"elboroom": ConfigRecord({"message": b"garbage"})})
                reply = Message(record, reply_to=message)
            self.replies[str(self.pushed)] = reply

    def pull_messages(self, ids):
        return [self.replies.pop(i) for i in ids if i in self.replies]


def grid(**settings):
    pytest.importorskip("flwr", reason="Flower is not installed")
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    app = site_app(
        lambda context: Site(
            context.node_config["name"],
            line(X[PARTS[context.node_config["name"]]], Y[PARTS[context.node_config["name"]]]),
        )
    )
    return Grid({i: (name, app) for i, name in enumerate(PARTS, start=1)}, **settings)


def test_messages_of_flower_carry_the_posterior_of_all_rows():
    posterior = er.federate(Flower(grid(), 3), MADE_UP, **QUICK)
    same(posterior, PARTS)
    assert posterior.verdict == "trusted"


@pytest.mark.parametrize(
    "how, words", [("dead", "o reply within 3 sweeps"), ("garbage", "bytes that are none")]
)
def test_a_node_that_is_killed_or_sends_garbage_is_left_out(how, words):
    posterior = er.federate(Flower(grid(**{how: True}), 3, seconds=1.0), MADE_UP, **QUICK)
    same(posterior, ["oslo", "turin"])
    (finding,) = [f for f in posterior.findings if f.name == "site"]
    assert finding.quantity == "rome"
    assert words in finding.advice


def test_a_simulation_of_flower_is_the_posterior_of_all_rows():
    pytest.importorskip("ray", reason="Flower's simulation needs Ray, which is not installed")
    flwr = pytest.importorskip("flwr.simulation", reason="Flower is not installed")
    from flwr.serverapp import ServerApp

    found, server = [], ServerApp()

    @server.main()
    def main(grid, context):
        found.append(er.federate(Flower(grid, 3), MADE_UP, **QUICK))

    rows, data, model = dict(PARTS), (X, Y), line

    def here(context):
        name = list(rows)[int(context.node_config["partition-id"])]
        return Site(name, model(data[0][rows[name]], data[1][rows[name]]))

    flwr.run_simulation(server, site_app(here), 3, backend_config={"client_resources": {"num_cpus": 1}})
    same(found[0], PARTS)


# -- processes -------------------------------------------------------------------------------------------

MODEL = """
import os
import time
from pathlib import Path

import numpy as np
from elboroom.inference.federate.messages import Task, read
from elboroom.inference.federate.site import Site
from elboroom.operations.federation.flower import Flower, site_app
from flwr.serverapp import ServerApp

import elboroom as er

@er.model
def line(x, y):
    b = er.sample("b", er.Normal(np.zeros(2), 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 0.7), y)

class Garbage(Site):
    def answer(self, message):
        return b"garbage" if read(message, Task).number else super().answer(message)

def here(context):
    name = context.node_config["name"]
    rows = np.load(context.node_config["rows"])
    before = Path(PLACE, f"{name}-was-here")
    if name == "turin" and before.exists():
        Path(PLACE, "turin-is-at-work").touch()
        time.sleep(600)
    before.touch()
    kind = Garbage if name == "rome" else Site
    return kind(name, line(rows[:, :2], rows[:, 2]))

site = site_app(here)
server = ServerApp()

@server.main()
def main(grid, context):
    flower = Flower(grid, 3, seconds=240.0)
    made_up = line(np.zeros((1, 2)), np.zeros(1))
    posterior = er.federate(flower, made_up, least=1, seconds=SECONDS, num_draws=500, refine=False)
    posterior.save(os.path.join(PLACE, "out"))
"""

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "lines"
version = "1.0.0"
description = "Lines"
license = "MIT"
dependencies = []

[tool.hatch.build.targets.wheel]
packages = ["lines"]

[tool.flwr.app]
publisher = "elboroom"

[tool.flwr.app.components]
serverapp = "lines.app:server"
clientapp = "lines.app:site"
"""


def ended(processes):
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def patient(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.5)
    assert condition()


def test_processes_of_flower_one_of_which_is_killed_and_one_sends_garbage(tmp_path, free_port):
    pytest.importorskip("flwr", reason="Flower is not installed")
    programs = Path(sys.executable).parent
    home, port, app = tmp_path / "home", free_port(), tmp_path / "app"
    (app / "lines").mkdir(parents=True)
    home.mkdir()
    (app / "pyproject.toml").write_text(PROJECT)
    (app / "lines/__init__.py").touch()
    (app / "lines/app.py").write_text(f"PLACE, SECONDS = {str(tmp_path)!r}, 60.0\n{MODEL}")
    address = f'[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n\n{address}')
    names = {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    settings = {**os.environ, **names, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    log = (tmp_path / "log").open("w")

    def begun(*command):
        return subprocess.Popen(command, env=settings, cwd=tmp_path, stdout=log, stderr=log)

    link = begun(
        "flower-superlink", "--insecure", "--disable-runtime-dependency-installation", "--port", str(port)
    )
    nodes = {}
    try:
        patient(lambda: answers(port), 90)
        for name, rows in PARTS.items():
            np.save(tmp_path / f"{name}.npy", np.c_[X[rows], Y[rows]])
            own = f'name="{name}" rows="{tmp_path}/{name}.npy"'
            where = ("--superlink", f"127.0.0.1:{port}", "--port", str(free_port()))
            nodes[name] = begun("flower-supernode", "--insecure", *where, "--node-config", own)
        subprocess.run(["flwr", "run", app, "here"], env=settings, check=True, stdout=log, stderr=log)
        patient((tmp_path / "turin-is-at-work").exists, 300)
        nodes["turin"].kill()
        patient((tmp_path / "out/posterior.json").exists, 450)
    finally:
        ended([*nodes.values(), link])
        log.close()
    posterior = er.load(tmp_path / "out")
    found = {f.quantity: f.advice for f in posterior.findings if f.name == "site"}
    assert sorted(found) == ["rome", "turin"]
    assert "bytes that are none" in found["rome"]
    rows = PARTS["oslo"]
    covariance = np.linalg.inv(X[rows].T @ X[rows] / 0.49 + np.eye(2) / 4)
    mean, sd = covariance @ X[rows].T @ Y[rows] / 0.49, np.sqrt(np.diag(covariance))
    assert (np.abs(posterior.summary()["mean"] - mean) < 4 * sd / np.sqrt(500)).all()

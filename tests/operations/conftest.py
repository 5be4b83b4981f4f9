"""What needs programs that are not installed for the ordinary tests is left to ``.ci/operations``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

import elboroom as er


def pytest_configure(config):
    config.addinivalue_line("markers", "external: against real programs and heavy libraries")


def pytest_collection_modifyitems(config, items):
    if "external" in (config.getoption("-m") or ""):
        return
    skip = pytest.mark.skip(reason="against real programs: .ci/operations runs it")
    for item in items:
        if item.get_closest_marker("external"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def free_port():
    """A function that gives ports that nobody listens at."""

    def port() -> int:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return one.getsockname()[1]

    return port


@pytest.fixture(scope="session")
def fitted():
    """A posterior of the mean of forty numbers."""

    @er.model
    def level(y):
        mu = er.sample("mu", er.Normal(0, 10))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, 1), y)

    return er.fit(level(np.random.default_rng(1).normal(3, 1, 40)), progress=False)


@pytest.fixture(scope="session")
def server(tmp_path_factory, free_port):
    """Address and process of MLflow's server on this machine."""
    pytest.importorskip("mlflow.server", reason="MLflow's server is not installed")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder / 'store.db'}", "--artifacts-destination", str(folder / "files")]  # fmt: skip
    with (folder / "log").open("w") as log:
        env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # jobs take seconds to begin
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[
                -2000:
            ]
            time.sleep(0.3)
        yield url, process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False

"""What needs programs that are not installed for the ordinary tests is left to ``.ci/operations``."""

from __future__ import annotations

import socket

import pytest


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

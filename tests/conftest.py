"""What every test may use."""

from __future__ import annotations

import os

# Workers beside each other have a thread each: PyTorch's wait for one another at full speed, and take tenfold the time.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_threads, "1")

import gc
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from elboroom.ppl.model import Model

# Compiled programs of the tests stay out of the user's own cache folder, and a second run is fast.
os.environ.setdefault(
    "ELBOROOM_CACHE", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "compiled")
)

BEGUN = time.monotonic()
MANY_MAPPINGS = 10_000
"""Of memory, from which on a module's compiled programs are let go after its tests."""


def pytest_addoption(parser):
    parser.addoption(
        "--within", type=float, default=float("inf"), help="seconds from which on slow tests are skipped"
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: takes seconds, so that `make test` leaves it to `make test-all`"
    )


def pytest_runtest_setup(item):
    if item.get_closest_marker("slow") and time.monotonic() - BEGUN > item.config.getoption("--within"):
        pytest.skip("no time is left for slow tests: `make test-all` runs them all")


@pytest.fixture
def rng():
    """A generator with a fixed seed."""
    return np.random.default_rng(20240501)


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_go():
    """Models of a module live as long as the tests, and each keeps what was compiled of it: memory, and mappings of it, of
    which Linux gives a process 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPPINGS:
        for value in gc.get_objects():
            if type(value) is Model:
                value.compiled.clear()
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture
def room_for(monkeypatch):
    """A function of a number of rows and an error: gradients over more rows run out of memory so, and so do stochastic steps."""
    from elboroom.inference.engines import ascent
    from elboroom.ppl.target import Target

    def room(rows, error, patch=monkeypatch):
        batched, made = Target._batched, ascent.compiled

        def limited(self, fn, z, data, *rest, **options):
            density = self.density
            if fn in (density.value_and_grad, density.scaled_value_and_grad) and len(data["y"]) > rows:
                raise error
            return batched(self, fn, z, data, *rest, **options)

        def compiled(target, *settings):
            run = made(target, *settings)

            def call(*args):
                if len(target.program.leaves["y"].value) > rows:
                    raise error
                return run(*args)

            return call

        patch.setattr(Target, "_batched", limited)
        patch.setattr(ascent, "compiled", compiled)

    return room

"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

# Compiled programs of the tests stay out of the user's own cache folder, and a second run is fast.
os.environ.setdefault(
    "ELBOROOM_CACHE", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "compiled")
)


@pytest.fixture
def rng():
    """A generator with a fixed seed."""
    return np.random.default_rng(20240501)

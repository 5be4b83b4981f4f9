"""Devices and precisions by name."""

from __future__ import annotations

import numpy as np

from ..errors import BackendError, explain


def check_device(device: str) -> None:
    """Refuse what is no device.

    Raises
    ------
    BackendError
    """
    if device not in ("auto", "cpu", "gpu"):
        raise BackendError(explain("device", "'auto', 'cpu' or 'gpu'", repr(device), "choose one of them"))


def default_dtype(device: str) -> np.dtype:
    """Float64 on the CPU, float32 on a GPU."""
    return np.dtype(np.float64 if device == "cpu" else np.float32)

"""The two backends held to the protocol where types are checked; nothing that runs imports this file."""

from __future__ import annotations

from . import jax, torch
from .protocol import Backend

BACKENDS: dict[str, Backend] = {"jax": jax, "torch": torch}
"""Every backend by name."""

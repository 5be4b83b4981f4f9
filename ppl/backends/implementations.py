"""The two backends held to the protocols where types are checked; nothing that runs imports this file."""

from __future__ import annotations

from . import jax, torch
from .jax import library as on_jax
from .library import Library
from .protocol import Backend
from .torch import library as on_torch

BACKENDS: dict[str, Backend] = {"jax": jax, "torch": torch}
LIBRARIES: dict[str, Library] = {"jax": on_jax, "torch": on_torch}

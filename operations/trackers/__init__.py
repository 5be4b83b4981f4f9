"""Where the course of fits is kept: one file and one line each."""

from __future__ import annotations

from .folder import Folder
from .mlflow import Mlflow
from .spans import Spans
from .tensorboard import Tensorboard
from .wandb import Wandb

MIRRORS = (Folder, Mlflow, Wandb, Tensorboard, Spans)
"""All places; the first is that of a name without a scheme."""

"""How open the files are that a user gets."""

from __future__ import annotations

import os
from pathlib import Path


def as_open_as_others(path: Path) -> None:
    """Give a file or folder that was made for its owner alone the access that a new one has: that of the umask."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)

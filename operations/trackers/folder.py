"""A folder: lines of JSON as they come, and the files of what came of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Any

from ...ppl import files
from .. import logs


class Folder:
    """``runs/NAME/events.jsonl``, and beside it the trail, the summary and the report.

    Parameters
    ----------
    rest : str
        The folder of all runs.
    run : str
        Name of this one.
    """

    scheme, needs, extra = "", "", ""

    def __init__(self, rest: str, run: str):
        self.folder = files.place(rest, "er.Tracker") / run

    def write(self, events: Sequence[dict[str, Any]]) -> int:
        """Keep all events."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for event in list(events):
            for name, text in event.get("files", {}).items():
                (self.folder / name).write_text(text, encoding="utf-8", errors="replace")
            shown = {**event, "files": sorted(event["files"])} if "files" in event else event
            lines.append(f"{logs.line(shown)}\n")
        self._append("".join(lines).encode("utf-8", "backslashreplace"))
        return len(lines)

    def _append(self, content: bytes) -> None:
        """Lines, all of them or none: half of one on a full disk is taken away again."""
        with (self.folder / "events.jsonl").open("ab", buffering=0) as file:
            whole = os.fstat(file.fileno())
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                if stat.S_ISREG(whole.st_mode):
                    file.truncate(whole.st_size)
                raise

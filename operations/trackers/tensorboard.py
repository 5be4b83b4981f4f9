"""TensorBoard: a file of events, by tensorboardX."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ...ppl import files


class Tensorboard:
    """``tensorboard:FOLDER``, below which each run has a folder.

    Parameters
    ----------
    rest : str
        The folder.
    run : str
        Name of the run.
    """

    scheme, needs, extra = "tensorboard", "tensorboardX", "tensorboard"

    def __init__(self, rest: str, run: str):
        self.folder = files.place(rest, "er.Tracker") / run
        self._writer: Any = None

    def write(self, events: Sequence[dict[str, Any]]) -> int:
        """Keep the first event."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self.folder.mkdir(parents=True, exist_ok=True)
            # its queue may not have an event yet that a flush is for: then its own thread flushes it a second later
            self._writer = SummaryWriter(str(self.folder), flush_secs=1)
        self._one(events[0])
        self._writer.flush()
        return 1

    def _one(self, event: dict[str, Any]) -> None:
        writer, time = self._writer, datetime.fromisoformat(event["time"]).timestamp()
        match event["event"]:
            case "begin":
                told = {"model": event["model"], "kind": event["kind"], **event["settings"]}
                writer.add_text("settings", f"```\n{json.dumps(told, indent=1)}\n```", 0, time)
            case "step":
                stage = event["stage"].replace(" ", "_")
                for name, value in event["values"].items():
                    if math.isfinite(value):
                        writer.add_scalar(f"{stage}/{name}", float(value), event["step"], time)
            case "end":
                advice = "\n".join(f"- {one['advice']}" for one in event["findings"])
                writer.add_text("verdict", f"**{event['verdict']}**\n\n{advice}", 0, time)
                writer.close()
            case "fail":
                writer.add_text("error", event["error"], 0, time)
                writer.close()

"""Weights & Biases: a run of a project; ``WANDB_MODE=offline`` keeps it on this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..thresholds import TRACKER_SECONDS


class Wandb:
    """``wandb:PROJECT``.

    Parameters
    ----------
    rest : str
        The project.
    run : str
        Name of the run.
    """

    scheme, needs, extra = "wandb", "wandb", "wandb"

    def __init__(self, rest: str, run: str):
        self.project, self.run = rest, run
        self._run: Any = None

    def write(self, events: Sequence[dict[str, Any]]) -> int:
        """Send the first event."""
        event = events[0]
        match event["event"]:
            case "begin":
                self._begin(event)
            case "step":
                self._step(event)
            case "end":
                self._end(event)
            case "fail":
                self._run.summary["error"] = event["error"]
                self._run.finish(exit_code=1)
        return 1

    def _begin(self, event: dict[str, Any]) -> None:
        import wandb

        quiet = wandb.Settings(console="off", silent=True, init_timeout=10 * TRACKER_SECONDS)
        self._run = wandb.init(
            project=self.project or "elboroom",
            name=self.run,
            group=event["model"],
            job_type=event["kind"],
            config={**event["settings"], "elboroom": event["version"]},
            settings=quiet,
            reinit="create_new",
        )

    def _step(self, event: dict[str, Any]) -> None:
        values = {name: float(value) for name, value in event["values"].items() if math.isfinite(value)}
        stage = event["stage"].replace(" ", "_")
        self._run.log({f"{stage}/{name}": value for name, value in {**values, "step": event["step"]}.items()})

    def _end(self, event: dict[str, Any]) -> None:
        import wandb

        own = {name: event[name] for name in ("verdict", "khat", "seconds")}
        self._run.summary.update(
            {**own, **event["cost"], "findings": [f["advice"] for f in event["findings"]]}
        )
        made = wandb.Artifact(f"{self.run}-report", type="report")
        for name, text in event["files"].items():
            with made.new_file(name, encoding="utf-8") as file:
                file.write(text)
        self._run.log_artifact(made)
        self._run.finish()

"""MLflow: a run of an experiment that has the model's name. Numbers, settings and files; nothing that runs code when it is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from ..thresholds import TRACKED_BATCH, TRACKER_PROBE


class Mlflow:
    """``mlflow:URL``, a server's address or ``mlflow:FOLDER``, a store of files.

    Parameters
    ----------
    rest : str
        The tracking URI.
    run : str
        Name of the run.
    """

    scheme, needs, extra = "mlflow", "mlflow.tracking", "mlflow"

    def __init__(self, rest: str, run: str):
        self.uri, self.run = rest, run
        self._client: Any = None
        self._id = ""
        self._sent = 0

    def write(self, events: Sequence[dict[str, Any]]) -> None:
        """Send events; those that have arrived are not sent again where this is called once more with the same."""
        if self._client is None:
            self._open()
        steps = [event for event in events if event["event"] == "step"]
        for event in events:
            if event["event"] == "begin":
                self._begin(event)
        self._log(steps)
        for event in events:
            match event["event"]:
                case "end":
                    self._end(event)
                case "fail":
                    self._client.set_tag(self._id, "error", event["error"])
                    self._client.set_terminated(self._id, "FAILED")
                case "rest":
                    self._client.set_terminated(self._id, "FINISHED")

    def _open(self) -> None:
        if self.uri.startswith(("http:", "https:")):  # its client would try for minutes
            probe(self.uri)
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(self.uri)

    def _begin(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Param

        client, name = self._client, event["model"]
        if not self._id:
            found = client.get_experiment_by_name(name)
            experiment = client.create_experiment(name) if found is None else found.experiment_id
            tags = {"elboroom.version": event["version"], "elboroom.kind": event["kind"]}
            self._id = client.create_run(experiment, run_name=self.run, tags=tags).info.run_id
        client.log_batch(self._id, params=[Param(k, str(v)) for k, v in event["settings"].items()])

    def _log(self, steps: Sequence[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        found = [
            Metric(
                f"{event['stage'].replace(' ', '_')}/{name}",
                float(value),
                _milliseconds(event["time"]),
                event["step"],
            )
            for event in steps
            for name, value in event["values"].items()
            if math.isfinite(value)
        ]
        for start in range(0, len(found), TRACKED_BATCH):
            self._client.log_batch(self._id, metrics=found[start : start + TRACKED_BATCH])

    def _end(self, event: dict[str, Any]) -> None:
        client = self._client
        client.set_tag(self._id, "verdict", event["verdict"])
        numbers = {"khat": event["khat"], "seconds": event["seconds"], **event["cost"]}
        for name, value in numbers.items():
            if value is not None and math.isfinite(value):
                client.log_metric(self._id, name, float(value))
        client.log_dict(self._id, {"findings": list(event["findings"])}, "findings.json")
        for name, text in event["files"].items():
            client.log_text(self._id, text, name)
        client.set_terminated(self._id, "FINISHED")


def probe(uri: str) -> None:
    """Whether a server answers at all; an answer that refuses is one, but for those of a server in trouble."""
    parts = urlsplit(uri)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/health")
    try:
        with urlopen(urlunsplit(bare), timeout=TRACKER_PROBE):
            pass
    except HTTPError as error:
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)

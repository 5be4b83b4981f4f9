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

NUMBERED = "step", "line"
"""Events of which there are numbers at most."""


class Mlflow:
    """``mlflow:URL``, a server's address or that of a database, ``mlflow:sqlite:///runs.db``.

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

    def write(self, events: Sequence[dict[str, Any]]) -> int:
        """Send the first event, or as many steps as one request takes."""
        if self._client is None:
            self._open()
        event = events[0]
        match event["event"]:
            case "begin":
                self._begin(event)
            case "end":
                self._end(event)
            case "fail":
                self._client.set_tag(self._id, "error", event["error"])
                self._client.set_terminated(self._id, "FAILED")
            case "rest":
                self._client.set_terminated(self._id, "FINISHED")
            case _:
                return self._steps(events)
        return 1

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

    def _steps(self, events: Sequence[dict[str, Any]]) -> int:
        found: list[Any] = []
        count = 0
        for event in events:
            own = _numbers(event) if event["event"] == "step" else []
            if event["event"] not in NUMBERED or (count and len(found) + len(own) > TRACKED_BATCH):
                break
            found, count = found + own, count + 1
        if found:
            self._client.log_batch(self._id, metrics=found)
        return count

    def _end(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Metric, RunTag

        client, time = self._client, _milliseconds(event["time"])
        client.log_dict(self._id, {"findings": list(event["findings"])}, "findings.json")
        for name, text in event["files"].items():
            client.log_text(self._id, text, name)
        numbers = {"khat": event["khat"], "seconds": event["seconds"], **event["cost"]}
        found = [
            Metric(name, float(v), time, 0)
            for name, v in numbers.items()
            if v is not None and math.isfinite(v)
        ]
        client.log_batch(self._id, metrics=found, tags=[RunTag("verdict", event["verdict"])])
        client.set_terminated(self._id, "FINISHED")


def _numbers(event: dict[str, Any]) -> list[Any]:
    from mlflow.entities import Metric

    stage, time = event["stage"].replace(" ", "_"), _milliseconds(event["time"])
    return [
        Metric(f"{stage}/{name}", float(value), time, event["step"])
        for name, value in event["values"].items()
        if math.isfinite(value)
    ]


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

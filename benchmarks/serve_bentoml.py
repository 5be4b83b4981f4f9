"""BentoML with the function that `serve.py` asks ours for."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import bentoml
from elboroom.operations.serving.columns import read_rows
from elboroom.operations.serving.served import Served
from elboroom.operations.serving.settings import Settings
from elboroom.operations.serving.verdicts import told

import elboroom as er
from elboroom.demo import radon

BATCHING = os.environ.get("BATCHING") == "1"
MANY = {"batchable": True, "batch_dim": 0, "max_batch_size": 64, "max_latency_ms": 60_000} if BATCHING else {}


@bentoml.service(
    workers=1, traffic={"timeout": 60, "max_concurrency": 1000}, logging={"access": {"enabled": False}}
)
class Radon:
    """The same function for BentoML."""

    def __init__(self) -> None:
        version = Served.of(er.Registry(os.environ["PLACE"]).get("radon@live"), radon, Settings(cached=0))
        self.use, self.call = version.uses["predict"], version.calls["predict"]

    @bentoml.api(route="/v1/predict", **MANY)
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answers of rows."""
        found = read_rows({"rows": rows}, self.use.wanted, "refuse", 1024)
        verdicts, reasons = self.use.verdicts.at(found)
        every = zip(self.call(found), verdicts, reasons, found.inside.tolist(), strict=True)
        return [told(*one) for one in every]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("place", "port", "batching"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    own = {"PLACE": args.place, "BATCHING": args.batching, "BENTOML_DO_NOT_TRACK": "True"}
    command = ["-m", "bentoml", "serve", "serve_bentoml:Radon", "--host", "127.0.0.1", "--port", args.port]
    os.chdir(Path(__file__).parent)
    os.execve(sys.executable, [sys.executable, *command], {**os.environ, **own})

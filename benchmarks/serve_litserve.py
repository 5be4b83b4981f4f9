"""LitServe with the function that `serve.py` asks ours for."""

from __future__ import annotations

import argparse
from pathlib import Path

import litserve
from elboroom.operations.serving.columns import Rows, read_rows
from elboroom.operations.serving.served import Served
from elboroom.operations.serving.settings import Settings
from elboroom.operations.serving.verdicts import told

import elboroom as er
from elboroom.demo import radon


class Api(litserve.LitAPI):
    """The same function for LitServe."""

    def __init__(self, place: str, **settings):
        super().__init__(**settings)
        self.place = place

    def setup(self, device):
        version = Served.of(er.Registry(Path(self.place)).get("radon@live"), radon, Settings(cached=0))
        self.use, self.call = version.uses["predict"], version.calls["predict"]

    def decode_request(self, request):
        return read_rows(request, self.use.wanted, "refuse", 1024)

    def batch(self, inputs):
        return inputs

    def predict(self, inputs):
        several = inputs if isinstance(inputs, list) else [inputs]
        rows = Rows.joined(several)
        verdicts, reasons = self.use.verdicts.at(rows)
        every = zip(self.call(rows), verdicts, reasons, rows.inside.tolist(), strict=True)
        answers, out = [told(*one) for one in every], []
        for one in several:
            out.append(answers[: one.count])
            answers = answers[one.count :]
        return out if isinstance(inputs, list) else out[0]

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"rows": output}


def run(place: str, port: int, batching: bool) -> None:
    """Listen."""
    many = {"max_batch_size": 64, "batch_timeout": 0.005} if batching else {}
    api = Api(place, api_path="/v1/predict", **many)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("place", "port", "batching"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    run(args.place, int(args.port), args.batching == "1")

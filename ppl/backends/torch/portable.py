"""Functions as files: of ``torch.export``, and as ONNX."""

from __future__ import annotations

import io

import torch

from ...thresholds import EXAMPLE_ROWS
from ...turns import running
from .arrays import to_device

SUFFIXES = (".pt2", ".onnx")


class _Held(torch.nn.Module):
    """A function with its constants as buffers."""

    def __init__(self, fn, constants, dtype):
        super().__init__()
        self._fn, self._names = fn, {}
        for i, (name, value) in enumerate(constants.items()):
            self._names[name] = f"held_{i}"
            self.register_buffer(f"held_{i}", to_device(value, dtype))

    def forward(self, given):
        held = {name: getattr(self, own) for name, own in self._names.items()}
        return dict(sorted(self._fn(held, given).items()))


def written(fn, constants, inputs, dtype, suffix) -> bytes:  # noqa: ARG001
    """See `protocol.Portable`."""
    held = _Held(fn, constants, dtype).eval()
    example = {i.name: torch.as_tensor(i.some(EXAMPLE_ROWS)) for i in inputs}
    shapes = ({name: {0: torch.export.Dim("batch", min=1)} for name in example},)
    with torch.no_grad(), running():
        found = torch.export.export(held, (example,), dynamic_shapes=shapes)
    file = io.BytesIO()
    torch.export.save(found, file)
    return file.getvalue()


def read(content):
    """A ``.pt2`` file as a function of arrays by name."""
    module = torch.export.load(io.BytesIO(content)).module()

    def call(given):
        with torch.no_grad():
            return {
                k: v.numpy() for k, v in module({k: torch.as_tensor(v) for k, v in given.items()}).items()
            }

    return call

"""Functions as files: of ``torch.export``, and as ONNX."""

from __future__ import annotations

import io
import operator
from typing import Any

import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from ...thresholds import EXAMPLE_ROWS, FEW_ROWS
from ...turns import running
from .arrays import Inside, without_warnings

SUFFIXES = (".pt2", ".onnx")


class _Held(torch.nn.Module):
    """Recorded operations with constants as buffers."""

    def __init__(self, graph, held, names):
        super().__init__()
        self._graph, self._names, self._count = graph, names, len(held)
        for i, value in enumerate(held):
            self.register_buffer(f"held_{i}", value.clone())

    def forward(self, given):
        held = [getattr(self, f"held_{i}") for i in range(self._count)]
        return dict(zip(self._names, self._graph(*held, *given.values()), strict=True))


def written(fn, constants, inputs, dtype, suffix) -> bytes:  # noqa: ARG001  constants have it
    """See `protocol.Portable`.

    The function is recorded for a number of rows that nothing else has, which is then exchanged for theirs: what PyTorch maps over
    rows has their number in it as it stands.
    """
    held = [torch.as_tensor(np.ascontiguousarray(value)) for value in constants.values()]
    names: list[str] = []

    def flat(*values):
        known = dict(zip(constants, values, strict=False))
        found = fn(known, dict(zip((i.name for i in inputs), values[len(constants) :], strict=True)))
        names[:] = sorted(found)
        return [found[name] for name in names]

    rows = _example_rows([*held, *(torch.as_tensor(i.some(1)) for i in inputs)])
    example = [torch.as_tensor(i.some(rows)) for i in inputs]
    with torch.no_grad(), running(), Inside(), without_warnings():
        graph = make_fx(flat)(*held, *example)
    held = [*_taken_out(graph), *held]
    _freed(graph, len(held), rows)
    module = _Held(torch.fx.GraphModule({}, graph.graph), held, names).eval()
    some = {i.name: torch.as_tensor(i.some(FEW_ROWS)) for i in inputs}  # the file keeps them
    shapes = ({name: {0: torch.export.Dim("batch", min=1)} for name in some},)
    with torch.no_grad(), running(), without_warnings():
        found = torch.export.export(module, (some,), dynamic_shapes=shapes)
        return _onnx(found, inputs, names) if suffix == ".onnx" else _saved(found)


def _example_rows(tensors: list[torch.Tensor]) -> int:
    """A number of rows that nothing else is a multiple of."""
    sizes = {size for tensor in tensors for size in tensor.shape}
    return next(rows for rows in EXAMPLE_ROWS if all(size % rows or not size for size in sizes))


def _taken_out(graph: torch.fx.GraphModule) -> list[torch.Tensor]:
    """Numbers of the model itself, made into the first arguments of what was recorded."""
    graph.graph.eliminate_dead_code()
    nodes = [node for node in graph.graph.nodes if node.op == "get_attr"]
    first = next(node for node in graph.graph.nodes if node.op == "placeholder")
    found = []
    for i, node in enumerate(nodes):
        found.append(getattr(graph, str(node.target)).detach().clone())
        with graph.graph.inserting_before(first):
            node.replace_all_uses_with(graph.graph.placeholder(f"own_{i}"))
        graph.graph.erase_node(node)
    return found


def _freed(graph: torch.fx.GraphModule, first: int, rows: int) -> None:
    """Exchange the number of rows of the example, and its multiples, for the number of rows that go in."""
    nodes = list(graph.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    with graph.graph.inserting_after(inputs[-1]):
        count = graph.graph.call_function(torch.ops.aten.sym_size.int, (inputs[first], 0))
    made: dict[int, Any] = {1: count}
    place = count

    def times(number: int) -> Any:
        nonlocal place
        if number not in made:
            with graph.graph.inserting_after(place):
                place = made[number] = graph.graph.call_function(operator.mul, (count, number))
        return made[number]

    def freed(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(freed(item) for item in value)
        whole = isinstance(value, int) and not isinstance(value, bool)
        return times(value // rows) if whole and value and value % rows == 0 else value

    for node in nodes:
        if node.op == "call_function":
            node.args = tuple(freed(value) for value in node.args)
            node.kwargs = {name: freed(value) for name, value in node.kwargs.items()}


def _saved(found: Any) -> bytes:
    file = io.BytesIO()
    torch.export.save(found, file)
    return file.getvalue()


def _onnx(found: Any, inputs: Any, names: list[str]) -> bytes:
    """An ONNX model whose inputs and outputs have the names that they have here."""
    made: Any = torch.onnx.export(
        found, dynamo=True, input_names=[i.name for i in inputs], output_names=names, verbose=False
    )
    return made.model_proto.SerializeToString()


def read(content):
    """A ``.pt2`` file as a function of arrays by name."""
    with without_warnings():
        module = torch.export.load(io.BytesIO(content)).module()

    def call(given):
        with torch.no_grad():
            found = module({name: torch.as_tensor(value) for name, value in given.items()})
        return {name: value.numpy() for name, value in found.items()}

    return call

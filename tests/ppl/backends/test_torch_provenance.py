"""What reaches what on torch: the same graphs as on JAX, and no claim that a derivative contradicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from elboroom.ppl.backends.torch.provenance import analyse
from elboroom.ppl.errors import DataError
from elboroom.ppl.graph import IndexProblem
from models import MODELS
from models.synthetic import synthetic

import elboroom as er

INDEX = torch.tensor([2, 0, 1, 2, 1])
SQUARE = torch.arange(9.0, dtype=torch.float64).reshape(3, 3) + 1


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_that_on_jax(name):
    program = MODELS[name].model(**MODELS[name].data(synthetic(name.partition(",")[0])))
    ours, theirs = program.graph("torch"), program.graph("jax")
    assert ours.links == theirs.links
    for name, node in theirs.nodes.items():
        known = {k: v for k, v in ours.nodes[name].items() if k != "support"}
        assert known == {k: v for k, v in node.items() if k != "support"}
    assert set(ours.data) == set(theirs.data)


FUNCTIONS = {
    "elementwise": lambda x, i: torch.exp(x) * x,
    "broadcast": lambda x, i: x[:, None] + torch.zeros(3, 2),
    "broadcast to rows": lambda x, i: x + torch.zeros(4, 3),
    "two axes": lambda x, i: x[:, None] * x[None, :],
    "itself and its mirror": lambda x, i: x * x.flip(0),
    "sum": lambda x, i: x.sum(),
    "square of a sum": lambda x, i: x.sum() ** 2,
    "mean over an axis": lambda x, i: (SQUARE * x).mean(1),
    "sum over its own axis": lambda x, i: (SQUARE * x).sum(0),
    "logsumexp": lambda x, i: torch.logsumexp(SQUARE + x, 1),
    "largest": lambda x, i: (SQUARE + x[:, None]).max(1).values,
    "softmax": lambda x, i: torch.softmax(x, 0),
    "cumulative sum": lambda x, i: torch.cumsum(x, 0),
    "cumulative product": lambda x, i: torch.cumprod(x, 0),
    "product": lambda x, i: SQUARE @ x,
    "product from the left": lambda x, i: x @ SQUARE,
    "batch of products": lambda x, i: (x[:, None, None] * SQUARE) @ SQUARE,
    "einsum": lambda x, i: torch.einsum("i,ij->j", x, SQUARE),
    "outer": lambda x, i: torch.outer(x, torch.ones(4)),
    "gather": lambda x, i: x[i],
    "gather on two axes": lambda x, i: (x[:, None] * SQUARE)[i, i],
    "gather a row": lambda x, i: (x[:, None] * SQUARE)[:, i],
    "gather apart": lambda x, i: (x[:, None, None] * torch.ones(3, 2, 3))[i, :, i],
    "gather with a column": lambda x, i: x[i[:, None]] * torch.ones(2),
    "index_select": lambda x, i: torch.index_select(x, 0, i),
    "take along": lambda x, i: torch.gather(x.expand(2, 3), 1, i.expand(2, 5)),
    "embedding": lambda x, i: torch.nn.functional.embedding(i, x[:, None] * torch.ones(2)),
    "computed index": lambda x, i: x[2 - i],
    "slice": lambda x, i: x[1:] - x[:-1],
    "step": lambda x, i: x[::2],
    "one element": lambda x, i: x[1] * torch.ones(4),
    "selection": lambda x, i: x[i > 0] if len(i) == 3 else x[x.new_tensor([True, False, True]).bool()],
    "concatenation": lambda x, i: torch.cat([x, x.flip(0)]),
    "stack": lambda x, i: torch.stack([x, x + 1], 1),
    "reshape": lambda x, i: (x[:, None] * SQUARE).reshape(-1),
    "reshape apart": lambda x, i: torch.cat([x, x]).reshape(2, 3),
    "transpose": lambda x, i: (x[:, None] * SQUARE).T,
    "diagonal": lambda x, i: torch.diagonal(x[:, None] * SQUARE),
    "diagonal matrix": lambda x, i: torch.diag_embed(x),
    "padding": lambda x, i: torch.nn.functional.pad(x, (1, 2)),
    "repetition": lambda x, i: x.repeat(2),
    "roll": lambda x, i: torch.roll(x, 1),
    "where": lambda x, i: torch.where(x > 0, x, x.flip(0)),
    "where by data": lambda x, i: torch.where(torch.tensor([True, False, True]), x, 2 * x),
    "masked fill": lambda x, i: x.masked_fill(torch.tensor([True, False, True]), 0.0),
    "sort": lambda x, i: torch.sort(x).values,
    "cholesky": lambda x, i: torch.linalg.cholesky(torch.diag_embed(x**2 + 1.0) + 0.1),
    "solve": lambda x, i: torch.linalg.solve(SQUARE + torch.eye(3), x),
    "in place": lambda x, i: torch.zeros(3, dtype=x.dtype).copy_(x) * 2,
    "in place on a part": lambda x, i: _filled(x),
    "accumulated": lambda x, i: torch.zeros(3, dtype=x.dtype).index_add(0, i[:3], x),
    "loop": lambda x, i: sum(x[k] * (k + 1) for k in range(3)),
    "hinge": lambda x, i: torch.relu(x[1:] - x[:-1] - 50.0),
    "unbind": lambda x, i: torch.stack([a * b for a, b in zip(x.unbind(), x.unbind(), strict=True)]),
    "split": lambda x, i: torch.split(x, [1, 2])[1],
    "variance": lambda x, i: (SQUARE + x[:, None]).var(1),
    "views written through": lambda x, i: _through_a_view(x),
}


def _filled(x):
    out = torch.zeros(4, dtype=x.dtype)
    out[1:] = x
    return out


def _through_a_view(x):
    out = torch.ones(3, dtype=x.dtype)
    part = out[:2]
    part.mul_(x[1:])
    return out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_claim_is_contradicted_by_a_derivative(name):
    function, x = FUNCTIONS[name], torch.tensor([0.4, -0.7, 1.3], dtype=torch.float64)
    found = analyse(lambda v, d: {"f": {"value": function(v["x"], d["i"])}}, {"x": x}, {"i": INDEX}).access[
        "f"
    ]["value"]
    table = torch.autograd.functional.jacobian(lambda x: function(x, INDEX), x).numpy() != 0
    assert ("x" in found) or not table.any()
    how, axis, _ = found["x"].axes[0]
    each = table.reshape(-1, 3)
    if how in {"aligned", "gathered", "selected"}:
        assert (each.sum(1) <= 1).all()
    if how == "aligned":
        place = np.argwhere(table)
        assert (place[:, axis] == place[:, -1]).all()
    if axis is not None:
        moved = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1, 3)
        assert (moved.any(1).sum(1) <= 1).all()


SHARP = {
    "elementwise": ("aligned", 0, None),
    "broadcast": ("aligned", 0, None),
    "broadcast to rows": ("aligned", 1, None),
    "two axes": ("mixed", None, None),
    "itself and its mirror": ("mixed", None, None),
    "sum": ("summed", None, None),
    "square of a sum": ("mixed", None, None),
    "sum over its own axis": ("aligned", 0, None),
    "mean over an axis": ("summed", None, None),
    "softmax": ("mixed", None, None),
    "product": ("summed", None, None),
    "gather": ("gathered", 0, "i"),
    "gather a row": ("aligned", 0, None),
    "gather on two axes": ("gathered", 0, "i"),
    "computed index": ("gathered", 0, "i"),
    "index_select": ("gathered", 0, "i"),
    "embedding": ("gathered", 0, "i"),
    "slice": ("summed", None, None),
    "where": ("mixed", None, None),
    "where by data": ("aligned", 0, None),
    "hinge": ("mixed", None, None),
    "transpose": ("aligned", 1, None),
    "diagonal": ("aligned", 0, None),
    "loop": ("summed", None, None),
}


@pytest.mark.parametrize("name", SHARP)
def test_claims_are_sharp(name):
    x = torch.tensor([0.4, -0.7, 1.3], dtype=torch.float64)
    found = analyse(
        lambda v, d: {"f": {"value": FUNCTIONS[name](v["x"], d["i"])}}, {"x": x}, {"i": INDEX}
    ).access["f"]["value"]
    assert tuple(found["x"].axes[0]) == SHARP[name]


def problems(function, **data):
    data = {k: torch.tensor(v) for k, v in data.items()}
    run = analyse(lambda v, d: {"f": {"value": function(v["x"], d["i"])}}, {"x": torch.zeros(3)}, data)
    return run.problems


@pytest.mark.parametrize(
    "function, index, expected",
    [
        (lambda x, i: x[i], [0, 3, 1, 9], IndexProblem("i", 3, (1, 3), (3, 9), False)),
        (lambda x, i: x[i], [1, 2, 3], IndexProblem("i", 3, (2,), (3,), True)),
        (lambda x, i: x[i], [0, -1, 2], IndexProblem("i", 3, (1,), (-1,), False)),
        (lambda x, i: x[i - 1], [0, 1, 2], IndexProblem("i", 3, (0,), (-1,), False)),
        (lambda x, i: x[i + 1], [0, 1, 2], IndexProblem("i", 3, (2,), (3,), True)),
        (lambda x, i: torch.outer(x, x)[i, i + 1], [0, 1, 2], IndexProblem("i", 3, (2,), (3,), True)),
        (lambda x, i: torch.index_select(x, 0, i), [0, 5], IndexProblem("i", 3, (1,), (5,), False)),
        (lambda x, i: torch.gather(x, 0, i), [0, 5], IndexProblem("i", 3, (1,), (5,), False)),
    ],
)
def test_indices_outside_are_found(function, index, expected):
    assert problems(function, i=index) == [expected]


def test_negative_constants_wrap_as_usual():
    assert problems(lambda x, i: x[torch.tensor([-1, -3])] + x[-1], i=[0]) == []


def test_a_derived_index_is_named_as_on_jax():
    @er.model
    def shifted(y, county):
        with er.plate("county", 3):
            a = er.sample("a", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a[county - 1], 1), y)

    words = []
    for backend in ("torch", "jax"):
        with pytest.raises(DataError, match="county") as caught:
            shifted(np.zeros(3), np.array([0, 1, 2])).trace(backend)
        words.append(str(caught.value))
    assert words[0] == words[1]


def test_a_condition_that_did_not_hold_counts():
    @er.model
    def switch(y):
        with er.plate("group", 4):
            t = er.sample("t", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(er.math.where(t > 40, er.math.flip(t), t), 1.0), y)

    assert switch(np.zeros(4)).graph("torch").nodes["t"]["independent"] == ()


def test_a_factor_of_counts_is_likelihood():
    @er.model
    def counted(k):
        rate = er.sample("rate", er.Gamma(2.0, 1.0))
        er.factor("counts", er.math.sum(k * er.math.log(rate) - rate))

    graph = counted(np.array([1, 2, 3])).graph("torch")
    assert graph.nodes["counts"]["likelihood"] and set(graph.data) == {("k", "counts")}

"""How PyTorch's operations carry states along: one rule per kind of operation, mixed where there is none.

A rule takes ``(call, states)``: the operation with its operands, and the states of its tensors in order. It
gives the state of each output.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from ..movements import (
    along,
    blocks,
    contracted,
    flipped,
    laid_out,
    matrices,
    reduced,
    same,
    selected,
    sliced,
    stacked,
    with_index,
)
from ..reach import Via, chosen, combined, joined, mixed, product, route


class Call(NamedTuple):
    """An operation: its name, its arguments by name, its tensors in order, and its first output."""

    name: str
    given: dict[str, Any]
    tensors: list[torch.Tensor]
    out: Any

    @property
    def before(self) -> tuple[int, ...]:
        """Shape of the first operand."""
        return tuple(self.tensors[0].shape)

    @property
    def after(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return tuple(self.out.shape)

    def axes(self, name="dim") -> tuple[int, ...]:
        """Axes of the first operand that an argument names; all of them where it names none."""
        dims = self.given.get(name)
        ndim = len(self.before)
        if dims is None or dims == []:
            return tuple(range(ndim))
        return tuple(d % max(ndim, 1) for d in (dims if isinstance(dims, (list, tuple)) else [dims]))


def apply(call: Call, states: list[dict], pointwise: bool) -> Any:
    """State of the outputs of an operation: one for all of them, or a list."""
    rule = _RULES.get(call.name) or (_elementwise if pointwise else None)
    return mixed(states) if rule is None else rule(call, states)


def _stretched(call, states) -> list[dict]:
    """Operands of an elementwise operation in the shape of its output: axes line up from the right."""
    return [_right(tuple(t.shape), call.after, s) for t, s in zip(call.tensors, states, strict=True)]


def _right(shape, after, state):
    shift = len(after) - len(shape)
    return route(state, {i: i + shift if n == after[i + shift] else None for i, n in enumerate(shape)})


def _elementwise(call, states):
    return combined(_stretched(call, states))


def _linear(call, states):
    # A number cut to an integer is no longer a sum of terms.
    rounds = not (call.out.dtype.is_floating_point or call.out.dtype == call.tensors[0].dtype)
    return combined(states[:1]) if rounds else dict(states[0])


def _add(call, states):
    return joined(_stretched(call, states))


def _mul(call, states):
    ready = _stretched(call, states)
    return product(*ready) if len(ready) == 2 else ready[0]


def _div(call, states):
    ready = _stretched(call, states)
    if call.given.get("rounding_mode") or (len(ready) == 1 and call.given["self"] is not call.tensors[0]):
        return combined(ready)
    return product(ready[0], combined(ready[1:]))


def _where(call, states):
    first, *cases = _stretched(call, states)
    return chosen(first, cases)


def _masked_fill(call, states):
    value, mask, *rest = _stretched(call, states)
    return chosen(mask, [value, *rest])


# -- movement --------------------------------------------------------------------------------------


def _nothing(call, states):
    return {}


def _reshape(call, states):
    return route(states[0], blocks(call.before, call.after))


def _expand(call, states):
    return _right(call.before, call.after, states[0])


def _permute(call, states):
    ndim = len(call.before)
    if call.name == "permute":
        order = [d % ndim for d in call.given["dims"]]
    else:
        order = list(range(ndim))
        if ndim > 1:
            a, b = (call.given.get("dim0", 0) % ndim, call.given.get("dim1", 1) % ndim)
            order[a], order[b] = order[b], order[a]
    return route(states[0], {old: new for new, old in enumerate(order)})


def _select(call, states):
    (axis,) = call.axes()
    index = call.given["index"] % call.before[axis]
    return route(states[0], selected(len(call.before), axis, index))


def _slice(call, states):
    (axis,) = call.axes() if call.given.get("dim") is not None else (0,)
    size, start, step = call.before[axis], call.given.get("start") or 0, call.given.get("step") or 1
    start = max(start + size, 0) if start < 0 else min(start, size)
    return route(states[0], {**same(len(call.before)), axis: sliced(axis, start, step)})


def _unbind(call, states):
    (axis,) = call.axes() if call.given.get("dim") is not None else (0,)
    return [route(states[0], selected(len(call.before), axis, k)) for k in range(call.before[axis])]


def _split(call, states):
    (axis,) = call.axes() if call.given.get("dim") is not None else (0,)
    sizes = call.given.get("split_sizes", call.given.get("split_size"))
    size = call.before[axis]
    starts = np.cumsum([0, *sizes[:-1]]) if isinstance(sizes, (list, tuple)) else range(0, size, sizes)
    whole = same(len(call.before))
    return [route(states[0], {**whole, axis: sliced(axis, int(start), 1)}) for start in starts]


def _cat(call, states):
    axis = call.given.get("dim", 0) % len(call.after)
    kept = [(s, t) for s, t in zip(states, call.tensors, strict=True) if t.ndim == len(call.after)]
    return laid_out([s for s, _ in kept], axis, [t.shape[axis] for _, t in kept])


def _stack(call, states):
    axis = call.given.get("dim", 0) % len(call.after)
    return stacked(states, len(call.before), axis)


def _flip(call, states):
    return route(states[0], flipped(call.before, call.axes("dims")))


def _diagonal(call, states):
    ndim = len(call.before)
    pair = [call.given.get("dim1", 0) % ndim, call.given.get("dim2", 1) % ndim]
    where: dict = {old: new for new, old in enumerate(i for i in range(ndim) if i not in pair)}
    offset, last = call.given.get("offset", 0), ndim - 2
    for axis, shift in zip(pair, (max(-offset, 0), max(offset, 0)), strict=True):
        where[axis] = Via((last,), ("slice", shift, 1)) if shift else last
    return route(states[0], where)


def _repeat(call, states):
    shift = len(call.after) - len(call.before)
    where: dict = {}
    for i, n in enumerate(call.before):
        m = call.after[i + shift]
        where[i] = i + shift if m == n else Via((i + shift,), ("modulo", n)) if n > 1 else None
    return route(states[0], where)


# -- sums, order, linear algebra ---------------------------------------------------------------------------


def _reduce(call, states):
    keep, is_sum = call.given.get("keepdim", False), call.name in {"sum", "mean"}
    return reduced(states[0], call.before, call.axes(), keep, is_sum)


def _along(call, states):
    return along(states[:1], len(call.before), call.axes(), call.name == "cumsum")


_CONTRACTED = {
    "mm": ((1,), (0,), ()),
    "mv": ((1,), (0,), ()),
    "dot": ((0,), (0,), ()),
    "bmm": ((2,), (1,), (0,)),
}


def _dot(call, states):
    return _multiplied(call.name, call, call.tensors, states)


def _multiplied(name, call, tensors, states):
    left, right, batch = _CONTRACTED[name]
    shapes = [tuple(t.shape) for t in tensors]
    return contracted(states, shapes, (left, right), (batch, batch), len(call.after))


def _affine(call, states):
    name = {"addmm": "mm", "addmv": "mv", "baddbmm": "bmm"}[call.name]
    term = _multiplied(name, call, call.tensors[1:], states[1:])
    return joined([_right(call.before, call.after, states[0]), term])


def _matrix(call, states):
    return matrices(states, [t.ndim for t in call.tensors])


# -- indexing --------------------------------------------------------------------------------------


def _index(call, states):
    """``x[i, :, j]``: positions of an index array that no latent reaches name the element."""
    indices = call.given["indices"]
    found = dict(zip(map(id, call.tensors), states, strict=True))
    used = [i for i, index in enumerate(indices) if index is not None]
    shape = torch.broadcast_shapes(*(indices[i].shape for i in used))
    first = used[0] if used == list(range(used[0], used[-1] + 1)) else 0
    rest = [i for i in range(len(call.before)) if i not in used]
    where: dict = {
        axis: k if k < first else k + len(shape) for k, axis in enumerate(rest)
    }  # axes without an index, around those of the index arrays
    hidden = []
    for axis in used:
        index = indices[axis]
        shift = first + len(shape) - index.ndim
        state = found[id(index)]
        where |= _spot(axis, index, state, tuple(shift + k for k in range(index.ndim)))
        spread = {
            k: shift + k if n == shape[len(shape) - index.ndim + k] else None
            for k, n in enumerate(index.shape)
        }
        hidden.append(route(state, spread))
    return with_index(route(states[0], where), hidden)


def _index_select(call, states):
    (axis,) = call.axes()
    index = call.given["index"]
    where = {**same(len(call.before), (axis,)), **_spot(axis, index, states[1], (axis,) * index.ndim)}
    return with_index(route(states[0], where), [route(states[1], dict.fromkeys(range(index.ndim), axis))])


def _take_along(call, states):
    (axis,) = call.axes()
    index = call.given["index"]
    where = {**same(index.ndim, (axis,)), **_spot(axis, index, states[1], tuple(range(index.ndim)))}
    return with_index(route(states[0], where), [dict(states[1])])


def _embedding(call, states):
    index = call.given["indices"]
    where = {**_spot(0, index, states[1], tuple(range(index.ndim))), 1: index.ndim}
    return with_index(route(states[0], where), [dict(states[1])])


def _spot(axis, index, state, axes) -> dict:
    """Where an indexed axis goes: nowhere if a latent chooses the element."""
    if any(kind == "latent" for kind, _ in state):
        return {}
    if index.numel() == 1:
        axes = (None,)
    numbers = index.detach().numpy()
    labels = tuple(sorted(name for kind, name in state if kind == "data"))
    if not labels and numbers.ndim == 1 and np.array_equal(numbers, np.arange(numbers.size)):
        return {axis: axes[0]}
    return {axis: Via(axes, ("gather", numbers.shape, numbers.tobytes()), labels)}


_RULES = {
    **dict.fromkeys(
        "neg clone _to_copy detach alias contiguous lift_fresh lift_fresh_copy positive tril triu".split(),
        _linear,
    ),
    "log_sigmoid_forward": _elementwise,
    **dict.fromkeys(("add", "sub", "rsub"), _add),
    "mul": _mul,
    "div": _div,
    "where": _where,
    "masked_fill": _masked_fill,
    **dict.fromkeys("view _unsafe_view reshape unsqueeze squeeze _reshape_alias".split(), _reshape),
    "expand": _expand,
    **dict.fromkeys(("permute", "t", "transpose"), _permute),
    "select": _select,
    "slice": _slice,
    "unbind": _unbind,
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    "cat": _cat,
    "stack": _stack,
    "flip": _flip,
    "diagonal": _diagonal,
    "repeat": _repeat,
    **dict.fromkeys(
        "sum mean amax amin max min prod logsumexp any all argmax argmin var std nansum norm".split(), _reduce
    ),
    **dict.fromkeys("cumsum cumprod logcumsumexp cummax cummin _softmax _log_softmax sort".split(), _along),
    **dict.fromkeys(("mm", "mv", "dot", "bmm"), _dot),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), _affine),
    **dict.fromkeys(
        """linalg_cholesky_ex linalg_solve_triangular linalg_inv_ex _linalg_det _linalg_slogdet
        _linalg_solve_ex cholesky_inverse cholesky_solve triangular_solve linalg_lu_factor_ex""".split(),
        _matrix,
    ),
    "index": _index,
    "index_select": _index_select,
    "gather": _take_along,
    "embedding": _embedding,
    **dict.fromkeys(
        """zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full
        new_empty""".split(),
        _nothing,
    ),
}

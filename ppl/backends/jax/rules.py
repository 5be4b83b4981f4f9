"""How primitives carry states along: one rule per kind of primitive, `MIX` where there is none.

A rule takes ``(eqn, states, numbers)``, the states and the value numbers of the operands (equal numbers
mean equal values; None for what a latent value reaches), and gives the state of each output.
"""

from __future__ import annotations

from itertools import count

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
from ..reach import SUM, Via, chosen, combined, joined, mixed, product, route

_fresh = count()

ELEMENTWISE = frozenset(
    """abs acos acosh and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz complex conj
    cos cosh digamma eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igamma_grad_a igammac imag
    integer_pow is_finite le le_to lgamma log log1p logistic lt lt_to max min mul ne nextafter not or
    polygamma population_count pow random_gamma_grad regularized_incomplete_beta rem round rsqrt shift_left
    shift_right_arithmetic shift_right_logical sign sin sinh sqrt square tan tanh xor zeta""".split()
)


def apply(eqn, states, numbers) -> list[dict]:
    """States of the outputs of a primitive without inner jaxprs."""
    rule = _RULES.get(eqn.primitive.name)
    if rule is None and eqn.primitive.name in ELEMENTWISE:
        rule = _elementwise
    out = mixed(states) if rule is None else rule(eqn, states, numbers)
    return out if isinstance(out, list) else [out] * len(eqn.outvars)


def _shape(var) -> tuple:
    return tuple(getattr(var.aval, "shape", ()))


def _stretched(eqn, states) -> list[dict]:
    """Operands of an elementwise operation in the shape of its output: axes of size one repeat."""
    out, ready = _shape(eqn.outvars[0]), []
    for var, state in zip(eqn.invars, states, strict=True):
        shape = _shape(var)
        if shape in ((), out):
            ready.append(state)
        elif len(shape) == len(out) and all(n in (1, m) for n, m in zip(shape, out, strict=True)):
            where = {i: i if n == m else None for i, (n, m) in enumerate(zip(shape, out, strict=True))}
            ready.append(route(state, where))
        else:
            ready.append(mixed([state]))
    return ready


def _elementwise(eqn, states, numbers):
    return combined(_stretched(eqn, states))


def _linear(eqn, states, numbers):
    # A number cut to an integer is no longer a sum of terms.
    rounds = eqn.primitive.name == "convert_element_type" and eqn.outvars[0].aval.dtype.kind in "biu"
    return combined(states) if rounds else [dict(s) for s in states]


def _add(eqn, states, numbers):
    return joined(_stretched(eqn, states))


def _mul(eqn, states, numbers):
    return product(*_stretched(eqn, states))


def _div(eqn, states, numbers):
    above, below = _stretched(eqn, states)
    return product(above, combined([below]))


def _select(eqn, states, numbers):
    predicate, *cases = _stretched(eqn, states)
    return chosen(predicate, cases)


# -- movement --------------------------------------------------------------------------------------


def _broadcast(eqn, states, numbers):
    before, after = _shape(eqn.invars[0]), _shape(eqn.outvars[0])
    where = {
        i: d if before[i] == after[d] else None for i, d in enumerate(eqn.params["broadcast_dimensions"])
    }
    return joined([route(states[0], where), *states[1:]])


def _transpose(eqn, states, numbers):
    return route(states[0], {old: new for new, old in enumerate(eqn.params["permutation"])})


def _reshape(eqn, states, numbers):
    return route(states[0], blocks(_shape(eqn.invars[0]), _shape(eqn.outvars[0])))


def _reduce(eqn, states, numbers):
    shape, axes = _shape(eqn.invars[0]), eqn.params["axes"]
    state = states[0] if eqn.primitive.name == "reduce_sum" else combined(states)
    return reduced(state, shape, axes, False, eqn.primitive.name == "reduce_sum")


def _cumulate(eqn, states, numbers):
    axes = (eqn.params["axis"],)
    return along(states, len(_shape(eqn.invars[0])), axes, eqn.primitive.name == "cumsum")


def _dot(eqn, states, numbers):
    contract, batch = eqn.params["dimension_numbers"]
    shapes = [_shape(v) for v in eqn.invars]
    return contracted(states, shapes, contract, batch, len(_shape(eqn.outvars[0])))


def _slice(eqn, states, numbers):
    before = _shape(eqn.invars[0])
    starts, strides = eqn.params["start_indices"], eqn.params["strides"] or (1,) * len(before)
    return route(states[0], {i: sliced(i, starts[i], strides[i]) for i in range(len(before))})


def _reverse(eqn, states, numbers):
    return route(states[0], flipped(_shape(eqn.invars[0]), eqn.params["dimensions"]))


def _pad(eqn, states, numbers):
    where = {
        i: i if low == 0 and inner == 0 else Via((i,), ("pad", low, inner))
        for i, (low, _, inner) in enumerate(eqn.params["padding_config"])
    }
    return joined([route(states[0], where), *states[1:]])


def _concatenate(eqn, states, numbers):
    return laid_out(states, eqn.params["dimension"], [_shape(v)[eqn.params["dimension"]] for v in eqn.invars])


def _stack(eqn, states, numbers):
    axis = eqn.params.get("axis", eqn.params.get("dimension", 0))
    return stacked(states, len(_shape(eqn.invars[0])), axis)


def _split(eqn, states, numbers):
    axis, start, outs = eqn.params["axis"], 0, []
    for size in eqn.params["sizes"]:
        outs.append(route(states[0], {**same(len(_shape(eqn.invars[0]))), axis: sliced(axis, start, 1)}))
        start += size
    return outs


def _unstack(eqn, states, numbers):
    axis, ndim = eqn.params["axis"], len(_shape(eqn.invars[0]))
    return [route(states[0], selected(ndim, axis, k)) for k in range(len(eqn.outvars))]


# -- indexing --------------------------------------------------------------------------------------


class _Index:
    """The operand of a gather or scatter that says where."""

    def __init__(self, states, numbers):
        state = combined(states)
        self.traced = any(kind == "latent" for kind, _ in state)
        self.labels = tuple(sorted(name for kind, name in state if kind == "data"))
        # Inside a loop whose step the index depends on, the element also varies with the step.
        self.loops = tuple(name for kind, name in state if kind == "loop")
        self.number = numbers if None not in numbers else (next(_fresh),)
        self.sources = {k: r for k, r in state.items() if k[0] != "loop"}

    def via(self, axes, *key):
        return Via((*axes, *self.loops), (*key, self.number), self.labels)


def _gather(eqn, states, numbers):
    dims, sizes, operand = (
        eqn.params["dimension_numbers"],
        eqn.params["slice_sizes"],
        _shape(eqn.invars[0]),
    )
    batch = tuple(i for i in range(len(_shape(eqn.outvars[0]))) if i not in dims.offset_dims)
    paired = dict(zip(dims.operand_batching_dims, dims.start_indices_batching_dims, strict=True))
    removed = set(dims.collapsed_slice_dims) | set(paired)
    kept = iter(dims.offset_dims)
    index = _Index(states[1:2], numbers[1:2])
    where: dict = {}
    for axis, size in enumerate(operand):
        if axis in paired:
            where[axis] = batch[paired[axis]]
            continue
        offset = () if axis in removed else (next(kept),)
        if offset and sizes[axis] == size:
            where[axis] = offset[0]
        elif size == 1:
            where[axis] = None
        elif not index.traced:
            column = dims.start_index_map.index(axis) if axis in dims.start_index_map else None
            where[axis] = index.via((*offset, *batch), "gather", column, len(offset))
    # A row of the index array is one position of the output; its last axis holds the coordinates.
    rows: dict = dict(enumerate(batch))
    if _shape(eqn.invars[1])[-1] == 1:
        rows[len(batch)] = None
    return with_index(route(states[0], where), [route(index.sources, rows)])


def _dynamic_slice(eqn, states, numbers):
    before, after = _shape(eqn.invars[0]), _shape(eqn.outvars[0])
    where: dict = {}
    used = []
    for i in range(len(after)):
        if before[i] == after[i]:
            where[i] = i
            continue
        index = _Index(states[1 + i : 2 + i], numbers[1 + i : 2 + i])
        used.append(index)
        if not index.traced:
            where[i] = index.via((i if after[i] > 1 else None,), "dynamic_slice")
    out = route(states[0], where)
    for index in used:
        out = with_index(out, [mixed([index.sources])])
    return out


def _scatter(eqn, states, numbers):
    operand, index, updates = states
    where = _Index([index], numbers[1:2])
    ndim = len(_shape(eqn.outvars[0]))
    name = eqn.primitive.name
    if where.traced or name not in {"scatter", "scatter-add", "scatter_add"}:
        return mixed(states)
    if name == "scatter":
        # Every element of the result comes from at most one update.
        spot = where.via(range(ndim), "scatter", next(_fresh))
        placed = route(updates, dict.fromkeys(range(len(_shape(eqn.invars[2]))), spot))
    else:
        placed = route(updates, {}, SUM)
    return with_index(joined([operand, placed]), [mixed([where.sources])])


# -- linear algebra and order ----------------------------------------------------------------------


def _matrix(eqn, states, numbers):
    return matrices(states, [len(_shape(v)) for v in eqn.invars])


def _sort(eqn, states, numbers):
    ndim = len(_shape(eqn.invars[0]))
    return along(states, ndim, (eqn.params["dimension"] % ndim,), False)


_RULES = {
    **dict.fromkeys(
        """neg convert_element_type copy copy_p real reduce_precision stop_gradient name device_put
        optimization_barrier""".split(),
        _linear,
    ),
    **dict.fromkeys(("add", "sub", "add_any"), _add),
    "mul": _mul,
    "div": _div,
    "select_n": _select,
    **dict.fromkeys(("broadcast_in_dim", "broadcast_to"), _broadcast),
    "transpose": _transpose,
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), _reshape),
    **dict.fromkeys(
        "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor argmax argmin".split(),
        _reduce,
    ),
    **dict.fromkeys("cumsum cumprod cummax cummin cumlogsumexp".split(), _cumulate),
    "dot_general": _dot,
    "slice": _slice,
    "rev": _reverse,
    "pad": _pad,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "unstack": _unstack,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    **dict.fromkeys(("scatter", "scatter-add", "scatter_add"), _scatter),
    **dict.fromkeys("cholesky triangular_solve lu qr eigh svd householder_product".split(), _matrix),
    "sort": _sort,
}

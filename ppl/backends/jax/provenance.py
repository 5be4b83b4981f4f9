"""Which value reaches which, and along which axes: an abstract interpreter over jaxprs.

For every variable and every source (a latent site or a data argument) the interpreter keeps, per axis of
the source, one of four states: *aligned* (element i of an output axis sees only element i), *gathered*
(it sees one element, through an index), *summed* (a sum of terms of one element each), or *mixed*.
Variables that depend on data alone are carried along as NumPy values, so that index arrays are checked on
the host: JAX clamps an index that is out of range without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import numpy as np

from ...graph import Access

try:
    from jax.extend.core import Literal
except ImportError:  # older JAX
    from jax.core import Literal

_LINEAR = {"neg", "convert_element_type", "copy", "copy_p", "real", "reduce_precision", "stop_gradient"}
_ADDITIVE = {"add", "sub", "add_any"}
_MIXED = ("M",)
_SUMMED = ("S",)
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


@dataclass(frozen=True)
class IndexProblem:
    """An index array that reaches outside the axis it indexes.

    Attributes
    ----------
    label : str
        The data argument.
    size : int
        Size of the axis.
    rows, values : tuple of int
        Where, and what the indices are there.
    one_based : bool
        Whether the codes run from 1 to the size of the axis.
    """

    label: str
    size: int
    rows: tuple[int, ...]
    values: tuple[int, ...]
    one_based: bool


@dataclass
class Analysis:
    """Accesses by node, part and source, and problems with index arrays."""

    access: dict[str, dict[str, dict[str, Access]]]
    problems: list[IndexProblem] = field(default_factory=list)


def analyse(fn, values, data) -> Analysis:
    """Analyse ``fn(values, data) -> {node: {part: array}}``.

    Parameters
    ----------
    fn : callable
    values, data : mapping
        Shapes (or arrays) of latent values and data arrays; arrays among the data are carried as values.
    """
    shapes = {k: jax.ShapeDtypeStruct(np.shape(v), v.dtype) for k, v in data.items()}
    closed, out_tree = jax.make_jaxpr(fn, return_shape=True)(dict(values), shapes)
    names = [("latent", k) for k in sorted(values)] + [("data", k) for k in sorted(data)]
    walk = _Walk()
    states, hosts = [], []
    for kind, name in names:
        source = values[name] if kind == "latent" else data[name]
        ndim = len(np.shape(source))
        states.append({(kind, name): tuple(("A", i) for i in range(ndim))})
        hosts.append(
            np.asarray(data[name]) if kind == "data" and isinstance(data[name], np.ndarray) else None
        )
    outs, _ = walk.jaxpr(closed.jaxpr, closed.consts, states, hosts)
    access: dict = {}
    leaves, tree = jax.tree_util.tree_flatten(out_tree)
    for (node, part), state in zip(_paths(out_tree), outs, strict=True):
        access.setdefault(node, {})[part] = {
            name: Access(kind, tuple(_public(a) for a in axes)) for (kind, name), axes in state.items()
        }
    return Analysis(access, walk.problems)


def _paths(tree):
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(path[0].key, path[1].key) for path, _ in flat]


def _public(state):
    if state[0] == "A":
        return ("aligned", state[1], None)
    if state[0] == "G":
        return ("gathered", state[1], state[2] if isinstance(state[2], str) else None)
    return ("summed" if state[0] == "S" else "mixed", None, None)


class _Walk:
    def __init__(self):
        self.problems: list[IndexProblem] = []
        self.count = 0

    def unique(self):
        self.count += 1
        return self.count

    def jaxpr(self, jaxpr, consts, states, hosts):
        state: dict = {}
        host: dict = {}
        wrapped: dict = {}
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            state[var] = {}
            host[var] = np.asarray(value) if not isinstance(value, jax.core.Tracer) else None
        for var, s, h in zip(jaxpr.invars, states, hosts, strict=True):
            state[var], host[var] = s, h

        def s_of(v):
            return {} if isinstance(v, Literal) else state[v]

        def h_of(v):
            return np.asarray(v.val) if isinstance(v, Literal) else host.get(v)

        for eqn in jaxpr.eqns:
            ins, hs = [s_of(v) for v in eqn.invars], [h_of(v) for v in eqn.invars]
            name = eqn.primitive.name
            inner = next((eqn.params[k] for k in _CALLS if k in eqn.params), None)
            if inner is not None and name not in {"scan", "while", "cond"}:
                body = getattr(inner, "jaxpr", inner)
                if len(body.invars) == len(ins):
                    outs, values = self.jaxpr(body, getattr(inner, "consts", ()), ins, hs)
                    for var, s, h in zip(eqn.outvars, outs, values, strict=True):
                        state[var], host[var] = s, h
                    continue
            if name == "scan":
                outs = self.scan(eqn, ins)
            elif name in {"while", "cond"}:
                outs = [_all_mixed(ins)] * len(eqn.outvars)
            else:
                if name == "gather":
                    self.check_gather(eqn, ins, hs, wrapped)
                outs = [self.rule(name, eqn, ins)] * len(eqn.outvars)
            values = _evaluate(name, eqn, hs)
            if values is not None and name == "select_n" and hs[0].dtype == bool and hs[0].any():
                wrapped[eqn.outvars[0]] = (hs[0], hs[1])
            elif values is not None and name in _CARRY and len(eqn.invars) >= 1:
                first = eqn.invars[0]
                if not isinstance(first, Literal) and first in wrapped:
                    wrapped[eqn.outvars[0]] = wrapped[first]
            for i, var in enumerate(eqn.outvars):
                state[var] = outs[i]
                host[var] = values if i == 0 else None
        return [s_of(v) for v in jaxpr.outvars], [h_of(v) for v in jaxpr.outvars]

    # -- rules -------------------------------------------------------------------------------------

    def rule(self, name, eqn, ins):
        shape = [np.shape(v.aval) if hasattr(v, "aval") else () for v in eqn.invars]
        out = tuple(eqn.outvars[0].aval.shape)
        p = eqn.params
        if name == "broadcast_in_dim":
            dims = p["broadcast_dimensions"]
            return _move(ins[0], {i: d for i, d in enumerate(dims) if shape[0][i] == out[d]})
        if name in {"reshape", "squeeze", "expand_dims"}:
            return _move(ins[0], _same_axes(shape[0], out))
        if name == "transpose":
            return _move(ins[0], {old: new for new, old in enumerate(p["permutation"])})
        if name.startswith("reduce_") and "axes" in p:
            kept = [i for i in range(len(shape[0])) if i not in p["axes"]]
            lost = _SUMMED if name == "reduce_sum" else _MIXED
            moved = _move(ins[0], {old: new for new, old in enumerate(kept)}, lost)
            return moved if name == "reduce_sum" else _nonlinear(moved)
        if name == "dot_general":
            return self.dot(p["dimension_numbers"], ins, shape)
        if name == "concatenate":
            return self.join(ins, p["dimension"])
        if name in {"slice", "pad", "rev", "dynamic_slice"}:
            same = {i: i for i in range(len(out)) if shape[0][i] == out[i] and name != "rev"}
            mark = ("G", None, self.unique())
            result = {
                key: tuple(
                    (a if a[1] in same else ("G", a[1], self.count)) if a[0] in "AG" else a for a in axes
                )
                for key, axes in ins[0].items()
            }
            del mark
            return _merge([result, *[_all_mixed([i]) for i in ins[1:]]], True)
        if name == "gather":
            return self.gather(eqn, ins, shape)
        if name in {"cumsum", "cumlogsumexp", "cummax", "cummin", "cumprod"}:
            axis = p["axis"]
            return {
                k: tuple(_MIXED if a[0] == "S" or (a[0] in "AG" and a[1] == axis) else a for a in axes)
                for k, axes in ins[0].items()
            }
        if name in _LINEAR:
            return ins[0]
        if name in _ADDITIVE:
            return _merge(ins, True)
        if name in {"mul", "div"}:
            return self.product(ins, name)
        if name == "select_n":
            return _merge([_nonlinear(ins[0]), *ins[1:]], True)
        if all(s in ((), out) for s in shape):
            return _nonlinear(_merge(ins, False))
        return _all_mixed(ins)

    def product(self, ins, name):
        left, right = ins
        keep_left = {k: v if k not in right else _nonlinear({k: v})[k] for k, v in left.items()}
        right_kept = {
            k: v if (k not in left and name == "mul") else _nonlinear({k: v})[k] for k, v in right.items()
        }
        return _merge([keep_left, right_kept], False)

    def dot(self, numbers, ins, shape):
        (lc, rc), (lb, rb) = numbers
        sides = []
        for side, contract, batch, other in ((0, lc, lb, 1), (1, rc, rb, 0)):
            free = [i for i in range(len(shape[side])) if i not in contract and i not in batch]
            offset = len(lb) + (0 if side == 0 else len(shape[0]) - len(lc) - len(lb))
            where = {a: i for i, a in enumerate(batch)} | {a: offset + i for i, a in enumerate(free)}
            moved = _move(ins[side], where, _SUMMED)
            shared = {k for k in moved if k in ins[other]}
            sides.append({k: _nonlinear({k: v})[k] if k in shared else v for k, v in moved.items()})
        return _merge(sides, False)

    def join(self, ins, axis):
        mark = self.unique()
        shifted = [
            {
                k: tuple(("G", axis, mark) if a[0] in "AG" and a[1] == axis else a for a in axes)
                for k, axes in state.items()
            }
            for state in ins
        ]
        return _merge(shifted, True)

    def gather(self, eqn, ins, shape):
        numbers, operand = eqn.params["dimension_numbers"], shape[0]
        out = tuple(eqn.outvars[0].aval.shape)
        batch = [i for i in range(len(out)) if i not in numbers.offset_dims]
        removed = set(numbers.collapsed_slice_dims) | set(getattr(numbers, "operand_batching_dims", ()))
        kept = [i for i in range(len(operand)) if i not in removed]
        where = dict(zip(kept, numbers.offset_dims, strict=True))
        sizes = eqn.params["slice_sizes"]
        labels = [name for kind, name in ins[1] if kind == "data"]
        traced = any(kind == "latent" for kind, _ in ins[1])
        mark = labels[0] if len(labels) == 1 else self.unique()
        result = {}
        for key, axes in ins[0].items():
            states = []
            for a in axes:
                if a[0] not in "AG":
                    states.append(a)
                elif a[1] in where and sizes[a[1]] == operand[a[1]]:
                    states.append((a[0], where[a[1]], *a[2:]))
                elif traced or len(batch) > 1:
                    states.append(_MIXED)
                else:
                    chained = mark if a[0] == "A" else self.unique()
                    states.append(("G", batch[0] if batch else None, chained))
            result[key] = tuple(states)
        index = {k: tuple(_MIXED for _ in v) for k, v in ins[1].items()}
        return _merge([result, index], False)

    def scan(self, eqn, ins):
        p = eqn.params
        body, consts, carry = p["jaxpr"].jaxpr, p["num_consts"], p["num_carry"]
        flat = [_all_mixed([s]) for s in ins]
        state = list(flat)
        while True:
            outs, _ = self.jaxpr(body, p["jaxpr"].consts, state, [None] * len(state))
            outs = [_all_mixed([s]) for s in outs]
            new = [_all_mixed([state[consts + i], outs[i]]) for i in range(carry)]
            if all(set(new[i]) == set(state[consts + i]) for i in range(carry)):
                return outs
            state[consts : consts + carry] = new

    # -- index arrays ------------------------------------------------------------------------------

    def check_gather(self, eqn, ins, hosts, wrapped):
        index = hosts[1]
        labels = [name for kind, name in ins[1] if kind == "data"]
        if index is None or not labels or any(kind == "latent" for kind, _ in ins[1]):
            return
        numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
        operand = np.shape(eqn.invars[0].aval)
        for column, axis in enumerate(numbers.start_index_map):
            size = operand[axis]
            codes = index[..., column].ravel()
            bad = (codes < 0) | (codes > size - sizes[axis])
            if eqn.invars[1] in wrapped:
                negative, raw = wrapped[eqn.invars[1]]
                if negative.size == codes.size:
                    bad |= negative.ravel()
                    codes = np.where(negative.ravel(), np.asarray(raw).ravel(), codes)
            if bad.any():
                rows = np.flatnonzero(bad)
                one_based = codes.min() == 1 and codes.max() == size
                found = IndexProblem(
                    labels[0],
                    int(size),
                    tuple(rows[:8].tolist()),
                    tuple(codes[rows[:8]].tolist()),
                    bool(one_based),
                )
                if found not in self.problems:
                    self.problems.append(found)


_CARRY = {"convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "copy", "concatenate"}


def _evaluate(name, eqn, hosts):
    """NumPy value of an equation over data alone, for the operations that index arrays go through."""
    if any(h is None for h in hosts) or len(eqn.outvars) != 1:
        return None
    p = eqn.params
    aval = eqn.outvars[0].aval
    try:
        if name in _NUMPY:
            return np.asarray(_NUMPY[name](*hosts)).astype(aval.dtype)
        if name in {"convert_element_type", "copy", "stop_gradient"}:
            return hosts[0].astype(aval.dtype)
        if name == "select_n":
            return np.choose(np.broadcast_to(hosts[0], aval.shape).astype(int), hosts[1:])
        if name == "broadcast_in_dim":
            shape = [1] * len(p["shape"])
            for i, d in enumerate(p["broadcast_dimensions"]):
                shape[d] = hosts[0].shape[i]
            return np.broadcast_to(hosts[0].reshape(shape), p["shape"])
        if name in {"reshape", "squeeze", "expand_dims"}:
            return hosts[0].reshape(aval.shape)
        if name == "concatenate":
            return np.concatenate(hosts, p["dimension"])
        if name == "slice":
            strides = p["strides"] or (1,) * len(p["start_indices"])
            spans = zip(p["start_indices"], p["limit_indices"], strides, strict=True)
            return hosts[0][tuple(slice(*span) for span in spans)]
        if name == "iota":
            axis = p["dimension"]
            shape = [1] * len(aval.shape)
            shape[axis] = aval.shape[axis]
            return np.broadcast_to(np.arange(aval.shape[axis]).reshape(shape), aval.shape).astype(aval.dtype)
    except (ValueError, TypeError):
        return None
    return None


_NUMPY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.logical_and,
    "or": np.logical_or,
    "clamp": lambda low, x, high: np.clip(x, low, high),
    "floor": np.floor,
    "round": np.round,
}


def _move(state, where, lost=_MIXED):
    out = {}
    for key, axes in state.items():
        moved = []
        for a in axes:
            if a[0] not in "AG" or a[1] is None:
                moved.append(a)
            elif a[1] in where:
                moved.append((a[0], where[a[1]], *a[2:]))
            else:
                moved.append(lost)
        out[key] = tuple(moved)
    return out


def _same_axes(before, after) -> dict[int, int]:
    """Axes that a reshape leaves alone: equal sizes with equal products before them."""
    out, j, left, right = {}, 0, 1, 1
    for i, size in enumerate(before):
        while j < len(after) and right < left:
            right *= after[j]
            j += 1
        while j < len(after) and after[j] == 1 and size != 1:
            j += 1
        if j < len(after) and after[j] == size and left == right:
            out[i] = j
            right *= after[j]
            j += 1
        left *= size
    return out


def _nonlinear(state):
    return {k: tuple(_MIXED if a[0] == "S" else a for a in axes) for k, axes in state.items()}


def _all_mixed(states):
    return {k: tuple(_MIXED for _ in axes) for state in states for k, axes in state.items()}


def _merge(states, additive):
    out: dict = {}
    for state in states:
        for key, axes in state.items():
            if key not in out:
                out[key] = axes
                continue
            merged = []
            for a, b in zip(out[key], axes, strict=True):
                if a == b:
                    merged.append(a)
                elif additive and _MIXED not in (a, b):
                    merged.append(_SUMMED)
                else:
                    merged.append(_MIXED)
            out[key] = tuple(merged)
    return out

"""Check on the host every index array that comes from data.

JAX clamps an index that is out of range without a word: one-based groups then give the wrong density. Each
gather's index is evaluated in NumPy, from the data alone and only where it is needed, and compared with the
axis that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jax.extend.core import Literal

from ...graph import IndexProblem
from .host import Unknown, evaluate

_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
"""Primitives that only call a jaxpr, and the parameter that holds it."""


def index_checks(
    closed_jaxpr: Any, data_positions: Mapping[str, Sequence[int]], arrays: Mapping[str, np.ndarray]
) -> list[IndexProblem]:
    """Problems with index arrays, from data and from constants.

    Parameters
    ----------
    closed_jaxpr : jax.extend.core.ClosedJaxpr
        The traced model, its constants with it.
    data_positions : mapping of str to sequence of int
        Label of each data argument to its positions among the inputs; the other inputs are latent.
    arrays : mapping of str to numpy.ndarray
        The data. Indices that need an array which is not given are not checked.

    Returns
    -------
    list of IndexProblem
        In the order of the computation, each once.

    Notes
    -----
    A negative index from data is a problem even where Python would wrap it: ``theta[county - 1]`` with
    zero-based counties reads the last element for the first county. Negative constants wrap as usual.
    Indices inside ``while`` loops and the branches of ``cond`` are not checked.

    Examples
    --------
    >>> import jax
    >>> county = np.array([1, 2, 3])
    >>> jaxpr = jax.make_jaxpr(lambda theta, i: theta[i])(np.zeros(3), county)
    >>> index_checks(jaxpr, {"county": [1]}, {"county": county})
    [IndexProblem(label='county', size=3, rows=(2,), values=(3,), one_based=True)]
    """
    scope = scope_of(closed_jaxpr, data_positions, arrays)
    found: dict[IndexProblem, None] = {}
    _visit(closed_jaxpr.jaxpr, lambda: iter((scope,)), found)
    return list(found)


def scope_of(closed_jaxpr, data_positions, arrays) -> _Scope:
    """The variables of a jaxpr, with the data among its inputs; arguments as of `index_checks`."""
    jaxpr = closed_jaxpr.jaxpr
    owner = {i: label for label, spots in data_positions.items() for i in spots}
    inputs: dict = {}
    for i, var in enumerate(jaxpr.invars):
        label = owner.get(i)
        inputs[var] = _Given(
            arrays.get(label) if label else None, frozenset({label} if label else ()), not label
        )
    return _Scope(jaxpr, closed_jaxpr.consts, inputs)


def is_literal(var) -> bool:
    """Whether an operand is a constant written into the equation."""
    return isinstance(var, Literal)


@dataclass(frozen=True)
class _Given:
    """A known array (or None) with the data arguments behind it."""

    array: Any
    labels: frozenset = frozenset()
    latent: bool = False


class _Scope:
    """The variables of one jaxpr, evaluated when asked for.

    `inputs` maps each input to a `_Given`, to the pair of an outer scope and its operand, or to None.
    """

    def __init__(self, jaxpr, consts, inputs):
        self.inputs = dict(inputs)
        self.inputs |= {v: _Given(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}
        self.makers = {v: (eqn, i) for eqn in jaxpr.eqns for i, v in enumerate(eqn.outvars)}
        self.values: dict = {}
        self.jaxpr = jaxpr
        self.found: dict | None = None
        self.scopes: dict = {}

    def inner(self, eqn) -> _Scope:
        """The scope of a called jaxpr."""
        inner = called(eqn)
        if inner and id(eqn) not in self.scopes:
            body, consts = inner
            pairs = zip(body.invars, eqn.invars, strict=True)
            self.scopes[id(eqn)] = _Scope(body, consts, {v: (self, outer) for v, outer in pairs})
        return self.scopes[id(eqn)]

    def value(self, var) -> np.ndarray:
        """Value of a variable.

        Raises
        ------
        Unknown
            If it needs more than the data.
        """
        if is_literal(var):
            return np.asarray(var.val)
        if var not in self.values:
            self.values[var] = self._value(var)
        return self.values[var]

    def _value(self, var):
        if var in self.inputs:
            source = self.inputs[var]
            if isinstance(source, tuple):
                return source[0].value(source[1])
            if source is None or source.latent or source.array is None:
                raise Unknown
            return np.asarray(source.array)
        eqn, position = self.makers[var]
        inner = called(eqn)
        if inner:
            return self.inner(eqn).value(inner[0].outvars[position])
        if self._plain(eqn):
            return self.value(eqn.invars[1])
        return evaluate(eqn, [self.value(v) for v in eqn.invars], position)

    def _plain(self, eqn) -> bool:
        """Whether a choice takes its first case throughout, as the wrapping of indices does that are not negative."""
        choice = eqn.primitive.name == "select_n" and len(eqn.invars) == 3
        return choice and not np.any(self.value(eqn.invars[0]))

    def sources(self, var) -> tuple[frozenset, bool]:
        """Data arguments behind a variable, and whether a latent or an unknown input is."""
        if is_literal(var):
            return frozenset(), False
        if self.found is None:
            # Filled in one pass and in place: an inner scope asks for what stands before its call.
            self.found = {v: self._behind_input(source) for v, source in self.inputs.items()}
            for eqn in self.jaxpr.eqns:
                self.found.update(zip(eqn.outvars, self._behind(eqn), strict=True))
        return self.found[var]

    def _behind_input(self, source):
        if isinstance(source, tuple):
            return source[0].sources(source[1])
        return (source.labels, source.latent) if source else (frozenset(), True)

    def _behind(self, eqn):
        inner = called(eqn)
        if inner:
            return [self.inner(eqn).sources(v) for v in inner[0].outvars]
        operands = [self.sources(v) for v in eqn.invars]
        labels = frozenset().union(*(found for found, _ in operands))
        return [(labels, any(unknown for _, unknown in operands))] * len(eqn.outvars)

    def codes(self, var) -> np.ndarray:
        """Value of an index as the user meant it: negatives before they are wrapped."""
        if is_literal(var):
            return self.value(var)
        if var in self.inputs:
            source = self.inputs[var]
            return source[0].codes(source[1]) if isinstance(source, tuple) else self.value(var)
        return self._made_codes(var, *self.makers[var])

    def _made_codes(self, var, eqn, position) -> np.ndarray:
        """`codes` of what an equation of this scope makes."""
        name = eqn.primitive.name
        inner = called(eqn)
        if inner:
            return self.inner(eqn).codes(inner[0].outvars[position])
        if self._plain(eqn):
            return self.value(eqn.invars[1])
        if name == "select_n" and len(eqn.invars) == 3:
            wrapped, raw = self.value(var), self.value(eqn.invars[1])
            negative = np.broadcast_to(self.value(eqn.invars[0]), wrapped.shape).astype(bool) & (raw < 0)
            return np.where(negative, raw, wrapped)
        if name in _TRANSPARENT:
            return evaluate(eqn, [self.codes(v) for v in eqn.invars], position)
        return self.value(var)


def called(eqn) -> tuple[Any, Sequence[Any]] | None:
    """Jaxpr and constants of an equation that only calls another one, else None."""
    key = _CALLS.get(eqn.primitive.name)
    inner = eqn.params.get(key) if key else None
    if inner is None:
        return None
    body, consts = (inner.jaxpr, inner.consts) if hasattr(inner, "jaxpr") else (inner, ())
    fits = len(body.invars) == len(eqn.invars) and len(body.outvars) == len(eqn.outvars)
    return (body, consts) if fits else None


def _visit(jaxpr, scopes: Callable[[], Iterator[_Scope]], found) -> None:
    """Check the gathers of a jaxpr in each of its scopes: one, or one per step of the loops around it."""
    for eqn in jaxpr.eqns:
        name, inner = eqn.primitive.name, called(eqn)
        if inner:
            _visit(inner[0], partial(_inner_scopes, eqn, scopes), found)
        elif name == "scan":
            _visit(eqn.params["jaxpr"].jaxpr, partial(_step_scopes, eqn, scopes), found)
        elif name in _INDEXED:
            for operand, axis, room, column in _INDEXED[name](eqn):
                _check(operand, axis, room, column, scopes, found, "scatter" in name)


def _inner_scopes(eqn, scopes) -> Iterator[_Scope]:
    return (scope.inner(eqn) for scope in scopes())


def _step_scopes(eqn, scopes) -> Iterator[_Scope]:
    return (step for scope in scopes() for step in _steps(eqn, scope))


def _steps(eqn, scope) -> Iterator[_Scope]:
    """Scopes of a scan's body: scanned arrays are known per step, the carry is not."""
    closed, num_consts = eqn.params["jaxpr"], eqn.params["num_consts"]
    first = num_consts + eqn.params["num_carry"]
    inputs: dict = {v: (scope, o) for v, o in zip(closed.jaxpr.invars, eqn.invars[:num_consts], strict=False)}
    inputs |= dict.fromkeys(closed.jaxpr.invars[num_consts:first])
    scanned = list(zip(closed.jaxpr.invars[first:], eqn.invars[first:], strict=True))
    for t in range(eqn.params["length"]):
        yield _Scope(closed.jaxpr, closed.consts, {**inputs, **{v: _at(scope, o, t) for v, o in scanned}})


def _at(scope, operand, t):
    labels, unknown = scope.sources(operand)
    if unknown:
        return None
    try:
        return _Given(scope.value(operand)[t], labels)
    except Unknown:
        return _Given(None, labels)


def _check(operand, axis_size, room, column, scopes, found, written) -> None:
    first = next(scopes(), None)
    if first is None or axis_size is None:
        return
    labels, unknown = first.sources(operand)
    if unknown or (written and not labels):  # JAX's own counting writes outside, where nothing is kept
        return
    codes = []
    try:
        for scope in scopes():
            codes.append(_column(scope.codes(operand), column))
            if not labels:
                break
    except (Unknown, RecursionError):
        return
    rows = codes[0].ravel() if len(codes) == 1 else np.concatenate([c.ravel() for c in codes])
    lowest = 0 if labels else -axis_size
    bad = (rows < lowest) | (rows > axis_size - room)
    if not bad.any():
        return
    per_row = max(rows.size // (len(codes) if len(codes) > 1 else max(codes[0].shape[:1] or (1,))), 1)
    spots = np.flatnonzero(bad)
    problem = IndexProblem(
        min(labels, default=""),
        int(axis_size),
        tuple((spots // per_row).tolist()),
        tuple(rows[spots].tolist()),
        bool(rows.min() >= 1 and rows.max() == axis_size),
    )
    found.setdefault(problem)


def _column(codes, column):
    return codes if column is None else codes[..., column]


def _gathered(eqn):
    """Per indexed axis: the index operand, the axis's size, how much is read from there, and the column."""
    sizes, shape = eqn.params["slice_sizes"], eqn.invars[0].aval.shape
    for column, axis in enumerate(eqn.params["dimension_numbers"].start_index_map):
        yield eqn.invars[1], shape[axis], sizes[axis], column


def _scattered(eqn):
    numbers, shape = eqn.params["dimension_numbers"], eqn.invars[0].aval.shape
    for column, axis in enumerate(numbers.scatter_dims_to_operand_dims):
        if axis in numbers.inserted_window_dims:
            yield eqn.invars[1], shape[axis], 1, column


def _sliced(eqn):
    sizes, shape = eqn.params["slice_sizes"], eqn.invars[0].aval.shape
    for axis, operand in enumerate(eqn.invars[1:]):
        yield operand, shape[axis], sizes[axis], None


_INDEXED = {
    "gather": _gathered,
    "dynamic_slice": _sliced,
    **dict.fromkeys(("scatter", "scatter-add", "scatter_add", "scatter-mul", "scatter-max"), _scattered),
}

_TRANSPARENT = frozenset(
    {"convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "copy", "concatenate"}
)

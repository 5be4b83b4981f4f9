"""Which source reaches which node, and along which axes: an abstract interpreter over jaxprs.

Dependencies come from what a model computes, never from names or from what it declares. Loops are followed
to a fixpoint per component of the carry, so that a state-space site gets its own parents and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import jax
import numpy as np

from ...units import PARTS
from ..reach import (
    LEARNED,
    SUM,
    Analysis,
    One,
    Reach,
    accesses,
    chosen,
    joined,
    mixed,
    route,
    source_state,
    through,
)
from . import rules
from .codes import code_problems
from .host import Unknown
from .indices import called, index_checks, is_literal, scope_of
from .odes import looking


def analyse(
    fn: Callable,
    values: Mapping[str, Any],
    data: Mapping[str, Any],
    labelled=(),
    weights: Mapping[str, Any] | None = None,
) -> Analysis:
    """What reaches each part of each node of ``fn(values, data) -> {node: {part: array}}``.

    Parameters
    ----------
    fn : callable
        Traced abstractly; never run on numbers.
    values : mapping of str to jax.ShapeDtypeStruct
        Constrained latent values by site.
    data : mapping of str to jax.ShapeDtypeStruct or numpy.ndarray
        Data by argument label. Index arrays among them are checked where they are given as arrays.
    labelled : mapping of str to numpy.ndarray, optional
        Codes of the arguments that came as labels.
    weights : mapping of str to jax.ShapeDtypeStruct, optional
        Learned arrays; where there are any, `fn` takes them third.

    Returns
    -------
    Analysis

    Notes
    -----
    Sources are exact up to what the computation names: a product with a literal zero still counts. Axes err
    on the side of ``"mixed"``: every other answer holds for all values of the latents.

    Examples
    --------
    >>> def model(values, data):
    ...     return {"y": {"log_prob": -0.5 * (data["y"] - values["alpha"][data["county"]]) ** 2}}
    >>> county = np.array([0, 1, 1, 2])
    >>> alpha = jax.ShapeDtypeStruct((3,), "float32")
    >>> found = analyse(model, {"alpha": alpha}, {"y": np.ones(4, "float32"), "county": county})
    >>> found.access["y"]["log_prob"]["alpha"].axes
    (AxisAccess(how='gathered', axis=0, label='county'),)
    """
    shapes = {k: jax.ShapeDtypeStruct(np.shape(v), v.dtype) for k, v in data.items()}
    given = {"latent": dict(values), "data": shapes} | ({LEARNED: dict(weights)} if weights else {})
    with looking():
        closed, outputs = jax.make_jaxpr(fn, return_shape=True)(*given.values())
    names = [(kind, k) for kind, arrays in given.items() for k in sorted(arrays)]
    walk = _Walk()
    states = [
        {name: source_state(len(var.aval.shape))}
        for name, var in zip(names, closed.jaxpr.invars, strict=True)
    ]
    numbers = [None if kind == "latent" else walk.number((kind, label)) for kind, label in names]
    found, _ = walk.jaxpr(closed.jaxpr, closed.consts, states, numbers)
    access: dict = {}
    learned: dict = {}
    positions = {name: [i] for i, (kind, name) in enumerate(names) if kind == "data"}
    arrays = {k: v for k, v in data.items() if isinstance(v, np.ndarray)}
    scope = scope_of(closed, positions, arrays)
    known: dict = {}
    paths, _ = jax.tree_util.tree_flatten_with_path(outputs)
    for ((node, part), _), state, var in zip(paths, found, closed.jaxpr.outvars, strict=True):
        reached, learned.setdefault(node.key, {})[part.key] = accesses(state)
        access.setdefault(node.key, {})[part.key] = reached
        if node.key in values and part.key in PARTS and all(kind == "data" for kind, _ in state):
            with suppress(Unknown, RecursionError):
                known.setdefault(node.key, {})[part.key] = scope.value(var)
    problems = index_checks(closed, positions, arrays)
    codes = code_problems(closed, positions, labelled) if labelled else []
    return Analysis(access, problems, tuple(walk.unread), codes, known, learned)


def named(module: str, fn: Callable) -> Callable:
    """A function whose results are known to come through a module, where dependencies are followed."""

    def run(*args):
        return fn(*args)

    run.__name__ = _MODULE + module
    return jax.jit(run)


_MODULE = "er.module "


def module_of(eqn) -> str | None:
    """The module whose call an equation is."""
    name = str(eqn.params.get("name", ""))
    return name.removeprefix(_MODULE) if name.startswith(_MODULE) else None


class _Walk:
    """One pass over a jaxpr; loops and calls are walked where they stand."""

    def __init__(self):
        self._numbers: dict = {}
        self._loops = count(1)
        self.unread: dict[str, None] = {}

    def number(self, key) -> int:
        """A number for a value that no latent reaches: equal keys, equal values."""
        return self._numbers.setdefault(key, len(self._numbers))

    def jaxpr(self, jaxpr, consts, states, numbers) -> tuple[list, list]:
        """States and value numbers of the outputs, given those of the inputs."""
        state = dict(zip(jaxpr.invars, states, strict=True))
        number = dict(zip(jaxpr.invars, numbers, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            state[var], number[var] = {}, self.number(_constant(value))

        def look(var):
            if is_literal(var):
                return {}, self.number(_constant(var.val))
            return state[var], number[var]

        for eqn in jaxpr.eqns:
            found = [look(v) for v in eqn.invars]
            outs, given = self.equation(eqn, [s for s, _ in found], [n for _, n in found])
            for var, s, n in zip(eqn.outvars, outs, given, strict=True):
                state[var], number[var] = s, n
        ends = [look(v) for v in jaxpr.outvars]
        return [s for s, _ in ends], [n for _, n in ends]

    def equation(self, eqn, states, numbers) -> tuple[list, list]:
        """States and value numbers of the outputs of one equation."""
        name = eqn.primitive.name
        inner = called(eqn)
        if inner is not None:
            body, consts = inner
            outs, given = self.jaxpr(body, consts, states, numbers)
            module = module_of(eqn)
            return (outs, given) if module is None else ([through(s, module, states) for s in outs], given)
        if name == "scan":
            outs = self.scan(eqn.params, states, numbers)
        elif name == "while":
            outs = self.loop(eqn.params, states)
        elif name == "cond":
            outs = self.branches(eqn.params["branches"], states, numbers)
        else:
            try:
                outs = rules.apply(eqn, states, numbers)
            except Exception:  # a form of the operation that its rule does not know
                outs = [mixed(states)] * len(eqn.outvars)
                self.unread[name] = None
        if None in numbers:
            return outs, [None] * len(outs)
        made = (name, _settings(eqn), tuple(numbers))
        return outs, [self.number((*made, i)) for i in range(len(outs))]

    def scan(self, params, states, numbers) -> list[dict]:
        """Fixpoint over the carry, component by component; what is scanned over keeps its axis."""
        body, num_consts, num_carry = params["jaxpr"], params["num_consts"], params["num_carry"]
        first = num_consts + num_carry
        step = -next(self._loops)
        here = {("loop", step): Reach(())}
        fixed, carry = states[:num_consts], list(states[num_consts:first])
        scanned = [{**_shift(s, {0: step}, -1), **here} for s in states[first:]]
        inside = numbers[:num_consts] + [
            None if n is None else self.number(("step", step, i)) for i, n in enumerate(numbers[num_consts:])
        ]
        while True:
            for i, c in enumerate(carry):
                # A latent can enter the carry after the first round; it then has no value number.
                if any(kind == "latent" for kind, _ in c):
                    inside[num_consts + i] = None
            start = [{**c, **here} for c in carry]
            outs, _ = self.jaxpr(body.jaxpr, body.consts, [*fixed, *start, *scanned], inside)
            outs = [{k: r for k, r in o.items() if k != ("loop", step)} for o in outs]
            grown = [joined([c, _carried(o, step)]) for c, o in zip(carry, outs, strict=False)]
            if grown == carry:
                return carry + [_shift(o, {step: 0}, 1) for o in outs[num_carry:]]
            carry = grown

    def loop(self, params, states) -> list[dict]:
        """A while loop: sources per component of the carry, axes mixed; the condition reaches them all."""
        num_cond, num_body = params["cond_nconsts"], params["body_nconsts"]
        test, body = params["cond_jaxpr"], params["body_jaxpr"]
        conditions, fixed = states[:num_cond], states[num_cond : num_cond + num_body]
        carry = [mixed([s]) for s in states[num_cond + num_body :]]
        while True:
            ends, _ = self.jaxpr(test.jaxpr, test.consts, [*conditions, *carry], [None] * len(test.in_avals))
            outs, _ = self.jaxpr(body.jaxpr, body.consts, [*fixed, *carry], [None] * len(body.in_avals))
            later = [{k: r._replace(carried=True) for k, r in mixed([o, ends[0]]).items()} for o in outs]
            grown = [mixed([c, o]) for c, o in zip(carry, later, strict=True)]
            if grown == carry:
                return carry
            carry = grown

    def branches(self, branches, states, numbers) -> list[dict]:
        """One of several branches, as the first operand says."""
        ends = [self.jaxpr(b.jaxpr, b.consts, states[1:], numbers[1:])[0] for b in branches]
        return [chosen(states[0], cases) for cases in zip(*ends, strict=True)]


def _shift(state, where, by):
    """Move between a loop's body, whose values lack the scanned axis, and the stacked values outside."""
    ndim = 1 + max(
        (x for r in state.values() for a in r.axes if isinstance(a, One) for x in a.axes if x), default=0
    )
    return route(state, {**{i: i + by for i in range(max(-by, 0), ndim)}, **where})


def _carried(state, step):
    """What the next step sees of a carry: one element per step is a term of what accumulates."""
    return {
        key: Reach(tuple(SUM if isinstance(a, One) and step in a.axes else a for a in r.axes), True, r.via)
        for key, r in state.items()
    }


def _constant(value):
    if isinstance(value, jax.core.Tracer):
        return "const", id(value)
    try:
        array = np.asarray(value)
    except TypeError:
        return "const", id(value)
    if array.size > 100_000 or array.dtype == object:
        return "const", id(value)
    return "const", array.dtype.str, array.shape, array.tobytes()


def _settings(eqn) -> tuple:
    return tuple((k, str(v)) for k, v in sorted(eqn.params.items()))

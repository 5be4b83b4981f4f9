"""Digest of a traced function: its equations, and every constant in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum
from typing import Any

import jax
import numpy as np
from jax.extend import core

from ...fingerprints import array_bytes

# Rules for derivatives: where a derivative is taken they are traced, elsewhere they decide nothing.
_RULES = frozenset({"jvp_jaxpr_fun", "jvp_jaxpr_thunk", "fwd_jaxpr_thunk", "fwd", "bwd", "out_trees"})
_AGAIN = "computation"  # of a reduction: its trace stands beside it
_NAMES = frozenset({"name", "debug_info", "source_info", "metadata", "cost_estimate"})


class Unidentified(Exception):
    """Something in the trace is known by its address only: a function that is called on the host, say."""


def traced(fn: Callable, *args) -> tuple[str, int]:
    """Digest of the trace of `fn` for arguments of these shapes and types, the same in another process, and the numbers in its
    constants, equal ones once.

    Raises
    ------
    Unidentified
    """
    closed = jax.make_jaxpr(lambda *given: fn(*given))(*args)  # a new function: a trace is kept by function
    digest = hashlib.sha256()
    sizes = {}
    for constant in closed.consts:
        own = _constant(constant)
        digest.update(own)
        sizes[hash(own)] = np.size(constant)
    _jaxpr(closed.jaxpr, digest.update)
    return digest.hexdigest(), sum(sizes.values())


def _closed(closed, put) -> None:
    for constant in closed.consts:
        put(_constant(constant))
    _jaxpr(closed.jaxpr, put)


def _constant(value) -> bytes:
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return str(value.dtype).encode() + array_bytes(jax.random.key_data(value))
    try:
        return array_bytes(value)
    except (TypeError, ValueError) as error:
        raise Unidentified(type(value).__name__) from error


def _jaxpr(jaxpr, put) -> None:
    known: dict[Any, int] = {}

    def name(variable) -> bytes:
        return f"{known.setdefault(variable, len(known))}:{variable.aval};".encode()

    def operand(atom) -> bytes:
        if isinstance(atom, core.Literal):
            return b"=" + _constant(atom.val) + str(atom.aval).encode()
        return name(atom)

    for variable in (*jaxpr.constvars, *jaxpr.invars):
        put(name(variable))
    for equation in jaxpr.eqns:
        if "callback" in equation.primitive.name:
            raise Unidentified(equation.primitive.name)
        put(equation.primitive.name.encode())
        for atom in equation.invars:
            put(operand(atom))
        for variable in equation.outvars:
            put(name(variable))
        _parameters(equation.params, put)
    for atom in jaxpr.outvars:
        put(operand(atom))


def _parameters(params, put) -> None:
    """What an equation does beside its operands."""
    for key in sorted(params):
        if key not in _NAMES | _RULES and key != _AGAIN:
            put(key.encode())
            _parameter(params[key], put)


def _parameter(value, put) -> None:
    if isinstance(value, core.ClosedJaxpr):
        _closed(value, put)
    elif isinstance(value, core.Jaxpr):
        _jaxpr(value, put)
    elif isinstance(value, (np.ndarray, jax.Array)):
        put(_constant(value))
    elif isinstance(value, (list, tuple)):
        put(f"{type(value).__name__}{len(value)}".encode())
        for part in value:
            _parameter(part, put)
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            put(str(key).encode())
            _parameter(value[key], put)
    elif isinstance(value, (set, frozenset)):
        put(repr(sorted(map(_words, value))).encode())
    else:
        put(_words(value).encode())


def _words(value) -> str:
    if isinstance(value, (np.dtype, type, Enum)):
        return str(value)
    where = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '<locals>')}"
    if where.startswith(("jax.", "jaxlib.")) and "<locals>" not in where:
        return where
    words = repr(value)
    if " at 0x" in words:
        raise Unidentified(words)
    return words

"""What the networks share: activations, initial weights, linear maps, and the words of their refusals.

References
----------
Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, AISTATS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import math as m
from ..errors import ModelError, ShapeError, explain
from ..thresholds import QUOTED

Arrays = Mapping[str, Any]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: m.maximum(x, 0.0),
    "silu": lambda x: x * m.expit(x),
    "softplus": m.softplus,
    "tanh": m.tanh,
    "sigmoid": m.expit,
    "identity": lambda x: x,
}
"""By the names that a network takes."""


def glorot(rng: np.random.Generator, shape: tuple[int, ...], fan_in: float, fan_out: float) -> np.ndarray:
    """Initial weights: uniform, so that a layer keeps the variance of what goes through it."""
    edge = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-edge, edge, shape)


def linear(arrays: Arrays, name: str, x: Any) -> Any:
    """Rows ``(..., n)`` by a weight ``(k, n)`` and a bias, as ``(..., k)``."""
    weight = arrays[f"{name}.weight"]
    return m.matmul(m.like(x, weight), m.matrix_transpose(weight)) + arrays[f"{name}.bias"]


def prefixed(name: str, arrays: Arrays) -> dict[str, Any]:
    """The arrays of a part, as the whole names them."""
    return {f"{name}.{key}": value for key, value in arrays.items()}


def within(name: str, arrays: Arrays) -> dict[str, Any]:
    """The arrays of a part, as itself names them."""
    return {key[len(name) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{name}.")}


def size_of(what: str, argument: str, value: Any, least: int = 1) -> int:
    """A size as an int.

    Raises
    ------
    ModelError
        If it is no whole number of at least `least`.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        want = "a positive whole number" if least == 1 else f"a whole number of at least {least}"
        got = f"{value!r}"[:QUOTED]
        raise ModelError(explain(f"{argument} of {what}", want, got, f"write {argument}=8, say"))
    return int(value)


def sizes_of(what: str, argument: str, values: Any, least: int = 0) -> tuple[int, ...]:
    """Several sizes as a tuple.

    Raises
    ------
    ModelError
        If they are no list of at least `least` positive whole numbers.
    """
    listed = values if isinstance(values, (list, tuple)) else ()
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in listed)
    if listed is not values or not whole or len(listed) < least:
        want = "a list of positive whole numbers" + (f", {least} at the least" if least else "")
        got = f"{values!r}"[:QUOTED]
        raise ModelError(explain(f"{argument} of {what}", want, got, f"write {argument}=[32, 16], say"))
    return tuple(int(n) for n in listed)


def check_activation(what: str, activation: Any) -> None:
    """Refuse the name of no activation.

    Raises
    ------
    ModelError
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        got = f"{activation!r}"[:QUOTED]
        want = f"one of {sorted(ACTIVATIONS)}"
        raise ModelError(explain(f"activation of {what}", want, got, "choose one of them"))


def check_last(what: str, x: Any, size: int, axes: int = 1) -> None:
    """Refuse rows of another length than a network takes.

    Parameters
    ----------
    what : str
        The network.
    x : array
        Its input.
    size : int
        Numbers of a row, on the last axis.
    axes : int, default 1
        Axes that the input has at the least.

    Raises
    ------
    ShapeError
    """
    shape = tuple(np.shape(x))
    if len(shape) < axes or shape[-1] != size:
        want = f"inputs whose last axis has {size} numbers" + (", after one of time" if axes > 1 else "")
        remedy = "give it that many, or declare the network with what comes in"
        if shape and shape[-1] != size and size == 1:
            remedy = "give a column, as x[:, None], or declare the network with what comes in"
        raise ShapeError(explain(what, want, f"shape {shape}", remedy))


def check_context(what: str, context: Any, size: int) -> None:
    """Refuse a context where none is declared, none where one is, and one of another length.

    Raises
    ------
    ModelError, ShapeError
    """
    if (context is not None) != (size > 0):
        want = f"a context of {size} numbers" if context is None else "a sequence alone"
        got = "none" if context is None else "a context beside it"
        remedy = "call it as net(x, context), with num_context in its declaration"
        raise ModelError(explain(what, want, got, remedy))
    if context is not None:
        check_last(f"context of {what}", context, size)


def check_share(what: str, argument: str, value: Any) -> None:
    """Refuse what is no share below one.

    Raises
    ------
    ModelError
    """
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        got = f"{value!r}"[:QUOTED]
        raise ModelError(
            explain(f"{argument} of {what}", "a share from 0 to below 1", got, f"write {argument}=0.15, say")
        )

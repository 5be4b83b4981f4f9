"""Values of equations on the host, in NumPy: enough for the chains that index arrays go through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class Unknown(Exception):
    """The value depends on a latent or on something that is not evaluated here."""


def evaluate(eqn, operands: list[np.ndarray], position: int = 0) -> np.ndarray:
    """Value of an equation's output: NumPy for the usual chain, else JAX itself."""
    rule = _NUMPY.get(eqn.primitive.name)
    if rule is not None:
        with np.errstate(all="ignore"):
            return np.asarray(rule(eqn, *operands)).astype(eqn.outvars[0].aval.dtype, copy=False)
    try:
        outs = eqn.primitive.bind(*operands, **eqn.params)
    except Exception as error:
        raise Unknown from error
    return np.asarray(outs[position] if eqn.primitive.multiple_results else outs)


def _broadcast(eqn, x, *_):
    shape = [1] * len(eqn.params["shape"])
    for i, d in enumerate(eqn.params["broadcast_dimensions"]):
        shape[d] = x.shape[i]
    return np.broadcast_to(x.reshape(shape), eqn.params["shape"])


def _iota(eqn, *_):
    shape, axis = eqn.outvars[0].aval.shape, eqn.params["dimension"]
    return np.broadcast_to(
        np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape
    )


def _slice(eqn, x):
    p = eqn.params
    strides = p["strides"] or (1,) * x.ndim
    return x[tuple(slice(*s) for s in zip(p["start_indices"], p["limit_indices"], strides, strict=True))]


def _gather(eqn, x, index):
    """``x[index]`` along the first axis; other gathers are left to JAX."""
    numbers = eqn.params["dimension_numbers"]
    plain = numbers.collapsed_slice_dims == (0,) == numbers.start_index_map and x.ndim == 1
    if not plain or index.shape[-1] != 1:
        return eqn.primitive.bind(x, index, **eqn.params)
    return x[np.clip(index[..., 0], 0, x.shape[0] - 1)]


def _ufunc(function):
    return lambda _, *operands: function(*operands)


_NUMPY: dict[str, Callable] = {
    "convert_element_type": lambda _, x: x,
    "copy": lambda _, x: x,
    "stop_gradient": lambda _, x: x,
    "reshape": lambda eqn, x, *_: x.reshape(eqn.outvars[0].aval.shape),
    "squeeze": lambda eqn, x: x.reshape(eqn.outvars[0].aval.shape),
    "transpose": lambda eqn, x: x.transpose(eqn.params["permutation"]),
    "concatenate": lambda eqn, *xs: np.concatenate(xs, eqn.params["dimension"]),
    "select_n": lambda eqn, which, *cases: np.choose(
        np.broadcast_to(which, eqn.outvars[0].aval.shape).astype(int), cases
    ),
    "clamp": lambda _, low, x, high: np.clip(x, low, high),
    "broadcast_in_dim": _broadcast,
    "iota": _iota,
    "slice": _slice,
    "gather": _gather,
    **{
        name: _ufunc(function)
        for name, function in {
            "add": np.add,
            "sub": np.subtract,
            "mul": np.multiply,
            "neg": np.negative,
            "lt": np.less,
            "le": np.less_equal,
            "gt": np.greater,
            "ge": np.greater_equal,
            "eq": np.equal,
            "ne": np.not_equal,
            "max": np.maximum,
            "min": np.minimum,
            "floor": np.floor,
            "ceil": np.ceil,
            "sign": np.sign,
            "abs": np.abs,
        }.items()
    },
}

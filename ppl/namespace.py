"""The functions of ``er.math`` over one library that follows NumPy's names: NumPy itself, or what a backend offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from .errors import ShapeError, explain

__all__ = ["host", "make_namespace"]


@cache
def host() -> Mapping[str, Callable[..., Any]]:
    """The functions over NumPy and SciPy."""
    import scipy.linalg
    import scipy.special

    return make_namespace(np, scipy.special, _batched(scipy.linalg.solve_triangular))


def _batched(solve_triangular: Callable[..., Any]) -> Callable[..., Any]:
    """SciPy's solver over leading axes, which older versions lack."""

    def solve(a, b, lower=False):
        if a.ndim == 2 and b.ndim <= 2:
            return solve_triangular(a, b, lower=lower)
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])
        solved = [solve_triangular(a[i], b[i], lower=lower) for i in np.ndindex(*lead)]
        return np.reshape(np.stack(solved), b.shape)

    return solve


_RENAMED = {
    **{"asinh": "arcsinh", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"},
    **{"concat": "concatenate", "permute_dims": "transpose", "pow": "power"},
}
_PLAIN = (
    *("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "abs", "sign", "floor", "ceil"),
    *("round", "sin", "cos", "tan", "sinh", "cosh", "tanh", "isnan", "isfinite", "maximum", "minimum"),
    *("where", "sum", "prod", "mean", "max", "min", "all", "any", "argmax", "argmin", "stack", "reshape"),
    *("squeeze", "broadcast_to", "flip", "sort", "diff", "take", "matmul", "tensordot", "logaddexp", "outer"),
)
_SPECIAL = (
    *("expit", "logit", "erf", "erfc", "gammaln", "digamma", "ndtr", "log_ndtr", "ndtri"),
    *("xlogy", "xlog1py", "logsumexp", "i0e"),
)


def make_namespace(
    xp: Any, special: Any, solve_triangular: Callable[..., Any]
) -> dict[str, Callable[..., Any]]:
    """Every function of ``er.math`` over a library that follows NumPy's names.

    Parameters
    ----------
    xp : module
        ``numpy`` or one like it.
    special : module
        ``scipy.special`` or one like it.
    solve_triangular : callable
        ``solve_triangular(a, b, lower=False)``, batched.
    """
    functions = {name: getattr(xp, name) for name in _PLAIN}
    functions |= {name: getattr(xp, theirs) for name, theirs in _RENAMED.items()}
    functions |= _stirling(xp, special.gammaln) | {name: getattr(special, name) for name in _SPECIAL}
    functions |= {name: getattr(xp.linalg, name) for name in ("cholesky", "solve", "inv", "det", "slogdet")}

    def log_softmax(x, axis=-1):
        x = xp.asarray(x)
        return x - special.logsumexp(x, axis=axis, keepdims=True)

    def cumulative_sum(x, axis=None):
        if axis is None and np.ndim(x) != 1:
            raise ShapeError(
                explain(
                    "er.math.cumulative_sum", "an axis", f"{np.ndim(x)} axes and none named", "give axis="
                )
            )
        return xp.cumsum(xp.asarray(x), axis=axis)

    def log1mexp(x):
        x = xp.asarray(x)
        positive, small = x > 0, x < np.log(2.0)
        low = xp.where(positive & small, x, 1.0)
        high = xp.where(small, 1.0, x)
        inside = xp.where(small, xp.log(-xp.expm1(-low)), xp.log1p(-xp.exp(-high)))
        return xp.where(positive, inside, -np.inf)

    def like(x, other):
        dtype = getattr(other, "dtype", None)
        floating = dtype is not None and np.issubdtype(dtype, np.floating)
        return xp.asarray(x, dtype=dtype if floating else xp.result_type(float))

    functions |= {
        "log_softmax": log_softmax,
        "log1mexp": log1mexp,
        "iterate": _iterate,
        "scan": lambda step, state, inputs: _scan(step, state, inputs, xp.stack),
        "moveaxis": lambda x, source, destination: xp.moveaxis(x, source, destination),
        "like": like,
        "softmax": lambda x, axis=-1: xp.exp(log_softmax(x, axis)),
        "softplus": lambda x: xp.logaddexp(x, 0.0),
        "cumulative_sum": cumulative_sum,
        "clip": lambda x, low=None, high=None: xp.clip(x, low, high),
        "expand_dims": lambda x, axis=0: xp.expand_dims(x, axis),
        "matrix_transpose": lambda x: xp.swapaxes(xp.asarray(x), -1, -2),
        "vecdot": lambda x, y, axis=-1: xp.sum(xp.multiply(x, y), axis=axis),
        "diagonal": lambda x: xp.diagonal(xp.asarray(x), axis1=-2, axis2=-1),
        "trace": lambda x: xp.trace(xp.asarray(x), axis1=-2, axis2=-1),
        "solve_triangular": lambda a, b, lower=True: solve_triangular(
            xp.asarray(a), xp.asarray(b), lower=lower
        ),
        "var": lambda x, axis=None, correction=0.0, keepdims=False: xp.var(
            x, axis=axis, ddof=correction, keepdims=keepdims
        ),
        "std": lambda x, axis=None, correction=0.0, keepdims=False: xp.std(
            x, axis=axis, ddof=correction, keepdims=keepdims
        ),
    }
    return functions


def _stirling(xp: Any, gammaln: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """``stirling_error``, and ``log_rising`` and ``betaln`` by it: a library's own lose the digits of large arguments."""

    def stirling_error(x):
        inverse = 1.0 / (x * x)
        series = -1 / 360 + inverse * (1 / 1260 + inverse * (-1 / 1680 + inverse / 1188))
        return (1 / 12 + inverse * series) / x

    def log_rising(x, steps):
        large = x >= 10.0
        start = xp.where(large, x, 10.0)  # from 10 on the series is exact to rounding
        smooth = (start - 0.5) * xp.log1p(steps / start) + steps * xp.log(start + steps) - steps
        series = smooth + stirling_error(start + steps) - stirling_error(start)
        return xp.where(large, series, gammaln(x + steps) - gammaln(x))

    def betaln(a, b):
        small, large = xp.minimum(a, b), xp.maximum(a, b)
        return gammaln(small) - log_rising(large, small)

    return {"stirling_error": stirling_error, "log_rising": log_rising, "betaln": betaln}


def _iterate(step: Callable[..., Any], state: Any, num_steps: int) -> Any:
    for _ in range(num_steps):
        state = step(*state)
    return state


def _scan(step: Callable[..., Any], state: Any, inputs: Any, stack: Callable[..., Any]) -> tuple[Any, Any]:
    outputs = []
    for i in range(len(inputs[0] if isinstance(inputs, tuple) else inputs)):
        state, output = step(
            state, tuple(item[i] for item in inputs) if isinstance(inputs, tuple) else inputs[i]
        )
        outputs.append(output)
    return state, stack(outputs)

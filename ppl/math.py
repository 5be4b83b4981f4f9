"""``er.math``: functions that follow their operands, so that a model is written once.

With host data (numbers, lists, NumPy, pandas, xarray) they compute with NumPy and SciPy and return NumPy; as
soon as one operand belongs to a backend they compute there. Names are those of the Python array API, plus the
words of statistics. Functions that create arrays return those of the library that is running the model, and
NumPy outside of one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from .errors import ModelError, ShapeError, explain
from .primitives import running_array

_BACKENDS = {"jax": "jax", "jaxlib": "jax", "torch": "torch"}
"""Root module of an operand's class to the backend folder whose namespace computes with it."""

pi, e, inf, nan = np.pi, np.e, np.inf, np.nan


def _backends_of(operands: Any, found: set[str]) -> None:
    for operand in operands:
        if isinstance(operand, (list, tuple)):
            _backends_of(operand, found)
        elif not isinstance(operand, (int, float, np.ndarray, np.generic)):
            for cls in type(operand).__mro__:
                backend = _BACKENDS.get(cls.__module__.partition(".")[0])
                if backend is not None:
                    found.add(backend)
                    break


def namespace(*operands: Any) -> Mapping[str, Callable[..., Any]]:
    """The functions, by name, that compute with these operands.

    Raises
    ------
    ModelError
        If they belong to different backends.
    """
    found: set[str] = set()
    _backends_of(operands, found)
    if len(found) > 1:
        raise ModelError(
            explain("er.math", "operands of one backend", " and ".join(sorted(found)), "convert one of them")
        )
    if not found:
        return _host()
    return importlib.import_module(f".backends.{found.pop()}.namespace", __package__).FUNCTIONS


@cache
def _host() -> Mapping[str, Callable[..., Any]]:
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
    **{"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"},
    **{"concat": "concatenate", "permute_dims": "transpose", "pow": "power"},
}
_PLAIN = (
    *("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "abs", "sign", "floor", "ceil"),
    *("round", "sin", "cos", "tan", "sinh", "cosh", "tanh", "isnan", "isfinite", "maximum", "minimum"),
    *("where", "sum", "prod", "mean", "max", "min", "all", "any", "argmax", "argmin", "stack", "reshape"),
    *("squeeze", "broadcast_to", "flip", "sort", "diff", "take", "matmul", "tensordot", "logaddexp", "outer"),
)
_SPECIAL = (
    *("expit", "logit", "erf", "erfc", "gammaln", "digamma", "betaln", "ndtr", "log_ndtr", "ndtri"),
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
    functions |= {name: getattr(special, name) for name in _SPECIAL}
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


def _array(operand: Any, functions: Mapping[str, Callable[..., Any]]) -> Any:
    """An operand as every library takes it: lists, pandas and xarray become arrays."""
    if isinstance(operand, list):
        if functions is _host():
            return np.asarray(operand)
        return functions["stack"]([_array(item, functions) for item in operand])
    foreign = type(operand).__module__.partition(".")[0] in ("pandas", "xarray")
    return np.asarray(operand) if foreign else operand


def _word(name: str, summary: str) -> Callable[..., Any]:
    joins = name in ("concat", "stack")

    def function(*args: Any, **kwargs: Any) -> Any:
        functions = namespace(*args, *kwargs.values())
        if joins:
            arrays, *rest = args
            args = ([_array(item, functions) for item in arrays], *rest)
        else:
            args = tuple(_array(item, functions) for item in args)
        return functions[name](*args, **{key: _array(value, functions) for key, value in kwargs.items()})

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return function


exp = _word("exp", "``exp(x)``, elementwise.")
expm1 = _word("expm1", "``exp(x) - 1``, accurate near zero.")
log = _word("log", "Natural logarithm, elementwise.")
log1p = _word("log1p", "``log(1 + x)``, accurate near zero.")
log2 = _word("log2", "Logarithm to base 2.")
log10 = _word("log10", "Logarithm to base 10.")
sqrt = _word("sqrt", "Square root, elementwise.")
square = _word("square", "``x * x``, elementwise.")
abs = _word("abs", "Absolute value, elementwise.")
sign = _word("sign", "Sign: -1, 0 or 1.")
floor = _word("floor", "Largest whole number that is not larger.")
ceil = _word("ceil", "Smallest whole number that is not smaller.")
round = _word("round", "Nearest whole number, halves to even.")
sin = _word("sin", "Sine, elementwise.")
cos = _word("cos", "Cosine, elementwise.")
tan = _word("tan", "Tangent, elementwise.")
asin = _word("asin", "Inverse sine.")
acos = _word("acos", "Inverse cosine.")
atan = _word("atan", "Inverse tangent.")
atan2 = _word("atan2", "``atan2(y, x)``: angle of the point (x, y).")
sinh = _word("sinh", "Hyperbolic sine.")
cosh = _word("cosh", "Hyperbolic cosine.")
tanh = _word("tanh", "Hyperbolic tangent.")
isnan = _word("isnan", "Whether each element is NaN.")
isfinite = _word("isfinite", "Whether each element is finite.")
pow = _word("pow", "``pow(x, y)``: x to the power y.")
maximum = _word("maximum", "``maximum(x, y)``: the larger of two, elementwise.")
minimum = _word("minimum", "``minimum(x, y)``: the smaller of two, elementwise.")
clip = _word("clip", "``clip(x, low, high)``: x held between two bounds, either of which may be None.")
where = _word("where", "``where(condition, x, y)``: x where the condition holds, else y.")

sum = _word("sum", "``sum(x, axis=None, keepdims=False)``.")
prod = _word("prod", "``prod(x, axis=None, keepdims=False)``: product.")
mean = _word("mean", "``mean(x, axis=None, keepdims=False)``.")
var = _word("var", "``var(x, axis=None, correction=0.0, keepdims=False)``: variance.")
std = _word("std", "``std(x, axis=None, correction=0.0, keepdims=False)``: standard deviation.")
max = _word("max", "``max(x, axis=None, keepdims=False)``.")
min = _word("min", "``min(x, axis=None, keepdims=False)``.")
all = _word("all", "``all(x, axis=None, keepdims=False)``.")
any = _word("any", "``any(x, axis=None, keepdims=False)``.")
argmax = _word("argmax", "``argmax(x, axis=None)``: position of the largest element.")
argmin = _word("argmin", "``argmin(x, axis=None)``: position of the smallest element.")
cumulative_sum = _word(
    "cumulative_sum", "``cumulative_sum(x, axis=None)``; axis may be left out for a vector."
)

concat = _word("concat", "``concat(arrays, axis=0)``: join along an axis.")
stack = _word("stack", "``stack(arrays, axis=0)``: join along a new axis.")
reshape = _word("reshape", "``reshape(x, shape)``.")
expand_dims = _word("expand_dims", "``expand_dims(x, axis=0)``: insert an axis of length one.")
squeeze = _word("squeeze", "``squeeze(x, axis)``: drop an axis of length one.")
broadcast_to = _word("broadcast_to", "``broadcast_to(x, shape)``.")
permute_dims = _word("permute_dims", "``permute_dims(x, axes)``: reorder axes.")
moveaxis = _word("moveaxis", "``moveaxis(x, source, destination)``: one axis to another place.")
matrix_transpose = _word("matrix_transpose", "Swap the last two axes.")
flip = _word("flip", "``flip(x, axis=None)``: reverse the order.")
sort = _word("sort", "``sort(x, axis=-1)``: increasing order.")
diff = _word("diff", "``diff(x, axis=-1)``: differences of neighbours.")
take = _word("take", "``take(x, indices, axis=None)``: elements by zero-based position.")
matmul = _word("matmul", "``matmul(x, y)``: matrix product, as ``x @ y``.")
tensordot = _word("tensordot", "``tensordot(x, y, axes=2)``: contraction over axes.")
vecdot = _word("vecdot", "``vecdot(x, y, axis=-1)``: inner products along an axis.")

logsumexp = _word("logsumexp", "``logsumexp(x, axis=None, keepdims=False)``: log of the sum of exponentials.")
logaddexp = _word("logaddexp", "``logaddexp(x, y)``: ``log(exp(x) + exp(y))``.")
softmax = _word("softmax", "``softmax(x, axis=-1)``: exponentials that sum to one.")
log_softmax = _word("log_softmax", "``log_softmax(x, axis=-1)``: logarithm of softmax.")
expit = _word("expit", "``1 / (1 + exp(-x))``.")
sigmoid = _word("expit", "``1 / (1 + exp(-x))``.")
logit = _word("logit", "``log(p / (1 - p))``.")
softplus = _word("softplus", "``log(1 + exp(x))``.")
erf = _word("erf", "Error function.")
erfc = _word("erfc", "``1 - erf(x)``, accurate for large x.")
gammaln = _word("gammaln", "Logarithm of the gamma function's absolute value.")
lgamma = _word("gammaln", "Logarithm of the gamma function's absolute value.")
digamma = _word("digamma", "Derivative of gammaln.")
betaln = _word("betaln", "``betaln(a, b)``: logarithm of the beta function.")
ndtr = _word("ndtr", "Distribution function of the standard normal law.")
log_ndtr = _word("log_ndtr", "Its logarithm, accurate far out.")
ndtri = _word("ndtri", "Quantile function of the standard normal law.")
i0e = _word("i0e", "``exp(-x) I_0(x)`` for positive x, with the modified Bessel function of order zero.")
xlogy = _word("xlogy", "``x * log(y)``, zero where x is zero.")
xlog1py = _word("xlog1py", "``x * log(1 + y)``, zero where x is zero.")
log1mexp = _word("log1mexp", "``log(1 - exp(-x))`` for positive x, accurate at both ends.")

iterate = _word(
    "iterate",
    "``iterate(step, state, num_steps)``: apply ``state = step(*state)``, a tuple of arrays, so often.",
)
scan = _word(
    "scan",
    "``scan(step, state, inputs)``: apply ``state, output = step(state, input)`` along the first axis of inputs "
    "(an array or a tuple of them); the last state and the outputs, stacked.",
)
like = _word(
    "like", "``like(x, other)``: x as a floating-point array of the library, precision and device of other."
)


def log_rising(x: Any, steps: Any) -> Any:
    """``gammaln(x + steps) - gammaln(x)`` without the cancellation of two large numbers."""
    x, steps = _floating(x, steps)
    large = x >= 10.0
    start = where(large, x, 10.0)
    smooth = (start - 0.5) * log1p(steps / start) + steps * log(start + steps) - steps
    series = smooth + stirling_error(start + steps) - stirling_error(start)
    return where(large, series, gammaln(x + steps) - gammaln(x))


def stirling_error(x: Any) -> Any:
    """``gammaln(x) - ((x - 1/2) log x - x + log(2 pi) / 2)`` for x of at least 10."""
    inverse = 1.0 / (x * x)
    return (1 / 12 + inverse * (-1 / 360 + inverse * (1 / 1260 + inverse * (-1 / 1680 + inverse / 1188)))) / x


def gammainc(a: Any, x: Any) -> Any:
    """Regularised lower incomplete gamma function P(a, x), differentiable in both arguments."""
    return exp(log_gammainc(a, x))


def gammaincc(a: Any, x: Any) -> Any:
    """Regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return exp(log_gammaincc(a, x))


def betainc(a: Any, b: Any, x: Any) -> Any:
    """Regularised incomplete beta function I_x(a, b), differentiable in all arguments."""
    return exp(log_betainc(a, b, x))


def log_gammainc(a: Any, x: Any) -> Any:
    """Logarithm of `gammainc`, accurate far out."""
    from .distributions.incomplete import log_gamma_tails

    return log_gamma_tails(*_floating(a, x))[0]


def log_gammaincc(a: Any, x: Any) -> Any:
    """Logarithm of `gammaincc`, accurate far out."""
    from .distributions.incomplete import log_gamma_tails

    return log_gamma_tails(*_floating(a, x))[1]


def log_betainc(a: Any, b: Any, x: Any) -> Any:
    """Logarithm of `betainc`, accurate far out; x strictly between 0 and 1."""
    from .distributions.incomplete import log_beta_tails

    a, b, x = _floating(a, b, x)
    return log_beta_tails(a, b, log(x), log1p(-x))[0]


def log_bessel_i(order: Any, x: Any) -> Any:
    """Logarithm of the modified Bessel function of the first kind, of any order that is not negative; x positive."""
    from .distributions import bessel

    return bessel.log_bessel_i(*_floating(order, x))


def _floating(*operands: Any) -> list[Any]:
    """Operands as floating-point arrays of the library that one of them belongs to."""
    functions = namespace(*operands)
    first = next((o for o in operands if namespace(o) is functions and hasattr(o, "dtype")), operands[0])
    return [functions["like"](_array(o, functions), first) for o in operands]


linalg = SimpleNamespace(
    cholesky=_word("cholesky", "Lower Cholesky factor of a symmetric positive definite matrix."),
    solve=_word("solve", "``solve(a, b)``: x with ``a @ x = b``; b a vector, or a stack of matrices."),
    solve_triangular=_word(
        "solve_triangular", "``solve_triangular(a, b, lower=True)``: x with ``a @ x = b`` for triangular a."
    ),
    inv=_word("inv", "Inverse matrix."),
    det=_word("det", "Determinant."),
    slogdet=_word("slogdet", "Sign and logarithm of the determinant."),
    diagonal=_word("diagonal", "Diagonal of the last two axes."),
    outer=_word("outer", "Outer product of two vectors."),
    trace=_word("trace", "Sum of the diagonal of the last two axes."),
)
"""Linear algebra on the last two axes."""


def zeros(shape: Any) -> Any:
    """Array of zeros."""
    return running_array(np.zeros(shape))


def ones(shape: Any) -> Any:
    """Array of ones."""
    return running_array(np.ones(shape))


def full(shape: Any, fill_value: float) -> Any:
    """Array of one value."""
    return running_array(np.full(shape, fill_value))


def eye(n_rows: int, n_cols: int | None = None) -> Any:
    """Identity matrix."""
    return running_array(np.eye(n_rows, n_cols))


def arange(start: Any, stop: Any = None, step: Any = 1) -> Any:
    """Array of evenly spaced numbers; ``arange(n)`` counts from zero."""
    return running_array(np.arange(start, step=step) if stop is None else np.arange(start, stop, step))


def linspace(start: float, stop: float, num: int) -> Any:
    """Array of `num` numbers from `start` to `stop`, both included."""
    return running_array(np.linspace(start, stop, num))


def asarray(value: Any) -> Any:
    """`value` as an array that stands beside latent quantities in any operator, on every backend."""
    return running_array(np.asarray(value)) if namespace(value) is _host() else value

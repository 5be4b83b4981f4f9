"""Functions that follow their operands: of NumPy for host data, of a backend as soon as one operand is of it.

Under these stand the special functions (`incomplete`, `bessel`), the densities of laws and ``er.math``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from .errors import ModelError, explain
from .namespace import host

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

    Examples
    --------
    >>> float(namespace([1.0, 2.0])["logaddexp"](0.0, 0.0)) == float(np.log(2))
    True
    """
    found: set[str] = set()
    _backends_of(operands, found)
    if len(found) > 1:
        raise ModelError(
            explain("er.math", "operands of one backend", " and ".join(sorted(found)), "convert one of them")
        )
    if not found:
        return host()
    return importlib.import_module(f".backends.{found.pop()}.namespace", __package__).FUNCTIONS


def as_array(operand: Any, functions: Mapping[str, Callable[..., Any]]) -> Any:
    """An operand as every library takes it: lists, pandas and xarray become arrays."""
    if isinstance(operand, list):
        if functions is host():
            return np.asarray(operand)
        return functions["stack"]([as_array(item, functions) for item in operand])
    foreign = type(operand).__module__.partition(".")[0] in ("pandas", "xarray")
    return np.asarray(operand) if foreign else operand


def _word(name: str, summary: str) -> Callable[..., Any]:
    joins = name in ("concat", "stack")

    def function(*args: Any, **kwargs: Any) -> Any:
        functions = namespace(*args, *kwargs.values())
        if joins:
            arrays, *rest = args
            args = ([as_array(item, functions) for item in arrays], *rest)
        else:
            args = tuple(as_array(item, functions) for item in args)
        return functions[name](*args, **{key: as_array(value, functions) for key, value in kwargs.items()})

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
asinh = _word("asinh", "Inverse hyperbolic sine.")
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


stirling_error = _word(
    "stirling_error", "``gammaln(x) - ((x - 1/2) log x - x + log(2 pi) / 2)`` for x of at least 10."
)


def log_rising(x: Any, steps: Any) -> Any:
    """``gammaln(x + steps) - gammaln(x)`` without the cancellation of two large numbers."""
    return namespace(x, steps)["log_rising"](*floating(x, steps))


def floating(*operands: Any) -> list[Any]:
    """Operands as floating-point arrays of the library that one of them belongs to."""
    functions = namespace(*operands)
    first = next((o for o in operands if namespace(o) is functions and hasattr(o, "dtype")), operands[0])
    return [functions["like"](as_array(o, functions), first) for o in operands]


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

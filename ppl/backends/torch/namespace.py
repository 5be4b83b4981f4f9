"""The functions of ``er.math`` over PyTorch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from ...namespace import make_namespace


def _tensors(*operands):
    """Operands as tensors; floats take the precision of the tensors among them, numbers stay numbers."""
    known = [x for x in operands if isinstance(x, torch.Tensor)]
    floats = [x.dtype for x in known if x.dtype.is_floating_point]
    device = known[0].device if known else None
    out = []
    for x in operands:
        if x is None or isinstance(x, torch.Tensor):
            out.append(x)
            continue
        x = np.asarray(x)
        tensor = torch.as_tensor(np.array(x), device=device)
        if tensor.dtype.is_floating_point and floats:
            tensor = tensor.to(floats[0])
        out.append(tensor)
    return out


def asarray(x, dtype=None):
    """A tensor; lists of tensors are stacked."""
    if isinstance(x, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in x):
        x = torch.stack(_tensors(*x))
    (x,) = _tensors(x)
    return x if dtype is None else x.to(dtype)


def _floating(x):
    x = asarray(x)
    return x if x.dtype.is_floating_point else x.to(torch.float64)


def _unary(function, floating=True):
    return lambda x: function(_floating(x) if floating else asarray(x))


def _binary(function):
    def call(x, y):
        x, y = _tensors(x, y)
        return function(x, y)

    return call


def _floating_binary(function):
    def call(x, y):
        x, y = _tensors(x, y)
        kind = torch.promote_types(x.dtype, y.dtype)
        kind = kind if kind.is_floating_point else torch.float64
        return function(x.to(kind), y.to(kind))

    return call


def _matmul(x, y):
    """As NumPy's: of the type that both operands fit in."""
    x, y = _tensors(x, y)
    kind = torch.promote_types(x.dtype, y.dtype)
    return torch.matmul(x.to(kind), y.to(kind))


def _axes(axis):
    return tuple(axis) if isinstance(axis, (tuple, list)) else axis


def _reduce(function, floating=False):
    def call(x, axis=None, keepdims=False):
        x = _floating(x) if floating else asarray(x)
        if axis is None:
            axis = tuple(range(x.ndim))
        if axis == () or x.ndim == 0:
            return x
        return function(x, dim=_axes(axis), keepdim=keepdims)

    return call


def _prod(x, axis=None, keepdims=False):
    x = asarray(x)
    return x.prod() if axis is None else x.prod(dim=axis, keepdim=keepdims)


def _logical(name):
    def call(x, axis=None, keepdims=False):
        x = asarray(x)
        return getattr(x, name)() if axis is None else getattr(x, name)(dim=axis, keepdim=keepdims)

    return call


def _arg(name):
    def call(x, axis=None):
        return getattr(torch, name)(asarray(x), dim=axis)

    return call


def _var(x, axis=None, ddof=0.0, keepdims=False):
    return torch.var(_floating(x), dim=_axes(axis), correction=ddof, keepdim=keepdims)


def _clip(x, low=None, high=None):
    x, low, high = _tensors(x, low, high)
    return x if low is None and high is None else torch.clamp(x, low, high)


def _where(condition, x, y):
    condition, x, y = _tensors(condition, x, y)
    return torch.where(condition.bool(), x, y)


def _logsumexp(x, axis=None, keepdims=False):
    x = _floating(x)
    axis = tuple(range(x.ndim)) if axis is None else axis
    return torch.logsumexp(x, dim=axis, keepdim=keepdims)


def _take(x, indices, axis=None):
    (x,) = _tensors(x)
    indices = asarray(indices).long()
    if axis is None:
        return x.reshape(-1)[indices]
    axis = axis % x.ndim
    return x[(slice(None),) * axis + (indices,)]


def _transpose(x, axes=None):
    x = asarray(x)
    return x.permute(*(axes if axes is not None else range(x.ndim - 1, -1, -1)))


def _squeeze(x, axis=None):
    return asarray(x).squeeze() if axis is None else asarray(x).squeeze(axis)


def _flip(x, axis=None):
    x = asarray(x)
    axis = tuple(range(x.ndim)) if axis is None else axis
    return torch.flip(x, axis if isinstance(axis, tuple) else (axis,))


def _joined(function):
    return lambda arrays, axis=0: function([_floating_like(arrays, a) for a in _tensors(*arrays)], dim=axis)


def _floating_like(arrays, tensor):
    kinds = [a.dtype for a in arrays if isinstance(a, torch.Tensor) and a.dtype.is_floating_point]
    return tensor.to(kinds[0]) if kinds else tensor


def _tensordot(x, y, axes=2):
    x, y = _tensors(x, y)
    return torch.tensordot(x, y, dims=axes)


def _slogdet(x):
    sign, value = torch.linalg.slogdet(_floating(x))
    return sign, value


def _solve(a, b, lower=False):
    a, b = _tensors(a, b)
    vector = b.ndim == 1
    found = torch.linalg.solve_triangular(a, b.unsqueeze(-1) if vector else b, upper=not lower)
    return found.squeeze(-1) if vector else found


def _linear_solve(a, b):
    a, b = _tensors(a, b)
    return torch.linalg.solve(a, b)


def log_ndtr(x):
    """Logarithm of the normal distribution function; its gradient stays finite far out."""
    x = _floating(x)
    low, high = torch.where(x < -1.0, x, -1.0), torch.where(x < -1.0, 0.0, x)
    tail = torch.log(torch.special.erfcx(-low / np.sqrt(2)) / 2) - low * low / 2
    return torch.where(x < -1.0, tail, torch.log1p(-torch.special.erfc(high / np.sqrt(2)) / 2))


def _xlogy(x, y):
    x, y = _tensors(x, y)
    zero = x == 0
    return torch.where(zero, 0.0, x * torch.log(torch.where(zero, torch.ones_like(_floating(y)), y)))


def _xlog1py(x, y):
    x, y = _tensors(x, y)
    zero = x == 0
    return torch.where(zero, 0.0, x * torch.log1p(torch.where(zero, torch.zeros_like(_floating(y)), y)))


def _floating_dtype(dtype):
    return isinstance(dtype, torch.dtype) and dtype.is_floating_point


def _like(x, other):
    kind = getattr(other, "dtype", None)
    kind = kind if _floating_dtype(kind) else torch.float64
    device = other.device if isinstance(other, torch.Tensor) else None
    return asarray(x).to(device=device, dtype=kind)


def _scan(step, state, inputs):
    outputs = []
    for i in range(len(inputs[0] if isinstance(inputs, tuple) else inputs)):
        item = tuple(x[i] for x in inputs) if isinstance(inputs, tuple) else inputs[i]
        state, output = step(state, item)
        outputs.append(output)
    return state, torch.stack(outputs)


_XP = SimpleNamespace(
    **{
        name: _unary(getattr(torch, name))
        for name in (
            *(
                "exp",
                "expm1",
                "log",
                "log1p",
                "log2",
                "log10",
                "sqrt",
                "floor",
                "ceil",
                "round",
                "sin",
                "cos",
            ),
            *("tan", "sinh", "cosh", "tanh", "arcsinh", "arcsin", "arccos", "arctan"),
        )
    },
    **{name: _unary(getattr(torch, name), False) for name in ("square", "abs", "sign", "isnan", "isfinite")},
    **{name: _floating_binary(getattr(torch, name)) for name in ("logaddexp", "arctan2")},
    **{name: _binary(getattr(torch, name)) for name in ("maximum", "minimum", "outer", "multiply")},
    matmul=_matmul,
    power=_binary(torch.pow),
    where=_where,
    sum=_reduce(torch.sum),
    mean=_reduce(torch.mean, True),
    max=_reduce(torch.amax),
    min=_reduce(torch.amin),
    prod=_prod,
    all=_logical("all"),
    any=_logical("any"),
    argmax=_arg("argmax"),
    argmin=_arg("argmin"),
    var=_var,
    std=lambda *args, **kwargs: torch.sqrt(_var(*args, **kwargs)),
    concatenate=_joined(torch.cat),
    stack=_joined(torch.stack),
    reshape=lambda x, shape: asarray(x).reshape(shape),
    squeeze=_squeeze,
    expand_dims=lambda x, axis=0: asarray(x).unsqueeze(axis),
    broadcast_to=lambda x, shape: asarray(x).broadcast_to(tuple(shape)),
    transpose=_transpose,
    swapaxes=lambda x, a, b: asarray(x).swapaxes(a, b),
    moveaxis=lambda x, source, destination: torch.movedim(asarray(x), source, destination),
    flip=_flip,
    sort=lambda x, axis=-1: torch.sort(asarray(x), dim=axis).values,
    diff=lambda x, axis=-1: torch.diff(asarray(x), dim=axis),
    take=_take,
    tensordot=_tensordot,
    clip=_clip,
    cumsum=lambda x, axis=None: torch.cumsum(asarray(x), dim=0 if axis is None else axis),
    diagonal=lambda x, axis1=-2, axis2=-1: torch.diagonal(asarray(x), dim1=axis1, dim2=axis2),
    trace=lambda x, axis1=-2, axis2=-1: torch.diagonal(asarray(x), dim1=axis1, dim2=axis2).sum(-1),
    asarray=asarray,
    result_type=lambda *_: torch.float64,
    linalg=SimpleNamespace(
        cholesky=_unary(torch.linalg.cholesky),
        solve=_linear_solve,
        inv=_unary(torch.linalg.inv),
        det=_unary(torch.linalg.det),
        slogdet=_slogdet,
    ),
)
_SPECIAL = SimpleNamespace(
    expit=_unary(torch.sigmoid),
    logit=_unary(torch.logit),
    erf=_unary(torch.erf),
    erfc=_unary(torch.erfc),
    gammaln=_unary(torch.lgamma),
    digamma=_unary(torch.digamma),
    ndtr=lambda x: torch.exp(log_ndtr(x)),
    log_ndtr=log_ndtr,
    ndtri=_unary(torch.special.ndtri),
    xlogy=_xlogy,
    xlog1py=_xlog1py,
    logsumexp=_logsumexp,
    i0e=_unary(torch.special.i0e),
)

FUNCTIONS = make_namespace(_XP, _SPECIAL, _solve) | {"like": _like, "scan": _scan}

"""``er.math`` follows its operands: NumPy for host data, JAX as soon as one operand is JAX's."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.special
import xarray as xr
from elboroom.ppl import math as m
from elboroom.ppl.errors import ModelError, ShapeError

UNIT = np.array([[0.1, 0.5, 0.9], [0.2, 0.3, 0.7]])
SPREAD = np.array([[-30.0, -1.0, 0.5], [0.0, 2.0, 30.0]])
SQUARE = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])

# word: (operands, an independent answer, or None where NumPy's own function of that name is the answer)
ROWS = {
    "exp": ((UNIT,), None),
    "expm1": ((UNIT,), None),
    "log": ((UNIT,), None),
    "log1p": ((UNIT,), None),
    "log2": ((UNIT,), None),
    "log10": ((UNIT,), None),
    "sqrt": ((UNIT,), None),
    "square": ((SPREAD,), None),
    "abs": ((SPREAD,), None),
    "sign": ((SPREAD,), None),
    "floor": ((UNIT * 7,), None),
    "ceil": ((UNIT * 7,), None),
    "round": ((UNIT * 7,), None),
    "sin": ((UNIT,), None),
    "cos": ((UNIT,), None),
    "tan": ((UNIT,), None),
    "asin": ((UNIT,), np.arcsin(UNIT)),
    "acos": ((UNIT,), np.arccos(UNIT)),
    "atan": ((SPREAD,), np.arctan(SPREAD)),
    "atan2": ((SPREAD, UNIT), np.arctan2(SPREAD, UNIT)),
    "sinh": ((UNIT,), None),
    "cosh": ((UNIT,), None),
    "asinh": ((SPREAD,), np.arcsinh(SPREAD)),
    "tanh": ((UNIT,), None),
    "isnan": ((UNIT,), None),
    "isfinite": ((UNIT,), None),
    "pow": ((UNIT, 3.0), UNIT**3),
    "maximum": ((SPREAD, UNIT), None),
    "minimum": ((SPREAD, UNIT), None),
    "clip": ((SPREAD, -1.0, None), np.maximum(SPREAD, -1.0)),
    "where": ((SPREAD > 0, SPREAD, UNIT), None),
    "sum": ((UNIT, 1), None),
    "prod": ((UNIT, 1), None),
    "mean": ((UNIT, 0), None),
    "var": ((UNIT, 1, 1.0), UNIT.var(axis=1, ddof=1)),
    "std": ((UNIT,), UNIT.std()),
    "max": ((UNIT, 1), None),
    "min": ((UNIT, 1), None),
    "all": ((SPREAD > -40, 1), None),
    "any": ((SPREAD > 0, 1), None),
    "argmax": ((UNIT, 1), None),
    "argmin": ((UNIT, 1), None),
    "cumulative_sum": ((UNIT, 1), UNIT.cumsum(1)),
    "reshape": ((UNIT, (3, 2)), None),
    "expand_dims": ((UNIT, 1), None),
    "squeeze": ((UNIT[None], 0), None),
    "broadcast_to": ((UNIT, (4, 2, 3)), None),
    "permute_dims": ((UNIT, (1, 0)), UNIT.T),
    "matrix_transpose": ((UNIT,), UNIT.T),
    "flip": ((UNIT, 0), None),
    "sort": ((SPREAD,), None),
    "diff": ((SPREAD,), None),
    "take": ((UNIT, np.array([2, 0]), 1), UNIT[:, [2, 0]]),
    "matmul": ((UNIT, SQUARE), UNIT @ SQUARE),
    "tensordot": ((UNIT, SQUARE, 1), UNIT @ SQUARE),
    "vecdot": ((UNIT, SPREAD), (UNIT * SPREAD).sum(-1)),
    "logsumexp": ((SPREAD, 1), np.log(np.exp(SPREAD).sum(1))),
    "logaddexp": ((SPREAD, UNIT), None),
    "softmax": ((SPREAD,), scipy.special.softmax(SPREAD, axis=-1)),
    "log_softmax": ((SPREAD, 0), scipy.special.log_softmax(SPREAD, axis=0)),
    "expit": ((SPREAD,), 1 / (1 + np.exp(-SPREAD))),
    "sigmoid": ((SPREAD,), 1 / (1 + np.exp(-SPREAD))),
    "logit": ((UNIT,), np.log(UNIT / (1 - UNIT))),
    "softplus": ((SPREAD,), np.log1p(np.exp(SPREAD))),
    "erf": ((UNIT,), scipy.special.erf(UNIT)),
    "erfc": ((UNIT * 6,), scipy.special.erfc(UNIT * 6)),
    "gammaln": ((UNIT * 20,), scipy.special.gammaln(UNIT * 20)),
    "lgamma": ((UNIT * 20,), scipy.special.gammaln(UNIT * 20)),
    "digamma": ((UNIT,), scipy.special.digamma(UNIT)),
    "betaln": ((UNIT * 10, UNIT * 30), scipy.special.betaln(UNIT * 10, UNIT * 30)),
    "ndtr": ((SPREAD / 4,), scipy.special.ndtr(SPREAD / 4)),
    "log_ndtr": ((SPREAD,), scipy.special.log_ndtr(SPREAD)),
    "ndtri": ((UNIT,), scipy.special.ndtri(UNIT)),
    "i0e": ((UNIT * 30,), scipy.special.i0e(UNIT * 30)),
    "log1mexp": ((UNIT * 60,), np.log(-np.expm1(-UNIT * 60))),
    "log_rising": (
        (UNIT * 30, UNIT * 7),
        scipy.special.gammaln(UNIT * 37) - scipy.special.gammaln(UNIT * 30),
    ),
    "stirling_error": (
        (10 + UNIT,),
        scipy.special.gammaln(10 + UNIT)
        - ((9.5 + UNIT) * np.log(10 + UNIT) - 10 - UNIT + np.log(2 * np.pi) / 2),
    ),
    "gammainc": ((UNIT * 30, UNIT * 20), scipy.special.gammainc(UNIT * 30, UNIT * 20)),
    "gammaincc": ((UNIT * 30, UNIT * 20), scipy.special.gammaincc(UNIT * 30, UNIT * 20)),
    "betainc": ((UNIT * 30, 2.5, UNIT), scipy.special.betainc(UNIT * 30, 2.5, UNIT)),
    "log_gammainc": ((UNIT * 30, UNIT * 20), np.log(scipy.special.gammainc(UNIT * 30, UNIT * 20))),
    "log_gammaincc": ((UNIT * 30, UNIT * 20), np.log(scipy.special.gammaincc(UNIT * 30, UNIT * 20))),
    "log_betainc": ((UNIT * 30, 2.5, UNIT), np.log(scipy.special.betainc(UNIT * 30, 2.5, UNIT))),
    "log_bessel_i": ((UNIT * 30, 2.5 + UNIT), np.log(scipy.special.ive(UNIT * 30, 2.5 + UNIT)) + 2.5 + UNIT),
    "moveaxis": ((UNIT[None], 0, 1), None),
    "like": ((UNIT, SPREAD), UNIT),
    "xlogy": ((UNIT * [0, 1, 2], UNIT), scipy.special.xlogy(UNIT * [0, 1, 2], UNIT)),
    "xlog1py": ((UNIT * [0, 1, 2], UNIT), scipy.special.xlog1py(UNIT * [0, 1, 2], UNIT)),
}


def _to_jax(operand):
    return jnp.asarray(operand) if isinstance(operand, np.ndarray) and operand.dtype != int else operand


@pytest.mark.parametrize("word", ROWS)
def test_word_on_host_and_on_jax(word):
    operands, answer = ROWS[word]
    if answer is None:
        answer = getattr(np, word)(*operands)
    host = getattr(m, word)(*operands)
    assert not isinstance(host, jax.Array)
    np.testing.assert_allclose(host, answer, rtol=1e-13, atol=1e-13)
    with jax.enable_x64(True):
        there = getattr(m, word)(*(_to_jax(o) for o in operands))
        assert isinstance(there, jax.Array)
        np.testing.assert_allclose(np.asarray(there), answer, rtol=1e-11, atol=1e-11)


def test_every_word_has_a_row():
    words = {name for name, value in vars(m).items() if callable(value) and not name.startswith("_")}
    helpers = {"namespace", "floating", "as_array", "host", "explain", "SimpleNamespace", "ModelError"} | {
        "running_array",
        "running_constant",
    }
    creation = {"zeros", "ones", "full", "eye", "arange", "linspace", "asarray"}
    joining = {"concat", "stack"}
    loops = {"iterate", "scan"}
    assert words - helpers - creation - joining - loops - {"Any", "Callable", "Mapping"} == set(ROWS)


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray], ids=["host", "jax"])
def test_loops(convert):
    with jax.enable_x64(True):
        halved = m.iterate(lambda x, n: (x / 2, n + 1), (convert(UNIT), convert(0)), 3)
        np.testing.assert_allclose(halved[0], UNIT / 8)
        assert halved[1] == 3
        last, sums = m.scan(lambda total, x: (total + x, total), convert(np.zeros(3)), convert(UNIT))
        np.testing.assert_allclose(last, UNIT.sum(0))
        np.testing.assert_allclose(sums, [np.zeros(3), UNIT[0]])
        pairs = m.scan(lambda s, xy: (s, xy[0] * xy[1]), convert(0.0), (convert(UNIT), convert(UNIT)))[1]
        np.testing.assert_allclose(pairs, UNIT**2)


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray], ids=["host", "jax"])
def test_linear_algebra(convert):
    with jax.enable_x64(True):
        a, b = convert(SQUARE), np.array([1.0, -1.0, 2.0])
        lower = m.linalg.cholesky(a)
        checks = {
            "cholesky": (lower @ lower.T, SQUARE),
            "solve": (m.linalg.solve(a, b), np.linalg.solve(SQUARE, b)),
            "solve_triangular": (lower @ m.linalg.solve_triangular(lower, b), b),
            "upper": (lower.T @ m.linalg.solve_triangular(lower.T, b, lower=False), b),
            "inv": (m.linalg.inv(a), np.linalg.inv(SQUARE)),
            "det": (m.linalg.det(a), np.linalg.det(SQUARE)),
            "slogdet": (m.linalg.slogdet(a)[1], np.log(np.linalg.det(SQUARE))),
            "diagonal": (m.linalg.diagonal(a), np.diag(SQUARE)),
            "trace": (m.linalg.trace(a), np.trace(SQUARE)),
            "outer": (m.linalg.outer(a[0], b), np.outer(SQUARE[0], b)),
        }
        many = m.linalg.solve_triangular(m.stack([lower, 2 * lower]), np.eye(3))
        checks["batched"] = (many[1], np.linalg.inv(np.asarray(lower)) / 2)
        for name, (got, expected) in checks.items():
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12, err_msg=name)


def test_traced_operands_compute_on_jax():
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(lambda x: m.exp(x) + m.sum([x, 2 * x]))(1.0), np.e + 3)
        np.testing.assert_allclose(jax.grad(lambda x: m.logsumexp(m.stack([x, 0.0])))(0.0), 0.5)
        np.testing.assert_allclose(jax.vmap(m.softplus)(np.zeros(2)), np.log(2.0))
        np.testing.assert_allclose(m.concat([jnp.ones(2), np.zeros(1)]), [1, 1, 0])


@pytest.mark.parametrize("make", [pd.Series, pd.Index, xr.DataArray, list], ids=lambda c: c.__name__)
def test_tables_and_lists_mix_with_either(make):
    host = m.maximum(make([0.0, 3.0]), 1.0)
    assert type(host) is np.ndarray
    np.testing.assert_allclose(host, [1, 3])
    there = m.maximum(make([0.0, 3.0]), jnp.ones(2))
    assert isinstance(there, jax.Array)
    np.testing.assert_allclose(there, [1, 3])


def test_creation_functions_return_numpy():
    made = [m.zeros((2, 3)), m.ones(2), m.full(2, 7.0), m.eye(2), m.arange(3), m.linspace(0, 1, 5)]
    assert all(type(array) is np.ndarray for array in made)
    np.testing.assert_array_equal(m.arange(1, 4), [1, 2, 3])


def test_cumulative_sum_asks_for_an_axis():
    np.testing.assert_allclose(m.cumulative_sum([1.0, 2.0]), [1, 3])
    with pytest.raises(ShapeError, match="axis"):
        m.cumulative_sum(UNIT)


def test_operands_of_two_backends_are_refused():
    foreign = type("Tensor", (), {"__module__": "torch"})()
    with pytest.raises(ModelError, match="jax and torch"):
        m.maximum(foreign, jnp.ones(2))


def test_host_data_never_import_a_backend():
    code = (
        "import sys, elboroom.ppl.math as m; m.softmax([1.0, 2.0]); "
        "assert not {'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
def test_bessel_functions_of_any_order(backend):
    order, x = np.meshgrid([0.0, 0.5, 3.0, 40.0, 300.0], [1e-3, 0.7, 20.0, 49.0, 51.0, 1e3])
    exact = np.where(
        scipy.special.ive(order, x) > 0, np.log(np.maximum(scipy.special.ive(order, x), 1e-300)) + x, np.nan
    )
    known = np.isfinite(exact) & (scipy.special.ive(order, x) > 1e-290)
    if backend == "torch":
        import torch

        found = m.log_bessel_i(torch.tensor(order), torch.tensor(x)).numpy()
    elif backend == "jax":
        with jax.enable_x64(True):
            found = np.asarray(m.log_bessel_i(jnp.asarray(order), jnp.asarray(x)))
    else:
        found = m.log_bessel_i(order, x)
    np.testing.assert_allclose(found[known], exact[known], rtol=1e-9, atol=1e-9)
    small = order * np.log(x / 2) - scipy.special.gammaln(order + 1)  # the first term, where that is all
    np.testing.assert_allclose(found[x < 1e-2], small[x < 1e-2], rtol=1e-6, atol=1e-6)


def test_a_product_of_matrices_on_torch_takes_operands_of_several_types():
    torch = pytest.importorskip("torch")
    left, right = np.arange(6).reshape(2, 3), np.array([[0.5, 1.0], [2.0, -1.0], [0.0, 3.0]])
    for first, second in (("float32", "float64"), ("int64", "float32"), ("float64", "int64")):
        a, b = left.astype(first), right.astype(second)
        np.testing.assert_allclose(m.matmul(torch.as_tensor(a), torch.as_tensor(b)).numpy(), a @ b)

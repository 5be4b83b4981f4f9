"""Data in every shape that people have them in: the right density, or an error that says what to do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import elboroom as er

N = 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
Y = 1 + 2 * X + 0.5 * RNG.normal(size=N)
POINT = {"a": 0.9, "b": 1.8, "s": 0.6}


def _model(plate, scalar=False):
    @er.model
    def line(x, y=None):
        a = er.sample("a", er.Normal(0, 10))
        b = er.sample("b", er.Normal(0, 10))
        s = er.sample("s", er.HalfNormal(5))
        law = er.Normal(a if scalar else a + b * x, s)
        if plate:
            with er.plate("row", N):
                er.observe("y", law, y)
        else:
            er.observe("y", law, y)

    return line


def _exact(scalar=False):
    mean = POINT["a"] if scalar else POINT["a"] + POINT["b"] * X
    prior = stats.norm(0, 10).logpdf([POINT["a"], POINT["b"]]).sum() + stats.halfnorm(0, 5).logpdf(POINT["s"])
    return prior + stats.norm(mean, POINT["s"]).logpdf(Y).sum()


def _numpy(values, shape):
    return values.reshape(shape)


def _pandas(values, shape):
    if len(shape) == 1:
        return pd.Series(values)
    return pd.DataFrame(values.reshape(shape)) if len(shape) == 2 else None


def _xarray(values, shape):
    return xr.DataArray(values.reshape(shape))


# shape of x, of y, whether in a plate, whether right
SHAPES = [
    ((N,), (N,), True, True),
    ((N,), (N,), False, True),
    ((N, 1), (N, 1), False, True),
    ((1, N), (1, N), False, True),
    ((1, N), (1, N), True, True),  # the plate's axis is the last one
    ((N, 1), (N, 1), True, False),
    ((N, 1), (N,), True, False),
    ((N, 1), (N,), False, False),
    ((N,), (N, 1), True, False),
    ((N,), (N, 1), False, False),
    ((1, N), (N,), True, False),
    ((N,), (1, N), True, False),
    ((1, N), (N, 1), True, False),
    ((N, 1, 1), (N, 1, 1), True, False),
    ((N, 1, 1), (N,), True, False),
]


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("container", [_numpy, _pandas, _xarray])
@pytest.mark.parametrize("x, y, plate, right", SHAPES)
def test_a_regression_in_every_shape(x, y, plate, right, container, backend):
    data = container(X, x), container(Y, y)
    if any(d is None for d in data):
        pytest.skip("pandas has no such shape")
    program = _model(plate)(*data)
    if right:
        assert program.target(backend).log_joint(POINT) == pytest.approx(_exact(), abs=1e-10)
    else:
        with pytest.raises(er.ShapeError, match=r"site 'y'.*(\[:, 0\]|axis of one)"):
            program.trace(backend)


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("y, plate, right", [((N,), True, True), ((N,), False, True), ((N, 1), False, True)])
def test_a_single_law_in_every_shape(y, plate, right, backend):
    program = _model(plate, scalar=True)(X, Y.reshape(y))
    assert program.target(backend).log_joint(POINT) == pytest.approx(_exact(scalar=True), abs=1e-10)


@pytest.mark.parametrize("y", [(N, 1), (2, N), (N, N)])
def test_a_single_law_in_a_plate_takes_the_plate_alone(y):
    with pytest.raises(er.ShapeError, match=r"site 'y'.*shape.*\(6,\)"):
        _model(True, scalar=True)(X, np.ones(y)).trace()


def test_the_error_names_both_shapes_and_the_remedy():
    with pytest.raises(er.ShapeError) as caught:
        _model(True)(X[:, None], Y[:, None]).trace()
    words = str(caught.value)
    assert "(6, 1)" in words and "(6,)" in words and "x[:, 0]" in words


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("rows, columns", [(4, 3), (4, 1), (1, 3)])
def test_declared_axes_of_one_and_nested_plates(rows, columns, backend):
    @er.model
    def table(y=None):
        with er.plate("column", columns):
            a = er.sample("a", er.Normal(0, 1))
            with er.plate("row", rows):
                er.observe("y", er.Normal(a, 1.0), y)

    y = RNG.normal(size=(rows, columns))
    a = RNG.normal(size=columns)
    exact = stats.norm(0, 1).logpdf(a).sum() + stats.norm(a, 1).logpdf(y).sum()
    assert table(y).target(backend).log_joint({"a": a}) == pytest.approx(exact, abs=1e-10)
    for wrong in (y[:, :1], y[:1], y[0], y[None]):
        if wrong.shape != y.shape:
            with pytest.raises(er.ShapeError, match="site 'y'"):
                table(wrong).trace(backend)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_parameters_along_an_axis_of_a_nested_plate_stay_legal(backend):
    @er.model
    def table(row_means, y=None):
        with er.plate("column", 3), er.plate("row", 4):
            er.observe("y", er.Normal(row_means, 1.0), y)

    y, means = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 1))
    exact = stats.norm(means, 1).logpdf(y).sum()
    assert table(means, y).target(backend).log_joint({}) == pytest.approx(exact, abs=1e-10)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_latent_quantities_and_terms_are_not_repeated_either(backend):
    @er.model
    def latent(x):
        with er.plate("row", N):
            er.sample("z", er.Normal(x, 1.0))

    @er.model
    def term(x):
        a = er.sample("a", er.Normal(0, 1))
        with er.plate("row", N):
            er.factor("f", -((a - x) ** 2))

    for declared, site in ((latent, "z"), (term, "f")):
        with pytest.raises(er.ShapeError, match=f"site '{site}'.*no plate declares"):
            declared(X[:, None]).trace(backend)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_vectors_of_outcomes(backend):
    @er.model
    def pairs(y=None):
        m = er.sample("m", er.Normal(np.zeros(2), 1.0).to_event(1))
        with er.plate("row", N):
            er.observe("y", er.MultivariateNormal(m, covariance_matrix=np.eye(2)), y)

    y, m = RNG.normal(size=(N, 2)), np.array([0.3, -0.2])
    exact = stats.norm(0, 1).logpdf(m).sum() + stats.norm(m, 1).logpdf(y).sum()
    assert pairs(y).target(backend).log_joint({"m": m}) == pytest.approx(exact, abs=1e-10)
    for wrong in (y[:, :1], y[:1], y[:, None], y[0]):
        with pytest.raises(er.ShapeError, match="site 'y'"):
            pairs(wrong).trace(backend)


def test_single_numbers_have_every_shape():
    @er.model
    def soft(n):
        with er.plate("row", n):
            z = er.sample("z", er.Normal(0, 1))
            er.observe("zero", er.Normal(z, 0.1), 0.0)

    z = RNG.normal(size=3)
    exact = stats.norm(0, 1).logpdf(z).sum() + stats.norm(z, 0.1).logpdf(0.0).sum()
    assert soft(3).log_density({"z": z}) == pytest.approx(exact, abs=1e-10)

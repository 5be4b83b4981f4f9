"""What is recorded on torch holds nothing of the data that it was recorded with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from elboroom.ppl.backends.torch import arrays

import elboroom as er

FIRST, SECOND = np.array([1.0, 2, 3, 4]), np.array([5.0, 6, 7, 9])

BODIES = {
    "a list": (lambda x: 2.0 * torch.tensor(x.tolist(), dtype=torch.float64), True),
    "NumPy": (lambda x: np.log(x), True),
    "a number": (lambda x: x.max().item(), True),
    "a float": (lambda x: float(x[0]), True),
    "a size": (lambda x: float(int(x.max()) + 1), True),
    "a branch": (lambda x: 2.0 * x if x.sum() > 15 else x, True),
    "distinct values": (lambda x: np.unique(x)[0], True),
    "a selection": (lambda x: x[x > 2].sum(), False),
    "er.math": (lambda x: er.math.log(x), False),
}


def model(body):
    @er.model
    def made(x, y):
        a = er.sample("a", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a * body(x), 1.0), y)

    return made


def density(program):
    target = program.target("torch")
    return target.value_and_grad(np.array([[0.7]])), target


@pytest.mark.parametrize("name", BODIES)
def test_new_data_give_their_own_density(name):
    body, static = BODIES[name]
    shared = model(body)
    density(shared(FIRST, np.zeros(4)))
    (value, grad), target = density(shared(SECOND, np.zeros(4)))
    mean = 0.7 * np.broadcast_to(np.asarray(body(SECOND if name == "NumPy" else torch.tensor(SECOND))), 4)
    expected = -0.5 * (0.7**2 + (mean**2).sum()) - 2.5 * np.log(2 * np.pi)
    assert value[0] == pytest.approx(expected, rel=1e-10)
    assert grad[0, 0] == pytest.approx(-(0.7**2 + (mean**2).sum()) / 0.7, rel=1e-10)
    assert target.trace.demoted == (("x",) if static else ())
    assert not target.density.looped


def test_a_static_argument_is_a_finding():
    posterior = er.fit(model(BODIES["NumPy"][0])(FIRST, np.zeros(4)), backend="torch", progress=False)
    assert [f.quantity for f in posterior.findings if f.name == "static argument"] == ["x"]


def test_students_t_is_recorded_with_parameters_of_any_kind():
    @er.model
    def tails(y, sd):
        df, mu = er.sample("df", er.Gamma(2.0, 0.1)), er.sample("mu", er.Normal(0, 5))
        with er.plate("row", len(y)):
            x = er.sample("x", er.StudentT(4.0, mu, 1.0))
            er.observe("y", er.StudentT(df, x, sd), y)

    program, z = tails(FIRST, SECOND), np.linspace(-1, 1, 12).reshape(2, 6)
    ours, other = program.target("torch"), program.target("jax")
    for found, expected in zip(ours.value_and_grad(z), other.value_and_grad(z), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert not ours.density.looped


def test_a_model_that_cannot_be_mapped_is_looped_and_says_so():
    @er.model
    def branching(y):
        a = er.sample("a", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(a if a > 0 else 2 * a, 1.0), y)

    program = branching(np.zeros(3))
    z = np.array([[0.5], [-0.5]])
    expected = [-0.5 * (0.25 + 3 * m**2) - 2 * np.log(2 * np.pi) for m in (0.5, 1.0)]
    np.testing.assert_allclose(program.target("torch").value_and_grad(z)[0], expected, rtol=1e-12)
    posterior = er.fit(program, backend="torch", refine=False, max_seconds=3, progress=False)
    assert any(f.name == "draw by draw" for f in posterior.findings)


def test_copies_that_fill_up_a_block_are_not_looped_over():
    calls = []

    def square(z):
        calls.append(float(z))
        return z * abs(float(z))

    function = arrays.Function(square, (0,), np.float64, {"compile": 0.0, "count": 0})
    np.testing.assert_array_equal(function(np.array([2.0, 3.0, 2.0, -1.0, 2.0])), [4.0, 9.0, 4.0, -1.0, 4.0])
    assert function.looped and calls == [2.0, 3.0, -1.0]


PRECISE = {  # PyTorch by itself makes single precision of each
    "a condition": lambda k: (k > 1) * 0.1,
    "a multiple": lambda k: 0.1 * k,
    "a share": lambda k: k / 3,
    "a sum": lambda k: k + 0.1,
    "a root": lambda k: k**0.5,
    "a choice": lambda k: er.math.where(k > 1, 0.1, 0.2),
    "a large count": lambda k: (k + 2.0**24 + 1.0) - 2.0**24,
}


@pytest.mark.parametrize("name", PRECISE)
def test_whole_numbers_keep_double_precision(name):
    @er.model
    def counted(k):
        a = er.sample("a", er.Normal(0, 1))
        er.deterministic("made", PRECISE[name](k))
        er.factor("f", -0.5 * a**2)

    k = np.array([1, 2, 3])
    target = counted(k).target("torch")
    made = target.constrain(np.zeros((1, 1)))["made"][0]
    np.testing.assert_allclose(made, np.asarray(PRECISE[name](k)), rtol=1e-15)


@pytest.mark.parametrize("in_place", [False, True])
def test_what_no_argument_enters_is_computed_once(in_place):
    table = torch.arange(4.0, dtype=torch.float64)

    def fn(x):
        scale = torch.lgamma(table + 1.5).exp().sum()
        if in_place:  # what is written over has to be made again at each call
            total = torch.zeros(4, dtype=torch.float64)
            total += scale * x
            return total
        return scale * x

    call = arrays.recorded(fn, [torch.ones(4, dtype=torch.float64)])
    for x in (table, 2 * table):
        np.testing.assert_allclose(call(x).numpy(), fn(x).numpy(), rtol=1e-14)
    (run,) = call.args
    operations = str(getattr(run, "inlined_graph", run))
    assert ("lgamma" in operations) is in_place

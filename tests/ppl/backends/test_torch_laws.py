"""Every law on the torch backend: the tables of the JAX backend's tests, and its bijections, point by point."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from elboroom.ppl import constraints
from elboroom.ppl import distributions as er
from elboroom.ppl.backends.jax import lowering as on_jax
from elboroom.ppl.backends.torch import lowering as on_torch
from elboroom.ppl.backends.torch.arrays import randomness
from elboroom.ppl.backends.torch.transforms import transform_to
from elboroom.ppl.errors import UnsupportedError
from numpyro.distributions import biject_to
from quick import quickly
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

import test_distributions
import test_formulas

ROWS = {**test_distributions.ROWS, **test_formulas.ROWS}
NUM_DRAWS, P_VALUE = 4_000, 1e-4
CONTINUOUS = [name for name, row in ROWS.items() if not row.declared.is_discrete]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def tensor(values):
    return torch.as_tensor(np.asarray(values))


def inner(declared):
    """A declaration without what JAX has to compute."""
    return not isinstance(declared, er.CustomDist)


@pytest.mark.parametrize("name", ROWS)
def test_log_prob(name):
    row = ROWS[name]
    got = on_torch.lower(row.declared).log_prob(tensor(row.values))
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), row.log_prob, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in CONTINUOUS if n != "ImproperUniform"])
def test_gradient_in_the_value_is_that_on_jax(name):
    """Mapped over a batch and differentiated, as in a density; at the table's values within the support."""
    row = ROWS[name]
    values = np.asarray(row.values, float)
    inside = np.isfinite(row.log_prob)
    if name == "Laplace":  # has a kink
        inside = inside & (values != row.declared.loc)

    @quickly
    @jax.grad
    def slope(x):
        return jax.numpy.where(inside, on_jax.lower(row.declared).log_prob(x), 0.0).sum()

    theirs = slope(values)
    law = on_torch.lower(row.declared)

    def total(x):
        return torch.where(torch.as_tensor(inside), law.log_prob(x), 0.0).sum()

    ours = torch.func.vmap(torch.func.grad(total))(tensor(values)[None])[0]
    size = np.abs(theirs).max()
    np.testing.assert_allclose(ours.numpy(), np.asarray(theirs), rtol=1e-7, atol=1e-9 * max(size, 1.0))


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.marginals and inner(row.plain)])
def test_draws(name):
    row = ROWS[name]
    law = on_torch.lower(row.plain)
    with randomness(7):
        draws = law.sample((NUM_DRAWS,)).numpy()
    assert draws.shape == (NUM_DRAWS, *law.batch_shape, *law.event_shape)
    assert row.plain.support.check(draws).all()
    for marginal, expected in row.marginals:
        x = marginal(draws.astype(int) if row.plain.is_discrete else draws)
        if x.dtype.kind == "f":
            assert stats.kstest(x, expected).pvalue > P_VALUE
        else:
            assert test_formulas.chi_square(x, expected) > P_VALUE


@pytest.mark.parametrize("name", ROWS)
def test_support_agrees_with_the_declaration(name):
    declared = ROWS[name].plain or ROWS[name].declared
    law = on_torch.lower(declared)
    assert on_torch.constraint_of(law.support) == declared.support
    assert on_torch.constraint_of(on_torch.to_torch_constraint(declared.support)) == declared.support
    assert law.support.event_dim == len(law.event_shape) == declared.event_dim
    assert bool(law.support.is_discrete) == declared.is_discrete


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_bijection_is_that_on_jax(name):
    declared = ROWS[name].plain or ROWS[name].declared
    ours, theirs = on_torch.lower(declared), on_jax.lower(declared)
    here, there = transform_to(ours.support), biject_to(theirs.support)
    shape = tuple(there.inverse_shape(theirs.batch_shape + theirs.event_shape))
    assert tuple(here.inverse_shape(torch.Size(ours.batch_shape + ours.event_shape))) == shape
    z = np.random.default_rng(3).normal(size=(6, *shape))
    x, expected = here(tensor(z)), there(z)
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        here.log_abs_det_jacobian(tensor(z), x).numpy().reshape(6, -1).sum(1),
        np.asarray(there.log_abs_det_jacobian(z, expected)).reshape(6, -1).sum(1),
        rtol=1e-9,
        atol=1e-9,
    )
    np.testing.assert_allclose(here.inv(x).numpy(), z, rtol=1e-7, atol=1e-7)
    assert np.isfinite(ours.log_prob(x).numpy()).all()


@pytest.mark.parametrize(
    "constraint",
    [
        constraints.lower_cholesky,
        constraints.corr_matrix,
        constraints.circular,
        constraints.positive_definite,
        constraints.less_than(2.0),
    ],
)
def test_bijections_have_their_jacobian(constraint):
    transform = transform_to(on_torch.to_torch_constraint(constraint))
    shape = (3, 3) if constraint.event_dim == 2 else ()
    z = torch.randn(tuple(transform.inverse_shape(torch.Size(shape))), dtype=torch.float64)
    x = transform(z)
    assert constraint.check(x.numpy()).all()
    jacobian = torch.func.jacfwd(transform)(z).reshape(x.numel(), max(z.numel(), 1))
    if constraint.event_dim == 2:
        rows = np.tril_indices(3, -1 if constraint is constraints.corr_matrix else 0)
        jacobian = jacobian.reshape(3, 3, -1)[rows]
    found = transform.log_abs_det_jacobian(z, x).sum()
    np.testing.assert_allclose(found.item(), torch.linalg.slogdet(jacobian)[1].item(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(transform.inv(x).numpy(), z.numpy(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.plain is None])
def test_what_cannot_be_drawn_says_so(name):
    with pytest.raises(UnsupportedError):
        on_torch.lower(ROWS[name].declared).sample(())

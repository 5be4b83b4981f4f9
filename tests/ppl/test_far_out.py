"""Laws whose libraries lose digits in tails and at extreme parameters: values and gradients on every backend."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from elboroom.ppl import distributions as er
from elboroom.ppl.backends.jax import lowering as on_jax
from elboroom.ppl.backends.torch import lowering as on_torch
from quick import quickly
from scipy import special, stats

FAR = np.array([1e-300, 1e-12, 1.0, 1e6, 1e100, 1e150])


def normal_mass(low, high):
    """Log probability between two bounds of one sign, far out: the upper tail by its logarithm."""
    near, far = (low, high) if low > 0 else (-high, -low)
    start, stop = special.log_ndtr(-near), special.log_ndtr(-far)
    return start + np.log(-np.expm1(stop - start))


def truncated(x, low, high):
    return -0.5 * x**2 - 0.5 * np.log(2 * np.pi) - normal_mass(low, high)


def ordered(k, predictor, cuts):
    """Differences of logistic functions in the tail where these keep their digits."""
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    low, high = edges[k] - predictor, edges[k + 1] - predictor
    low, high = (-high, -low) if low + high > 0 else (low, high)
    start, stop = -np.logaddexp(0, -high), -np.logaddexp(0, -low) if np.isfinite(low) else -np.inf
    return start + np.log(-np.expm1(stop - start))


CUTS = np.array([-2.0, 0.0, 1.5])
ROWS = {
    "HalfStudentT": (er.HalfStudentT(np.array([0.5, 1.0, 30.0])[:, None], 2.0), FAR, None),
    "HalfStudentT, all but normal": (
        er.HalfStudentT(1e12, 1.0),
        np.array([0.1, 3.0, 8.0]),
        stats.halfnorm.logpdf([0.1, 3.0, 8.0]),
    ),
    "TruncatedNormal above 1e3": (
        er.TruncatedNormal(0.0, 1.0, low=1e3),
        np.array([1e3, 1e3 + 1e-3, 1e3 + 1]),
        stats.truncnorm.logpdf([1e3, 1e3 + 1e-3, 1e3 + 1], 1e3, np.inf),
    ),
    "TruncatedNormal between far bounds": (
        er.TruncatedNormal(0.0, 1.0, low=-60.0, high=-50.0),
        np.array([-59.0, -50.5, -50.0]),
        truncated(np.array([-59.0, -50.5, -50.0]), -60.0, -50.0),
    ),
    "NegativeBinomial, all but Poisson": (
        er.NegativeBinomial(5.0, 1e13),
        np.array([0.0, 5.0, 60.0]),
        stats.poisson.logpmf([0, 5, 60], 5.0),
    ),
    "NegativeBinomial of large counts": (
        er.NegativeBinomial(1e6, 0.5),
        np.array([0.0, 1e3, 1e7]),
        stats.nbinom.logpmf([0, 1e3, 1e7], 0.5, 0.5 / (1e6 + 0.5)),
    ),
    "NegativeBinomial without mean": (er.NegativeBinomial(0.0, 2.0), np.zeros(1), np.zeros(1)),
    **{
        f"OrderedLogistic at {predictor}": (
            er.OrderedLogistic(predictor, CUTS),
            np.arange(4.0),
            np.array([ordered(k, predictor, CUTS) for k in range(4)]),
        )
        for predictor in (-700.0, -40.0, 0.3, 40.0, 700.0)
    },
    "outside": (er.OrderedLogistic(0.0, CUTS), np.array([-1.0, 0.5, 4.0]), np.full(3, -np.inf)),
    "no count": (er.NegativeBinomial(2.0, 3.0), np.array([-1.0, 0.5]), np.full(2, -np.inf)),
    "not positive": (er.HalfStudentT(2.0, 3.0), np.array([-1.0, 0.0]), np.full(2, -np.inf)),
}
DF = np.array([0.5, 1.0, 30.0])[:, None]
ROWS["HalfStudentT"] = (
    *ROWS["HalfStudentT"][:2],
    np.log(2) + stats.t.logpdf(np.minimum(FAR, 1e100), DF, 0, 2.0),
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def both(declared, values):
    """Log densities and gradients in the parameters, on JAX and on PyTorch."""
    names = [name for name in declared.params if np.asarray(declared.params[name]).dtype.kind in "iuf"]
    given = [np.asarray(declared.params[name], float) for name in names]

    def here(*params):
        return on_jax.lower(type(declared)(**dict(zip(names, params, strict=True)))).log_prob(values)

    def total(*params):
        found = here(*params)
        return jax.numpy.where(jax.numpy.isfinite(found), found, 0.0).sum()

    yield np.asarray(quickly(here)(*given)), quickly(jax.grad(total, tuple(range(len(given)))))(*given)
    leaves = [torch.tensor(g, requires_grad=True) for g in given]
    law = on_torch.lower(type(declared)(**dict(zip(names, leaves, strict=True))))
    found = law.log_prob(torch.as_tensor(values))
    torch.where(torch.isfinite(found), found, 0.0).sum().backward()
    yield found.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]


@pytest.mark.parametrize("name", ROWS)
def test_far_out(name):
    declared, values, expected = ROWS[name]
    gradients = []
    for found, gradient in both(declared, values):
        if name == "HalfStudentT":  # SciPy's square is no number from there on
            found = found[:, :-1]
        np.testing.assert_allclose(found, expected[..., : found.shape[-1]], rtol=1e-9, atol=1e-8)
        assert all(np.isfinite(g).all() for g in gradient)
        gradients.append(gradient)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_a_power_law_goes_on_where_squares_overflow():
    for found, gradient in both(er.HalfStudentT(1.0, 1.0), np.array([1e100, 1e200, 1e300])):
        np.testing.assert_allclose(found, np.log(2 / np.pi) - 2 * np.log([1e100, 1e200, 1e300]), rtol=1e-12)
        assert all(np.isfinite(g).all() for g in gradient)


def test_without_bounds_a_truncated_normal_is_a_normal():
    for lowering in (on_jax, on_torch):
        assert type(lowering.lower(er.TruncatedNormal(1.0, 2.0))).__name__ == "Normal"


def test_draws_far_out_stay_within_the_bounds():
    declared = er.TruncatedNormal(0.0, 1.0, low=200.0)
    for draws in (
        np.asarray(on_jax.lower(declared).sample(jax.random.key(0), (4000,))),
        on_torch.lower(declared).sample((4000,)).numpy(),
    ):
        assert (draws >= 200.0).all()
        assert stats.kstest(200.0 * (draws - 200.0), stats.expon.cdf).pvalue > 1e-4

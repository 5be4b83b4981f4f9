"""Laws of log odds on JAX: digits in both tails, derivatives at 0, no inf - inf, and NumPyro's models with them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from elboroom.ppl.backends.jax.arrays import precision
from elboroom.ppl.backends.jax.logits import (
    BernoulliLogits,
    BinomialLogits,
    _log_odds_of,
    softplus,
    vectorised,
)
from scipy.special import expit, log_expit
from scipy.stats import binom

import elboroom as er

PLACES = np.concatenate([np.linspace(-40.0, 40.0, 4001), [-700.0, -1e-9, 0.0, 1e-9, 700.0]])


def test_softplus_and_two_derivatives_are_right_to_rounding():
    with precision(np.float64):
        x = jnp.asarray(PLACES)
        found = [
            np.asarray(jax.vmap(f)(x)) for f in (softplus, jax.grad(softplus), jax.grad(jax.grad(softplus)))
        ]
    known = -log_expit(-PLACES), expit(PLACES), expit(PLACES) * expit(-PLACES)
    for one, other in zip(found, known, strict=True):
        assert np.allclose(one, other, rtol=2e-15, atol=0)


def test_third_derivative_is_right():
    with precision(np.float64):
        found = jax.vmap(jax.grad(jax.grad(jax.grad(softplus))))(jnp.asarray(PLACES))
    p = expit(PLACES)
    assert np.allclose(found, p * (1 - p) * (1 - 2 * p), rtol=1e-12, atol=1e-15)


def test_single_precision_has_its_digits():
    found = softplus(jnp.asarray(PLACES, jnp.float32))
    assert found.dtype == jnp.float32
    assert np.allclose(found, -log_expit(-PLACES.astype(np.float32).astype(float)), rtol=5e-7, atol=1e-38)


@pytest.mark.parametrize("logit", [-np.inf, -750.0, -3.0, 0.0, 3.0, 750.0, np.inf])
def test_bernoulli_in_the_tails(logit):
    with precision(np.float64):
        found = [float(BernoulliLogits(jnp.asarray(logit), validate_args=False).log_prob(y)) for y in (0, 1)]
    assert np.allclose(found, [log_expit(-logit), log_expit(logit)], rtol=1e-15)


def test_binomial_and_its_gradient_where_log_odds_are_0():
    counts = np.arange(8)
    with precision(np.float64):
        found = BinomialLogits(jnp.asarray(0.7), 7).log_prob(counts)
        slope = [jax.grad(lambda x, k=k: BinomialLogits(x, 7).log_prob(k))(0.0) for k in counts]
        edges = [
            float(BinomialLogits(jnp.asarray(end), 7, validate_args=False).log_prob(k))
            for end, k in ((-np.inf, 0), (np.inf, 7))
        ]
    assert np.allclose(found, binom.logpmf(counts, 7, expit(0.7)), rtol=1e-12)
    assert np.allclose(slope, counts - 3.5)
    assert edges == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore:Out-of-support")
def test_what_is_no_count_has_no_density():
    with precision(np.float64):
        assert float(BernoulliLogits(0.0, validate_args=True).log_prob(2)) == -np.inf
        assert float(BinomialLogits(0.0, 3, validate_args=True).log_prob(4)) == -np.inf


def test_numpyros_laws_become_these():
    ours = vectorised(dist.Bernoulli(logits=jnp.zeros(3)).expand([2, 3]))
    assert ours.batch_shape == (2, 3) and np.allclose(ours.log_prob(jnp.ones((2, 3))), -np.log(2.0))
    assert type(vectorised(dist.BinomialLogits(0.0, 3))) is BinomialLogits
    for other in (
        dist.Normal(0.0, 1.0).expand([3]),
        dist.Normal(jnp.zeros(3), 1.0).to_event(1),
        dist.LogNormal(0.0, 1.0),
    ):
        assert vectorised(other) is other


@pytest.mark.parametrize(
    "wrap",
    [
        lambda law: law.to_event(1),
        lambda law: law.mask(jnp.array([True, False])),
        lambda law: law.expand([3, 2]),
    ],
)
def test_laws_within_others_have_their_gradient_at_0(wrap):
    def density(logits, law=lambda law: law):
        return jnp.sum(law(wrap(dist.Binomial(7, logits=logits))).log_prob(jnp.array([2, 5])))

    near, at = jax.grad(density)(jnp.full(2, 1e-6), vectorised), jax.grad(density)(jnp.zeros(2), vectorised)
    assert np.allclose(at, near, atol=1e-4)
    assert np.allclose(at, jax.grad(density)(jnp.full(2, 1e-4)), atol=1e-2)


def test_shares_and_totals_may_move():
    """Derivatives to the second order in all three, by differences."""
    with precision(np.float64):
        at = jnp.array([0.4, 2.5, -0.7])

        def density(at):
            return _log_odds_of(*at)

        assert_close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-8)
        for function, slope in ((density, jax.grad(density)), (jax.grad(density), jax.hessian(density))):
            steps = 1e-5 * jnp.eye(3)
            assert_close(slope(at), jnp.stack([(function(at + d) - function(at - d)) / 2e-5 for d in steps]))


def test_shares_of_an_outcome_are_what_numpyro_takes_them_for():
    """Without validation NumPyro's density of 0.3 is that of a soft label."""
    law = dist.Bernoulli(logits=jnp.array([-2.0, 0.5, 3.0]))
    shares = jnp.array([0.3, 0.9, 0.5])
    assert np.allclose(vectorised(law).log_prob(shares), law.log_prob(shares), rtol=1e-5)


def test_a_numpyro_model_starts_where_log_odds_are_0():
    """Its own gradient there is that of ``|x|``, which is none."""

    def model(y):
        with numpyro.plate("row", len(y)):
            a = numpyro.sample("a", dist.Normal(0.0, 2.0))
            numpyro.sample("y", dist.Binomial(10, logits=a), obs=y)

    y = np.array([1, 9, 5])
    target = er.from_numpyro(model)(y).target()
    assert np.allclose(target.value_and_grad(np.zeros((1, 3)))[1], y - 5.0)

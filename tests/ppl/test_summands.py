"""What a factor that is handed over as one number is a sum of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from elboroom.guides.structure import links
from elboroom.inference.marginal.groups import Groups, Terms
from elboroom.ppl.backends.jax.summands import unsummed

import elboroom as er

X = np.array([0.3, -1.2, 2.0])

SCALARS = {
    "a sum": (lambda x: jnp.sum(x**2), X**2),
    "with a factor and a constant": (lambda x: 1.0 - 0.5 * jnp.sum(x**2), [1.0, *(-0.5 * X**2)]),
    "two of them": (lambda x: -(jnp.sum(x) - jnp.where(x > 0, x, 0).sum()), [*-X, *np.where(X > 0, X, 0)]),
    "no sum": (lambda x: jnp.sum(x) ** 2, [X.sum() ** 2]),
    "a product of sums": (lambda x: jnp.sum(x) * jnp.sum(x**2), [X.sum() * (X**2).sum()]),
    "by rows": (lambda x: jnp.sum(jnp.outer(x, x)), np.outer(X, X)),
}


@pytest.mark.parametrize("kind", SCALARS)
def test_a_scalar_is_taken_apart_into_what_it_is_the_sum_of(kind):
    fn, expected = SCALARS[kind]
    with jax.enable_x64(True):
        found = unsummed(lambda x: {"b": x, "a": fn(x)})(X)
    assert np.ravel(found["a"]) == pytest.approx(np.ravel(expected), abs=1e-12)
    assert found["b"] == pytest.approx(X)


@er.model
def sightings(y):
    """Species that are there or not, as one factor of all."""
    lives = er.sample("lives", er.Normal(0, 1))
    spread = er.sample("spread", er.HalfNormal(1))
    with er.plate("species", len(y)):
        seen = er.sample("seen", er.Normal(-1, spread))
    both = -er.math.softplus(-lives) + y * seen - 10 * er.math.softplus(seen)
    never = er.math.logaddexp(both, -er.math.softplus(lives))
    er.factor("y", er.math.sum(er.math.where(y > 0, both, never)))


def test_groups_of_a_factor_that_is_summed_have_terms_of_their_own(rng):
    target = sightings(np.array([0, 3, 0, 5, 1, 2])).target()
    z = rng.normal(size=(4, target.dim))
    groups = Groups.splits(target, links(target, 1, 3))[0]
    terms = Terms.tested(target, groups, z[0], np.ones(target.dim), rng)
    assert groups.members.shape == (6, 1) and terms is not None
    assert terms.of(target, z).sum(1) == pytest.approx(target.value_and_grad(z)[0], rel=1e-10)

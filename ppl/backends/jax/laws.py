"""Distributions that NumPyro lacks, or whose tails it loses to rounding, in NumPyro's own protocol."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions import constraints

from ...distributions.formula import parameter_constraints, rebuild
from ..refusals import check_shape, check_vector, improper, not_exchangeable, without_sampler


class Ordered(dist.Distribution):
    """Independent draws, sorted; or, where elements differ, their density on ordered vectors."""

    arg_constraints: Mapping[str, Any] = MappingProxyType({})
    pytree_data_fields = ("base",)
    pytree_aux_fields = ("exchangeable", "positive")

    def __init__(self, base, exchangeable, positive):
        check_vector(base)
        self.base, self.exchangeable, self.positive = base, exchangeable, positive
        super().__init__(base.batch_shape[:-1], base.batch_shape[-1:], validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self):
        return constraints.positive_ordered_vector if self.positive else constraints.ordered_vector

    def log_prob(self, value, intermediates=None):
        constant = gammaln(self.event_shape[0] + 1.0) if self.exchangeable else 0.0
        return self.base.log_prob(value).sum(-1) + constant

    def sample(self, key, sample_shape=()):
        if not self.exchangeable:
            raise not_exchangeable()
        return jnp.sort(self.base.sample(key, sample_shape), axis=-1)


class ImproperUniform(dist.ImproperUniform):
    """NumPyro's, refusing to be sampled in words."""

    def __init__(self, support, batch_shape, event_shape):
        super().__init__(support, batch_shape, event_shape, validate_args=False)

    def sample(self, key, sample_shape=()):
        raise improper()


class Custom(dist.Distribution):
    """A user's own density and sampler."""

    arg_constraints: Mapping[str, Any] = MappingProxyType({})
    pytree_data_fields = ("params", "own_support")
    pytree_aux_fields = ("density", "draw")

    def __init__(self, density, draw, own_support, params, batch_shape, event_shape):
        self.density, self.draw, self.own_support, self.params = density, draw, own_support, params
        super().__init__(batch_shape, event_shape, validate_args=False)

    @constraints.dependent_property
    def support(self):
        return self.own_support

    def log_prob(self, value, intermediates=None):
        value = jnp.asarray(value)
        log_prob = self.density(value, *self.params)
        batch = jnp.shape(value)[: jnp.ndim(value) - self.event_dim]
        check_shape("log_prob", jnp.broadcast_shapes(batch, self.batch_shape), jnp.shape(log_prob))
        return jnp.where(self.support(value), log_prob, -jnp.inf) if self.event_dim == 0 else log_prob

    def sample(self, key, sample_shape=()):
        if self.draw is None:
            raise without_sampler()
        shape = tuple(sample_shape) + self.batch_shape + self.event_shape
        value = self.draw(key, *self.params, shape)
        check_shape("sample", shape, jnp.shape(value))
        return value


def mixture(mixing, component):
    """A mixture with the component summed out."""
    return dist.MixtureSameFamily(mixing, component, validate_args=False)


def has_own_bounds(support) -> bool:
    """Whether a support has parameters."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return not isinstance(support, constraints.ParameterFreeConstraint)


def boolean(mask):
    """A mask as an array."""
    return jnp.asarray(mask).astype(bool)


class Random:
    """`distributions.formula.Random` from one key."""

    def __init__(self, key):
        self._key, self._untouched = key, True

    def key(self):
        """A fresh key."""
        self._untouched = False
        self._key, key = jax.random.split(self._key)
        return key

    def parts(self, count):
        """As many sources, for one call each; the first thing that is asked for may have the whole key."""
        whole = self._key if self._untouched else self.key()
        if self._untouched:
            self._key, self._untouched = jax.random.fold_in(whole, count), False
        return tuple(map(Once, [whole] if count == 1 else jax.random.split(whole, count)))

    def categorical(self, logits, shape):
        return jax.random.categorical(self.key(), logits, shape=shape)

    def uniform(self, shape):
        return jax.random.uniform(self.key(), shape, minval=jnp.finfo(jnp.result_type(float)).tiny)

    def normal(self, shape):
        return jax.random.normal(self.key(), shape)

    def exponential(self, shape):
        return jax.random.exponential(self.key(), shape)

    def gamma(self, concentration, shape):
        return jax.random.gamma(self.key(), concentration, shape)

    def poisson(self, rate, shape):
        return dist.Poisson(jnp.broadcast_to(rate, shape)).sample(self.key()).astype(jnp.result_type(float))

    def binomial(self, total_count, probs, shape):
        total = jnp.broadcast_to(total_count, shape).astype(jnp.result_type(int))
        return dist.Binomial(total, jnp.broadcast_to(probs, shape)).sample(self.key()).astype(probs.dtype)


class Once(Random):
    """A source for one call, which has the whole key."""

    def key(self):
        return self._key


class Backed:
    """A NumPyro law in the words of `distributions.formula.Law`."""

    def __init__(self, law, support):
        self.law, self.batch_shape, self.event_shape = law, law.batch_shape, law.event_shape
        self.support, self.is_discrete, self.event_dim = support, support.is_discrete, law.event_dim

    def log_density(self, value):
        support = self.law.support
        if support.event_dim:
            return self.law.log_prob(value)
        inside = support(value)
        safe = jnp.where(inside, value, support.feasible_like(value))
        return jnp.where(inside, self.law.log_prob(safe), -jnp.inf)

    def draw(self, random, shape):
        return self.law.expand(shape).sample(random.key())


class Written(dist.Distribution):
    """Any law whose density is written in ``er.math``, see `distributions.formula.Formula`.

    `arg_constraints` names the parameters for the analysis of dependencies; values are checked by the
    declaration.
    """

    pytree_data_fields = ("leaves", "own_support")
    pytree_aux_fields = ("structure", "wrap", "values", "has_enumerate_support")

    def __init__(self, structure, leaves, own_support, wrap, values):
        self.structure, self.leaves, self.own_support, self.wrap = structure, leaves, own_support, wrap
        self.values, self.has_enumerate_support = values, values is not None
        self.arg_constraints = parameter_constraints(structure)
        self.__dict__.update(leaves)
        declared = self.declared
        super().__init__(declared.batch_shape, declared.event_shape, validate_args=False)

    @property
    def declared(self):
        """The declaration, holding JAX arrays."""
        return rebuild(self.structure, self.leaves, self.wrap)

    @property
    def declared_name(self):
        return self.structure[0].__name__

    @constraints.dependent_property
    def support(self):
        return self.own_support

    def enumerate_support(self, expand=True):
        values = jnp.arange(self.values.start, self.values.stop).reshape(-1, *[1] * len(self.batch_shape))
        return jnp.broadcast_to(values, (len(values), *self.batch_shape)) if expand else values

    def log_prob(self, value, intermediates=None):
        return self.declared.log_density(jnp.asarray(value).astype(jnp.result_type(float)))

    @property
    def mean(self):
        return jnp.broadcast_to(
            self.declared.mean, self.batch_shape + self.event_shape
        )  # AttributeError of a law that does not know it

    def sample(self, key, sample_shape=()):
        value = self.declared.draw(Random(key), tuple(sample_shape) + self.batch_shape)
        return value.astype(jnp.result_type(int)) if self.is_discrete else value

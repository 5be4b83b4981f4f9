"""Distributions that NumPyro lacks, or whose tails it loses to rounding, in NumPyro's own protocol."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln, log_ndtr, ndtr, ndtri, xlogy
from numpyro.distributions import constraints

from ...distributions.formula import CannotSampleError, rebuild
from ...errors import ShapeError, explain
from ...math import log_rising


def _inside(support, value, log_prob):
    return jnp.where(support(jnp.asarray(value)), log_prob, -jnp.inf)


def _log1mexp(x):
    """``log(1 - exp(-x))`` for positive x, accurate at both ends."""
    small = x < jnp.log(2.0)
    lower = jnp.log(-jnp.expm1(-jnp.where(small, x, 1.0)))
    return jnp.where(small, lower, jnp.log1p(-jnp.exp(-jnp.where(small, 1.0, x))))


class HalfStudentT(dist.Distribution):
    """Law of the absolute value of a Student's t variable around zero."""

    arg_constraints = {"df": constraints.positive, "scale": constraints.positive}
    support = constraints.positive
    reparametrized_params = ["df", "scale"]

    def __init__(self, df, scale=1.0, *, validate_args=None):
        batch_shape = jnp.broadcast_shapes(jnp.shape(df), jnp.shape(scale))
        self.df, self.scale = jnp.broadcast_to(df, batch_shape), jnp.broadcast_to(scale, batch_shape)
        super().__init__(batch_shape, validate_args=validate_args)

    def sample(self, key, sample_shape=()):
        return jnp.abs(dist.StudentT(self.df, 0.0, self.scale).sample(key, sample_shape))

    def log_prob(self, value, intermediates=None):
        log_prob = dist.StudentT(self.df, 0.0, self.scale, validate_args=False).log_prob(value)
        return _inside(self.support, value, log_prob + jnp.log(2.0))


class TruncatedNormal(dist.Distribution):
    """Normal law between bounds, accurate however far out the bounds lie.

    The interval is reflected into the lower tail, where differences of the distribution function keep
    their relative precision.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    reparametrized_params = ["loc", "scale", "low", "high"]
    pytree_data_fields = ("loc", "scale", "low", "high")

    def __init__(self, loc=0.0, scale=1.0, low=None, high=None, *, validate_args=None):
        given = [value for value in (loc, scale, low, high) if value is not None]
        batch_shape = jnp.broadcast_shapes(*(jnp.shape(value) for value in given))
        self.loc, self.scale = jnp.broadcast_to(loc, batch_shape), jnp.broadcast_to(scale, batch_shape)
        self.low = None if low is None else jnp.broadcast_to(low, batch_shape)
        self.high = None if high is None else jnp.broadcast_to(high, batch_shape)
        super().__init__(batch_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        if self.low is None:
            return constraints.less_than_eq(self.high)
        return (
            constraints.greater_than_eq(self.low)
            if self.high is None
            else constraints.interval(self.low, self.high)
        )

    def _tail(self):
        """Standardised bounds reflected into the lower tail: sign, near bound, far bound or None."""
        if self.low is None:
            return 1.0, (self.high - self.loc) / self.scale, None
        low = (self.low - self.loc) / self.scale
        if self.high is None:
            return -1.0, -low, None
        high = (self.high - self.loc) / self.scale
        flip = low + high > 0
        return jnp.where(flip, -1.0, 1.0), jnp.where(flip, -low, high), jnp.where(flip, -high, low)

    def log_prob(self, value, intermediates=None):
        _, near, far = self._tail()
        log_mass = log_ndtr(near)
        if far is not None:
            log_mass = log_mass + _log1mexp(log_mass - log_ndtr(far))
        standard = (value - self.loc) / self.scale
        log_prob = -0.5 * standard**2 - 0.5 * jnp.log(2 * jnp.pi) - jnp.log(self.scale) - log_mass
        return _inside(self.support, value, log_prob)

    def sample(self, key, sample_shape=()):
        sign, near, far = self._tail()
        uniform = jax.random.uniform(
            key,
            sample_shape + self.batch_shape,
            dtype=jnp.result_type(near),
            minval=jnp.finfo(near.dtype).tiny,
        )
        start = 0.0 if far is None else ndtr(far)
        standard = ndtri(start + uniform * (ndtr(near) - start))
        # Beyond 30 sd (8 in single precision) the mass underflows, and the square is close to exponential.
        limit = -30.0 if near.dtype == jnp.float64 else -8.0
        deep = jnp.minimum(near, limit)
        floor = 0.0 if far is None else jnp.exp(0.5 * (deep**2 - jnp.minimum(far, limit) ** 2))
        rayleigh = -jnp.sqrt(deep**2 - 2 * jnp.log(floor + uniform * (1 - floor)))
        value = self.loc + sign * jnp.where(near < limit, rayleigh, standard) * self.scale
        return jnp.clip(value, self.low, self.high)


class NegativeBinomial(dist.NegativeBinomial2):
    """NumPyro's, with a density that stays accurate for large counts and concentrations."""

    arg_constraints = dist.NegativeBinomial2.arg_constraints
    pytree_data_fields = ("own_mean",)

    def __init__(self, mean, concentration, *, validate_args=None):
        self.own_mean = mean
        super().__init__(mean, concentration, validate_args=validate_args)

    def log_prob(self, value, intermediates=None):
        count = jnp.asarray(value).astype(jnp.result_type(float))
        mean, size = jnp.asarray(self.own_mean), jnp.asarray(self.concentration)
        chosen = log_rising(size, count) - gammaln(count + 1.0)
        log_prob = chosen - size * jnp.log1p(mean / size) + xlogy(count, mean / (size + mean))
        return _inside(self.support, value, log_prob)


class OrderedLogistic(dist.CategoricalLogits):
    """Ordered categories with log probabilities that keep their precision in both tails."""

    arg_constraints = {"predictor": constraints.real, "cutpoints": constraints.ordered_vector}

    def __init__(self, predictor, cutpoints, *, validate_args=None):
        above = jnp.asarray(cutpoints) - jnp.expand_dims(jnp.asarray(predictor), -1)
        self.predictor, self.cutpoints = predictor, cutpoints
        # log P(k) = log sigmoid(c_k) + log sigmoid(-c_(k-1)) + log(1 - exp(c_(k-1) - c_k))
        middle = (
            -jax.nn.softplus(-above[..., 1:])
            - jax.nn.softplus(above[..., :-1])
            + _log1mexp(above[..., 1:] - above[..., :-1])
        )
        ends = -jax.nn.softplus(-above[..., :1]), -jax.nn.softplus(above[..., -1:])
        super().__init__(jnp.concatenate([ends[0], middle, ends[1]], axis=-1), validate_args=validate_args)


class Ordered(dist.Distribution):
    """Independent draws, sorted; or, where elements differ, their density on ordered vectors."""

    arg_constraints = {}
    pytree_data_fields = ("base",)
    pytree_aux_fields = ("exchangeable", "positive")

    def __init__(self, base, exchangeable, positive, *, validate_args=None):
        if not base.batch_shape or base.event_shape:
            raise ShapeError(
                explain(
                    "Ordered",
                    "a base whose last batch axis is the vector",
                    f"batch shape {base.batch_shape} and event shape {base.event_shape}",
                    "expand the base, as in Ordered(Normal(0, 5).expand([4]))",
                )
            )
        self.base, self.exchangeable, self.positive = base, exchangeable, positive
        super().__init__(base.batch_shape[:-1], base.batch_shape[-1:], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self):
        return constraints.positive_ordered_vector if self.positive else constraints.ordered_vector

    def log_prob(self, value, intermediates=None):
        constant = gammaln(self.event_shape[0] + 1.0) if self.exchangeable else 0.0
        return self.base.log_prob(value).sum(-1) + constant

    def sample(self, key, sample_shape=()):
        if not self.exchangeable:
            raise CannotSampleError(
                explain(
                    "Ordered",
                    "elements of one law, where draws are needed",
                    "elements with parameters of their own",
                    "give every element the same law, as in Ordered(Normal(0, 5).expand([4]))",
                )
            )
        return jnp.sort(self.base.sample(key, sample_shape), axis=-1)


class ImproperUniform(dist.ImproperUniform):
    """NumPyro's, refusing to be sampled in words."""

    def sample(self, key, sample_shape=()):
        raise CannotSampleError(
            explain(
                "ImproperUniform",
                "a proper law, where draws of the prior are needed",
                "a density that does not integrate",
                "give it a proper prior",
            )
        )


class Custom(dist.Distribution):
    """A user's own density and sampler."""

    arg_constraints = {}
    pytree_data_fields = ("params", "own_support")
    pytree_aux_fields = ("density", "draw")

    def __init__(self, density, draw, own_support, params, batch_shape, event_shape, *, validate_args=None):
        self.density, self.draw, self.own_support, self.params = density, draw, own_support, params
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self):
        return self.own_support

    def log_prob(self, value, intermediates=None):
        value = jnp.asarray(value)
        log_prob = self.density(value, *self.params)
        batch = jnp.shape(value)[: jnp.ndim(value) - self.event_dim]
        expected = jnp.broadcast_shapes(batch, self.batch_shape)
        if jnp.shape(log_prob) != expected:
            raise ShapeError(
                explain(
                    "CustomDist, result of 'log_prob'",
                    f"one log density per value, shape {expected}",
                    f"shape {jnp.shape(log_prob)}",
                    "sum over the event axes only, and say how many there are with event_dim",
                )
            )
        return _inside(self.support, value, log_prob) if self.event_dim == 0 else log_prob

    def sample(self, key, sample_shape=()):
        if self.draw is None:
            raise CannotSampleError(
                explain(
                    "CustomDist",
                    "a function that draws values, where prior or predictions are drawn",
                    "a density alone",
                    "give sample=, a function of (rng, *params, shape)",
                )
            )
        shape = tuple(sample_shape) + self.batch_shape + self.event_shape
        value = self.draw(key, *self.params, shape)
        if jnp.shape(value) != shape:
            raise ShapeError(
                explain(
                    "CustomDist, result of 'sample'",
                    f"shape {shape}",
                    f"shape {jnp.shape(value)}",
                    "return an array of the shape it is asked for",
                )
            )
        return value


class Random:
    """`distributions.formula.Random` from one key."""

    def __init__(self, key):
        self._key = key

    def key(self):
        """A fresh key."""
        self._key, key = jax.random.split(self._key)
        return key

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
    values: range | None = None

    def __init__(self, structure, leaves, own_support, wrap, *, validate_args=None):
        self.structure, self.leaves, self.own_support, self.wrap = structure, leaves, own_support, wrap
        self.arg_constraints = dict.fromkeys(leaves, constraints.dependent)
        self.__dict__.update(leaves)
        declared = self.declared
        super().__init__(declared.batch_shape, declared.event_shape, validate_args=validate_args)

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

    def enumerated(self, values: range | None):
        """The same law, its values known to be among `values`."""
        self.values, self.has_enumerate_support = values, values is not None
        return self

    def enumerate_support(self, expand=True):
        values = jnp.arange(self.values.start, self.values.stop).reshape(-1, *[1] * len(self.batch_shape))
        return jnp.broadcast_to(values, (len(values), *self.batch_shape)) if expand else values

    def log_prob(self, value, intermediates=None):
        return self.declared.log_density(jnp.asarray(value).astype(jnp.result_type(float)))

    def sample(self, key, sample_shape=()):
        value = self.declared.draw(Random(key), tuple(sample_shape) + self.batch_shape)
        return value.astype(jnp.result_type(int)) if self.is_discrete else value

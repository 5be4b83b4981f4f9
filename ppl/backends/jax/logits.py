"""Functions of log odds that XLA turns into vector instructions, and NumPyro's laws of log odds with them.

XLA takes the logarithm of one number at a time, which is most of what a logistic regression costs; a polynomial does without.
Derivatives are those of the function everywhere: that of ``log1p(exp(-|x|))`` by its parts is none at 0.

References
----------
Muller (2016), Elementary Functions, chapter 11: ``log(1 + u) = 2 atanh(u / (2 + u))``.
"""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import gammaln

SERIES = (
    0.08082022805971766,
    0.04400369243072337,
    0.06000536404795356,
    0.06657072104827468,
    0.07692785032479312,
    0.09090894718066429,
    0.11111111358713932,
    0.1428571428355438,
    0.20000000000007292,
    0.3333333333333333,
    1.0,
)
"""Of ``atanh(s) / s``, the power 20 of s first: ``(atanh(s) / s - 1) / s²`` interpolated in ``s²`` at Chebyshev's ten points
between 0 and 1/9, in sixty digits. What it gives is off by 5e-18 at most."""


def _log1p(u):
    """``log(1 + u)`` for u between 0 and 1."""
    s = u / (2 + u)
    square, found = s * s, jnp.full_like(s, SERIES[0])
    for coefficient in SERIES[1:]:
        found = found * square + coefficient
    return 2 * s * found


def _floating(x):
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


@jax.custom_jvp
def _softplus(x):
    return jnp.maximum(x, 0) + _log1p(jnp.exp(-jnp.abs(x)))


@jax.custom_jvp
def _logistic(x):
    small = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1.0, small) / (1 + small)


_softplus.defjvps(lambda move, _, x: move * _logistic(x))
_logistic.defjvps(lambda move, found, x: move * found * _logistic(-x))


def softplus(x):
    """``log(1 + exp(x))``, elementwise.

    Examples
    --------
    >>> [round(float(softplus(x)), 4) for x in (0.0, -jnp.inf, jnp.inf)]
    [0.6931, 0.0, inf]
    """
    return _softplus(_floating(x))


@jax.custom_jvp
def _of_two(x, one, other):
    """``-one softplus(-x) - other softplus(x)``, with one exponential: its part above 0, and what both softplus have beside it."""
    most = jnp.where(x >= 0, other, one)
    return -jnp.where(most == 0, 0.0, most * jnp.abs(x)) - (one + other) * _log1p(jnp.exp(-jnp.abs(x)))


@jax.custom_jvp
def _slope(x, one, other):
    """``one logistic(-x) - other logistic(x)``, the derivative of `_of_two`."""
    small = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, one * small - other, one - other * small) / (1 + small)


def _derivatives(function, *partial):
    """Give `function` its partial derivatives; what cannot move, as data, costs nothing."""

    def jvp(at, moves):
        found = function(*at)
        return found, sum(
            (
                d(*at) * move
                for d, move in zip(partial, moves, strict=True)
                if not isinstance(move, SymbolicZero)
            ),
            jnp.zeros_like(found),
        )

    function.defjvp(jvp, symbolic_zeros=True)


_derivatives(_of_two, _slope, lambda x, *_: -softplus(-x), lambda x, *_: -softplus(x))
_derivatives(
    _slope,
    lambda x, one, other: -(one + other) * _logistic(x) * _logistic(-x),
    lambda x, *_: _logistic(-x),
    lambda x, *_: -_logistic(x),
)


def _log_odds_of(value, total, logits):
    """Log probability of `value` successes, and failures to `total`, in one order; shares of them count as shares."""
    logits = _floating(logits)
    one, other = (jnp.asarray(count, logits.dtype) for count in (value, jnp.asarray(total) - value))
    return _of_two(*jnp.broadcast_arrays(logits, one, other))


class BernoulliLogits(dist.BernoulliLogits):
    """NumPyro's law, in a form that cannot give inf - inf."""

    @dist.util.validate_sample
    def log_prob(self, value):
        return _log_odds_of(value, 1, self.logits)


class BinomialLogits(dist.BinomialLogits):
    """NumPyro's law, without its loss of digits in the tails."""

    @dist.util.validate_sample
    def log_prob(self, value):
        total = jnp.asarray(self.total_count, jnp.result_type(float))
        ways = gammaln(total + 1) - gammaln(value + 1) - gammaln(total - value + 1)
        return ways + _log_odds_of(value, total, self.logits)


def bernoulli(probs=None, logits=None, *, validate_args=None):
    """``dist.Bernoulli``."""
    if logits is None:
        return dist.Bernoulli(probs, validate_args=validate_args)
    return BernoulliLogits(logits, validate_args=validate_args)


def binomial(total_count=1, probs=None, logits=None, *, validate_args=None):
    """``dist.Binomial``."""
    if logits is None:
        return dist.Binomial(total_count, probs, validate_args=validate_args)
    return BinomialLogits(logits, total_count, validate_args=validate_args)


def vectorised(fn):
    """NumPyro's law of log odds as ours, in a mask, an event or an expansion too; any other as it is."""
    base = getattr(fn, "base_dist", None)
    if base is not None and (ours := vectorised(base)) is not base:
        fn = copy.copy(fn)
        fn.base_dist = ours
    elif type(fn) is dist.BernoulliLogits:
        return BernoulliLogits(fn.logits, validate_args=vars(fn).get("_validate_args"))
    elif type(fn) is dist.BinomialLogits:
        return BinomialLogits(fn.logits, fn.total_count, validate_args=vars(fn).get("_validate_args"))
    return fn

"""Bijections from the unconstrained space to supports."""

from __future__ import annotations

from numpyro.distributions import biject_to, constraints

_Independent = type(constraints.independent(constraints.real, 1))


def transform_of(fn):
    """Bijection from the unconstrained space to the support of `fn`."""
    return biject_to(fn.support)


def is_real(support) -> bool:
    """Whether a support is the whole space."""
    while isinstance(support, _Independent):
        support = support.base_constraint
    return support is constraints.real or support is constraints.real_vector

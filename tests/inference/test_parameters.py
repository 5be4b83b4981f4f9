"""Every parameter of every law: nothing, NaN, infinity, a wrong sign and a quantity of another support are refused by name."""

import dataclasses

import numpy as np
import pytest
from elboroom.ppl import constraints, distributions
from elboroom.ppl.distributions.base import Distribution, Origin
from elboroom.ppl.primitives import interpreting
from test_every_distribution import LAWS

import elboroom as er

DECLARED = {name: law for laws in LAWS.values() for name, law in laws.items()}
ON_THE_LINE = Origin("the latent 's' (Normal)", support=constraints.real)


class Traced:
    """A value without numbers, as those of a compiled model."""

    dtype, shape, ndim = np.dtype(float), (), 0

    def __array__(self, *args, **kwargs):
        raise TypeError("traced")


class Running:
    """An interpreter to which every such value is a latent quantity on the line."""

    def origin(self, value):
        return ON_THE_LINE if isinstance(value, Traced) else None


def parameters():
    """Law and name of every parameter of a scalar constraint that a declaration of `LAWS` sets."""
    for name, law in DECLARED.items():
        try:
            declared = law(0.0)
        except Exception:  # of laws that need arrays of a backend
            continue
        for parameter in declared.params if isinstance(declared, Distribution) else ():
            constraint = declared.arg_constraints.get(parameter)
            if constraint is not None and not constraint.event_dim:
                yield pytest.param(declared, parameter, constraint, id=f"{name}.{parameter}")


CASES = list(parameters())


def refused(declared, parameter, value, error):
    with pytest.raises(error) as found:
        dataclasses.replace(declared, **{parameter: value}).validate("here")
    words = str(found.value)
    assert "expected" in words and f"'{parameter}'" in words, words
    return words


def test_there_are_many():
    assert len(CASES) > 60


@pytest.mark.parametrize("declared, parameter, constraint", CASES)
def test_numbers_outside(declared, parameter, constraint):
    for value in (np.nan, np.inf, -7.5):
        if not constraint.check(value):
            refused(declared, parameter, value, er.SupportError)
            refused(declared, parameter, np.array([0.5, value]), er.SupportError)
    refused(declared, parameter, "a", er.SupportError)


@pytest.mark.parametrize("declared, parameter, constraint", CASES)
def test_latents_of_another_support(declared, parameter, constraint):
    if constraint.is_discrete or constraint.check(-7.3):
        return
    with interpreting(Running()):
        words = refused(declared, parameter, Traced(), er.SupportError)
    assert "'s'" in words and "may be" in words


def test_supports_that_fit_are_taken():
    for support, allowed in (
        (constraints.positive, constraints.positive),
        (constraints.positive, constraints.nonnegative),
        (constraints.unit_interval, constraints.positive),
        (constraints.interval(0.0, 1e-6), constraints.positive),
        (constraints.interval(2.0, 9.0), constraints.greater_than(1.0)),
        (constraints.real, constraints.real),
        (constraints.interval(-1.0, 1.0), constraints.real),
    ):
        assert Origin("s", support=support).outside(allowed) is None
    assert Origin("s", support=constraints.interval(-1.0, 1.0)).outside(constraints.positive) is not None
    assert Origin("s", support=constraints.positive).outside(constraints.unit_interval) is not None


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("column", [[1.0, -2.0, 3.0], [1.0, 0.0, 3.0]])
def test_columns_as_parameters(backend, column):
    @er.model
    def measured(sd, y):
        mu = er.sample("mu", er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(mu, sd), y)

    with pytest.raises(er.SupportError, match="positive number, got (-2|0) at position 1"):
        er.fit(measured(np.array(column), np.ones(3)), backend=backend)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_counts_as_parameters(backend):
    @er.model
    def tried(n, y):
        p = er.sample("p", er.Beta(1, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Binomial(n, p), y)

    with pytest.raises(er.SupportError, match="2.5"):
        er.fit(tried(np.array([3.0, 2.5]), np.array([1, 2])), backend=backend)
    assert distributions.Binomial is er.Binomial


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(
    "taken", [lambda s: s[np.array([0, 2])], lambda s: s[1], lambda s: s.reshape(3, 1)[0]]
)
def test_elements_of_a_latent_of_another_support(backend, taken):
    @er.model
    def spread(y):
        with er.plate("group", 3):
            s = er.sample("s", er.Normal(0, 1))
        er.observe("y", er.Normal(0, taken(s)), y)

    with pytest.raises(er.SupportError, match="'scale' of Normal"):
        er.fit(
            spread(np.ones(2) if np.ndim(taken(np.ones(3))) and taken(np.ones(3)).size == 2 else 1.0),
            backend=backend,
        )

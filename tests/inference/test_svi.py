"""The pieces of stochastic variational inference."""

from functools import partial

import numpy as np
import pytest
from elboroom.inference.engines import stochastic
from elboroom.inference.engines.stochastic import ascend

import elboroom as er

BACKENDS = pytest.mark.parametrize("backend", ["jax", "torch"])
RNG = np.random.default_rng(0)
Y = RNG.normal(2.0, 1.0, 30)
MEAN, SD = Y.sum() / (len(Y) + 0.01), 1 / np.sqrt(len(Y) + 0.01)


@er.model
def mean(y):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(mu, 1), y)


@er.model
def pair(y):
    x = er.sample(
        "x", er.MultivariateNormal(np.zeros(2), covariance_matrix=np.array([[1.0, 0.9], [0.9, 1.0]]))
    )
    er.observe("y", er.Normal(x.sum(), 2.0), y)


@er.model
def broken(y):
    mu = er.sample("mu", er.Normal(0, 1))
    er.factor("ratio", er.math.log(mu - 50.0))
    er.observe("y", er.Normal(mu, 1), y)


@BACKENDS
def test_the_libraries_optimisers_find_the_posterior(backend):
    if backend == "jax":
        import optax

        optimiser = optax.adam(optax.exponential_decay(0.1, 500, 0.3))
    else:
        import torch

        optimiser = partial(torch.optim.RMSprop, lr=0.02)
    svi = er.SVI(mean(Y), backend=backend, optimiser=optimiser)
    svi.run(2000)
    assert abs(svi.params["mean"][0] - MEAN) < 0.1 * SD
    assert abs(svi.params["log_sd"][0] - np.log(SD)) < 0.1


@BACKENDS
def test_adam_is_that_of_the_libraries(backend):
    """The same steps, as both draw the same numbers from the same seeds."""
    if backend == "jax":
        import optax

        optimiser = optax.adam(0.05)
    else:
        import torch

        optimiser = partial(torch.optim.Adam, lr=0.05)
    own, theirs = er.SVI(mean(Y), backend=backend), er.SVI(mean(Y), backend=backend, optimiser=optimiser)
    np.testing.assert_allclose(own.run(100), theirs.run(100), rtol=1e-6)


@BACKENDS
def test_the_importance_weighted_bound_is_climbed(backend):
    """Of a correlated posterior the bound's optimum is too narrow, the weighted one's much less, and higher."""
    program, found = pair(1.0), {}
    for objective in ("elbo", "importance"):
        svi = er.SVI(program, num_particles=20, objective=objective, backend=backend, rate=0.02)
        svi.run(1500)
        bounds = svi.run(500)
        found[objective] = svi.params["log_sd"].mean(), bounds.mean()
    prior = np.array([[1.0, 0.9], [0.9, 1.0]])
    precision = np.linalg.inv(prior) + 0.25
    narrow = -0.5 * np.log(np.diag(precision)).mean()
    evidence = -0.5 * (np.log(2 * np.pi * (4 + prior.sum())) + 1 / (4 + prior.sum()))
    loss = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert abs(found["elbo"][0] - narrow) < 0.03 and abs(found["elbo"][1] - (evidence - loss)) < 0.05
    assert found["importance"][0] > narrow + 0.15
    assert evidence - 0.5 * loss < found["importance"][1] < evidence


def test_bad_pieces_are_refused():
    batch = er.Minibatch("row", 5)
    for settings, words in (
        (dict(objective="iwae"), "objective: expected one of"),
        (dict(objective="importance"), "two or more draws"),
        (dict(objective="importance", num_particles=5, minibatch=batch), "all rows at every step"),
        (dict(optimiser="adam"), "optax GradientTransformation"),
        (dict(optimiser="adam", backend="torch"), "torch.optim class"),
        (dict(rate=-1.0), "a positive number"),
        (dict(start=(np.zeros(1), np.ones(1)), minibatch=batch, optimiser="x"), "all rows at every step"),
    ):
        with pytest.raises(er.InferenceError, match=words):
            er.SVI(mean(Y), **settings)


@BACKENDS
def test_what_is_not_finite_is_named_and_never_returned(backend, monkeypatch):
    monkeypatch.setattr(stochastic, "ASCENT_PILOT_STEPS", 50)
    found = ascend(er.SVI(broken(1.0), backend=backend))
    assert "site 'ratio' gives nan" in found.culprit and "site 'ratio'" in found.reason
    assert (
        found.num_bad == len(found.trace)
        and np.isfinite(found.mean).all()
        and np.isfinite(found.log_sd).all()
    )


def test_a_second_ascent_compiles_nothing():
    batch = er.Minibatch("row", 10)
    first = er.SVI(mean(Y), batch)
    first.run(50)
    clock = first.batches.target.density.clock
    count = clock["count"]
    second = er.SVI(mean(Y + 1.0), batch, seed=1)
    second.run(50)
    assert second.batches.target.density.clock is clock and clock["count"] == count > 0


def test_a_second_fit_compiles_nothing():
    def fit(seed):
        return er.fit(mean(RNG.normal(size=30)), minibatch=er.Minibatch("row", 10), seed=seed, progress=False)

    fit(0)
    assert fit(1).cost.compile_seconds == 0.0


def test_the_bar_counts_the_steps(monkeypatch):
    import io
    import sys

    from elboroom.inference.run import watch

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    svi, shown = er.SVI(mean(Y)), Terminal()
    monkeypatch.setattr(watch, "REDRAWN", 0.0)
    monkeypatch.setattr(sys, "stderr", shown)
    quiet = svi.run(600, progress=False)
    assert shown.getvalue() == "" and len(quiet) == 600
    svi.run(600)
    assert "200/600" in shown.getvalue() and "600/600" in shown.getvalue() and "ELBO" in shown.getvalue()
    piped = io.StringIO()
    monkeypatch.setattr(sys, "stderr", piped)
    svi.run(600)
    assert piped.getvalue() == ""

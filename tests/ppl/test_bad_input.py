"""Bad input gets an error that says where, what was expected, what came, and what to do."""

import numpy as np
import pytest

import elboroom as er


@er.model
def line(x, y=None):
    a = er.sample("a", er.Normal(0, 1))
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(a * x, 1.0), y)


@er.model
def twice(y):
    er.sample("a", er.Normal(0, 1))
    a = er.sample("a", er.Normal(0, 1))
    er.observe("y", er.Normal(a, 1.0), y)


@er.model
def counts(y):
    rate = er.sample("rate", er.Gamma(1, 1))
    er.observe("y", er.Poisson(rate), y)


@er.model
def negative_scale(y):
    a = er.sample("a", er.Normal(0, -1))
    er.observe("y", er.Normal(a, 1.0), y)


@er.model
def infinite_location(y):
    a = er.sample("a", er.Normal(np.array([0.0, np.inf]), 1))
    er.observe("y", er.Normal(a.sum(), 1.0), y)


@er.model
def switch(y):
    k = er.sample("k", er.Poisson(3.0))
    er.observe("y", er.Normal(k, 1.0), y)


@er.model
def nowhere(y):
    a = er.sample("a", er.Uniform(0, 1))
    er.factor("trap", er.math.log(a - 2))
    er.observe("y", er.Normal(a, 1.0), y)


@er.model
def wrong_plate(y):
    a = er.sample("a", er.Normal(0, 1))
    with er.plate("row", 4):
        er.observe("y", er.Normal(a, 1.0), y)


@er.model
def labelled(y):
    a = er.sample("a", er.Normal(0, 1))
    er.observe("y", er.Normal(a, 1.0), y)


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        (lambda: twice(ONES), er.DuplicateSiteError, ["'a'", "Rename"]),
        (lambda: line(ONES, np.ones(4)), er.ShapeError, ["'y'", "row", "(4,)"]),
        (lambda: wrong_plate(ONES), er.ShapeError, ["row", "size 4", "(3,)"]),
        (lambda: counts(np.array([1, -2, 3])), er.SupportError, ["'y'", "-2", "rows [1]"]),
        (lambda: counts(np.array([1.5, 2, 3])), er.SupportError, ["'y'", "1.5", "rows [0]"]),
        (lambda: line(np.array([1, np.nan, 1])), er.DataError, ["'x'", "nan", "[1]"]),
        (lambda: line(ONES, np.array([1, np.inf, 1])), er.DataError, ["'y'", "inf", "[1]"]),
        (lambda: line([], []), er.DataError, ["'x'", "at least one row"]),
        (lambda: negative_scale(ONES), er.SupportError, ["'a'", "scale", "-1"]),
        (lambda: infinite_location(ONES), er.SupportError, ["'a'", "loc", "inf"]),
        (lambda: switch(ONES), er.ModelError, ["'k'", "Poisson", "cannot be summed out"]),
        (lambda: nowhere(ONES), er.InferenceError, ["trap", "finite"]),
        (lambda: labelled(["a", "b", "a"]), er.DataError, ["'y'", "labels"]),
        (lambda: line(), er.ModelError, ["line", "x"]),
    ],
)
def test_errors(program, error, words):
    with pytest.raises(error) as caught:
        er.fit(program(), progress=False)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (dict(guide="banana"), er.GuideError, ["banana", "full-rank"]),
        (dict(backend="banana"), er.BackendError, ["banana", "jax"]),
        (dict(num_draws=0), er.InferenceError, ["num_draws"]),
        (dict(max_seconds=-1), er.InferenceError, ["max_seconds"]),
        (dict(quantities=["b"]), er.InferenceError, ["quantities", "'b'"]),
        (dict(start={"b": 1}), er.InferenceError, ["start", "a"]),
        (dict(refine="often"), er.InferenceError, ["refine"]),
        (dict(minibatch=3), er.InferenceError, ["minibatch", "er.Minibatch"]),
        (dict(device="gpu"), er.BackendError, ["GPU"]),
    ],
)
def test_settings(settings, error, words):
    with pytest.raises(error) as caught:
        er.fit(line(ONES, ONES), progress=False, **settings)
    for word in words:
        assert word in str(caught.value)


def test_a_model_that_raises_keeps_its_traceback():
    @er.model
    def broken(y):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        er.fit(broken(ONES), progress=False)


def test_a_model_is_not_a_program():
    with pytest.raises(er.ModelError, match=r"er\.fit"):
        er.fit(line)


def test_words_outside_a_model():
    with pytest.raises(er.ModelError, match=r"@er\.model"):
        er.sample("a", er.Normal(0, 1))


def test_single_precision_data_is_noted():
    posterior = er.fit(line(np.ones(3, np.float32), ONES), progress=False)
    assert "single precision data" in [finding.name for finding in posterior.findings]


def test_an_argument_that_a_shape_depends_on_becomes_static():
    def model(group, y):
        import numpyro
        import numpyro.distributions as dist

        size = int(group.max()) + 1
        a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([size]))
        numpyro.sample("y", dist.Normal(a[group], 1.0), obs=y)

    posterior = er.fit(er.from_numpyro(model)(np.array([0, 1, 1, 2]), np.arange(4.0)), progress=False)
    assert [f.quantity for f in posterior.findings if f.name == "static argument"] == ["group"]
    exact = np.array([0.0, 3 / 3, 3 / 2])
    table = posterior.summary()
    assert np.all(np.abs(table["mean"] - exact) < 0.15 * table["sd"])

"""Two hundred calls that are wrong: each is refused in four parts (where, what was expected, what came, what to do)."""

from __future__ import annotations

import math
import random

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import elboroom as er
from elboroom.folder import read_posterior, read_report

Y = np.array([1.0, 2.0, 3.0, 2.5])


def _bound(body, data):
    @er.model
    def wrong(y, x):
        a = er.sample("a", er.Normal(0.0, 1.0))
        body(a, x)
        with er.plate("row", len(Y)):
            er.observe("y", er.Normal(a, 1.0), y)

    return wrong(y=data.get("y", Y), x=data.get("x", Y))


def fit(body=lambda a, x: None, backend="jax", options=None, **data):
    settings = {"backend": backend, "progress": False, "max_seconds": 5, **(options or {})}
    return er.fit(_bound(body, data), **settings)


def branch(a, x):
    if a > 0:
        er.deterministic("b", a)


def loop(a, x):
    while a > 0:
        a = a - 1


def named(word, name):
    return {
        "sample": lambda a, x: er.sample(name, er.Normal(0.0, 1.0)),
        "observe": lambda a, x: er.observe(name, er.Normal(a, 1.0), 1.0),
        "deterministic": lambda a, x: er.deterministic(name, a),
        "factor": lambda a, x: er.factor(name, -(a**2)),
        "plate": lambda a, x: er.plate(name, 4).__enter__(),
    }[word]


NAMES = {
    "int": 3, "None": None, "empty": "", "blank": "  ", "chain": "chain", "draw": "draw", "NUL": "a\0b",
    "surrogate": "a\ud800", "newline": "a\nb", "escape": "\x1b[31m", "bytes": b"a", "tuple": ("a",), "dot": ".",
}  # fmt: skip
WORDS = ("sample", "observe", "deterministic", "factor", "plate")
DECLARATIONS = {f"{word} named {kind}": named(word, name) for word in WORDS for kind, name in NAMES.items()}

HOST = {
    "int() of a latent": lambda a, x: er.deterministic("b", int(a)),
    "float() of a latent": lambda a, x: er.deterministic("b", float(a)),
    "math.log of a latent": lambda a, x: er.deterministic("b", math.log(a)),
    "math.exp of a latent": lambda a, x: er.deterministic("b", math.exp(a)),
    "range of a latent": lambda a, x: list(range(a)),
    "list index by a latent": lambda a, x: [1, 2][a],
    "size of a plate a latent": lambda a, x: er.plate("p", a).__enter__(),
    "plate of 3.5": lambda a, x: er.plate("p", 3.5).__enter__(),
    "plate of 3.0": lambda a, x: er.plate("p", 3.0).__enter__(),
    "plate of True": lambda a, x: er.plate("p", True).__enter__(),
    "plate of None": lambda a, x: er.plate("p", None).__enter__(),
    "plate of text": lambda a, x: er.plate("p", "3").__enter__(),
    "plate of -1": lambda a, x: er.plate("p", -1).__enter__(),
    "plate of 0": lambda a, x: er.plate("p", 0).__enter__(),
    "plate of a list": lambda a, x: er.plate("p", [1, 2]).__enter__(),
    "plate of nan": lambda a, x: er.plate("p", np.nan).__enter__(),
    "a random name": lambda a, x: er.sample(f"b{random.random()}", er.Normal(0.0, 1.0)),
    "a random prior": lambda a, x: er.sample("b", er.Normal(np.random.normal(), 1.0)),
    "a law that is a number": lambda a, x: er.sample("b", 3.0),
    "a law that is a class": lambda a, x: er.sample("b", er.Normal),
    "a law that is text": lambda a, x: er.sample("b", "Normal(0, 1)"),
    "a law that is None": lambda a, x: er.sample("b", None),
    "an observed law that is None": lambda a, x: er.observe("b", None, 1.0),
    "a deterministic of None": lambda a, x: er.deterministic("b", None),
    "a deterministic of text": lambda a, x: er.deterministic("b", "a"),
    "a deterministic of a dict": lambda a, x: er.deterministic("b", {"a": a}),
    "a factor of None": lambda a, x: er.factor("b", None),
    "a factor of text": lambda a, x: er.factor("b", "a"),
    "levels of a number": lambda a, x: er.levels(3),
    "levels of a latent": lambda a, x: er.levels(a),
    "shapes that do not fit": lambda a, x: er.sample("b", er.Normal(np.zeros(3), np.ones(2))),
    "a site inside a scan": lambda a, x: er.scan(
        lambda c, t: (er.sample("b", er.Normal(c, 1.0)), c), 0.0, np.ones(3)
    ),
}  # fmt: skip

LATENT = {
    f"{law} with a latent on the line as {name}": lambda a, x, law=law, given=given: er.observe(
        "b", getattr(er, law)(**{k: a if v is None else v for k, v in given.items()}), 1.0
    )
    for law, name, given in (
        ("Normal", "scale", {"loc": 0.0, "scale": None}),
        ("Cauchy", "scale", {"loc": 0.0, "scale": None}),
        ("StudentT", "df", {"df": None, "loc": 0.0, "scale": 1.0}),
        ("StudentT", "scale", {"df": 3.0, "loc": 0.0, "scale": None}),
        ("LogNormal", "scale", {"loc": 0.0, "scale": None}),
        ("HalfNormal", "scale", {"scale": None}),
        ("Exponential", "rate", {"rate": None}),
        ("Gamma", "concentration", {"concentration": None, "rate": 1.0}),
        ("Gamma", "rate", {"concentration": 1.0, "rate": None}),
        ("Weibull", "scale", {"scale": None, "concentration": 1.0}),
        ("Poisson", "rate", {"rate": None}),
        ("Bernoulli", "probs", {"probs": None}),
        ("Binomial", "probs", {"total_count": 3, "probs": None}),
        ("NegativeBinomial", "mean", {"mean": None, "concentration": 1.0}),
        ("Beta", "concentration1", {"concentration1": None, "concentration0": 1.0}),
    )
}
PARAMETERS = {
    f"{law}({words})": lambda a, x, make=make: er.sample("b", make())
    for law, words, make in (
        ("Normal", "0, None", lambda: er.Normal(0, None)),
        ("Normal", "0, -1", lambda: er.Normal(0, -1)),
        ("Normal", "0, 0", lambda: er.Normal(0, 0)),
        ("Normal", "nan, 1", lambda: er.Normal(np.nan, 1)),
        ("Normal", "inf, 1", lambda: er.Normal(np.inf, 1)),
        ("Normal", "text", lambda: er.Normal("0", 1)),
        ("Normal", "1j, 1", lambda: er.Normal(1j, 1)),
        ("Normal", "ragged", lambda: er.Normal([[1.0], [1.0, 2.0]], 1)),
        ("HalfNormal", "None", lambda: er.HalfNormal(None)),
        ("HalfNormal", "-1", lambda: er.HalfNormal(-1)),
        ("Exponential", "0", lambda: er.Exponential(0)),
        ("Gamma", "-1, 1", lambda: er.Gamma(-1, 1)),
        ("Gamma", "1, None", lambda: er.Gamma(1, None)),
        ("Beta", "0, 1", lambda: er.Beta(0, 1)),
        ("Uniform", "1, 0", lambda: er.Uniform(1, 0)),
        ("Uniform", "0, nan", lambda: er.Uniform(0, np.nan)),
        ("Bernoulli", "1.5", lambda: er.Bernoulli(1.5)),
        ("Bernoulli", "nothing", lambda: er.Bernoulli()),
        ("Bernoulli", "both", lambda: er.Bernoulli(probs=0.5, logits=0.0)),
        ("Categorical", "sum 2", lambda: er.Categorical([1.0, 1.0])),
        ("Categorical", "negative", lambda: er.Categorical([-0.5, 1.5])),
        ("Dirichlet", "a number", lambda: er.Dirichlet(1.0)),
        ("Dirichlet", "zero", lambda: er.Dirichlet([0.0, 1.0])),
        ("StudentT", "df -1", lambda: er.StudentT(-1, 0, 1)),
        ("Poisson", "-1", lambda: er.Truncated(er.Poisson(-1), high=9)),
        ("Binomial", "2.5", lambda: er.Binomial(2.5, 0.5)),
        ("Binomial", "-1", lambda: er.Binomial(-1, 0.5)),
        ("MultivariateNormal", "asymmetric", lambda: er.MultivariateNormal([0.0, 0.0], [[1.0, 2.0], [0.0, 1.0]])),
        ("MultivariateNormal", "indefinite", lambda: er.MultivariateNormal([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]])),
        ("LKJCholesky", "dimension 0", lambda: er.LKJCholesky(0, 1.0)),
        ("TruncatedNormal", "crossed", lambda: er.TruncatedNormal(0, 1, low=1, high=0)),
        ("Mixture", "empty", lambda: er.Mixture([], weights=[])),
        ("Mixture", "weights", lambda: er.Mixture([er.Normal(0, 1)], weights=[0.5, 0.5])),
        ("Normal", "expanded to text", lambda: er.Normal(0, 1).expand("3")),
    )
}  # fmt: skip
BODIES = {"if on a latent": branch, "while on a latent": loop, **HOST, **LATENT, **PARAMETERS, **DECLARATIONS}

ODD = {
    "complex": np.array([1 + 1j, 2, 3, 4]),
    "bytes": np.array([b"a", b"b", b"c", b"d"]),
    "a dict": {"a": 1},
    "a set": {1.0, 2.0},
    "a generator": (value for value in Y),
    "a sparse matrix": scipy.sparse.csr_matrix(np.eye(4)),
    "a random generator": np.random.default_rng(0),
    "a function": len,
    "an object": object(),
    "a class": int,
    "ragged lists": [[1.0], [1.0, 2.0]],
    "a file": open,
}
OUTCOMES = {
    **ODD,
    "text": ["a", "b", "c", "d"],
    "dates": pd.to_datetime(["2020-01-01"] * 4),
    "one infinity": [1.0, np.inf, 2.0, 3.0],
    "no rows": [],
    "fewer rows": [1.0, 2.0],
    "more axes": np.ones((4, 1)),
    "objects": np.array([1.0, None, "a", 2.0], dtype=object),
}
OPTIONS = {
    "dtype": [int, "float16", "double precision", 3, np.int32, complex, object],
    "max_seconds": ["5", -1, 0, float("nan"), [5], True],
    "refine": [np.array([1, 2]), "maybe", None, 2, [], "never"],
    "seed": [-1, 1.5, "0", None, True, [0]],
    "num_draws": [0, -5, 10.5, "100", None, True],
    "guide": ["best", 3, [], {"nowhere": "mean-field"}, {"a": "best"}, object()],
    "backend": ["numpy", 3, "", ["jax"]],
    "device": ["tpu-pod", 3, None, ""],
    "quantities": ["a", 3, ["nowhere"], [3]],
    "start": [3, {"a": "x"}, {}, {"a": np.nan}, {"a": [1.0, 2.0]}, [1.0]],
    "minibatch": [100, "row", ("row", 10)],
    "checkpoint": [3, b"\0", ["a"], "a\0b"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def posterior():
    return fit(options={"guide": "laplace"})


AFTER = {
    "condition on text": lambda p, place: p.program.model(y=Y, x=Y).condition(a="q"),
    "condition on an unknown site": lambda p, place: p.program.model(y=Y, x=Y).condition(nowhere=1.0),
    "condition on nan": lambda p, place: er.fit(p.program.model(y=Y, x=Y).condition(a=np.nan)),
    "do an unknown site": lambda p, place: p.program.model(y=Y, x=Y).do(nowhere=1.0),
    "save to None": lambda p, place: p.save(None),
    "save to a number": lambda p, place: p.save(3),
    "save to nothing": lambda p, place: p.save(""),
    "save to NUL": lambda p, place: p.save("a\0b"),
    "save to a file": lambda p, place: p.save(__file__),
    "save below a file": lambda p, place: p.save(__file__ + "/deeper"),
    "save in another precision": lambda p, place: p.save(place / "p", dtype="float16"),
    "save unknown groups": lambda p, place: p.save(place / "p", groups=["nowhere"]),
    "save groups that are a number": lambda p, place: p.save(place / "p", groups=3),
    "save sites that are a number": lambda p, place: p.save(place / "p", sites=3),
    "load None": lambda p, place: er.load(None),
    "load a number": lambda p, place: er.load(3),
    "load NUL": lambda p, place: er.load("a\0b"),
    "load nothing there": lambda p, place: er.load(place / "nowhere"),
    "load a file": lambda p, place: er.load(__file__),
    "load an empty folder": lambda p, place: er.load(place),
    "load with a model for a program": lambda p, place: er.load(p.save(place / "p"), p.program.model),
    "load with text for a program": lambda p, place: er.load(p.save(place / "p"), "model"),
    "report to None": lambda p, place: p.report(None),
    "report to a number": lambda p, place: p.report(3),
    "report below a file": lambda p, place: p.report(__file__ + "/deeper"),
    "refine by no chain": lambda p, place: p.refine(num_chains=0),
    "refine by half a chain": lambda p, place: p.refine(num_chains=1.5),
    "refine by text": lambda p, place: p.refine(num_draws="100"),
    "refine for text": lambda p, place: p.refine(max_seconds="5"),
    "refine for less than no time": lambda p, place: p.refine(max_seconds=-1),
    "refine from a seed that is text": lambda p, place: p.refine(seed="0"),
    "a fit of nothing": lambda p, place: er.fit(None),
    "a fit of a number": lambda p, place: er.fit(3),
    "a fit of a model": lambda p, place: er.fit(p.program.model),
    "a model of a number": lambda p, place: er.model(3),
    "a program without an argument": lambda p, place: p.program.model(y=Y),
    "a program with one too many": lambda p, place: p.program.model(y=Y, x=Y, z=Y),
    "compare nothing": lambda p, place: er.compare({}),
    "compare numbers": lambda p, place: er.compare({"a": 1}),
    "a minibatch of none": lambda p, place: er.Minibatch("row", size=0),
    "a minibatch of text": lambda p, place: er.Minibatch("row", size="10"),
    "a minibatch of a number": lambda p, place: er.Minibatch(3, size=10),
    "a folder's report nowhere": lambda p, place: read_report(place / "nowhere"),
    "a folder's report of None": lambda p, place: read_report(None),
    "a folder's posterior nowhere": lambda p, place: read_posterior(place / "nowhere"),
}


def refused(call):
    """Check that a call is refused in four parts."""
    with pytest.raises(er.ElboroomError) as found:
        call()
    words = str(found.value)
    assert ": expected " in words and ", got " in words and words.rstrip().endswith("."), words
    return words


DRAW_BY_DRAW = {"if on a latent", "while on a latent", "int() of a latent", "range of a latent"}
"""What PyTorch runs, once per draw, and a finding says so."""


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("name", BODIES)
def test_wrong_models(name, backend):
    if backend == "torch" and name in DRAW_BY_DRAW:
        return
    refused(lambda: fit(BODIES[name], backend))


@pytest.mark.parametrize("name", OUTCOMES)
def test_wrong_outcomes(name):
    assert "y" in refused(lambda: fit(y=OUTCOMES[name]))


@pytest.mark.parametrize("name", ODD)
def test_wrong_arguments(name):
    def used(a, x):
        er.deterministic("b", a * x)

    assert "x" in refused(lambda: fit(used, x=ODD[name]))


@pytest.mark.parametrize("name, value", [(name, value) for name, some in OPTIONS.items() for value in some])
def test_wrong_options(name, value):
    refused(lambda: fit(options={name: value}))


@pytest.mark.parametrize("name", AFTER)
def test_wrong_requests(name, posterior, tmp_path):
    refused(lambda: AFTER[name](posterior, tmp_path))


def test_two_hundred():
    options = sum(len(some) for some in OPTIONS.values())
    assert len(BODIES) + len(OUTCOMES) + len(ODD) + options + len(AFTER) >= 200

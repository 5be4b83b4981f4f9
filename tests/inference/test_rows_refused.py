"""Bad input of models with networks and encoders: told in four parts, by site or argument; and odd input that is right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from scipy import stats

import elboroom as er

RNG = np.random.default_rng(0)
X = (RNG.uniform(size=(60, 6)) < 0.5).astype(float)
BOTH = ("jax", "torch")


def rows(decoder=None, law=None, encoder=None, change=lambda z: z):
    """A model of binary rows, or of others, with a decoder that is given."""
    law = law or (lambda out: er.Bernoulli(logits=out))
    net = decoder or er.nn.MLP(2, [8], 6)

    @er.model
    def binary(x):
        decode = er.module("decode", net)
        if encoder is not None:
            er.module("encode", encoder)
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
            er.observe("x", law(decode(change(z))).to_event(1), x)

    return binary


def normal(out):
    return er.Normal(out, 0.5)


def refused(words, program, kind=er.ElboroomError, **options):
    with pytest.raises(kind, match=words) as caught:
        er.fit(program, **{"guide": er.Amortized(), "progress": False, **options})
    assert "expected" in str(caught.value) and "got" in str(caught.value)


def torch_net(kind, *size, **options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return getattr(torch.nn, kind)(*size, **options)


def equinox_net(kind, *size, **options):
    import equinox as eqx
    import jax

    return getattr(eqx.nn, kind)(*size, key=jax.random.key(0), **options)


LINEAR = {"jax": equinox_net, "torch": torch_net}

# -- networks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("library", [False, True])
def test_a_network_of_the_wrong_shape(backend, library):
    def make(fan_in, fan_out):
        return LINEAR[backend]("Linear", fan_in, fan_out) if library else er.nn.MLP(fan_in, [], fan_out)

    refused(
        "site 'x' .*of the shape of their law, \\(60, 5\\)",
        rows(make(2, 5))(X),
        er.ShapeError,
        backend=backend,
    )
    words = (
        "er.module 'decode': expected inputs .*got .*\\(60, 2\\)"
        if library
        else "last axis has 3 numbers, got"
    )
    refused(words, rows(make(3, 6))(X), er.ShapeError, backend=backend)
    named = {"z": er.Amortized("encode")}
    for net, said in (
        (make(6, 3), "encoder 'encode': expected 4 numbers for each row"),
        (make(5, 4), "inputs"),
    ):
        refused(said, rows(encoder=net)(X), guide=named, backend=backend)


@pytest.mark.parametrize("name", ["decode", "encode"])
def test_weights_that_are_not_finite(name):
    import equinox as eqx

    net = equinox_net("Linear", *((2, 6) if name == "decode" else (6, 4)))
    net = eqx.tree_at(lambda one: one.weight, net, net.weight.at[0, 0].set(np.nan))
    program = rows(**{f"{name}r": net})(X)
    guide = {"z": er.Amortized("encode")} if name == "encode" else er.Amortized()
    refused(
        f"er.module '{name}': expected finite weights, got 1 of 'weight'", program, er.DataError, guide=guide
    )


def test_weights_without_numbers():
    net = torch_net("Linear", 2, 6, device="meta")
    refused("er.module 'decode': .*on the meta device", rows(net)(X), er.ModelError, backend="torch")


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: torch_net("BatchNorm1d", 2), "BatchNorm1d, through which rows see each other"),
        (lambda: torch_net("Dropout"), "Dropout, which draws at random"),
    ],
)
def test_a_module_that_is_not_pure(make, words):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = torch.nn.Sequential(make(), torch.nn.Linear(2, 6))
    refused(f"er.module 'decode': .*{words}", rows(net)(X), er.UnsupportedError, backend="torch")


# -- rows that see each other ----------------------------------------------------------------------------


class Mixing:
    """A network of one's own, which normalises over rows."""

    def arrays(self, rng):
        return {"weight": rng.normal(size=(2, 6))}

    def apply(self, arrays, z):
        return (z - er.math.mean(z, axis=0)) @ arrays["weight"]


class First(Mixing):
    """One that answers with the first row for all."""

    def apply(self, arrays, z):
        return (z @ arrays["weight"])[0]


class Answer(Mixing):
    """An encoder that sees the mean of its batch."""

    def arrays(self, rng):
        return {"weight": 0.3 * rng.normal(size=(6, 4))}

    def apply(self, arrays, x):
        return (x - 0.5 * er.math.mean(x, axis=0)) @ arrays["weight"]


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("net", [Mixing(), First()])
def test_a_decoder_through_which_rows_see_each_other(backend, net):
    words = "rows that do not see each other, got another value of the density of a row"
    refused(words, rows(net)(X), er.GuideError, backend=backend)


def test_a_model_or_an_encoder_through_which_rows_see_each_other():
    words = "rows that do not see each other, got another value of"
    mixed = rows(change=lambda z: z - er.math.mean(z, axis=0, keepdims=True))(X)
    refused(f"{words} the density of a row", mixed, er.GuideError)
    refused(f"{words} the encoder's answer", rows()(X), er.GuideError, guide=er.Amortized(Answer()))
    chosen = er.fit(mixed, progress=False, refine=False, max_seconds=1)  # by default they are fitted together
    assert "training" not in [rung.name for rung in chosen.trail]


# -- data ------------------------------------------------------------------------------------------------


def test_an_encoder_without_inputs():
    refused(
        "sees of er.Amortized: expected an argument at least, got none",
        rows()(X),
        guide=er.Amortized(sees=[]),
    )


def test_one_row_is_too_few_for_an_encoder():
    refused("rows of 'row': expected two rows at least, got one", rows()(X[:1]), er.GuideError)


@pytest.mark.parametrize(
    "x, words",
    [
        (
            255 * X.astype(int),
            r"Bernoulli .*got \[255, .*\(x / 255\) for er.ContinuousBernoulli, or .*x / 255 > 0.5",
        ),
        (np.where(X > 0, 0.25, X), r"got \[0.25, .*Grey values have er.ContinuousBernoulli; or .*x > 0.5"),
        (X - 0.5, r"got \[-?0.5, .*Correct those rows or choose another likelihood"),
        (np.where(X > 0, np.inf, X), r"argument 'x': expected finite numbers, got \[inf"),
        (X[:0], "argument 'x': expected at least one row"),
        (X[:, :4], r"site 'x' .*data of shape \(60, 4\)"),
    ],
)
def test_data_that_the_law_cannot_have(x, words):
    with pytest.raises(er.ElboroomError, match=words) as caught:
        er.fit(rows()(x), progress=False)
    assert "expected" in str(caught.value) and "got" in str(caught.value)


def test_a_column_that_never_varies_is_no_trouble():
    x = np.column_stack([X[:, :5], np.ones(60)])
    posterior = er.fit(rows(law=normal)(x), guide=er.Amortized(), progress=False, max_seconds=2)
    assert np.isfinite(posterior.summary()["mean"]).all()
    far = np.tile(x[:1], (3, 1)) + [0, 0, 0, 0, 0, 2.0]  # where it varies after all
    assert np.isfinite(posterior.latent.encode(far)["mean"]).all()


def test_where_all_is_missing_the_posterior_is_the_prior():
    x = np.where(np.arange(60)[:, None] < 8, np.nan, X)
    some = er.fit(rows(law=normal)(x), guide=er.Amortized(), progress=False)
    none = er.fit(rows(law=normal)(np.full((60, 6), np.nan)), guide=er.Amortized(), progress=False)
    for posterior, count in ((some, 16), (none, 120)):
        table = posterior.summary().iloc[:count]
        assert (np.abs(table["mean"]) < 0.15).all() and (np.abs(table["sd"] - 1) < 0.15).all()
        assert (np.abs(table["q95"] - stats.norm.ppf(0.95)) < 0.25).all()
        assert set(table["verdict"]) == {"trusted"}
        left_out = next(f for f in posterior.findings if f.name == "missing values").value
        assert left_out == (48 if posterior is some else 360)


# -- fits that end before they are done ------------------------------------------------------------------

KILLED = """
import sys, numpy as np, elboroom as er
sys.path.insert(0, sys.argv[2])
from test_rows_refused import line
from elboroom.inference.run import checkpoint
checkpoint.CHECKPOINT_SECONDS = 0.0
kept, count = checkpoint.Checkpoint.keep, [0]
def keep(self, make):
    kept(self, make)
    count[0] += 1
    if count[0] == 4:
        print("under way", flush=True)
        import time; time.sleep(60)
checkpoint.Checkpoint.keep = keep
line(sys.argv[1])
"""


def line(checkpoint=None):
    x = np.random.default_rng(1).normal(size=(80, 1)) * [1.0, -1.0, 2.0, 0.5, 1.0, -2.0]
    program = rows(er.nn.MLP(2, [], 6), normal)(x)
    return er.fit(program, guide=er.Amortized(), progress=False, checkpoint=checkpoint, num_draws=200)


@cache
def undisturbed():
    return line()


def test_a_fit_that_is_killed_goes_on_to_the_same_result(tmp_path):
    here, place = os.path.dirname(__file__), tmp_path / "kept"
    words = [sys.executable, "-c", KILLED, str(place), here]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "under way\n"
        process.send_signal(signal.SIGKILL)
    assert place.exists()
    again = line(place)
    for name, value in undisturbed().weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
    np.testing.assert_array_equal(again.summary()["mean"], undisturbed().summary()["mean"])

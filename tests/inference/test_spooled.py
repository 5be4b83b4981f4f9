"""Fits of rows in memory maps: the same as of arrays, and never all of them in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from elboroom.guides.amortized import Amortized
from elboroom.inference.deep import setup as preparing
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.evidence import encoded, weighed
from elboroom.ppl import host

import elboroom as er

RNG = np.random.default_rng(0)
SHIFT = RNG.integers(100, 156, 80).astype(np.uint8)  # below 128 a difference of eight bits is another one
X = (RNG.normal(size=(80, 1)) * [1.0, -1.0, 2.0] + 0.3 * RNG.normal(size=(80, 3))).astype(np.float32)
X += (SHIFT[:, None] - 128.0) / 10
GAPS = np.where(RNG.uniform(size=X.shape) < 0.1, np.float32(np.nan), X)


@er.model
def shifted(x, shift):
    """A line beside a shift that is known, in eight bits."""
    slope = er.module("slope", er.nn.MLP(1, [], 3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(slope(z) + ((shift - 128) / 10)[:, None], 0.3).to_event(1), x)


def test_a_fit_of_memory_maps_with_gaps_is_that_of_arrays():
    given = {"x": GAPS, "shift": SHIFT}
    mapped = er.spool(
        {name: value[part] for name, value in given.items()} for part in np.split(np.arange(80), 5)
    )
    one, other = (er.fit(shifted(**data), guide=Amortized(), progress=False) for data in (given, mapped))
    for name, value in one.weights.items():
        np.testing.assert_allclose(other.weights[name], value, atol=2e-5)
    np.testing.assert_allclose(other.summary()["mean"], one.summary()["mean"], atol=2e-5)
    assert list(other.summary()["verdict"]) == list(one.summary()["verdict"])
    assert next(f for f in other.findings if f.name == "missing values").value == np.isnan(GAPS).sum()
    few = {name: value[:9] for name, value in mapped.items()}  # themselves memory maps
    for data in (few, {name: np.array(value) for name, value in few.items()}):
        found = other.latent.encode(data)["mean"]
        np.testing.assert_allclose(found, one.latent.encode()["mean"][:9], atol=0.2)
    np.testing.assert_allclose(other.latent.table()["kl"], one.latent.table()["kl"], atol=1e-4)


@er.model
def wide(x):
    decode = er.module("decode", er.nn.MLP(1, [], x.shape[1]))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(decode(z), 1.0).to_event(1), x)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Rows of 128 MB, and blocks of a few hundred kB."""
    for place, name in ((host, "READ_BLOCK"), (preparing, "DEEP_CALL")):
        monkeypatch.setattr(place, name, 2**16)
    shape = (2**15, 2**10)
    np.memmap(tmp_path / "x", np.float32, "w+", shape=shape)[:5] = 1.0
    return np.memmap(tmp_path / "x", np.float32, "r", shape=shape)


def test_no_step_of_a_fit_reads_all_rows(large):
    small = wide(np.ones((40, 2**10), np.float32)).target(dtype="float32")  # what is imported and traced once
    preparing.set_up(Amortized(er.nn.MLP(2**10, [], 2)), "row", small, 32, 0)
    tracemalloc.start()
    try:
        program = wide(large)
        target = program.target()  # of another precision than the rows
        target = program.target(dtype="float32")
        assert program.data_fingerprint
        setup = preparing.set_up(Amortized(er.nn.MLP(2**10, [], 2)), "row", target, 32, 0)
        compiled = Compiled(setup.rows, setup.encoder, {})
        params = {"weights": {k: target.to_device(v) for k, v in setup.begin.items()}, "guide": {}}
        mean = encoded(compiled, params, np.arange(len(large))).mean
        some = next(weighed(compiled, params, np.arange(40), 1))
        assert tracemalloc.get_traced_memory()[1] < large.nbytes / 4
    finally:
        tracemalloc.stop()
    assert mean.shape == (2**15, 1) and some.z.shape[0] == 40


def test_what_is_wrong_in_a_memory_map_is_named_by_its_row(large, tmp_path):
    rows = np.memmap(tmp_path / "x", np.float32, "r+", shape=large.shape)
    rows[9000, 3] = np.inf
    with pytest.raises(
        er.DataError, match=r"argument 'x': expected finite numbers, got \[inf\] in rows \[9000\]"
    ):
        wide(rows)
    rows[9000, 3] = 1.0

    @er.model
    def binary(x):
        decode = er.module("decode", er.nn.MLP(1, [], x.shape[1]))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
            er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)

    rows[9001, 4:6] = 2.0, 7.0
    with pytest.raises(er.SupportError, match=r"got \[2.0, 7.0\] in rows \[9001, 9001\] \(2"):
        binary(rows).trace()

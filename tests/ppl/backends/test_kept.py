"""Samplers read from disk: the same draws as those that are traced, and never those of another model."""

import jax
import numpy as np
import pytest
from elboroom.ppl.backends.jax import kept, nuts

import elboroom as er

DATA = {"a": np.linspace(0.0, 1.0, 8), "b": np.linspace(5.0, 9.0, 8)}


def made(sd=1.0, used="a", shift=None):
    """A model of its own, as another process would have it."""

    @er.model
    def one(a, b):
        m = er.sample("m", er.Normal(0.0, 10.0))
        s = er.sample("s", er.HalfNormal(sd))
        er.observe("y", er.Normal(m, s), {"a": a, "b": b}[used] if shift is None else a + shift)

    return one(**DATA)


def begun(program, metric="dense"):
    """A sampler and the state of chains that are to be warmed up."""
    target = program.target("jax", np.float64, "cpu")
    start = np.random.default_rng(0).standard_normal((4, 2))
    value, grad = target.value_and_grad(start)
    sampler = target.sampler(20, metric)
    frame = (np.zeros(2), np.ones(2))
    given = frame, target.data, target.weights
    return sampler, sampler.begin(np.arange(4), start, value, grad, 0.1, 0.8, *given)


def drawn(program):
    """Draws, shape ``(C, T, dim)``."""
    sampler, state = begun(program)
    return sampler.run(state, 30)[1]["x"]


def place(program, **options):
    """Where the sampler's trace is kept."""
    sampler, (leaves, accept, given, mesh) = begun(program, **options)
    with jax.enable_x64(True):
        return sampler._on(mesh)._path((leaves, accept, np.zeros(30), given))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path))
    return tmp_path / "traced"


def test_what_is_kept_is_not_traced_again_and_draws_the_same(folder, monkeypatch):
    first = drawn(made())
    assert len(list(folder.iterdir())) == 1

    def traced(*args):
        raise AssertionError("traced again")

    monkeypatch.setattr(nuts.Sampler, "_many", traced)
    assert np.array_equal(drawn(made()), first)


def test_another_model_has_a_trace_of_its_own(folder, monkeypatch):
    models = [{}, {"sd": 2.0}, {"used": "b"}, {"shift": np.arange(8.0)}, {"shift": 1 + np.arange(8.0)}]
    places = {place(made(**model)) for model in models}
    assert len(places) == len(models) and place(made()) in places
    assert place(made(), metric="diagonal") not in places
    monkeypatch.setattr(kept, "_versions", lambda: '{"jax": "0.0.0"}')
    assert place(made()) not in places


def test_which_data_are_read_is_part_of_it(folder, monkeypatch):
    first = drawn(made())
    found = drawn(made(used="b"))
    assert found.mean() - first.mean() > 3  # the data lie 6.5 higher


def test_a_damaged_file_is_traced_anew(folder):
    first = drawn(made())
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(drawn(made()), first)
    assert path.stat().st_size > 100


def test_a_file_with_one_other_byte_is_dropped(folder):
    drawn(made())
    (path,) = folder.iterdir()
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    assert kept._read(path) is not None
    for place, bit in zip(rng.integers(0, len(whole), 200), rng.integers(0, 8, 200), strict=True):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(bit)
        path.write_bytes(bytes(flipped))
        assert kept._read(path) is None and not path.exists()


def test_a_file_of_other_libraries_is_dropped(folder, monkeypatch):
    drawn(made())
    (path,) = folder.iterdir()
    monkeypatch.setattr(kept, "_versions", lambda: '{"jax": "0.0.0"}')
    assert kept._read(path) is None and not path.exists()


def test_what_cannot_be_kept_still_runs(folder):
    def called(x):
        return jax.pure_callback(lambda v: np.asarray(v) ** 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    function = kept.Kept(called, np.float64, None, lambda x: b"called")
    assert np.array_equal(function(np.arange(3.0)), [0.0, 1.0, 4.0])
    assert not folder.exists()

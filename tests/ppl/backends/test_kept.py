"""Samplers read from disk: the same draws as those that are traced, and never those of another model."""

import os

import jax
import numpy as np
import pytest
from elboroom.ppl import cache
from elboroom.ppl.backends.jax import kept, nuts
from elboroom.ppl.backends.jax.arrays import Function

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
        return sampler._on(mesh)._kept_key((leaves, accept, np.zeros(30), given))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path))
    return cache.folder()


def traces(folder):
    """Files of the traces that are kept."""
    return list(folder.glob("trace-*"))


def test_what_is_kept_is_not_traced_again_and_draws_the_same(folder, monkeypatch):
    first = drawn(made())
    assert len(traces(folder)) == 1

    def traced(*args):
        raise AssertionError("traced again")

    monkeypatch.setattr(nuts.Sampler, "_many", traced)
    assert np.array_equal(drawn(made()), first)


def test_another_model_has_a_trace_of_its_own(folder, monkeypatch):
    models = [{}, {"sd": 2.0}, {"used": "b"}, {"shift": np.arange(8.0)}, {"shift": 1 + np.arange(8.0)}]
    places = {place(made(**model)) for model in models}
    assert len(places) == len(models) and place(made()) in places
    assert place(made(), metric="diagonal") not in places
    monkeypatch.setattr(kept, "versions", lambda: '{"jax": "0.0.0"}')
    assert place(made()) not in places


def test_which_data_are_read_is_part_of_it(folder, monkeypatch):
    first = drawn(made())
    found = drawn(made(used="b"))
    assert found.mean() - first.mean() > 3  # the data lie 6.5 higher


def test_a_damaged_file_is_traced_anew(folder):
    first = drawn(made())
    (path,) = traces(folder)
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(drawn(made()), first)
    assert path.stat().st_size > 100


def test_a_file_with_one_other_byte_is_dropped(folder):
    drawn(made())
    (path,) = traces(folder)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    kind, _, key = path.name.partition("-")
    assert cache.read(kind, key) is not None
    for place, bit in zip(rng.integers(0, len(whole), 200), rng.integers(0, 8, 200), strict=True):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(bit)
        path.write_bytes(bytes(flipped))
        assert cache.read(kind, key) is None and not path.exists()


def test_others_files_are_not_run(folder):
    drawn(made())
    for path in folder.iterdir():
        path.chmod(0o666)
        assert cache.read(*path.name.split("-")) is None


def test_functions_of_other_arguments_do_not_share_code(folder):
    """What a function does not read is no part of its compiled program, and of its identity all the same."""
    functions = [lambda a, b: 2 * a, lambda a, b: 2 * b]
    for one, expected in zip(functions * 2, [2.0, 6.0] * 2, strict=True):
        assert Function(one, np.float64)(np.ones(2), 3 * np.ones(2)).tolist() == [expected] * 2
        assert Function(one, np.float64)(np.ones(3), 3 * np.ones(5))[0] == expected


def test_the_longest_unused_go_first(folder, monkeypatch):
    keys = [f"{number:064x}" for number in range(10)]
    for age, key in enumerate(keys):
        cache.write("code", key, bytes(1000))
        os.utime(folder / f"code-{key}", (age, age))
    assert cache.read("code", keys[0]) == bytes(1000)  # and so it is the last to go
    mine = folder / "thesis.txt"
    mine.write_bytes(bytes(9000))
    assert cache.prune(6000) > 0
    assert {entry.path.name for entry in cache.entries()} == {f"code-{key}" for key in (keys[0], *keys[-4:])}
    assert mine.exists()
    monkeypatch.setenv("ELBOROOM_CACHE_GIB", "plenty")
    with pytest.raises(er.BackendError, match="ELBOROOM_CACHE_GIB"):
        cache.largest()


def test_the_switches_of_jax_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path))
    before = dict(jax.config.values)
    seen = []
    jax.monitoring.register_event_listener(lambda *words, **more: seen.append(dict(jax.config.values)))
    Function(lambda x: x + 41.0, np.float64)(np.ones(3))
    assert seen and all(
        one["jax_compilation_cache_dir"] == before["jax_compilation_cache_dir"] for one in seen
    )
    assert jax.config.values == before


def test_what_cannot_be_kept_still_runs(folder):
    def called(x):
        return jax.pure_callback(lambda v: np.asarray(v) ** 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    function = kept.Kept(called, np.float64, None, lambda x: b"called")
    assert np.array_equal(function(np.arange(3.0)), [0.0, 1.0, 4.0])
    assert not folder.exists() or not traces(folder)

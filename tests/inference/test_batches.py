"""Which models batches are right for, and which are refused."""

import itertools

import numpy as np
import pytest
from elboroom.inference.batches.minibatch import Batches, Minibatch

import elboroom as er

RNG = np.random.default_rng(0)
BACKENDS = pytest.mark.parametrize("backend", ["jax", "torch"])


@er.model
def games(home, away, y):
    with er.plate("team", 4):
        a = er.sample("a", er.Normal(0, 1))
        s = er.sample("s", er.HalfNormal(1))
    with er.plate("game", len(y)):
        er.observe("y", er.Normal(a[home], s[away]), y)


@er.model
def zero_sum(group, y):
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal((a - a.mean())[group], 1), y)


@er.model
def pupils(school, klass, income, y):
    mu = er.sample("mu", er.Normal(0, 1))
    with er.plate("school", er.levels(school)):
        s = er.sample("s", er.Normal(mu, 1))
    with er.plate("class", er.levels(klass)):
        c = er.sample("c", er.Normal(s[school] + income, 1))
    with er.plate("pupil", len(y)):
        er.observe("y", er.Normal(c[klass], 1), y)


@er.model
def table(y, x):
    mu = er.sample("mu", er.Normal(0, 1))
    with er.plate("pupil", y.shape[1]), er.plate("school", y.shape[0]):
        tau = er.sample("tau", er.HalfNormal(2.0))
        er.observe("y", er.Normal(mu + x, tau), y)


@er.model
def with_idle(group, y):
    with er.plate("group", 12):
        a = er.sample("a", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], 1), y)


y, codes = RNG.normal(size=6), np.array([0, 1, 1, 2, 3, 0])
PROGRAMS = {
    "two codes into one plate": (games(codes, (codes + 1) % 4, y), "game", 2, {"team": 4}),
    "a plate seen as a whole": (zero_sum(codes, y), "row", 2, {}),
    "groups of groups": (pupils([0, 0, 1, 2], codes, y[:4], y), "pupil", 2, {"class": 2, "school": 2}),
    "outer of nested plates": (table(y.reshape(2, 3), y.reshape(2, 3)), "school", 1, {}),
    "inner of nested plates": (table(y.reshape(2, 3), y.reshape(2, 3)), "pupil", 2, {}),
}


@BACKENDS
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_batch_together_is_unbiased(name, backend):
    program, plate, size, groups = PROGRAMS[name]
    target = program.target(backend)
    batches = Batches.of(target, Minibatch(plate, size))
    assert {owner: most for owner, (_, most, _) in batches.groups.items()} == groups
    z = np.random.default_rng(1).normal(size=(2, target.dim))
    every = [one(batches, np.array(rows), z) for rows in itertools.combinations(range(batches.total), size)]
    value, grad = target.value_and_grad(z)
    np.testing.assert_allclose(np.mean([v for v, _ in every], 0), value, rtol=1e-9)
    np.testing.assert_allclose(np.mean([g for _, g in every], 0), grad, rtol=1e-9, atol=1e-9)
    whole = batches.value_and_grad(z)
    np.testing.assert_allclose(whole[0], value, rtol=1e-9)
    np.testing.assert_allclose(whole[1], grad, rtol=1e-9, atol=1e-9)


def one(batches, rows, z):
    """Density and gradient of all coordinates that a batch gives."""
    given = batches.inputs(rows)
    data = {name: batches.target.to_device(value) for name, value in given["data"].items()}
    value, grad = batches.target.value_and_grad(z[:, given["where"]], data=data, scale=given["scale"])
    whole = np.zeros_like(z)
    assert len(np.unique(given["where"])) == len(given["where"])
    whole[:, given["where"]] = grad
    return value, whole


def test_elements_without_rows_are_drawn_too():
    target = with_idle(codes, y).target()
    batches = Batches.of(target, Minibatch("row", 3))
    z, rng = np.random.default_rng(2).normal(size=(1, target.dim)), np.random.default_rng(3)
    drawn = [one(batches, batches.sample(rng), z) for _ in range(4000)]
    grads = np.stack([grad[0] for _, grad in drawn])
    error = grads.std(0) / np.sqrt(len(grads))
    assert (np.abs(grads.mean(0) - target.value_and_grad(z)[1][0]) < 4 * error).all()


@er.model
def centred(x, y):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("slope", er.Normal(b * (x - x.mean()), 1), y)


@er.model
def counting(y):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b, 1 / len(y)), y)


@er.model
def aside(y):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b, 1), y)
    er.observe("again", er.Normal(b, 1), y)


@er.model
def unused(n, y):
    with er.plate("row", n):
        er.sample("b", er.Normal(0, 1))
    er.observe("y", er.Normal(0, 1), y)


@er.model
def line(x, y):
    b = er.sample("b", er.Normal(0, 1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(b * x, 1), y)


@BACKENDS
def test_models_that_are_no_sum_over_rows_are_refused(backend):
    for program, words in (
        (centred(y, y), "site 'slope' sees all of 'x' at once"),
        (counting(y), "a log density that is a sum over its rows, got"),
        (aside(y), "a log density that is a sum over its rows, got"),
        (unused(6, 1.0), "a plate along which some argument runs"),
        (line(y, np.where(y > 0.5, np.nan, y)), "rows without missing values, got some in"),
    ):
        with pytest.raises(er.InferenceError, match=words):
            Batches.of(program.target(backend), Minibatch("row", 2))


def test_arguments_that_the_user_names():
    target = line(y, y).target()
    assert Batches.of(target, Minibatch("row", 2, args=["x"])).along == {"x": {0: "row"}, "y": {0: "row"}}
    with pytest.raises(er.InferenceError, match="data arguments among .*'x', 'y'.*got 'z'"):
        Batches.of(target, Minibatch("row", 2, args=["z"]))
    short = with_idle(codes, y).target()
    with pytest.raises(er.InferenceError, match="argument 'y': expected 12 rows on axis 0.*shape \\(6,\\)"):
        Batches.of(short, Minibatch("group", 2, args=["y"]))


@BACKENDS
def test_a_memory_map_is_read_where_its_rows_are(backend, tmp_path):
    x, outcome = RNG.normal(size=400), RNG.normal(size=400)
    maps = []
    for name, value in (("x", x), ("y", outcome)):
        np.memmap(tmp_path / name, np.float64, "w+", shape=400)[:] = value
        maps.append(np.memmap(tmp_path / name, np.float64, "r", shape=400))
    batch = er.Minibatch("row", 10)
    mapped, held = (er.SVI(line(*data), batch, backend=backend) for data in (maps, (x, outcome)))
    np.testing.assert_array_equal(mapped.run(50), held.run(50))
    assert not mapped.target._placed  # never brought to the device
    assert line(*maps).data_fingerprint == line(x, outcome).data_fingerprint


def test_a_memory_map_that_is_shorter_than_it_says_is_refused(tmp_path):
    np.memmap(tmp_path / "x", np.float64, "w+", shape=400)[:] = 1.0
    x = np.memmap(tmp_path / "x", np.float64, "r", shape=400)
    with open(tmp_path / "x", "r+b") as file:
        file.truncate(1600)
    with pytest.raises(
        er.DataError, match="argument 'x': expected a memory map of 3200 bytes, got a file of 1600"
    ):
        line(x, np.ones(400))


def test_only_what_cannot_change_is_used_without_a_copy():
    x, view, open_ = np.ones(6), np.ones(6)[:], np.ones(6)
    x.setflags(write=False)
    view.setflags(write=False)  # of an array that can be written to
    held = {
        name: line(value, y).leaves["x"].value for name, value in zip("xvo", (x, view, open_), strict=True)
    }
    assert held["x"] is x and not np.shares_memory(held["v"], view) and not np.shares_memory(held["o"], open_)
    single = x.astype(np.float32)
    single.setflags(write=False)
    assert line(single, y).leaves["x"].value.dtype == np.float64


def test_codes_are_checked_with_hardly_a_copy():
    import tracemalloc

    group, outcome = np.array(np.arange(2**21) % 12), np.zeros(2**21)
    for value in (group, outcome):
        value.setflags(write=False)
    with_idle(codes, y).accesses("jax")  # what is imported and traced for the first time
    program = with_idle(group, outcome)
    tracemalloc.start()
    try:
        program.accesses("jax")
        assert tracemalloc.get_traced_memory()[1] < 1.5 * group.nbytes
    finally:
        tracemalloc.stop()

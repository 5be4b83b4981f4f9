"""Memory that runs out: smaller batches are tried, and where none fits the error says what would."""

import numpy as np
import pytest
from elboroom.inference.engines import stochastic
from elboroom.inference.ladder import weigh
from elboroom.inference.ladder.fitting import GuideFit
from elboroom.ppl.backends import load

import elboroom as er

BACKENDS = pytest.mark.parametrize("backend", ["jax", "torch"])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2000, 3))
Y = X @ [1.0, -0.5, 0.2] + RNG.normal(size=2000)
GROUP = RNG.permutation(np.repeat(np.arange(40), 50))


@er.model
def regression(x, y):
    b = er.sample("b", er.Normal(0, 10).expand([3]).to_event(1))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(x @ b, 1.0), y)


@er.model
def groups(y, group):
    mu = er.sample("mu", er.Normal(0, 10))
    with er.plate("group", er.levels(group)):
        a = er.sample("a", er.Normal(mu, 2.0))
    with er.plate("row", len(y)):
        er.observe("y", er.Normal(a[group], 1), y)


@er.model
def bare(x, y):
    b = er.sample("b", er.Normal(0, 10).expand([3]).to_event(1))
    er.observe("y", er.Normal(x @ b, 1.0).to_event(1), y)


def errors(backend):
    """What each backend raises."""
    if backend == "jax":
        import jax

        return [
            jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99 bytes."
            ),
            MemoryError(),
        ]
    import torch

    return [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 99 bytes."),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."
        ),
        MemoryError(),
    ]


@BACKENDS
def test_a_backend_knows_its_own_errors(backend):
    engine = load(backend)
    assert all(engine.out_of_memory(error) for error in errors(backend))
    others = [
        RuntimeError("shapes do not agree"),
        ValueError("out of memory"),
        errors(backend)[0].__class__("INTERNAL"),
    ]
    if backend == "jax":
        assert not any(engine.out_of_memory(error) for error in others)
    else:
        assert not any(engine.out_of_memory(error) for error in others[:2])


@pytest.mark.parametrize("size, backend", [(None, "jax"), (600, "torch")])
def test_smaller_batches_are_tried_and_said(size, backend, room_for):
    program = regression(X, Y)
    minibatch = size and er.Minibatch("row", size)
    room_for(200, errors(backend)[0])
    posterior = er.fit(program, minibatch=minibatch, backend=backend, refine=False, progress=False)
    found = next(f for f in posterior.findings if f.name == "out of memory")
    used = 150 if size else 64
    assert found.quantity == "row" and found.value == used
    assert posterior.trail[0].name == "memory" and f"fitted on {used}" in posterior.trail[0].reason
    precision = X.T @ X + np.eye(3) / 100
    mean, sd = np.linalg.solve(precision, X.T @ Y), np.sqrt(np.diag(np.linalg.inv(precision)))
    table = posterior.summary()
    assert posterior.verdict == "trusted"
    assert np.all(np.abs(table["mean"] - mean) < 0.15 * sd) and np.all(np.abs(table["sd"] / sd - 1) < 0.15)


def test_evidence_of_local_quantities_fits_too(monkeypatch, room_for, backend="jax"):
    """Batches hold a part of the groups only: all rows are read batch by batch."""
    program = groups(Y, GROUP)
    options = dict(guide="mean-field", backend=backend, refine=False, progress=False)
    monkeypatch.setattr(stochastic, "MOST_ASCENT_STEPS", 200)
    monkeypatch.setattr(weigh, "FIRST_POOL", 400)
    monkeypatch.setattr(weigh, "LARGEST_POOL", 400)
    small = er.fit(program, minibatch=er.Minibatch("row", 32), **options)
    room_for(45, errors(backend)[-1])
    tight = er.fit(program, minibatch=er.Minibatch("row", 64), **options)
    assert any(f.name == "out of memory" and f.value == 32 for f in tight.findings)
    evidence, expected = (next(r for r in p.trail if r.name == "evidence") for p in (tight, small))
    np.testing.assert_allclose([evidence.elbo, evidence.khat], [expected.elbo, expected.khat], rtol=1e-6)
    np.testing.assert_allclose(tight.summary()["mean"], small.summary()["mean"], rtol=1e-6)


@BACKENDS
def test_where_no_batch_fits_the_error_says_what_would(backend, monkeypatch, room_for):
    room_for(20, errors(backend)[0])
    for program, words in (
        (
            regression(X, Y),
            r"plate 'row': expected room for 32 rows at a time.*ut of memory.*Minibatch\('row', size=16\)",
        ),
        (bare(X, Y), "rows that can be taken some at a time, got no plate with data in it"),
    ):
        with pytest.raises(er.OutOfMemoryError, match=words):
            er.fit(program, backend=backend, progress=False)
    monkeypatch.undo()
    room_for(100, errors(backend)[0])
    with pytest.raises(
        er.OutOfMemoryError, match="Batches of 64 may fit, and were refused: guide: expected 'mean-"
    ):
        er.fit(regression(X, Y), guide="flow", backend=backend, progress=False)


def test_chains_over_all_rows_that_do_not_fit_are_left_out(room_for):
    error = errors("jax")[0]
    room_for(500, error)
    options = dict(guide="mean-field", minibatch=er.Minibatch("row", 200), progress=False)
    posterior = er.fit(regression(X, Y), refine="always", **options)
    assert posterior.trail[-1].name == "refine" and "RESOURCE_EXHAUSTED" in posterior.trail[-1].reason


class Killed(BaseException):
    pass


@pytest.mark.parametrize("size", [None, 600])
def test_a_fit_that_ran_out_goes_on_where_it_was(tmp_path, monkeypatch, room_for, size):
    """With the batches that fitted, also on a machine that has more memory."""

    def fit(folder=None):
        minibatch = size and er.Minibatch("row", size)
        return er.fit(regression(X, Y), minibatch=minibatch, checkpoint=folder, refine=False, progress=False)

    def dying(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        room_for(200, errors("jax")[0], patch)
        whole = fit()
        patch.setattr(weigh, "draw_pool", dying)
        with pytest.raises(Killed):
            fit(tmp_path)
    resumed = fit(tmp_path)
    assert np.array_equal(resumed.z, whole.z) and resumed.summary().equals(whole.summary())
    assert [r.reason for r in resumed.trail[:3]] == [r.reason for r in whole.trail[:3]]
    assert any(f.name == "out of memory" for f in resumed.findings)


def test_the_size_that_memory_chose_is_part_of_the_checkpoint(tmp_path, monkeypatch):
    from elboroom.inference.batches import memory, minibatch

    def fit(folder=None):
        return er.fit(regression(X, Y), checkpoint=folder, refine=False, progress=False)

    def dying(*args, **kwargs):
        raise Killed

    monkeypatch.setattr(minibatch, "available", lambda: 1e6)
    whole = fit()
    assert any(f.name == "batches" for f in whole.findings)
    with monkeypatch.context() as patch:
        patch.setattr(GuideFit, "run", dying)
        with pytest.raises(Killed):
            fit(tmp_path)
    monkeypatch.setattr(minibatch, "available", lambda: 1e12)  # another machine
    assert memory.automatic(regression(X, Y).target()) is None
    resumed = fit(tmp_path)
    assert np.array_equal(resumed.z, whole.z) and resumed.summary().equals(whole.summary())

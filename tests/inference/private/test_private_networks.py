"""`er.fit(private=)` with an encoder: how far one row moves a step, what is learned, and that nothing left behind knows a row."""

import struct

import numpy as np
import pytest
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.objectives import Elbo
from elboroom.inference.deep.rows import Rows
from elboroom.inference.deep.setup import set_up
from elboroom.inference.deep.training import Training
from elboroom.inference.private.shown import nobodys
from elboroom.inference.private.training import PrivateTraining, _cast, shapes_of
from elboroom.inference.private.units import Drawn, Units, budget_of
from elboroom.inference.run.watch import Watch

import elboroom as er

N, PLANTED = 600, 77.654321
RNG = np.random.default_rng(0)
LOADINGS = np.array([[2.0, 1.0, -1.0]])
X = RNG.standard_normal((N, 1)) @ LOADINGS + 0.5 * RNG.standard_normal((N, 3))


@er.model
def factor(x):
    net = er.module("net", er.nn.MLP(1, [], 3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(net(z), 0.5).to_event(1), x)


GUIDE = er.Amortized(er.nn.MLP(3, [], 2), within="mean-field")


def private(**given):
    return er.Private(**{"epsilon": 8.0, "delta": 1e-4, "clip": 3.0, "steps": 1, "seed": 2, **given})


def gradient(x, by=None, backend="jax", size=None):
    """Noisy gradients of all learned arrays in a batch of all rows, by the first moments after one step; and their noise."""
    target = factor(x).target(backend, np.float32)
    units = Units.of(target, "row", by, encoded=True)
    budget = budget_of(private(), units, er.Minibatch("row", units.total))
    most = units.members.shape[1]
    own = nobodys(units, 8)
    setup = set_up(GUIDE, "row", own, 8, 0)
    compiled = Compiled(Rows.of(own, "row", most), setup.encoder, {})
    drawn = Drawn(units, budget, private().generator(), shapes_of(setup.begin, 0))
    training = PrivateTraining(compiled, drawn, 1e-3)
    small = compiled.rows.small
    shape = (1, budget.most * most)
    loop = small.loops.loop(training.step, small.dtype, small.density.clock, shape)
    given = {"seed": np.zeros(1, np.int64), "rate": np.full(1, 1e-3), **drawn.many(None, 1)}
    begun = Training(setup, Compiled(setup.rows, setup.encoder, {}), Elbo(), 0.0, 0, Watch()).begun()
    with small.room():
        state, _ = loop(begun, _cast(given, small.dtype), training._constants())
    found = small.loops.to_host(state["first"])["weights"]
    return units.total * 10 * np.concatenate([np.ravel(found[name]) for name in sorted(found)])


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_one_row_moves_all_gradients_together_by_twice_its_clip_at_the_most(backend):
    x = X[:40].copy()
    base = gradient(x, backend=backend)
    x[3] = 1e4 * PLANTED
    moved = np.linalg.norm(gradient(x, backend=backend) - base)
    assert 1.0 < moved <= 6.0


@pytest.mark.slow
def test_rows_of_one_label_move_them_as_one_does():
    x, by = X[:40].copy(), np.arange(40) // 4
    base = gradient(x, by)
    x[4:8] = 1e4 * PLANTED
    assert 1.0 < np.linalg.norm(gradient(x, by) - base) <= 6.0


@pytest.fixture(scope="module")
def posterior():
    x = X.copy()
    x[5, 1] = PLANTED
    given = private(steps=400, clip=2.0, rate=0.02, seed=3)
    return er.fit(factor(x), guide=GUIDE, private=given, progress=False, num_draws=200)


@pytest.mark.slow
def test_what_is_learned_points_where_the_rows_do(posterior):
    """Outcomes move along one line with the latent quantity: that of the rows, whatever its sign; a clip makes it shorter."""
    found = np.ravel(next(v for v in posterior.learned.values() if np.ndim(v) == 2))
    length = np.linalg.norm(LOADINGS)
    assert abs(found @ LOADINGS[0]) / (np.linalg.norm(found) * length) > 0.98
    assert 0.5 * length < np.linalg.norm(found) < 1.2 * length


@pytest.mark.slow
def test_its_rows_are_made_up_and_no_file_holds_another(posterior, tmp_path):
    assert posterior.verdict != "trusted" and "no public rows" in {f.name for f in posterior.findings}
    assert posterior.privacy["num_units"] == N and not (posterior.summary()["verdict"] == "trusted").any()
    shown = np.asarray(posterior.draws.observed_data.x)
    assert shown.shape == (256, 3) and not np.isclose(shown[:, None], X[None, :50], atol=1e-6).any()
    assert np.abs(np.cov(shown.T) - LOADINGS.T @ LOADINGS - 0.25 * np.eye(3)).max() < 2.0
    posterior.save(tmp_path / "saved")
    posterior.report(tmp_path / "report.html")
    er.Registry(tmp_path / "registry").add(posterior, "factor")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    numbers = [struct.pack(f"{end}{kind}", PLANTED) for end in "<>" for kind in "fd"] + [b"77.654"]
    assert [path for path in files if any(number in path.read_bytes() for number in numbers)] == []
    assert "differential privacy" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_public_rows_are_what_it_is_shown_on():
    public = {"x": RNG.standard_normal((60, 1)) @ LOADINGS + 0.5 * RNG.standard_normal((60, 3))}
    given = private(steps=5, public=public)
    found = er.fit(factor(X), guide=GUIDE, private=given, progress=False, num_draws=100)
    np.testing.assert_allclose(found.draws.observed_data.x, public["x"])
    assert "no public rows" not in {f.name for f in found.findings}


@er.model
def given_more(x, w):
    net = er.module("net", er.nn.MLP(2, [], 3))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([1]).to_event(1))
        er.observe("x", er.Normal(net(er.math.concat([z, w[:, None]], axis=-1)), 0.5).to_event(1), x)


def test_what_cannot_be_private_or_shown_is_refused():
    with pytest.raises(er.DataError, match="which the model does not make up"):
        er.fit(given_more(X, X[:, 0]), guide=er.Amortized(), private=private(), progress=False)
    with pytest.raises(er.InferenceError, match="objective"):
        er.fit(
            factor(X), guide=GUIDE, private=private(), objective=er.objectives.Elbo(beta=2.0), progress=False
        )
    with pytest.raises(er.GuideError, match="dropout="):
        er.fit(factor(X), guide=er.Amortized(dropout={"x": 0.1}), private=private(), progress=False)

"""Matrices of networks shrink as far as rows are known by heart, and nothing else does."""

import numpy as np
import pytest
from elboroom.inference.deep.compiled import Compiled
from elboroom.inference.deep.objectives import Elbo
from elboroom.inference.deep.setup import set_up
from elboroom.inference.deep.training import shrinking

import elboroom as er


@er.model
def curve(x):
    decode = er.module("decode", er.nn.MLP(2, [4], 3))
    tilt = er.param("tilt", np.ones((2, 3)))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([2]).to_event(1))
        er.observe("x", er.Normal(decode(z) + z @ tilt, 0.7).to_event(1), x)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_matrices_of_networks_shrink_by_a_share_of_themselves_beside_adam(backend):
    x = np.random.default_rng(0).normal(size=(16, 3))
    target = curve(x).target(backend, np.float64)
    made = set_up(er.Amortized(), "row", target, 16, 0)
    device = target.to_device
    compiled = Compiled(made.rows, made.encoder, {"x": device(x)})
    train = compiled.trained(Elbo())

    def stepped(decay):
        params = {"weights": {k: device(v) for k, v in made.begin.items()}, "guide": {}}

        def zeros():
            return {"weights": {k: device(np.zeros(np.shape(v))) for k, v in made.begin.items()}, "guide": {}}

        norm = {"usual": device(np.zeros(())), "count": device(np.zeros(()))}
        copy = target.loops.copy
        state = {"params": params, "first": zeros(), "second": zeros(), "mean": copy(params), "norm": norm}
        given = {**Elbo().at(0), "stuck": 0.0, "rate": 0.01, "decay": decay}
        inputs = {k: np.full(1, v) for k, v in given.items()}
        inputs |= {"seed": np.zeros(1, np.int64), "rows": np.arange(16)[None]}
        with made.rows.small.room():
            return train(state, inputs, compiled.constants)[0]["params"]["weights"]

    plain, shrunk = stepped(0.0), stepped(0.3)
    matrices = {k for k, v in made.begin.items() if np.ndim(v) > 1 and k != "tilt"}
    assert {"decode.layers.0.weight", "decode.layers.1.weight", "encoder.linear"} < matrices
    for name, before in made.begin.items():
        moved = np.asarray(shrunk[name]) - np.asarray(plain[name])
        expected = -0.01 * 0.3 * before if name in matrices else 0.0 * before
        np.testing.assert_allclose(moved, expected, atol=1e-12, err_msg=name)


def test_how_far_they_shrink_follows_what_is_known_by_heart():
    assert shrinking(2.0, 6.0) == pytest.approx(1 / 16)
    assert shrinking(1e3, 0.0) == pytest.approx(1.0, abs=1e-4)
    assert all(shrinking(excess, 5.0) == 0 for excess in (0.0, -1.0, np.nan, np.inf, -np.inf))
    assert shrinking(1.0, np.nan) == 0

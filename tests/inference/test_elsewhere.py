"""Rows with places that none of their draws know, above the number of coordinates up to which draws from afar would meet them."""

import numpy as np
import pytest
from elboroom.inference.deep.elsewhere import unseen
from elboroom.inference.deep.judged import capped, others_capped

import elboroom as er

UNITS = 10


@er.model
def squares(x, y):
    """The first coordinate is seen by its square alone, the others as they are."""
    decode = er.module("decode", er.nn.MLP(UNITS - 1, [], UNITS - 1))
    with er.plate("row", len(x)):
        z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
        er.observe("x", er.Normal(z[:, 0] ** 2, 0.3), x)
        er.observe("y", er.Normal(decode(z[:, 1:]), 0.5).to_event(1), y)


def known(num, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num, UNITS))
    x = z[:, 0] ** 2 + 0.3 * rng.normal(size=num)
    return x, z[:, 1:] + 0.5 * rng.normal(size=(num, UNITS - 1))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_place_that_no_draw_of_a_row_met_is_found(backend):
    x, y = known(120)
    posterior = er.fit(squares(x, y), guide=er.Amortized(), backend=backend, progress=False)
    elsewhere = posterior.draws["fit"].to_dataset()["row_elsewhere"].to_numpy()
    looked = np.isfinite(elsewhere)
    assert looked.sum() == 60
    # both places have the same mass, so that draws which know one of them lack half
    assert np.median(elsewhere[looked & (x > 1.5)]) > 0.3
    assert posterior.verdict == "untrusted"
    assert "other places of rows" in {f.name for f in posterior.findings}
    new = posterior.latent.encode({"x": x[:8], "y": y[:8]})
    assert set(new["verdict"].to_numpy()) == {"untrusted"}
    scores = posterior.latent.score({"x": x[:8], "y": y[:8]})  # log p(x) lacks the other place's mass too
    assert set(scores["verdict"].to_numpy()) == {"untrusted"}
    rows = posterior.summary()
    trusted = rows[rows["verdict"] == "trusted"]
    for name, row in trusted.iterrows():
        if name.startswith("z[") and name.endswith(", 0]"):
            assert abs(row["mean"]) < 0.15 * row["sd"], name  # by symmetry it is zero


@pytest.mark.slow
def test_no_place_is_found_where_there_is_one():
    _, y = known(60)

    @er.model
    def plane(y):
        decode = er.module("decode", er.nn.MLP(UNITS, [], UNITS - 1))
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(0, 1).expand([UNITS]).to_event(1))
            er.observe("y", er.Normal(decode(z), 0.5).to_event(1), y)

    for within in ("mean-field", "full-rank"):
        posterior = er.fit(plane(y), guide=er.Amortized(within=within), progress=False)
        elsewhere = posterior.draws["fit"].to_dataset()["row_elsewhere"].to_numpy()
        assert np.nanmax(elsewhere) < 0.02, within
    # of few draws the evidence itself is noisy: by that much more mass is no place
    latent = posterior.latent
    for few in latent.weighed({"y": y}, len(y), 100):
        assert unseen(latent.compiled, latent.params, few, latent.far, 0, {"y": y}).max() < 0.02


def test_what_rows_can_be_that_were_not_looked_at():
    none, one, many = np.full(100, np.nan), np.full(100, np.nan), np.full(100, np.nan)
    for values in (none, one, many):
        values[:60] = 0.0
    one[3] = 0.4
    many[:10] = 0.4
    assert [others_capped(v) for v in (none, one, many)] == ["trusted", "caution", "untrusted"]
    assert list(capped(one)[[0, 3, 99]]) == ["trusted", "untrusted", "caution"]

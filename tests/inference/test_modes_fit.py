"""Several modes through `er.fit`: weighed together where that is established, objection where it is not."""

import numpy as np
import pytest
from elboroom.ppl.constraints import real

import elboroom as er


@er.model
def modes(centre, width, mass):
    x = er.sample("x", er.ImproperUniform(real, (centre.shape[1],)))
    s = er.sample("s", er.LogNormal(0, 0.3))
    e = (x - centre) / width[:, None]
    own = er.math.log(mass) - centre.shape[1] * er.math.log(width) - 0.5 * er.math.sum(e * e, axis=1)
    er.factor("modes", er.math.logsumexp(own, axis=0) + 0.0 * s)


CENTRE, WIDTH, MASS = np.array([[0.0, 0.0], [12.0, 1.0]]), np.array([1.0, 0.5]), np.array([0.7, 0.3])


@pytest.fixture(scope="module")
def posterior():
    return er.fit(modes(CENTRE, WIDTH, MASS), progress=False)


def share(values):
    return float((values["x"][:, 0] > 7).mean())


def test_both_modes_are_weighed(posterior):
    mean = MASS @ CENTRE
    sd = np.sqrt(MASS @ ((CENTRE - mean) ** 2 + WIDTH[:, None] ** 2))
    table = posterior.summary("x")
    assert posterior.verdict == "trusted" and posterior.guide.family.name == "mixture"
    assert np.all(np.abs(table["mean"] - mean) < 0.05 * sd) and np.all(np.abs(table["sd"] / sd - 1) < 0.05)
    found = next(f for f in posterior.findings if f.name == "several modes")
    assert found.verdict == "ok" and found.value == 2
    assert "modes" in [rung.name for rung in posterior.trail]
    assert abs(share(posterior.values) - 0.3) < 4 * np.sqrt(0.21 / 4000)
    derived = posterior.derive(lambda d: {"far": (d["x"][:, 0] > 7) * 1.0})
    assert derived["verdict"].tolist() == ["trusted"] and abs(derived["mean"].iloc[0] - 0.3) < 0.03


def test_it_is_kept(posterior, tmp_path):
    posterior.save(tmp_path / "kept")
    loaded = er.load(tmp_path / "kept")
    draws = posterior.sample(2000, seed=1)
    points = {name: value[:5] for name, value in draws.items()}
    np.testing.assert_allclose(loaded.log_prob(points), posterior.log_prob(points))
    assert loaded.summary().equals(posterior.summary())
    again = er.load(tmp_path / "kept", program=modes(CENTRE, WIDTH, MASS)).sample(2000, seed=1)
    for values in (draws, again):
        assert abs(share(values) - 0.3) < 4 * np.sqrt(0.21 / 2000)


def test_equal_modes_of_a_symmetry_stay_named():
    centre = np.array([[6.0, 1.0], [-6.0, -1.0]])
    posterior = er.fit(modes(centre, np.ones(2), np.full(2, 0.5)), progress=False)
    reasons = posterior.summary("x")["reason"]
    assert posterior.verdict == "untrusted" and reasons.str.contains("symmetric under").all()


def test_modes_that_no_gaussian_fits_are_condemned():
    @er.model
    def rings():
        x = er.sample("x", er.ImproperUniform(real, (2,)))
        radius = er.math.sqrt(er.math.sum(x * x))
        far = x - np.array([30.0, 0.0])
        own = er.math.stack([-0.5 * ((radius - 6) / 0.05) ** 2, 3 - 0.5 * er.math.sum(far * far)])
        er.factor("rings", er.math.logsumexp(own, axis=0))

    posterior = er.fit(rings(), start={"x": np.array([30.0, 0.0])}, refine=False, progress=False)
    assert "trusted" not in set(posterior.summary()["verdict"])


def test_a_guide_named_by_the_user_is_condemned_as_before():
    posterior = er.fit(modes(CENTRE, WIDTH, MASS), guide="full-rank", progress=False)
    found = next(f for f in posterior.findings if f.name == "several modes")
    assert set(posterior.summary("x")["verdict"]) == {"untrusted"} and found.verdict == "untrusted"

"""Several modes in closed form: found, weighed, and judged within each."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from elboroom.guides import Affine
from elboroom.inference.evidence.law import Law
from elboroom.inference.evidence.mixture import Part, gather, judged, missed, weigh
from elboroom.inference.evidence.symmetry import Symmetry
from elboroom.inference.ladder import modes
from scipy.special import logsumexp


class Modes:
    """Gaussian modes with known masses, as a batched density."""

    def __init__(self, centre, width, mass):
        self.centre, self.width, self.mass = (
            np.asarray(centre, float),
            np.asarray(width, float),
            np.asarray(mass),
        )

    def parts(self, z):
        dim = self.centre.shape[1]
        e = (z[:, None] - self.centre) / self.width[:, None]
        return np.log(self.mass) - dim * np.log(self.width) - 0.5 * (e**2).sum(2), e

    def members(self, z):
        own, _ = self.parts(z)
        return np.exp(own - logsumexp(own, axis=1, keepdims=True))

    def __call__(self, z):
        own, e = self.parts(z)
        return logsumexp(own, axis=1), -np.einsum("bk,bkd->bd", self.members(z) / self.width, e)

    @property
    def home(self):
        dim = self.centre.shape[1]
        return Affine(self.centre[0], self.width[0] * np.eye(dim))

    @property
    def moments(self):
        mean = self.mass @ self.centre
        return mean, np.sqrt(self.mass @ ((self.centre - mean) ** 2 + self.width[:, None] ** 2))


def apart(dim, separation, width, mass):
    other = np.full(dim, separation / np.sqrt(dim))
    return Modes([np.zeros(dim), other], [1.0, width], [1 - mass, mass])


@pytest.mark.parametrize("mass", [0.5, 0.1])
@pytest.mark.parametrize("width", [1.0, 0.2])
@pytest.mark.parametrize(("dim", "separation"), [(2, 6.0), (2, 20.0), (3, 8.0), (60, 12.0)])
def test_two_modes_are_weighed(dim, separation, width, mass):
    width = width if dim == 2 else 1.0
    density, rng = apart(dim, separation, width, mass), np.random.default_rng(0)
    parts = gather(density, density.home, density.centre[1:] + 0.1 * width, rng)
    mixed = weigh(density, parts, 8000, rng)
    assert len(parts) == 2 and mixed.khat < 0.3
    pool = mixed.pool
    near = density.members(pool.z)[:, 1]
    share, error = pool.weights @ near, np.sqrt(pool.weights**2 @ (near - mass) ** 2)
    assert abs(share - mass) < 4 * error and error < 0.02
    mean, sd = density.moments
    se = np.sqrt(pool.weights**2 @ (pool.z - mean) ** 2)
    assert np.all(np.abs(pool.weights @ pool.z - mean) < 4.5 * se)
    assert np.all(np.abs(np.sqrt(pool.weights @ (pool.z - mean) ** 2) / sd - 1) < 0.1)
    own = np.sort(mixed.masses)
    assert abs(own[0] - min(mass, 1 - mass)) < 5 * error
    assert abs(mixed.law.moments()[0] - mean).max() < 6 * se.max()
    location, scale = mixed.stein.of(pool.z)
    assert location.max() < 0.15 and scale.max() < 0.3


def test_modes_that_no_lead_names_are_found_from_the_others():
    centre = [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 12.0]]
    density, rng = Modes(centre, [1.0, 0.7, 1.5, 1.0], [0.4, 0.1, 0.2, 0.3]), np.random.default_rng(1)
    parts = gather(density, density.home, np.array([[8.0, 0.0]]), rng)
    found = np.array([part.frame.mean for part in parts])
    distance = np.linalg.norm(found[:, None] - density.centre, axis=2)
    assert len(parts) == 4 and distance.min(0).max() < 0.1
    mixed = weigh(density, parts, 8000, rng)
    np.testing.assert_allclose(mixed.masses[distance.argmin(0)], density.mass, atol=0.03)
    assert 9 < mixed.apart < 13


def test_places_that_a_symmetry_explains_are_left_out():
    density = Modes([[4.0, 1.0], [-4.0, 1.0]], [1.0, 1.0], [0.5, 0.5])
    flip = Symmetry("flipping the sign of a", lambda z: (z * [-1.0, 1.0], np.zeros(len(z))))
    leads = density.centre[1:]
    assert len(gather(density, density.home, leads, np.random.default_rng(0), [flip])) == 1
    assert len(gather(density, density.home, leads, np.random.default_rng(0))) == 2


def test_a_mode_that_hardly_any_point_leads_to_may_have_company():
    """Five times narrower, in ten dimensions: only the lead finds it."""
    density, rng = apart(10, 8.0, 0.2, 0.5), np.random.default_rng(0)
    assert "others may be missed" in gather(density, density.home, density.centre[1:], rng)


def test_residuals_see_a_component_that_misses():
    """Draws that are shifted within one mode: the residual speaks there, in the quantity's own sds."""
    density, rng = apart(2, 10.0, 1.0, 0.5), np.random.default_rng(2)
    mixed = weigh(density, gather(density, density.home, density.centre[1:], rng), 16_000, rng)
    pool, light = mixed.pool, mixed.pool.z[:, 0] < 3.5
    tilted = pool.log_weights + np.where(light, 0.7 * pool.z[:, 0], 0.0)
    pool = replace(pool, log_weights=tilted - np.where(light, 0.7**2 / 2, 0.0))
    moved = judged(mixed.law, pool.joined(pool))  # weights anew
    values = pool.joined(pool).z
    sd = density.moments[1]
    before, after = mixed.stein.of(mixed.pool.z)[0], moved.stein.of(values)[0]
    assert before.max() < 0.1
    assert abs(after[0] - 0.7 / sd[0]) < 0.15 and after[1] < 0.15


def test_components_that_do_not_fit_have_heavy_weights():
    """A thin ring beside a Gaussian: no Gaussian is near it."""

    def density(z):
        radius = np.linalg.norm(z, axis=1)
        e = z - [30.0, 0.0]
        own = np.stack([-0.5 * ((radius - 6) / 0.05) ** 2, 3 - 0.5 * (e**2).sum(1)], 1)
        value = logsumexp(own, axis=1)
        member = np.exp(own - value[:, None])
        pull = -(((radius - 6) / 0.05**2 / radius)[:, None]) * z
        return value, member[:, :1] * pull - member[:, 1:] * e

    rng = np.random.default_rng(3)
    parts = gather(density, Affine(np.array([30.0, 0.0]), np.eye(2)), np.array([[6.0, 0.1]]), rng)
    assert isinstance(parts, str) or weigh(density, parts, 8000, rng).khat > 0.5


def test_time_and_number_are_bounded():
    density, rng = apart(2, 9.0, 1.0, 0.5), np.random.default_rng(4)
    assert "time" in gather(density, density.home, density.centre[1:], rng, callback=lambda: True)
    centre = np.array([[12.0 * i, 12.0 * j] for i in range(4) for j in range(3)])
    many = Modes(centre, np.ones(12), np.full(12, 1 / 12))
    assert gather(many, many.home, centre[1:], rng) == "more than 8 modes"


def test_a_component_with_mass_that_the_draws_do_not_hold_is_missed():
    centres = [np.zeros(2), np.array([8.0, 0.0]), np.array([0.0, 9.0])]
    parts = [
        Part(Affine(mean, np.eye(2)), elbo) for mean, elbo in zip(centres, (0.0, -1.0, -8.0), strict=True)
    ]
    rng = np.random.default_rng(0)
    here, there = (mean + rng.standard_normal((500, 2)) for mean in centres[:2])
    (away,) = missed(parts, here)
    assert np.array_equal(away.z, centres[1]) and abs(away.distance - 8) < 0.2
    assert not missed(parts, np.concatenate([here, there]))  # the third promises less than a thousandth


def test_chains_of_a_bent_law_have_not_left_its_only_mode():
    rng = np.random.default_rng(0)
    a = 40 * rng.standard_normal(500)
    bent = np.stack([a, a**2 + rng.standard_normal(500)], 1)  # most of it outside the Gaussian at its mode
    home, other = Affine(np.zeros(2), np.eye(2)), Affine(np.array([40.0, 0.0]), np.eye(2))
    state = SimpleNamespace(frame=home, law=Law("mcmc", bent, num_chains=5))
    assert Part(home, 0.0).holds(bent) < 0.1 and not modes._away(state, [Part(home, 0.0)])
    (away,) = modes._away(state, [Part(other, 0.0)])
    assert np.array_equal(away.z, other.mean)

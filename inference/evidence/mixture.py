"""Several modes: a Gaussian at each, their masses by importance sampling, and evidence within each.

Starts that end apart give Gaussians; from every one of them the search goes on until it finds nothing new. Draws of
their mixture are weighed as one pool, and the residuals of Stein's identity are taken within each component, where
draws count by the probability that they belong to it.

References
----------
Yao, Vehtari & Gelman (2022), Stacking for non-mixing Bayesian computations, JMLR 23. Good (1953), The population
frequencies of species, Biometrika 40.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri

from ...guides.mixture import Components
from ...guides.transport import Affine, triangular
from ..engines.lbfgs import minimise
from ..engines.loop import STOPPED, fit
from ..engines.natural import NaturalGradient
from ..engines.polish import Polish
from ..engines.starts import dispersed, loose_fits
from ..thresholds import (
    ASKED,
    EDGE,
    FARTHEST,
    FEWEST_LEADS,
    LEAST_MASS,
    MOST_COMPONENTS,
    NEGLIGIBLE_COMPONENT,
    SAME_MODE,
    SLOPE,
    SLOPES,
    STARTS_AROUND,
)
from .modes import Elsewhere, at_home
from .pool import Pool, draw_pool
from .stein import Stein, directions, stein


@dataclass(frozen=True, eq=False)
class Part:
    """A Gaussian at a mode, and its ELBO up to a constant."""

    frame: Affine
    elbo: float

    def pull(self, z) -> np.ndarray:
        """Gradient of its log density at `z`."""
        return -self.frame.unwhiten(self.frame.inverse(z)[0])

    def same(self, other: Part) -> bool:
        """Whether both centres are near in the units of both."""
        limit = _limit(len(self.frame.mean))
        there = np.linalg.norm(self.frame.inverse(other.frame.mean[None])[0])
        back = np.linalg.norm(other.frame.inverse(self.frame.mean[None])[0])
        return bool(max(there, back) < limit)

    def holds(self, z) -> float:
        """Share of some points that lie in its ball of 99%."""
        return float(((self.frame.inverse(z)[0] ** 2).sum(1) < chdtri(z.shape[1], 0.01)).mean())

    def covers(self, parts: list[Part]) -> bool:
        """Whether it is spread over several others, which together hold as much."""
        others = [part for part in parts if part is not self]
        away = [np.linalg.norm(self.frame.inverse(part.frame.mean[None])[0]) for part in others]
        inside = [
            part.elbo for part, far in zip(others, away, strict=True) if far < _limit(len(self.frame.mean))
        ]
        return len(inside) > 1 and bool(np.logaddexp.reduce(inside) > self.elbo)


@dataclass(frozen=True, eq=False)
class Mixed:
    """Gaussians at all the modes found.

    Attributes
    ----------
    law : Components
        Their mixture, with masses from the pool.
    pool : Pool
    stein : LocalStein
    """

    law: Components
    pool: Pool
    stein: LocalStein

    @property
    def khat(self) -> float:
        """Of the pool's weights."""
        return self.pool.khat

    @property
    def masses(self) -> np.ndarray:
        """Mass of every component, shape ``(K,)``."""
        return self.law.weight

    @property
    def frame(self) -> Affine:
        """The frame of the whole."""
        mean, covariance = self.law.moments()
        return Affine(mean, np.linalg.cholesky(covariance))

    @property
    def apart(self) -> float:
        """Distance of the nearest two centres, in sds of the narrower."""
        x = [self.law.component(k).inverse(self.law.mean)[0] for k in range(len(self.masses))]
        size = np.linalg.norm(np.stack(x), axis=2)
        return float(np.maximum(size, size.T)[~np.eye(len(size), dtype=bool)].min())

    def scattered(self, rng: np.random.Generator) -> np.ndarray:
        """A draw from every component, shape ``(K, dim)``: what holds near one mode need not hold near all."""
        eps = rng.standard_normal(self.law.mean.shape)
        return self.law.mean + np.einsum("kij,kj->ki", self.law.scale_tril, eps)

    def enlarged(self, density, rng: np.random.Generator) -> Mixed:
        """With twice as many draws."""
        more = draw_pool(density, self.law, len(self.pool.z), rng)
        return judged(self.law, self.pool.joined(more))


@dataclass(frozen=True, eq=False)
class LocalStein:
    """Residuals of Stein's identity within every component.

    With r the probability of a component given z, ``E[r h + ∇r] = 0`` and ``E[(r h + ∇r) xᵀ] = −E[r] I`` in its own
    frame: what they leave over speaks of the draws that belong to it.
    """

    share: np.ndarray
    parts: list[Stein]
    x: list[np.ndarray]
    weights: list[np.ndarray]

    def of(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals of quantities with `values` at the pool's draws, in their own sds, two standard errors added.

        A residual of a component counts by how much wider a quantity is in all than in it; where the component
        holds too little mass to hold a quantile, less.
        """
        whole = sum(s * w for s, w in zip(self.share, self.weights, strict=True))
        sd = np.sqrt(np.maximum(whole @ (values - whole @ values) ** 2, 1e-300))
        location, scale = np.zeros((2, values.shape[1]))
        for share, part, x, own in zip(self.share, self.parts, self.x, self.weights, strict=True):
            ratio = np.sqrt(own @ (values - own @ values) ** 2) / sd
            shift, spread = part.along(directions(x, values, own))
            counts = min(share / EDGE, 1.0)
            location = np.maximum(location, counts * ratio * shift)
            scale = np.maximum(scale, np.maximum(counts * ratio, share * ratio**2) * spread)
        return location, scale


def gather(  # noqa: C901  a search that goes on from what it finds
    density, home: Affine, leads, rng, symmetries=(), num_scouts=2048, callback=None
) -> list[Part] | str:
    """Gaussians at the modes that searches around `home` and around each other reach.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density (B,), gradient (B, dim))``.
    home : Affine
        The frame of the fit.
    leads : numpy.ndarray, shape (K, dim)
        Points where another mode may lie.
    symmetries : sequence of Symmetry
        A place that one of them carries to a component is no new one.
    rng : numpy.random.Generator
        Where searches begin.
    callback : callable, optional
        Whether to stop.
    num_scouts : int
        Points around every component at which the gradient is compared with those of the components.

    Returns
    -------
    list of Part or str
        The best first; or why there is no such list.
    """
    first = _fitted(density, home, rng, callback)
    if isinstance(first, str):
        return first
    parts: list[Part] = [first]
    refused: list[Part] = []
    sent: list[Scouts] = []
    ends = _places(density, home, leads, 0.1, rng, first.elbo, callback)
    while True:
        for place in sorted(ends, key=lambda one: -one.elbo):
            if place.elbo < _floor(parts):
                break
            if _known(place, parts, refused, symmetries):
                continue
            part = _fitted(density, place.frame, rng, callback, _floor(parts))
            if isinstance(part, str):
                return part
            refused.append(place)
            if not any(part.same(one) for one in parts) and part.elbo > _best(parts) - NEGLIGIBLE_COMPONENT:
                parts.append(part)
            if sum(one.elbo > _best(parts) - NEGLIGIBLE_COMPONENT for one in parts) > MOST_COMPONENTS:
                return f"more than {MOST_COMPONENTS} modes"
        if len(sent) == len(parts):
            return _complete(parts, sent)
        ends = []
        for part in parts[len(sent) :]:
            best, around = _best(parts), _starts(part, parts, STARTS_AROUND, rng)
            ends += _places(density, part.frame, around, 0.5, rng, best, callback)
            sent.append(Scouts.sent(density, part, parts, num_scouts, rng))
            peaks = sent[-1].peaks(density, parts, callback)
            ends += _places(density, part.frame, peaks, 0.1, rng, best, callback)


def _known(place: Part, parts: list[Part], refused: list[Part], symmetries) -> bool:
    """Whether a place has been fitted from, or a symmetry carries it to a component."""
    if any(place.same(known) for known in [*parts, *refused]):
        return True
    return any(_mirrored(place, part, symmetries) for part in parts)


def _complete(parts: list[Part], sent: list[Scouts]) -> list[Part] | str:
    """The components with mass, the best first; or why others may be missed."""
    kept = [p for p in parts if p.elbo > _best(parts) - NEGLIGIBLE_COMPONENT and not p.covers(parts)]
    if not kept:
        return "fits at its modes cover one another"
    hits = np.sum([scouts.hits(kept) for scouts in sent], axis=0)
    rare = [
        n for n, part in zip(hits, kept, strict=True) if n < FEWEST_LEADS and part.elbo > _best(kept) - ASKED
    ]
    if rare and len(kept) > 1:
        total = sum(scouts.blind.sum() for scouts in sent)
        return f"of {total} points {min(rare)} lead to one of {len(kept)} modes: others may be missed"
    return sorted(kept, key=lambda p: -p.elbo)


def missed(parts: list[Part], z) -> list[Elsewhere]:
    """Components with mass of which the draws `z`, of equal weight, hold much less than it promises."""
    promised = np.exp([part.elbo - np.logaddexp.reduce([one.elbo for one in parts]) for part in parts])
    return [
        Elsewhere(
            part.frame.mean,
            part.elbo - _best(parts),
            float(np.linalg.norm(part.frame.inverse(z.mean(0)[None])[0])),
        )
        for part, mass in zip(parts, promised, strict=True)
        if mass > LEAST_MASS and part.holds(z) < 0.1 * mass
    ]


def _limit(dim: int) -> float:
    return SAME_MODE + 0.1 * np.sqrt(dim)


def _best(parts: list[Part]) -> float:
    return max(part.elbo for part in parts)


def _floor(parts: list[Part]) -> float:
    """Bound below which a place is a slope, and no fit there comes to rest at a mode with mass."""
    return _best(parts) - NEGLIGIBLE_COMPONENT - SLOPE - SLOPES * len(parts[0].frame.mean)


def _starts(part: Part, parts: list[Part], count: int, rng) -> np.ndarray:
    """Points around a component, in the cube of the first starts, and in the last quarter beyond the others."""
    dim, quarter = len(part.frame.mean), count // 4
    far = rng.standard_normal((count - 2 * quarter, dim)) / np.sqrt(dim)
    far *= np.exp(rng.uniform(np.log(4.0), np.log(FARTHEST), (len(far), 1)))
    across = rng.choice(len(parts), quarter)
    steps = np.stack([parts[k].frame.mean - part.frame.mean for k in across])
    around = parts[0].frame.forward(2 * rng.standard_normal((quarter, dim)))[0] - parts[0].frame.mean
    beyond = part.frame.mean + rng.uniform(-1.5, 1.5, (quarter, 1)) * steps + around
    return np.concatenate([part.frame.forward(far)[0], dispersed(rng, quarter, dim), beyond])


@dataclass(frozen=True, eq=False)
class Scouts:
    """Points around a component, those that know of no other first, with the density's gradient at each."""

    origin: Part
    points: np.ndarray
    grad: np.ndarray
    blind: np.ndarray

    @classmethod
    def sent(cls, density, origin: Part, parts: list[Part], count: int, rng) -> Scouts:
        """From the component `origin`."""
        points = _starts(origin, parts, count, rng)
        with np.errstate(all="ignore"):
            value, grad = density(points)
        good = np.isfinite(value) & np.isfinite(grad).all(1) & (grad != 0).any(1)
        return cls(origin, points[good], grad[good], (np.arange(count) < count - count // 4)[good])

    def towards(self, parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
        """Cosine between the gradient and that of every component, in the frame of the origin, and their distance
        as a share of the larger: shapes ``(B, K)``."""
        frame = self.origin.frame
        own = frame.whiten(self.grad)
        others = np.stack([frame.whiten(part.pull(self.points)) for part in parts], 1)
        size, sizes = np.linalg.norm(own, axis=1)[:, None], np.linalg.norm(others, axis=2)
        apart = np.linalg.norm(others - own[:, None], axis=2) / np.maximum(np.maximum(size, sizes), 1e-300)
        return np.einsum("bd,bkd->bk", own, others) / np.maximum(size * sizes, 1e-300), apart

    def hits(self, parts: list[Part]) -> np.ndarray:
        """At how many of the blind points the gradient is that of each component, the origin left out."""
        cosine, apart = self.towards(parts)
        best = cosine.max(1)
        which = np.where(cosine > best[:, None] - 0.02, apart, np.inf).argmin(1)
        which = which[self.blind & (best > 0.9)]
        count = np.bincount(which, minlength=len(parts))
        return np.where([part is self.origin for part in parts], 0, count)

    def peaks(self, density, parts: list[Part], callback, num_ascents=48, most=16) -> np.ndarray:
        """Peaks away from the components, where ascents end that no component's gradient explains."""
        frame, dim = self.origin.frame, len(parts[0].frame.mean)
        first = np.argsort(self.towards(parts)[0].max(1))[:num_ascents]

        def down(x, which):
            value, grad = density(frame.forward(x)[0])
            return -value, -frame.whiten(grad)

        with np.errstate(all="ignore"):
            x = minimise(
                down, frame.inverse(self.points[first])[0], callback, max_iterations=30, tolerance=0.1
            ).x
        x = x[np.isfinite(x).all(1)]
        for part in parts:
            away = np.linalg.norm(part.frame.inverse(frame.forward(x)[0])[0], axis=1)
            x = x[away > _limit(dim)]
        different: list = []
        for one in x:
            if all(np.linalg.norm(one - other) > 0.1 + 0.02 * np.linalg.norm(one) for other in different):
                different.append(one)
        return frame.forward(np.array(different[:most]).reshape(-1, dim))[0]


def _places(density, frame: Affine, points, sd, rng, best, callback) -> list[Part]:
    """Where loose fits from some points end; those that lie far below `best` go on for longer."""
    if not len(points):
        return []

    def framed(x):
        value, grad = density(frame.forward(x)[0])
        return value, frame.whiten(grad)

    with np.errstate(all="ignore"):
        ends = loose_fits(
            framed, frame.inverse(points)[0], rng, sd, max_iterations=100, tolerance=0.5, callback=callback
        )
        scale = np.log(np.abs(np.diag(frame.scale))).sum()
        low = np.isfinite(ends.mean).all(1) & ~(ends.elbo + scale > best - NEGLIGIBLE_COMPONENT)
        if low.any():
            more = loose_fits(framed, ends.mean[low], rng, ends.sd[low], tolerance=0.5, callback=callback)
            ends.mean[low], ends.sd[low], ends.elbo[low] = more.mean, more.sd, more.elbo
    good = np.isfinite(ends.elbo) & np.isfinite(ends.mean).all(1)
    return [
        Part(
            Affine(frame.forward(ends.mean[k : k + 1])[0][0], frame.scale * ends.sd[k]), ends.elbo[k] + scale
        )
        for k in np.flatnonzero(good)
    ]


def _fitted(density, start: Affine, rng, callback, floor=-np.inf) -> Part | str:
    """The Gaussian that the natural gradient reaches, polished where it lies above `floor`; or why none."""
    found = fit(NaturalGradient(density, rng), start, callback)
    if found.reason == STOPPED or (callback is not None and callback()):
        return "time ended before all modes were fitted"
    if found.reason in {"flat direction", "no finite draw"}:
        return f"the fit of one of the modes found no rest ({found.reason})"
    if not found.converged and found.elbo > floor:  # its weights will tell
        with np.errstate(all="ignore"):
            better = fit(Polish(density, rng, stop=callback), found.gaussian, callback)
        if np.isfinite(better.elbo) and better.elbo > found.elbo - 0.5:
            found = better
    return Part(triangular(found.gaussian), float(found.elbo))


def _mirrored(place: Part, part: Part, symmetries) -> bool:
    """Whether a few symmetries carry a place to a component."""
    if not symmetries:
        return False
    radius = _limit(len(place.frame.mean))
    return at_home(place.frame.mean, part.frame, radius, radius, symmetries)


def weigh(density, parts: list[Part], num_draws: int, rng: np.random.Generator) -> Mixed:
    """Masses of the components, and their pool: first from the ELBOs, then from the weights of a small pool."""
    law = Components.of(
        np.array([part.elbo for part in parts]),
        np.stack([part.frame.mean for part in parts]),
        np.stack([part.frame.scale for part in parts]),
    )
    for count in (max(num_draws // 4, 250 * len(parts)), num_draws):
        pool = draw_pool(density, law, count, rng)
        mass = np.maximum(pool.weights @ law.responsibilities(pool.z), 1e-12)
        law = replace(law, log_weight=np.log(mass / mass.sum()))
    return judged(law, replace(pool, log_ratio=pool.log_density - law.log_prob(pool.z)))


def judged(law: Components, pool: Pool) -> Mixed:
    """A pool with its residuals."""
    return Mixed(law, pool, local_stein(law, pool))


def local_stein(law: Components, pool: Pool) -> LocalStein:
    """Residuals of the weighted pool within every component that has mass."""
    member = law.responsibilities(pool.z)
    parts = [law.component(k) for k in range(len(law.mean))]
    xs = [part.inverse(pool.z)[0] for part in parts]
    pull = [-part.unwhiten(x) for part, x in zip(parts, xs, strict=True)]
    mean_pull = sum(member[:, k : k + 1] * pull[k] for k in range(len(pull)))
    found = []
    for k, part in enumerate(parts):
        own = pool.weights * member[:, k]
        share = own.sum()
        if share < 1e-6:
            continue
        h = part.whiten(pool.grad + pull[k] - mean_pull)
        found.append((share, stein(xs[k], h, own / share), xs[k], own / share))
    shares, steins, coordinates, weights = map(list, zip(*found, strict=True))
    return LocalStein(np.array(shares) / sum(shares), steins, coordinates, weights)

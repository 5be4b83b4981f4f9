"""Is there another mode that a dispersed start reaches?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from ...guides.transport import Gaussian
from ..engines.lbfgs import minimise
from ..engines.loop import Density
from ..engines.starts import Starts, loose_fits
from ..thresholds import FARTHEST, LEAST_MASS, NEGLIGIBLE, START_RADIUS


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """A place away from the draws that holds comparable mass.

    Attributes
    ----------
    z : numpy.ndarray, shape (dim,)
        Its centre.
    elbo_gap : float
        Its ELBO less the fit's, in nats.
    distance : float
        In sds of the guide.
    among : bool
        Whether it lies among the draws rather than far from them.
    """

    z: np.ndarray
    elbo_gap: float
    distance: float
    among: bool = False


@dataclass(frozen=True, eq=False)
class Search:
    """Loose fits in the frame of a guide, from points far outside of it.

    Parameters
    ----------
    density : callable
        See `Density`.
    frame : Gaussian
    radius : float
        Distance in the frame within which the draws lie.
    widest : float
        Size of the largest coordinate within which they do: in many dimensions a mode that is far along one
        coordinate is near by its distance.
    mass : callable, optional
        ``mass(inside)`` is the share of the draws at whose frame coordinates ``inside`` holds. With it a mode
        that lies among the draws, narrower or where few of them are, is seen: its bound promises more mass there
        than they have.
    evidence : float, optional
        Log integral of the density over the frame's coordinates, where it is known: bounds are then held against it
        and not against the bound at the guide, which is low where the posterior is bent.
    bound : tuple of float, optional
        Lower bound of that, and its error, from draws of the guide: where loose fits do not hold the posterior, theirs at the
        guide lies far below.
    callback : callable, optional
        Whether to stop.
    """

    density: Density
    frame: Gaussian
    radius: float
    widest: float
    mass: Callable[[Callable[[np.ndarray], np.ndarray]], float] | None = None
    evidence: float | None = None
    bound: tuple[float, float] = (-np.inf, 0.0)
    callback: Callable[[], bool] | None = None

    def run(
        self,
        rng: np.random.Generator,
        leads: np.ndarray | None = None,
        num_starts: int = 8,
        num_scouts: int = 0,
    ) -> list[Elsewhere]:
        """Search.

        Parameters
        ----------
        rng : numpy.random.Generator
            Where the starts lie.
        leads : numpy.ndarray, shape (K, dim), optional
            More points to start from, unconstrained.
        num_starts, num_scouts : int
            Loose fits, and ascents of the density alone, which are cheaper and find narrow modes in few dimensions.

        Returns
        -------
        list of Elsewhere
            Ends outside the draws whose mean-field ELBO is within 7 nats of the one at the guide.
        """
        points, sd = self._points(rng, leads, num_starts, num_scouts)
        with np.errstate(all="ignore"):
            ends = loose_fits(
                self.framed, points, rng, sd, max_iterations=60, tolerance=0.5, callback=self.callback
            )
        home = ends.elbo[0], ends.elbo_se[0], ends.sd[0]
        if self.evidence is not None:
            home = self.evidence, 0.0, ends.sd[0]
        away = self._elsewhere(ends, home)
        if away:  # on their way home still, or another mode?
            which = [k for k, _ in away]
            with np.errstate(all="ignore"):
                ends = loose_fits(
                    self.framed, ends.mean[which], rng, sd=ends.sd[which], callback=self.callback
                )
            if self.evidence is None and self.bound[0] > home[0]:
                home = *self.bound, home[2]
            away = self._elsewhere(ends, home)
        return [
            Elsewhere(
                self.frame.forward(ends.mean[k : k + 1])[0][0],
                float(ends.elbo[k] - home[0]),
                float(np.linalg.norm(ends.mean[k])),
                among,
            )
            for k, among in away
        ]

    def framed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The density in the frame's coordinates."""
        value, grad = self.density(self.frame.forward(x)[0])
        return value, self.frame.pullback(x, grad)

    def _points(self, rng, leads, num_starts, num_scouts):
        """Where fits begin, and how wide: at the guide, around the origin, far out, at the leads, where ascents end."""
        dim = self.frame.dim
        wide = self.frame.inverse(rng.uniform(-START_RADIUS, START_RADIUS, (num_starts // 2, dim)))[0]
        far = rng.standard_normal((num_starts - num_starts // 2, dim))
        far *= np.exp(rng.uniform(np.log(4), np.log(FARTHEST), (len(far), 1)))
        points = [np.zeros((1, dim)), wide, far]
        if leads is not None and len(leads):
            points.append(self.frame.inverse(leads)[0])
        points.append(scouted(self.framed, dim, reach(self.radius), rng, num_scouts, self.callback))
        sd = np.full((sum(map(len, points)), 1), 0.5)
        sd[len(sd) - len(points[-1]) :] = 0.1  # of a narrow mode the ascents know the centre
        return np.concatenate(points), sd

    def _elsewhere(self, ends: Starts, home) -> list[tuple[int, bool]]:
        """Which ends hold comparable mass away from the draws, or among them."""
        dim, (elbo, error, _) = self.frame.dim, home
        distance, along = np.linalg.norm(ends.mean, axis=1), np.abs(ends.mean).max(1)
        apart = (distance > reach(self.radius)) | (along > reach(self.widest))
        noise = 3 * np.hypot(ends.elbo_se, error)  # of the bounds: large in many dimensions
        noise = np.minimum(noise, np.sqrt(dim / 2))  # but larger still where the density is no Gaussian's
        known = np.isfinite(ends.elbo) & (ends.elbo - elbo + noise > -NEGLIGIBLE)
        among = np.array([not apart[k] and self._hidden(ends, k, home) for k in range(len(apart))])
        return [(int(k), bool(among[k])) for k in np.flatnonzero(known & (apart | among))]

    def _hidden(self, ends: Starts, k: int, home) -> bool:
        """Whether an end among the draws promises more mass than they have there."""
        elbo, _, sd = home
        promised = np.exp(ends.elbo[k] - np.logaddexp(elbo, ends.elbo[k]))
        narrow = (ends.sd[k] < 0.5 * sd).any()
        narrow |= np.linalg.norm(ends.mean[k] / (sd + ends.sd[k])) > 2  # or where only few draws are
        ball = chdtri(self.frame.dim, 0.1)
        within = lambda x: (((x - ends.mean[k]) / ends.sd[k]) ** 2).sum(1) < ball  # noqa: E731
        if self.mass is None or not narrow or promised <= LEAST_MASS:
            return False
        return bool(self.mass(within) < 0.25 * promised)


def scouted(framed, dim, beyond, rng, count, callback=None, num_ascents=48, most=8) -> np.ndarray:
    """Different places, in the frame, where ascents of the density end.

    Of `count` points near and far those are taken from where the gradient points least towards the centre.
    """
    if not count:
        return np.zeros((0, dim))
    x = rng.standard_normal((count, dim))
    x /= np.linalg.norm(x, axis=1)[:, None]
    radius = np.exp(rng.uniform(np.log(2), np.log(max(FARTHEST, 4 * beyond)), count))
    with np.errstate(all="ignore"):
        value, grad = framed(x * radius[:, None])
        homewards = -(x * grad).sum(1) / np.linalg.norm(grad, axis=1)
        order = np.argsort(np.where(np.isfinite(value) & np.isfinite(homewards), homewards, np.inf))
        first = (x * radius[:, None])[order[:num_ascents]]
        ends = minimise(
            lambda x, _: tuple(-v for v in framed(x)), first, callback, max_iterations=30, tolerance=0.1
        ).x
    different: list = []
    for end in ends[np.isfinite(ends).all(1)]:
        if all(np.linalg.norm(end - one) > 1 + 0.1 * np.linalg.norm(end) for one in different):
            different.append(end)
    return np.array(different[:most]).reshape(-1, dim)


def reach(radius: float) -> float:
    """Distance from the guide's centre from which on a place is another one than where the draws lie."""
    return 1.2 * radius + 1


def at_home(z: np.ndarray, frame: Gaussian, radius, widest, symmetries, depth=3, most=256) -> bool:
    """Whether a few symmetries carry the place `z` to where the draws lie: an equal mode, and known."""
    places = seen = z[None]
    for _ in range(depth if symmetries else 0):
        places = np.concatenate([symmetry.apply(places)[0] for symmetry in symmetries])[:most]
        seen = np.unique(np.concatenate([seen, places]).round(9), axis=0)
    x = frame.inverse(seen)[0]
    near = (np.linalg.norm(x, axis=1) <= reach(radius)) & (np.abs(x).max(1) <= reach(widest))
    return bool(near.any())

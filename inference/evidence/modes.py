"""Is there another mode that a dispersed start reaches?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from ..engines.lbfgs import minimise
from ..engines.starts import loose_fits

FARTHEST = 60.0  # sds of the guide, per coordinate, at which a search starts
LEAST_MASS = 0.03  # share of the posterior that a mode among the draws must promise


@dataclass
class Elsewhere:
    """A place away from the draws that holds comparable mass: its centre and its ELBO against the fit's, `among`
    the draws or far from them."""

    z: np.ndarray
    elbo_gap: float
    distance: float
    among: bool = False


def search(
    density,
    frame,
    radius,
    widest,
    rng,
    leads=None,
    num_starts=8,
    num_scouts=0,
    mass=None,
    callback=None,
    evidence=None,
) -> list[Elsewhere]:
    """Loose fits in the frame of the guide, from points far outside of it.

    Parameters
    ----------
    density : callable
    frame : Dense or Sparse
    radius : float
        Distance in the frame within which the draws lie.
    widest : float
        Size of the largest coordinate within which they do: in many dimensions a mode that is far along one
        coordinate is near by its distance.
    leads : numpy.ndarray, shape (K, dim), optional
        More points to start from, unconstrained.
    num_starts, num_scouts : int
        Loose fits, and ascents of the density alone, which are cheaper and find narrow modes in few dimensions.
    mass : callable, optional
        ``mass(inside)`` is the share of the draws at whose frame coordinates ``inside`` holds. With it a mode
        that lies among the draws, narrower or where few of them are, is seen: its bound promises more mass there
        than they have.
    evidence : float, optional
        Log integral of the density over the frame's coordinates, where it is known: bounds are then held against it
        and not against the bound at the guide, which is low where the posterior is bent.

    Returns
    -------
    list of Elsewhere
        Ends outside the draws whose mean-field ELBO is within 7 nats of the one at the guide.
    """
    dim = len(frame.mean)

    def framed(x):
        value, grad = density(frame.points(x))
        return value, frame.gradients(grad)

    wide = frame.coordinates(rng.uniform(-2, 2, (num_starts // 2, dim)))
    far = rng.standard_normal((num_starts - num_starts // 2, dim))
    far *= np.exp(rng.uniform(np.log(4), np.log(FARTHEST), (len(far), 1)))
    points = [np.zeros((1, dim)), wide, far]
    if leads is not None and len(leads):
        points.append(frame.coordinates(leads))
    points.append(scouted(framed, dim, reach(radius), rng, num_scouts, callback))
    sd = np.full((sum(map(len, points)), 1), 0.5)
    sd[len(sd) - len(points[-1]) :] = 0.1  # of a narrow mode the ascents know the centre
    points = np.concatenate(points)
    with np.errstate(all="ignore"):
        ends = loose_fits(framed, points, rng, sd, max_iterations=60, tolerance=0.5, callback=callback)
    home, home_se, home_sd = ends.elbo[0], ends.elbo_se[0], ends.sd[0]
    if evidence is not None:
        home, home_se = evidence, 0.0

    def elsewhere(ends):
        distance = np.linalg.norm(ends.mean, axis=1)
        along = np.abs(ends.mean).max(1)
        apart = (distance > reach(radius)) | (along > reach(widest))
        noise = 3 * np.hypot(ends.elbo_se, home_se)  # of the bounds: large in many dimensions
        noise = np.minimum(noise, np.sqrt(dim / 2))  # but larger still where the density is no Gaussian's
        known = np.isfinite(ends.elbo) & (ends.elbo - home + noise > -7)
        among = np.array([mass is not None and not apart[k] and hidden(ends, k) for k in range(len(apart))])
        return [(k, bool(among[k])) for k in np.flatnonzero(known & (apart | among))]

    def hidden(ends, k):
        promised = np.exp(ends.elbo[k] - np.logaddexp(home, ends.elbo[k]))
        narrow = (ends.sd[k] < 0.5 * home_sd).any()
        narrow |= np.linalg.norm(ends.mean[k] / (home_sd + ends.sd[k])) > 2  # or where only few draws are
        within = lambda x: (((x - ends.mean[k]) / ends.sd[k]) ** 2).sum(1) < chi2.ppf(0.9, dim)  # noqa: E731
        return narrow and promised > LEAST_MASS and mass(within) < 0.25 * promised

    away = elsewhere(ends)
    if away:  # on their way home still, or another mode?
        which = [k for k, _ in away]
        with np.errstate(all="ignore"):
            ends = loose_fits(framed, ends.mean[which], rng, sd=ends.sd[which], callback=callback)
        away = elsewhere(ends)
    return [
        Elsewhere(
            frame.points(ends.mean[k : k + 1])[0],
            float(ends.elbo[k] - home),
            float(np.linalg.norm(ends.mean[k])),
            among,
        )
        for k, among in away
    ]


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
        ends = minimise(lambda x, _: tuple(-v for v in framed(x)), first, 30, 0.1, callback=callback).x
    different: list = []
    for end in ends[np.isfinite(ends).all(1)]:
        if all(np.linalg.norm(end - one) > 1 + 0.1 * np.linalg.norm(end) for one in different):
            different.append(end)
    return np.array(different[:most]).reshape(-1, dim)


def reach(radius: float) -> float:
    """Distance from the guide's centre from which on a place is another one than where the draws lie."""
    return 1.2 * radius + 1


def at_home(z, frame, radius, widest, symmetries, depth=3, most=256) -> bool:
    """Whether a few symmetries carry the place `z` to where the draws lie: an equal mode, and known."""
    places = seen = z[None]
    for _ in range(depth if symmetries else 0):
        places = np.concatenate([symmetry.apply(places)[0] for symmetry in symmetries])[:most]
        seen = np.unique(np.concatenate([seen, places]).round(9), axis=0)
    x = frame.coordinates(seen)
    near = (np.linalg.norm(x, axis=1) <= reach(radius)) & (np.abs(x).max(1) <= reach(widest))
    return bool(near.any())

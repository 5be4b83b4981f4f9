"""Is there another mode that a dispersed start reaches?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..starts import loose_fits


@dataclass
class Elsewhere:
    """A place away from the draws that holds comparable mass: its centre and its ELBO against the fit's."""

    z: np.ndarray
    elbo_gap: float
    distance: float


def search(density, frame, radius, widest, rng, leads=None, num_starts=8, callback=None) -> list[Elsewhere]:
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
    far = rng.standard_normal((num_starts - num_starts // 2, dim)) * rng.uniform(
        4, 15, (num_starts - num_starts // 2, 1)
    )
    points = [np.zeros((1, dim)), wide, far]
    if leads is not None and len(leads):
        points.append(frame.coordinates(leads))
    points = np.concatenate(points)
    with np.errstate(all="ignore"):
        ends = loose_fits(framed, points, rng, sd=0.5, max_iterations=60, tolerance=0.5, callback=callback)
    home, home_se = ends.elbo[0], ends.elbo_se[0]

    def elsewhere(ends):
        distance = np.linalg.norm(ends.mean, axis=1)
        along = np.abs(ends.mean).max(1)
        apart = (distance > reach(radius)) | (along > reach(widest))
        noise = 3 * np.hypot(ends.elbo_se, home_se)  # of the bounds: large in many dimensions
        return np.flatnonzero(np.isfinite(ends.elbo) & (ends.elbo - home + noise > -7) & apart)

    away = elsewhere(ends)
    if len(away):  # on their way home still, or another mode?
        with np.errstate(all="ignore"):
            ends = loose_fits(framed, ends.mean[away], rng, sd=ends.sd[away], callback=callback)
        away = elsewhere(ends)
    return [
        Elsewhere(
            frame.points(ends.mean[k : k + 1])[0],
            float(ends.elbo[k] - home),
            float(np.linalg.norm(ends.mean[k])),
        )
        for k in away
    ]


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

"""Coordinates of hierarchical sites that suit a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...guides.transport import Affine, triangular
from ..engines.designs import antithetic, whitened
from ..thresholds import RECENTRED, RECENTRING_DRAWS
from .centring import carry, shares
from .run import Run
from .state import State


def recentred(state: State, run: Run) -> State | None:
    """The best Gaussian in the coordinates of hierarchical sites that suit it; None where these are the present ones.

    Parameters
    ----------
    state : State
        With a best Gaussian.
    run : Run
        The climb.
    """
    before, frame = state.target, state.best
    if not before.centring:
        return None
    mean, precision = frame.mean, frame.precision
    eps = antithetic(run.rng(8), RECENTRING_DRAWS, len(mean), unit=True)
    found, units = shares(before, frame.forward(eps)[0], precision)
    change = max(np.abs(found[name] - before.centring[name]).max() for name in found)
    correlated = not state.wide and np.tril(triangular(frame).scale, -1).any()
    points = mean[None]
    if correlated:
        draws = whitened(run.rng(7), max(64, 4 * len(mean)), len(mean))
        points = np.concatenate([points, frame.forward(draws)[0]])
    after = before.centred(found)
    moved = carry(before, after, points)
    good = np.isfinite(moved).all(1)
    if change < RECENTRED or not good[0] or good.mean() < 0.9:
        return None
    if not correlated:
        best = Affine(moved[0], np.exp(units) / np.sqrt(precision))
    else:
        moved = moved[1:][good[1:]]
        best = Affine(moved.mean(0), np.linalg.cholesky(np.cov(moved.T).reshape(len(mean), -1)))
    return replace(state.entered(after), best=best)

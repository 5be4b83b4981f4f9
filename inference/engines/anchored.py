"""Natural gradients from batches of rows, anchored on all rows.

A dense Gaussian is carried from the posterior of a few rows to those of more and more (data tempering), and then to
that of all. There each full pass is an anchor, and batches say how the gradient changes on the way from it: with g
the gradient on all rows, g_b that on a batch that stands for them, and H, H_b their mean Hessians at the anchor,

    g(x') ≈ g(x) + H (x' − x) + [g_b(x') − g_b(x) − H_b (x' − x)]

at common draws x of the anchor and x' of where the fit has come to. The bracket has the mean that makes this exact,
and vanishes where the density is quadratic, so that a batch's noise does not reach a Gaussian posterior at all.

References
----------
Johnson & Zhang (2013), Accelerating stochastic gradient descent using predictive variance reduction, NeurIPS. Gower,
Le Roux & Bach (2018), Tracking the gradients using the Hessian, AISTATS. Chopin (2002), A sequential particle filter
method for static models, Biometrika 89.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from ...guides.transport import Affine
from ..thresholds import GROWTH_OF_ROWS
from .loop import Density
from .natural import Quadratic, newton, whitened_moments


def stages(total: int, first: int) -> list[int]:
    """Numbers of rows, at least `first`, whose posteriors lead to that of all."""
    sizes = [total]
    while sizes[-1] // GROWTH_OF_ROWS >= first:
        sizes.append(sizes[-1] // GROWTH_OF_ROWS)
    return sizes[:0:-1]


def corrected(anchor: Quadratic, place: Affine, batch: Density) -> Quadratic:
    """What one batch makes of an anchor at another Gaussian.

    Parameters
    ----------
    anchor : Quadratic
        On all rows.
    place : Affine
        The Gaussian.
    batch : callable
        ``batch(z) -> (values, gradients)``, standing for all rows.
    """
    eps, count, before = anchor.eps, len(anchor.eps), anchor.place
    at_anchor, moved = before.mean + eps @ before.scale.T, place.mean + eps @ place.scale.T
    found = batch(np.concatenate([at_anchor, moved]))[1]
    own = whitened_moments(found[:count] @ before.scale, eps)[1]
    # H (x' − x) − H_b (x' − x), by way of the anchor's frame
    change = solve_triangular(before.scale, (moved - at_anchor).T, lower=True).T @ (own - anchor.curvature)
    change = solve_triangular(before.scale, change.T, lower=True, trans="T").T
    grad = anchor.grad + change + found[count:] - found[:count]
    slope, curvature = whitened_moments(grad @ place.scale, eps)
    return Quadratic(place, slope, curvature, eps, grad)


@dataclass(frozen=True, eq=False)
class Anchored:
    """Where a step on all rows leads with the batches that follow it: an ``advance`` of `NaturalGradient`.

    Attributes
    ----------
    draw_batch : callable
        Gives the density of a fresh batch that stands for all rows.
    num_batches : int
        Between anchors.
    """

    draw_batch: Callable[[], Density]
    num_batches: int

    def __call__(self, anchor: Quadratic, damping: float) -> Affine:
        """The Gaussian after a step and its batches."""
        found = newton(anchor, damping)
        for k in range(self.num_batches):
            with np.errstate(all="ignore"):
                here = corrected(anchor, found, self.draw_batch())
            if not np.isfinite(here.grad).all():
                break
            found = newton(here, damping / (k + 1))  # steps that shrink so average the batches
        return found

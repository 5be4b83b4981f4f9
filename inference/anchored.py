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

import numpy as np
from scipy.linalg import solve_triangular

from .natural import State, natural_gradient, step, whitened_moments

GROWTH = 8  # rows of a stage over those of the one before


def stages(total: int, first: int) -> list[int]:
    """Numbers of rows, at least `first`, whose posteriors lead to that of all."""
    sizes = [total]
    while sizes[-1] // GROWTH >= first:
        sizes.append(sizes[-1] // GROWTH)
    return sizes[:0:-1]


def corrected(state: State, mean, scale, batch) -> State:
    """What one batch makes of an anchor at another Gaussian.

    Parameters
    ----------
    state : State
        The anchor.
    mean, scale : numpy.ndarray
        The Gaussian.
    batch : callable
        ``batch(z) -> (values, gradients)``, standing for all rows.
    """
    eps, count = state.eps, len(state.eps)
    at_anchor, moved = state.mean + eps @ state.scale.T, mean + eps @ scale.T
    found = batch(np.concatenate([at_anchor, moved]))[1]
    own = whitened_moments(found[:count] @ state.scale, eps)[1]
    # H (x' − x) − H_b (x' − x), by way of the anchor's frame
    change = solve_triangular(state.scale, (moved - at_anchor).T, lower=True).T @ (own - state.curvature)
    change = solve_triangular(state.scale, change.T, lower=True, trans="T").T
    grad = state.grad + change + found[count:] - found[:count]
    slope, curvature = whitened_moments(grad @ scale, eps)
    return State(mean, scale, slope, curvature, eps, grad)


def anchored(density, draw_batch, num_batches: int, mean, scale, rng, **settings):
    """Fit to the posterior on all rows.

    Parameters
    ----------
    density : callable
        ``density(z) -> (log density (B,), gradient (B, dim))`` on all rows.
    draw_batch : callable
        Gives such a function of a fresh batch that stands for all rows.
    num_batches : int
        Batches between anchors.
    mean, scale : numpy.ndarray
        Start, shapes ``(dim,)`` and ``(dim, dim)``.

    Returns
    -------
    Fitted
    """

    def advance(state, damping):
        found = step(state, damping)
        for k in range(num_batches):
            with np.errstate(all="ignore"):
                here = corrected(state, *found, draw_batch())
            if not np.isfinite(here.grad).all():
                break
            found = step(here, damping / (k + 1))  # steps that shrink so average the batches
        return found

    return natural_gradient(density, mean, scale, rng, advance=advance, **settings)

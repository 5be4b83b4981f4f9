"""Stochastic ascent of a mean-field bound: one step, for any backend, full data or a batch.

The gradient is the one that sticks to the landing: the score of the guide is left out, so that its noise vanishes
where the guide is the posterior. Parameters are those of the elements in the batch; all others, with their moments,
stay as they are.

References
----------
Roeder, Wu & Duvenaud (2017), Sticking the landing, NeurIPS. Kingma & Ba (2015), Adam, ICLR.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..ppl import math as m

DECAY, SECOND, TINY = 0.9, 0.999, 1e-8  # Adam's


def start(mean: np.ndarray, sd: np.ndarray) -> dict[str, np.ndarray]:
    """State of an ascent: the guide in units of where it starts, and Adam's moments, by coordinate.

    Parameters
    ----------
    mean, sd : numpy.ndarray, shape (dim,)
    """
    return {
        "params": np.zeros((2, len(mean))),
        "first": np.zeros((2, len(mean))),
        "second": np.zeros((2, len(mean))),
        "count": np.zeros(len(mean)),
    }


def step(gradient, normal, put, num_particles: int, dtype, state, given, constants):
    """One step of Adam on the bound.

    Parameters
    ----------
    gradient : callable
        ``gradient(z, data, weights, scale)``: values and gradients of the log density, batched over ``z``.
    normal, put : callable
        The backend's.
    num_particles : int
        Draws per step.
    state : mapping
        See `start`.
    given : mapping
        Of this step: ``seed``, ``rate``; with a batch, ``data``, ``scale`` by plate, ``where`` its coordinates lie
        among all, and the ``weight`` of each.
    constants : mapping
        ``data`` that every step sees, ``weights`` of the model, ``mean`` and ``sd`` of the start.

    Returns
    -------
    tuple
        The state, and the bound's estimate.
    """
    data = {**constants["data"], **given.get("data", {})}
    where, scale, weight = given.get("where"), given.get("scale", {}), given.get("weight", 1.0)
    own = (lambda x: x) if where is None else (lambda x: x[..., where])
    params, first, second = own(state["params"]), own(state["first"]), own(state["second"])
    count = own(state["count"]) + 1.0
    unit = own(constants["sd"])
    mean, log_sd = own(constants["mean"]) + unit * params[0], m.log(unit) + params[1]
    sd = m.exp(log_sd)
    eps = normal(given["seed"], (num_particles, mean.shape[0]), dtype)
    value, grad = gradient(mean + sd * eps, data, constants["weights"], scale)
    elbo = m.mean(value) + m.sum(weight * log_sd) + m.sum(weight * (0.0 * mean + HALF_LOG))
    path = grad + weight * eps / sd  # what is left of the entropy's score along the path
    g = m.stack([m.mean(path, axis=0) * unit, m.mean(path * eps, axis=0) * sd])
    there = 0.0 * mean + weight > 0  # the others only fill the batch
    g = m.where(m.isfinite(g) & there, g, 0.0) / m.where(there, weight, 1.0)
    first, second = DECAY * first + (1 - DECAY) * g, SECOND * second + (1 - SECOND) * g * g
    move = first / (1 - DECAY**count) / (m.sqrt(second / (1 - SECOND**count)) + TINY)
    found = {"params": params + given["rate"] * move, "first": first, "second": second, "count": count}
    if where is None:
        return found, elbo
    return {
        name: put(state[name], where, m.where(there, found[name], own(state[name]))) for name in state
    }, elbo


HALF_LOG = 0.5 * (1.0 + np.log(2 * np.pi))


def compiled(target, num_particles: int):
    """``fn(state, inputs, constants) -> (state, bounds)`` of many steps on the target's device."""
    loops = target.loops
    gradient = loops.mapped_gradient(target.density)
    one = partial(step, gradient, loops.normal, loops.put, num_particles, target.dtype)
    return loops.loop(one, target.dtype, target.density.clock)

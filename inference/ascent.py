"""Stochastic ascent of a mean-field bound: one step, for any backend, full data or a batch.

The gradient is the one that sticks to the landing: the score of the guide is left out, so that its noise vanishes
where the guide is the posterior. Parameters are those of the elements in the batch; all others, with their moments,
stay as they are.

References
----------
Roeder, Wu & Duvenaud (2017), Sticking the landing, NeurIPS. Kingma & Ba (2015), Adam, ICLR.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

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


class Ascent:
    """An ascent under way: its state, and steps on all rows or on batches of them.

    Parameters
    ----------
    target : Target
    batches : Batches or None
    begin : tuple of numpy.ndarray, shapes (dim,)
        Mean and sd of the guide at the start, unconstrained.
    """

    chunk = 200  # steps per compiled call

    def __init__(self, target, batches, begin, num_particles: int = 1, rate: float = 0.05, seed: int = 0):
        self.target, self.batches, self.begin = target, batches, begin
        self.rate, self.num_steps = float(rate), 0
        self._run = compiled(target if batches is None else batches.target, num_particles)
        self._constants = {
            "data": {} if batches else target.data,
            "weights": target.weights,
            "mean": target.to_device(begin[0]),
            "sd": target.to_device(begin[1]),
        }
        self.state: Mapping[str, Any] = {k: target.to_device(v) for k, v in start(*begin).items()}
        self._rng = np.random.default_rng(seed)

    def step(self) -> float:
        """One step; the bound's estimate."""
        return float(self.run(1)[0])

    def run(self, num_steps: int) -> np.ndarray:
        """Many steps; the bound's estimates, shape ``(num_steps,)``."""
        elbos = [np.zeros(0)]
        while num_steps > 0:
            count = min(self.chunk, num_steps)
            self.state, elbo = self._run(self.state, self._inputs(count), self._constants)
            elbos.append(np.asarray(elbo, np.float64))
            num_steps -= count
            self.num_steps += count
        return np.concatenate(elbos)

    def copied(self, state) -> dict[str, Any]:
        """The state in arrays of its own: steps may write into those that they are given."""
        return {name: self.target.to_device(np.array(np.asarray(value))) for name, value in state.items()}

    def _inputs(self, count):
        given = {
            "seed": self._rng.integers(0, 2**31, count),
            "rate": np.full(count, self.rate, self.target.dtype),
        }
        if self.batches is not None:
            each = [self.batches.inputs(self.batches.sample(self._rng)) for _ in range(count)]
            given |= {key: _stacked([one[key] for one in each], self.target.dtype) for key in each[0]}
            if not self.batches.groups:  # every coordinate is in every batch
                del given["where"], given["weight"]
        return given

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The guide's: ``mean`` and ``log_sd``, unconstrained, in the order of ``target.sites``."""
        moved = np.asarray(self.state["params"], np.float64)
        mean, sd = self.begin
        return {"mean": mean + sd * moved[0], "log_sd": np.log(sd) + moved[1]}


def _stacked(values, dtype):
    """Arrays, or mappings of them, along a new first axis; floats in the target's precision."""
    if isinstance(values[0], dict):
        return {key: _stacked([value[key] for value in values], dtype) for key in values[0]}
    made = np.stack(values)
    return made.astype(dtype) if made.dtype.kind == "f" else made

"""Stochastic ascent of a mean-field bound: one step, for any backend, full data or a batch.

The gradient is the one that sticks to the landing: the score of the guide is left out, so that its noise vanishes
where the guide is the posterior. Parameters are those of the elements in the batch; all others, with their moments,
stay as they are. That is why Adam is written here, once for both backends: those of the libraries move every
parameter at every step.

References
----------
Roeder, Wu & Duvenaud (2017), Sticking the landing, NeurIPS. Kingma & Ba (2015), Adam, ICLR. Tucker, Lawson, Gu &
Maddison (2019), Doubly reparameterized gradient estimators for Monte Carlo objectives, ICLR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...ppl import math as m
from ..thresholds import ADAM, ADAM_TINY, ASCENT_BYTES, ASCENT_CALL

DECAY, SECOND = ADAM
HALF_LOG = 0.5 * np.log(2 * np.pi)


def start(dim: int) -> dict[str, np.ndarray]:
    """State of an ascent: the guide in units of where it starts, and Adam's moments with the share of each known.

    Mean and log sd of each coordinate lie in the first and the second row.
    """
    return {name: np.zeros((2, dim)) for name in ("params", "first", "second", "known")}


def step(gradient, put, objective, optimiser, state, given, constants):
    """One step on the bound.

    Parameters
    ----------
    gradient : callable
        ``gradient(z, data, weights, scale)``: values and gradients of the log density, batched over ``z``.
    put : callable
        The backend's.
    objective : callable
        Of `OBJECTIVES`.
    optimiser : object or None
        The backend's optimiser; None for Adam.
    state : mapping
        See `start`.
    given : mapping
        Of this step: ``eps``, standard normal draws, and ``rate``; with a batch, ``data``, ``scale`` by plate, ``where`` its coordinates lie
        among all, and the ``weight`` of each.
    constants : mapping
        ``data`` that every step sees, ``weights`` of the model, ``mean``, ``sd`` and ``log_sd`` of the start.

    Returns
    -------
    tuple
        The state; the bound's estimate, the norm of its gradient, and the number of coordinates where it is not
        finite.
    """
    data = {**constants["data"], **given.get("data", {})}
    where, scale, weight = given.get("where"), given.get("scale", {}), given.get("weight", 1.0)
    own = (lambda x: x) if where is None else (lambda x: x[..., where])
    here = {name: own(value) for name, value in state.items() if name != "optimiser"}
    unit = own(constants["sd"])
    mean = own(constants["mean"]) + unit * here["params"][0]
    log_sd = own(constants["log_sd"]) + here["params"][1]
    sd = m.exp(log_sd)
    eps = given["eps"]
    value, grad = gradient(mean + sd * eps, data, constants["weights"], scale)
    ratio = value + m.sum(weight * (log_sd + 0.5 * eps * eps + HALF_LOG), axis=1)
    bound, share = objective(ratio)
    path = share[:, None] * (grad + weight * eps / sd)  # what is left of the entropy's score along the path
    g = m.stack([m.sum(path, axis=0) * unit, m.sum(path * eps, axis=0) * sd])
    there = 0.0 * mean + weight > 0  # the others only fill the batch
    finite = m.isfinite(g)
    g = m.where(finite & there, g, 0.0) / m.where(there, weight, 1.0)
    seen = {
        "elbo": bound,
        "gradient_norm": m.sqrt(m.sum(g * g)),
        "not_finite": m.sum(m.where(finite, 0.0, 1.0)),
    }
    if optimiser is not None:
        params, inner = optimiser.update(here["params"], g, state["optimiser"])
        return {"params": params, "optimiser": inner}, seen
    found = adam(here, g, given["rate"])
    if where is None:
        return found, seen
    return {name: put(state[name], where, m.where(there, found[name], here[name])) for name in state}, seen


def adam(state, g, rate):
    """Adam's step up the gradient `g`; what it knows of its moments stands in place of a count of steps."""
    first = DECAY * state["first"] + (1 - DECAY) * g
    second = SECOND * state["second"] + (1 - SECOND) * g * g
    known = m.stack([DECAY * state["known"][0] + (1 - DECAY), SECOND * state["known"][1] + (1 - SECOND)])
    move = first / known[0] / (m.sqrt(second / known[1]) + ADAM_TINY)
    return {"params": state["params"] + rate * move, "first": first, "second": second, "known": known}


def elbo(ratio):
    """The evidence lower bound, and the share of each draw in its gradient."""
    return m.mean(ratio), 0.0 * ratio + 1.0 / ratio.shape[0]


def importance(ratio):
    """The importance-weighted bound, and the share of each draw in its doubly reparametrised gradient."""
    top = m.max(ratio)
    weights = m.exp(ratio - top)
    total = m.sum(weights)
    return top + m.log(total / ratio.shape[0]), (weights / total) ** 2


OBJECTIVES = {"elbo": elbo, "importance": importance}


def compiled(target, num_particles: int, objective: str = "elbo", optimiser=None):
    """``fn(state, inputs, constants) -> (state, traces)`` of many steps, compiled once for targets of equal shapes."""
    loops, key = target.loops, (num_particles, objective)
    known = target.density.ascents
    if optimiser is None and key in known:
        return known[key]
    gradient = loops.mapped_gradient(target.density)
    one = partial(step, gradient, loops.put, OBJECTIVES[objective], optimiser)
    shape = (num_particles, target.dim)
    made = loops.loop(one, target.dtype, target.density.clock, shape)
    if optimiser is None:
        known[key] = made
    return made


class Ascent:
    """An ascent under way: its state, and steps on all rows or on batches of them.

    Parameters
    ----------
    target : Target
    batches : Batches or None
    begin : tuple of numpy.ndarray, shapes (dim,)
        Mean and sd of the guide at the start, unconstrained.
    num_particles : int
        Draws per step.
    rate : float
        Adam's, in units of the sd at the start.
    objective : {"elbo", "importance"}
    optimiser : object, optional
        Made by the backend's ``loops.optimiser``, in place of Adam; on all rows only.
    """

    def __init__(
        self,
        target,
        batches,
        begin,
        num_particles: int = 1,
        rate: float = 0.05,
        seed: int = 0,
        objective: str = "elbo",
        optimiser=None,
    ):
        self.target, self.batches, self.begin = target, batches, begin
        self.rate, self.num_steps = float(rate), 0
        self._run = compiled(
            target if batches is None else batches.target, num_particles, objective, optimiser
        )
        mean, sd = (np.asarray(x, np.float64) for x in begin)
        self._constants = {
            "data": {} if batches else target.data,
            "weights": target.weights,
            **{k: target.to_device(v) for k, v in (("mean", mean), ("sd", sd), ("log_sd", np.log(sd)))},
        }
        self.state: Mapping[str, Any] = {k: target.to_device(v) for k, v in start(target.dim).items()}
        if optimiser is not None:
            params = self.state["params"]
            self.state = {"params": params, "optimiser": optimiser.init(params)}
        self._rng = np.random.default_rng(seed)
        num_bytes = target.dtype.itemsize * num_particles * (batches or self).target.dim
        num_bytes += 0 if batches is None else batches.num_bytes
        self.chunk = int(np.clip(ASCENT_BYTES // num_bytes, 1, ASCENT_CALL))

    def along(self, run: Any, more: Mapping[str, Any]) -> Ascent:
        """The same with the steps of another bound, which see more constants: arrays, or mappings of those of the device."""
        self._run, to_device = run, self.target.to_device
        self._constants |= {k: v if isinstance(v, Mapping) else to_device(v) for k, v in more.items()}
        return self

    def step(self) -> float:
        """One step; the bound's estimate."""
        return float(self.run(1)[0])

    def run(self, num_steps: int) -> np.ndarray:
        """Many steps; the bound's estimates, shape ``(num_steps,)``."""
        return self.advance(num_steps)["elbo"]

    def advance(
        self, num_steps: int, report: Callable[[int, Mapping[str, np.ndarray]], None] | None = None
    ) -> dict[str, np.ndarray]:
        """Many steps; what each saw: ``elbo``, ``gradient_norm`` and ``not_finite``, shapes ``(num_steps,)``.

        Now and then `report` hears how many are done, and what was seen since.
        """
        seen: list = []
        total = num_steps
        while num_steps > 0:
            count = min(self.chunk, num_steps)
            with self.target.room():
                self.state, found = self._run(self.state, self._inputs(count), self._constants)
                seen.append({name: np.asarray(value, np.float64) for name, value in found.items()})
            num_steps -= count
            self.num_steps += count
            if report is not None:
                report(total - num_steps, seen[-1])
        return {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}

    def culprit(self, at: np.ndarray | None = None, num_draws: int = 64) -> str:
        """The sites whose density or gradient is not finite at draws of the guide, in words; empty where all are.

        Parameters
        ----------
        at : numpy.ndarray, shape (2, dim), optional
            Mean and log sd of the guide; by default where the ascent began.
        num_draws : int
            Draws that are looked at.
        """
        mean, log_sd = (self.begin[0], np.log(self.begin[1])) if at is None else at
        rng = np.random.default_rng(self.num_steps)
        target, where, data = self.target, np.arange(len(mean)), self.target.data
        if self.batches is not None:
            target, given = self.batches.target, self.batches.inputs(self.batches.sample(rng))
            where, data = given["where"], {k: target.to_device(v) for k, v in given["data"].items()}
        z = mean[where] + np.exp(log_sd[where]) * rng.standard_normal((num_draws, len(where)))
        with np.errstate(all="ignore"):
            value, grad = target.value_and_grad(z, data=data)
            lost = ~np.isfinite(value) | ~np.isfinite(grad).all(1)
            if not lost.any():
                return ""
            worst = np.argmax(lost)
            values = target.constrain(z[worst : worst + 1], data=data)
            terms = target.log_joint_terms({site.name: values[site.name][0] for site in target.sites}, data)
        found = [f"site '{name}' gives {term}" for name, term in terms.items() if not np.isfinite(term)]
        if not found:
            steep = [
                name for name, part in target.offsets.items() if not np.isfinite(grad[worst, part]).all()
            ]
            found = [f"the gradient of site '{name}' is not finite" for name in steep]
        return "; ".join(found)

    def copied(self, state) -> Any:
        """The state in arrays of its own: steps write into those that they are given."""
        return self.target.loops.copy(state)

    def _inputs(self, count):
        given = {
            "seed": self._rng.integers(0, 2**31, count),
            "rate": np.full(count, self.rate, self.target.dtype),
        }
        if self.batches is not None:
            given |= self.batches.many(self._rng, count)
            if not self.batches.groups:  # every coordinate is in every batch
                given.pop("where", None), given.pop("weight", None)
        return _single(given) if self.target.dtype == np.float32 else given

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The guide's: ``mean`` and ``log_sd``, unconstrained, in the order of ``target.sites``."""
        moved = self.target.loops.to_host(self.copied(self.state["params"])).astype(np.float64)
        mean, sd = self.begin
        return {"mean": mean + sd * moved[0], "log_sd": np.log(sd) + moved[1]}

    def saved(self) -> dict[str, np.ndarray]:
        """All that the next step needs, as named arrays."""
        state = self.target.loops.to_host(self.copied(self.state))
        words = self._rng.bit_generator.state
        numbers = [words["state"]["state"], words["state"]["inc"]]
        halves = [number >> shift & MASK for number in numbers for shift in (64, 0)]
        return {
            **{f"state.{name}": value for name, value in state.items()},
            "rng": np.array([*halves, words["has_uint32"], words["uinteger"]], np.uint64),
            "rate": np.float64(self.rate),
            "num_steps": np.int64(self.num_steps),
        }

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go on from what `saved` gave."""
        self.state = {name: self.target.to_device(saved[f"state.{name}"]) for name in self.state}
        words = [int(word) for word in saved["rng"]]
        self._rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": words[0] << 64 | words[1], "inc": words[2] << 64 | words[3]},
            "has_uint32": words[4],
            "uinteger": words[5],
        }
        self.rate, self.num_steps = float(saved["rate"]), int(saved["num_steps"])


MASK = 2**64 - 1


def _single(given):
    """The same with floats in single precision."""
    if isinstance(given, dict):
        return {key: _single(value) for key, value in given.items()}
    return given.astype(np.float32) if given.dtype.kind == "f" else given

"""Stochastic ascent of a mean-field bound of which only noisy sums of clipped gradients are seen.

References
----------
Jälkö, Dikmen & Honkela (2017), Differentially private variational inference for non-conjugate models, UAI. Roeder, Wu &
Duvenaud (2017), Sticking the landing, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl import math as m
from ..batches.minibatch import Minibatch
from ..engines.ascent import adam
from .asked import Private
from .clipped import COUNTED, released
from .places import placed
from .units import Drawn, Units, budget_of, private_plate

NOISY = ("mean", "sd")
"""What a unit's gradient is in."""


@dataclass(frozen=True, eq=False)
class Unit:
    """What is computed of one unit, by its data alone.

    Attributes
    ----------
    density : Density
        Of the rows of a unit.
    loops : Loops
    plate : str
    along : mapping
        Argument to the axis on which it runs along the plate.
    """

    density: Any
    loops: Any
    plate: str
    along: Mapping[str, int]

    def likelihood(self, z: Any, one: Any, constants: Any) -> Any:
        """Log likelihood at a point."""
        own = placed(one["data"], self.along)
        terms = self.density.by_row(z, {**constants["data"], **own}, constants["weights"], self.plate)
        return m.sum(m.where(one["known"] > 0, terms["likelihood"] + terms["other"], 0.0))

    def outside(self, z: Any, constants: Any) -> Any:
        """Log density at a point of what is of no row."""
        data = {**constants["data"], **constants["nobody"]}
        return self.density.by_row(z, data, constants["weights"], self.plate)["outside"]

    def step(self, state: Any, given: Any, constants: Any) -> tuple[Any, Any]:
        """One step on the bound, see `engines.ascent.step`.

        Gradients of units are clipped, and get noise, in means and sds of the unconstrained coordinates: those in logarithms of sds
        are of the size of the sds themselves, which the noise would drown.
        """
        eps, unit, params = given["eps"], constants["sd"], state["params"]
        mean, sd = constants["mean"] + unit * params[0], m.exp(constants["log_sd"] + params[1])
        place = {"mean": mean, "sd": sd}

        def slope(value: Any) -> Any:
            """Gradient of the mean of a function over draws."""

            def whole(live: Any) -> Any:
                at = self.loops.mapped(lambda draw: value(live["mean"] + live["sd"] * draw["eps"]))
                return m.mean(at({"eps": eps})), {}

            return self.loops.slope(whole)(place)[0]

        each = self.loops.mapped(lambda one: slope(lambda z: self.likelihood(z, one, constants)))
        seen = released(each({"data": given["data"], "known": given["known"]}), given, constants)
        free = slope(lambda z: self.outside(z, constants))
        path = eps / sd  # of the entropy, without its score
        slopes = m.stack([
            (seen["mean"] + free["mean"] + m.mean(path, axis=0)) * unit,
            (seen["sd"] + free["sd"] + m.mean(path * eps, axis=0)) * sd,
        ])  # fmt: skip
        moved = {**adam(state, slopes, given["rate"]), "total": state["total"] + slopes}
        return moved, {"gradient_norm": m.sqrt(m.sum(slopes * slopes)), COUNTED: seen[COUNTED]}


def compiled(units: Units, num_particles: int) -> Any:
    """``fn(state, inputs, constants) -> (state, traces)`` of many steps, compiled once for targets of equal shapes."""
    target, key = units.small, ("private", num_particles, units.plate)
    known = target.density.ascents
    if key not in known:
        one = Unit(target.density, target.loops, units.plate, dict(units.along))
        known[key] = target.loops.loop(
            one.step, target.dtype, target.density.clock, (num_particles, target.dim)
        )
    return known[key]


def begun(drawn: Drawn) -> dict[str, Any]:
    """What the state of an ascent has beside: the sum of the gradients so far."""
    return {"total": drawn.target.to_device(np.zeros((2, drawn.target.dim)))}


def constants_of(drawn: Drawn) -> dict[str, Any]:
    """What every step sees beside the guide's start, see `Ascent.along`."""
    units, to_device = drawn.units, drawn.target.to_device
    numbers = {name: np.asarray(value) for name, value in drawn.constants().items()}
    nobody = {label: to_device(value) for label, value in units.nobody().items()}
    return {"data": units.fixed(), "nobody": nobody, **numbers}


def drawn_for(private: Private, target: Any, minibatch: Minibatch | None) -> Drawn:
    """Batches of a target's protected units, for a mean-field guide.

    Raises
    ------
    DataError, InferenceError
    """
    units = Units.of(target, private_plate(target, minibatch), private.by)
    shapes = {**dict.fromkeys(NOISY, (units.small.dim,)), COUNTED: ()}
    return Drawn(units, budget_of(private, units, minibatch), private.generator(), shapes)

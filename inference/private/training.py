"""Private training of networks and encoders: Adam on noisy sums of clipped gradients of rows' bounds.

References
----------
Abadi et al. (2016), Deep learning with differential privacy, CCS. Kingma & Ba (2015), Adam, ICLR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ppl import math as m
from ..deep.collapse import by_unit, num_active, told
from ..deep.compiled import Compiled
from ..deep.evidence import encoded
from ..deep.trained import STEP_LIMIT, Trained
from ..deep.training import Training
from ..thresholds import DEEP_ADAM, DEEP_BLOCK, DEEP_CALL, DEEP_TINY, EMA, PRIVATE_REST
from .clipped import COUNTED, released
from .places import placed
from .units import Drawn

GROUPS = ("weights", "guide")


@dataclass(frozen=True, eq=False)
class PrivateTraining:
    """Training on rows of which nothing else is seen.

    Attributes
    ----------
    compiled : Compiled
        Functions of the rows of a unit.
    drawn : Drawn
        Batches of units.
    rate : float
        Adam's.
    """

    compiled: Compiled
    drawn: Drawn
    rate: float

    def step(self, state: Any, given: Any, constants: Any) -> tuple[Any, Any]:
        """One step of Adam."""
        rows, loops, params = self.compiled.rows, self.compiled.rows.small.loops, state["params"]
        most, stop = np.shape(given["present"])[0], rows.size * rows.num_units
        each = stop + self.compiled.num_noise
        eps = m.moveaxis(m.reshape(given["eps"][:, : most * each], (1, most, each)), 1, 0)
        shared = given["eps"][:, most * each :]

        def alone(live: Any, one: Any) -> tuple[Any, Any]:
            own = m.concat([one["eps"][:, :stop], shared, one["eps"][:, stop:]], axis=-1)
            data = placed(one["data"], rows.along)
            return self.compiled.apart(live, {"data": data, "eps": own}, constants)

        def unit(one: Any) -> Any:
            def bound(live: Any) -> Any:
                return m.sum(m.where(one["known"] > 0, alone(live, one)[0], 0.0)), {}

            return _flat(loops.slope(bound)(params)[0])

        seen = released(
            loops.mapped(unit)({"data": given["data"], "known": given["known"], "eps": eps}), given, constants
        )
        nobody = {"data": constants["nobody"], "eps": eps[0]}
        free = _flat(loops.slope(lambda live: (alone(live, nobody)[1], {}))(params)[0])
        return self._moved(
            state, {k: (seen[k] + g) / constants["total"] for k, g in free.items()}, given, seen[COUNTED]
        )

    def _moved(self, state: Any, slopes: Mapping[str, Any], given: Any, clipped: Any) -> tuple[Any, Any]:
        """Adam's step up gradients."""
        count, (first, second) = state["norm"]["count"] + 1.0, DEEP_ADAM
        keep = m.minimum(EMA, count / (count + 10.0))
        out: dict[str, Any] = {
            name: {g: {} for g in GROUPS} for name in ("params", "first", "second", "mean")
        }
        for path, g in slopes.items():
            group, key = path.split("/", 1)
            one = first * state["first"][group][key] + (1 - first) * g
            two = second * state["second"][group][key] + (1 - second) * g * g
            move = one / (1 - first**count) / (m.sqrt(two / (1 - second**count)) + DEEP_TINY)
            new = state["params"][group][key] + given["rate"] * move
            out["params"][group][key], out["first"][group][key], out["second"][group][key] = new, one, two
            out["mean"][group][key] = keep * state["mean"][group][key] + (1 - keep) * new
        norm = m.sqrt(sum(m.sum(g * g) for g in slopes.values()))
        out["norm"] = {"usual": state["norm"]["usual"], "count": count}
        return out, {"norm": norm, COUNTED: clipped}

    def run(self, training: Training) -> tuple[Trained, float]:
        """All steps of the budget, what they reach as seen on the rows of a training, and the share of units that were clipped."""
        budget, rows = self.drawn.budget, self.compiled.rows
        small, state = rows.small, training.begun()
        each = rows.size * rows.num_units + self.compiled.num_noise
        loop = small.loops.loop(
            self.step, small.dtype, small.density.clock, (1, budget.most * each + rows.num_shared)
        )
        constants, rng = self._constants(), np.random.default_rng([training.seed, 89])
        count, done, seen = self._call(each), 0, []
        while done < budget.steps:
            steps = np.arange(done, min(done + count, budget.steps))
            inputs = {
                "seed": rng.integers(0, 2**31, len(steps)),
                "rate": self.rate * np.minimum(1.0, 2 * (1 - steps / budget.steps)),
                **self.drawn.many(None, len(steps)),
            }
            with small.room():
                state, found = loop(state, _cast(inputs, small.dtype), constants)
            seen.append({name: np.asarray(value, np.float64) for name, value in found.items()})
            done += len(steps)
            norm = float(np.median(seen[-1]["norm"]))
            training.watch.tell(f"step {done} of {budget.steps}")
            training.watch.saw({"gradient_norm": norm}, done)
        counted = np.concatenate([one[COUNTED] for one in seen])
        last = max(1, round(PRIVATE_REST * len(counted)))
        norms = np.concatenate([one["norm"] for one in seen])
        return self._trained(training, state["mean"], norms), float(counted[-last:].mean()) / budget.num_units

    def _constants(self) -> dict[str, Any]:
        """What every step sees."""
        units, to_device = self.drawn.units, self.compiled.rows.small.to_device
        nobody = {k: to_device(np.moveaxis(v, units.along[k], 0)) for k, v in units.nobody().items()}
        numbers = {k: to_device(np.asarray(v)) for k, v in self.drawn.constants().items()}
        total = to_device(np.asarray(float(units.total)))
        return {**self.compiled.constants, "nobody": nobody, "total": total, **numbers}

    def _call(self, each: int) -> int:
        """Steps of a call: their draws, noise and data are made before."""
        budget = self.drawn.budget
        numbers = budget.most * each + self.drawn.num_bytes // 4
        return int(np.clip(DEEP_CALL // max(numbers, 1), 1, min(DEEP_BLOCK, budget.steps)))

    def _trained(self, training: Training, params: Any, norms: np.ndarray) -> Trained:
        """What was reached, as it is seen on the rows of a training."""
        budget, look = self.drawn.budget, training.look(params)
        law = encoded(training.compiled, params, training.checked)
        host = training.setup.rows.small.loops.to_host(params)
        return Trained(
            {g: {k: np.array(v) for k, v in part.items()} for g, part in host.items()},
            np.zeros(0, int),
            np.array([[budget.steps, np.nan, look.bound, look.divergence, look.active]]),
            np.zeros(0),
            budget.steps,
            budget.steps * budget.sampling_rate,
            STEP_LIMIT,
            0,
            self.rate,
            *told(law, training.seed),
            0.0,
            0.0,
            by_unit(law),
            num_active(law),
            norms=norms,
        )


def shapes_of(begin: Mapping[str, np.ndarray], num_shared: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays that get noise: learned ones, and the guide's of what rows share."""
    found: dict[str, tuple[int, ...]] = {f"weights/{name}": np.shape(value) for name, value in begin.items()}
    if num_shared:
        found |= {"guide/mean": (num_shared,), "guide/log_sd": (num_shared,)}
    return {**found, COUNTED: ()}


def _flat(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{group}/{key}": value for group, part in tree.items() for key, value in part.items()}


def _cast(given: Any, dtype: np.dtype) -> Any:
    """Floats in the precision of the networks."""
    if isinstance(given, dict):
        return {key: _cast(value, dtype) for key, value in given.items()}
    return given.astype(dtype) if np.asarray(given).dtype.kind == "f" else np.asarray(given)

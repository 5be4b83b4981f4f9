"""What a file has to agree with: the posterior itself, in double precision, all rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .graph import NOISE
from .predicting import Predicting

Arrays = Mapping[str, np.ndarray]


def examples(asked: Predicting, count: int) -> dict[str, np.ndarray]:
    """Rows that were fitted, every third of them of a new group where there may be such, with noise that is always the same."""
    which = np.resize(asked.rows.complete, count)
    some = {k: v[which] for k, v in asked.arguments.items()}
    for label, (plate, _) in asked.rows.places.items():
        if plate in asked.rows.fresh:
            some[label] = np.where(np.arange(count) % 3 == 1, -1, some[label])
    rng = np.random.default_rng(7)
    return {
        i.name: some[i.name] if i.name in some else rng.standard_normal((count, *i.shape))
        for i in asked.inputs
    }


def outputs(asked: Predicting, given: Sequence[Arrays]) -> list[dict[str, np.ndarray]]:
    """Outputs for inputs of the same rows with several noises: new groups are elements beside those that were fitted."""
    rows, count, times = asked.rows, len(next(iter(given[0].values()))), len(given)
    data = {k: np.resize(v[rows.complete[:1]], (count, *v.shape[1:])) for k, v in rows.data.items()}
    data |= {k: np.asarray(given[0][k]).astype(v.dtype) for k, v in asked.arguments.items()}
    added: dict[str, list[str]] = {}
    for label, (plate, _) in rows.places.items():
        if plate in rows.fresh:
            begin = rows.sizes[plate] + count * len(added.setdefault(plate, []))
            added[plate].append(label)
            data[label] = np.where(data[label] < 0, begin + np.arange(count), data[label])
    target = rows.whole(data, {plate: count * len(labels) for plate, labels in added.items()})
    values, known = _values(asked, target)
    each = [_noise(asked, target, one) for one in given]
    noise = {k: np.concatenate([one[k] for one in each]) for k in each[0]}

    def step(state, one, constants):
        held = {k: (v, one["known"][k] > 0) if k in one["known"] else v for k, v in one["values"].items()}
        found = target.density.carried(
            held, one["noise"], constants["data"], constants["weights"], asked.wanted
        )
        return state, asked.named(found, None)

    parts = {"values": values, "known": known}
    inputs: dict[str, Any] = {
        kind: {k: np.concatenate([v] * times) for k, v in part.items()} for kind, part in parts.items()
    }
    inputs |= {"seed": np.zeros(times * len(asked.picked), np.int64), "noise": noise}
    loop = target.loops.loop(step, target.dtype, target.density.clock, (1,))
    _, found = loop({}, inputs, {"data": dict(target.data), "weights": dict(target.weights)})
    axes = {
        name: 1 + target.trace[site].dims.index(rows.plate)
        for name, site in asked.owners.items()
        if name in found
    }
    whole = {k: np.moveaxis(np.asarray(v, np.float64), axes[k], 0) for k, v in found.items()}
    return [{k: np.split(v, times, axis=1)[i] for k, v in whole.items()} for i in range(times)]


def _values(asked: Predicting, target: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws of the sites with elements for new groups behind, and which elements are known."""
    values, known = {}, {}
    for site in target.trace.latents:
        if site.name in asked.own:
            continue
        value = np.asarray(asked.record.values[site.name], np.float64)[asked.picked]
        if site.name in asked.drawn:
            axis = 1 + asked.groups[site.name][1]
            size = value.shape[axis]
            value = np.take(
                value, np.minimum(np.arange(target.trace[site.name].shape[axis - 1]), size - 1), axis
            )
            shape = [1] * value.ndim
            shape[axis] = -1
            known[site.name] = np.broadcast_to(
                (np.arange(value.shape[axis]) < size).reshape(shape), value.shape
            ).astype(float)
        values[site.name] = value
    return values, known


def _noise(asked: Predicting, target: Any, given: Arrays) -> dict[str, np.ndarray]:
    """Standard normal numbers of each site: of groups, for the new ones."""
    found = {}
    for name in asked.noises:
        value, site = np.asarray(given[f"{NOISE}{name}"], np.float64), target.trace[name]
        if name not in asked.groups:
            found[name] = np.moveaxis(value, 0, 1 + site.dims.index(asked.rows.plate))
            continue
        axis = asked.groups[name][1]
        whole = np.zeros((len(asked.picked), *site.shape))
        new = np.concatenate(np.moveaxis(value, 2 + axis, 0))  # (places · rows, draws, …)
        np.moveaxis(whole, 1 + axis, 0)[-len(new) :] = new
        found[name] = whole
    return found

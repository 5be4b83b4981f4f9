"""A state on disk: what a checkpoint keeps of the ladder, and the state that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...guides import catalogue
from ...guides.family import Guide
from ...guides.transport import Affine, packed
from ..evidence.finding import Finding
from ..run.trail import Rung
from .state import State


def snapshot(state: State) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON-ready values, and arrays."""
    counter, best, fitted = state.target.counter, state.best, state.fitted
    place = best if hasattr(best, "scale") or fitted is best else packed(best)
    values = {
        "family": None if state.guide is None else state.family.name,
        "settings": getattr(state.family, "settings", {}),
        "settled": state.settled,
        "fitted is best": fitted is best,
        "rungs": [asdict(rung) for rung in state.rungs],
        "findings": [finding.as_dict() for finding in state.findings],
        "counter": [counter.num_gradients, counter.num_densities],
    }
    arrays = {
        "ends": state.ends,
        "elbo_trace": state.elbo_trace,
        "restarts": state.restarts,
        **_over("centring", state.target.centring),
        **_over("best", {"mean": place.mean, "scale": place.scale} if hasattr(place, "scale") else {}),
        **_over("steps", state.steps),
        **_over("fitted", {} if fitted is None else fitted.to_arrays()),
        **_over("layout", {} if state.guide is None else state.guide.layout),
    }
    return values, arrays


def restored(state: State, values: dict, arrays: Mapping[str, np.ndarray]) -> State:
    """A state as `fit` begins with, gone on to what `snapshot` gave."""
    target = state.target.centred(_under("centring", arrays))
    target.counter.num_gradients, target.counter.num_densities = values["counter"]
    state = replace(
        state,
        target=target,
        ends=arrays["ends"],
        settled=values["settled"],
        rungs=tuple(Rung(**rung) for rung in values["rungs"]),
        findings=tuple(Finding(**finding) for finding in values["findings"]),
        elbo_trace=tuple(arrays["elbo_trace"].tolist()),
        restarts=tuple(arrays["restarts"].astype(int).tolist()),
        steps=_under("steps", arrays),
    )
    own, fitted = _under("best", arrays), _under("fitted", arrays)
    best = Affine(**own) if own else None
    if values["family"] is not None:
        guide = _guide(state, values, _under("layout", arrays))
        state = replace(state, family=guide.family, guide=guide)
        if own and values["fitted is best"]:  # to the last digit
            state = replace(state, fitted=best)
        elif fitted:
            state = replace(state, fitted=guide.at(fitted))
    return replace(state, best=best or state.fitted)


def _guide(state: State, values: dict, layout: dict[str, np.ndarray]) -> Guide:
    """The guide that was fitted, without another look at the posterior."""
    family = state.plan.family
    if family.name != values["family"]:
        family = catalogue.known()[values["family"]](**values["settings"])
    target = state.target
    known = SimpleNamespace(dim=target.dim, layout=layout, backend=target.backend, dtype=target.dtype)
    return family.bind(known if layout else target)


def _over(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}/{key}": value for key, value in arrays.items()}


def _under(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

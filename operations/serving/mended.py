"""What maps that a posterior keeps make of its predictions: see `Posterior.calibrated`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...diagnostics.maps import Levels, Map, from_dict


def maps_of(record: Any) -> dict[str, Map]:
    """The maps of a posterior's record, by outcome."""
    return {name: from_dict(name, kept) for name, kept in record.maps.items()}


def mended(map: Map | None, probabilities: np.ndarray) -> np.ndarray:
    """Probabilities ``(…, K)`` of classes by a map, if there is one."""
    return probabilities if map is None or isinstance(map, Levels) else map(probabilities)


def levels_of(map: Map | None, levels: tuple[float, ...]) -> tuple[float, ...]:
    """At which levels of its draws an outcome is cut, so that intervals hold what they say."""
    return tuple(map.quantiles(levels).tolist()) if isinstance(map, Levels) else levels


def weights_of(map: Map | None, count: int) -> np.ndarray | None:
    """Weights of draws in order, by which their moments are those of the mended law; None where all are alike."""
    return np.diff(map(np.linspace(0.0, 1.0, count + 1))) if isinstance(map, Levels) else None


def log_prob_of(map: Map, each: np.ndarray, codes: np.ndarray) -> Mapping[str, np.ndarray]:
    """Log probability of the classes that came, ``(N,)``, of probabilities ``(S, N, K)`` by draws, with the jackknife's error."""
    own = np.arange(len(codes))
    total, count = each.sum(0), len(each)
    with np.errstate(divide="ignore"):
        value = np.log(map(total / count)[own, codes])
        others = np.log(map((total - each) / (count - 1))[:, own, codes])
    spread = ((others - others.mean(0)) ** 2).sum(0)
    return {"log_prob": value, "se": np.sqrt((count - 1) / count * spread)}

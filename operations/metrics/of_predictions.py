"""How rows are predicted, by models whose latent quantities are all shared with those that were fitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ...diagnostics.places import PlaceCalibration, places_of
from ...diagnostics.reliability import reliability
from ...inference.posterior.classes import MEASURES, bound, classes, target_of
from ...inference.posterior.posterior import record_of
from ..thresholds import PREDICTED_DRAWS
from .watched import Watched


def of_density(watched: Watched) -> Iterator[tuple]:
    """Minus log predictive densities, over draws of the posterior."""
    if watched.encodes:
        return
    record = watched.record
    record.needs_program("er.metrics")
    target, z = _target(watched)
    log_prob = np.concatenate(
        [
            (logsumexp(each.reshape(len(z), -1), axis=0) - np.log(len(z)))[_there(target, name, each)]
            for name, each in target.per_row(z).items()
        ]
    )
    yield "rows_total", len(log_prob)
    yield "nll", -log_prob.mean()
    yield from standard_error("nll_se", log_prob)


def standard_error(name: str, values: np.ndarray) -> Iterator[tuple]:
    """Of a mean over rows, if there is more than one."""
    if len(values) > 1:
        yield name, values.std(ddof=1) / np.sqrt(len(values))


def _there(target: Any, name: str, each: np.ndarray) -> np.ndarray:
    """Which rows of an outcome have a value."""
    argument, shape = target.trace[name].argument, each.shape[1:]
    there = np.ones(shape, bool)
    if argument is not None:
        missing = np.isnan(np.asarray(target.program.leaves[argument].value, float))
        if missing.shape[: len(shape)] == shape:
            there = ~missing.reshape(*shape, -1).all(-1)
    return there.ravel()


def of_places(watched: Watched) -> Iterator[tuple]:
    """Where continuous outcomes and counts of new rows fall among their predictions, and the shares within intervals."""
    sites = [
        s for s in watched.record.observed.values() if s.argument is not None and s.measure not in MEASURES
    ]
    if watched.encodes or watched.data is None or len(sites) != 1:
        return
    name, observed, drawn = places_of(watched.posterior, watched.data, sites[0].name)
    found = PlaceCalibration.of(name, observed, drawn, None, (b"",) * len(observed), 0.0)
    yield "place_distance", found.distance
    yield "place_excess", found.excess
    for level, share in found.coverage()["share"].items():
        yield "coverage", share, {"level": f"{level:g}"}


def _target(watched: Watched):
    """The density of these rows, and draws in its coordinates."""
    record = watched.record
    some = np.unique(np.linspace(0, len(record.z) - 1, min(PREDICTED_DRAWS, len(record.z))).astype(int))
    if watched.data is None and record.target is not None:
        return record.target, record.z[some]
    program = record.program if watched.data is None else bound(record, watched.data)
    target = target_of(record, program, "er.metrics")
    z = target.unconstrain({s.name: np.asarray(record.values[s.name])[some] for s in target.sites})
    return target, z


def of_classes(watched: Watched) -> Iterator[tuple]:
    """Whether predicted probabilities of classes come true; nothing of outcomes without classes."""
    record = record_of(watched.posterior)
    sites = [s for s in record.observed.values() if s.measure in MEASURES and s.argument is not None]
    if watched.encodes or len(sites) != 1:
        return
    found = classes(record, None, watched.data or {}, PREDICTED_DRAWS)
    known = reliability(np.exp(found.log_prob), found.observed, draws=found.draws)
    yield "ece", known.ece
    yield "ece_excess", known.excess
    yield "accuracy", known.came.mean()

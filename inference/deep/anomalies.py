"""Anomalies among rows: how they score, and how rows that training held out do under the same gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ...ppl.data import holes
from ...ppl.errors import DataError, InferenceError, explain
from ..thresholds import COMPLEX_COLUMNS, GREYS, MOST_PATTERNS, MOST_RANKED, ROW_PRIOR_DRAWS
from .evidence import Weighed, log_joint
from .typical import atypical, complexity, odd, unlikely

WHERE = "latent.anomalies"
SCORES: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "both": odd,
    "typicality": atypical,
    "log_prob": lambda new, known: (-new[:, 0], unlikely(-new[:, 0], -known[:, 0])),
}


def anomalies(latent: Any, x: Any, level: float, score: str):
    """See `Latent.anomalies`."""
    import xarray as xr

    if score not in SCORES:
        raise InferenceError(
            explain(f"score of {WHERE}", f"one of {sorted(SCORES)}", repr(score), "choose one")
        )
    count = len(judges(latent))
    if (count + 1) * level < 1:
        want = f"at least {int(np.ceil(1 / level)) - 1} rows that training held out, for level {level:g}"
        raise InferenceError(explain(WHERE, want, f"{count}", "fit with validation=0.1, or raise the level"))
    data, num = latent.data_of(x, WHERE)
    columns, new = _seen(latent, data, num)
    apart, p_value = np.empty(num), np.empty(num)
    for at, known in _known(latent, data, num):
        apart[at], p_value[at] = SCORES[score](new[at], known)
    out = {**columns, "score": apart, "p_value": p_value, "anomaly": p_value <= level}
    return xr.Dataset({name: ("row", value) for name, value in out.items()})


def judges(latent: Any) -> np.ndarray:
    """The rows that training held out, or as many of them as others are ranked among at the most."""
    held = latent.held_out
    if len(held) <= MOST_RANKED:
        return held
    return np.sort(np.random.default_rng([latent.seed, 85]).choice(held, MOST_RANKED, replace=False))


def _seen(latent: Any, data: Mapping[str, np.ndarray], num: int) -> tuple[dict, np.ndarray]:
    """What is known of rows by name, and their statistics, shape ``(rows, statistics)``."""
    own, rng = latent.seeing(data), np.random.default_rng([latent.seed, 83])
    parts = [
        latent.scored(some) | {"log_prior": _prior(own, some, data, rng)} for some in own.weighed(data, num)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    packed = _complexities(latent, data)
    columns |= {"complexity": np.sum(packed, 0)} if packed else {}
    chosen = [name for name in ("log_prob", "log_prior", "complexity") if name in columns]
    return columns, np.column_stack([columns[name] for name in chosen])


def _prior(own: Any, some: Weighed, data: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Log prior density of the coordinates of rows, on average over the posterior of each."""
    known = np.isfinite(some.log_weights.max(1))
    out = np.full(len(some.rows), -np.inf)
    if known.any():
        some = some.of(np.flatnonzero(known))
        z = np.moveaxis(some.resampled(ROW_PRIOR_DRAWS, rng), 1, 0)
        constants = {**own.compiled.constants, "params": own.params}
        out[known] = log_joint(own.compiled, constants, some.rows, z, data, "prior").mean(0)
    return out


def _complexities(latent: Any, data: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Of each outcome with as many columns as have a pattern, its bits as zlib packs them."""
    rows, out = latent.setup.rows, []
    for site in latent.outcomes.values():
        if site.argument not in rows.along:
            continue
        axis, fitted = rows.along[site.argument], rows.data[site.argument]
        if fitted.size < COMPLEX_COLUMNS * fitted.shape[axis]:
            continue
        value = np.moveaxis(np.asarray(data[site.argument], np.float64), axis, 0)
        low, high = float(np.nanmin(fitted)), float(np.nanmax(fitted))
        step = (high - low) / GREYS if fitted.dtype.kind == "f" or high - low > GREYS else 1.0
        out.append(complexity((value.reshape(len(value), -1) - low) / (step or 1.0)))
    return out


# -- rows held out ------------------------------------------------------------------------------------------


def _known(latent: Any, data: Mapping[str, np.ndarray], num: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that lack the same numbers, and the statistics of the rows held out where these lack them too.

    Where rows lacked numbers when they were fitted, those held out are taken as they are.
    """
    rows = latent.setup.rows
    labels = [k for k, v in data.items() if k not in latent.setup.encoder.gaps and holes(v) is not None]
    if not labels:
        yield np.arange(num), latent.held_statistics
        return
    lost = [np.moveaxis(np.isnan(data[label]), rows.along[label], 0).reshape(num, -1) for label in labels]
    patterns, which = np.unique(np.concatenate(lost, 1), axis=0, return_inverse=True)
    if len(patterns) > MOST_PATTERNS:
        want = f"at most {MOST_PATTERNS} patterns of missing numbers where no fitted row lacks any"
        raise DataError(
            explain(
                WHERE, want, f"{len(patterns)}", "pass rows with the same gaps together, or leave out columns"
            )
        )
    ends = np.cumsum([one.shape[1] for one in lost])[:-1]
    for i, pattern in enumerate(patterns):
        held = dict(rows.host(judges(latent)))
        for label, gone in zip(labels, np.split(pattern, ends), strict=True):
            held[label] = _with_gaps(held[label], rows.along[label], gone)
        whole = not pattern.any()
        yield (
            np.flatnonzero(which.ravel() == i),
            latent.held_statistics if whole else statistics(latent, held),
        )


def _with_gaps(value: np.ndarray, axis: int, gone: np.ndarray) -> np.ndarray:
    """An array without some of the numbers of each row."""
    front = np.moveaxis(np.array(value, np.float64), axis, 0)
    front[:, gone.reshape(front.shape[1:])] = np.nan
    return np.moveaxis(front, 0, axis)


def statistics(latent: Any, data: Mapping[str, np.ndarray]) -> np.ndarray:
    """Statistics of the rows held out, of these data."""
    return _seen(latent, data, len(judges(latent)))[1]

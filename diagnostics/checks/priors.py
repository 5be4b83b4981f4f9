"""Priors: do they and the data pull apart, and do they allow data like these?

References
----------
Kallioinen, Paananen, Bürkner & Vehtari (2024), Detecting and diagnosing prior and likelihood sensitivity with
power-scaling, Statistics & Computing 34. Gabry et al. (2019), Visualization in Bayesian workflow, JRSS A 182.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.posterior.posterior import record_of
from ...ppl.errors import ElboroomError
from ...ppl.simulate import prior_values
from ...ppl.turns import without_warnings
from ..thresholds import (
    FEWEST_PREDICTIONS,
    OUTER,
    PREDICTION_VALUES,
    PRIOR_PREDICTIONS,
    RARE,
    SENSITIVE,
    SENSITIVE_NAMED,
    SENSITIVITY_ROWS,
    SHARED_QUANTITIES,
    WIDE,
)


def check(posterior) -> Iterator[Finding]:
    """Conflict of prior and data, and prior predictions against the data's range; none without the program."""
    if posterior.program is None or record_of(posterior).target is None:
        return
    yield from _conflict(posterior)
    yield from _plausible(posterior)


def _conflict(posterior) -> Iterator[Finding]:
    table = _sensitivity(posterior)
    if table is None:
        return
    prior, likelihood = table["prior"].to_numpy(float), table["likelihood"].to_numpy(float)
    both = (prior > SENSITIVE) & (likelihood > SENSITIVE)
    weak = (prior > SENSITIVE) & ~both

    def finding(which, verdict, words):
        worst = int(np.where(which, prior, -1).argmax())
        names = ", ".join(map(str, table.index[which][:SENSITIVE_NAMED]))
        advice = words.format(names=names)
        return Finding("prior and data", str(table.index[worst]), prior[worst], SENSITIVE, verdict, advice)

    if both.any():
        yield finding(
            both,
            "caution",
            "The prior of {names} and the data pull apart: the answer lies between. Give it a wider prior, or say why the "
            "data may be overruled.",
        )
    elif weak.any():
        yield finding(weak, "ok", "The data say little of {names}: its posterior leans on its prior.")
    else:
        words = "No prior decides the answer."
        yield Finding("prior and data", "fit", float(np.nanmax(prior)), SENSITIVE, "ok", words)


def _sensitivity(posterior) -> Any:
    """How far scaling prior and likelihood by a power moves each quantity that rows share, or None where nothing tells."""
    record = record_of(posterior)
    import arviz_stats

    shared = _shared(posterior)
    rows = sum(np.size(v) for v in record.observed_data.values())
    if not shared or not record.observed_data or rows > SENSITIVITY_ROWS:
        return None
    try:
        posterior.draws["log_likelihood"], posterior.draws["log_prior"]
        log_prior = [name for name in shared if name in posterior.draws["log_prior"]]
        if not log_prior:
            return None
        with without_warnings(), _unlogged("arviz_stats.psense"), np.errstate(all="ignore"):
            return arviz_stats.psense_summary(
                posterior.draws, var_names=shared, prior_var_names=log_prior, threshold=SENSITIVE
            )
    except (ElboroomError, KeyError, ValueError):
        return None


def _shared(posterior) -> list[str]:
    """Names of small latent sites that all rows share, with a prior of their own: one without parents."""
    record = record_of(posterior)
    local, graph = (
        set(record.settings.get("local", ())),
        posterior.program.graph(record.backend),
    )
    latent = {s.name: s for s in record.sites if s.role == "latent"}
    return [
        name
        for name, site in latent.items()
        if name not in local
        and np.prod(site.shape, dtype=int) <= SHARED_QUANTITIES
        and not set(graph.parents(name)) & set(latent)
    ]


@contextmanager
def _unlogged(name: str) -> Iterator[None]:
    """What this thread says to the logger `name` within the block is dropped; what others say is not."""
    own, logger = threading.get_ident(), logging.getLogger(name)

    def others(record):
        return record.thread != own

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


def _plausible(posterior) -> Iterator[Finding]:
    record, known = record_of(posterior), {}
    for name, observed in record.observed_data.items():
        site, y = record.observed.get(name), np.asarray(observed, float)
        y = y[~np.isnan(y)]
        binary = site is not None and site.is_discrete and len(np.unique(y)) <= 2
        if site is not None and not binary and y.size >= 2 and np.ptp(y) > 0:
            known[name] = y
    prior = _predictions(posterior, list(known)) if known else {}
    for name, y in known.items():
        draws = prior.get(name, np.empty(0))
        draws = draws[np.isfinite(draws)]
        if len(draws):
            yield _against(name, y, draws)


def _predictions(posterior, names: list[str]) -> dict[str, np.ndarray]:
    """Prior predictions of outcomes, fewer of long data, and of very long data those of some elements; empty where none can be drawn."""
    record = record_of(posterior)
    sizes = {name: max(1, np.size(value)) for name, value in record.observed_data.items()}
    size = sum(sizes.values())
    try:
        if size * PRIOR_PREDICTIONS <= PREDICTION_VALUES or "prior_predictive" in posterior.draws.children:
            found = posterior.draws["prior_predictive"]
            sets = {name: np.asarray(found[name].values, float) for name in names if name in found}
            return {
                name: value.reshape(-1, sizes[name])[:PRIOR_PREDICTIONS].ravel()
                for name, value in sets.items()
            }
        few = min(PRIOR_PREDICTIONS, max(FEWEST_PREDICTIONS, PREDICTION_VALUES // size))
        rng, most = np.random.default_rng([record.seed, 97]), PREDICTION_VALUES // FEWEST_PREDICTIONS
        at = {
            name: np.arange(sizes[name]) if sizes[name] <= most else rng.choice(sizes[name], most, False)
            for name in names
        }

        def some(values):
            flat = {name: values[name].reshape(len(values[name]), -1) for name in names if name in values}
            return {name: np.asarray(value, float)[:, at[name]] for name, value in flat.items()}

        found = prior_values(posterior.program, few, record.seed, record.backend, some)
        return {name: value.ravel() for name, value in found.items()}
    except (ElboroomError, KeyError):
        return {}


def _against(name, y, draws) -> Finding:
    """The finding about an outcome's data and its prior predictions."""
    low, high = np.quantile(draws, [0.05, 0.95])
    ratio = float((high - low) / np.ptp(y))
    first, last = np.quantile(y, [OUTER, 1 - OUTER])
    beyond = float(min((draws <= first).mean(), (draws >= last).mean()))
    if beyond < RARE:
        words = f"The priors hardly allow outcomes as extreme as those of '{name}': widen them or check the units."
        return Finding("prior predictions", name, beyond, RARE, "caution", words)
    words = f"The priors allow outcomes of '{name}' over {ratio:.0f} times the range of the data"
    words += (
        ": far wider than plausible; tighter ones make fits faster and steadier." if ratio > WIDE else "."
    )
    return Finding("prior predictions", name, ratio, WIDE, "ok", words)

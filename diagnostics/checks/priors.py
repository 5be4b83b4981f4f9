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

import numpy as np

from ...inference.evidence.finding import Finding
from ...ppl.errors import ElboroomError
from ...ppl.simulate import prior_groups
from ...ppl.turns import without_warnings

SENSITIVE = 0.05  # of the power-scaling measure
WIDE = 100.0  # times the data's range beyond which prior predictions are implausible
RARE = 0.001  # share of prior predictions beyond the data
MOST_QUANTITIES, MOST_ROWS, MOST_DRAWS = 50, 5_000, 200
LEAST_DRAWS, MOST_VALUES = 50, 2**21


def check(posterior) -> Iterator[Finding]:
    """Conflict of prior and data, and prior predictions against the data's range."""
    if posterior.program is None or posterior._target is None:
        return
    yield from _conflict(posterior)
    yield from _plausible(posterior)


def _conflict(posterior):
    import arviz_stats

    local, graph = set(posterior.settings.get("local", ())), posterior.program.graph(posterior.backend)
    latent = {s.name: s for s in posterior.sites if s.role == "latent"}
    shared = [
        s for s in latent.values() if s.name not in local and np.prod(s.shape, dtype=int) <= MOST_QUANTITIES
    ]
    shared = [
        s for s in shared if not set(graph.parents(s.name)) & set(latent)
    ]  # whose prior is no part of a model
    names = [s.name for s in shared]
    rows = sum(np.size(v) for v in posterior.observed_data.values())
    if not names or not posterior.observed_data or rows > MOST_ROWS:
        return
    try:
        posterior.draws["log_likelihood"], posterior.draws["log_prior"]
        log_prior = [s.name for s in shared if s.name in posterior.draws["log_prior"]]
        if not log_prior:
            return
        with without_warnings(), _unlogged("arviz_stats"), np.errstate(all="ignore"):
            table = arviz_stats.psense_summary(
                posterior.draws, var_names=names, prior_var_names=log_prior, threshold=SENSITIVE
            )
    except (ElboroomError, KeyError, ValueError):
        return
    prior, likelihood = table["prior"].to_numpy(float), table["likelihood"].to_numpy(float)
    both = (prior > SENSITIVE) & (likelihood > SENSITIVE)
    weak = (prior > SENSITIVE) & ~both
    if both.any():
        worst = int(np.where(both, prior, -1).argmax())
        words = f"The prior of {', '.join(map(str, table.index[both][:4]))} and the data pull apart: the answer lies between."
        advice = f"{words} Give it a wider prior, or say why the data may be overruled."
        yield Finding("prior and data", str(table.index[worst]), prior[worst], SENSITIVE, "caution", advice)
    elif weak.any():
        worst = int(np.where(weak, prior, -1).argmax())
        words = f"The data say little of {', '.join(map(str, table.index[weak][:4]))}: its posterior leans on its prior."
        yield Finding("prior and data", str(table.index[worst]), prior[worst], SENSITIVE, "ok", words)
    else:
        words = "No prior decides the answer."
        yield Finding("prior and data", "fit", float(np.nanmax(prior)), SENSITIVE, "ok", words)


@contextmanager
def _unlogged(name: str):
    """What this thread says to a logger is dropped; what others say is not."""
    own, logger = threading.get_ident(), logging.getLogger(name)

    def others(record):
        return record.thread != own

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


def _plausible(posterior):
    try:
        size = sum(np.size(value) for value in posterior.observed_data.values())
        if size * MOST_DRAWS > MOST_VALUES and "prior_predictive" not in posterior.draws.children:
            few = max(LEAST_DRAWS, MOST_VALUES // size)
            prior = prior_groups(posterior.program, min(few, MOST_DRAWS), posterior.seed, posterior.backend)[
                "prior_predictive"
            ]
        else:
            prior = posterior.draws["prior_predictive"]
    except (ElboroomError, KeyError):
        return
    for name, observed in posterior.observed_data.items():
        site = posterior.observed.get(name)
        y = np.asarray(observed, float)
        y = y[~np.isnan(y)]
        if site is None or site.is_discrete and len(np.unique(y)) <= 2 or name not in prior or y.size < 2:
            continue
        draws = (
            np.asarray(prior[name].values, float).reshape(-1, max(1, np.size(observed)))[:MOST_DRAWS].ravel()
        )
        draws = draws[np.isfinite(draws)]
        if not len(draws) or np.ptp(y) == 0:
            continue
        low, high = np.quantile(draws, [0.05, 0.95])
        ratio = float((high - low) / np.ptp(y))
        beyond = float(min((draws <= np.quantile(y, 0.1)).mean(), (draws >= np.quantile(y, 0.9)).mean()))
        if beyond < RARE:
            yield Finding(
                "prior predictions",
                name,
                beyond,
                RARE,
                "caution",
                f"The priors hardly allow outcomes as extreme as those of '{name}': widen them or check the units.",
            )
        else:
            wide = ratio > WIDE
            yield Finding(
                "prior predictions",
                name,
                ratio,
                WIDE,
                "ok",
                f"The priors allow outcomes of '{name}' over {ratio:.0f} times the range of the data"
                + (
                    ": far wider than plausible; tighter ones make fits faster and steadier." if wide else "."
                ),
            )

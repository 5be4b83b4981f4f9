"""Leave-one-out prediction: which rows does the model not expect, and on which does the answer hang?

References
----------
Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC,
Statistics & Computing 27.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.evidence.psis import khat_threshold
from ...inference.posterior.posterior import record_of, requested
from ...ppl.errors import ElboroomError
from ..thresholds import (
    BEYOND,
    INFLUENTIAL,
    LEAST_ROWS,
    LOO_ROWS,
    MOST_INFLUENTIAL,
    NAMED,
    SMOOTHED_BLOCK,
)
from .pit import local_level, ranks, threshold
from .replicates import own_names
from .smoothing import smooth_rows


@dataclass(frozen=True)
class Loo:
    """Leave-one-out log densities of the ``N`` rows of one outcome.

    Attributes
    ----------
    elpd : numpy.ndarray, shape (N,)
        Log density of each row, the others given, in nats.
    khat : numpy.ndarray, shape (N,)
        k̂ of each row's importance weights.
    places : numpy.ndarray, shape (N,), or None
        Probability integral transforms of rows each left out, randomised over ties.
    labels : list of str
        What the rows are called.
    estimate : arviz_stats.ELPDData
    """

    elpd: np.ndarray
    khat: np.ndarray
    places: np.ndarray | None
    labels: list[str]
    estimate: Any


def leave_one_out(posterior) -> dict[str, Loo]:
    """Leave-one-out densities by observed site, made once.

    Sites of more than `LOO_ROWS` rows, or without a density per row, are left out.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.

    Returns
    -------
    dict of str to Loo

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics & Computing 27.
    """
    record = record_of(posterior)
    if "loo" in requested(posterior):
        return requested(posterior)["loo"]
    found: dict[str, Loo] = {}
    if posterior.program is not None or "log_likelihood" in record.saved:
        small = [n for n, v in record.observed_data.items() if 1 < np.size(v) <= LOO_ROWS]
        for name in small:
            try:
                rows = posterior.draws["log_likelihood"][name]
            except (ElboroomError, KeyError):
                continue
            imputed = f"{name}_missing" in record.shapes
            there = _there(record.observed_data[name], rows.shape[2:], imputed)
            density = rows.values.reshape(-1, there.size)[:, there].astype(float)
            if density.size and np.isfinite(density).all() and (np.ptp(density, axis=0) > 0).all():
                found[name] = _left_out(posterior, name, rows, density, there)
    requested(posterior)["loo"] = found
    return found


def _there(observed, shape, imputed: bool) -> np.ndarray:
    """Which rows have an outcome, ``(N,)``; of a vector any element, or all where those missing are imputed."""
    missing = np.isnan(np.asarray(observed, float))
    events = tuple(range(len(shape), missing.ndim))
    return ~(missing.any(axis=events) if imputed else missing.all(axis=events)).ravel()


def _left_out(posterior, name, rows, density, there) -> Loo:
    replicated, observed = _replicated(posterior, name, len(density), there), None
    if replicated is not None:
        observed = np.ravel(record_of(posterior).observed_data[name])[there].astype(float)
    elpd, khat, places = _smoothed(density, replicated, observed)
    labels, shape = _layout(name, rows, there)
    return Loo(elpd, khat, places, labels, _estimate(density, elpd, khat, shape))


def _smoothed(density, replicated, observed) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Log densities and k̂ of rows each left out ``(N,)`` and, of those with replicates, their transforms."""
    count, num_rows = density.shape
    elpd, khat, places = np.empty(num_rows), np.empty(num_rows), np.full(num_rows, np.nan)
    rng = np.random.default_rng(num_rows)
    block = max(1, SMOOTHED_BLOCK // count)
    for start in range(0, num_rows, block):
        some = slice(start, start + block)
        weights, khat[some] = smooth_rows(-density[:, some].T)
        elpd[some] = np.log((weights * np.exp(density[:, some].T - density[:, some].max(0)[:, None])).sum(1))
        elpd[some] += density[:, some].max(0)
        if replicated is not None:
            draws, seen = replicated[:, some].T, observed[some, None]
            below = (weights * (draws < seen)).sum(1)
            inside = below + rng.uniform(size=len(draws)) * (weights * (draws == seen)).sum(1)
            # the row counts as one more draw: those beyond all draws would lump at the ends
            places[some] = (count * inside + rng.uniform(size=len(draws))) / (count + 1)
    return elpd, khat, None if replicated is None else places.clip(0, 1)


def _layout(name, rows, there) -> tuple[list[str], Any]:
    """Labels of the rows that are there, and an array of their layout for arviz-stats."""
    dims = rows.dims[2:]
    shape = rows.isel({rows.dims[0]: 0, rows.dims[1]: 0}, drop=True)
    if not dims:
        return [name], shape
    stacked = shape.stack(_row=dims)[there]
    labels = [_label(name, row) for row in stacked.coords["_row"].values]
    return labels, shape if there.all() else stacked.drop_vars(stacked.coords).rename(_row="row")


def _label(name, row) -> str:
    row = row if isinstance(row, tuple) else (row,)
    return f"{name}[{', '.join(str(one) for one in row)}]"


def _estimate(density, elpd, khat, shape) -> Any:
    lppd = np.log(np.exp(density - density.max(0)).mean(0)) + density.max(0)
    return estimate_of(elpd, khat, shape, len(density), float((lppd - elpd).sum()))


def estimate_of(elpd: np.ndarray, khat: np.ndarray, shape: Any, count: int, effective: float) -> Any:
    """What arviz-stats gives for leave-one-out; since its version 1 a class of its own.

    Parameters
    ----------
    elpd, khat : numpy.ndarray, shape (N,)
        Log densities of rows, and k̂ of their weights.
    shape : xarray.DataArray
        Laid out as they are.
    count : int
        Draws.
    effective : float
        Effective number of parameters.
    """
    from arviz_stats import utils

    num_rows, good = len(elpd), khat_threshold(count)
    facts = {
        "elpd": float(elpd.sum()),
        "se": float(np.sqrt(num_rows * elpd.var())),
        "p": effective,
        "n_samples": count,
        "n_data_points": num_rows,
        "scale": "log",
        "warning": bool((khat > good).any()),
        "good_k": good,
        "elpd_i": shape.copy(data=elpd.reshape(shape.shape)),
        "pareto_k": shape.copy(data=khat.reshape(shape.shape)),
    }
    kind = getattr(utils, "ELPDDataLOO", None)
    return utils.ELPDData(kind="loo", **facts) if kind is None else kind(**facts)


def _replicated(posterior, name, count, there):
    """Replicates ``(count, N)`` of the rows that are there; None where they do not match the densities."""
    try:
        values = posterior.draws["posterior_predictive"][name].values
    except (ElboroomError, KeyError):
        return None
    return values.reshape(count, -1)[:, there] if values.size == count * there.size else None


def check(posterior) -> Iterator[Finding]:
    """Rows that the posterior hangs on, by name, and LOO-PIT, a misfit by itself only far beyond its band.

    Nothing of rows with latent quantities of their own: these hang on their row by design, and so do its weights.
    """
    alone = [name for name in record_of(posterior).observed if not own_names(posterior, name)]
    for name, loo in leave_one_out(posterior).items() if alone else ():
        if name not in alone:
            continue
        order = np.argsort(-loo.khat)
        many = int((loo.khat > INFLUENTIAL).sum())
        labels = ", ".join(loo.labels[i] for i in order[: min(many, NAMED)])
        yield Finding(
            "influential rows",
            name,
            float(loo.khat[order[0]]),
            INFLUENTIAL,
            "ok" if not many else "caution",
            f"No single row of '{name}' decides the answer."
            if not many
            else f"{many} rows move the posterior more than importance sampling can tell ({labels}): look at them, fit "
            "again without them, or take a likelihood with heavier tails.",
        )
        yield from _calibrated(posterior, name, loo, many)


def _calibrated(posterior, name, loo, many) -> Iterator[Finding]:
    """Whether rows, each left out, fall evenly over their predictions.

    References
    ----------
    Säilynoja, Bürkner & Vehtari (2022), Statistics & Computing 32 (the band).
    """
    site = record_of(posterior).observed.get(name)
    if loo.places is None or site is None or site.measure or site.censored:
        return
    if len(loo.places) < LEAST_ROWS or many > MOST_INFLUENTIAL * len(loo.places):
        return
    local = float(local_level(np.sort(loo.places)[ranks(len(loo.places)) - 1], len(loo.places)))
    limit = threshold(len(loo.places))
    odd = local < limit
    yield Finding(
        "LOO-PIT",
        name,
        local,
        limit,
        "misfit" if local < BEYOND else "caution" if odd else "ok",
        f"The rows of '{name}', each predicted by the others, "
        + (
            "do not fall evenly over their predictions: look at the other checks for what is off."
            if odd
            else "fall evenly over their predictions."
        ),
    )

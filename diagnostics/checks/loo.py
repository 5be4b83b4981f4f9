"""Leave-one-out prediction: which rows does the model not expect, and on which does the answer hang?

References
----------
Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC,
Statistics & Computing 27.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.evidence.psis import khat_threshold
from ...ppl.errors import ElboroomError
from .pit import local_level, ranks, threshold
from .predictions import LEAST_ROWS

MOST_ROWS = 5_000  # one by one
INFLUENTIAL = 0.7  # k̂ of a row
NAMED = 5  # rows
MOST_INFLUENTIAL = 0.05  # share of influential rows from which on LOO-PIT does not hold
BEYOND = 1e-8  # local level below which no noise of the weights explains LOO-PIT
BLOCK = 2**21  # numbers smoothed at a time


@dataclass(frozen=True)
class Loo:
    """Leave-one-out log densities of the rows of one outcome.

    Attributes
    ----------
    elpd, khat : numpy.ndarray, shape (N,)
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
    estimate: object


def leave_one_out(posterior) -> dict[str, Loo]:
    """By observed site; those with too many rows, or without a density per row, are left out."""
    if "loo" in posterior._groups:
        return posterior._groups["loo"]
    found: dict[str, Loo] = {}
    if posterior.program is not None or "log_likelihood" in posterior._groups.get("saved", {}):
        small = [n for n, v in posterior.observed_data.items() if 1 < np.size(v) <= MOST_ROWS]
        for name in small:
            try:
                rows = posterior.draws["log_likelihood"][name]
            except (ElboroomError, KeyError):
                continue
            imputed = f"{name}_missing" in posterior._shapes
            there = _there(posterior.observed_data[name], rows.shape[2:], imputed)
            density = rows.values.reshape(-1, there.size)[:, there].astype(float)
            if density.size and np.isfinite(density).all() and (np.ptp(density, axis=0) > 0).all():
                found[name] = _left_out(posterior, name, rows, density, there)
    posterior._groups["loo"] = found
    return found


def _there(observed, shape, imputed: bool) -> np.ndarray:
    """Which rows have an outcome, ``(N,)``; of a vector any element, or all where those missing are imputed."""
    missing = np.isnan(np.asarray(observed, float))
    events = tuple(range(len(shape), missing.ndim))
    return ~(missing.any(axis=events) if imputed else missing.all(axis=events)).ravel()


def _left_out(posterior, name, rows, density, there) -> Loo:
    count, num_rows = density.shape
    replicated, observed = _replicated(posterior, name, count, there), None
    if replicated is not None:
        observed = np.ravel(posterior.observed_data[name])[there].astype(float)
    elpd, khat, places = np.empty(num_rows), np.empty(num_rows), np.full(num_rows, np.nan)
    rng = np.random.default_rng(num_rows)
    for start in range(0, num_rows, max(1, BLOCK // count)):
        some = slice(start, start + max(1, BLOCK // count))
        weights, khat[some] = smooth_rows(-density[:, some].T)
        elpd[some] = np.log((weights * np.exp(density[:, some].T - density[:, some].max(0)[:, None])).sum(1))
        elpd[some] += density[:, some].max(0)
        if replicated is not None:
            draws, seen = replicated[:, some].T, observed[some, None]
            below = (weights * (draws < seen)).sum(1)
            inside = below + rng.uniform(size=len(draws)) * (weights * (draws == seen)).sum(1)
            # the row counts as one more draw: those beyond all draws would lump at the ends
            places[some] = (count * inside + rng.uniform(size=len(draws))) / (count + 1)
    lppd = np.log(np.exp(density - density.max(0)).mean(0)) + density.max(0)
    dims = rows.dims[2:]
    shape = rows.isel({rows.dims[0]: 0, rows.dims[1]: 0}, drop=True)
    stacked = shape.stack(_row=dims)[there] if dims else None
    labels = [_label(name, dims, row) for row in stacked.coords["_row"].values] if dims else [name]
    if not there.all():
        shape = stacked.drop_vars(stacked.coords).rename(_row="row")
    good = khat_threshold(count)
    estimate = _estimate(
        elpd=float(elpd.sum()),
        se=float(np.sqrt(num_rows * elpd.var())),
        p=float((lppd - elpd).sum()),
        n_samples=count,
        n_data_points=num_rows,
        scale="log",
        warning=bool((khat > good).any()),
        good_k=good,
        elpd_i=shape.copy(data=elpd.reshape(shape.shape)),
        pareto_k=shape.copy(data=khat.reshape(shape.shape)),
    )
    return Loo(elpd, khat, None if replicated is None else places.clip(0, 1), labels, estimate)


def _estimate(**facts):
    """What arviz-stats gives for leave-one-out; since its version 1 a class of its own."""
    from arviz_stats import utils

    kind = getattr(utils, "ELPDDataLOO", None)
    return utils.ELPDData(kind="loo", **facts) if kind is None else kind(**facts)


def _replicated(posterior, name, count, there):
    """Replicates ``(count, N)`` of the rows that are there; None where they do not match the densities."""
    try:
        values = posterior.draws["posterior_predictive"][name].values
    except (ElboroomError, KeyError):
        return None
    return values.reshape(count, -1)[:, there] if values.size == count * there.size else None


def smooth_rows(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed weights of many rows at once: those of arviz-stats, which takes them one by one.

    Parameters
    ----------
    log_weights : numpy.ndarray, shape (N, S)

    Returns
    -------
    tuple
        Weights ``(N, S)`` that sum to one, and k̂ ``(N,)``.

    References
    ----------
    Vehtari et al. (2024), JMLR 25. Zhang & Stephens (2009), Technometrics 51.
    """
    weights = np.exp(log_weights - log_weights.max(1, keepdims=True))
    num_rows, count = weights.shape
    tail = int(np.ceil(min(count / 5, 3 * np.sqrt(count))))
    if tail < 5:
        return weights / weights.sum(1, keepdims=True), np.full(num_rows, np.inf)
    largest = np.argpartition(weights, count - tail - 1, axis=1)[:, -tail - 1 :]
    values = np.take_along_axis(weights, largest, 1)
    order = values.argsort(axis=1)
    largest, values = np.take_along_axis(largest, order, 1), np.take_along_axis(values, order, 1)
    excess = values[:, 1:] - values[:, :1]
    with np.errstate(all="ignore"):
        shape, scale = _pareto(excess)
        share = np.arange(0.5, tail) / tail
        smoothed = scale[:, None] * np.expm1(-shape[:, None] * np.log1p(-share)) / shape[:, None]
    sound = np.isfinite(smoothed).all(1) & (scale > 0)
    smoothed = np.minimum(values[:, :1] + smoothed, values[:, -1:])
    np.put_along_axis(weights, largest[:, 1:], np.where(sound[:, None], smoothed, values[:, 1:]), 1)
    return weights / weights.sum(1, keepdims=True), np.where(np.isfinite(shape), shape, np.inf)


def _pareto(excess) -> tuple[np.ndarray, np.ndarray]:
    """Shape, drawn to one half, and scale of a generalised Pareto law for each sorted row."""
    count = excess.shape[1]
    size = 30 + int(count**0.5)
    grid = 1 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    grid = grid / (3 * excess[:, int(count / 4 + 0.5) - 1, None]) + 1 / excess[:, -1:]
    shapes = np.stack([np.log1p(-b[:, None] * excess).mean(1) for b in grid.T], 1)
    likelihood = count * (np.log(-grid / shapes) - shapes - 1)
    weights = np.exp(likelihood - np.nanmax(likelihood, 1, keepdims=True))
    weights = np.where(weights >= 10 * np.finfo(float).eps * weights.sum(1, keepdims=True), weights, 0)
    best = (grid * weights).sum(1) / weights.sum(1)
    shape = np.log1p(-best[:, None] * excess).mean(1)
    return (count * shape + 5) / (count + 10), -shape / best


def _label(name, dims, row) -> str:
    row = row if isinstance(row, tuple) else (row,)
    return f"{name}[{', '.join(str(one) for one in row)}]"


def check(posterior) -> Iterator[Finding]:
    """Rows that the posterior hangs on, by name, and LOO-PIT, a misfit by itself only far beyond its band."""
    for name, loo in leave_one_out(posterior).items():
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
    site = posterior.observed.get(name)
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

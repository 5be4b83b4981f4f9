"""Pictures of the report: predictions of each outcome against its data, and the course of the fit.

References
----------
Säilynoja, Johnson, Martin & Vehtari (2025), Recommendations for visual predictive checks in Bayesian workflow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...inference.posterior.posterior import record_of
from ..checks.binning import binned, group_means, sorting
from ..checks.outcome import Outcome, pit
from ..checks.pit import band, ecdf, grid, ranks
from ..checks.predictions import outcomes
from ..checks.refits import excursions
from ..checks.residuals import time_of
from ..checks.survival import curves, kaplan_meier
from ..thresholds import (
    BAND_REPLICATES,
    CURVE_POINTS,
    DATA_ROWS,
    DENSITIES_DRAWN,
    DENSITY_ROWS,
    EXTENT,
    HISTOGRAM_STEP,
    INNER_INTERVAL,
    LARGEST_COUNT,
    LEVEL,
    OUTER_ENDS,
    OUTER_INTERVAL,
    SORTING,
)
from .canvas import DATA, INK, PALE, blank, labelled, svg


def predictive(posterior) -> list[tuple[str, list[str]]]:
    """Pictures of each observed site: the overlay that suits its type, its PIT-ECDF, its course in time.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.

    Returns
    -------
    list of tuple
        Title, and the pictures as SVG.
    """
    return [(one.name, _outcome(one, record_of(posterior).seed)) for one in outcomes(posterior)]


def _outcome(outcome: Outcome, seed: int) -> list[str]:
    if outcome.kind == "categorical":
        found = [_one(lambda axis: _shares(axis, outcome), f"Shares of the categories of {outcome.name}")]
        if not outcome.ordered:
            words = f"Calibration of {outcome.name}: share of the likeliest category that came against its probability"
            found.append(_one(lambda axis: _calibration(axis, _likeliest(outcome)), words))
        return found
    if outcome.kind == "binary":
        words = f"Calibration of {outcome.name}: observed share against predicted probability"
        return [_one(lambda axis: _calibration(axis, outcome), words)]
    draw = {"continuous": _overlay, "count": _rootogram}[outcome.kind]
    words = f"Observed and predicted {outcome.name}"
    if outcome.censored is not None and outcome.censored.seen.any():
        draw, words = _survival, f"Kaplan-Meier curve of {outcome.name} and its predictive band"
    elif outcome.kind == "continuous" and _crowds(outcome):
        draw = _shares_below
    band_words = f"PIT-ECDF of {outcome.name} with its {1 - LEVEL:.0%} band"
    found = [
        _one(lambda axis: draw(axis, outcome), words),
        _one(lambda axis: _ecdf(axis, outcome, seed), band_words),
    ]
    time = time_of(outcome) if outcome.column is None else None
    if time is not None:
        words = f"{outcome.name} over {time}, with 50% and 90% predictive intervals"
        found.append(_one(lambda axis: _course(axis, outcome, time), words))
    return found


def _one(draw, description: str) -> str:
    figure, (axis,) = blank()
    draw(axis)
    return svg(figure, description)


def _course(axis, outcome, time):
    order = np.argsort(outcome.columns[time], kind="stable")
    x, y = outcome.columns[time][order], outcome.replicated[:, order]
    for ends in (OUTER_INTERVAL, INNER_INTERVAL):
        axis.fill_between(x, *np.quantile(y, ends, axis=0), color=INK, alpha=0.25, lw=0)
    axis.plot(x, np.median(y, axis=0), color=INK, lw=1, label="predicted, 50% and 90%")
    axis.plot(x, outcome.observed[order], ".", color=DATA, ms=3, label="observed")
    labelled(axis, xlabel=time, ylabel=outcome.name)


def _shares(axis, outcome):
    values = np.unique(outcome.observed)
    low, high = np.quantile([(outcome.replicated == v).mean(1) for v in values], OUTER_INTERVAL, axis=1)
    seen = [(outcome.observed == v).mean() for v in values]
    axis.vlines(values, low, high, color=INK, lw=5, alpha=0.5, label="predicted, 90%")
    axis.plot(values, seen, "o", color=DATA, ms=4, label="observed")
    labelled(axis, xlabel=outcome.name, ylabel="share of rows", xticks=values)


def _overlay(axis, outcome):
    from scipy.stats import gaussian_kde

    y = outcome.observed
    low, high = np.quantile(outcome.replicated, EXTENT)
    grid = np.linspace(min(low, y.min()), max(high, y.max()), CURVE_POINTS)
    for row in outcome.replicated[:: max(1, len(outcome.replicated) // DENSITIES_DRAWN)][:DENSITIES_DRAWN]:
        if row.std() > 0:
            axis.plot(grid, gaussian_kde(row[:DENSITY_ROWS])(grid), color=INK, alpha=0.25, lw=0.7)
    if y.std() > 0:
        axis.plot(grid, gaussian_kde(y[:DATA_ROWS])(grid), color=DATA, lw=2, label="observed")
    axis.plot([], [], color=INK, label="predicted")
    labelled(axis, xlabel=outcome.name, yticks=[])


def _crowds(outcome) -> bool:
    """Whether values crowd at an end of their range, where a smooth density would run over it."""
    values = outcome.replicated
    low, high = values.min(), values.max()
    near, many = OUTER_ENDS
    margin = near * (high - low)
    return bool(((values < low + margin).mean() > many) or ((values > high - margin).mean() > many))


def _shares_below(axis, outcome):
    low = min(outcome.replicated.min(), outcome.observed.min())
    high = max(np.quantile(outcome.replicated, EXTENT[1]), outcome.observed.max())
    grid = np.linspace(low, high, CURVE_POINTS)

    def shares(values):
        return np.searchsorted(np.sort(values), grid, side="right") / len(values)

    some = outcome.replicated[:: max(1, len(outcome.replicated) // BAND_REPLICATES)]
    ends = np.quantile([shares(row) for row in some], OUTER_INTERVAL, axis=0)
    axis.fill_between(grid, *ends, color=INK, alpha=0.3, label="predicted, 90%")
    axis.plot(grid, shares(outcome.observed), color=DATA, lw=1.5, label="observed")
    labelled(axis, xlabel=outcome.name, ylabel="share at or below")


def _survival(axis, outcome):
    times, _, many = curves(outcome)
    if len(times):
        centre, scale, extreme = excursions(outcome, many)
        reach = np.quantile(extreme, 1 - LEVEL) * scale
        ends = np.clip([centre - reach, centre + reach], 0, 1)
        axis.fill_between(times, *ends, color=INK, alpha=0.25, lw=0, label=f"predicted, {1 - LEVEL:.0%} band")
        axis.plot(times, centre, color=INK, lw=1)
    grid = np.linspace(0, outcome.observed.max(), 2 * CURVE_POINTS)
    seen = kaplan_meier(outcome.observed[None], outcome.censored.seen[None], grid)[0]
    axis.step(grid, seen, color=DATA, lw=1.5, where="post", label="observed (Kaplan–Meier)")
    labelled(axis, xlabel=outcome.name, ylabel="share that outlasts it", ylim=(0, 1.02))


def _rootogram(axis, outcome):
    top = int(min(max(np.quantile(outcome.replicated, EXTENT[1]), outcome.observed.max()), LARGEST_COUNT))
    values = np.arange(top + 1)
    some = outcome.replicated[::HISTOGRAM_STEP][:BAND_REPLICATES]
    counts = np.array([[np.sum(row == v) for v in values] for row in some])
    low, mid, high = np.sqrt(np.quantile(counts, [OUTER_INTERVAL[0], 0.5, OUTER_INTERVAL[1]], axis=0))
    seen = np.sqrt([np.sum(outcome.observed == v) for v in values])
    axis.fill_between(values, low, high, color=INK, alpha=0.3, step="mid", label="predicted, 90%")
    axis.step(values, mid, color=INK, where="mid")
    axis.plot(values, seen, "o", color=DATA, ms=4, label="observed")
    labelled(axis, xlabel=outcome.name, ylabel="√ rows")


def _calibration(axis, outcome):
    expected, first = sorting(outcome.replicated)
    codes = binned(expected)
    share, _ = group_means(codes, outcome.observed)
    spread, _ = group_means(codes, outcome.replicated[~first])
    mean = spread.mean(0)
    axis.plot([0, 1], [0, 1], color=PALE, lw=0.8)
    axis.vlines(
        mean, *np.quantile(spread, OUTER_INTERVAL, axis=0), color=INK, lw=4, alpha=0.5, label="predicted, 90%"
    )
    axis.plot(mean, share, "o-", color=DATA, ms=4, label="observed share")
    labelled(axis, xlabel="predicted probability", ylabel="share that came true")


def _likeliest(outcome):
    """Whether the likeliest category of each row came, as a binary outcome."""
    values = np.unique(outcome.replicated)
    some = outcome.replicated[::SORTING]  # those that rows are sorted by
    likeliest = values[np.argmax([(some == value).mean(0) for value in values], axis=0)]
    came, replicated = ((x == likeliest) * 1.0 for x in (outcome.observed, outcome.replicated))
    return replace(outcome, kind="binary", observed=came, replicated=replicated)


def _ecdf(axis, outcome, seed):
    if outcome.column is None:
        _ecdf_of_rows(axis, outcome, seed)
    else:
        _ecdf_of_elements(axis, outcome)
    labelled(axis, xlabel="PIT", ylabel="ECDF − uniform")


def _ecdf_of_elements(axis, outcome):
    """Of elements that go together within a row: the band is that of replicates, as the check has it."""
    observed, replicated = outcome.places
    at = grid(len(observed))
    centre, scale, extreme = excursions(outcome, ecdf(replicated, at))
    reach = np.quantile(extreme, 1 - LEVEL) * scale
    low, high = centre - reach - at, centre + reach - at
    axis.fill_between(at, low, high, color=INK, alpha=0.2, label=f"{1 - LEVEL:.0%} band")
    axis.plot(at, ecdf(observed[None], at)[0] - at, color=DATA, lw=1.5)


def _ecdf_of_rows(axis, outcome, seed):
    values = np.sort(pit(outcome, np.random.default_rng(seed)))
    rank = ranks(len(values))
    even = rank / (len(values) + 1)
    low, high = band(len(values))
    axis.fill_between(even, even - high, even - low, color=INK, alpha=0.2, label=f"{1 - LEVEL:.0%} band")
    axis.plot(even, even - values[rank - 1], color=DATA, lw=1.5)


def elbo(posterior) -> str:
    """The ELBO, in nats, over the steps of the fit as SVG, a line for each time that it began anew.

    Empty where there are fewer than two finite values.
    """
    record = record_of(posterior)
    values = np.asarray(record.fit_record["elbo"], float)
    restart = np.asarray(record.fit_record.get("restart", np.zeros(len(values), int)))
    step, finite = np.arange(1, len(values) + 1), np.isfinite(values)
    if finite.sum() < 2:
        return ""
    figure, (axis,) = blank()
    for one in np.unique(restart):
        own = finite & (restart == one)
        axis.plot(step[own], values[own], color=INK, marker="o", ms=3)
    values = values[finite]
    low = np.quantile(values, 0.25)
    axis.set_ylim(low - 3 * (values.max() - low) - 1, values.max() + 1)
    labelled(axis, xlabel="step", ylabel="ELBO")
    return svg(figure, "ELBO by step")

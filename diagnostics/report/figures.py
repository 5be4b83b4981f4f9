"""Pictures of the report as inline SVG."""

from __future__ import annotations

import io
import re

import numpy as np

from ..checks.pit import band, ranks
from ..checks.predictions import Outcome, binned, group_means, outcomes, pit, sorting

INK, DATA = "#5b7fa6", "#c4552d"


def _axes(columns: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * columns, 2.9), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_facecolor("none")
        axis.tick_params(colors="#777", labelsize=8)
        for spine in axis.spines.values():
            spine.set_color("#999")
    figure.patch.set_alpha(0)
    return figure, axes


def _svg(figure, description: str) -> str:
    from html import escape

    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "elboroom"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(description, quote=True)}" ', text, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)


def predictive(posterior) -> list[tuple[str, str]]:
    """Title and picture for each observed site: the overlay that suits its type, and its PIT-ECDF."""
    return [(o.name, _outcome(o, posterior.seed)) for o in outcomes(posterior)]


def _outcome(outcome: Outcome, seed: int) -> str:
    draw = {"continuous": _overlay, "count": _rootogram}.get(outcome.kind)
    if draw is None:
        figure, axes = _axes(1)
        _calibration(axes[0], outcome)
        return _svg(figure, f"Calibration of {outcome.name}: observed share against predicted probability")
    figure, axes = _axes(2)
    draw(axes[0], outcome)
    _ecdf(axes[1], outcome, seed)
    return _svg(figure, f"Observed and predicted {outcome.name}, and the PIT-ECDF with its 99% band")


def _overlay(axis, outcome):
    from scipy.stats import gaussian_kde

    y = outcome.observed
    low, high = np.quantile(outcome.replicated, [0.001, 0.999])
    grid = np.linspace(min(low, y.min()), max(high, y.max()), 200)
    for row in outcome.replicated[:: max(1, len(outcome.replicated) // 40)][:40]:
        if row.std() > 0:
            axis.plot(grid, gaussian_kde(row[:5000])(grid), color=INK, alpha=0.25, lw=0.7)
    if y.std() > 0:
        axis.plot(grid, gaussian_kde(y[:20_000])(grid), color=DATA, lw=2, label="observed")
    axis.plot([], [], color=INK, label="predicted")
    axis.set(xlabel=outcome.name, yticks=[])
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777")


def _rootogram(axis, outcome):
    top = int(min(max(np.quantile(outcome.replicated, 0.999), outcome.observed.max()), 200))
    values = np.arange(top + 1)
    counts = np.array([[np.sum(row == v) for v in values] for row in outcome.replicated[::20][:200]])
    low, mid, high = np.sqrt(np.quantile(counts, [0.05, 0.5, 0.95], axis=0))
    seen = np.sqrt([np.sum(outcome.observed == v) for v in values])
    axis.fill_between(values, low, high, color=INK, alpha=0.3, step="mid", label="predicted, 90%")
    axis.step(values, mid, color=INK, where="mid")
    axis.plot(values, seen, "o", color=DATA, ms=4, label="observed")
    axis.set(xlabel=outcome.name, ylabel="√ rows")
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


def _calibration(axis, outcome):
    expected, first = sorting(outcome.replicated)
    codes = binned(expected)
    share, _ = group_means(codes, outcome.observed)
    spread, _ = group_means(codes, outcome.replicated[~first])
    mean = spread.mean(0)
    low, high = np.quantile(spread, [0.05, 0.95], axis=0)
    axis.plot([0, 1], [0, 1], color="#999", lw=0.8)
    axis.vlines(mean, low, high, color=INK, lw=4, alpha=0.5, label="predicted, 90%")
    axis.plot(mean, share, "o-", color=DATA, ms=4, label="observed share")
    axis.set(xlabel="predicted probability", ylabel="share that came true")
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


def _ecdf(axis, outcome, seed):
    values = np.sort(pit(outcome, np.random.default_rng(seed)))
    rank = ranks(len(values))
    even = rank / (len(values) + 1)
    low, high = band(len(values))
    axis.fill_between(even, even - high, even - low, color=INK, alpha=0.2, label="99% band")
    axis.plot(even, even - values[rank - 1], color=DATA, lw=1.5)
    axis.set(xlabel="PIT", ylabel="ECDF − uniform")
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


def elbo(posterior) -> str:
    """The ELBO over the steps of the fit."""
    values = np.asarray(posterior.fit_record["elbo"], float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return ""
    figure, axes = _axes(1)
    axes[0].plot(np.arange(1, len(values) + 1), values, color=INK, marker="o", ms=3)
    low = np.quantile(values, 0.25)
    axes[0].set_ylim(low - 3 * (values.max() - low) - 1, values.max() + 1)
    axes[0].set(xlabel="step", ylabel="ELBO")
    axes[0].xaxis.label.set_color("#777"), axes[0].yaxis.label.set_color("#777")
    return _svg(figure, "ELBO by step")

"""Pictures of the report as inline SVG."""

from __future__ import annotations

import functools
import hashlib
import io
import re

import numpy as np

from ..checks.judge import LEVEL
from ..checks.pit import band, ranks
from ..checks.predictions import Outcome, binned, group_means, outcomes, pit, sorting
from ..checks.refits import excursions
from ..checks.residuals import time_of
from ..checks.survival import curves, kaplan_meier

DPI = 72  # of SVG
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

    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name with $ is a name
        text.set_usetex(False)
    out = io.StringIO()
    figure.set_dpi(DPI)
    renderer = _renderer()(*(DPI * figure.get_size_inches()), out, metadata={"Date": None})
    figure.draw(renderer)
    renderer.finalize()
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(description, quote=True)}" ', text, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)


@functools.cache
def _renderer():
    """matplotlib's renderer with text as text and the same ids each time, whatever the process's settings are."""
    from matplotlib.backends.backend_svg import RendererSVG

    class Renderer(RendererSVG):
        def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
            self._draw_text_as_text(gc, x, y, s, prop, angle, ismath, mtext)

        def _make_id(self, type, content):
            return type + hashlib.sha256(str(content).encode("utf-8", "replace")).hexdigest()[:10]

    return Renderer


def predictive(posterior) -> list[tuple[str, list[str]]]:
    """Title and pictures for each observed site: the overlay that suits its type, its PIT-ECDF, its course in time."""
    return [(o.name, _outcome(o, posterior.seed)) for o in outcomes(posterior)]


def _outcome(outcome: Outcome, seed: int) -> list[str]:
    if outcome.kind == "categorical":
        return [_one(lambda axis: _shares(axis, outcome), f"Shares of the categories of {outcome.name}")]
    if outcome.kind == "binary":
        words = f"Calibration of {outcome.name}: observed share against predicted probability"
        return [_one(lambda axis: _calibration(axis, outcome), words)]
    draw = {"continuous": _overlay, "count": _rootogram}[outcome.kind]
    words = f"Observed and predicted {outcome.name}"
    if outcome.censored is not None and outcome.censored.seen.any():
        draw, words = _survival, f"Kaplan-Meier curve of {outcome.name} and its predictive band"
    elif outcome.kind == "continuous" and _ends(outcome):
        draw = _shares_below
    found = [
        _one(lambda axis: draw(axis, outcome), words),
        _one(
            lambda axis: _ecdf(axis, outcome, seed),
            f"PIT-ECDF of {outcome.name} with its {1 - LEVEL:.0%} band",
        ),
    ]
    time = time_of(outcome)
    if time is not None:
        words = f"{outcome.name} over {time}, with 50% and 90% predictive intervals"
        found.append(_one(lambda axis: _course(axis, outcome, time), words))
    return found


def _one(draw, description: str) -> str:
    figure, axes = _axes(1)
    draw(axes[0])
    return _svg(figure, description)


def _course(axis, outcome, time):
    order = np.argsort(outcome.columns[time], kind="stable")
    x, y = outcome.columns[time][order], outcome.replicated[:, order]
    for low, high in ((0.05, 0.95), (0.25, 0.75)):
        axis.fill_between(x, *np.quantile(y, [low, high], axis=0), color=INK, alpha=0.25, lw=0)
    axis.plot(x, np.median(y, axis=0), color=INK, lw=1, label="predicted, 50% and 90%")
    axis.plot(x, outcome.observed[order], ".", color=DATA, ms=3, label="observed")
    axis.set(xlabel=time, ylabel=outcome.name)
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


def _shares(axis, outcome):
    values = np.unique(outcome.observed)
    shares = np.array([(outcome.replicated == v).mean(1) for v in values])
    low, high = np.quantile(shares, [0.05, 0.95], axis=1)
    axis.vlines(values, low, high, color=INK, lw=5, alpha=0.5, label="predicted, 90%")
    axis.plot(
        values, [(outcome.observed == v).mean() for v in values], "o", color=DATA, ms=4, label="observed"
    )
    axis.set(xlabel=outcome.name, ylabel="share of rows", xticks=values)
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


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


def _ends(outcome) -> bool:
    """Whether values crowd at an end of their range, where a smooth density would run over it."""
    values = outcome.replicated
    low, high = values.min(), values.max()
    margin = 0.02 * (high - low)
    return bool(((values < low + margin).mean() > 0.04) or ((values > high - margin).mean() > 0.04))


def _shares_below(axis, outcome):
    low, high = min(outcome.replicated.min(), outcome.observed.min()), np.quantile(outcome.replicated, 0.999)
    grid = np.linspace(low, max(high, outcome.observed.max()), 200)
    some = np.sort(outcome.replicated[:: max(1, len(outcome.replicated) // 200)], axis=1)
    shares = np.stack([np.searchsorted(row, grid, side="right") for row in some]) / some.shape[1]
    axis.fill_between(
        grid, *np.quantile(shares, [0.05, 0.95], axis=0), color=INK, alpha=0.3, label="predicted, 90%"
    )
    axis.plot(
        grid,
        np.searchsorted(np.sort(outcome.observed), grid, side="right") / len(outcome.observed),
        color=DATA,
        lw=1.5,
        label="observed",
    )
    axis.set(xlabel=outcome.name, ylabel="share at or below")
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


def _survival(axis, outcome):
    times, one, many = curves(outcome)
    if len(times):
        centre, scale, extreme = excursions(outcome, many)
        reach = np.quantile(extreme, 1 - LEVEL) * scale
        band = np.clip([centre - reach, centre + reach], 0, 1)
        axis.fill_between(times, *band, color=INK, alpha=0.25, lw=0, label=f"predicted, {1 - LEVEL:.0%} band")
        axis.plot(times, centre, color=INK, lw=1)
    grid = np.linspace(0, outcome.observed.max(), 400)
    seen = kaplan_meier(outcome.observed[None], outcome.censored.seen[None], grid)[0]
    axis.step(grid, seen, color=DATA, lw=1.5, where="post", label="observed (Kaplan–Meier)")
    axis.set(xlabel=outcome.name, ylabel="share that outlasts it", ylim=(0, 1.02))
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


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
    axis.fill_between(even, even - high, even - low, color=INK, alpha=0.2, label=f"{1 - LEVEL:.0%} band")
    axis.plot(even, even - values[rank - 1], color=DATA, lw=1.5)
    axis.set(xlabel="PIT", ylabel="ECDF − uniform")
    axis.legend(frameon=False, fontsize=8, labelcolor="#777")
    axis.xaxis.label.set_color("#777"), axis.yaxis.label.set_color("#777")


def elbo(posterior) -> str:
    """The ELBO over the steps of the fit, a line for each time that it began anew."""
    values = np.asarray(posterior.fit_record["elbo"], float)
    restart = np.asarray(posterior.fit_record.get("restart", np.zeros(len(values), int)))
    step, finite = np.arange(1, len(values) + 1), np.isfinite(values)
    if finite.sum() < 2:
        return ""
    figure, axes = _axes(1)
    for one in np.unique(restart):
        own = finite & (restart == one)
        axes[0].plot(step[own], values[own], color=INK, marker="o", ms=3)
    values = values[finite]
    low = np.quantile(values, 0.25)
    axes[0].set_ylim(low - 3 * (values.max() - low) - 1, values.max() + 1)
    axes[0].set(xlabel="step", ylabel="ELBO")
    axes[0].xaxis.label.set_color("#777"), axes[0].yaxis.label.set_color("#777")
    return _svg(figure, "ELBO by step")

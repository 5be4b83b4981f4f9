"""Predictions of rows that were not fitted, where a calibration has been asked for."""

from __future__ import annotations

from html import escape

import numpy as np

from ...inference.posterior.posterior import requested
from ..thresholds import OUTER_INTERVAL, PLACE_POINTS
from .canvas import DATA, INK, PALE, blank, labelled, svg


def calibration_section(posterior) -> str:
    """A reliability diagram with what is to be said of it; empty where none was asked for."""
    found = requested(posterior).get("calibration")
    if found is None:
        return ""
    at = "" if found.used is None else f" With {found.used.words}, fitted on others."
    classed = hasattr(found, "reliability")
    words, picture = (of_classes(found), diagram(found)) if classed else (of_places(found), places(found))
    lines = "".join(f"<li>{escape(finding.advice)}</li>" for finding in found.findings)
    return (
        f"<h2 id=\"calibration\">Calibration of predictions of '{escape(found.name)}'</h2><p>{escape(words + at)}</p>"
        f'<div class="pictures"><div>{picture}</div></div><ul>{lines}</ul>'
    )


def of_classes(found) -> str:
    """What there is to say of predicted classes."""
    return (
        f"{len(found.observed):,} rows: accuracy {found.accuracy:.3f}, log score {found.log_score:.3f}, expected calibration "
        f"error {found.ece:.3f} ± {found.se:.3f}; {found.reliability.null:.3f} is the 95% point were the probabilities right."
    )


def of_places(found) -> str:
    """What there is to say of places among predictions."""
    table = found.coverage()
    shares = ", ".join(f"{row.share:.1%} within {level:.0%}" for level, row in table.iterrows())
    return (
        f"{len(found.places):,} rows, of which {shares} intervals; places are {found.distance:.3f} from uniform, "
        f"{found.null:.3f} is the 95% point were the predictions right."
    )


def places(found) -> str:
    """Shares of rows at or below each place, less those of uniform places, as SVG."""
    at = np.linspace(0, 1, PLACE_POINTS)
    own = np.searchsorted(np.sort(found.places), at, side="right") / len(found.places) - at
    others = [np.searchsorted(np.sort(row), at, side="right") / len(row) - at for row in found.replicated]
    low, high = np.quantile(others, OUTER_INTERVAL, axis=0)
    figure, (axis,) = blank()
    axis.fill_between(at, low, high, color=INK, alpha=0.35, lw=0, label="were it right, 90%")
    axis.axhline(0, color=PALE, lw=0.8)
    axis.plot(at, own, color=DATA, lw=1.5, label="share of rows, less that of uniform places")
    labelled(axis, xlabel="place among the predictions", ylabel="difference of shares", xlim=(0, 1))
    return svg(
        figure,
        f"Places of {found.name} among its predictions: shares of rows at or below each, less those of uniform places",
    )


def diagram(found) -> str:
    """The reliability diagram of a calibration as SVG."""
    table = found.reliability.table()
    figure, (axis,) = blank()
    axis.plot([0, 1], [0, 1], color=PALE, lw=0.8)
    axis.vlines(
        table["confidence"],
        table["low"],
        table["high"],
        color=INK,
        lw=4,
        alpha=0.5,
        label="were it right, 90%",
    )
    axis.plot(table["confidence"], table["share"], "o-", color=DATA, ms=4, label="share that came")
    labelled(
        axis,
        xlabel="confidence in the likeliest class",
        ylabel="share that came",
        xlim=(0, 1.02),
        ylim=(0, 1.02),
    )
    return svg(
        figure,
        f"Reliability diagram of {found.name}: share of the likeliest class that came against its probability",
    )

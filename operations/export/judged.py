"""How far the numbers of a file can be trusted: no further than the posterior, less what few draws and rounding cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...inference.evidence.finding import Finding
from ...inference.evidence.verdicts import worst
from ...inference.posterior.record import Record
from ...inference.thresholds import CAUTION, MEAN, SD
from ..thresholds import EXPORT_DRAWS, EXPORT_SHARE
from .graph import Graph

Arrays = Mapping[str, np.ndarray]
PROMISED = {"mean_shift": (MEAN, CAUTION), "sd_ratio": (SD, CAUTION)}
"""By what a mean, in standard deviations, and a standard deviation may be off for *trusted* and for *caution*."""


def judged(record: Record, graph: Graph, want: Arrays, found: Arrays | None) -> dict[str, Any]:
    """Verdict of a file, with reasons and findings.

    Parameters
    ----------
    record : Record
        Of the posterior.
    graph : Graph
        What the file computes.
    want : mapping of numpy.ndarray
        Outputs of the posterior.
    found : mapping of numpy.ndarray, optional
        Outputs of the file at the same inputs, where its numbers were rounded.
    """
    findings = []
    if graph.num_draws and graph.num_draws < EXPORT_DRAWS:
        words = f"The file holds {graph.num_draws} draws: with {EXPORT_DRAWS}, ends of intervals are as exact as the posterior's verdict promises."
        findings.append(
            Finding("draws in a file", "file", float(graph.num_draws), float(EXPORT_DRAWS), "caution", words)
        )
    others = [v not in (None, "trusted") for v in record.table["verdict"] if not graph.best_row]
    if record.verdict == "trusted" and any(others):
        words = f"{sum(others)} of {len(others)} quantities that rows may depend on are not trusted: the verdict of the posterior is over others."
        findings.append(Finding("other quantities", "file", float(np.mean(others)), 0.0, "caution", words))
    loss = {} if found is None else losses(want, found, of_rows=bool(graph.best_row))
    findings += _of_loss(loss)
    verdict = worst([record.verdict, *(finding.verdict for finding in findings)])
    reasons = [f"The posterior is {record.verdict}.", *(finding.advice for finding in findings)]
    return {
        "outputs": tuple(want),
        "verdict": verdict,
        **({"best_row": graph.best_row} if graph.best_row else {}),
        "reasons": reasons,
        "loss": loss,
        "findings": [finding.as_dict() for finding in findings],
    }


def losses(want: Arrays, found: Arrays, of_rows: bool) -> dict[str, dict[str, float]]:
    """`lost` of each output; the means and sds of encoded rows are in units of these sds."""
    out = {name: lost(value, found[name]) for name, value in want.items()}
    if of_rows and {"mean", "sd"} <= set(want):
        known = np.isfinite(want["sd"]) & (want["sd"] > 0)
        off = np.abs(found["mean"] - want["mean"])[known] / want["sd"][known]
        wider = np.abs(found["sd"][known] / want["sd"][known] - 1)
        out["mean"] |= {"mean_shift": float(off.max(initial=0.0)), "sd_ratio": 0.0}
        out["sd"] |= {"mean_shift": 0.0, "sd_ratio": float(wider.max(initial=0.0))}
    return out


def lost(want: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """What rounding costs of an output whose second axis is that of draws: the largest difference, and by what means and sds are off."""
    out = {"largest": float(np.nanmax(np.abs(found - want), initial=0.0)), "mean_shift": 0.0, "sd_ratio": 0.0}
    if want.ndim > 1 and want.shape[1] > 1:
        sd, own = want.std(1), found.std(1)
        known = np.isfinite(sd) & (sd > 0)
        if known.any():
            out["mean_shift"] = float(np.max(np.abs(found.mean(1) - want.mean(1))[known] / sd[known]))
            out["sd_ratio"] = float(np.max(np.abs(own[known] / sd[known] - 1)))
    return out


def _of_loss(loss: Mapping[str, Mapping[str, float]]) -> list[Finding]:
    out = []
    for name, one in loss.items():
        for key, (trusted, caution) in PROMISED.items():
            if not one[key] <= EXPORT_SHARE * trusted:  # what is not finite is within nothing
                verdict = "caution" if one[key] <= EXPORT_SHARE * caution else "untrusted"
                what = "Means" if key == "mean_shift" else "Standard deviations"
                unit = " standard deviations" if key == "mean_shift" else " of themselves"
                words = f"{what} of '{name}' are off by up to {one[key]:.2g}{unit} since numbers are rounded: keep more digits."
                out.append(Finding("rounding", name, one[key], EXPORT_SHARE * trusted, verdict, words))
    return out

"""From the laws of rows that were trained to richer ones, where the evidence by row asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...guides.amortized import RICHER
from ..evidence.verdicts import ORDER
from ..posterior.make import with_line
from ..posterior.record import Record
from ..run.checkpoint import Checkpoint
from ..run.watch import Watch
from ..thresholds import ASCENT_WORTH, MOST_DENSE_UNITS
from .fit import STAGE, Deep, fit_rows, prepared, suits


def climbed(asked: Deep, record: Record, watch: Watch, settings: Mapping[str, Any], begin: float) -> Record:
    """The record with richer laws of rows, where the weights of those that were trained fail and these are no worse.

    Their encoder begins as the trained one, whose laws they contain, and so do the networks of the model.

    Parameters
    ----------
    asked, watch, settings, begin
        See `fit_rows`.
    record : Record
        What it led to.
    """
    rows = record.settings["rows"]
    units = record.target.dim // record.fit_record["row_khat"].size
    if rows["trusted"] > ASCENT_WORTH or units > MOST_DENSE_UNITS:
        return record  # no other kind of law is asked for, or none that is affordable
    for within in RICHER:
        if _verdict(record) == "trusted" or watch.stop() or not suits(within, asked.objective):
            break
        richer = replace(asked, family=replace(asked.family, within=within))
        ready = prepared(richer, chosen=True)
        if ready is None:
            break
        setup, compiled = ready
        ready = replace(setup, begin=_widened(setup.begin, _arrays(record))), compiled
        found = fit_rows(
            richer, ready, Checkpoint(None, richer.identity()), watch, settings, begin, record.trail
        )
        if _standing(found) < _standing(record):
            words = (
                "no better: its plate has no better verdict, and no greater bound of a row that was held out"
            )
            record = with_line(record, STAGE, f"{within}: {words}", "amortized")
            break
        record = found
    return record


def _verdict(record: Record) -> str:
    return record.settings["rows"]["verdict"]


def _standing(record: Record) -> tuple[int, float]:
    """What is greater of a better fit."""
    return -ORDER.index(_verdict(record)), float(np.nanmax(record.fit_record["bounds"][:, 2]))


def _arrays(record: Record) -> dict[str, np.ndarray]:
    """All that was trained, by name."""
    own = {k.removeprefix("encoder:"): v for k, v in record.params.items() if k.startswith("encoder:")}
    return {**record.weights, **own}


def _widened(begin: Mapping[str, np.ndarray], trained: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that begin as the trained ones, and where they are larger than those, at nothing."""
    out = {}
    for name, value in begin.items():
        out[name] = np.array(value, np.float64)
        if name in trained:
            known = np.asarray(trained[name], np.float64)
            out[name] = np.zeros(value.shape)
            out[name][tuple(slice(n) for n in known.shape)] = known
    return out

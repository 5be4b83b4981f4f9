"""Log densities of the rows that training held out: how models with encoders predict rows that they were not fitted to.

Their other rows are no test: networks and arrays were fitted to them, and each has told its own latent quantities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..inference.posterior.posterior import record_of
from ..ppl.errors import DataError, InferenceError, explain
from .checks.loo import estimate_of
from .thresholds import HELD_COMPARED


@dataclass(frozen=True)
class HeldOut:
    """Log densities of rows that training held out.

    Attributes
    ----------
    log_prob, se : numpy.ndarray, shape (N,)
        Of each row, in nats, with its Monte Carlo standard error.
    doubtful : int
        Rows of which they are not trusted.
    estimate : arviz_stats.ELPDData
        Of all of them.
    """

    log_prob: np.ndarray
    se: np.ndarray
    doubtful: int
    estimate: Any


def encodes(posterior: Any) -> bool:
    """Whether rows of a posterior have an encoder."""
    return bool(record_of(posterior).settings.get("encoder"))


def held_out(posteriors: Mapping[str, Any]) -> dict[str, HeldOut]:
    """Densities of the rows that all have held out, some of them where these are many, by model.

    Raises
    ------
    DataError
        If some have no encoder, held out no rows or others, or have other outcomes than the first.
    InferenceError
        If one was loaded without its program and data.
    """
    without = [name for name, posterior in posteriors.items() if not encodes(posterior)]
    if without:
        want = "models that all have an encoder, or none"
        remedy = "score rows that were not fitted: posterior.latent.score(new) of one, predictive densities of the other"
        raise DataError(explain("compare", want, f"'{without[0]}' without one", remedy))
    first = next(iter(posteriors))
    known = {name: _same(name, posterior, first, posteriors[first]) for name, posterior in posteriors.items()}
    rows = known[first]
    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(HELD_COMPARED, len(rows))).astype(int))]
    return {name: _scored(posterior.latent, some) for name, posterior in posteriors.items()}


def _same(name: str, posterior: Any, first: str, other: Any) -> np.ndarray:
    """Rows that a posterior has held out, which have to be those of the first."""
    record, its = record_of(posterior), record_of(other)
    where = f"posterior '{name}'"
    if record.target is None:
        remedy = "load it with er.load(path, program=model(data)), the data being those that were fitted"
        raise InferenceError(explain(where, "one with its program and data", "one loaded without", remedy))
    rows = np.asarray(record.fit_record["held_out"], int)
    if len(rows) < 2:
        got = f"{len(rows) or 'none'}"
        raise DataError(explain(where, "rows that training held out", got, "fit with validation=0.1"))
    plates = [one.settings["encoder"]["plate"] for one in (record, its)]
    seen, theirs = (_outcomes(one, plate) for one, plate in zip((record, its), plates, strict=True))
    if seen.keys() != theirs.keys() or not all(_equal(seen[k], theirs[k]) for k in seen):
        raise DataError(explain(where, f"the outcomes of '{first}'", "others", "fit both to the same rows"))
    if not np.array_equal(rows, its.fit_record["held_out"]):
        remedy = "fit both with the same seed and validation"
        raise DataError(explain(where, f"the rows that '{first}' has held out", "others", remedy))
    return rows


def _outcomes(record: Any, plate: str) -> dict[str, np.ndarray]:
    """Values of the outcomes of rows."""
    return {
        name: np.asarray(value)
        for name, value in record.observed_data.items()
        if name in record.observed and plate in record.observed[name].plates
    }


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan="f" in (one.dtype.kind, other.dtype.kind))


def _scored(latent: Any, rows: np.ndarray) -> HeldOut:
    """Densities of some of the fitted rows."""
    found = latent.score(latent.setup.rows.host(rows))
    value, se, khat = (found[name].to_numpy() for name in ("log_prob", "se", "khat"))
    shape = xr.DataArray(np.zeros(len(rows)), {"row": rows}, ("row",))
    estimate = estimate_of(value, khat, shape, len(rows), float("nan"))
    return HeldOut(value, se, int((found["verdict"] != "trusted").sum()), estimate)

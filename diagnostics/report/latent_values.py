"""What a report says of encoded rows, as plain values: the part ``latent`` of ``report.json``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...inference.posterior.posterior import record_of, requested
from ...inference.thresholds import ROWS_CAUTION, ROWS_TRUSTED
from ...ppl.errors import DataError, InferenceError
from ..encoded import Strips, beside, bounds_of, image_shape, made_up, outcome_names, strips
from ..thresholds import LEAK_ROWS, LONGEST_ROW, SHOWN_ROWS, STRIPS

GIVEN = "Everything here is given the fitted arrays: weights of networks and learned arrays are points without a verdict."


def latent_values(posterior) -> dict[str, Any] | None:
    """Units, bounds, the gap of the encoder, and rows beside what the model makes of them; made once.

    Parameters
    ----------
    posterior : Posterior
        The fit.

    Returns
    -------
    dict or None
        None for a posterior without an encoder.
    """
    known = requested(posterior)
    if "latent report" not in known:
        record = record_of(posterior)
        kept = record.reported.get("latent") if record.target is None else None
        known["latent report"] = _values(posterior) if kept is None else kept
    return known["latent report"]


def _values(posterior) -> dict[str, Any] | None:
    record = record_of(posterior)
    if not record.settings.get("encoder"):
        return None
    evidence, bound = (np.asarray(record.fit_record[f"row_{name}"], float) for name in ("evidence", "bound"))
    weighed = np.isfinite(evidence)
    gap = (evidence - bound)[weighed]  # nothing at all where each row is at one place, which has no evidence
    out: dict[str, Any] = {
        "given": GIVEN,
        **(record.settings.get("rows") or _by_quantity(record)),
        "num_rows": len(evidence),
        "num_weighed": int(weighed.sum()),
        "own": _own(record, len(evidence)),
        "learned": _learned(record.weights),
        "log_evidence": float(evidence[weighed].mean()) if weighed.any() else None,
        "gap": float(gap.mean()) if gap.any() else None,
        "bounds": bounds_of(posterior).to_dict("records"),
    }
    try:
        table = posterior.latent.table()
    except InferenceError as error:
        return out | {"absent": str(error)}
    units = table.reset_index().to_dict("records")
    outcomes = [_outcome(posterior, name) for name in outcome_names(posterior)]
    return out | {
        "num_active": int(table["active"].sum()),
        "leak": _leak(posterior),
        "units": units,
        "outcomes": [some for some in outcomes if some],
    }


def _leak(posterior) -> dict[str, Any] | None:
    """Whether simulated rows give away those trained on; None where no rows were held out, or the outcomes are no arguments."""
    if not outcome_names(posterior):
        return None
    try:
        found = posterior.latent.leak(min(posterior.latent.setup.rows.total, LEAK_ROWS))
    except InferenceError:
        return None
    return found.finding.as_dict() | {"share": found.share, "expected": found.expected, "auc": found.auc}


def _by_quantity(record) -> dict[str, str]:
    """The verdict on all rows where other draws have followed the encoder's: by the verdicts of their quantities."""
    plate, start, fine = record.settings["encoder"]["plate"], 0, []
    sites = {s.name: s for s in record.latents if plate in s.plates}
    for name, shape in record.shapes.items():
        stop = start + int(np.prod(shape, dtype=int))
        if name in sites:
            trusted = np.array([verdict == "trusted" for verdict in record.table["verdict"][start:stop]])
            axis = sites[name].dims.index(plate)
            fine.append(np.moveaxis(trusted.reshape(shape), axis, 0).reshape(shape[axis], -1))
        start = stop
    rows = np.atleast_1d(np.concatenate(fine, 1).all(1))
    share = float(1 - rows.mean())
    verdict = "trusted" if share <= ROWS_TRUSTED else "caution" if share <= ROWS_CAUTION else "untrusted"
    words = f"{share:.1%} of {len(rows)} rows are not trusted, given the fitted arrays"
    return {"plate": plate, "verdict": verdict, "reason": words}


def _own(record, num_rows: int) -> dict[str, int]:
    """Latent sites of the rows, and how many numbers a row has of each."""
    plate = record.settings["encoder"]["plate"]
    sizes = {s.name: int(np.prod(s.shape, dtype=int)) for s in record.latents if plate in s.plates}
    return {name: size // num_rows for name, size in sizes.items()}


def _learned(weights) -> dict[str, int]:
    """Networks and learned arrays of the model, and how many numbers each has."""
    found: dict[str, int] = {}
    for name, value in weights.items():
        home = name.partition(".")[0]
        found[home] = found.get(home, 0) + int(np.size(value))
    return found


def _outcome(posterior, name: str) -> dict[str, Any] | None:
    """Rows of an outcome; None of those with too many columns, or one, and without what the model cannot tell of it."""
    made = made_up(posterior, SHOWN_ROWS, name)
    if not 1 < made.rows[0].size <= LONGEST_ROW:
        return None
    out: dict[str, Any] = {
        "name": name,
        "image": image_shape(None, made.rows.shape[1:]),
        "simulated": {
            "rows": _flat(made.rows),
            "nearest": _flat(made.others),
            "nearest_index": made.positions.tolist(),
            "apart": rounded(made.apart),
            "usual": float(np.median(made.usual)),
        },
    }
    try:
        pair, along = beside(posterior, None, SHOWN_ROWS, name), strips(posterior, STRIPS, name)
    except DataError:
        return out
    return out | {
        "reconstructed": {
            "index": pair.positions.tolist(),
            "rows": _flat(pair.rows),
            "means": _flat(pair.others),
        },
        "traversed": _along(along),
    }


def _along(strips_of: Strips) -> dict[str, Any]:
    units, values, means = strips_of
    return {"units": units, "values": values.tolist(), "means": [_flat(one) for one in means]}


def _flat(rows: np.ndarray) -> list:
    return rounded(rows.reshape(len(rows), -1))


def rounded(values: np.ndarray) -> list:
    """Nested lists of numbers with four significant digits, as many as a picture shows."""
    values = np.asarray(values, float)
    return [rounded(one) for one in values] if values.ndim > 1 else [float(f"{v:.4g}") for v in values]

"""``elboroom drift``: new rows beside the posterior of a fit's folder."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...inference.posterior.load import load
from ...inference.posterior.posterior import record_of
from .drift import Drift, drift
from .page import write


def of_folder(
    folder: Path,
    posterior: Any,
    new: Mapping[str, Any],
    reference: Mapping[str, Any] | None = None,
    model: Any = None,
    strict: bool = False,
) -> tuple[Drift, Path]:
    """Compare rows with those of a fit, or others, and write ``drift.html`` into its folder.

    Parameters
    ----------
    folder : Path
        A fit's folder.
    posterior : Posterior
        As it lies there.
    new, reference : mapping
        Rows by column.
    model : Model, optional
        The declaration that was fitted: with it outcomes, and latent units, are looked at too.
    strict : bool
        See `drift`.

    Returns
    -------
    tuple
        What was found, and the page.
    """
    if model is not None:
        posterior = of_model(folder, model)
    found = drift(posterior if reference is None else reference, new, posterior, strict)
    return found, write(found, folder)


def of_model(folder: Path, model: Any) -> Any:
    """The posterior of a fit's folder, with the model that was fitted."""
    place = folder / "posterior"
    return load(place, program=model(**arguments_of(load(place), model)))


def arguments_of(posterior: Any, model: Any) -> dict[str, Any]:
    """Arguments of a model as they were when it was fitted: arrays with their labels, and settings."""
    record = record_of(posterior)
    arrays = dict(record.constant_data)
    arrays |= {
        s.argument: record.observed_data[name]
        for name, s in record.observed.items()
        if s.argument is not None
    }
    labels = record.labels or {}
    named = {k: np.asarray(labels[k], dtype=object)[v] if k in labels else v for k, v in arrays.items()}
    settings = {}
    for name, words in record.model.get("static", {}).items():
        try:
            settings[name] = ast.literal_eval(words)
        except (ValueError, SyntaxError):
            continue
    known = model.signature.parameters
    return {k: v for k, v in (settings | named).items() if k in known}

"""The program of a posterior that was kept: its model, with the data that the posterior holds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...inference.posterior.posterior import Posterior, record_of
from ...ppl.errors import DataError, ModelError, explain, in_short
from ...ppl.model import Model, Program


def program_of(posterior: Posterior, model: Any) -> Program:
    """A model with the data that a posterior was fitted to.

    Parameters
    ----------
    posterior : Posterior
        As `elboroom.load` reads it, without its program.
    model : Model or Program
        What was fitted.

    Raises
    ------
    ModelError
        For what is no model.
    DataError
        Where the posterior does not hold all that the model takes.
    """
    if isinstance(model, Program):
        return model
    record = record_of(posterior)
    if not isinstance(model, Model):
        got = "none" if model is None else type(model).__name__
        named = f"{record.model.get('module')}:{record.model.get('name')}"
        remedy = f"pass model='{named}', or the function that @er.model decorates"
        raise ModelError(explain(f"model of '{record.name}'", "the one that was fitted", got, remedy))
    try:
        return model(**_arguments(record))
    except (TypeError, ValueError, DataError) as error:
        want, remedy = "data from which the model can be built again", "pass model=model(data) with its data"
        raise DataError(explain(f"posterior of '{record.name}'", want, in_short(error), remedy)) from error


def _arguments(record: Any) -> Mapping[str, Any]:
    """Arguments by name, coded ones as their labels again."""
    outcomes = {
        record.observed[name].argument: value
        for name, value in record.observed_data.items()
        if name in record.observed and record.observed[name].argument is not None
    }
    labels, static = record.labels or {}, record.model.get("static", {})
    arrays = {**record.constant_data, **outcomes}
    if any("." in name for name in (*arrays, *static)):
        raise ValueError("arguments within arguments")
    named = {k: np.asarray(labels[k], object)[v] if k in labels else v for k, v in arrays.items()}
    return {**{k: ast.literal_eval(v) for k, v in static.items()}, **named}

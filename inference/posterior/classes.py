"""Probabilities of the classes of rows, as the posterior predicts them: no frequencies of draws, but means of probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ...ppl.errors import DataError, InferenceError, explain
from ..thresholds import SHARED_DRAWS
from .predict import fitted_counts, fitted_labels
from .record import Record

MEASURES = ("binary", "nominal", "ordinal")
"""Measures of outcomes that are one of a few classes."""


@dataclass(frozen=True, eq=False)
class Classes:
    """Rows with the probabilities of their classes.

    Attributes
    ----------
    name : str
        The outcome.
    log_prob : numpy.ndarray, shape (N, K)
        Log predictive probabilities of the classes.
    observed : numpy.ndarray of int, shape (N,)
        The class that came.
    program : Program
        The model with these rows.
    draws : numpy.ndarray, shape (S, N)
        Probability of each row's likeliest class by some draws of the posterior: what rows share is the same in all of one.
    """

    name: str
    log_prob: np.ndarray
    observed: np.ndarray
    program: Any
    draws: np.ndarray


def classes(record: Record, name: str | None, data: Mapping[str, Any], num_draws: int) -> Classes:
    """Classes of rows that come with their outcome.

    Parameters
    ----------
    record : Record
        Of a posterior with its program.
    name : str or None
        The outcome; may be left out where one alone has classes.
    data : mapping
        Arguments of the model to replace; none for the rows that were fitted.
    num_draws : int
        Draws whose probabilities are averaged, at most.

    Raises
    ------
    InferenceError
        Without the program, or where rows have latent quantities that were not fitted.
    DataError
        If no such outcome has classes, or it has no values in `data`.
    """
    record.needs_program("calibration")
    site = _site(record, name)
    program = record.program if not data else bound(record, whole_rows(record, site.argument, data))
    target = target_of(record, program, "calibration")
    chosen = np.unique(np.linspace(0, len(record.z) - 1, min(num_draws, len(record.z))).astype(int))
    z = target.unconstrain({s.name: np.asarray(record.values[s.name])[chosen] for s in target.sites})
    observed = np.asarray(program.leaves[site.argument].value)
    lost = int(np.isnan(observed).sum()) if observed.dtype.kind == "f" else 0
    if lost:
        want, got = "a class for each row", f"{lost} that are missing"
        raise DataError(explain(f"outcome '{site.name}'", want, got, "leave those rows out"))
    found = [log_mean(target, z, site, np.full_like(observed, k)) for k in range(num_classes(site))]
    log_prob = np.stack(found, -1)
    likeliest = log_prob.argmax(-1).reshape(observed.shape).astype(observed.dtype)
    some = z[np.unique(np.linspace(0, len(z) - 1, min(SHARED_DRAWS, len(z))).astype(int))]
    draws = np.exp(log_probs(target, some, site, likeliest))
    return Classes(site.name, log_prob, observed.ravel().astype(int), program, draws)


def log_mean(target: Any, z: np.ndarray, site: Any, value: np.ndarray) -> np.ndarray:
    """Log of the mean probability that rows are of their classes, shape ``(N,)``."""
    return logsumexp(log_probs(target, z, site, value), axis=0) - np.log(len(z))


def log_probs(target: Any, z: np.ndarray, site: Any, value: np.ndarray) -> np.ndarray:
    """Log probabilities that rows are of their classes by each draw, shape ``(S, N)``."""
    data = {**target.data, site.argument: target.to_device(value)}
    return target.per_row(z, data=data)[site.name].reshape(len(z), -1)


def along_rows(record: Record) -> set[str]:
    """Arguments of a model that have a value for each row, as its outcomes have."""
    leaves = record.program.data_leaves
    outcomes = [leaves[s.argument].value for s in record.observed.values() if s.argument in leaves]
    lengths = {len(value) for value in outcomes if np.ndim(value)}
    return {name for name, leaf in leaves.items() if np.ndim(leaf.value) and len(leaf.value) in lengths}


def conditions(record: Record) -> set[str]:
    """Arguments of outcomes that the laws of other outcomes depend on: what is predicted of a row that has them is given them."""
    observed = {name: site.argument for name, site in record.observed.items() if site.argument is not None}
    if len(record.observed) < 2:
        return set()
    access, found = record.program.accesses(record.backend), set()
    for name in record.observed:
        parts = [sources for part, sources in access.get(name, {}).items() if part != "log_prob"]
        seen = {label for sources in parts for label, how in sources.items() if how.kind == "data"}
        found |= {label for other, label in observed.items() if other != name and label in seen}
    return found


def whole_rows(record: Record, outcome: Any, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rows as they came, if they have their outcome and all that goes with it.

    Raises
    ------
    DataError
        Where an argument is lacking: in its place would be that of the fitted rows.
    """
    if outcome not in data:
        want, remedy = (
            f"rows with their outcome, argument '{outcome}'",
            "add it; posterior.predict takes rows without",
        )
        raise DataError(explain("calibration", want, f"{sorted(data)} alone", remedy))
    others = {site.argument for site in record.observed.values()}
    lacking = along_rows(record) - others - set(data)
    if lacking and not record.settings.get("encoder"):
        want = f"all that runs along the rows, {sorted(lacking)} too"
        raise DataError(
            explain("calibration", want, f"{sorted(data)} alone", "add what belongs to these rows")
        )
    return data


def target_of(record: Record, program: Any, what: str) -> Any:
    """The density of a program of rows whose latent quantities are those that were fitted, at the fitted arrays.

    Raises
    ------
    InferenceError
        Where rows have others.
    """
    target = program.target(record.backend, None if record.target is None else record.target.dtype)
    own = {s.name: s.shape for s in target.sites}
    filled = {
        f"{name}_missing" for name in record.observed
    }  # of fitted rows that lack numbers; these may lack none
    if own != {s.name: s.shape for s in record.latents if s.name in own or s.name not in filled}:
        want = "rows that share all latent quantities with those that were fitted"
        got = "rows with quantities of their own"
        raise InferenceError(explain(what, want, got, "give rows of the groups that were fitted"))
    return (
        target.at({k: np.asarray(v, target.dtype) for k, v in record.weights.items()})
        if record.weights
        else target
    )


def bound(record: Record, data: Mapping[str, Any]) -> Any:
    """The program with other rows, coded as the fitted ones were."""
    counts = {**record.program.level_counts, **fitted_counts(record)}
    other = record.program.rebound(dict(data), check=False)
    return other.altered(labels=fitted_labels(record), level_counts=counts, resized=True)


def num_classes(site: Any) -> int:
    """Number of classes of an outcome."""
    return int(getattr(site.constraint, "upper", 1)) + 1


def _site(record: Record, name: str | None) -> Any:
    """The outcome of that name, or the only one with classes.

    Raises
    ------
    DataError
    """
    known = {s.name: s for s in record.observed.values()
             if s.measure in MEASURES and s.argument is not None and s.constraint is not None}  # fmt: skip
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name not in known:
        want = f"one of {sorted(known) or 'the outcomes with classes, of which there is none'}"
        got = "none given" if name is None else f"'{name}'"
        raise DataError(explain("outcome of a calibration", want, got, "name it"))
    return known[name]

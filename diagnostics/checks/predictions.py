"""Replicated and observed outcomes of each observed site, as arrays, with what is known of their rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...inference.posterior.mixed import Homes, homes
from ...inference.posterior.posterior import record_of, requested
from ..thresholds import (
    LEAST_IN_GROUP,
    LEAST_ROWS,
    MOST_COLUMNS,
    MOST_GROUPS,
    SAYS_THE_END,
)
from .outcome import Outcome, kind_of
from .refits import steps
from .replicates import Replicates, elements, leverage, num_draws, replicates, spread
from .survival import censoring


def outcomes(posterior) -> tuple[Outcome, ...]:
    """Each observed site with at least `LEAST_ROWS` rows, made once; multivariate outcomes count by element."""
    if "outcomes" not in requested(posterior):
        requested(posterior)["outcomes"] = tuple(_outcomes(posterior))
    return requested(posterior)["outcomes"]


def _outcomes(posterior) -> Iterator[Outcome]:
    if "observed_data" not in posterior.draws:
        return
    data = posterior.draws["observed_data"]
    for name, site in record_of(posterior).observed.items():
        if name not in data:
            continue
        observed = np.asarray(data[name].values, float)
        if (~np.isnan(observed)).sum() < LEAST_ROWS:
            continue
        replicated = replicates(posterior)
        if replicated is None:  # loaded without its program and saved without predictions
            return
        values = replicated.values.get(name)
        if values is not None and (not replicated.whole or values[0].size == observed.size):
            yield outcome(posterior, site, name, observed, replicated)


def outcome(posterior, site, name: str, observed: np.ndarray, together: Replicates) -> Outcome:
    """An outcome from its values; rows without a value are left out.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    site : Site
        The observed site.
    name : str
        Its name.
    observed : numpy.ndarray, of any shape
        Its values, NaN where there is none.
    together : Replicates
        Those of all observed sites.

    Returns
    -------
    Outcome
    """
    shape, observed, there = observed.shape, observed.ravel(), elements(observed)
    whole = len(there) == (~np.isnan(observed)).sum()
    draws = spread(len(together.draws), min(len(together.draws), num_draws(len(there))))
    observed, replicated = observed[there], together.of(name, draws, there)
    columns, groups = _rows(posterior, shape, there, observed)
    censored = censoring(observed, replicated) if site.censored and not site.is_discrete else None
    pulled = leverage(posterior, name, replicated, together.draws[draws], there)
    if censored is not None:
        replicated = np.minimum(replicated, censored.limit)
        columns, groups = (
            {k: v for k, v in some.items() if not _says_the_end(v, observed, censored)}
            for some in (columns, groups)
        )
    return Outcome(
        name,
        kind_of(site, observed, replicated),
        observed,
        replicated,
        columns,
        groups,
        ordered=site.measure == "ordinal",
        whole=whole,
        leverage=pulled,
        steps=steps(posterior, {k: v[draws] for k, v in together.values.items()}) if together.whole else None,
        censored=censored,
        column=_columns(site, shape, there, homes(record_of(posterior))),
    )


def _columns(site, shape, there, found: Homes) -> np.ndarray | None:
    """Which column each of some elements ``(N,)`` stands in; None where all are of one.

    Along a column go the plates of the rows that have latent quantities of their own, else all axes before the event's.
    """
    if len(site.dims) != len(shape):
        return None
    home = frozenset().union(*(plates for plates in found.values() if plates <= set(site.plates)))
    batch = range(len(shape) - site.event_dim)
    rows = [site.dims.index(plate) for plate in home] if home else list(batch)
    across = [axis for axis in range(len(shape)) if axis not in rows]
    if not rows or not across:
        return None
    index = np.unravel_index(there, shape)
    code = np.ravel_multi_index([index[axis] for axis in across], [shape[axis] for axis in across])
    return np.unique(code, return_inverse=True)[1]


def _says_the_end(column, observed, censored) -> bool:
    """Whether a column is the outcome itself, or says which rows were seen to their end."""
    if np.allclose(column, observed):
        return True
    two = np.unique(column)
    return len(two) == 2 and bool(abs(np.corrcoef(column, censored.seen)[0, 1]) > SAYS_THE_END)


def _rows(posterior, shape, there, observed) -> tuple[dict, dict]:
    """What data arguments, other than the outcome itself, say of the rows `there`: numbers, and groups."""
    columns: dict[str, np.ndarray] = {}
    groups: dict[str, np.ndarray] = {}
    for label, column in _by_row(record_of(posterior).constant_data, shape):
        part, kind = column[there], column.dtype.kind
        if kind in "fiub" and (np.isnan(part).any() or np.allclose(part, observed)):
            continue
        codes = _codes(part) if kind in "iuOUSb" else None
        if codes is not None:
            groups[label] = codes
            if kind in "iu" and part.min() == 0 and part.max() == codes.max():
                continue  # codes, whose order says nothing
        if kind in "fiu" and np.ptp(part) > 0:
            columns[label] = part.astype(float)
    return columns, groups


def _by_row(constants, shape) -> Iterator[tuple[str, np.ndarray]]:
    """Data arguments that run along the first axis of an outcome, a value for each of its elements; matrices by column."""
    num_rows, rest = shape[0], int(np.prod(shape[1:], dtype=int))
    for name, value in constants.items():
        value = np.asarray(value)
        if value.shape[:1] == (num_rows,) and value.ndim <= 2:
            parts = value.reshape(num_rows, -1).T[:MOST_COLUMNS]
            for i, part in enumerate(parts):
                yield name if len(parts) == 1 else f"{name}[{i}]", np.repeat(part, rest)


def _codes(part) -> np.ndarray | None:
    """Codes of the groups that a column puts rows into; None where it makes no groups of more than a row or so."""
    _, codes = np.unique(part, return_inverse=True)
    sizes = np.bincount(codes)
    if 2 <= len(sizes) <= MOST_GROUPS * len(part) and np.median(sizes) >= LEAST_IN_GROUP:
        return codes
    return None

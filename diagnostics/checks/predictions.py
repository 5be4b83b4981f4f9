"""Replicated and observed outcomes of each observed site, as arrays, with what is known of their rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...inference.posterior.groups import draws_of, predictions
from ...inference.posterior.posterior import record_of, requested
from ...ppl.errors import InferenceError
from ...ppl.simulate import block_size, in_blocks, seeds
from ..thresholds import (
    CHECK_STREAM,
    LEAST_DRAWS,
    LEAST_IN_GROUP,
    LEAST_ROWS,
    LEVERAGE_DRAWS,
    MOST_COLUMNS,
    MOST_DRAWS,
    MOST_GROUPS,
    MOST_ROWS,
    MOST_SHARED,
    MOST_VALUES,
    SAYS_THE_END,
)
from .outcome import Outcome, kind_of
from .refits import steps
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
        replicated, rows = _replicates(posterior)
        if not replicated:  # loaded without its program and saved without predictions
            return
        if name in replicated and replicated[name][0].size == observed.size:
            yield outcome(posterior, site, name, observed, replicated, rows)


def _replicates(posterior) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Replicates ``(S, *shape)`` of the observed sites, and the draws ``(S,)`` that they come from.

    As many as the checks use, where those of all draws are not there yet.
    """
    record = record_of(posterior)
    groups = requested(posterior)
    largest = max(np.size(value) for value in posterior.draws["observed_data"].data_vars.values())
    needed = num_draws(largest)
    ready = "posterior_predictive" in getattr(posterior.draws, "children", {})
    if not ready and record.target is not None and needed < len(record.z) / 2:
        if "replicates" not in groups:
            rows = _spread(len(record.z), needed)
            groups["replicates"] = predictions(record, rows)
            groups["replicates of draws"] = rows
        found = {key: groups["replicates"][key] for key in record.observed if key in groups["replicates"]}
        return found, groups["replicates of draws"]
    try:
        predicted = posterior.draws["posterior_predictive"]
    except InferenceError:
        return {}, np.zeros(0, int)
    found = {
        key: np.asarray(predicted[key].values).reshape(-1, *predicted[key].shape[2:])
        for key in record.observed
        if key in predicted
    }
    return found, draws_of(record)


def num_draws(num_rows: int) -> int:
    """Replicates that the checks use of an outcome of so many rows.

    Examples
    --------
    >>> num_draws(100), num_draws(10**6)
    (3000, 300)
    """
    return min(MOST_DRAWS, max(LEAST_DRAWS, MOST_VALUES // min(num_rows, MOST_ROWS)))


def outcome(posterior, site, name: str, observed: np.ndarray, together: dict, rows: np.ndarray) -> Outcome:
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
    together : dict of numpy.ndarray
        Observed site to all replicates ``(S, *shape)``.
    rows : numpy.ndarray of int, shape (S,)
        The draws that these come from.

    Returns
    -------
    Outcome
    """
    replicated = together[name].reshape(len(together[name]), -1)
    shape, observed = observed.shape, observed.ravel()
    there = np.flatnonzero(~np.isnan(observed))
    whole = len(there) <= MOST_ROWS
    if not whole:
        there = np.sort(np.random.default_rng(0).choice(there, MOST_ROWS, replace=False))
    draws = _spread(len(replicated), min(len(replicated), num_draws(len(there))))
    observed, replicated = observed[there], replicated[draws[:, None], there].astype(float)
    columns, groups = _rows(posterior, shape, there, observed)
    censored = censoring(observed, replicated) if site.censored and not site.is_discrete else None
    pulled = leverage(posterior, name, replicated, rows[draws], there)
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
        steps=steps(posterior, {key: values[draws] for key, values in together.items()}),
        censored=censored,
    )


def _spread(count: int, some: int) -> np.ndarray:
    """About so many of `count` draws, evenly spread."""
    return np.unique(np.linspace(0, count - 1, some).astype(int))


def _says_the_end(column, observed, censored) -> bool:
    """Whether a column is the outcome itself, or says which rows were seen to their end."""
    if np.allclose(column, observed):
        return True
    two = np.unique(column)
    return len(two) == 2 and bool(abs(np.corrcoef(column, censored.seen)[0, 1]) > SAYS_THE_END)


def leverage(posterior, name: str, replicated: np.ndarray, draws: np.ndarray, there: np.ndarray) -> float:
    """Variance of the expectation over the noise's, from what two replicates with the same parameters share.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    name : str
        The observed site.
    replicated : numpy.ndarray, shape (S, N)
        Replicates of the rows that are there.
    draws : numpy.ndarray of int, shape (S,)
        Those that the replicates come from.
    there : numpy.ndarray of int, shape (N,)
        The rows, among all elements of the site.

    Returns
    -------
    float
        0 where nothing can be predicted again.
    """
    record = record_of(posterior)
    target = record.target
    if target is None:
        return 0.0
    some = _spread(len(draws), LEVERAGE_DRAWS)
    z, key = (
        record.z[draws[some]].astype(target.dtype),
        seeds(record.seed, len(some), CHECK_STREAM),
    )

    def draw(block):
        found = target.density.predict(*block, target.data, target.weights)
        return {name: found[name]}

    other = in_blocks(draw, (z, key), len(some), block_size(target.trace))[name]
    one, two = replicated[some], other.reshape(len(some), -1)[:, there].astype(float)
    one, two = one - one.mean(0), two - two.mean(0)
    shared, whole = (one * two).mean(), 0.5 * ((one**2).mean() + (two**2).mean())
    share = np.clip(shared / whole if whole > 0 else 0.0, 0.0, MOST_SHARED)
    return float(share / (1 - share))


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

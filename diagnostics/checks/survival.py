"""Survival: does the Kaplan–Meier curve of the outcomes lie among those of replicated ones?

Rows whose end was not seen are known from their draws, which stop at the observed value. When the others would have
been lost from sight is drawn from the law of the times at which rows were, so that replicates lose as many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..thresholds import CLOSE, CURVE_TIMES, ENDING_DRAWS, LEAST_AT_RISK, WIDEST_MARGIN
from .judge import Test
from .refits import excursions


@dataclass(frozen=True)
class Censoring:
    """When each row was, or would have been, lost from sight.

    Attributes
    ----------
    limit : numpy.ndarray, shape (N,)
        Largest value that could have been recorded.
    seen : numpy.ndarray of bool, shape (N,)
        Whether the outcome itself was observed.
    """

    limit: np.ndarray
    seen: np.ndarray

    def ended(self, values: np.ndarray) -> np.ndarray:
        """Which of some outcomes ``(…, N)`` would have been seen: boolean, of the same shape."""
        return values < self.limit * (1 - CLOSE * np.sign(self.limit))


def censoring(observed: np.ndarray, replicated: np.ndarray) -> Censoring | None:
    """Censoring from above, as the outcomes show it.

    Parameters
    ----------
    observed : numpy.ndarray, shape (N,)
        Values, or where they were lost from sight.
    replicated : numpy.ndarray, shape (S, N)
        Draws, which stop at the limit of their row.

    Returns
    -------
    Censoring or None
        None where no row is censored.
    """
    top = replicated.max(0)
    reached = np.isclose(replicated, top, rtol=CLOSE, atol=0).sum(0)
    seen = ~np.isclose(top, observed, rtol=CLOSE, atol=0)
    if seen.all():
        return None
    limit = np.where(seen, np.where(reached > 1, top, np.inf), observed)
    unknown = np.flatnonzero(np.isinf(limit))
    if len(unknown):
        limit[unknown] = _lost(observed, seen, unknown)
    return Censoring(limit, seen)


def _lost(observed, seen, rows) -> np.ndarray:
    """Draws of when `rows` would have been lost, after what was seen of them, by the reversed Kaplan–Meier curve."""
    times = np.unique(observed)
    left = kaplan_meier(observed[None], ~seen[None], times)[0]
    rng = np.random.default_rng(len(observed))
    before = left[np.searchsorted(times, observed[rows])]
    draw = before * rng.uniform(size=len(rows))
    # the first time at which the curve has fallen to the draw; those still in sight at the end are lost then
    place = np.minimum(np.searchsorted(-left, -draw, side="left"), len(times) - 1)
    return np.maximum(times[place], observed[rows] * (1 + 2 * CLOSE))


def kaplan_meier(values: np.ndarray, seen: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Share of rows that outlast each of some times, from values and whether their end was seen.

    Parameters
    ----------
    values : numpy.ndarray, shape (S, N)
        Values, or where they were lost from sight.
    seen : numpy.ndarray of bool, shape (S, N)
        Whether they are values.
    times : numpy.ndarray, shape (T,)
        Sorted, in the values' unit.

    Returns
    -------
    numpy.ndarray, shape (S, T)
        In [0, 1].

    References
    ----------
    Kaplan & Meier (1958), Nonparametric estimation from incomplete observations, JASA 53.

    Examples
    --------
    >>> values, seen = np.array([[1.0, 2.0, 2.0, 3.0]]), np.array([[True, True, False, True]])
    >>> kaplan_meier(values, seen, np.array([0.5, 1.5, 2.5])).round(3)
    array([[1.  , 0.75, 0.5 ]])
    """
    order = np.argsort(values, axis=1, kind="stable")
    values, seen = (
        np.take_along_axis(values, order, 1),
        np.take_along_axis(np.broadcast_to(seen, values.shape), order, 1),
    )
    num_rows = values.shape[1]
    # rows of equal value are at risk together: the first of them counts
    first = np.concatenate([np.ones((len(values), 1), bool), values[:, 1:] > values[:, :-1]], 1)
    begin = np.maximum.accumulate(np.where(first, np.arange(num_rows), 0), axis=1)
    # ends among ties, one after the other: (1 - 1/n)(1 - 1/(n - 1))… = 1 - d/n, whichever row is taken first
    ends_before = np.cumsum(seen, 1) - seen
    tied = ends_before - np.take_along_axis(ends_before, begin, 1)
    at_risk = num_rows - begin - tied
    steps = np.where(seen, np.log1p(-1 / np.maximum(at_risk, 1.000000001)), 0.0).cumsum(1)
    curve = np.concatenate([np.ones((len(values), 1)), np.exp(np.maximum(steps, -700))], 1)
    place = np.stack([np.searchsorted(row, times, side="right") for row in values])
    return np.take_along_axis(curve, place, 1)


def curves(outcome) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Survival curves of a censored outcome, at times between which the replicated curves fall.

    Parameters
    ----------
    outcome : Outcome
        A censored one.

    Returns
    -------
    tuple of numpy.ndarray
        Times ``(T,)``, and the curves there: observed ``(T,)`` and replicated ``(S, T)``.
    """
    censored, observed = outcome.censored, outcome.observed
    ended = censored.ended(outcome.replicated)
    some = slice(None, None, max(1, len(ended) // ENDING_DRAWS))
    ends = outcome.replicated[some][ended[some]]  # times of their own would favour the observed rows
    margin = min(LEAST_AT_RISK / len(observed), WIDEST_MARGIN)
    times = np.unique(np.quantile(ends, np.linspace(margin, 1 - margin, CURVE_TIMES)))
    times = times[times <= np.sort(censored.limit)[-min(LEAST_AT_RISK, len(observed))]]
    one = kaplan_meier(observed[None], censored.seen[None], times)[0]
    many = kaplan_meier(outcome.replicated, ended, times)
    return times, one, many


def tests(outcome) -> Iterator[Test]:
    """The largest distance of the Kaplan–Meier curve from the predicted ones, in their standard deviations."""
    if outcome.censored is None or not outcome.censored.seen.any():
        return
    times, one, many = curves(outcome)
    if not len(times):
        return
    centre, scale, extreme = excursions(outcome, many)
    name = outcome.name
    yield Test(
        "Kaplan-Meier",
        name,
        "",
        float(np.abs((one - centre) / scale).max()),
        extreme,
        f"The share of '{name}' that outlasts a time is not what the model predicts: try another shape of the hazard, or "
        "a covariate that groups of rows differ by.",
        f"As many of '{name}' outlast each time as the model predicts.",
        two_sided=False,
    )

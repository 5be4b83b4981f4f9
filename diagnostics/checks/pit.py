"""PIT-ECDF: do the outcomes fall evenly over their predictive distributions?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from ..thresholds import (
    ALL_RANKS,
    BAND_SIMULATIONS,
    END_POINTS,
    END_PROBABILITY,
    END_RANKS,
    END_ROWS,
    EVEN_POINTS,
    EVEN_RANKS,
    KEPT_BANDS,
    LEAST_PROBABILITY,
    LEVEL,
)
from .judge import Test
from .outcome import Outcome
from .refits import excursions


def ranks(num_rows: int) -> np.ndarray:
    """Ranks, from 1, that the band looks at: all, or about `ALL_RANKS` of many that are dense at both ends.

    Examples
    --------
    >>> ranks(4)
    array([1, 2, 3, 4])
    """
    if num_rows <= ALL_RANKS:
        return np.arange(1, num_rows + 1)
    low = np.geomspace(1, num_rows / 2, END_RANKS).astype(int)
    return np.unique([*low, *(num_rows + 1 - low), *np.linspace(1, num_rows, EVEN_RANKS).astype(int)])


def local_level(values: np.ndarray, num_rows: int) -> np.ndarray:
    """Smallest two-sided probability over the ranks.

    Parameters
    ----------
    values : numpy.ndarray, shape (…, len(ranks))
        Sorted uniform values at the ranks.
    num_rows : int
        Number of rows, which says the ranks.

    Returns
    -------
    numpy.ndarray, shape (…)
    """
    from scipy.special import betainc

    rank = ranks(num_rows)
    below = betainc(rank, num_rows + 1 - rank, values)
    return 2 * np.minimum(below, 1 - below).min(-1)


@lru_cache(maxsize=KEPT_BANDS)
def threshold(num_rows: int, level: float = LEVEL, num_simulations: int = BAND_SIMULATIONS) -> float:
    """Local level whose band uniform values leave somewhere with probability `level`.

    An order statistic of uniform values is a beta variable. Every rank gets the same local level, so that the
    band is narrow in the tails, where it has to be.

    Parameters
    ----------
    num_rows : int
        Number of uniform values.
    level : float
        The probability.
    num_simulations : int
        Sets of values that it is simulated with.

    References
    ----------
    Säilynoja, Bürkner & Vehtari (2022), Graphical test for discrete uniformity, Statistics & Computing 32.
    """
    rng = np.random.default_rng(num_rows)
    gaps = np.diff(ranks(num_rows), prepend=0, append=num_rows + 1)
    walk = np.cumsum(rng.gamma(gaps, size=(num_simulations, len(gaps))), axis=1)
    return float(np.quantile(local_level(walk[:, :-1] / walk[:, -1:], num_rows), level))


def band(num_rows: int, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous limits of the sorted values at `ranks`: the lower and the upper ones, see `threshold`."""
    from scipy.special import betaincinv

    rank, local = ranks(num_rows), threshold(num_rows, level)
    low, high = (betaincinv(rank, num_rows + 1 - rank, p) for p in (local / 2, 1 - local / 2))
    return low, high


def grid(num_rows: int) -> np.ndarray:
    """Probabilities at which the ECDF of so many rows is looked at, dense at both ends."""
    low = np.geomspace(max(END_ROWS / num_rows, LEAST_PROBABILITY), END_PROBABILITY, END_POINTS)
    even = np.linspace(END_PROBABILITY, 1 - END_PROBABILITY, EVEN_POINTS)
    return np.unique(np.concatenate([low, even, 1 - low]).clip(0, 1))


def ecdf(places: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Share of the values of each row at or below each probability.

    Parameters
    ----------
    places : numpy.ndarray, shape (S, N)
        Sets of values in [0, 1].
    at : numpy.ndarray, shape (K,)
        Sorted.

    Returns
    -------
    numpy.ndarray, shape (S, K)

    Examples
    --------
    >>> ecdf(np.array([[0.1, 0.4, 0.9, 0.95]]), np.array([0.2, 0.5]))
    array([[0.25, 0.5 ]])
    """
    bins = np.searchsorted(at, places, side="left") + (len(at) + 1) * np.arange(len(places))[:, None]
    counts = np.bincount(bins.ravel(), minlength=len(places) * (len(at) + 1)).reshape(len(places), -1)
    return counts[:, :-1].cumsum(1) / places.shape[1]


def tests(outcome: Outcome) -> Iterator[Test]:
    """The largest excursion of the PIT-ECDF in standard deviations, among those of replicated data."""
    if outcome.kind not in {"continuous", "count"} or outcome.near is None:
        return
    observed, replicated = outcome.places
    at = grid(len(observed))
    one, many = ecdf(observed[None], at), ecdf(replicated, at)
    centre, scale, extreme = excursions(outcome, many)
    yield Test(
        "PIT-ECDF",
        outcome.name,
        "",
        float(np.abs((one - centre) / scale).max()),
        extreme,
        f"The outcomes of '{outcome.name}' do not fall evenly over their predictions: look at the overlay for shape, "
        "spread and skew.",
        f"The outcomes of '{outcome.name}' fall evenly over their predictions.",
        two_sided=False,
    )

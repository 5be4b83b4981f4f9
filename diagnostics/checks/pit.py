"""PIT-ECDF: do the outcomes fall evenly over their predictive distributions?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from .judge import LEVEL, Test
from .predictions import Outcome
from .refits import excursions


def ranks(num_rows: int) -> np.ndarray:
    """Ranks that the band looks at: all, or 200 of many that are dense at both ends."""
    if num_rows <= 200:
        return np.arange(1, num_rows + 1)
    low = np.geomspace(1, num_rows / 2, 50).astype(int)
    return np.unique([*low, *(num_rows + 1 - low), *np.linspace(1, num_rows, 100).astype(int)])


def local_level(values: np.ndarray, num_rows: int) -> np.ndarray:
    """Smallest two-sided probability over the ranks of sorted uniform values ``(…, len(ranks))``."""
    from scipy.special import betainc

    rank = ranks(num_rows)
    below = betainc(rank, num_rows + 1 - rank, values)
    return 2 * np.minimum(below, 1 - below).min(-1)


@lru_cache(maxsize=32)
def threshold(num_rows: int, level: float = LEVEL, num_simulations: int = 4000) -> float:
    """Local level whose band uniform values leave somewhere with probability `level`.

    An order statistic of uniform values is a beta variable. Every rank gets the same local level, so that the
    band is narrow in the tails, where it has to be.

    References
    ----------
    Säilynoja, Bürkner & Vehtari (2022), Graphical test for discrete uniformity, Statistics & Computing 32.
    """
    rng = np.random.default_rng(num_rows)
    gaps = np.diff(ranks(num_rows), prepend=0, append=num_rows + 1)
    walk = np.cumsum(rng.gamma(gaps, size=(num_simulations, len(gaps))), axis=1)
    return float(np.quantile(local_level(walk[:, :-1] / walk[:, -1:], num_rows), level))


def band(num_rows: int, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous limits of the sorted values at `ranks`."""
    from scipy.special import betaincinv

    rank, local = ranks(num_rows), threshold(num_rows, level)
    return tuple(betaincinv(rank, num_rows + 1 - rank, p) for p in (local / 2, 1 - local / 2))


def grid(num_rows: int) -> np.ndarray:
    """Probabilities at which the ECDF is looked at, dense at both ends."""
    low = np.geomspace(max(3 / num_rows, 1e-4), 0.1, 12)
    return np.unique(np.concatenate([low, np.linspace(0.1, 0.9, 25), 1 - low]).clip(0, 1))


def ecdf(places: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Share of each row of values ``(S, N)`` at or below each probability, ``(S, K)``."""
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

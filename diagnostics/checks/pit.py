"""PIT-ECDF: do the outcomes fall evenly over their predictive distributions?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from .judge import LEVEL, Test
from .predictions import Outcome


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


def tests(outcome: Outcome) -> Iterator[Test]:
    """The largest excursion of the PIT-ECDF, among those of replicated data."""
    if outcome.kind not in {"continuous", "count"} or outcome.near is None:
        return
    rng = np.random.default_rng(len(outcome.observed))
    together = np.concatenate([outcome.replicated, outcome.near[None]])
    count, num_rows = together.shape
    noise = rng.uniform(size=together.shape)
    ties = together + 0.5 * noise if outcome.kind == "count" else together
    values = np.empty(together.shape)
    np.put_along_axis(values, ties.argsort(axis=0), np.arange(count)[:, None] + noise, axis=0)
    values /= count
    values.sort(axis=1)
    extreme = -np.log(np.maximum(local_level(values[:, ranks(num_rows) - 1], num_rows), 1e-300))
    yield Test(
        "PIT-ECDF",
        outcome.name,
        "",
        float(extreme[-1]),
        extreme[:-1],
        f"The outcomes of '{outcome.name}' do not fall evenly over their predictions: look at the overlay for shape, "
        "spread and skew.",
        f"The outcomes of '{outcome.name}' fall evenly over their predictions.",
        two_sided=False,
    )

"""Distances between two sets of vectors: maximum mean discrepancy and Fréchet's.

References
----------
Gretton, Borgwardt, Rasch, Schölkopf & Smola (2012), A kernel two-sample test, JMLR 13; Gretton, Fukumizu, Harchaoui & Sriperumbudur
(2009), A fast, consistent kernel two-sample test, NeurIPS, on its gamma law. Phipson & Smyth (2010), Permutation p-values
should never be zero. Heusel et al. (2017), GANs trained by a two time-scale update rule, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from ...inference.deep.quality import frechet
from ..thresholds import PERMUTATIONS, SCALED_ROWS


@dataclass(frozen=True)
class Apart:
    """A distance with what it would be of rows of one law.

    Attributes
    ----------
    value : float
    p_value : float
        How often rows that are dealt out anew are as far apart.
    usual : float
        Mean of those.
    se : float
        Standard error of `value` over rows, by a bootstrap; NaN where none was made.
    """

    value: float
    p_value: float
    usual: float
    se: float = float("nan")


def bandwidth(rows: np.ndarray) -> float:
    """The median distance between two rows, or between some where there are many: the scale of a Gaussian kernel."""
    apart = pdist(rows[:: -(-len(rows) // SCALED_ROWS)])
    found = float(np.median(apart)) if len(apart) else 1.0
    return found if found > 0 else 1.0


def joint_test(
    one: np.ndarray,
    other: np.ndarray,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
    scale: float | None = None,
) -> Apart:
    """Squared maximum mean discrepancy of two sets of rows, with its permutation p-value.

    Parameters
    ----------
    one, other : numpy.ndarray, shapes (N, d) and (M, d)
        Rows.
    rng : numpy.random.Generator
        Deals rows out.
    permutations : int
        How often.
    scale : float, optional
        Bandwidth; by default the median distance between rows of both.

    Notes
    -----
    The kernel is exp(-|x - y|²/(2 scale²)), the estimate unbiased. Of normal laws with means that are δ apart and covariances s² I and
    t² I it is (1 + 2s²/h²)^(-d/2) + (1 + 2t²/h²)^(-d/2) - 2 (1 + (s² + t²)/h²)^(-d/2) exp(-|δ|²/(2(h² + s² + t²))).
    """
    whole = np.concatenate([one, other])
    kernel = _kernel(whole, bandwidth(whole) if scale is None else scale)
    first = np.arange(len(whole)) < len(one)
    dealt = np.concatenate([first[None], rng.permuted(np.tile(first, (permutations, 1)), axis=1)])
    found = _discrepancies(kernel, dealt)
    return Apart(float(found[0]), min(_p_value(found), _beyond(found)), float(found[1:].mean()))


def frechet_test(
    one: np.ndarray,
    other: np.ndarray,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
    resamples: int = 100,
) -> Apart:
    """Squared Fréchet distance between Gaussians with the moments of two sets of equally many rows.

    Parameters
    ----------
    one, other : numpy.ndarray, shape (N, d)
        Embeddings of rows. Of sets of different sizes some rows of the larger one are left out: the estimate is biased by its
        number of rows.
    rng : numpy.random.Generator
        Deals rows out.
    permutations, resamples : int
        Ways to deal the rows out anew, and rows drawn again for the standard error.
    """
    count = min(len(one), len(other))
    one, other = (some[rng.choice(len(some), count, replace=False)] for some in (one, other))
    whole = np.concatenate([one, other])
    orders = [np.arange(2 * count), *(rng.permutation(2 * count) for _ in range(permutations))]
    found = np.array([frechet(whole[order[:count]], whole[order[count:]]) for order in orders])
    again = [
        frechet(one[rng.integers(0, count, count)], other[rng.integers(0, count, count)])
        for _ in range(resamples)
    ]
    return Apart(float(found[0]), _p_value(found), float(found[1:].mean()), float(np.std(again)))


def _kernel(rows: np.ndarray, scale: float) -> np.ndarray:
    return np.exp(-cdist(rows, rows, "sqeuclidean") / (2 * scale**2))


def _discrepancies(kernel: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Of several ways ``(P, N)`` to deal rows out into two sets."""
    own = first.astype(np.float64)
    count = own.sum(1)
    rest = len(kernel) - count
    within = np.einsum("pi,pi->p", own @ kernel, own)
    across = own @ kernel.sum(1) - within
    others = kernel.sum() - within - 2 * across
    # the diagonal of ones is no pair of rows
    return (
        (within - count) / (count * (count - 1))
        + (others - rest) / (rest * (rest - 1))
        - 2 * across / (count * rest)
    )


def _beyond(found: np.ndarray) -> float:
    """Where the first value is the greatest, which is all that permutations can say: its tail under a gamma law with their moments."""
    dealt = found[1:]
    sd = dealt.std()
    if found[0] <= dealt.max() or sd == 0:
        return 1.0
    return float(stats.pearson3.sf((found[0] - dealt.mean()) / sd, max(stats.skew(dealt), 0.0)))


def _p_value(found: np.ndarray) -> float:
    """Share of values as great as the first, which is one of them."""
    return float((found >= found[0] - 1e-12 * abs(found[0])).mean())

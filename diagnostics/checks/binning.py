"""Rows sorted, put into bins and groups, and averaged."""

from __future__ import annotations

import numpy as np

from ..thresholds import DEGREE, MOST_BINS, ROWS_PER_BIN, SORTING


def sorting(replicated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected values to sort rows by, and the draws that they come from.

    Rows sorted by the noise of draws would differ between bins in those draws, and in nothing else: compare with the
    others.

    Parameters
    ----------
    replicated : numpy.ndarray, shape (S, N)
        Replicates of the outcome.

    Returns
    -------
    tuple of numpy.ndarray
        Expected values ``(N,)``, and which draws were used ``(S,)``, boolean.
    """
    first = np.arange(len(replicated)) % SORTING == 0
    return replicated[first].mean(0), first


def group_means(codes: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means in groups, and the groups' sizes.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (N,)
        From 0 to ``G - 1``, each with a row.
    z : numpy.ndarray, shape (…, N)
        What is averaged.

    Returns
    -------
    tuple of numpy.ndarray
        Shapes ``(…, G)`` and ``(G,)``.

    Examples
    --------
    >>> group_means(np.array([0, 1, 0]), np.array([1.0, 5.0, 2.0]))
    (array([1.5, 5. ]), array([2, 1]))
    """
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add.reduceat(z[..., order], first, axis=-1) / sizes, sizes


def waves(by: np.ndarray, degree: int = DEGREE) -> np.ndarray:
    """Hermite polynomials of the normal scores of a column, each with mean square one.

    Parameters
    ----------
    by : numpy.ndarray, shape (N,)
        The column.
    degree : int
        The largest.

    Returns
    -------
    numpy.ndarray, shape (degree, N)
    """
    from scipy.special import eval_hermitenorm, ndtri
    from scipy.stats import rankdata

    score = ndtri((rankdata(by) - 0.5) / len(by))
    found = np.stack([eval_hermitenorm(k, score) for k in range(1, degree + 1)])
    return found / np.sqrt((found**2).mean(1, keepdims=True))


def binned(by: np.ndarray, most: int = MOST_BINS) -> np.ndarray:
    """Codes of bins of about equal count along a column; equal values share a bin.

    Parameters
    ----------
    by : numpy.ndarray, shape (N,)
        The column.
    most : int
        Number of bins, fewer where there are few rows.

    Returns
    -------
    numpy.ndarray of int, shape (N,)

    Examples
    --------
    >>> binned(np.arange(40), most=2)[[0, 19, 20, 39]]
    array([0, 0, 1, 1])
    """
    count = min(most, max(2, len(by) // ROWS_PER_BIN))
    edges = np.unique(np.quantile(by, np.linspace(0, 1, count + 1)[1:-1]))
    codes = np.searchsorted(edges, by, side="left")
    return np.unique(codes, return_inverse=True)[1]

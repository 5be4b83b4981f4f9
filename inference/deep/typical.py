"""Rows that are unlike those that a model knows: less likely, or like none of them for all that they are likely.

The log density of a row says how likely it is, not how usual: a blank page can be far more likely than any page with a digit on it, as
the mode of a normal law in a hundred dimensions is, where no draw of it ever lies. Here a row is compared in several statistics at once,
each of which may be too small or too great, with rows that training held out; where it ranks among these is a p-value that is right
whatever the model is worth.

References
----------
Nalisnick et al. (2019), Detecting out-of-distribution inputs to deep generative models using typicality. Morningstar et al. (2021), Density
of states estimation for out-of-distribution detection, AISTATS, on several statistics. Serrà et al. (2020), Input complexity and
out-of-distribution detection with likelihood-based generative models, ICLR. Vovk, Gammerman & Shafer (2005), Algorithmic learning in a random
world, on full conformal ranks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np

from ..thresholds import GREYS, RANKED_AT_ONCE, USUAL


def complexity(rows: np.ndarray) -> np.ndarray:
    """Bits of rows ``(rows, columns)`` as zlib packs them, in whole numbers up to 255, the same for all rows of one column range."""
    codes = np.clip(np.nan_to_num(rows), 0, GREYS).astype(np.uint8)
    return np.array([8.0 * len(zlib.compress(row.tobytes(), 9)) for row in codes])


def unlikely(score: np.ndarray, known: np.ndarray) -> np.ndarray:
    """p-values of scores by their ranks among known ones, the greater the less alike."""
    return (1 + len(known) - np.searchsorted(np.sort(known), score, side="left")) / (len(known) + 1)


def atypical(new: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far statistics of rows are from those of known rows, and their p-values, shapes ``(rows,)``.

    Parameters
    ----------
    new, known : numpy.ndarray, shape (rows, statistics)
        One that is not finite is as far as can be.

    Returns
    -------
    tuple of numpy.ndarray
        Squared Mahalanobis distance from the known rows; and the share of known rows that are as far or farther from all of them and the
        new one together, the new one counted: exact where rows are exchangeable.
    """
    return _ranked(new, known, lambda apart, _unlikely: apart, alone=True)


def odd(new: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How atypical statistics of rows are, or how unlikely, whichever is more, and their p-values: see `atypical`, which has the shapes.

    The first statistic is the log probability. Distances and negative log probabilities are each taken from their median, in units of what
    lies between that and their quantile at 95%, over all known rows and the new one together; the greater of both is what is ranked.
    """
    return _ranked(new, known, lambda apart, unlikely: np.maximum(_usual(np.sqrt(apart)), _usual(unlikely)))


def _usual(values: np.ndarray) -> np.ndarray:
    """Values ``(T, n)`` from their median, in units of what lies between that and their upper quantile."""
    middle, upper = np.quantile(values, [0.5, USUAL], axis=1)[:, :, None]
    return (values - middle) / np.maximum(upper - middle, 1e-12)


def _ranked(
    new: np.ndarray,
    known: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    alone: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of rows and their p-values; by the known rows `alone`, or by these and each new row together."""
    lost = ~np.isfinite(known).all(1)
    inside, fine = known[~lost], np.isfinite(new).all(1)
    apart, p_value = np.full(len(new), np.inf), np.full(len(new), (1.0 + lost.sum()) / (len(known) + 1))
    if len(inside) <= known.shape[1]:
        return apart, np.ones(len(new))
    centre = inside.mean(0)
    scale = np.maximum(inside.std(0), 1e-6 * (1 + np.abs(centre)))
    inside, own = (inside - centre) / scale, (new[fine] - centre) / scale
    parts = [score(*both) for both in _together(own, inside)]
    found = np.concatenate([*parts, np.zeros((0, len(inside) + 1))])
    as_far = (found[:, :-1] >= found[:, -1:] - 1e-12 * np.abs(found[:, -1:])).sum(1)
    p_value[fine] = (1 + lost.sum() + as_far) / (len(known) + 1)
    apart[fine] = _distance(own[:, None], np.cov(inside.T, bias=True)[None])[:, 0] if alone else found[:, -1]
    return apart, p_value


def _together(own: np.ndarray, inside: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Distances and negative first statistics of known rows and each new one, which comes last and is one of those by which all are
    judged, some new ones at a time, shapes ``(T, n + 1)``."""
    count = len(inside)
    scatter = inside.T @ inside
    for start in range(0, len(own), RANKED_AT_ONCE):
        some = own[start : start + RANKED_AT_ONCE]
        mean = some / (count + 1)
        spread = (scatter + count / (count + 1) * some[:, :, None] * some[:, None]) / (count + 1)
        whole = np.concatenate([np.broadcast_to(inside, (len(some), *inside.shape)), some[:, None]], 1)
        yield _distance(whole - mean[:, None], spread), -whole[:, :, 0]


def _distance(values: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis norms of values ``(T, n, k)`` under covariances ``(T, k, k)``, shape ``(T, n)``."""
    root = np.linalg.pinv(spread, hermitian=True)
    return np.einsum("tnk,tkl,tnl->tn", values, root, values)

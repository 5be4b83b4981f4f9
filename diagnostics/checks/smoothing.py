"""Pareto-smoothed importance weights of many rows at once: those of arviz-stats, which takes them one by one.

References
----------
Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25. Zhang & Stephens (2009), A new
and efficient estimation method for the generalized Pareto distribution, Technometrics 51.
"""

from __future__ import annotations

import numpy as np

from ..thresholds import (
    LEAST_SMOOTHED,
    NEGLIGIBLE_WEIGHT,
    PARETO_GRID,
    PARETO_QUANTILE,
    PARETO_SCALE,
    PRIOR_DRAWS,
    PRIOR_SHAPE,
    TAIL_PART,
    TAIL_ROOTS,
)


def smooth_rows(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed weights.

    Parameters
    ----------
    log_weights : numpy.ndarray, shape (N, S)
        One row of draws for each row of the data; constants do not matter.

    Returns
    -------
    tuple of numpy.ndarray
        Weights ``(N, S)`` that sum to one, and k̂ ``(N,)``: infinite where there are too few draws for a tail.

    References
    ----------
    Vehtari et al. (2024), JMLR 25. Zhang & Stephens (2009), Technometrics 51.
    """
    weights = np.exp(log_weights - log_weights.max(1, keepdims=True))
    num_rows, count = weights.shape
    tail = int(np.ceil(min(count / TAIL_PART, TAIL_ROOTS * np.sqrt(count))))
    if tail < LEAST_SMOOTHED:
        return weights / weights.sum(1, keepdims=True), np.full(num_rows, np.inf)
    largest = np.argpartition(weights, count - tail - 1, axis=1)[:, -tail - 1 :]
    values = np.take_along_axis(weights, largest, 1)
    order = values.argsort(axis=1)
    largest, values = np.take_along_axis(largest, order, 1), np.take_along_axis(values, order, 1)
    excess = values[:, 1:] - values[:, :1]
    with np.errstate(all="ignore"):
        shape, scale = _pareto(excess)
        share = np.arange(0.5, tail) / tail
        smoothed = scale[:, None] * np.expm1(-shape[:, None] * np.log1p(-share)) / shape[:, None]
    sound = np.isfinite(smoothed).all(1) & (scale > 0)
    smoothed = np.minimum(values[:, :1] + smoothed, values[:, -1:])
    np.put_along_axis(weights, largest[:, 1:], np.where(sound[:, None], smoothed, values[:, 1:]), 1)
    return weights / weights.sum(1, keepdims=True), np.where(np.isfinite(shape), shape, np.inf)


def _pareto(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape, drawn to one half, and scale of a generalised Pareto law for each sorted row."""
    count = excess.shape[1]
    size = PARETO_GRID + int(count**0.5)
    grid = 1 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    quartile = excess[:, int(count * PARETO_QUANTILE + 0.5) - 1, None]
    grid = grid / (PARETO_SCALE * quartile) + 1 / excess[:, -1:]
    shapes = np.stack([np.log1p(-b[:, None] * excess).mean(1) for b in grid.T], 1)
    likelihood = count * (np.log(-grid / shapes) - shapes - 1)
    weights = np.exp(likelihood - np.nanmax(likelihood, 1, keepdims=True))
    least = NEGLIGIBLE_WEIGHT * np.finfo(float).eps * weights.sum(1, keepdims=True)
    weights = np.where(weights >= least, weights, 0)
    best = (grid * weights).sum(1) / weights.sum(1)
    shape = np.log1p(-best[:, None] * excess).mean(1)
    return (count * shape + PRIOR_DRAWS * PRIOR_SHAPE) / (count + PRIOR_DRAWS), -shape / best

"""Weighted estimates of quantities with their Monte Carlo errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..thresholds import ESTIMATED, PROBABILITIES, STRETCH


@dataclass(frozen=True, eq=False)
class Estimates:
    """Summaries of Q quantities.

    Attributes
    ----------
    mean, sd : numpy.ndarray, shape (Q,)
    quantiles : numpy.ndarray, shape (3, Q)
        At 5%, 50% and 95%.
    mean_se, sd_se : numpy.ndarray, shape (Q,)
    quantile_se : numpy.ndarray, shape (3, Q)
        Monte Carlo standard errors.
    """

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    mean_se: np.ndarray
    sd_se: np.ndarray
    quantile_se: np.ndarray


def estimate(values: np.ndarray, weights: np.ndarray | None = None, inefficiency=1.0) -> Estimates:
    """Estimates from weighted draws.

    Parameters
    ----------
    values : numpy.ndarray, shape (S, Q)
        Values of Q quantities at S draws.
    weights : numpy.ndarray, shape (S,), optional
        Normalised; equal by default.
    inefficiency : float or numpy.ndarray, shape (Q,) or (4, Q)
        Ratio of draws to effective draws, for correlated ones: errors grow by its square root. One for all, or one each for
        means, sds, lower and upper quantiles.
    """
    values = np.asarray(values, np.float64)
    factor = np.broadcast_to(inefficiency, (4, values.shape[1]))
    each = max(1, ESTIMATED // max(len(values), 1))
    columns = (slice(i, i + each) for i in range(0, max(values.shape[1], 1), each))
    found = [_estimate(values[:, some], weights, factor[:, some]) for some in columns]
    return Estimates(
        *(
            np.concatenate([getattr(part, name) for part in found], -1)
            for name in Estimates.__dataclass_fields__
        )
    )


def _estimate(values: np.ndarray, weights: np.ndarray | None, inefficiency: np.ndarray) -> Estimates:
    count = len(values)
    w = np.full(count, 1.0 / count) if weights is None else weights
    mean = w @ values
    centred = values - mean
    square = centred**2
    variance = w @ square
    sd = np.sqrt(variance)
    factor = np.sqrt(inefficiency)
    w2 = w**2
    mean_se = np.sqrt(w2 @ square) * factor[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        sd_se = np.sqrt(w2 @ (square - variance) ** 2) / (2 * sd) * factor[1]
    quantiles = np.empty((3, values.shape[1]))
    errors = np.empty_like(quantiles)
    factor = np.stack([factor[2], factor[2:].max(0), factor[3]])
    total2 = w2.sum()
    grid, grid2 = np.cumsum(w), np.cumsum(w2)
    for j, x in enumerate(np.ascontiguousarray(values.T)):
        if weights is None:
            x, own = np.sort(x), w
        else:
            order = np.argsort(x)
            x, own = x[order], w[order]
            grid, grid2 = np.cumsum(own), np.cumsum(w2[order])
        mid = grid - 0.5 * own
        for i, p in enumerate(PROBABILITIES):
            below = grid2[min(int(np.searchsorted(grid, p)), count - 1)]
            se = np.sqrt(below * (1 - p) ** 2 + (total2 - below) * p**2) * factor[i, j]
            # the density there is that of a wider stretch: of few draws between p ± se it would be noise itself
            reach = max(se, min(STRETCH * se, 0.5 * min(p, 1 - p)))
            quantiles[i, j], high, low = np.interp([p, min(p + reach, 1.0), max(p - reach, 0.0)], mid, x)
            errors[i, j] = 0.5 * (high - low) * (se / reach)
    return Estimates(mean, sd, quantiles, mean_se, sd_se, errors)

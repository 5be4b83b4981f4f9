"""Expected calibration error with its noise: what it would be of a model whose probabilities are right.

References
----------
Roelofs, Cain, Shlens & Mozer (2022), Mitigating bias in calibration error estimation, AISTATS (bins of equal mass). Guo, Pleiss, Sun & Weinberger (2017), On calibration of modern neural networks, ICML. Vaicenavicius et al. (2019), Evaluating
model calibration in classification, AISTATS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .thresholds import ECE_BINS, ECE_LEVEL, ECE_RESAMPLES, ECE_SIMULATIONS, ECE_VALUES, OUTER_INTERVAL


@dataclass(frozen=True, eq=False)
class Reliability:
    """How far the confidence in the likeliest class is from the share of rows where it came.

    Attributes
    ----------
    confidence : numpy.ndarray, shape (N,)
        Probability of the likeliest class.
    came : numpy.ndarray, shape (N,)
        One where that class came, else zero.
    bins : numpy.ndarray of int, shape (N,)
        The bin of each row.
    ece : float
        Mean over rows of the gap between confidence and accuracy of their bin.
    se : float
        Its standard error over rows.
    usual, null : float
        Mean and 95% point of it, were the probabilities right: with finitely many rows it is never zero.
    p : float
        How often it would be as large then.
    draws : numpy.ndarray, shape (S, N), or None
        Confidences by draws of a posterior, each of which may be the right one.
    """

    confidence: np.ndarray
    came: np.ndarray
    bins: np.ndarray
    ece: float
    se: float
    usual: float
    null: float
    p: float
    draws: np.ndarray | None = None

    @property
    def excess(self) -> float:
        """`ece` less the 95% point of the right model's; positive where rows say that probabilities are wrong."""
        return self.ece - self.null

    def table(self) -> pd.DataFrame:
        """A row for each bin that has rows: ``confidence``, ``share`` that came, ``low`` and ``high`` ends of 90% of what it
        would be were the probabilities right, and ``rows``."""
        simulated = simulations(self.confidence, np.random.default_rng(1), self.draws)
        found = []
        for b in np.unique(self.bins):
            own = self.bins == b
            low, high = np.quantile(simulated[:, own].mean(1), OUTER_INTERVAL)
            found.append((self.confidence[own].mean(), self.came[own].mean(), low, high, int(own.sum())))
        return pd.DataFrame(found, columns=["confidence", "share", "low", "high", "rows"])


def reliability(
    probabilities: np.ndarray, observed: np.ndarray, bins: str = "width", draws: np.ndarray | None = None
) -> Reliability:
    """The expected calibration error of rows.

    Parameters
    ----------
    probabilities : numpy.ndarray, shape (N, K)
        Of the classes.
    observed : numpy.ndarray of int, shape (N,)
        The class that came.
    bins : {"width", "mass"}
        15 of equal width in the confidence, or of equally many rows.
    draws : numpy.ndarray, shape (S, N), optional
        Probability of each row's likeliest class by draws of the posterior: were the model right, outcomes would be those of one of
        them, and what rows share is no misfit.

    Returns
    -------
    Reliability

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(0.5, 1.0, 1000)
    >>> right = reliability(np.stack([1 - p, p], 1), (rng.uniform(size=1000) < p) * 1)
    >>> sure = reliability(np.stack([0 * p, 1 + 0 * p], 1), (rng.uniform(size=1000) < p) * 1)
    >>> right.excess < 0, sure.excess > 0.2
    (True, True)
    """
    confidence, likeliest = probabilities.max(1), probabilities.argmax(1)
    came = (likeliest == observed) * 1.0
    rng, own = np.random.default_rng(0), bins_of(confidence, bins)
    value = float(errors(confidence, came[None], own)[0])
    under = errors(confidence, simulations(confidence, rng, draws), own)
    again = _resampled(confidence, came, own, rng)
    p = (1 + (under >= value).sum()) / (1 + len(under))
    null = float(np.quantile(under, 1 - ECE_LEVEL))
    return Reliability(
        confidence, came, own, value, float(again.std()), float(under.mean()), null, float(p), draws
    )


def bins_of(confidence: np.ndarray, bins: str = "width") -> np.ndarray:
    """The bin of each confidence, shape ``(N,)``: of equal width, or of equally many rows but for ties, which share one."""
    if bins == "width":
        return np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    edges = np.sort(confidence)[np.arange(1, ECE_BINS) * len(confidence) // ECE_BINS]
    return np.searchsorted(edges, confidence, side="right")


def errors(confidence: np.ndarray, came: np.ndarray, bins: np.ndarray | None = None) -> np.ndarray:
    """The error of several outcomes ``(S, N)`` of the same rows, shape ``(S,)``; bins of equal width by default."""
    own = np.eye(ECE_BINS)[bins_of(confidence) if bins is None else bins]
    return np.abs((came - confidence) @ own).sum(1) / len(confidence)


def simulations(
    confidence: np.ndarray, rng: np.random.Generator, draws: np.ndarray | None = None
) -> np.ndarray:
    """Outcomes of rows whose probabilities are right, or those of a draw, shape ``(S, N)``."""
    count = max(ECE_RESAMPLES, min(ECE_SIMULATIONS, ECE_VALUES // len(confidence)))
    chances = rng.uniform(size=(count, len(confidence)))
    if draws is None:
        return (chances < confidence) * 1.0
    for row, own in zip(chances, rng.integers(len(draws), size=count), strict=True):
        row[:] = row < draws[own]
    return chances


def _resampled(
    confidence: np.ndarray, came: np.ndarray, bins: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The error of rows drawn again (a bootstrap), shape ``(B,)``."""
    count = len(confidence)
    gaps = (came - confidence)[:, None] * np.eye(ECE_BINS)[bins]
    often = rng.multinomial(count, np.full(count, 1 / count), ECE_RESAMPLES)
    return np.abs(often @ gaps).sum(1) / count

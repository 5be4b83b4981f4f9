"""How well a few long chains have mixed: effective sizes, R̂, and the energy's fraction of missing information.

References
----------
Vehtari et al. (2021), Rank-normalization, folding, and localization: an improved R̂, Bayesian Analysis 16. Betancourt
(2016), Diagnosing suboptimal cotangent disintegrations in Hamiltonian Monte Carlo.
"""

from __future__ import annotations

import numpy as np

from ..thresholds import CHAIN_BATCHES, MANY_QUANTITIES
from .chains import halves, inefficiency
from .psis import array_stats


def effective_sizes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effective sizes of the bulk and of the two 5% tails.

    Parameters
    ----------
    values : numpy.ndarray, shape (C, T, Q)
        Values of Q quantities at T draws of each of C chains.

    Returns
    -------
    tuple of numpy.ndarray, shape (Q,)
        As many as there are draws for a constant.
    """
    chains, draws, count = values.shape
    if count > MANY_QUANTITIES:
        rows = draws // CHAIN_BATCHES * CHAIN_BATCHES
        parts = values[:, :rows].reshape(chains * CHAIN_BATCHES, -1, count)
        size = chains * draws / inefficiency(parts)
        return size, size
    stats, x = array_stats(), np.moveaxis(values, 2, 0)
    with np.errstate(all="ignore"):
        bulk, tail = stats.ess(x, method="bulk"), stats.ess(x, method="tail", prob=(0.05, 0.95))
    total = float(chains * draws)
    constant = np.ptp(values, axis=(0, 1)) == 0
    bulk, tail = (np.where(constant, total, np.nan_to_num(size, nan=1.0)) for size in (bulk, tail))
    return np.clip(bulk, 1.0, total), np.clip(tail, 1.0, total)


def split_rhat(values: np.ndarray) -> np.ndarray:
    """R̂ of each quantity, shape ``(Q,)``, from values of shape ``(C, T, Q)``; 1 for a constant, of one chain that of its
    halves."""
    values = halves(values) if len(values) == 1 else values
    _, draws, count = values.shape
    constant = np.ptp(values, axis=(0, 1)) == 0
    if count > MANY_QUANTITIES:
        half = draws // 2
        parts = np.concatenate([values[:, :half], values[:, half : 2 * half]])
        within, between = parts.var(1, ddof=1).mean(0), parts.mean(1).var(0, ddof=1)
        with np.errstate(all="ignore"):
            found = np.sqrt((half - 1) / half + between / within)
    else:
        with np.errstate(all="ignore"):
            found = array_stats().rhat(np.moveaxis(values, 2, 0))
    return np.where(constant, 1.0, np.nan_to_num(found, nan=np.inf))


def nested_rhat(values: np.ndarray, superchains: int) -> np.ndarray:
    """Nested R̂ of each quantity and of its distance from the median, the larger, shape ``(Q,)``.

    Parameters
    ----------
    values : numpy.ndarray, shape (C, T, Q)
        Many short chains, those of a superchain, which began at one point, next to each other.
    superchains : int
        A divisor of C.

    References
    ----------
    Margossian et al. (2024), Nested R̂: assessing the convergence of Markov chain Monte Carlo when running many short
    chains, Bayesian Analysis.
    """
    constant = np.ptp(values, axis=(0, 1)) == 0

    def nested(x):
        own = x.mean(1).reshape(superchains, -1, x.shape[2])  # (K, M, Q)
        within = own.var(1, ddof=1) + x.var(1, ddof=1).reshape(own.shape).mean(1)
        return np.sqrt(1 + own.mean(1).var(0, ddof=1) / within.mean(0))

    with np.errstate(all="ignore"):
        found = np.maximum(nested(values), nested(np.abs(values - np.median(values, axis=(0, 1)))))
    return np.where(constant, 1.0, np.nan_to_num(found, nan=np.inf))


def energy_information(energy: np.ndarray) -> float:
    """Least E-BFMI of the chains, from their energies ``(C, T)``, pooled over many short ones: below 0.3 the momenta
    explore too slowly."""
    if len(energy) > energy.shape[1]:
        energy = np.asarray(energy, float)
        return float(np.mean(np.diff(energy, axis=1) ** 2) / max(energy.var(), 1e-300))
    with np.errstate(all="ignore"):
        return float(np.nan_to_num(np.min(array_stats().bfmi(energy)), nan=0.0))

"""Designed standard-normal draws for fixed-draw objectives."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular


def antithetic(rng: np.random.Generator, num_draws: int, dim: int, unit: bool = False) -> np.ndarray:
    """Draws ``z`` and ``−z``, shape ``(num_draws, dim)``; with `unit` each column has second moment 1."""
    half = rng.standard_normal((num_draws // 2, dim))
    if unit:
        half = half / np.sqrt((half**2).mean(0))
    return np.concatenate([half, -half])


def whitened(rng: np.random.Generator, num_draws: int, dim: int) -> np.ndarray:
    """Antithetic draws with ``ZᵀZ / num_draws = I`` exactly; needs ``num_draws ≥ 2 dim``."""
    half = rng.standard_normal((num_draws // 2, dim))
    factor = np.linalg.cholesky(half.T @ half / len(half))
    half = solve_triangular(factor, half.T, lower=True).T
    return np.concatenate([half, -half])

"""Does a law q(z) have mass where the posterior has it?"""

from __future__ import annotations

import numpy as np

from ...guides.family import log_density
from ...guides.transport import Transport
from ..thresholds import HEAVY_WEIGHT, MISSED_MASS, WITHIN
from .modes import reach
from .pool import Pool


def covers(law, pool: Pool, z: np.ndarray, value: np.ndarray) -> bool:
    """Whether a law has mass where draws of the posterior have it.

    Weights that are even say nothing of a place that no draw of the law sees. There draws from elsewhere, such as
    those of chains, have large ones, and more often than the weights of the pool foretell.

    Parameters
    ----------
    law : Transport or Law
        What is asked.
    pool : Pool
        Of the law.
    z, value : numpy.ndarray, shapes (B, dim) and (B,)
        Such draws and their log density.
    """
    heavy = pool.log_evidence + HEAVY_WEIGHT
    foretold = pool.weights[pool.log_ratio > heavy].sum()
    return bool(np.mean(value - log_density(law, z) > heavy) < foretold + MISSED_MASS)


def reaches(transport: Transport, pool: Pool, z: np.ndarray) -> bool:
    """Whether a place lies where a transport's weighted draws do, by its distance in the base coordinates."""
    size = np.linalg.norm(pool.eps, axis=1)
    order = np.argsort(size)
    radius = size[order][np.searchsorted(np.cumsum(pool.weights[order]), WITHIN)]
    return bool(np.linalg.norm(transport.inverse(z[None])[0]) < reach(float(radius)))

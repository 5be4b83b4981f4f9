"""The evidence lower bound of a Gaussian: the mean log density under it, and its entropy with the constant."""

from __future__ import annotations

import numpy as np


def entropy(log_scale: float | np.ndarray, dim: int) -> float | np.ndarray:
    """Entropy of a Gaussian in nats.

    Parameters
    ----------
    log_scale : float or numpy.ndarray
        Log determinant of a root of the covariance: the sum of the log sds of independent coordinates.
    dim : int
        Number of coordinates.

    Returns
    -------
    float or numpy.ndarray

    Examples
    --------
    >>> float(np.round(entropy(np.log(2.0), 1), 4))
    2.1121
    """
    return log_scale + 0.5 * dim * np.log(2 * np.pi * np.e)

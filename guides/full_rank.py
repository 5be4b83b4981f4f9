"""A Gaussian with a dense covariance."""

from __future__ import annotations

from dataclasses import dataclass

from .family import Guide
from .transport import Affine, triangular


@dataclass(frozen=True)
class FullRank:
    """Full-rank Gaussian family on the unconstrained space: ``params = {mean: (dim,), scale_tril: (dim, dim)}``.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> guide = FullRank().bind(SimpleNamespace(dim=2))
    >>> guide.moments({"mean": np.zeros(2), "scale_tril": np.array([[1.0, 0.0], [1.0, 1.0]])})[1].tolist()
    [[1.0, 1.0], [1.0, 2.0]]
    """

    name: str = "full-rank"
    engines = ("natural gradient", "polish")
    batches = "dense"

    def bind(self, target) -> Guide:
        """The guide of a target."""
        return Guide(self, target.dim, triangular, Affine.from_arrays)

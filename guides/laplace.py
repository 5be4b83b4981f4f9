"""A Gaussian at the posterior mode, with the curvature there."""

from __future__ import annotations

from dataclasses import dataclass

from .family import Guide
from .transport import Affine, triangular


@dataclass(frozen=True)
class Laplace:
    """Laplace approximation on the unconstrained space: ``params = {mean: (dim,), scale_tril: (dim, dim)}``.

    References
    ----------
    Tierney & Kadane (1986), Accurate approximations for posterior moments, JASA 81.

    Examples
    --------
    >>> Laplace().name
    'laplace'
    """

    name: str = "laplace"
    engines = ("mode", "curvature")
    recentres = False  # a mode depends on the coordinates

    def bind(self, target) -> Guide:
        """The guide of a target."""
        return Guide(self, target.dim, triangular, Affine.from_arrays)

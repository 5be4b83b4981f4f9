"""A Gaussian at the posterior mode, with the curvature there."""

from __future__ import annotations

from dataclasses import dataclass

from .full_rank import FullRankGuide


@dataclass(frozen=True)
class Laplace:
    """Laplace approximation on the unconstrained space.

    References
    ----------
    Tierney & Kadane (1986), Accurate approximations for posterior moments, JASA 81.
    """

    name: str = "laplace"

    def bind(self, target) -> FullRankGuide:
        return FullRankGuide(self, target.dim)

"""A Gaussian with a dense covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from .family import Params, standard_normal


@dataclass(frozen=True)
class FullRank:
    """Full-rank Gaussian family on the unconstrained space."""

    name: str = "full-rank"

    def bind(self, target) -> FullRankGuide:
        return FullRankGuide(self, target.dim)


@dataclass(frozen=True)
class FullRankGuide:
    """``z = mean + scale_tril eps`` with ``params = {mean: (dim,), scale_tril: (dim, dim)}``."""

    family: FullRank
    dim: int

    def init(self, start) -> Params:
        scale = start.get("scale_tril")
        return {
            "mean": np.asarray(start["mean"]),
            "scale_tril": np.diag(start["sd"]) if scale is None else np.asarray(scale),
        }

    def forward(self, params, eps, data=None, weights=None, rows={}):  # noqa: B006
        scale = params["scale_tril"]
        return params["mean"] + eps @ scale.T, _log_det(scale) + 0.0 * eps[..., 0]

    def inverse(self, params, z, data=None, weights=None, rows={}):  # noqa: B006
        scale = np.asarray(params["scale_tril"])
        eps = solve_triangular(scale, (np.asarray(z) - params["mean"]).T, lower=True).T
        return eps, -_log_det(scale) + 0.0 * eps[..., 0]

    def base(self, eps):
        return standard_normal(eps)

    def moments(self, params):
        scale = np.asarray(params["scale_tril"])
        return np.asarray(params["mean"]), scale @ scale.T


def _log_det(scale) -> float:
    return np.log(np.abs(np.diag(np.asarray(scale)))).sum()

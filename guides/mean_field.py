"""Independent normals on the unconstrained space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ppl import math
from .family import Params, standard_normal


@dataclass(frozen=True)
class MeanField:
    """Mean-field Gaussian family.

    References
    ----------
    Kucukelbir et al. (2017), Automatic differentiation variational inference, JMLR 18.
    """

    name: str = "mean-field"

    def bind(self, target) -> MeanFieldGuide:
        return MeanFieldGuide(self, target.dim)


@dataclass(frozen=True)
class MeanFieldGuide:
    """``z = mean + exp(log_sd) eps`` with ``params = {mean: (dim,), log_sd: (dim,)}``."""

    family: MeanField
    dim: int

    def init(self, start) -> Params:
        return {"mean": np.asarray(start["mean"]), "log_sd": np.log(np.asarray(start["sd"]))}

    def forward(self, params, eps, data=None, weights=None, rows={}):  # noqa: B006
        z = params["mean"] + math.exp(params["log_sd"]) * eps
        return z, params["log_sd"].sum() + 0.0 * eps[..., 0]

    def inverse(self, params, z, data=None, weights=None, rows={}):  # noqa: B006
        eps = (z - params["mean"]) * math.exp(-params["log_sd"])
        return eps, -params["log_sd"].sum() + 0.0 * eps[..., 0]

    def base(self, eps):
        return standard_normal(eps)

    def moments(self, params):
        return np.asarray(params["mean"]), np.diag(np.exp(2 * np.asarray(params["log_sd"])))

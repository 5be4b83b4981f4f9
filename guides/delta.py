"""A point at the posterior mode of the unconstrained density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .family import Params


@dataclass(frozen=True)
class Delta:
    """Point mass (maximum a posteriori on the unconstrained space). Its verdict is always *untrusted*."""

    name: str = "delta"

    def bind(self, target) -> DeltaGuide:
        return DeltaGuide(self, target.dim)


@dataclass(frozen=True)
class DeltaGuide:
    """``z = mean`` with ``params = {mean: (dim,)}``."""

    family: Delta
    dim: int

    def init(self, start) -> Params:
        return {"mean": np.asarray(start["mean"])}

    def forward(self, params, eps, data=None, weights=None, rows={}):  # noqa: B006
        return params["mean"] + 0.0 * eps, 0.0 * eps[..., 0]

    def inverse(self, params, z, data=None, weights=None, rows={}):  # noqa: B006
        return z - params["mean"], 0.0 * z[..., 0]

    def base(self, eps):
        return np.where((np.asarray(eps) == 0).all(-1), 0.0, -np.inf)

    def moments(self, params):
        return np.asarray(params["mean"]), np.zeros((self.dim, self.dim))

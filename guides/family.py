"""The contract of a guide.

A `Family` is a frozen configuration. ``family.bind(target)`` fixes the static layout and gives a `Guide`:
pure functions over ``params``, a flat mapping of named arrays. To add a family, write one file with the
two classes and one line in ``guides.FAMILIES``; the contract tests pick it up from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

Params = Mapping[str, np.ndarray]


class Family(Protocol):
    """Frozen configuration of a variational family."""

    name: str

    def bind(self, target: Any) -> Guide:
        """Fix the layout for a target of ``target.dim`` unconstrained coordinates."""
        ...


class Guide(Protocol):
    """A law q(z) on the unconstrained space, as the image of a base law.

    ``forward`` and ``inverse`` map between base draws ``eps`` and ``z``, both of shape ``(B, dim)``, and
    return the log absolute Jacobian determinant of the map that they apply, of shape ``(B,)``.
    """

    family: Any
    dim: int

    def init(self, start: Mapping[str, np.ndarray]) -> Params: ...

    def forward(self, params: Params, eps, data=None, weights=None, rows={}) -> tuple: ...  # noqa: B006

    def inverse(self, params: Params, z, data=None, weights=None, rows={}) -> tuple: ...  # noqa: B006

    def base(self, eps) -> Any:
        """Log density of the base law at ``eps``, shape ``(B,)``."""
        ...

    def moments(self, params: Params) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean ``(dim,)`` and covariance ``(dim, dim)``."""
        ...


def sample(guide: Guide, params: Params, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Independent draws, shape ``(num_draws, dim)``."""
    own = getattr(guide, "sample", None)  # of a law that is no image of a base law
    if own is not None:
        return own(params, num_draws, rng)
    return guide.forward(params, rng.standard_normal((num_draws, guide.dim)))[0]


def log_prob(guide: Guide, params: Params, z) -> np.ndarray:
    """Log density of the guide at `z`, shape ``(B,)``."""
    own = getattr(guide, "log_prob", None)
    if own is not None:
        return own(params, z)
    eps, log_jacobian = guide.inverse(params, z)
    return guide.base(eps) + log_jacobian


def standard_normal(eps):
    """Log density of independent standard normals along the last axis."""
    return -0.5 * (eps * eps).sum(-1) - 0.5 * eps.shape[-1] * np.log(2 * np.pi)

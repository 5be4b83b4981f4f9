"""The contract of a family, and its guide.

A `Family` is a frozen configuration. ``family.bind(target)`` fixes what does not change while it is fitted and gives a
`Guide`: laws q(z) by their ``params``, a flat mapping of named arrays. To add a family, write one file with the family
and its transport, and one line in ``guides.FAMILIES``; the contract tests pick it up from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .transport import Affine, Arrays, Gaussian, standard_normal

Params = Arrays


class Law(Protocol):
    """A law q(z) that is no image of a base law, or whose density and draws are cheaper without it."""

    def sample(self, num_draws: int, rng: np.random.Generator) -> np.ndarray: ...

    def log_prob(self, z: np.ndarray) -> np.ndarray: ...

    def moments(self) -> tuple[np.ndarray, np.ndarray] | None: ...

    def to_arrays(self) -> dict[str, np.ndarray]: ...


class Family(Protocol):
    """Frozen configuration of a variational family.

    A family may also have ``engines``, the names of the engines that fit it, one after the other (see
    ``elboroom.inference.engines``): without, its parameters are fitted on fixed draws, which takes nothing but its
    transport; ``recentres``, whether other coordinates of hierarchical sites may be chosen before it is fitted, true
    where it is left out; and ``batches``, of which rows in batches it is fitted on: ``"any"``, ``"whole"`` (those that
    hold all coordinates) or ``"dense"`` (whole ones, up to a thousand coordinates), on none where it is left out.
    """

    name: str

    def bind(self, target: Any) -> Guide:
        """Fix the layout for a target of ``target.dim`` unconstrained coordinates."""
        ...


@dataclass(frozen=True, eq=False)
class Guide:
    """A family with its layout fixed for a target: a law q(z) for every value of its parameters.

    Attributes
    ----------
    family : Family
    dim : int
    near : callable
        ``near(gaussian)``: the member of the family by a `Gaussian`, from which a fit begins.
    read : callable
        ``read(params)``: the member with these parameters, the inverse of its ``to_arrays()``.
    layout : mapping of numpy.ndarray
        What ``family.bind`` takes in place of a target's structure, when a saved guide is read again.
    structure : object or None
        What else the engine of the family needs.
    """

    family: Any
    dim: int
    near: Callable[[Gaussian], Any]
    read: Callable[[Params], Any]
    layout: Mapping[str, np.ndarray] = field(default_factory=dict)
    structure: Any = None

    def init(self, start: Gaussian) -> Params:
        """Parameters of the member by a Gaussian."""
        return self.near(start).to_arrays()

    def at(self, params: Params) -> Any:
        """The `Transport`, or the `Law`, with these parameters."""
        return self.read(params)

    def forward(self, params: Params, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport.forward`."""
        return self.at(params).forward(eps)

    def inverse(self, params: Params, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Transport.inverse`."""
        return self.at(params).inverse(z)

    def moments(self, params: Params) -> tuple[np.ndarray, np.ndarray] | None:
        """Exact mean ``(dim,)`` and covariance ``(dim, dim)``; None where they are not known."""
        return self.at(params).moments()

    def marginals(self, params: Params) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean and sd of every coordinate of a Gaussian, at any dimension."""
        return self.at(params).marginals()

    @property
    def num_parameters(self) -> int:
        """Free numbers in the parameters of the member by independent standard normals."""
        law = self.near(Affine(np.zeros(self.dim), np.ones(self.dim)))
        own = getattr(law, "num_parameters", None)
        return sum(map(np.size, law.to_arrays().values())) if own is None else own


def bound(family: Any, target: Any, start: Gaussian) -> Guide:
    """The guide of a family; of one that looks at the posterior to fix its layout, by a Gaussian that is there."""
    near = getattr(family, "bind_near", None)
    return family.bind(target) if near is None else near(target, start)


def draw(law: Any, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Independent draws of a `Transport` or a `Law`, shape ``(num_draws, dim)``."""
    own = getattr(law, "sample", None)
    if own is not None:
        return own(num_draws, rng)
    return law.forward(rng.standard_normal((num_draws, law.dim)))[0]


def log_density(law: Any, z: np.ndarray) -> np.ndarray:
    """Log density of a `Transport` or a `Law` at points, shape ``(B,)``."""
    own = getattr(law, "log_prob", None)
    if own is not None:
        return own(z)
    eps, log_jacobian = law.inverse(z)
    return standard_normal(eps) + log_jacobian


def sample(guide: Guide, params: Params, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Independent draws of a guide.

    Returns
    -------
    numpy.ndarray, shape (num_draws, dim)
        Unconstrained.
    """
    return draw(guide.at(params), num_draws, rng)


def log_prob(guide: Guide, params: Params, z: np.ndarray) -> np.ndarray:
    """Log density of a guide at unconstrained points, shape ``(B,)``."""
    return log_density(guide.at(params), np.asarray(z))

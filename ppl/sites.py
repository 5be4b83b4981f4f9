"""What a traced model consists of: its sites, their shapes and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Site:
    """One named quantity of a model.

    Attributes
    ----------
    name : str
    role : {"latent", "discrete", "observed", "predicted", "deterministic", "factor", "fixed"}
    distribution : str
        Name of the distribution; empty for deterministics and factors.
    support : str
        Support in words.
    shape : tuple of int
        Shape of the value, plates and batch axes first, event axes last.
    event_dim : int
    unconstrained_shape : tuple of int
        Shape on the unconstrained scale; empty unless latent.
    plates : tuple of str
        Plates around the site, in the order of its axes.
    dims : tuple of str
        Names of all axes of the value.
    is_discrete : bool
    argument : str or None
        Data argument that holds the value of an observed site.
    constraint : object
        The support as a declaration of ``ppl.constraints``; None where it depends on other values.
    """

    name: str
    role: str
    distribution: str = ""
    support: str = ""
    shape: tuple[int, ...] = ()
    event_dim: int = 0
    unconstrained_shape: tuple[int, ...] = ()
    plates: tuple[str, ...] = ()
    dims: tuple[str, ...] = ()
    is_discrete: bool = False
    argument: str | None = None
    constraint: Any = None

    @property
    def size(self) -> int:
        """Number of unconstrained coordinates."""
        return int(np.prod(self.unconstrained_shape, dtype=int)) if self.role == "latent" else 0


@dataclass(frozen=True)
class ModelTrace:
    """Sites of a model in program order, found without running it on numbers.

    Attributes
    ----------
    sites : tuple of Site
    coords : mapping
        Labels of each named axis.
    weights : mapping
        Initial values of learnable arrays.
    demoted : tuple of str
        Data arguments that the model needs as concrete values.
    missing : mapping
        Observed sites with missing values: ``"imputed"``, as the latent site ``"<name>_missing"``, or
        ``"masked"``, where nothing else depends on them.
    counts : mapping
        Number of values of each discrete latent site, all of which are summed out.
    """

    sites: tuple[Site, ...]
    coords: Mapping[str, tuple] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    demoted: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def by_role(self, *roles: str) -> tuple[Site, ...]:
        """Sites of the given roles."""
        return tuple(site for site in self.sites if site.role in roles)

    @property
    def latents(self) -> tuple[Site, ...]:
        """Sites with a posterior."""
        return self.by_role("latent")

    def __getitem__(self, name: str) -> Site:
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(name)

    @property
    def dim(self) -> int:
        """Number of unconstrained coordinates."""
        return sum(site.size for site in self.latents)


def element_labels(name: str, shape: tuple[int, ...], dims=(), coords=None) -> list[str]:
    """Labels of the scalar elements of a quantity.

    Examples
    --------
    >>> element_labels("theta", (2,))
    ['theta[0]', 'theta[1]']
    >>> element_labels("mu", ())
    ['mu']
    """
    if not shape:
        return [name]
    axes = []
    for i, size in enumerate(shape):
        labels = (coords or {}).get(dims[i]) if i < len(dims) else None
        axes.append([str(v) for v in labels] if labels is not None and len(labels) == size else range(size))
    return [
        f"{name}[{', '.join(str(axes[i][k]) for i, k in enumerate(index))}]" for index in np.ndindex(*shape)
    ]

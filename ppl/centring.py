"""Between centred and non-centred: coordinates of a location–scale site.

A site ``x ~ Normal(loc, scale)`` whose scale is itself unknown has the coordinate u of

    x = loc + scale^(1 - λ) (u - λ loc),        u ~ Normal(λ loc, scale^λ),

per element: centred at λ = 1, where u is x itself, and non-centred at λ = 0. Data that hold an element tightly ask
for 1; where its prior does, u and the scale are nearly independent at 0.

References
----------
Papaspiliopoulos, Roberts & Sköld (2007), A general framework for the parametrization of hierarchical models,
Statistical Science 22. Gorinova, Moore & Hoffman (2020), Automatic reparameterisation of probabilistic programs,
ICML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import math

KEY = "(centring)"  # among the weights of a target; no site or array of a model has this name
_LAWS = frozenset({"Normal", "StudentT", "Cauchy", "Laplace", "Logistic"})
_WRAPPERS = frozenset({"Independent", "ExpandedDistribution"})


def location_scale(fn: Any) -> tuple[Any, Any] | None:
    """Location and scale of a backend's law on the real line; None for a law of another kind."""
    law = _inmost(fn)
    if type(law).__name__ not in _LAWS or getattr(law, "scale", None) is None:
        return None
    return law.loc, law.scale


def _inmost(fn: Any) -> Any:
    while type(fn).__name__ in _WRAPPERS:
        fn = fn.base_dist
    return fn


def can_be_centred(fn: Any, computed: Callable[[Any], bool]) -> bool:
    """Whether a law has these coordinates, and a scale of which ``computed(scale)`` holds."""
    found = location_scale(fn)
    return found is not None and bool(computed(found[1]))


def place(fn: Any, share: Any, u: Any) -> tuple[Any, Any]:
    """Values at some coordinates, and the log Jacobian of each element.

    Parameters
    ----------
    fn : object
        The backend's law, location–scale.
    share : array
        λ in [0, 1], of the shape of `u`.
    u : array
        Coordinates.
    """
    law = _inmost(fn)
    power = (1.0 - share) * math.log(law.scale)
    stretch = math.exp(power)
    return stretch * u + (1.0 - share * stretch) * law.loc, power + 0.0 * share


def coordinates(fn: Any, share: Any, value: Any) -> Any:
    """The coordinates of a value: inverse of `place`.

    Parameters
    ----------
    fn : object
        The backend's law, location–scale.
    share : array
        λ in [0, 1], of the shape of `value`.
    value : array
        On the real line.
    """
    law = _inmost(fn)
    return share * law.loc + (value - law.loc) / math.exp((1.0 - share) * math.log(law.scale))

"""Masks of NumPyro and Pyro models: outcomes that are none, and latent elements that nothing depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .thresholds import MASK_POINTS, MASK_SCALE


@dataclass(frozen=True)
class Masks:
    """What the masks of a model take out of its density.

    Attributes
    ----------
    hidden : mapping of str to numpy.ndarray of bool
        Which elements of an observed site are not counted: padding, or positions without an observation.
    kept : mapping of str to numpy.ndarray of bool
        Which elements of a latent site have a density, or enter one; the others are no quantities of the model.
    sound : bool
        Whether density and derivatives are finite, whatever is missing in the data.
    """

    hidden: Mapping[str, np.ndarray] = field(default_factory=dict)
    kept: Mapping[str, np.ndarray] = field(default_factory=dict)
    sound: bool = True


def masks_of(sites, look: Callable, partial: Callable) -> Masks:
    """Masks of a model.

    Parameters
    ----------
    sites : sequence of Site
        Latent sites.
    look : callable
        ``look(z) -> (total, gradients, masks)`` for unconstrained values ``z`` by latent site: log density, its
        derivatives by site, and the boolean mask of each masked site, of the value's shape.
    partial : callable
        Whether a site can be declared for some of its elements only, by name.
    """
    rng = np.random.default_rng(0)
    seen = [
        look({s.name: MASK_SCALE * rng.normal(size=s.unconstrained_shape) for s in sites})
        for _ in range(MASK_POINTS)
    ]
    first, second = (masks for _, _, masks in seen)
    fixed = {k: v for k, v in first.items() if np.array_equal(v, second[k]) and not v.all()}
    shapes = {s.name: s.unconstrained_shape for s in sites}
    kept = {}
    for name, mask in fixed.items():
        if name not in shapes or shapes[name] != mask.shape or not mask.any():
            continue
        still = np.all([gradients[name] == 0 for _, gradients, _ in seen], axis=0)
        if still[~mask].all() and partial(name):
            kept[name] = mask
    sound = all(
        np.isfinite(total) and all(np.isfinite(g).all() for g in gs.values()) for total, gs, _ in seen
    )
    return Masks({k: ~v for k, v in fixed.items() if k not in shapes}, kept, sound)


def hide(observed: np.ndarray, hidden: np.ndarray | None) -> np.ndarray:
    """Outcomes, NaN where they are none.

    Parameters
    ----------
    observed : numpy.ndarray, shape (*batch, *event)
        Outcomes.
    hidden : numpy.ndarray of bool, shape batch, or None
        Which of them are none.

    Examples
    --------
    >>> hide(np.array([1.0, 2.0]), np.array([False, True]))
    array([ 1., nan])
    """
    if hidden is None:
        return observed
    shape = hidden.shape + (1,) * (observed.ndim - hidden.ndim)
    return np.where(hidden.reshape(shape), np.nan, observed)

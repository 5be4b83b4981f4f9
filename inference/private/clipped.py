"""The sum of clipped gradients, with noise: the one thing that is ever taken from private rows.

References
----------
Abadi et al. (2016), Deep learning with differential privacy, CCS. Andrew, Thakkar, McMahan & Ramaswamy (2021), Differentially
private learning with adaptive clipping, NeurIPS: the count of what is clipped costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ppl import math as m
from ..thresholds import CLIPPED_SHORT, COUNT_SHARE

LEFT = float(np.sqrt(1 - COUNT_SHARE**2))
"""Share of the norm that is left for gradients beside the count."""


COUNTED = "clipped"
"""Name of the number of units whose gradients were clipped, which is released with them."""


def clipped_sum(gradients: Mapping[str, Any], present: Any, clip: Any) -> dict[str, Any]:
    """Sum over units of their gradients, each clipped to a norm; those that are not finite, and of units not there, count as zero.

    Parameters
    ----------
    gradients : mapping
        Arrays with units on their first axis.
    present : array
        Ones and zeros, by unit.
    clip : float
        Largest norm of what a unit gives, over all arrays together.

    Returns
    -------
    dict
        Of arrays without that axis; and the number of those that were clipped, times a share of `clip`. Another unit more moves them by
        `clip` at the most, all together: gradients are clipped to a little less, by that share and by what rounding may add.
    """
    flat = {name: m.reshape(g, (np.shape(g)[0], -1)) for name, g in gradients.items()}
    norm = m.sqrt(sum(m.sum(g * g, axis=1) for g in flat.values()))
    finite, most = m.isfinite(norm), clip * LEFT * (1.0 - CLIPPED_SHORT)
    near = m.where(finite & (norm > 0), norm, 1.0)
    share = present * m.where(finite, m.minimum(1.0, most / near), 0.0)
    out = {}
    for name, g in gradients.items():
        own = m.reshape(share, (-1, *[1] * (np.ndim(g) - 1)))
        out[name] = m.sum(own * m.where(m.isfinite(g), g, 0.0), axis=0)
    out[COUNTED] = m.sum(present * m.where(finite & (norm <= most), 0.0, COUNT_SHARE * clip))
    return out


def released(
    gradients: Mapping[str, Any], given: Mapping[str, Any], constants: Mapping[str, Any]
) -> dict[str, Any]:
    """An estimate of the sum of the gradients of all units, of which a batch is ``present``, and of how many are clipped.

    ``constants`` have the ``clip``, the sd of the ``noise`` and the sampling ``rate``; ``given`` standard normal ``noise`` by array.
    """
    summed = clipped_sum(gradients, given["present"], constants["clip"])
    found = {
        name: (value + constants["noise"] * given["noise"][name]) / constants["rate"]
        for name, value in summed.items()
    }
    return {**found, COUNTED: found[COUNTED] / (COUNT_SHARE * constants["clip"])}

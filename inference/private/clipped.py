"""The sum of clipped gradients, with noise: the one thing that is ever taken from private rows.

References
----------
Abadi et al. (2016), Deep learning with differential privacy, CCS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ppl import math as m
from ..thresholds import CLIPPED_SHORT


def clipped_sum(gradients: Mapping[str, Any], present: Any, clip: Any) -> dict[str, Any]:
    """Sum over units of their gradients, each clipped to a norm; those that are not finite, and of units not there, count as zero.

    Parameters
    ----------
    gradients : mapping
        Arrays with units on their first axis.
    present : array
        Ones and zeros, by unit.
    clip : float
        Largest norm of a unit's gradient, over all arrays together.

    Returns
    -------
    dict
        Of arrays without that axis. Another unit more moves them by `clip` at the most, all together: what is clipped is clipped to a
        little less, by what rounding may add.
    """
    flat = {name: m.reshape(g, (np.shape(g)[0], -1)) for name, g in gradients.items()}
    norm = m.sqrt(sum(m.sum(g * g, axis=1) for g in flat.values()))
    sound = (present > 0) & m.isfinite(norm)
    near = m.where(sound & (norm > 0), norm, 1.0)
    share = m.where(sound, m.minimum(1.0, clip * (1.0 - CLIPPED_SHORT) / near), 0.0)
    out = {}
    for name, g in gradients.items():
        own = m.reshape(share, (-1, *[1] * (np.ndim(g) - 1)))
        out[name] = m.sum(own * m.where(m.isfinite(g), g, 0.0), axis=0)
    return out


def released(
    gradients: Mapping[str, Any], given: Mapping[str, Any], constants: Mapping[str, Any]
) -> dict[str, Any]:
    """An estimate of the sum of the gradients of all units, of which a batch is ``present``.

    ``constants`` have the ``clip``, the sd of the ``noise`` and the sampling ``rate``; ``given`` standard normal ``noise`` by array.
    """
    summed = clipped_sum(gradients, given["present"], constants["clip"])
    return {
        name: (value + constants["noise"] * given["noise"][name]) / constants["rate"]
        for name, value in summed.items()
    }

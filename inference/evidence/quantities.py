"""Values of the scalar quantities of a model."""

from __future__ import annotations

import numpy as np

from .coordinates import named


def quantity_values(target, z) -> tuple[np.ndarray, list]:
    """Values of every scalar quantity at unconstrained draws.

    Returns
    -------
    tuple
        Array ``(S, Q)`` and a list of ``(site name, shape)`` in column order.
    """
    each = target.constrain_batch
    some = target.constrain(z[:each])
    columns = [
        (site.name, some[site.name].shape[1:])
        for site in target.trace.by_role("latent", "deterministic")
        if some[site.name].dtype.kind in "fiub"
    ]
    values = np.empty((len(z), sum(int(np.prod(shape, dtype=int)) for _, shape in columns)))
    for start in range(0, len(z), each):  # of very many quantities there is no second copy
        some = some if start == 0 else target.constrain(z[start : start + each])
        place = 0
        for name, shape in columns:
            size = int(np.prod(shape, dtype=int))
            values[start : start + each, place : place + size] = some[name].reshape(len(some[name]), -1)
            place += size
    return values, columns


def free_of(target, layout) -> np.ndarray:
    """Which quantities no others of their site tell, shape ``(Q,)``.

    The diagonal of a correlation's Cholesky factor is what its rows leave.
    """
    factors = {site.name for site in target.sites if named(site, ("corr_cholesky",))}
    told = [
        np.broadcast_to(np.eye(shape[-1]) > 0, shape).ravel()
        if name in factors
        else np.zeros(int(np.prod(shape)), bool)
        for name, shape in layout
    ]
    return ~np.concatenate(told)

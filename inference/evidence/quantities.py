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
    constrained = target.constrain(z)
    layout, columns = [], []
    for site in target.trace.by_role("latent", "deterministic"):
        value = constrained[site.name]
        if value.dtype.kind not in "fiub":
            continue
        layout.append((site.name, value.shape[1:]))
        columns.append(value.reshape(len(z), -1).astype(np.float64))
    return np.concatenate(columns, 1) if columns else np.zeros((len(z), 0)), layout


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

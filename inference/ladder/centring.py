"""Which coordinates of a hierarchical model make its posterior near Gaussian, read off a fit.

Given the scale τ of a location–scale site, an element's posterior precision is ``1/τ² + w`` with w what the data
add. In coordinates with share λ its spread then moves with τ as ``τ^(λ-1) (1 + w τ²)^(-1/2)``, which is flat at
``λ = w / (1/τ² + w)``; the mean of ``1/τ²`` under the fit stands for it where τ is uncertain.
"""

from __future__ import annotations

import numpy as np


def carry(source, target, z: np.ndarray) -> np.ndarray:
    """Coordinates in `target` of points given in those of `source`, the same density, shape ``(B, dim)``."""
    if not source.centring or not len(z):
        return z
    values = source.constrain(z)
    moved = target.unconstrain({site.name: values[site.name] for site in target.sites})
    out = np.array(z, float)
    for name in source.centring:  # the others have not changed
        out[:, target.offsets[name]] = moved[:, target.offsets[name]]
    return out


def shares(target, z: np.ndarray, precision: np.ndarray) -> tuple[dict, np.ndarray]:
    """The share λ that suits each element of the sites with a centring.

    Parameters
    ----------
    target : Target
        In the coordinates of the fit.
    z : numpy.ndarray, shape (B, dim)
        Draws of a fit.
    precision : numpy.ndarray, shape (dim,)
        Its precision along each coordinate, the others given.

    Returns
    -------
    tuple
        Site name to shares, and the logarithm by which each coordinate's unit shrinks, shape ``(dim,)``.
    """
    names, count = list(target.centring), len(z)
    values = target.constrain(z)
    rows = {site.name: np.concatenate([values[site.name]] * (len(names) + 1)) for site in target.sites}
    size = {name: np.abs(values[name]).max() for name in names}
    size = {name: most if np.isfinite(most) and most > 0 else 1.0 for name, most in size.items()}
    for i, name in enumerate(names, start=1):
        rows[name][i * count : (i + 1) * count] += size[name]
    u = target.centred(dict.fromkeys(names, 0.0)).unconstrain(rows).reshape(len(names) + 1, count, -1)
    found, units = {}, np.zeros(target.dim)
    for i, name in enumerate(names, start=1):
        where, before = target.offsets[name], target.centring[name].ravel()
        with np.errstate(all="ignore"):
            log_scales = np.log(size[name]) - np.log(u[i][:, where] - u[0][:, where])
            log_scale, spread = log_scales.mean(0), log_scales.var(0)
            added = np.maximum(precision[where] * np.exp(2.0 * before * log_scale) - 1.0, 0.0)
            share = added / (added + np.exp(2.0 * spread))
            good = np.isfinite(share) & np.isfinite(log_scale)
            share = np.where(good, share, before)
            units[where] = np.where(good, (share - before) * log_scale, 0.0)
        found[name] = share.reshape(target.centring[name].shape)
    return found, units

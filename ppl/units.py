"""Units of unconstrained coordinates, as the laws of their sites declare them: where a search for the posterior begins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .thresholds import FAR

PARTS = (
    "loc",
    "scale",
    "rate",
    "scale_tril",
    "covariance_matrix",
)  # parameters that say how large a value is
_LINE = frozenset({"real", "real_vector"})
_HALF = frozenset({"positive", "nonnegative", "greater_than", "less_than"})


def declared(site, known: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Location and scale of a site's coordinates; None where its law names neither.

    Parameters
    ----------
    site : Site
        A latent site.
    known : mapping
        Parameters that depend on no other latent site.

    Returns
    -------
    tuple of numpy.ndarray
        Each of the shape of the coordinates. On the half line the coordinate is a logarithm: its location is that of
        the law's scale, and its scale one.
    """
    constraint = site.constraint
    while hasattr(constraint, "base"):
        constraint = constraint.base
    support = getattr(constraint, "name", "")
    loc: np.ndarray | float = known.get("loc", 0.0)
    scale: np.ndarray | float | None = known.get("scale")
    if support in _HALF and site.distribution != "LogNormal":
        size = known.get("rate", scale)
        if size is None:
            return None
        inverse = "rate" in known and site.distribution != "InverseGamma"
        loc, scale = np.log(np.clip(1 / size if inverse else size, 1e-300, 1e300)), 1.0
    elif support not in _LINE | _HALF:
        return None
    elif scale is None and "scale_tril" in known:
        scale = np.sqrt((known["scale_tril"] ** 2).sum(-1))
    elif scale is None and "covariance_matrix" in known:
        scale = np.sqrt(np.diagonal(known["covariance_matrix"], axis1=-2, axis2=-1))
    try:
        out = [np.broadcast_to(v, site.unconstrained_shape) for v in (loc, 1.0 if scale is None else scale)]
    except ValueError:
        return None
    good = np.isfinite(out[0]).all() and np.isfinite(out[1]).all() and (out[1] > 0).all()
    return (out[0], out[1]) if good else None


def units(sites, known: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of every coordinate, 0 and 1 where those are near enough or nothing better is known.

    Parameters
    ----------
    sites : iterable of Site
        Latent sites, in order.
    known : mapping
        Of each the parameters that depend on no other latent site.

    Returns
    -------
    tuple of numpy.ndarray, shape (dim,)
    """
    locs, scales = [np.zeros(0)], [np.zeros(0)]
    for site in sites:
        found = declared(site, known.get(site.name, {}))
        loc, scale = (np.zeros(site.size), np.ones(site.size)) if found is None else map(np.ravel, found)
        far = (np.abs(np.log(scale)) > np.log(FAR)) | (np.abs(loc) > np.log(FAR) * np.maximum(scale, 1.0))
        locs.append(np.where(far, loc, 0.0))
        scales.append(np.where(far, scale, 1.0))
    return np.concatenate(locs), np.concatenate(scales)

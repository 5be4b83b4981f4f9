"""What is said of missing entries of an outcome by draws of it: moments and quantiles, or probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .distances import NOMINAL

EDGES = (("_q5", 0.05), ("_q95", 0.95))


def imputed(site: Any, known: np.ndarray, drawn: np.ndarray) -> dict[str, tuple]:
    """Variables of an outcome, rows first: the data, and what stands where they are missing.

    Parameters
    ----------
    site : Site
        The outcome.
    known : numpy.ndarray, shape (rows, …)
        The data, NaN where they are missing.
    drawn : numpy.ndarray, shape (S, rows, …)
        Draws of all of it.

    Returns
    -------
    dict
        Name to dims and values.
    """
    name, gaps = site.name, np.isnan(known)
    dims = ("row", *(f"{name}_dim_{i}" for i in range(1, known.ndim)))
    drawn = np.asarray(drawn[:, gaps], np.float64)  # (S, gaps)
    if site.measure == NOMINAL:
        top = getattr(site.constraint, "upper", None)
        count = 1 + int(top if top is not None else max(np.nanmax(known, initial=0), drawn.max(initial=0)))
        codes = np.arange(count)
        share = 1.0 * (known[..., None] == codes)
        share[gaps] = np.stack([(drawn == code).mean(0) for code in codes], -1)
        return {
            name: (dims, np.where(gaps, share.argmax(-1), known)),
            f"{name}_probs": ((*dims, f"{name}_value"), share),
        }

    def filled(where: np.ndarray, found: np.ndarray) -> tuple:
        out = where.copy()
        out[gaps] = found
        return dims, out

    ends = np.quantile(drawn, [q for _, q in EDGES], axis=0)
    return {
        name: filled(known, drawn.mean(0)),
        **{f"{name}{end}": filled(known, found) for (end, _), found in zip(EDGES, ends, strict=True)},
        f"{name}_sd": filled(np.zeros_like(known), drawn.std(0)),
    }

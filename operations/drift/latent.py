"""Series of rows with an encoder: latent units, their norm, all of them together, and how well rows are made again.

A unit's value is a draw of the row's law, not its mean: over rows of the training's kind draws are of the prior's law, whatever the unit
tells, and a unit that tells nothing does not move.

References
----------
Hoffman & Johnson (2016), ELBO surgery, on the aggregated posterior.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.stats import chi

from ..thresholds import ENCODED_DRAWS, NORM_TAIL
from .series import CONCEPT, ERROR, JOINT, LATENT, NORM, RECONSTRUCTION, UNIT, UNLIKELY, Series


def latent_series(latent: Any, data: Mapping[str, np.ndarray], seed: int = 0) -> Iterator[Series]:
    """Series of rows.

    Parameters
    ----------
    latent : Latent
        Of a posterior with an encoder.
    data : mapping
        Arguments of the rows.
    seed : int
        Of the draws.
    """
    data, count = latent.data_of(data, "drift")
    own = latent.seeing(data, judged=False)
    mean, sd = own.moments(data, count)
    z = mean + sd * np.random.default_rng([seed, 91]).normal(size=mean.shape)
    units = latent.units
    for j, name in enumerate(units):
        yield Series(LATENT, name, UNIT, z[:, j])
    yield Series(LATENT, "norm", NORM, np.sqrt((z**2).sum(1)), limit=float(chi.isf(NORM_TAIL, len(units))))
    if len(units) > 1:
        yield Series(LATENT, "all units", JOINT, z)
    yield Series(RECONSTRUCTION, "error", ERROR, errors(own, mean, data, count))
    density = [some.evidence[0] for some in own.weighed(data, count, ENCODED_DRAWS)]
    yield Series(CONCEPT, "log p(x)", UNLIKELY, -np.concatenate(density))


def errors(latent: Any, mean: np.ndarray, data: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Mean squared difference of the outcomes of rows from what the decoder makes of their means, shape ``(N,)``."""
    made, parts = latent.means(mean[:, None], data, known=True), []
    for name, site in latent.outcomes.items():
        if name not in made or site.argument not in data:
            continue
        axis = latent.setup.rows.along[site.argument]
        value = np.moveaxis(np.asarray(data[site.argument], np.float64), axis, 0)
        apart = (value - made[name].to_numpy()).reshape(count, -1) ** 2
        known = ~np.isnan(apart)
        parts.append(np.where(known, apart, 0.0).sum(1) / np.maximum(known.sum(1), 1))
    return np.mean(parts, axis=0) if parts else np.full(count, np.nan)

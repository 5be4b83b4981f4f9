"""Whether the law of a row has places where none of its draws are.

An encoder that sees one of two places of a row has good weights about that one. So laws of some rows begin elsewhere, go up their own
bounds, and say what mass there is about where they end; the weighted draws of a row are asked for the mass of the same region.

References
----------
Gelman & Rubin (1992), Inference from iterative simulation using multiple sequences, Statistical Science 7, for starts that are
dispersed. Kim et al. (2018), Semi-amortized variational autoencoders, ICML, for the ascent of a row's law.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import chdtri

from ...guides.laws import Law, log_prob, placed, standardised
from ..thresholds import ELSEWHERE_DRAWS, ELSEWHERE_INSIDE, ELSEWHERE_NOISE, ELSEWHERE_STEPS, ELSEWHERE_WIDE
from .compiled import Compiled
from .evidence import Weighed, ascended, encoded, log_joint


def unseen(
    compiled: Compiled, params: Mapping[str, Any], known: Weighed, far: np.ndarray, seed: int, data=None
) -> np.ndarray:
    """Shares of the mass of rows that were found where their draws say there is less, at least, shape ``(R,)``; zero where none was.

    Parameters
    ----------
    compiled, params
        Functions of the rows, and the learned arrays where the target computes.
    known : Weighed
        Rows, and their weighted draws.
    far : numpy.ndarray, shape (u,)
        See `far_of`.
    seed : int
        Of where laws begin, and of draws.
    data : mapping, optional
        See `weighed`.
    """
    rows, rng = known.rows, np.random.default_rng([seed, 83])
    law = encoded(compiled, params, rows, data)
    beginnings = (
        -law.mean,
        np.roll(law.mean, 1, axis=0),
        far * rng.standard_normal(law.mean.shape),
        far * rng.standard_normal(law.mean.shape),
    )
    found, wide = np.zeros(len(rows)), np.maximum(law.log_sd, np.log(ELSEWHERE_WIDE * far))
    for number, mean in enumerate(beginnings):
        begin = law._replace(mean=mean, log_sd=wide)  # steps are in sds of where it begins
        reached = ascended(compiled, params, rows, seed + number, ELSEWHERE_STEPS, data, begin)
        found = np.maximum(found, _more(compiled, params, known, reached, rng, data))
    return found


def _more(
    compiled: Compiled, params: Mapping[str, Any], known: Weighed, law: Law, rng: np.random.Generator, data
) -> np.ndarray:
    """By how much the mass about where laws of rows lie is greater than their weighted draws say, as a share of all mass."""
    reach = chdtri(law.mean.shape[1], 1 - ELSEWHERE_INSIDE)

    def inside(z: np.ndarray) -> np.ndarray:
        return (np.asarray(standardised(law, z)[0]) ** 2).sum(-1) < reach

    z = placed(law, rng.standard_normal((ELSEWHERE_DRAWS, *law.mean.shape)))
    joint = log_joint(compiled, {**compiled.constants, "params": params}, known.rows, z, data)
    evidence, error = known.evidence
    relative = joint - np.asarray(log_prob(law, z)) - evidence
    with np.errstate(over="ignore", invalid="ignore"):
        mass = np.where(inside(z) & np.isfinite(relative), np.exp(np.minimum(relative, 300.0)), 0.0)
        here = (known.weights * inside(np.moveaxis(known.z, 1, 0)).T).sum(1)
        noise = np.hypot(mass.std(0) / np.sqrt(ELSEWHERE_DRAWS), mass.mean(0) * error)
        least = mass.mean(0) - ELSEWHERE_NOISE * noise - here
    more = np.maximum(least, 0.0)
    return more / (1.0 + more)

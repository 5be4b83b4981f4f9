"""What fitting takes away from a misfit: replicated data as they would look to a model fitted to them.

The observed data have shaped the posterior, replicated ones have not, so that statistics of the observed lie closer to
their expectation than those of replicates. To refit is too dear; one Newton step from the posterior is not.

References
----------
Bayarri & Berger (2000), p values for composite null models, JASA 95. Robins, van der Vaart & Ventura (2000), Asymptotic
distribution of p values in composite null models, JASA 95. Beaumont, Zhang & Balding (2002), Approximate Bayesian
computation in population genetics, Genetics 162 (the linear adjustment).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...inference.posterior.posterior import record_of
from ...ppl.simulate import in_blocks
from ..thresholds import (
    DRAWS_PER_COORDINATE,
    DRAWS_PER_DIRECTION,
    LEAST_KEPT,
    RIDGE,
    SCORE_BLOCK,
    SHARE_NOISE,
)


@dataclass(frozen=True)
class Steps:
    """How far the shared quantities would have moved, had the model been fitted to each replicate.

    Attributes
    ----------
    along : numpy.ndarray, shape (S, D)
        Moves along orthogonal directions, in posterior standard deviations.
    learned : numpy.ndarray, shape (D,)
        How much of each direction comes from the data: 1 under a flat prior, 0 where the prior decides.

    Notes
    -----
    With score U, posterior covariance Σ and information I of the data, the move is ΣU, with variance m² + m for m = ΣI.
    A statistic with the derivative D moves with it; its regression on the moves is D / m. Only differences between
    replicates count: where the prior has pulled the posterior away from the data, that stays visible.
    """

    along: np.ndarray
    learned: np.ndarray

    def taken(self, rows) -> Steps:
        """Those of some replicates, chosen by an index or a slice."""
        return Steps(self.along[rows], self.learned)

    def refitted(self, values: np.ndarray) -> np.ndarray:
        """Statistics, each as it would be after a fit to its replicate.

        A single one that a fit settles altogether is left as it is: what would be left is beyond a linear step.

        Parameters
        ----------
        values : numpy.ndarray, shape (S,) or (S, K)
            One statistic, or several, of each replicate.

        Returns
        -------
        numpy.ndarray, of the same shape

        References
        ----------
        Beaumont, Zhang & Balding (2002), Genetics 162 (the linear adjustment).
        """
        flat = values.reshape(len(values), -1)
        along = self.along - self.along.mean(0)
        slopes = along.T @ (flat - flat.mean(0)) / np.maximum((along**2).sum(0), 1e-300)[:, None]
        moved = flat - along @ (self.learned[:, None] * slopes)
        if values.ndim == 1 and moved.var() < LEAST_KEPT * flat.var():
            return values
        return moved.reshape(values.shape)


def left(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Which statistics of replicates ``(S,)`` or ``(S, K)`` a fit does not settle altogether, shape ``()`` or ``(K,)``.

    What would be left of the others is beyond a linear step.

    Parameters
    ----------
    before, after : numpy.ndarray, shape (S,) or (S, K)
        The statistics as they were drawn, and as after a fit to each replicate.

    Returns
    -------
    numpy.ndarray of bool
    """
    return after.var(0) >= LEAST_KEPT * before.var(0)


def excursions(outcome, many: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and scale of replicated curves of shares, as after a fit, and how far each leaves them at most.

    Parameters
    ----------
    outcome : Outcome
        Whose replicates these are curves of.
    many : numpy.ndarray, shape (S, T)
        A curve of each replicate.

    Returns
    -------
    tuple of numpy.ndarray
        Centre ``(T,)``, scale ``(T,)`` and largest excursion of each curve in units of the scale ``(S,)``.
    """
    refitted = outcome.refitted(many)
    centre = refitted.mean(0)
    scale = np.sqrt(np.maximum(refitted.var(0), LEAST_KEPT * many.var(0)))
    scale = scale + SHARE_NOISE / len(outcome.observed)
    return centre, scale, np.abs((refitted - centre) / scale).max(1)


def steps(posterior, replicated: dict[str, np.ndarray]) -> Steps | None:
    """The moves of one Newton step for each replicate.

    Parameters
    ----------
    posterior : Posterior
        Of at least `DRAWS_PER_COORDINATE` draws per coordinate.
    replicated : dict of numpy.ndarray
        Observed site to replicates ``(S, *shape)``: all of them, since all have been fitted.

    Returns
    -------
    Steps or None
        None where the likelihood cannot be evaluated on other outcomes, or there are too few draws.
    """
    record = record_of(posterior)
    target, observed = record.target, record.observed
    if target is None or not all(_replaceable(posterior, site) for site in observed.values()):
        return None
    shared = _shared(posterior, target)
    count = len(next(iter(replicated.values())))
    z = np.asarray(record.z, float)
    if not 0 < len(shared) <= count / DRAWS_PER_DIRECTION or z.shape[1] > len(z) / DRAWS_PER_COORDINATE:
        return None
    values = {
        site.argument: _like(posterior, target, name, replicated[name]) for name, site in observed.items()
    }
    middle, data = z.mean(0).astype(target.dtype), target.data
    size = sum(v[0].size for v in values.values()) + target.dim

    def score(block):
        return target.density.score(block, middle, data, target.weights)

    scores = in_blocks(score, values, count, max(1, SCORE_BLOCK // size))["score"].astype(float)
    return _newton(scores, z, shared) if np.isfinite(scores).all() else None


def _newton(scores: np.ndarray, z: np.ndarray, shared: np.ndarray) -> Steps:
    """The moves ΣU of the `shared` coordinates, from scores U ``(S, dim)`` and the draws ``z`` whose covariance is Σ."""
    centred = (z - z.mean(0)) / np.sqrt(len(z))
    moves = (scores @ centred.T) @ centred[:, shared]
    root = np.linalg.cholesky(centred[:, shared].T @ centred[:, shared] + RIDGE * np.eye(len(shared)))
    moves = np.linalg.solve(root, moves.T).T
    variance, directions = np.linalg.eigh(np.atleast_2d(np.cov(moves.T)))
    return Steps(moves @ directions, np.clip((np.sqrt(1 + 4 * np.maximum(variance, 0)) - 1) / 2, 0, 1))


def _replaceable(posterior, site) -> bool:
    """Whether the values of a site are an argument of the density, with none imputed."""
    record = record_of(posterior)
    if site.argument is None or site.argument not in record.target.data:
        return False
    return record.target.trace.missing.get(site.name, "masked") == "masked"


def _like(posterior, target, name, values):
    """Replicates in place of the outcomes, with their gaps."""
    record = record_of(posterior)
    observed = np.asarray(record.observed_data[name])
    leaf = np.asarray(posterior.program.leaves[record.observed[name].argument].value)
    values = values.reshape(len(values), *observed.shape)
    if leaf.dtype.kind != "f":
        return values.astype(leaf.dtype)
    return np.where(np.isnan(leaf), np.nan, values).astype(target.dtype)


def _shared(posterior, target) -> np.ndarray:
    """Unconstrained coordinates of what all rows share; all of them where they are few."""
    local = set(record_of(posterior).settings.get("local", ()))
    return np.concatenate(
        [np.arange(target.dim)[where] for name, where in target.offsets.items() if name not in local]
        or [np.arange(0)]
    ).astype(int)

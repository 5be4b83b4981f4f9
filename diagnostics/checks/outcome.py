"""One observed site with its replicates, and how both are measured alike: in standard deviations, and by rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..thresholds import CLOSE, LEAST_LEFT, NEGLIGIBLE_LEVERAGE, SATURATED, SLIGHT_LEVERAGE, TIE_NOISE
from .refits import Steps
from .survival import Censoring


@dataclass(frozen=True)
class Outcome:
    """One observed site, its ``N`` rows and ``S`` replicates.

    Attributes
    ----------
    name : str
    kind : {"continuous", "count", "binary", "categorical"}
    observed : numpy.ndarray, shape (N,)
    replicated : numpy.ndarray, shape (S, N)
    columns : dict of numpy.ndarray, shape (N,)
        Numeric data arguments with one value per row, matrices by column.
    groups : dict of numpy.ndarray of int, shape (N,)
        Codes of data arguments that put rows into groups.
    ordered : bool
        Whether the categories have an order.
    whole : bool
        Whether these are all rows.
    leverage : float
        How much of an outcome its own expectation has taken in: 0 or more, a ratio of variances.
    steps : Steps, optional
        What a fit to each replicate would have changed.
    censored : Censoring, optional
        Which rows are known from below only.
    column : numpy.ndarray of int, shape (N,), optional
        Where rows have several elements, which of them each is: rows follow each other within a column alone.
    """

    name: str
    kind: str
    observed: np.ndarray
    replicated: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    ordered: bool = False
    whole: bool = True
    leverage: float = 0.0
    steps: Steps | None = None
    censored: Censoring | None = None
    column: np.ndarray | None = None

    @property
    def saturated(self) -> bool:
        """Whether the model follows the rows so closely that they cannot lie far from their predictions."""
        return self.leverage > SATURATED

    @property
    def exact(self) -> bool:
        """Whether leverage is too small to matter beside the noise of this many rows."""
        return self.leverage * np.sqrt(len(self.observed)) < NEGLIGIBLE_LEVERAGE

    def pull(self, expected: np.ndarray) -> float:
        """How far residuals lean towards predictions that they have pulled themselves.

        Parameters
        ----------
        expected : numpy.ndarray, shape (N,)
            The predictions.

        Returns
        -------
        float
            In standard errors of a trend.

        Notes
        -----
        With H the smoother of a right model, the sum of residuals times predictions has the mean σ² tr H.
        """
        noise = np.sqrt(self.replicated.var(0).mean() / max(expected.var(), 1e-300))
        return float(self.leverage * np.sqrt(len(expected)) * noise)

    @property
    def near(self) -> np.ndarray | None:
        """Observations ``(N,)`` as far from their expectations as replicates are; None where no rescaling makes them so."""
        if self.exact:
            return self.observed
        if self.kind != "continuous":
            slight = self.leverage * np.sqrt(len(self.observed)) < SLIGHT_LEVERAGE
            return self.observed if slight else None
        if self.saturated:
            return None
        centre = self.replicated.mean(0)
        return kept_apart(centre + (self.observed - centre) / self.pulled, self.observed, self.replicated)

    def refitted(self, values: np.ndarray, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Statistics of replicates as they would be had the model been fitted to each.

        Parameters
        ----------
        values : numpy.ndarray, shape (S, …)
            One statistic, or several, of each replicate.
        rows : index, optional
            Which replicates these are of; by default all.

        Returns
        -------
        numpy.ndarray, shape (S, …)
        """
        return values if self.steps is None else self.steps.taken(rows).refitted(values)

    @cached_property
    def standardised(self) -> tuple[np.ndarray, np.ndarray]:
        """Observed ``(N,)`` and replicated ``(S, N)`` outcomes in predictive standard deviations, see `standardised`."""
        return standardised(self)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Probability integral transforms, observed ``(N,)`` and replicated ``(S, N)``, see `places`."""
        return places(self)

    @property
    def pulled(self) -> float:
        """How much closer observations lie to their expectations than replicates do, at most 1.

        With H the smoother of a Gaussian model residuals have the covariance σ² (I − H) and predictions σ² (I + H).
        """
        return float(np.sqrt(max(1 - self.leverage, LEAST_LEFT) / (1 + self.leverage)))


def kept_apart(moved: np.ndarray, observed: np.ndarray, replicated: np.ndarray) -> np.ndarray:
    """Moved observations, on the side where they were of ends that draws of their row share: a limit, a hurdle's zero.

    Those at such an end stay there: among the draws that do they lie anywhere.

    Parameters
    ----------
    moved, observed : numpy.ndarray, shape (N,)
        Where observations have been moved to, and where they were.
    replicated : numpy.ndarray, shape (S, N)
        Draws of each row.

    Returns
    -------
    numpy.ndarray, shape (N,)
    """
    for end, sign in ((replicated.min(0), 1), (replicated.max(0), -1)):
        shared = (replicated == end).sum(0) > 1
        inside = end + sign * CLOSE * replicated.std()
        moved = np.where(shared, sign * np.maximum(sign * moved, sign * inside), moved)
        moved = np.where(shared & np.isclose(observed, end, rtol=CLOSE, atol=0), end, moved)
    return moved


def kind_of(site, observed: np.ndarray, replicated: np.ndarray) -> str:
    """Type of an outcome from its distribution and values: ``"continuous"``, ``"count"``, ``"binary"`` or ``"categorical"``.

    Counts that happen to be 0 and 1 stay counts: what the model predicts decides too.
    """
    if not site.is_discrete:
        return "continuous"
    if site.measure in ("nominal", "ordinal"):
        return "categorical"
    if site.measure == "binary" or all(np.isin(v, (0, 1)).all() for v in (observed, replicated)):
        return "binary"
    return "count"


def pit(outcome: Outcome, rng: np.random.Generator) -> np.ndarray:
    """Probability integral transform of each row, randomised over ties; exactly uniform where the model fits.

    The observation counts as one more draw: without it the values lump at the ends, which many rows reveal.

    Parameters
    ----------
    outcome : Outcome
        Whose rows are looked up among their draws.
    rng : numpy.random.Generator
        Breaks ties.

    Returns
    -------
    numpy.ndarray, shape (N,)
        In (0, 1).
    """
    below = (outcome.replicated < outcome.observed).sum(0)
    equal = (outcome.replicated == outcome.observed).sum(0)
    return (below + rng.uniform(size=below.shape) * (equal + 1)) / (len(outcome.replicated) + 1)


def places(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Probability integral transforms, observed ``(N,)`` and of each replicate among the others ``(S, N)``.

    The observation counts as one more draw, so that both are measured alike.
    """
    rng = np.random.default_rng(len(outcome.observed))
    near = outcome.observed if outcome.near is None else outcome.near
    together = np.concatenate([outcome.replicated, near[None]]).T
    noise = rng.uniform(size=together.shape)
    ties = together + noise * (TIE_NOISE * together.std() if outcome.kind == "continuous" else 0.5)
    values = np.empty(together.shape)
    np.put_along_axis(values, ties.argsort(axis=1), np.arange(together.shape[1]) + noise, axis=1)
    values /= together.shape[1]
    return values[:, -1], values[:, :-1].T


def standardised(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Observed ``(N,)`` and replicated ``(S, N)`` outcomes in predictive standard deviations from their mean.

    A replicate is measured against the others, as the observation is: measured against a mean and a
    variance that contain it, replicates lie closer than new data do, which many rows reveal.
    """
    count = len(outcome.replicated)
    centre, variance = outcome.replicated.mean(0), outcome.replicated.var(0)
    residual = outcome.replicated - centre
    others = (count * variance - residual**2 * count / (count - 1)) / (count - 1)
    # discrete or censored outcomes: a row whose draws are all equal would have no scale
    lumped = outcome.kind != "continuous" or outcome.censored is not None
    pooled = variance.mean() if lumped else 0.0

    def scale(variance, count):
        return np.sqrt(np.maximum((count * variance + pooled) / (count + 1), 1e-24))

    return (
        (outcome.observed - centre) / scale(variance, count) / outcome.pulled,
        residual * (count / (count - 1)) / scale(others, count - 1),
    )

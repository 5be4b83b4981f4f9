"""Replicated and observed outcomes of each observed site, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...ppl.errors import InferenceError

LEAST_ROWS = 5
LEAST_DRAWS, MOST_VALUES = 400, 2**25  # beyond these only memory grows: every check is valid at any number


@dataclass(frozen=True)
class Outcome:
    """One observed site.

    Attributes
    ----------
    name : str
    kind : {"continuous", "count", "binary", "categorical"}
    observed : numpy.ndarray, shape (N,)
    replicated : numpy.ndarray, shape (S, N)
    """

    name: str
    kind: str
    observed: np.ndarray
    replicated: np.ndarray


def kind_of(site, observed: np.ndarray, replicated: np.ndarray) -> str:
    """Type of an outcome from its distribution and values.

    Counts that happen to be 0 and 1 stay counts: what the model predicts decides too.
    """
    if not site.is_discrete:
        return "continuous"
    if "Categorical" in site.distribution or "Ordered" in site.distribution:
        return "categorical"
    if "Bernoulli" in site.distribution or all(np.isin(v, (0, 1)).all() for v in (observed, replicated)):
        return "binary"
    return "count"


def outcomes(posterior) -> Iterator[Outcome]:
    """Each observed site with at least five rows; multivariate outcomes count by element."""
    if "observed_data" not in posterior.draws:
        return
    data = posterior.draws["observed_data"]
    for name, site in posterior.observed.items():
        if name not in data:
            continue
        observed = np.asarray(data[name].values, float).ravel()
        there = ~np.isnan(observed)
        if there.sum() < LEAST_ROWS:
            continue
        try:
            replicated = np.asarray(posterior.draws["posterior_predictive"][name].values)
        except InferenceError:  # loaded without its program and saved without predictions
            return
        replicated = replicated.reshape(replicated.shape[0] * replicated.shape[1], -1)
        if replicated.shape[1] != observed.size:
            continue
        count = len(replicated)
        keep = min(count, max(LEAST_DRAWS, MOST_VALUES // observed.size))
        replicated = replicated[np.unique(np.linspace(0, count - 1, keep).astype(int))].astype(float)
        observed, replicated = observed[there], replicated[:, there]
        yield Outcome(name, kind_of(site, observed, replicated), observed, replicated)


def pit(outcome: Outcome, rng: np.random.Generator) -> np.ndarray:
    """Probability integral transform of each row, randomised over ties; exactly uniform where the model fits.

    The observation counts as one more draw: without it the values lump at the ends, which many rows reveal.
    """
    below = (outcome.replicated < outcome.observed).sum(0)
    equal = (outcome.replicated == outcome.observed).sum(0)
    return (below + rng.uniform(size=below.shape) * (equal + 1)) / (len(outcome.replicated) + 1)


def standardised(outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Observed ``(N,)`` and replicated ``(S, N)`` outcomes in predictive standard deviations from their mean.

    A replicate is measured against the others, as the observation is: measured against a mean and a
    variance that contain it, replicates lie closer than new data do, which many rows reveal.
    """
    count = len(outcome.replicated)
    centre, variance = outcome.replicated.mean(0), outcome.replicated.var(0)
    residual = outcome.replicated - centre
    others = (count * variance - residual**2 * count / (count - 1)) / (count - 1)
    # sparse counts: a row whose draws are all equal would have no scale
    pooled = variance.mean() if outcome.kind == "count" else 0.0

    def scale(variance, count):
        return np.sqrt(np.maximum((count * variance + pooled) / (count + 1), 1e-24))

    return (
        (outcome.observed - centre) / scale(variance, count),
        residual * (count / (count - 1)) / scale(others, count - 1),
    )


def tail_probabilities(observed: dict, replicated: dict, two_sided: bool = True) -> dict[str, float]:
    """Predictive tail probability of each statistic, adjusted for their number.

    Parameters
    ----------
    observed : dict of float
    replicated : dict of numpy.ndarray, shape (S,)
    two_sided : bool
        Otherwise only large values count.

    Returns
    -------
    dict of float
        Share of replicated data sets whose most extreme statistic is as extreme as this one. Unlike a level
        divided by the number of statistics, this never asks for more than S draws can show.

    References
    ----------
    Westfall & Young (1993), *Resampling-Based Multiple Testing*.
    """
    extreme = {}
    most = -np.inf
    for name, values in replicated.items():
        sd = max(float(np.std(values)), 1e-12)
        deviation = (np.append(values, observed[name]) - np.mean(values)) / sd
        deviation = np.abs(deviation) if two_sided else deviation
        extreme[name] = deviation[-1]
        most = np.maximum(most, deviation[:-1])
    return {k: float((np.sum(most >= v) + 1) / (np.size(most) + 1)) for k, v in extreme.items()}

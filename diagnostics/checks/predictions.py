"""Replicated and observed outcomes of each observed site, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...ppl.errors import InferenceError

LEAST_ROWS = 5


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


def kind_of(site, observed: np.ndarray) -> str:
    """Type of an outcome from its distribution and values."""
    if not site.is_discrete:
        return "continuous"
    if "Categorical" in site.distribution or "Ordered" in site.distribution:
        return "categorical"
    if "Bernoulli" in site.distribution or np.isin(observed, (0, 1)).all():
        return "binary"
    return "count"


def outcomes(posterior) -> Iterator[Outcome]:
    """Each observed site with at least five rows; multivariate outcomes count by element."""
    data = posterior.draws["observed_data"]
    for name, site in posterior.observed.items():
        if name not in data:
            continue
        observed = np.asarray(data[name].values, float).ravel()
        if observed.size < LEAST_ROWS:
            continue
        try:
            replicated = np.asarray(posterior.draws["posterior_predictive"][name].values, float)
        except InferenceError:  # loaded without its program and saved without predictions
            return
        replicated = replicated.reshape(replicated.shape[0] * replicated.shape[1], -1)
        if replicated.shape[1] != observed.size:
            continue
        yield Outcome(name, kind_of(site, observed), observed, replicated)


def pit(outcome: Outcome, rng: np.random.Generator) -> np.ndarray:
    """Probability integral transform of each row, randomised over ties; uniform where the model fits."""
    below = (outcome.replicated < outcome.observed).mean(0)
    equal = (outcome.replicated == outcome.observed).mean(0)
    count = len(outcome.replicated)
    return np.clip(below + rng.uniform(size=below.shape) * np.maximum(equal, 1 / count), 0, 1)


def two_sided(replicated: np.ndarray, observed: float) -> float:
    """Two-sided predictive tail probability of a statistic."""
    upper = (np.sum(replicated >= observed) + 1) / (len(replicated) + 1)
    lower = (np.sum(replicated <= observed) + 1) / (len(replicated) + 1)
    return float(min(1.0, 2 * min(upper, lower)))

"""Calibration of binary, categorical and ordinal outcomes: of rows given probability p, does a share p come true?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .judge import Test
from .predictions import PULLED, Outcome, binned, group_means, sorting

MOST_CATEGORIES = 12


def events(outcome: Outcome) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Binary events of an outcome, observed and replicated: itself, each category, or each step of an order."""
    if outcome.kind == "binary":
        yield "", outcome.observed, outcome.replicated
    elif outcome.kind == "categorical":
        values = np.unique(outcome.observed)[:MOST_CATEGORIES]
        for value in values[:-1] if outcome.ordered else values:
            name = f"at most {value:g}" if outcome.ordered else f"category {value:g}"
            happened = np.less_equal if outcome.ordered else np.equal
            yield name, happened(outcome.observed, value) * 1.0, happened(outcome.replicated, value) * 1.0


def tests(outcome: Outcome) -> Iterator[Test]:
    """Along the predicted probability, and along each column.

    References
    ----------
    Hosmer & Lemeshow (1980); judged here against its own posterior predictive distribution.
    """
    leaning = outcome.pull(outcome.replicated.mean(0)) > PULLED
    for event, observed, draws in events(outcome):
        by_probability, first = sorting(draws)
        replicated = draws[~first]
        expected = replicated.mean(0)
        along_these = {} if leaning else {"the predicted probability": by_probability}
        for along, by in {**along_these, **outcome.columns}.items():
            codes = binned(by)
            if codes.max() == 0:
                continue
            mean, count = group_means(codes, expected)
            scale = np.sqrt(np.maximum(mean * (1 - mean), 1e-6) / count)

            def statistic(shares, mean=mean, scale=scale):
                return np.log(np.maximum((((shares - mean) / scale) ** 2).sum(-1), 1e-300))

            yield Test(
                "calibration",
                outcome.name,
                f"{along} ({event})" if event else along,
                float(statistic(group_means(codes, observed)[0])),
                statistic(outcome.refitted(group_means(codes, replicated)[0], ~first)),
                f"Along {{along}}, the predicted probabilities of '{outcome.name}' are not the shares that come true: "
                "try another link, a curve or an interaction.",
                f"The predicted probabilities of '{outcome.name}' are the shares that come true.",
                two_sided=False,
            )

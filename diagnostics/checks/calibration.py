"""Calibration of binary, categorical and ordinal outcomes: of rows given probability p, does a share p come true?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..thresholds import LEAST_VARIANCE, MOST_CATEGORIES, PULLED
from .binning import binned, group_means, sorting
from .judge import Test
from .outcome import Outcome


def events(outcome: Outcome) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Binary events of an outcome: itself, each category, or each step of an order.

    Yields
    ------
    tuple
        Name, and whether it happened as 0 and 1: observed ``(N,)`` and replicated ``(S, N)``.
    """
    if outcome.kind == "binary":
        yield "", outcome.observed, outcome.replicated
    elif outcome.kind == "categorical":
        values = np.unique(outcome.observed)[:MOST_CATEGORIES]
        for value in values[:-1] if outcome.ordered else values:
            name = f"at most {value:g}" if outcome.ordered else f"category {value:g}"
            happened = np.less_equal if outcome.ordered else np.equal
            yield name, happened(outcome.observed, value) * 1.0, happened(outcome.replicated, value) * 1.0


def tests(outcome: Outcome) -> Iterator[Test]:
    """Shares that came true in bins along the predicted probability, and along each column.

    References
    ----------
    Hosmer & Lemeshow (1980), Goodness of fit tests for the multiple logistic regression model, Communications in
    Statistics A 9; judged here against its own posterior predictive distribution.
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
            scale = np.sqrt(np.maximum(mean * (1 - mean), LEAST_VARIANCE) / count)

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

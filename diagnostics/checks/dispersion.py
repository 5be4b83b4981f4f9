"""Dispersion: is the spread of the outcomes about their expectation what the model says, in its shape too?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .judge import Test
from .outcome import Outcome

SPREAD = "consider a likelihood with a dispersion or tail parameter (negative binomial, Student t)"


def tests(outcome: Outcome) -> Iterator[Test]:
    """Spread of continuous and count outcomes; tails and skew of the former, zeros of the latter.

    Logarithms, because a ratio's distribution is skewed and both of its tails count alike.
    """
    if outcome.kind not in {"continuous", "count"}:
        return
    observed, replicated = outcome.standardised

    def test(check, statistic, advice, data=(observed, replicated)):
        one, many = (statistic(v) for v in data)
        return Test(
            check,
            outcome.name,
            "",
            float(one),
            outcome.refitted(many),
            f"The {check} of '{outcome.name}' is not what the model predicts: {advice}.",
            f"The {check} of '{outcome.name}' is what the model predicts.",
            two_sided=not outcome.saturated,
        )

    yield test("dispersion", lambda z: _log(_mean(z, 2)), SPREAD)
    if outcome.kind == "count":
        data = outcome.observed, outcome.replicated
        words = "too many or too few zeros for this likelihood: try a zero-inflated or hurdle one"
        yield test("share of zeros", lambda y: (y == 0).mean(-1), words, data)
    else:
        yield test("tail weight", lambda z: _log(_mean(z, 4)) - 2 * _log(_mean(z, 2)), SPREAD)
        words = "try a skewed likelihood, or a transformation of the outcome"
        yield test("skew", lambda z: _mean(z, 3) / np.maximum(_mean(z, 2), 1e-200) ** 1.5, words)


def _log(value):
    return np.log(np.maximum(value, 1e-300))


def _mean(z, power):
    """Mean of a power of each row, without a pass of `pow` over all of them."""
    square = z if power == 2 else z * z
    other = square if power == 4 else z
    return np.einsum("...n,...n->...", square, other) / z.shape[-1]

"""Tests of the model: a statistic of the observed outcomes among the same of replicated ones, judged together.

References
----------
Gelman, Meng & Stern (1996), Posterior predictive assessment of model fitness via realized discrepancies, Statistica
Sinica 6. Westfall & Young (1993), Resampling-Based Multiple Testing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...inference.evidence.finding import Finding
from ..thresholds import CENTRAL, FAMILY, LEAST_TAIL, LEVEL, TAIL, TAIL_SHAPES


@dataclass(frozen=True)
class Test:
    """One statistic of the ``S`` replicates and of the observed outcome.

    Attributes
    ----------
    check : str
        Name of the finding; the tests of one check of one outcome become one finding.
    outcome : str
    along : str
        What it looks along, where a check has several; empty otherwise.
    observed : float
    replicated : numpy.ndarray, shape (S,)
    misfit, fits : str
        What it means if the observed one is extreme, with what to do, and if not.
    two_sided : bool
        Otherwise only large values count.
    """

    __test__ = False  # no test of pytest's

    check: str
    outcome: str
    along: str
    observed: float
    replicated: np.ndarray
    misfit: str
    fits: str
    two_sided: bool = True

    @property
    def deviations(self) -> np.ndarray:
        """How extreme the replicated values are and, last, the observed one, in comparable units: ``(S + 1,)``."""
        values = np.append(self.replicated, self.observed).astype(float)
        low, mid, high = np.quantile(self.replicated, [CENTRAL[0], 0.5, CENTRAL[1]])
        scale = 1e-9 * max(1.0, abs(mid))
        up = (values - mid) / max(high - mid, scale)
        down = (mid - values) / max(mid - low, scale)
        out = np.maximum(up, down) if self.two_sided else up
        return np.nan_to_num(out, nan=np.inf)


def probabilities(tests: list[Test]) -> np.ndarray:
    """Tail probability of each test, adjusted for their number.

    The share of replicated data sets whose most extreme statistic is as extreme as this one: statistics that go
    together count as one.

    Parameters
    ----------
    tests : list of Test, of length T
        All that are judged together.

    Returns
    -------
    numpy.ndarray, shape (T,)

    References
    ----------
    Westfall & Young (1993), Resampling-Based Multiple Testing (the distribution of the most extreme one).
    """
    if not tests:
        return np.zeros(0)
    size = min(len(test.replicated) for test in tests)
    extreme = [surprise(test.deviations) for test in tests]
    if len({len(one) for one in extreme}) > 1:
        extreme = [np.append(d[np.linspace(0, len(d) - 2, size).astype(int)], d[-1]) for d in extreme]
    most = np.max([one[:-1] for one in extreme], axis=0)
    own = np.array([one[-1] for one in extreme])
    return ((most >= own[:, None]).sum(1) + 1) / (size + 1)


def surprise(values: np.ndarray) -> np.ndarray:
    """Minus the log probability of a value at least as large, from all but the last; comparable between tests.

    By rank in the body; in the tail by a generalised Pareto law, which goes on where the draws end.

    Parameters
    ----------
    values : numpy.ndarray, shape (S + 1,)
        Those of the replicates and, last, the observed one.

    Returns
    -------
    numpy.ndarray, shape (S + 1,)
        In nats.

    References
    ----------
    Knijnenburg, Wessels, Reinders & Shmulevich (2009), Fewer permutations, more accurate P-values, Bioinformatics 25.
    Hosking & Wallis (1987), Technometrics 29 (the fit by probability-weighted moments).
    """
    rest = np.sort(values[:-1])
    count = len(rest)
    found = -np.log((count - np.searchsorted(rest, values, side="left") + 1) / (count + 1))
    tail = max(int(TAIL * count), LEAST_TAIL)
    if tail >= count:
        return found
    start, excess = rest[-tail - 1], rest[-tail:] - rest[-tail - 1]
    first = excess.mean()
    second = (np.arange(tail - 1, -1, -1) / (tail - 1) * excess).mean()
    if not first - 2 * second > 1e-9 * first:
        return found
    shape = float(np.clip(first / (first - 2 * second) - 2, *TAIL_SHAPES)) or 1e-9
    over = -shape * np.maximum(values - start, 0) / (first * (1 + shape))
    decline = np.log1p(np.maximum(over, 1e-12 - 1)) / -shape
    return np.where(values > start, np.log(count / tail) + decline, found)


def judged(tests: Iterable[Test]) -> list[Finding]:
    """A finding for each check of each outcome.

    Parameters
    ----------
    tests : iterable of Test
        All that are judged together.

    Returns
    -------
    list of Finding
        *misfit* where a test stands out among all (`FAMILY`), *caution* where among its own (`LEVEL`), else *ok*.
    """
    tests = list(tests)
    family = dict(zip(map(id, tests), probabilities(tests), strict=True))
    found = []
    for check, outcome in dict.fromkeys((test.check, test.outcome) for test in tests):
        own = [test for test in tests if (test.check, test.outcome) == (check, outcome)]
        found.append(_finding(own, min(family[id(test)] for test in own)))
    return found


def _finding(own: list[Test], among_all: float) -> Finding:
    """The finding of one check of one outcome: its tests, and the least probability of one of them among all tests."""
    values = probabilities(own)
    worst, value = own[int(values.argmin())], float(values.min())
    verdict = "misfit" if among_all < FAMILY else "caution" if value < LEVEL else "ok"
    words = worst.fits
    if verdict != "ok":
        odd = [t for t, v in zip(own, values, strict=True) if v < LEVEL] or [worst]
        along = ", ".join(list(dict.fromkeys(t.along for t in odd if t.along))[:3])
        words = worst.misfit.format(along=along)
    if verdict == "caution":
        words = f"Perhaps chance: {words}"
    return Finding(worst.check, worst.outcome, value, LEVEL, verdict, words)

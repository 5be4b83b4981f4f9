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
from scipy.stats import rankdata

from ...inference.evidence.finding import Finding

LEVEL = 0.02  # of each check of an outcome
FAMILY = 0.01  # of all together: only then does the model misfit
RANKED = 150  # draws per test from which on ranks can show such a level


@dataclass(frozen=True)
class Test:
    """One statistic.

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
        """How extreme the replicated values are and, last, the observed one, in comparable units."""
        values = np.append(self.replicated, self.observed).astype(float)
        low, mid, high = np.quantile(self.replicated, [0.025, 0.5, 0.975])
        scale = 1e-9 * max(1.0, abs(mid))
        up = (values - mid) / max(high - mid, scale)
        down = (mid - values) / max(mid - low, scale)
        out = np.maximum(up, down) if self.two_sided else up
        return np.nan_to_num(out, nan=np.inf)


def probabilities(tests: list[Test]) -> np.ndarray:
    """Tail probability of each test, adjusted for their number.

    The share of replicated data sets whose most extreme statistic is as extreme as this one: statistics that go
    together count as one. With many draws extremes are compared by their ranks, which suits every shape of
    distribution, with few by how far out they lie, which needs no more draws than there are.
    """
    if not tests:
        return np.zeros(0)
    size = min(len(test.replicated) for test in tests)
    extreme = [test.deviations for test in tests]
    if len({len(one) for one in extreme}) > 1:
        extreme = [np.append(d[np.linspace(0, len(d) - 2, size).astype(int)], d[-1]) for d in extreme]
    if size + 1 >= RANKED * len(tests):
        extreme = [rankdata(one, "min") for one in extreme]
    most = np.max([one[:-1] for one in extreme], axis=0)
    own = np.array([one[-1] for one in extreme])
    return ((most >= own[:, None]).sum(1) + 1) / (size + 1)


def judged(tests: Iterable[Test]) -> list[Finding]:
    """A finding for each check of each outcome: *misfit* where it stands out among all, *caution* among its own."""
    tests = list(tests)
    family = dict(zip(map(id, tests), probabilities(tests), strict=True))
    found = []
    for key in dict.fromkeys((test.check, test.outcome) for test in tests):
        own = [test for test in tests if (test.check, test.outcome) == key]
        values = probabilities(own)
        worst = own[int(values.argmin())]
        value = float(values.min())
        verdict = (
            "misfit"
            if min(family[id(test)] for test in own) < FAMILY
            else "caution"
            if value < LEVEL
            else "ok"
        )
        odd = [t for t, v in zip(own, values, strict=True) if v < LEVEL] or [worst]
        words = worst.fits
        if verdict != "ok":
            along = ", ".join(list(dict.fromkeys(t.along for t in odd if t.along))[:3])
            words = worst.misfit.format(along=along)
        if verdict == "caution":
            words = f"Perhaps chance: {words}"
        found.append(Finding(*key, value, LEVEL, verdict, words))
    return found

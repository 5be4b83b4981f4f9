"""Cumulative sums: a slow change of a mean, seen over days that are each too short to tell.

References
----------
Page (1954), Continuous inspection schemes, Biometrika 41. Brook & Evans (1972), An approach to the probability distribution of CUSUM run
length, Biometrika 59. Hawkins (1987), Self-starting CUSUM charts for location and scale, The Statistician 36.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from ..thresholds import ALLOWANCE, ARL_STATES, LARGEST_SUM


def run_length(limit: float, shift: float = 0.0) -> float:
    """Mean number of steps until the sum of steps N(shift, 1), less an allowance of a half each and never below zero, passes a limit.

    Examples
    --------
    >>> round(run_length(4.0)), round(run_length(4.0, shift=1.0), 1)
    (335, 8.4)
    """
    width = limit / (ARL_STATES - 0.5)
    middle = width * np.arange(ARL_STATES)
    ends = middle[None] - middle[:, None] + ALLOWANCE - shift
    upper = norm.cdf(ends + width / 2)
    step = upper - norm.cdf(ends - width / 2)
    step[:, 0] = upper[:, 0]  # all below stay at zero
    return float(np.linalg.solve(np.eye(ARL_STATES) - step, np.ones(ARL_STATES))[0])


@lru_cache(maxsize=64)
def limit_of(steps: float) -> float:
    """Limit of a sum that steps N(0, 1) pass after so many of them on average.

    Examples
    --------
    >>> round(limit_of(335.0), 1)
    4.0
    """
    return float(brentq(lambda limit: np.log(run_length(limit) / steps), 1e-3, LARGEST_SUM))


@dataclass(frozen=True)
class Cusum:
    """A cumulative sum of one series, and the mean and variance that it knows so far.

    Steps are recursive residuals: each window's mean from that of the reference and all windows before it, in its standard error. They
    are independent and standard normal however few rows the reference has; a sum against the reference's mean alone would take the
    reference's own error for a change.

    Attributes
    ----------
    count, mean, square : float
        Rows so far, their mean, and the sum of squares around it.
    skew : float
        Of the reference's rows.
    early, late : float
        Sums, of which one is set back at a warning, the other at an alarm.
    """

    count: float
    mean: float
    square: float
    skew: float = 0.0
    early: float = 0.0
    late: float = 0.0

    @classmethod
    def of(cls, values: np.ndarray) -> Cusum:
        """Before any window, by the values of the reference."""
        apart = values - values.mean()
        square, cube = float((apart**2).sum()), float((apart**3).mean())
        sd = np.sqrt(square / max(len(values), 1))
        return cls(float(len(values)), float(values.mean()), square, cube / sd**3 if sd > 0 else 0.0)

    @property
    def sd(self) -> float:
        """Of one row."""
        return float(np.sqrt(self.square / max(self.count - 1, 1)))

    def step(self, values: np.ndarray) -> Cusum:
        """With one more window: its sums, not yet what it says of mean and variance."""
        move = self.move(values)
        return replace(
            self, early=max(0.0, self.early + move - ALLOWANCE), late=max(0.0, self.late + move - ALLOWANCE)
        )

    def move(self, values: np.ndarray) -> float:
        """How far the mean of a window is from that of all before, as a standard normal number: in standard errors, less what the
        skewness of rows leaves of itself in a mean (the first term of Cornish and Fisher's expansion)."""
        each, all_before = 1 / len(values), 1 / self.count
        error = self.sd * np.sqrt(each + all_before)
        if error <= 0:
            return 0.0
        move = (float(values.mean()) - self.mean) / error
        left = self.skew * (each**2 - all_before**2) / (each + all_before) ** 1.5
        return move - left * (move**2 - 1) / 6 if abs(move * left) < 1 else move

    def learned(self, values: np.ndarray) -> Cusum:
        """With what a window without an alarm says of mean and variance."""
        count, many = self.count, len(values)
        apart = float(values.mean()) - self.mean
        square = (
            self.square
            + float(((values - values.mean()) ** 2).sum())
            + apart**2 * count * many / (count + many)
        )
        return replace(
            self, count=count + many, mean=self.mean + apart * many / (count + many), square=square
        )

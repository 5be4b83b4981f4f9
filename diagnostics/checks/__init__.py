"""Checks of the model: one file each, and one line here.

Those in `TESTS` take an outcome and yield statistics, which are judged together; those in `CHECKS` take a posterior and
yield findings of their own.
"""

from . import calibration, coverage, dispersion, loo, pit, priors, residuals, survival

TESTS = (pit.tests, dispersion.tests, coverage.tests, residuals.tests, calibration.tests, survival.tests)
CHECKS = (loo.check, priors.check)

__all__ = ["CHECKS", "TESTS"]

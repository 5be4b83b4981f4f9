"""Checks of the model: one file each, and one line here. Each takes a posterior and returns findings."""

from . import calibration, dispersion, pit

CHECKS = (pit.check, dispersion.check, calibration.check)

__all__ = ["CHECKS"]

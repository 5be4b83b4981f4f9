"""Diagnostics: is the model wrong, and what does a colleague need to know?"""

from __future__ import annotations

from .model_checks import check, fits_data, tested
from .report import write as report  # after the subpackage of that name, which it replaces here

__all__ = ["check", "fits_data", "report", "tested"]

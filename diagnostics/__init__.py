"""Diagnostics: is the model wrong, and what does a colleague need to know?"""

from __future__ import annotations

from ..inference.evidence.finding import Finding
from .report import write as report  # after the subpackage of that name, which it replaces here

__all__ = ["check", "fits_data", "report"]


def check(posterior) -> tuple[Finding, ...]:
    """Findings about the model; *not assessable* where it has no rows to speak of."""
    from .checks import CHECKS

    if "model checks" not in posterior._groups:
        found = [finding for one in CHECKS for finding in one(posterior)]
        seen = {finding.quantity for finding in found}
        for name in [n for n in posterior.observed or ["fit"] if n not in seen]:
            found.append(
                Finding(
                    "model checks",
                    name,
                    None,
                    None,
                    "not assessable",
                    "There are no observed rows that a check could use (a likelihood in a factor, a "
                    "categorical outcome, fewer than five rows, or rows that the predictions do not match).",
                )
            )
        posterior._groups["model checks"] = tuple(found)
    return posterior._groups["model checks"]


def fits_data(posterior) -> bool | None:
    """Whether the model fits the data; None where no check applies."""
    verdicts = {finding.verdict for finding in check(posterior)}
    if verdicts == {"not assessable"}:
        return None
    return "misfit" not in verdicts

"""All checks of the model, and whether it fits the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..inference.evidence.finding import Finding, Findings
from ..inference.posterior.posterior import record_of, requested
from .checks import CHECKS, TESTS
from .checks.judge import Test, judged
from .checks.predictions import outcomes
from .checks.replicates import told
from .checks.statistics import own

Statistics = Mapping[str, Callable]


def check(posterior, statistics: Statistics | None = None) -> Findings:
    """Findings about the model; *not assessable* where it has no rows to speak of.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    statistics : mapping of str to callable, optional
        Test statistics of the user's own, see `Posterior.check`.

    Returns
    -------
    Findings
        A tuple of `Finding`, of every check of every outcome; those that were found before it was saved, of a posterior that is
        loaded without the program and the data.

    Raises
    ------
    DataError
        If a statistic raises, or returns anything but one finite number.

    References
    ----------
    Gelman, Meng & Stern (1996), Posterior predictive assessment of model fitness via realized discrepancies, Statistica
    Sinica 6. Each check names the source of its own.
    """
    if statistics is None and "model checks" in requested(posterior):
        return requested(posterior)["model checks"]
    record = record_of(posterior)
    if statistics is None and record.target is None and "checks" in record.reported:
        return record.reported["checks"]
    found = tested(posterior, statistics)
    seen = {finding.quantity for finding in found}
    found += told(posterior, [name for name in record.observed if name in seen])
    found += [finding for one in CHECKS for finding in one(posterior)]
    for name in [n for n in record.observed or ["fit"] if n not in seen]:
        found.append(Finding("model checks", name, None, None, "not assessable", _why_not(posterior)))
    findings = Findings(found)
    if statistics is None:
        requested(posterior)["model checks"] = findings
    return findings


def _why_not(posterior) -> str:
    """Why nothing could be checked, and what to do."""
    if posterior.privacy is not None:
        return (
            "The rows that were fitted are private, and a check would show them. er.calibration and er.metrics take other rows, "
            "that need no protection."
        )
    if posterior.program is None:
        return (
            "The checks predict with the program, which this posterior was loaded without: load it with "
            "er.load(path, program=model(data)), the data being those that were fitted."
        )
    if record_of(posterior).target is None:
        return (
            "The checks need the program with the data that were fitted, and this posterior was loaded with others: load "
            "it with er.load(path, program=model(data)), the data being those that were fitted."
        )
    return (
        "There are no observed rows that a check could use (a likelihood in a factor, fewer than five rows, or rows that "
        "the predictions do not match)."
    )


def tested(posterior, statistics: Statistics | None = None) -> list[Finding]:
    """Findings of the statistics that are judged together: those that say *misfit* or not.

    Parameters
    ----------
    posterior : Posterior
        The fit, or draws made elsewhere.
    statistics : mapping of str to callable, optional
        Test statistics of the user's own, see `Posterior.check`.
    """
    return judged(_tests(posterior, statistics or {}))


def _tests(posterior, statistics: Statistics) -> Iterator[Test]:
    """Every statistic of every outcome."""
    for outcome in outcomes(posterior):
        for tests in TESTS:
            yield from tests(outcome)
        yield from own(outcome, statistics)


def fits_data(posterior) -> bool | None:
    """Whether the model fits the data; None where no check applies."""
    verdicts = {finding.verdict for finding in check(posterior)}
    if verdicts == {"not assessable"}:
        return None
    return "misfit" not in verdicts

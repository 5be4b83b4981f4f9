"""What the command line says about a fit, in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .ppl.names import printable
from .ppl.thresholds import TERMINAL_ROWS

VERDICTS = {
    "trusted": "trusted: the evidence says that means, spreads and intervals are close to exact.",
    "caution": "caution: usable, but some means or intervals may be noticeably off.",
    "untrusted": "untrusted: nothing establishes that these numbers are right. Do not use them.",
}
FITS = {
    True: "yes: data simulated from the model look like the data.",
    False: "no: data simulated from the model differ from the data.",
    None: "not assessed: the checks do not apply to this model.",
}


def verdict_lines(record: dict[str, Any]) -> list[str]:
    """The verdict, the fit to the data and the findings that are not in order.

    Parameters
    ----------
    record : dict
        The JSON report.

    Returns
    -------
    list of str
        Without control characters.

    Examples
    --------
    >>> verdict_lines({"verdict": "trusted", "fits_data": None})[1]
    'Fits the data   not assessed: the checks do not apply to this model.'
    """
    counts = Counter(row["verdict"] for row in record.get("quantities", ()) if row["verdict"])
    shares = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name])
    lines = [
        f"Verdict         {VERDICTS.get(record['verdict'], record['verdict'])}",
        f"Fits the data   {record['blame']['sentence'] if 'blame' in record else FITS.get(record['fits_data'])}",
    ]
    if shares:
        lines.append(f"Quantities      {shares}")
    for finding in record.get("findings", ()):
        if finding["verdict"] in {"caution", "untrusted", "misfit"}:
            lines.append(f"Finding         {finding['name']}, {finding['quantity']}: {finding['advice']}")
    return [printable(line) for line in lines]


def summary_lines(posterior: Any, num_rows: int = TERMINAL_ROWS) -> list[str]:
    """The summary table without its reasons, cut after `num_rows` quantities.

    Parameters
    ----------
    posterior : Posterior
        What was fitted.
    num_rows : int
        Quantities that are shown.

    Returns
    -------
    list of str
        Without control characters.
    """
    frame = posterior.summary()
    shown = frame.drop(columns="reason").head(num_rows)
    lines = shown.to_string(float_format=lambda value: f"{value:.3f}", na_rep="").splitlines()
    if len(frame) > num_rows:
        lines.append(f"… and {len(frame) - num_rows} more")
    return [printable(line) for line in lines]

"""What the command line says about a fit, in words."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

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

# what a terminal takes as commands (C0 but for newline and tab, DEL, C1), and what reorders the text around it
_CONTROL = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def printable(text: str) -> str:
    """Text whose control characters are shown, not obeyed.

    Examples
    --------
    >>> printable("plain \\x1b[31mred")
    'plain \\\\x1b[31mred'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def verdict_lines(record: dict[str, Any]) -> list[str]:
    """The verdict, the fit to the data and the findings that are not in order.

    Parameters
    ----------
    record : dict
        The JSON report.
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


def summary_lines(posterior: Any, num_rows: int = 12) -> list[str]:
    """The summary table without its reasons, cut after `num_rows` quantities."""
    frame = posterior.summary()
    shown = frame.drop(columns="reason").head(num_rows)
    lines = shown.to_string(float_format=lambda value: f"{value:.3f}", na_rep="").splitlines()
    if len(frame) > num_rows:
        lines.append(f"… and {len(frame) - num_rows} more")
    return [printable(line) for line in lines]

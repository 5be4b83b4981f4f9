"""A report in Markdown, for a pull request."""

from __future__ import annotations

import re

from ...ppl.names import printable
from ..thresholds import SUMMARY_LINES
from .digits import measured, number
from .words import next_step, trust

MARKED = re.compile(r"[\\`*\[\]!|]")  # what Markdown makes emphasis, code, links, images and cells of


def markdown(content: dict) -> str:
    """A summary for a pull request: verdicts, the judged quantities that are not trusted first, and findings.

    Parameters
    ----------
    content : dict
        That of ``report.json``.

    Returns
    -------
    str
        With what Markdown would obey escaped.
    """

    def cell(value) -> str:
        return MARKED.sub(r"\\\g<0>", printable(number(value)).replace("\n", " ")).replace("<", "&lt;")

    lines = [
        f"### {cell(content['name'])}: {content['verdict']}",
        "",
        f"{trust(content)[1]} {cell(content['blame']['sentence'])} {next_step(content)}",
        "",
        "| quantity | mean | 90% interval | verdict |",
        "|---|---|---|---|",
    ]
    rank = {"untrusted": 0, "caution": 1, "trusted": 2}
    rows = sorted((q for q in content["quantities"] if q["verdict"]), key=lambda q: rank[q["verdict"]])
    for q in rows[:SUMMARY_LINES]:
        mean, low, high = (measured(q[key], q["sd"]) for key in ("mean", "q5", "q95"))
        lines.append(f"| {cell(q['name'])} | {mean} | {low} to {high} | {q['verdict']} |")
    if len(rows) > SUMMARY_LINES:
        lines += ["", f"and {len(rows) - SUMMARY_LINES} more, none worse."]
    odd = [f for f in content["findings"] if f["verdict"] not in {"ok", "not assessable"}]
    if odd:
        lines += [
            "",
            *(
                f"- **{f['verdict']}** {cell(f['name'])}, {cell(f['quantity'])}: {cell(f['advice'])}"
                for f in odd
            ),
        ]
    return "\n".join(lines) + "\n"

"""How a posterior shows itself in a terminal and in Jupyter."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from ...ppl.names import printable
from ..thresholds import NUM_ROWS
from .record import Record, framed

RANK = {"untrusted": 0, "caution": 1, "trusted": 2, None: 3}
WORDS = {
    "trusted": "The judged quantities can be trusted.",
    "caution": "Use with caution: some quantities are only roughly right.",
    "untrusted": "Do not rely on this result: some quantities are wrong, or nothing is established for them.",
}
LAWS = {
    "guide": "draws of the fitted guide",
    "psis": "importance-corrected draws of the guide",
    "mcmc": "draws of short chains started from the guide",
    "long": "draws of a few long chains",
}
COLOURS = {"trusted": "#1a7f37", "caution": "#9a6700", "untrusted": "#cf222e"}


def shown(record: Record) -> tuple[Any, int]:
    """The summary's rows to show, worst verdicts first, and how many were left out."""
    frame = framed(record.table)
    verdicts = list(frame["verdict"])
    judged = set(record.judged)

    def rank(i):
        return RANK.get(verdicts[i], 3), i not in judged, i

    order = sorted(range(len(frame)), key=rank)[:NUM_ROWS]
    return frame.iloc[order], len(frame) - len(order)


def shares(record: Record) -> str:
    """How many scalar quantities have which verdict, in words."""
    return ", ".join(f"{count} {verdict}" for verdict, count in record.counts.items() if count) or "none"


def head(record: Record) -> tuple[str, str]:
    """Two lines: the verdict in words, and where the draws come from."""
    khat = record.khat
    law = record.shown_law
    known = f", k̂ {khat:.2f}" if np.isfinite(khat) and law != "long" else ""
    words = WORDS[record.verdict]
    if record.doubts:
        words = (
            f"Use with caution: {record.doubts}"
            if record.judgement == "trusted"
            else f"{words} {record.doubts}"
        )
    return (
        words,
        f"{len(record.z)} {LAWS.get(law, law)}{known}; scalar quantities: {shares(record)}",
    )


def text(record: Record) -> str:
    """The posterior for a terminal: verdict, summary, trail, findings."""
    frame, left = shown(record)
    table = frame.to_string(float_format=lambda v: f"{v:.4g}", na_rep="", max_colwidth=60)
    words, origin = head(record)
    lines = [f"Posterior of {record.name}: {record.verdict}", words, origin, "", table]
    if left:
        lines.append(f"… and {left} more: see summary()")
    lines += ["", "Trail", *_trail(record.trail)]
    if record.findings:
        lines += ["", "Findings", *(f"  {finding}" for finding in record.findings)]
    return printable("\n".join(lines))


def _trail(trail) -> list[str]:
    """One line per rung, the reason last."""
    rows = [("name", "guide", "elbo", "khat", "gradients", "seconds", "projected", "verdict", "reason")]
    for r in trail:
        numbers = [f"{v:.2f}" if np.isfinite(v) else "" for v in (r.elbo, r.khat)]
        projected = f"{r.projected:.2f}" if np.isfinite(r.projected) else ""
        spent = (str(r.num_gradients), f"{r.seconds:.2f}", projected)
        rows.append((r.name, r.guide, *numbers, *spent, r.verdict or "", r.reason))
    widths = [max(len(row[i]) for row in rows) for i in range(8)]
    lines = []
    for row in rows:
        cells = [
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return lines


def html(record: Record) -> str:
    """The posterior for Jupyter: the same, as escaped HTML."""
    frame, left = shown(record)
    words, origin = head(record)
    verdict = record.verdict
    colour = COLOURS[verdict]
    badge = (
        f'<span style="background:{colour};color:#fff;border-radius:4px;padding:1px 8px">'
        f"{escape(verdict)}</span>"
    )
    parts = [
        f"<div><p><b>Posterior of {escape(record.name)}</b> {badge}</p>",
        f"<p>{escape(words)}<br><small>{escape(origin)}</small></p>",
        _table(frame),
    ]
    if left:
        parts.append(f"<p><small>… and {left} more: see <code>summary()</code></small></p>")
    parts.append(f"<details><summary>Trail</summary>{record.trail._repr_html_()}</details>")
    if record.findings:
        items = "".join(f"<li>{escape(str(f))}</li>" for f in record.findings)
        parts.append(f"<details open><summary>Findings</summary><ul>{items}</ul></details>")
    return "".join([*parts, "</div>"])


def _table(frame) -> str:
    heads = "".join(f"<th>{escape(c)}</th>" for c in ("", *frame.columns))
    rows = []
    for label, row in zip(frame.index, frame.itertuples(index=False), strict=True):
        cells = [f'<th style="text-align:left">{escape(str(label))}</th>']
        for name, value in zip(frame.columns, row, strict=True):
            if name == "verdict" and value in COLOURS:
                cells.append(f'<td style="color:{COLOURS[value]}">{value}</td>')
            elif isinstance(value, float):
                cells.append(f"<td>{value:.4g}</td>" if np.isfinite(value) else "<td></td>")
            else:
                cells.append(
                    f'<td style="text-align:left">{escape("" if value is None else str(value))}</td>'
                )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

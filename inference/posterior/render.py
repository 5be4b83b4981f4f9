"""How a posterior shows itself in a terminal and in Jupyter."""

from __future__ import annotations

from html import escape

import numpy as np

from ...ppl.names import printable
from ..thresholds import NUM_ROWS

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


def shown(posterior) -> tuple[object, int]:
    """The summary's rows to show, worst verdicts first, and how many were left out."""
    frame = posterior.summary()
    verdicts = list(frame["verdict"])
    judged = set(posterior._judged())

    def rank(i):
        return RANK.get(verdicts[i], 3), i not in judged, i

    order = sorted(range(len(frame)), key=rank)[:NUM_ROWS]
    return frame.iloc[order], len(frame) - len(order)


def shares(posterior) -> str:
    """How many scalar quantities have which verdict, in words."""
    return ", ".join(f"{count} {verdict}" for verdict, count in posterior.counts.items() if count) or "none"


def head(posterior) -> tuple[str, str]:
    """Two lines: the verdict in words, and where the draws come from."""
    khat = posterior.khat
    law = (
        "long"
        if posterior.settings.get("num_chains", 1) > 1 and not posterior.settings.get("short")
        else posterior.law
    )
    known = f", k̂ {khat:.2f}" if np.isfinite(khat) and law != "long" else ""
    words = WORDS[posterior.verdict]
    if posterior.doubts:
        words = (
            f"Use with caution: {posterior.doubts}"
            if posterior.judgement == "trusted"
            else f"{words} {posterior.doubts}"
        )
    return (
        words,
        f"{len(posterior.z)} {LAWS.get(law, law)}{known}; scalar quantities: {shares(posterior)}",
    )


def text(posterior) -> str:
    """The posterior for a terminal: verdict, summary, trail, findings."""
    frame, left = shown(posterior)
    table = frame.to_string(float_format=lambda v: f"{v:.4g}", na_rep="", max_colwidth=60)
    words, origin = head(posterior)
    lines = [f"Posterior of {posterior.name}: {posterior.verdict}", words, origin, "", table]
    if left:
        lines.append(f"… and {left} more: see summary()")
    lines += ["", "Trail", *_trail(posterior.trail)]
    if posterior.findings:
        lines += ["", "Findings", *(f"  {finding}" for finding in posterior.findings)]
    return printable("\n".join(lines))


def _trail(trail) -> list[str]:
    """One line per rung, the reason last."""
    rows = [("name", "guide", "elbo", "khat", "gradients", "seconds", "verdict", "reason")]
    for r in trail:
        numbers = [f"{v:.2f}" if np.isfinite(v) else "" for v in (r.elbo, r.khat)]
        spent = (str(r.num_gradients), f"{r.seconds:.2f}")
        rows.append((r.name, r.guide, *numbers, *spent, r.verdict or "", r.reason))
    widths = [max(len(row[i]) for row in rows) for i in range(7)]
    lines = []
    for row in rows:
        cells = [
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return lines


def html(posterior) -> str:
    """The posterior for Jupyter: the same, as escaped HTML."""
    frame, left = shown(posterior)
    words, origin = head(posterior)
    verdict = posterior.verdict
    colour = COLOURS[verdict]
    badge = (
        f'<span style="background:{colour};color:#fff;border-radius:4px;padding:1px 8px">'
        f"{escape(verdict)}</span>"
    )
    parts = [
        f"<div><p><b>Posterior of {escape(posterior.name)}</b> {badge}</p>",
        f"<p>{escape(words)}<br><small>{escape(origin)}</small></p>",
        _table(frame),
    ]
    if left:
        parts.append(f"<p><small>… and {left} more: see <code>summary()</code></small></p>")
    parts.append(f"<details><summary>Trail</summary>{posterior.trail._repr_html_()}</details>")
    if posterior.findings:
        items = "".join(f"<li>{escape(str(f))}</li>" for f in posterior.findings)
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
